package output

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/kernel"
)

// A Type is that of a column's values.
type Type string

// The types of columns, each with the Go type of its values in [Row.Columns].
const (
	Text    Type = "text"    // string
	Int64   Type = "int64"   // int64
	Float64 Type = "float64" // float64
	Bool    Type = "bool"    // bool

	vector Type = "vector" // []float32
)

// Types returns the types that a column may have.
func Types() []Type { return []Type{Text, Int64, Float64, Bool} }

// A Column is one of the user's. Any of its values may be missing.
type Column struct {
	Name string `json:"name"` // in the dataset
	Type Type   `json:"type"` // of its values
}

// A Spec says what the files of a dataset are. All shards of a dataset have the same.
type Spec struct {
	Format     string   `json:"format"`            // one of [Formats]
	Dim        int      `json:"dim"`               // E, how many values a vector has
	Half       bool     `json:"half,omitempty"`    // npy alone: float16 in place of float32
	Normalized bool     `json:"normalized"`        // vectors have the length 1, and are checked for it
	Texts      bool     `json:"texts,omitempty"`   // every row has a caption and its vector as well
	Columns    []Column `json:"columns,omitempty"` // of the user, in this order
	Header     bool     `json:"header,omitempty"`  // csv alone: the first line has the names of the columns
	Digits     int      `json:"digits"`            // the number of a shard has at least so many digits in the names of files, which readers sort as texts
}

// A Row is what is written of a sample.
type Row struct {
	Key           string    // by which the sample is known: no other row of the shard has it
	Path          string    // of the picture, column image_path
	Caption       string    // column caption
	HasCaption    bool      // or the caption is missing
	Image, Text   []float32 // the vectors [E]; Text is nil without Spec.Texts
	Width, Height int       // of the picture, in pixels
	SHA256        [32]byte  // of the picture's bytes
	Columns       []any     // the values of Spec.Columns in their order: of the types that [Type] says, or nil for one that is missing
}

// A Failure says why a sample has no row.
type Failure struct {
	Key    string // of the sample, as of input.Sample
	Path   string // as of input.Sample
	Stage  string // at what it failed, such as "download" or "decode"
	Reason string // in words
}

// ErrRow is what is wrong with one row, of which nothing has been written.
var ErrRow = errors.New("cannot be a row")

// The columns of every dataset.
const (
	pathColumn          = "image_path" // as of clip-retrieval
	captionColumn       = "caption"
	keyColumn           = "key"
	widthColumn         = "width"
	heightColumn        = "height"
	sha256Column        = "sha256"
	embeddingColumn     = "embedding"
	textEmbeddingColumn = "text_embedding"
)

// IsOwn says whether a column has the name of one that every dataset has, or that a format may have.
func IsOwn(column string) bool {
	return slices.Contains([]string{pathColumn, captionColumn, keyColumn, widthColumn, heightColumn, sha256Column, embeddingColumn, textEmbeddingColumn}, column)
}

// maxDim and maxDigits bound what a Spec may say.
const (
	maxDim    = 1 << 16
	maxDigits = 19 // of the largest int64
)

// Validate returns what is wrong with a Spec, all at once.
func (s Spec) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("output: "+format, args...)) }
	if formats[s.Format] == nil {
		wrong("the format is %q, want one of %s", s.Format, strings.Join(Formats(), ", "))
	}
	if s.Dim < 1 || s.Dim > maxDim {
		wrong("vectors have %d values, want 1 to %d", s.Dim, maxDim)
	}
	if s.Digits < 1 || s.Digits > maxDigits {
		wrong("numbers of shards have %d digits, want 1 to %d", s.Digits, maxDigits)
	}
	if s.Half && s.Format != "npy" {
		wrong("float16 is a choice of npy, and the format is %s", s.Format)
	}
	if s.Header && s.Format != "csv" {
		wrong("a header is a choice of csv, and the format is %s", s.Format)
	}
	seen := map[string]bool{}
	for _, c := range s.Columns {
		folded := strings.ToLower(c.Name) // databases fold names
		switch {
		case c.Name == "" || !utf8.ValidString(c.Name) || strings.ContainsRune(c.Name, 0):
			wrong("a column has the name %q, want a text", c.Name)
		case IsOwn(folded):
			wrong("a column has the name %q, which is one of the dataset's own", c.Name)
		case seen[folded]:
			wrong("two columns have the name %q, in which databases distinguish no upper case", c.Name)
		case !slices.Contains(Types(), c.Type):
			wrong("column %q is of type %q, want text, int64, float64 or bool", c.Name, c.Type)
		}
		seen[folded] = true
	}
	return errors.Join(errs...)
}

// A field is a column of a file.
type field struct {
	name     string
	kind     Type
	optional bool // values may be missing
}

// fields returns the columns of a row, with its vectors or without.
func (s *Spec) fields(vectors bool) []field {
	all := []field{{pathColumn, Text, false}, {captionColumn, Text, true}, {keyColumn, Text, false}, {widthColumn, Int64, false}, {heightColumn, Int64, false}, {sha256Column, Text, false}}
	for _, c := range s.Columns {
		all = append(all, field{c.Name, c.Type, true})
	}
	if vectors {
		all = append(all, field{embeddingColumn, vector, false})
		if s.Texts {
			all = append(all, field{textEmbeddingColumn, vector, false})
		}
	}
	return all
}

// values returns what a row has in its fields: values of the types that [Type] says, or nil.
func (r *Row) values(s *Spec, vectors bool) []any {
	all := []any{r.Path, nil, r.Key, int64(r.Width), int64(r.Height), fmt.Sprintf("%x", r.SHA256)}
	if r.HasCaption {
		all[1] = r.Caption
	}
	all = append(all, r.Columns...)
	if vectors {
		all = append(all, r.Image)
		if s.Texts {
			all = append(all, r.Text)
		}
	}
	return all
}

// rowOf is the inverse of values, of what a file has.
func rowOf(s *Spec, values []any, vectors bool) (*Row, error) {
	r := &Row{Path: values[0].(string), Key: values[2].(string)}
	r.Caption, r.HasCaption = values[1].(string)
	for i, to := range []*int{&r.Width, &r.Height} {
		n := values[3+i].(int64)
		if n < 0 || n > math.MaxInt32 {
			return nil, fmt.Errorf("%s is %d", []string{widthColumn, heightColumn}[i], n)
		}
		*to = int(n)
	}
	if err := parseSum(&r.SHA256, values[5].(string)); err != nil {
		return nil, err
	}
	const own = 6
	if len(s.Columns) > 0 {
		r.Columns = values[own : own+len(s.Columns) : own+len(s.Columns)]
	}
	if vectors {
		r.Image = values[own+len(s.Columns)].([]float32)
		if s.Texts {
			r.Text = values[own+len(s.Columns)+1].([]float32)
		}
	}
	return r, nil
}

// written returns a row as it is written: texts that are UTF-8, for which the columns may be replaced. Anything else that is wrong is an error.
func (r Row) written(s *Spec) (*Row, error) {
	if len(r.Columns) != len(s.Columns) {
		return nil, fmt.Errorf("has %d columns, want %d", len(r.Columns), len(s.Columns))
	}
	r.Key, r.Path, r.Caption = clean(r.Key), clean(r.Path), clean(r.Caption)
	if len(r.Columns) > 0 {
		r.Columns = slices.Clone(r.Columns)
	}
	for i, v := range r.Columns {
		got := Type("")
		switch v := v.(type) {
		case nil:
			continue
		case string:
			got, r.Columns[i] = Text, clean(v)
		case int64:
			got = Int64
		case float64:
			got = Float64
		case bool:
			got = Bool
		}
		if c := s.Columns[i]; got != c.Type {
			return nil, fmt.Errorf("column %q has a %T, want a value of type %s", c.Name, v, c.Type)
		}
	}
	return &r, r.check(s)
}

// check returns what is wrong with a row, but for the types of its columns.
func (r *Row) check(s *Spec) error {
	switch {
	case r.Key == "":
		return errors.New("has no key")
	case r.Width < 0 || r.Height < 0 || r.Width > math.MaxInt32 || r.Height > math.MaxInt32:
		return fmt.Errorf("has %d x %d pixels", r.Width, r.Height)
	case !s.Texts && r.Text != nil:
		return errors.New("has the vector of a text, want none")
	case s.Texts && !r.HasCaption:
		return errors.New("has no caption")
	}
	if err := s.checkVector(r.Image); err != nil {
		return err
	}
	if s.Texts {
		if err := s.checkVector(r.Text); err != nil {
			return fmt.Errorf("caption: %w", err)
		}
	}
	return nil
}

// checkVector returns what is wrong with a vector.
func (s *Spec) checkVector(v []float32) error {
	if len(v) != s.Dim {
		return fmt.Errorf("the vector has %d values, want %d", len(v), s.Dim)
	}
	sum := 0.0
	for i, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("value %d of the vector is %v", i, x)
		}
		if s.Half && kernel.ToHalf(x)&0x7fff >= 0x7c00 {
			return fmt.Errorf("value %d of the vector is %v, want at most 65504 for float16", i, x)
		}
		sum += float64(x) * float64(x)
	}
	if length := math.Sqrt(sum); s.Normalized && math.Abs(length-1) > s.tolerance() {
		return fmt.Errorf("the vector has the length %.9g, want 1 within %.2g", length, s.tolerance())
	}
	return nil
}

// tolerance returns by how much the length of a vector that was divided by its length differs from 1 at most. Rounding moves each value by
// u·|x| or, of small ones in float16, by 2⁻²⁵, and so the vector by no more than u·1 + 2⁻²⁵·√E. u is 2⁻²⁴ in float32, in which the
// division is rounded, and 2⁻¹¹ in float16. Twice the first is for who divides in float32.
func (s *Spec) tolerance() float64 {
	t := math.Ldexp(2, -24)
	if s.Half {
		t += math.Ldexp(1, -11) + math.Ldexp(math.Sqrt(float64(s.Dim)), -25)
	}
	return t
}

// clean returns a text without bytes that are no UTF-8 and without NUL, which Postgres has not: they become \x and two digits, as of Python's
// bytes.decode(errors="backslashreplace").
func clean(s string) string {
	if utf8.ValidString(s) && !strings.ContainsRune(s, 0) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == 0 || r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// Names returns the names in the dataset of the files that a shard with rows has.
func (s Spec) Names(number int) []string { return formats[s.Format].names(&s, number) }

// ErrorsName returns the name of the file that a shard has for its failures.
func (s Spec) ErrorsName(number int) string {
	return s.numbered("vitago/errors/errors_", number, ".jsonl")
}

// Renumbered returns the name that a file of a shard has as one of another number, "" if it is none of a shard.
func (s Spec) Renumbered(name string, number int) string {
	for _, n := range append(s.Names(number), s.ErrorsName(number)) {
		if path.Dir(n) == path.Dir(name) {
			return n
		}
	}
	return ""
}

// numbered returns the name of a file of a shard.
func (s *Spec) numbered(before string, n int, after string) string {
	digits := strconv.Itoa(n)
	return before + strings.Repeat("0", max(0, s.Digits-len(digits))) + digits + after
}
