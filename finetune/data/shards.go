package data

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/pictures"
	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/webdataset"
)

// Bounds on what a shard may make us hold. Shards come from the network; their pictures are bounded
// where they are decoded.
const (
	maxNote  = webdataset.MaxNote
	maxImage = pillow.MaxBytes // bytes of a picture: no larger file is decoded
)

// part is where in a tar file a picture is.
type part struct {
	shard        string
	offset, size int64 // bytes
}

// open returns the bytes of the picture.
func (p *part) open() (io.ReadCloser, error) {
	f, err := os.Open(p.shard)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, p.offset, p.size), f}, nil
}

// Shards opens the tar files that a pattern of [filepath.Glob] matches, in the order of their names,
// each holding samples as WebDataset writes them: files that share a name up to its first dot.
//
//	KEY.jpg (or png, webp, …)   the picture
//	KEY.cls                     its label, any text or number
//	KEY.txt                     its caption
//	KEY.json                    an object with label or caption, or both, or a list of labels, named as in [Table]
//
// Other files are left out; [Dataset.Notes] counts and names them: those of other endings or none, those with a second dot
// in their names, since the key ends at the first, links, and pictures of formats that are not read. The shards are read once from one end to the other, skipping the pictures,
// to index them; pictures are then read where they lie, in any order, so shards must not be compressed.
//
// Nothing is ever written by a name that a shard gives. It returns an error that names the shard and
// the entry if a file is cut short, corrupt or empty, bytes follow the end of the archive, a name is absolute or leads upwards, a name is there twice,
// a picture has no label where others have one or no caption where it has no label, or notes have no picture or contradict
// each other; and, as [Table], if there is a single class.
func Shards(glob string) (*Dataset, error) { return shardsOf(glob, toLearn) }

// Shard lists the pictures in one tar file with their captions, as [Shards] reads it, but wants neither labels nor captions. Notes
// says what was left out, a sentence each.
func Shard(file string) (samples []Sample, notes []string, err error) {
	var left pictures.Left
	found, err := index(nil, file, &left)
	if err != nil {
		return nil, nil, fmt.Errorf("data: %s: %w", file, err)
	}
	for _, s := range found {
		s.Label = Unlabelled
		samples = append(samples, s.Sample)
	}
	return samples, left.Notes(), nil
}

// Open opens the picture: its file, or the part of a tar file where it lies.
func (s *Sample) Open() (io.ReadCloser, error) {
	if s.part != nil {
		return s.part.open()
	}
	return os.Open(s.Path)
}

// InShard returns how many bytes a picture has that lies in a tar file.
func (s *Sample) InShard() (size int64, ok bool) {
	if s.part == nil {
		return 0, false
	}
	return s.part.size, true
}

func shardsOf(glob string, least int) (*Dataset, error) {
	files, err := filepath.Glob(glob)
	if err != nil {
		return nil, fmt.Errorf("data: %s: %w", glob, err)
	}
	if len(files) == 0 && strings.ContainsAny(glob, "{}") {
		return nil, fmt.Errorf("data: %s: no such files, want a pattern like train-*.tar; braces mean nothing in it", glob)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("data: %s: no such files, want a pattern like train-*.tar", glob)
	}
	slices.Sort(files)
	var found []labelled
	var left pictures.Left
	for _, file := range files {
		n := len(found)
		if found, err = index(found, file, &left); err != nil {
			return nil, withNotes(glob, fmt.Errorf("data: %s: %w", file, err), left.Notes())
		}
		if len(found) == n && len(files) > 1 {
			left.Add(plural.Phrase{One: "shard without samples", Many: "shards without samples"}, file)
		}
	}
	if err := sameNumber(found); err != nil {
		return nil, fmt.Errorf("data: %s: %w", glob, err)
	}
	d, err := build(glob, filepath.Dir(files[0]), found, false, least)
	if err != nil {
		return nil, withNotes(glob, err, left.Notes())
	}
	d.Notes = left.Notes()
	return d, nil
}

// index appends the samples of a tar file to found, and adds to left what is no part of one.
func index(found []labelled, file string, left *pictures.Left) ([]labelled, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("no regular file but %v", info.Mode())
	}
	samples, err := readShard(f, info.Size(), func(what plural.Phrase, name string) { left.Add(what, file+"/"+name) })
	if err != nil {
		return nil, err
	}
	for _, s := range samples {
		s.Path = file + "/" + s.name
		s.part.shard = file
		s.where = s.Path
		found = append(found, s.labelled)
	}
	return found, nil
}

// A member is a sample of a shard.
type member struct {
	labelled
	name  string  // of the picture; empty while there is none
	has   [3]bool // which notes
	first string  // name of the first entry, for errors
}

// readShard returns the samples of a tar file of so many bytes, in the order of their first entries, and tells left what
// each other entry is, in the plural, and its name.
func readShard(f io.ReadSeeker, size int64, left func(what plural.Phrase, name string)) ([]*member, error) {
	if size == 0 {
		return nil, errors.New("0 bytes, want a tar file")
	}
	if err := refuseCompressed(f); err != nil {
		return nil, err
	}
	var members []*member
	byKey := map[string]*member{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // names are judged below, with what they are
			return nil, fmt.Errorf("after %s: %w", plural.Of(len(members), "sample"), err)
		}
		switch webdataset.KindOf(h) {
		case webdataset.Nothing:
			continue
		case webdataset.Link:
			left(webdataset.LeftLinks, h.Name)
			continue
		}
		name, err := webdataset.CleanName(h.Name)
		if err != nil {
			return nil, err
		}
		key, suffix := webdataset.SplitKey(name)
		note := slices.Index(webdataset.Notes, suffix)
		if what := webdataset.Stranger(key, suffix); what != (plural.Phrase{}) {
			left(what, name)
			continue
		}
		if webdataset.Sparse(h) {
			return nil, fmt.Errorf("%q is a sparse file, want its bytes in one piece", name)
		}
		m := byKey[key]
		if m == nil {
			m = &member{first: name}
			byKey[key] = m
			members = append(members, m)
		}
		if pictures.Ending(suffix) {
			if m.name != "" {
				return nil, fmt.Errorf("%q and %q are two pictures of one sample", m.name, name)
			}
			offset, err := f.Seek(0, io.SeekCurrent) // tar.Reader reads no further than it must
			if err != nil {
				return nil, err
			}
			if h.Size > maxImage || offset+h.Size > size {
				return nil, fmt.Errorf("%q claims %d bytes, want at most %d and the %d that are left in the file", name, h.Size, maxImage, size-offset)
			}
			m.name, m.part = name, &part{offset: offset, size: h.Size}
			continue
		}
		if m.has[note] {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		m.has[note] = true
		if h.Size > maxNote {
			return nil, fmt.Errorf("%q has %d bytes, want at most %d", name, h.Size, maxNote)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		if err := m.note(suffix, text); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
	}
	if err := webdataset.AtEnd(f); err != nil {
		return nil, err
	}
	var bare problems
	for _, m := range members {
		if m.name == "" {
			bare.add(fmt.Sprintf("%q", m.first))
		}
	}
	if bare.n > 0 {
		return nil, fmt.Errorf("%d of %d samples have no picture, the first is that of %s", bare.n, len(members), bare.first[0])
	}
	return members, nil
}

// note takes what a file beside the picture says.
func (m *member) note(suffix string, text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("not UTF-8")
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var label, caption string
	switch suffix {
	case "cls":
		label = strings.TrimSpace(string(text))
	case "txt":
		caption = strings.TrimSpace(string(text))
	case "json":
		v, err := readObject(text)
		if err != nil {
			return err
		}
		label, caption = strings.TrimSpace(v.text[labelColumn]), strings.TrimSpace(v.text[captionColumn])
		if m.list = v.list; v.listed {
			for i, l := range v.labels {
				if slices.Contains(v.labels[:i], l) {
					return fmt.Errorf("the label %q is there twice", l)
				}
				if !utf8.ValidString(l) {
					return fmt.Errorf("%q is not UTF-8", l)
				}
			}
		}
	}
	for _, s := range []string{label, caption} {
		if !utf8.ValidString(s) { // a JSON string with half a character
			return fmt.Errorf("%q is not UTF-8", s)
		}
	}
	if label != "" || m.label != "" {
		m.list = list{} // of which the label says what counts
	}
	for _, f := range []struct {
		what string
		new  string
		old  *string
	}{{"label", label, &m.label}, {"caption", caption, &m.Caption}} {
		switch {
		case f.new == "":
		case *f.old == "":
			*f.old = f.new
		case *f.old != f.new:
			return fmt.Errorf("%s %.40q, where another file of the sample says %.40q", f.what, f.new, *f.old)
		}
	}
	return nil
}

// refuseCompressed returns an error of a compressed shard.
func refuseCompressed(f io.ReadSeeker) error {
	head := make([]byte, webdataset.HeadBytes)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if err := webdataset.Plain(head[:n]); err != nil {
		return err
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
