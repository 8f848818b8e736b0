// Package store is files in a folder or objects in a bucket behind one interface: what a shard is made of, and what it becomes.
//
// A name in a store has slashes between its parts on every system, and none at its ends. Folders are what names have in
// common: they need not be made, and nobody lists them. [Open] opens the store at a location: a folder, or "s3://BUCKET/PREFIX" in a program that
// imports shard/store/s3.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Info is what a store knows of a file or an object.
type Info struct {
	Name     string    // in the store
	Size     int64     // in bytes
	Modified time.Time // when it was last changed; zero if the store does not say
	// Version changes when the content does: an ETag in quotes, or size and time of a local file.
	Version string
}

// A Reader reads a file or an object. A read that breaks off is taken up behind what was read.
type Reader interface {
	io.ReadCloser
	Info() Info // of all of it, at the moment when it was opened; the time may be missing
}

// PutOptions says how [Store.Put] writes.
type PutOptions struct {
	// IfAbsent makes it the error ErrExists that something has the name already. Of many that put at the same time, one wins.
	IfAbsent bool
}

// A Store holds files or objects by names. Its methods may be called from many goroutines and processes at once.
//
// Errors have the location, and are of a kind, for [errors.Is]: [fs.ErrNotExist], [ErrExists], [ErrChanged], [ErrName],
// [fs.ErrPermission], [fs.ErrInvalid] of a location or setting that is wrong, such as a bucket that is not there, or the cause of a
// context that has ended.
type Store interface {
	// Open reads length bytes from offset on, or to the end if length is negative. Where fewer are left it reads these.
	// An offset behind the end is an error. ctx is that of the reading too.
	Open(ctx context.Context, name string, offset, length int64) (Reader, error)
	// Stat returns what is known of name.
	Stat(ctx context.Context, name string) (Info, error)
	// List returns all whose names begin with prefix, in the order of the bytes of their names. An error is the last item.
	// Nothing there is no error.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Put writes size bytes, all of content from its start. They appear whole or not at all, in the place of what was there.
	Put(ctx context.Context, name string, content io.ReadSeeker, size int64, o PutOptions) error
	// Rename gives from the name to, and replaces what had it. Doing that twice is no error: if only to is there, nothing is left to do.
	Rename(ctx context.Context, from, to string) error
	// Delete removes name. Nothing there is no error.
	Delete(ctx context.Context, name string) error
	// String returns the location, without secrets.
	String() string
}

// Kinds of errors.
var (
	ErrExists  = fmt.Errorf("there is one already: %w", fs.ErrExist)
	ErrChanged = errors.New("it has changed since")
	ErrName    = fmt.Errorf("%w: want parts with slashes between them, none of them empty, . or ..", fs.ErrInvalid)
)

// CheckName returns an error of the kind [ErrName] for what names nothing in any store: an empty name, an absolute one, or one
// that leads out of it.
func CheckName(name string) error {
	if name == "." || !fs.ValidPath(name) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("store: name %q: %w", name, ErrName)
	}
	return nil
}

var (
	schemesMu sync.RWMutex
	schemes   = map[string]func(ctx context.Context, location string) (Store, error){}
)

// Register makes open the function that opens locations of a scheme, which is what stands before "://". It panics if there is one.
func Register(scheme string, open func(ctx context.Context, location string) (Store, error)) {
	schemesMu.Lock()
	defer schemesMu.Unlock()
	if scheme == "" || schemes[scheme] != nil {
		panic(fmt.Sprintf("store: scheme %q is registered already, or empty", scheme))
	}
	schemes[scheme] = open
}

// scheme returns what stands before "://" of a location, and what stands behind it; "" and the location for a local path.
func scheme(location string) (scheme, rest string) {
	before, behind, found := strings.Cut(location, "://")
	if !found || before == "" || strings.ContainsAny(before, `/\.`) {
		return "", location
	}
	return strings.ToLower(before), behind
}

// IsLocal says whether a location is a path of this machine.
func IsLocal(location string) bool {
	s, _ := scheme(location)
	return s == ""
}

// Redacted returns a location without the password of USER:PASSWORD@ before its bucket: people put secret keys there, where no store takes them.
func Redacted(location string) string {
	s, rest := scheme(location)
	colon, at := strings.IndexByte(rest, ':'), strings.LastIndexByte(rest, '@')
	if slash := strings.IndexByte(rest, '/'); s == "" || colon < 0 || at < colon || slash >= 0 && slash < colon { // a secret key may have slashes
		return location
	}
	return location[:len(location)-len(rest)] + rest[:colon] + ":…" + rest[at:]
}

// almost returns an error for a path that looks like a location of a registered scheme, with a slash too few.
func almost(location string) error {
	before, _, found := strings.Cut(location, ":/")
	schemesMu.RLock()
	defer schemesMu.RUnlock()
	if s := strings.ToLower(before); found && schemes[s] != nil {
		return fmt.Errorf("store: %s: want %s://BUCKET/PREFIX, or ./%s for a folder", location, s, location)
	}
	return nil
}

// Open opens the store at a location: a folder, which need not be there yet, or one of a registered scheme such as "s3://BUCKET/PREFIX".
func Open(ctx context.Context, location string) (Store, error) {
	if location == "" {
		return nil, errors.New("store: no location, want a folder or SCHEME://…")
	}
	s, _ := scheme(location)
	if s == "" {
		if err := almost(location); err != nil {
			return nil, err
		}
		return newLocal(location)
	}
	schemesMu.RLock()
	defer schemesMu.RUnlock()
	open := schemes[s]
	if open == nil {
		return nil, fmt.Errorf("store: %s: nothing here opens %s://, want a folder or one of %q", Redacted(location), s, slices.Sorted(maps.Keys(schemes)))
	}
	return open(ctx, location)
}

// Locate divides the location of one file or object into that of its folder, which [Open] opens, and its name there:
// "s3://b/a/x.tar" into "s3://b/a" and "x.tar".
func Locate(location string) (root, name string, err error) {
	s, rest := scheme(location)
	if s == "" {
		return locateLocal(location)
	}
	bucket, path, _ := strings.Cut(rest, "/")
	if bucket == "" || CheckName(path) != nil {
		return "", "", fmt.Errorf("store: %s: names no object, want %s://BUCKET/NAME", Redacted(location), s)
	}
	root = location[:len(location)-len(path)-1]
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return root + "/" + path[:i], path[i+1:], nil
	}
	return root, path, nil
}

// Read reads all of what has a name, of at most limit bytes.
func Read(ctx context.Context, s Store, name string, limit int64) ([]byte, Info, error) {
	r, err := s.Open(ctx, name, 0, -1)
	if err != nil {
		return nil, Info{}, err
	}
	defer r.Close()
	i := r.Info()
	if i.Size > limit {
		return nil, i, fmt.Errorf("store: %s: %s has %d bytes, want at most %d", s, name, i.Size, limit)
	}
	b, err := io.ReadAll(r)
	return b, i, err
}

// Write is [Store.Put] of bytes.
func Write(ctx context.Context, s Store, name string, content []byte, o PutOptions) error {
	return s.Put(ctx, name, bytes.NewReader(content), int64(len(content)), o)
}

// NewReaderAt reads ranges of what [Store.Stat] or [Store.List] gave i for, each by a request of its own. A content that is not
// of i's version any more is the error [ErrChanged]. Its size is i.Size.
func NewReaderAt(ctx context.Context, s Store, i Info) io.ReaderAt {
	return readerAt{ctx, s, i}
}

type readerAt struct {
	ctx   context.Context
	store Store
	info  Info
}

func (r readerAt) ReadAt(b []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, fmt.Errorf("store: %s: %s: offset %d, want 0 or more", r.store, r.info.Name, off)
	case len(b) == 0:
		return 0, nil
	case off >= r.info.Size:
		return 0, io.EOF
	}
	want := min(int64(len(b)), r.info.Size-off)
	f, err := r.store.Open(r.ctx, r.info.Name, off, want)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := Same(r.store, f.Info(), r.info); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(f, b[:want])
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

// Same returns an error of the kind [ErrChanged] if two infos of one name are of different contents.
func Same(s Store, got, want Info) error {
	if got.Size != want.Size || got.Version != want.Version {
		return fmt.Errorf("store: %s: %s: %w: %d bytes, version %s; want %d, %s", s, want.Name, ErrChanged, got.Size, got.Version, want.Size, want.Version)
	}
	return nil
}
