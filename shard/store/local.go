package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/vitago/vitago/internal/folder"
)

// A local store is a folder. Links in it are followed, wherever they lead: it is names that cannot leave it.
type local struct{ root string }

func newLocal(root string) (Store, error) {
	if i, err := os.Stat(root); err == nil && !i.IsDir() {
		return nil, fmt.Errorf("store: %s: not a folder", root)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store: %w", err)
	}
	return local{filepath.Clean(root)}, nil
}

func locateLocal(path string) (root, name string, err error) {
	dir, name := filepath.Split(path)
	if CheckName(name) != nil {
		return "", "", fmt.Errorf("store: %s: names no file", path)
	}
	return filepath.Clean(dir), name, nil
}

func (l local) String() string { return l.root }

// path returns where a name lies.
func (l local) path(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	p, err := filepath.Localize(name) // fails for what this system has no file for
	if err != nil {
		return "", fmt.Errorf("store: name %q is none of a file on this system: %w", name, ErrName)
	}
	if slices.ContainsFunc(strings.Split(name, "/"), folder.IsPartial) {
		return "", fmt.Errorf("store: name %q is one of files that are not complete: %w", name, ErrName)
	}
	return filepath.Join(l.root, p), nil
}

// failed returns an error of a system call with the package before it.
func failed(err error) error { return fmt.Errorf("store: %w", err) }

func info(name string, i fs.FileInfo) Info {
	return Info{Name: name, Size: i.Size(), Modified: i.ModTime(), Version: fmt.Sprintf("%d-%d", i.Size(), i.ModTime().UnixNano())}
}

// stat returns what is known of the file at a path; of a folder, a device or a pipe that it does not exist.
func stat(path string) (fs.FileInfo, error) {
	i, err := os.Stat(path)
	if err == nil && !i.Mode().IsRegular() {
		err = &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
	}
	return i, err
}

func (l local) Stat(ctx context.Context, name string) (Info, error) {
	path, err := l.path(name)
	if err != nil {
		return Info{}, err
	}
	if ctx.Err() != nil {
		return Info{}, context.Cause(ctx)
	}
	i, err := stat(path)
	if err != nil {
		return Info{}, failed(notThere(err))
	}
	return info(name, i), nil
}

// notThere makes one error of the two for a file that is not there: a file may lie where a folder of its name would.
func notThere(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) && errors.Is(err, syscall.ENOTDIR) {
		return &fs.PathError{Op: e.Op, Path: e.Path, Err: fs.ErrNotExist}
	}
	return err
}

func (l local) Open(ctx context.Context, name string, offset, length int64) (Reader, error) {
	path, err := l.path(name)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if _, err := stat(path); err != nil { // opening a pipe would wait for its writer
		return nil, failed(notThere(err))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, failed(notThere(err))
	}
	i, err := f.Stat()
	if err == nil && (offset < 0 || offset > i.Size()) {
		err = fmt.Errorf("%s: offset %d, want one in 0…%d, its size", path, offset, i.Size())
	}
	if err != nil {
		f.Close()
		return nil, failed(err)
	}
	if length < 0 || length > i.Size()-offset {
		length = i.Size() - offset
	}
	return &localReader{ctx, f, io.NewSectionReader(f, offset, length), length, info(name, i)}, nil
}

type localReader struct {
	ctx  context.Context
	f    *os.File
	s    *io.SectionReader
	left int64
	info Info
}

func (r *localReader) Info() Info   { return r.info }
func (r *localReader) Close() error { return r.f.Close() }

func (r *localReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.s.Read(b)
	r.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && r.left > 0:
		return n, fmt.Errorf("store: %s: %w: it ends %d bytes before its size, %d", r.f.Name(), ErrChanged, r.left, r.info.Size)
	case err != nil && !errors.Is(err, io.EOF):
		err = failed(err)
	}
	return n, err
}

// List goes through the folders that can hold names with the prefix. It keeps the names of one folder, and of those above it, in memory.
func (l local) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if _, err := l.list(ctx, "", prefix, 0, yield); err != nil {
			yield(Info{}, err)
		}
	}
}

// maxDepth is how deep folders are gone into: links can make endless ones.
const maxDepth = 64

// list lists the folder dir, "" or with a slash at its end. It returns false when the loop was left.
func (l local) list(ctx context.Context, dir, prefix string, depth int, yield func(Info, error) bool) (bool, error) {
	if depth > maxDepth {
		return false, fmt.Errorf("store: %s: folders %d deep, such as a link to a folder above makes", filepath.Join(l.root, filepath.FromSlash(dir)), depth)
	}
	names, err := l.entries(dir, prefix)
	if err != nil {
		return false, err
	}
	slices.Sort(names) // a folder with its slash: "a.b" comes before "a/b"
	for _, name := range names {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if strings.HasSuffix(name, "/") {
			if more, err := l.list(ctx, name, prefix, depth+1, yield); !more || err != nil {
				return false, err
			}
			continue
		}
		i, err := stat(filepath.Join(l.root, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed meanwhile, or is no file
		}
		if err != nil {
			return false, failed(err)
		}
		if !yield(info(name, i), nil) {
			return false, nil
		}
	}
	return true, nil
}

// entries returns the names in a folder that have the prefix, or are folders that could hold such. A folder ends with a slash.
func (l local) entries(dir, prefix string) (names []string, err error) {
	d, err := os.Open(filepath.Join(l.root, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(err)
	}
	defer d.Close()
	return l.namesIn(d, dir, prefix)
}

// namesIn is entries of a folder that is open. Another process may remove it, as long as it is empty.
func (l local) namesIn(d *os.File, dir, prefix string) (names []string, err error) {
	for {
		const some = 1024
		entries, err := d.ReadDir(some)
		for _, e := range entries {
			name, mode := dir+e.Name(), e.Type()
			if folder.IsPartial(e.Name()) {
				continue
			}
			if mode&fs.ModeSymlink != 0 {
				i, err := os.Stat(filepath.Join(l.root, filepath.FromSlash(name)))
				if errors.Is(err, fs.ErrNotExist) {
					continue // it leads nowhere
				}
				if err != nil {
					return nil, failed(err)
				}
				mode = i.Mode().Type()
			}
			if mode.IsDir() {
				name += "/"
			} else if !mode.IsRegular() {
				continue
			}
			if strings.HasPrefix(name, prefix) || mode.IsDir() && strings.HasPrefix(prefix, name) {
				names = append(names, name)
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
			return names, nil
		}
		if err != nil {
			return nil, failed(err)
		}
	}
}

func (l local) Put(ctx context.Context, name string, content io.ReadSeeker, size int64, o PutOptions) error {
	path, err := l.path(name)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if o.IfAbsent { // CommitNew finds that out as well, and later
		if _, err := os.Stat(path); err == nil {
			return fmt.Errorf("store: %s: %w", path, ErrExists)
		}
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return failed(err)
	}
	f, err := create(path)
	if err != nil {
		return failed(err)
	}
	defer f.Discard()
	n, err := io.Copy(f, contextReader{ctx, content})
	if err != nil {
		return failed(err)
	}
	if n != size {
		return fmt.Errorf("store: %s: content of %d bytes, want %d", path, n, size)
	}
	if !o.IfAbsent {
		err = f.Commit()
	} else if err = f.CommitNew(); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("store: %s: %w", path, ErrExists)
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// create is [folder.Create]. Another process may remove an empty folder that it made between this one's two steps.
func create(path string) (f *folder.File, err error) {
	for range 5 {
		if f, err = folder.Create(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return f, err
}

// contextReader reads until a context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(b)
}

func (l local) Rename(ctx context.Context, from, to string) error {
	a, err1 := l.path(from)
	b, err2 := l.path(to)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := stat(a)
	err = notThere(err)
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(b), 0o777); err == nil {
			err = os.Rename(a, b)
		}
	}
	if errors.Is(err, fs.ErrNotExist) { // perhaps since another process has just done it
		if _, e := stat(b); e == nil {
			return nil
		}
	}
	if err != nil {
		return failed(err)
	}
	folder.SyncDir(filepath.Dir(b))
	return nil
}

func (l local) Delete(ctx context.Context, name string) error {
	path, err := l.path(name)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, err := stat(path); err != nil {
		if errors.Is(notThere(err), fs.ErrNotExist) {
			return nil
		}
		return failed(err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(err)
	}
	return nil
}
