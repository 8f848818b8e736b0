package input

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/internal/pictures"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/internal/webdataset"
	"github.com/vitago/vitago/shard/store"
)

// Parts lists the parts of inputs, in their order. An input is
//
//	a folder           its pictures and those of all folders in it, by the bytes of their names, without hidden ones, or its tars and parquets
//	a .txt             a list of locations, one a line and relative to the folder of the list: of pictures, tars or parquets
//	a .tar             samples as WebDataset writes them; with a parquet of the same name beside it img2dataset's
//	a .parquet         rows with the bytes of a picture, a binary column or the struct {bytes, path} of Hugging Face's datasets
//	any other file     a picture
//
// Pictures are not read. Folders, lists and rows are cut by Options.PerShard; a tar is one part, and so is what img2dataset made of one of its shards.
// In memory are the names of one part, and what the store keeps to list a folder. An error is the last item: of an input that cannot be listed, that is
// there twice, or that is none; or if there are no pictures at all.
func Parts(ctx context.Context, inputs []string, o Options) iter.Seq2[Part, error] {
	return func(yield func(Part, error) bool) {
		if err := o.check(); err != nil {
			yield(Part{}, err)
			return
		}
		l := &lister{access: access{ctx: ctx}, o: o, yield: yield, seen: map[key]bool{}}
		err := l.all(inputs)
		if err == nil || errors.Is(err, errLeft) {
			if o.Note != nil {
				for _, n := range l.left.Notes() {
					o.Note(n)
				}
			}
		}
		if err != nil && !errors.Is(err, errLeft) {
			yield(Part{}, err)
		}
	}
}

// errLeft is when the loop over the parts was left.
var errLeft = errors.New("left")

// A lister makes parts of inputs.
type lister struct {
	access
	o     Options
	yield func(Part, error) bool
	files Part // pictures that no part has yet
	n     int  // parts
	seen  map[key]bool
	left  pictures.Left
}

func (l *lister) all(inputs []string) error {
	if len(inputs) == 0 {
		return errors.New("input: no inputs, want a folder, a list, tars or parquets")
	}
	for _, in := range inputs {
		whole := in
		if store.IsLocal(in) { // other workers may run elsewhere
			abs, err := filepath.Abs(in)
			if in == "" || err != nil {
				return fmt.Errorf("input: %q is no path: %w", in, errors.Join(err, fs.ErrInvalid))
			}
			whole = abs
		}
		if err := l.input(whole); err != nil {
			if errors.Is(err, errLeft) {
				return err
			}
			if l.ctx.Err() != nil {
				return context.Cause(l.ctx)
			}
			return fmt.Errorf("input: %s: %w", text(store.Redacted(in)), err)
		}
	}
	if err := l.flush(); err != nil {
		return err
	}
	if l.n == 0 {
		return fmt.Errorf("input: no pictures in %s%s", text(strings.Join(inputs, ", ")), strings.Join(append([]string{""}, l.left.Notes()...), "; "))
	}
	return nil
}

// part gives a part.
func (l *lister) part(p Part) error {
	if err := l.flush(); err != nil {
		return err
	}
	return l.give(p)
}

func (l *lister) give(p Part) error {
	l.n++
	if !l.yield(p, nil) {
		return errLeft
	}
	return nil
}

// flush gives the pictures that no part has yet.
func (l *lister) flush() error {
	p := l.files
	l.files = Part{}
	if len(p.Files) == 0 {
		return nil
	}
	return l.give(p)
}

// file adds a picture of a folder, or of none, to those that no part has yet. With a table it is one of img2dataset's folder.
func (l *lister) file(folder string, f File, table *Table) error {
	p := &l.files
	if len(p.Files) > 0 && (p.Location != folder || !sameTable(p.Table, table) || table == nil && len(p.Files) >= l.o.perShard()) {
		if err := l.flush(); err != nil {
			return err
		}
	}
	p.Kind, p.Location, p.Table = filesPart, folder, table
	p.Files = append(p.Files, f)
	return nil
}

func sameTable(a, b *Table) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// once returns an error if a tar or a parquet is there twice.
func (l *lister) once(location string) error {
	k := keyOf(location)
	if l.seen[k] {
		return fmt.Errorf("%s is given twice", text(location))
	}
	l.seen[k] = true
	return nil
}

// ending returns the ending of a location, in lower case and without the dot.
func ending(location string) string {
	return strings.ToLower(strings.TrimPrefix(path.Ext(filepath.ToSlash(location)), "."))
}

// stemOf returns a name without its ending.
func stemOf(name string) string { return name[:len(name)-len(path.Ext(filepath.ToSlash(name)))] }

// input lists the parts of an input.
func (l *lister) input(in string) error {
	local := store.IsLocal(in)
	if local {
		info, err := os.Stat(in)
		if err != nil {
			return plain(err)
		}
		if info.IsDir() {
			return l.folder(in)
		}
	}
	switch e := ending(in); {
	case strings.HasSuffix(in, "/"):
		return l.folder(in)
	case e == "tar":
		return l.tar(in)
	case e == "parquet":
		return l.parquet(in)
	case e == "txt":
		return l.list(in)
	case webdataset.Compressed(in):
		return errors.New("compressed, want a plain tar file: pictures are read from its middle")
	case !local && !pictures.Ending(e):
		return l.folder(in)
	}
	i, err := l.stat(in)
	if err != nil {
		return err
	}
	return l.file("", File{pyjson.Name(in), i.Size, i.Version}, nil)
}

// plain returns the error of a path without it.
func plain(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

func (l *lister) stat(location string) (store.Info, error) {
	s, name, err := l.stores.at(l.ctx, location)
	if err != nil {
		return store.Info{}, err
	}
	return s.Stat(l.ctx, name)
}

// tar gives the part of a tar.
func (l *lister) tar(location string) error {
	i, err := l.stat(location)
	if err != nil {
		return err
	}
	beside := stemOf(location) + ".parquet"
	var table *Table
	switch t, err := l.stat(beside); {
	case err == nil:
		table = &Table{beside, t.Size, t.Version}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return l.tarOf(location, i, table)
}

func (l *lister) tarOf(location string, i store.Info, table *Table) error {
	if err := l.once(location); err != nil {
		return err
	}
	return l.part(Part{Kind: tarPart, Location: location, Size: i.Size, Version: i.Version, Table: table})
}

// parquet gives the parts of a parquet that was given by its name.
func (l *lister) parquet(location string) error {
	i, err := l.stat(location)
	if err != nil {
		return err
	}
	f, err := l.openParquet(location, i.Size, i.Version)
	if err != nil {
		return err
	}
	return l.rows(location, i, f)
}

// hidden says whether a name, or a folder that it is in, begins with a dot.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.Contains(name, "/.") }

// folder gives the parts of a folder: of its pictures, tars and parquets.
func (l *lister) folder(location string) error {
	if len(strings.TrimRight(location, "/")) > 0 {
		location = strings.TrimRight(location, "/")
	}
	s, err := l.stores.root(l.ctx, location)
	if err != nil {
		return err
	}
	var held *store.Info // a parquet whose tar, or whose folder, may come next
	var table *Table     // of the folder of img2dataset's in which we are
	within := ""         // its name with a slash, or no name
	for i, err := range s.List(l.ctx, "") {
		if err != nil {
			return err
		}
		if hidden(i.Name) {
			continue
		}
		at, e := join(location, i.Name), ending(i.Name)
		if held != nil {
			stem := stemOf(held.Name)
			switch {
			case e == "tar" && stemOf(i.Name) == stem:
				t := &Table{join(location, held.Name), held.Size, held.Version}
				held = nil
				if err := l.tarOf(at, i, t); err != nil {
					return err
				}
				continue
			case strings.HasPrefix(i.Name, stem+"/"):
				is, err := l.isTable(location, *held)
				if err != nil {
					return err
				}
				if is {
					table, within, held = &Table{join(location, held.Name), held.Size, held.Version}, stem+"/", nil
				}
			}
			if held != nil && !strings.HasPrefix(i.Name, stem) {
				if err := l.alone(location, *held); err != nil {
					return err
				}
				held = nil
			}
		}
		if table != nil && !strings.HasPrefix(i.Name, within) {
			table, within = nil, ""
		}
		switch {
		case e == "tar":
			err = l.tarOf(at, i, nil)
		case e == "parquet":
			if held != nil {
				err = l.alone(location, *held)
			}
			held = &i
		case pictures.Ending(e):
			err = l.file(location, File{pyjson.Name(i.Name), i.Size, i.Version}, table)
		case pictures.Unread(e) != "":
			l.left.Add(pictures.NotRead(pictures.Unread(e)), text(at))
		case webdataset.Compressed(i.Name):
			l.left.Add(plural.Phrase{One: "tar that is compressed, whose pictures are not read", Many: "tars that are compressed, whose pictures are not read"}, text(at))
		}
		if err != nil {
			return err
		}
	}
	if held != nil {
		return l.alone(location, *held)
	}
	return nil
}

// alone gives the parts of a parquet of a folder in which it has no tar.
func (l *lister) alone(folder string, i store.Info) error {
	at := join(folder, i.Name)
	f, err := l.openParquet(at, i.Size, i.Version)
	if err != nil {
		return fmt.Errorf("%s: %w", text(i.Name), err)
	}
	switch _, none := f.pictures(l.o); {
	case none == nil:
		return l.rows(at, i, f)
	case !errors.As(none, new(noPictures)):
		return fmt.Errorf("%s: %w", text(i.Name), none)
	case f.isTable():
		return fmt.Errorf("%s is img2dataset's, and there is no tar beside it, nor a folder with its pictures", text(i.Name))
	}
	l.left.Add(plural.Phrase{One: "parquet file without a column of pictures", Many: "parquet files without a column of pictures"}, text(at))
	return nil
}

// isTable says whether a parquet is that of img2dataset.
func (l *lister) isTable(folder string, i store.Info) (bool, error) {
	f, err := l.openParquet(join(folder, i.Name), i.Size, i.Version)
	if err != nil {
		return false, fmt.Errorf("%s: %w", text(i.Name), err)
	}
	_, none := f.pictures(l.o)
	return none != nil && f.isTable(), nil
}

// list gives the parts of a list.
func (l *lister) list(location string) error {
	s, name, err := l.stores.at(l.ctx, location)
	if err != nil {
		return err
	}
	f, err := s.Open(l.ctx, name, 0, -1)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.flush(); err != nil {
		return err
	}
	i := f.Info()
	p := Part{Kind: listPart, Location: location, Size: i.Size, Version: i.Version}
	flush := func(next int64) error {
		done := p
		p.Offset, p.Length, p.First, p.Rows = next, 0, p.First+p.Rows, 0
		if done.Rows == 0 {
			return nil
		}
		return l.give(done)
	}
	before := l.n
	lines := newLines(f, 0)
	for {
		from := lines.offset
		line, ok := lines.next()
		if !ok {
			break
		}
		if e := ending(line); e == "tar" || e == "parquet" {
			if err := flush(lines.offset); err != nil {
				return err
			}
			p.First++
			if err := l.input(below(location, line)); err != nil {
				if errors.Is(err, errLeft) {
					return err
				}
				return fmt.Errorf("path %d, %s: %w", lines.number, text(line), err)
			}
			continue
		}
		if p.Rows >= int64(l.o.perShard()) {
			if err := flush(from); err != nil {
				return err
			}
		}
		p.Rows++
		p.Length = lines.offset - p.Offset
	}
	if lines.err != nil {
		return lines.err
	}
	if err := flush(0); err != nil {
		return err
	}
	if l.n == before && len(l.files.Files) == 0 {
		return errors.New("got 0 paths, want at least 1")
	}
	return nil
}
