package input

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/pictures"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/internal/webdataset"
	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// The columns of samples in a tar without a table.
const (
	jsonColumn = "metadata" // KEY.json, as clip-retrieval has it
	clsColumn  = "cls"
)

// readBuffer is how much of a file is asked for at once: enough that a request to a bucket is rare, and little beside a picture.
const readBuffer = 1 << 20

// A stream is a file that is read from one end to the other. It keeps the error of the store, which the readers above it
// make errors of the content of.
type stream struct {
	store.Reader
	sum  hash.Hash
	read int64
	err  error
}

// openStream opens the file at a location, which has to be of a version.
func (r *Reader) openStream(location string, size int64, version string, offset, length int64) (*stream, error) {
	s, name, err := r.stores.at(r.ctx, location)
	if err != nil {
		return nil, err
	}
	f, err := s.Open(r.ctx, name, offset, length)
	if err != nil {
		return nil, gone(err)
	}
	if err := store.Same(s, f.Info(), store.Info{Name: name, Size: size, Version: version}); err != nil {
		f.Close()
		return nil, err
	}
	return &stream{Reader: f, sum: sha256.New()}, nil
}

func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	s.sum.Write(b[:n])
	s.read += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// because returns the error of the store, if it had one, or err as one of the content.
func (s *stream) because(err error) error {
	if s.err != nil {
		return gone(s.err)
	}
	return damaged(err)
}

// A group are the files of a tar that have a key in common.
type group struct {
	Sample
	first   string // the name of the first file
	picture string // the name of the picture; empty while there is none
	unread  string // the name of one of a format that is not read
	notes   map[string]string
}

// fail gives the sample an error, if it has none.
func (g *group) fail(format string, args ...any) {
	if g.Err == nil {
		g.Err = fmt.Errorf(format, args...)
	}
}

// A key is 128 bits of the hash of a key: a tar may have millions.
type key [16]byte

func keyOf(s string) (k key) {
	h := fnv.New128a()
	io.WriteString(h, s) //nolint:errcheck // a hash returns no error
	h.Sum(k[:0])
	return k
}

// An ender notes that a file ended before its reader did, which archive/tar takes for the end of an archive.
type ender struct {
	r   io.Reader
	cut bool
}

func (e *ender) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	e.cut = e.cut || errors.Is(err, io.EOF)
	return n, err
}

// tar yields the samples of a tar in the order of their first files. Files of a sample lie together, in any order.
func (r *Reader) tar(yield func(Sample, error) bool) {
	p := r.part
	more := true
	give := func(s Sample, err error) bool {
		if more {
			more = yield(s, err)
		}
		return more
	}
	t, err := r.openTable()
	if err != nil {
		give(Sample{}, err)
		return
	}
	f, err := r.openStream(p.Location, p.Size, p.Version, 0, -1)
	if err != nil {
		give(Sample{}, err)
		return
	}
	defer f.Close()
	err = r.walk(f, func(s Sample) bool {
		if t != nil {
			t.complete(&s)
		}
		return give(s, nil)
	})
	if err != nil {
		give(Sample{}, f.because(err))
		return
	}
	if !more {
		return
	}
	if t != nil {
		for s := range t.rest() {
			if !give(s, nil) {
				return
			}
		}
	}
	r.sum = hex.EncodeToString(f.sum.Sum(nil))
}

// walk goes through a tar and gives its samples, until give returns false.
func (r *Reader) walk(f *stream, give func(Sample) bool) error {
	if r.part.Size == 0 {
		return errors.New("0 bytes, want a tar file")
	}
	b := bufio.NewReaderSize(f, readBuffer)
	head, err := b.Peek(webdataset.HeadBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := webdataset.Plain(head); err != nil {
		return err
	}
	seen := map[key]bool{}
	var g *group
	n := 0
	flush := func() bool {
		if g == nil {
			return true
		}
		done := g
		g = nil
		n++
		return give(r.finish(done))
	}
	marked := &ender{r: b}
	archive := tar.NewReader(marked)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // names are judged below, with what they are
			return fmt.Errorf("after %s: %w", plural.Of(n, "sample"), err)
		}
		switch webdataset.KindOf(h) {
		case webdataset.Nothing:
			continue
		case webdataset.Link:
			r.left.Add(webdataset.LeftLinks, text(h.Name))
			continue
		}
		name, err := webdataset.CleanName(h.Name)
		if err != nil {
			shown := fmt.Sprintf("%.80q", h.Name)
			if !give(Sample{Key: shown, Path: r.part.Location + "/" + shown, Err: err}) {
				return nil
			}
			continue
		}
		id, suffix := webdataset.SplitKey(name)
		what := webdataset.Stranger(id, suffix)
		unread := id != "" && pictures.Unread(suffix) != ""
		if what != (plural.Phrase{}) && !unread {
			r.left.Add(what, r.part.Location+"/"+text(name))
			continue
		}
		if g == nil || g.Key != id {
			if !flush() {
				return nil
			}
			g = &group{Sample: Sample{Key: id, Path: r.part.Location + "/" + name}, first: name}
			k := keyOf(id)
			if seen[k] {
				g.fail("%s: the files of a sample lie apart, or its key is there twice: %q was read before", text(name), id)
			}
			seen[k] = true
		}
		if err := r.member(g, archive, h, name, suffix, what.One); err != nil {
			return err
		}
	}
	if marked.cut {
		return fmt.Errorf("after %s: the file ends without the mark of an archive's end: it is cut short", plural.Of(n+1, "sample"))
	}
	if err := webdataset.AtEnd(b); err != nil {
		return err
	}
	flush()
	return nil
}

// member takes a file of a sample. An error is one of the tar.
func (r *Reader) member(g *group, archive io.Reader, h *tar.Header, name, suffix, unread string) error {
	limit, picture := int64(webdataset.MaxNote), pictures.Ending(suffix)
	switch {
	case unread != "":
		g.unread = name
		return nil
	case webdataset.Sparse(h):
		g.fail("%q is a sparse file, want its bytes in one piece", name)
		return nil
	case picture && g.picture != "":
		g.fail("%q and %q are two pictures of one sample", g.picture, name)
		return nil
	case picture:
		g.picture, g.Path, limit = name, r.part.Location+"/"+name, r.options.maxBytes()
	}
	if _, twice := g.notes[suffix]; twice {
		g.fail("%q is there twice", name)
		return nil
	}
	if h.Size > limit {
		g.fail("%q has %d bytes, want at most %d", name, h.Size, limit)
		return nil
	}
	if h.Size > r.part.Size { // so that no memory is asked for that is not there
		return fmt.Errorf("%q claims %d bytes of a file of %d", name, h.Size, r.part.Size)
	}
	if g.Err != nil {
		return nil
	}
	content := make([]byte, h.Size)
	if _, err := io.ReadFull(archive, content); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if picture {
		g.Image = content
		return nil
	}
	content = bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\ufeff")))
	if !utf8.Valid(content) {
		g.fail("%q: not UTF-8", name)
		return nil
	}
	if g.notes == nil {
		g.notes = map[string]string{}
	}
	g.notes[suffix] = string(content)
	return nil
}

// finish returns the sample of a group.
func (r *Reader) finish(g *group) Sample {
	switch {
	case g.picture == "" && g.unread != "":
		g.fail("%q is a picture of the format %s, which is not read", g.unread, pictures.Unread(g.unread[strings.LastIndexByte(g.unread, '.')+1:]))
	case g.picture == "":
		g.fail("no picture beside %q", g.first)
	}
	g.Columns = make([]any, len(r.options.Columns))
	if note, ok := g.notes["json"]; ok {
		var keys map[string]json.RawMessage
		if err := pyjson.Unmarshal([]byte(note), &keys); err != nil {
			g.fail("%q: %w", g.Key+".json", pyjson.Explain(err))
		}
		for _, c := range webdataset.Captions {
			if s, err := pyjson.Unquote(keys[c]); err == nil && utf8.ValidString(s) && g.Caption == "" {
				g.Caption = strings.TrimSpace(s)
			}
		}
	}
	if note := g.notes["txt"]; note != "" {
		g.Caption = note
	}
	g.HasCaption = g.Caption != ""
	if r.part.Table == nil {
		for _, n := range []struct{ suffix, column string }{{"json", jsonColumn}, {"cls", clsColumn}} {
			note, ok := g.notes[n.suffix]
			at := slices.IndexFunc(r.options.Columns, func(c output.Column) bool { return c.Name == n.column })
			switch {
			case ok && at >= 0:
				g.Columns[at] = note
			case ok:
				end := " of samples of the ending " + n.suffix + ", for which there is no column"
				r.left.Add(plural.Phrase{One: "file" + end, Many: "files" + end}, g.Path)
			}
		}
	}
	if g.Err != nil {
		g.Image = nil
	} else {
		g.SHA256 = sha256.Sum256(g.Image)
	}
	return g.Sample
}
