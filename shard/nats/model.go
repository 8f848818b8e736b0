package nats

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitago/vitago/internal/folder"
)

// A Model is what the object store of a job has: the files of a folder, or one file.
type Model struct {
	Name  string      `json:"name"`  // of the file or folder
	File  bool        `json:"file"`  // it is one file
	Files []ModelFile `json:"files"` // in the order of their names
}

// A ModelFile is one of them.
type ModelFile struct {
	Name   string `json:"name"`   // below the folder, with slashes
	Size   int64  `json:"size"`   // in bytes
	SHA256 string `json:"sha256"` // hexadecimal
}

// digest names what a model is, by its names and contents.
func (m *Model) digest() string {
	s := sha256.Sum256(marshal(m))
	return hex.EncodeToString(s[:])
}

// DescribeModel reads a file, or the files of a folder and of all in it but hidden ones, and says what they are.
func DescribeModel(from string) (*Model, error) {
	m, err := describeModel(from)
	if err != nil {
		return nil, fmt.Errorf("nats: the model: %w", err)
	}
	return m, nil
}

func describeModel(from string) (*Model, error) {
	from, err := filepath.Abs(from)
	if err != nil {
		return nil, err
	}
	m := &Model{Name: filepath.Base(from)}
	info, err := os.Stat(from)
	if err != nil {
		return nil, err
	}
	if m.File = !info.IsDir(); m.File {
		f, err := describeFile(from, m.Name)
		m.Files = []ModelFile{f}
		return m, err
	}
	err = filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case p != from && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := os.Stat(p) // of what a link leads to
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		f, err := describeFile(p, filepath.ToSlash(rel))
		m.Files = append(m.Files, f)
		return err
	})
	if err == nil && len(m.Files) == 0 {
		err = fmt.Errorf("%s has no file", from)
	}
	slices.SortFunc(m.Files, func(a, b ModelFile) int { return cmp.Compare(a.Name, b.Name) })
	return m, err
}

func describeFile(from, name string) (ModelFile, error) {
	f, err := os.Open(from)
	if err != nil {
		return ModelFile{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return ModelFile{Name: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

// PutModel puts the queue's model into its object store, from where it was described. What is there already stays.
func (q *Queue) PutModel(ctx context.Context, from string) error {
	m := q.Description.Model
	if m == nil {
		return nil
	}
	var objects jetstream.ObjectStore
	err := again(ctx, func() (err error) {
		objects, err = q.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: q.modelBucket(), Replicas: q.Replicas})
		return q.wrap("making the store of its model", err)
	})
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		p := from
		if !m.File {
			p = filepath.Join(from, filepath.FromSlash(f.Name))
		}
		if err := again(ctx, func() error { return q.wrap("putting "+f.Name, put(ctx, objects, p, f)) }); err != nil {
			return err
		}
	}
	return nil
}

func put(ctx context.Context, objects jetstream.ObjectStore, from string, f ModelFile) error {
	ctx, cancel := context.WithTimeout(ctx, patienceOf(f))
	defer cancel()
	if info, err := objects.GetInfo(ctx, f.Name); err == nil && sumOf(info) == f.SHA256 {
		return nil
	}
	r, err := os.Open(from)
	if err != nil {
		return permanent{err}
	}
	defer r.Close()
	info, err := objects.Put(ctx, jetstream.ObjectMeta{Name: f.Name}, r)
	if err != nil {
		return err
	}
	if got := sumOf(info); got != f.SHA256 {
		return permanent{fmt.Errorf("%s has changed: its SHA-256 is %s, want %s", from, got, f.SHA256)}
	}
	return nil
}

// sumOf returns the hexadecimal SHA-256 of an object, or "".
func sumOf(info *jetstream.ObjectInfo) string {
	text, ok := strings.CutPrefix(info.Digest, "SHA-256=")
	sum, err := base64.URLEncoding.DecodeString(text)
	if !ok || err != nil {
		return ""
	}
	return hex.EncodeToString(sum)
}

// GetModel returns the path of the queue's model below the folder cache, to where it brings it if it is not there: whole, and with
// the right sums, or not at all. Without a model at the broker the path is "".
func (q *Queue) GetModel(ctx context.Context, cache string) (string, error) {
	m := q.Description.Model
	if m == nil {
		return "", nil
	}
	if err := m.check(); err != nil {
		return "", q.wrap("its model", err)
	}
	dir := filepath.Join(cache, m.digest())
	at := filepath.Join(dir, m.Name)
	if !m.File {
		at = filepath.Join(dir, "model") // a name that no checkpoint's form depends on
	}
	for range 2 { // another worker of this machine may bring it meanwhile
		switch err := m.compare(at); {
		case err == nil:
			return at, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", q.wrap("its model", fmt.Errorf("%w; remove %s", err, dir))
		}
		if err := folder.WithParents(dir, func() error {
			return folder.WriteDir(dir, false, func(tmp string) error { return q.download(ctx, m, filepath.Join(tmp, filepath.Base(at))) })
		}); err != nil && !errors.Is(err, fs.ErrExist) && m.compare(at) != nil {
			return "", q.wrap("bringing its model", err)
		}
	}
	return at, q.wrap("its model", m.compare(at))
}

// maxModelFiles is far above what a checkpoint has.
const maxModelFiles = 1000

// check returns an error for a model whose files would lie elsewhere than below its folder.
func (m *Model) check() error {
	if len(m.Files) == 0 || len(m.Files) > maxModelFiles || m.File && (len(m.Files) != 1 || m.Files[0].Name != m.Name) {
		return fmt.Errorf("it has %d files, want 1 to %d, and one alone of its own name if it is a file", len(m.Files), maxModelFiles)
	}
	for _, f := range append([]ModelFile{{Name: m.Name}}, m.Files...) {
		if !fs.ValidPath(f.Name) || f.Name == "." || !filepath.IsLocal(filepath.FromSlash(f.Name)) || f.Size < 0 {
			return fmt.Errorf("a file is called %q, want a name below the folder", f.Name)
		}
	}
	if path.Base(m.Name) != m.Name {
		return fmt.Errorf("it is called %q, want a name without folders", m.Name)
	}
	return nil
}

func (m *Model) place(at, name string) string {
	if m.File {
		return at
	}
	return filepath.Join(at, filepath.FromSlash(name))
}

// compare returns an error unless all files lie at a path with the right sums.
func (m *Model) compare(at string) error {
	if _, err := os.Stat(at); err != nil {
		return err
	}
	for _, want := range m.Files {
		p := m.place(at, want.Name)
		switch got, err := describeFile(p, want.Name); {
		case err != nil:
			return fmt.Errorf("%s: %s", p, err) //nolint:errorlint // a file that is missing in a folder that is there is damage
		case got != want:
			return fmt.Errorf("%s: %d bytes with SHA-256 %s, want %d with %s", p, got.Size, got.SHA256, want.Size, want.SHA256)
		}
	}
	return nil
}

// download brings the files of a model to a path.
func (q *Queue) download(ctx context.Context, m *Model, at string) error {
	objects, err := q.js.ObjectStore(ctx, q.modelBucket())
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		p := m.place(at, f.Name)
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			return err
		}
		if err := again(ctx, func() error { return get(ctx, objects, f, p) }); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return m.compare(at)
}

// patienceOf is how long a file may be on its way: at least 1 MB/s. Without it the client gives a whole file 5 seconds.
func patienceOf(f ModelFile) time.Duration {
	return patience + time.Duration(f.Size/1e6)*time.Second
}

func get(ctx context.Context, objects jetstream.ObjectStore, f ModelFile, to string) error {
	ctx, cancel := context.WithTimeout(ctx, patienceOf(f))
	defer cancel()
	r, err := objects.Get(ctx, f.Name)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(to)
	if err != nil {
		return permanent{err}
	}
	_, err = io.Copy(w, io.LimitReader(r, f.Size+1)) // the reader compares the sum when it comes to the end
	return errors.Join(err, w.Sync(), w.Close())
}
