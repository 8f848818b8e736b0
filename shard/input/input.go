package input

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/pictures"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// Options are choices of [Parts] and [Part.Open]. The zero value is fine.
type Options struct {
	// PerShard is how many files, or rows of a parquet, a part has at most. 0 is 10,000, as img2dataset's tars have. A tar is one part.
	PerShard int `json:"per_shard,omitempty"`
	// Bytes, Caption and Key are columns of a parquet: of pictures, of captions and of what names a picture. "" finds them by
	// their names.
	Bytes   string `json:"bytes,omitempty"`
	Caption string `json:"caption,omitempty"`
	Key     string `json:"key,omitempty"`
	// MaxBytes bounds the file of a picture. 0 is 64 MiB, above a JPEG of the largest size that is decoded.
	MaxBytes int64 `json:"max_bytes,omitempty"`
	// Columns are what samples have besides their captions, in this order. [Columns] says which there are.
	Columns []output.Column `json:"columns,omitempty"`
	// Note gets what [Parts] left out, a sentence each. It may be nil.
	Note func(note string) `json:"-"`
}

const (
	defaultPerShard = 10_000
	defaultMaxBytes = 64 << 20 // at pillow's MaxPixels, 1.8e8, three bits a pixel
)

func (o Options) check() error {
	switch {
	case o.PerShard < 0:
		return fmt.Errorf("input: %d pictures a shard, want at least 1", o.PerShard)
	case o.MaxBytes < 0:
		return fmt.Errorf("input: pictures of at most %d bytes, want at least 1", o.MaxBytes)
	}
	return nil
}

func (o Options) perShard() int {
	if o.PerShard == 0 {
		return defaultPerShard
	}
	return o.PerShard
}

func (o Options) maxBytes() int64 {
	if o.MaxBytes == 0 {
		return defaultMaxBytes
	}
	return o.MaxBytes
}

// A Sample is a picture with what its source says of it, or the error of one.
type Sample struct {
	Key        string   // of WebDataset; of a file its name below the folder, or its line in the list; of a row its key column, or FILE#ROW. Names of files may be no UTF-8
	Path       string   // the location of the file, TAR/NAME or PARQUET#ROW; of a download the URL
	Caption    string   // "" if HasCaption is false
	HasCaption bool     // the source has one, which may be ""
	Image      []byte   // the file of the picture
	SHA256     [32]byte // of Image
	Columns    []any    // by Options.Columns: a value of the column's type, or nil
	// Err says why there is no Image. Other samples of the part are not touched by it.
	Err error
}

// Kinds of errors, for [errors.Is]. An error of a part that is of neither kind may be gone when the part is read again.
var (
	// ErrDamaged is of a part that nobody can read: a tar that is cut off, a parquet without the column.
	ErrDamaged = errors.New("damaged input")
	// ErrChanged is of a part that is not what it was when the parts were listed, or not there any more.
	ErrChanged = store.ErrChanged
	// ErrDownload is of a [Sample] that its source lists without a picture: img2dataset could not download it.
	ErrDownload = errors.New("was not downloaded")
)

// kinded is an error that is of a kind too.
type kinded struct {
	error
	kind error
}

func (k kinded) Unwrap() []error { return []error{k.error, k.kind} }

// damaged makes err one of the kind [ErrDamaged].
func damaged(err error) error { return kinded{err, ErrDamaged} }

// gone makes the error of a location that is not there any more one of the kind [ErrChanged].
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return kinded{err, ErrChanged}
	}
	return err
}

// Kinds of parts.
const (
	filesPart   = "files"
	listPart    = "list"
	tarPart     = "tar"
	parquetPart = "parquet"
)

// A Part is what one shard is made of. As JSON it can be opened elsewhere.
type Part struct {
	Kind string `json:"kind"` // "files", "list", "tar" or "parquet"
	// Location is of the tar, the parquet, the list, or the folder that files are in; "" if files have locations for names.
	Location string `json:"location,omitempty"`
	Size     int64  `json:"size,omitempty"`    // of the tar, the parquet or the list, in bytes
	Version  string `json:"version,omitempty"` // as of store.Info, when it was listed; "" is not known

	Files []File `json:"files,omitempty"` // of a part of files, or those of a tar's samples; nil of others
	// Offset and Length are the bytes of a list. First and Rows are rows of a parquet, or lines of a list with paths.
	Offset int64 `json:"offset,omitempty"`
	Length int64 `json:"length,omitempty"`
	First  int64 `json:"first,omitempty"`
	Rows   int64 `json:"rows,omitempty"`

	// Table is img2dataset's parquet, which has a row for each picture, downloaded or not.
	Table *Table `json:"table,omitempty"`
}

// A Table is a parquet beside pictures that has a row of each.
type Table struct {
	Location string `json:"location"` // of the parquet
	Size     int64  `json:"size"`     // in bytes
	Version  string `json:"version"`  // as of store.Info, when it was listed
}

// As JSON a location is a [pyjson.Name]: folders may have names that are no UTF-8.
type (
	plainPart  Part
	plainTable Table
	partJSON   struct {
		Location pyjson.Name `json:"location,omitempty"`
		*plainPart
	}
	tableJSON struct {
		Location pyjson.Name `json:"location"`
		*plainTable
	}
)

// MarshalJSON writes a JSON object.
func (p Part) MarshalJSON() ([]byte, error) {
	return json.Marshal(partJSON{pyjson.Name(p.Location), (*plainPart)(&p)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Part) UnmarshalJSON(text []byte) error {
	j := partJSON{plainPart: (*plainPart)(p)}
	err := json.Unmarshal(text, &j)
	p.Location = string(j.Location)
	return err
}

// MarshalJSON writes a JSON object.
func (t Table) MarshalJSON() ([]byte, error) {
	return json.Marshal(tableJSON{pyjson.Name(t.Location), (*plainTable)(&t)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Table) UnmarshalJSON(text []byte) error {
	j := tableJSON{plainTable: (*plainTable)(t)}
	err := json.Unmarshal(text, &j)
	t.Location = string(j.Location)
	return err
}

// A File is a picture's file in a [Part].
type File struct {
	Name    pyjson.Name `json:"name"`              // below the part's Location, or a whole location
	Size    int64       `json:"size,omitempty"`    // as it was listed
	Version string      `json:"version,omitempty"` // as of store.Info, when it was listed; "" is not known
}

// String says what of which input the part is.
func (p Part) String() string {
	switch p.Kind {
	case filesPart:
		if len(p.Files) == 0 {
			return "no files"
		}
		first, last := text(p.fileLocation(0)), text(p.fileLocation(len(p.Files)-1))
		if len(p.Files) == 1 {
			return first
		}
		return fmt.Sprintf("%d files, %s to %s", len(p.Files), first, last)
	case listPart:
		return fmt.Sprintf("%s, %s from number %d on", text(p.Location), plural.Of(int(p.Rows), "path"), p.First+1)
	case parquetPart:
		return fmt.Sprintf("%s, %s from row %d on", text(p.Location), plural.Of(int(p.Rows), "row"), p.First)
	}
	return text(p.Location)
}

// fileLocation returns where file i of a part lies.
func (p Part) fileLocation(i int) string {
	if p.Location == "" {
		return string(p.Files[i].Name)
	}
	return join(p.Location, string(p.Files[i].Name))
}

// Count returns how many samples the part has, as far as that is known before it is read: a tar does not say.
func (p Part) Count() (n int, known bool) {
	switch p.Kind {
	case filesPart:
		return len(p.Files), true
	case tarPart:
		return 0, false
	}
	return int(p.Rows), true
}

// Bytes returns how many bytes the part has, as far as that is known before it is read: a list does not say.
func (p Part) Bytes() (n int64, known bool) {
	switch p.Kind {
	case tarPart:
		return p.Size, true
	case filesPart:
		for _, f := range p.Files {
			n += f.Size
		}
		return n, p.Location != ""
	}
	return 0, false
}

// text returns a name that is UTF-8: one that is none is quoted as Go quotes strings.
func text(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return pyjson.Printable(name)
}

// join returns the location of a name in that of a folder.
func join(folder, name string) string {
	if strings.HasSuffix(folder, "/") {
		return folder + name
	}
	return folder + "/" + name
}

// A Reader reads the samples of a [Part].
type Reader struct {
	access
	part    Part
	options Options
	cancel  context.CancelFunc
	samples iter.Seq2[Sample, error]
	begun   bool
	sum     string
	left    pictures.Left
}

// Open begins to read a part. The reader has to be closed.
func (p Part) Open(ctx context.Context, o Options) (*Reader, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &Reader{part: p, options: o}
	r.ctx, r.cancel = context.WithCancel(ctx)
	switch p.Kind {
	case filesPart:
		r.samples = r.files
	case listPart:
		r.samples = r.list
	case tarPart:
		r.samples = r.tar
	case parquetPart:
		r.samples = r.parquet
	default:
		r.cancel()
		return nil, fmt.Errorf("input: a part of the kind %q, want %s, %s, %s or %s", p.Kind, filesPart, listPart, tarPart, parquetPart)
	}
	return r, nil
}

// Samples yields the samples of the part in their order, once. An error ends it, and is of the part; it has its location.
func (r *Reader) Samples() iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		if r.begun {
			panic("input: the samples of a reader are asked for twice")
		}
		r.begun = true
		for s, err := range r.samples {
			if err != nil {
				if r.ctx.Err() != nil {
					err = context.Cause(r.ctx)
				}
				yield(Sample{}, fmt.Errorf("input: %s: %w", text(r.part.Location), err))
				return
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// SHA256 returns a checksum in hexadecimal digits of what was read, once Samples has yielded everything: of a tar that of the
// file. Of files and rows it is that of the lines that sha256sum would print for the pictures: checksum, two spaces, key. Pictures that
// could not be read have no line.
func (r *Reader) SHA256() string { return r.sum }

// Notes says what was left out of the samples, a sentence each.
func (r *Reader) Notes() []string { return r.left.Notes() }

// Close ends the reading.
func (r *Reader) Close() error {
	r.cancel()
	return nil
}
