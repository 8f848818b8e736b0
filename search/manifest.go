package search

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/folder"
)

// version is that of the form of an index.
const version = 1

// What lies in the folder of an index.
const (
	manifestName = "manifest.json"
	lockName     = "lock"
	vectorsDir   = "dataset/img_emb"
	metadataDir  = "dataset/metadata"
	codesDir     = "codes"
	changesDir   = "changes"
	pendingDir   = "pending"
	compactDir   = "compact"
	errorsName   = "errors.jsonl"
)

// maxManifest bounds the manifest: a shard takes 400 bytes.
const maxManifest = 64 << 20

// maxDim and maxRows bound an index: what says more is damaged.
const (
	maxDim  = 1 << 16
	maxRows = 1 << 31
)

// A manifest says what an index is.
type manifest struct {
	Version    int        `json:"version"`
	Generation int        `json:"generation"` // one more at each commit
	Print      string     `json:"fingerprint"`
	Space      clip.Space `json:"space"`
	Model      string     `json:"model,omitempty"` // where the model was, as a hint
	Columns    []string   `json:"columns"`         // of the user, sorted
	Sources    []Source   `json:"sources"`
	Next       int        `json:"next"` // the number of the next shard
	Shards     []shardOf  `json:"shards"`
	Changes    *changesOf `json:"changes,omitempty"` // renamed and deleted since
}

// A shardOf says what a shard is.
type shardOf struct {
	Number   int    `json:"number"`
	Rows     int    `json:"rows"`
	Vectors  fileOf `json:"vectors"`
	Metadata fileOf `json:"metadata"`
	Codes    fileOf `json:"codes"`
}

// A fileOf says what a file is.
type fileOf struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// A changesOf says which file has what changed since shards were written.
type changesOf struct {
	File string `json:"file"`
	Rows int    `json:"rows"` // that are deleted or have another name
	fileOf
}

func vectorsFile(n int) string  { return fmt.Sprintf("%s/img_emb_%05d.npy", vectorsDir, n) }
func metadataFile(n int) string { return fmt.Sprintf("%s/metadata_%05d.parquet", metadataDir, n) }
func codesFile(n int) string    { return fmt.Sprintf("%s/codes_%05d.bin", codesDir, n) }

// rows returns how many rows the shards have.
func (m *manifest) rows() (n int) {
	for _, s := range m.Shards {
		n += s.Rows
	}
	return n
}

// readManifest reads the manifest of an index.
func readManifest(dir string) (*manifest, error) {
	path := filepath.Join(dir, manifestName)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("search: %s: %w: the folder is not there", dir, ErrNoIndex)
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("search: %s: %w: is a file, want the folder of an index", dir, ErrNoIndex)
	}
	text, err := folder.ReadSmall(path, maxManifest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("search: %s: %w: it has no %s", dir, ErrNoIndex, manifestName)
	case err != nil:
		return nil, fmt.Errorf("search: %s: %w", path, reason(err))
	}
	m, err := parseManifest(text)
	if err != nil {
		return nil, fmt.Errorf("search: %s: %w", path, err)
	}
	return m, nil
}

// parseManifest reads and checks a manifest.
func parseManifest(text []byte) (*manifest, error) {
	m := &manifest{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
	}
	switch {
	case m.Version != version:
		return nil, fmt.Errorf("is of version %d of this format, want %d", m.Version, version)
	case m.Space.Dim < 1 || m.Space.Dim > maxDim:
		return nil, wrong("vectors have %d values, want 1 to %d", m.Space.Dim, maxDim)
	case m.Space.Fingerprint() != m.Print:
		return nil, wrong("the fingerprint is %.16s, and that of the space %.16s", m.Print, m.Space.Fingerprint())
	case !slices.IsSorted(m.Columns) || len(slices.Compact(slices.Clone(m.Columns))) != len(m.Columns):
		return nil, wrong("columns are %q, want them sorted, and each once", m.Columns)
	case slices.ContainsFunc(m.Columns, isOwn):
		return nil, wrong("columns are %q, of which some have the names of the index's own", m.Columns)
	}
	last, rows := -1, 0
	for _, s := range m.Shards {
		if s.Number <= last || s.Number >= m.Next {
			return nil, wrong("shard %d stands behind %d and before %d", s.Number, last, m.Next)
		}
		if s.Rows < 1 || s.Rows > maxRows-rows {
			return nil, wrong("shard %d has %d rows behind %d", s.Number, s.Rows, rows)
		}
		last, rows = s.Number, rows+s.Rows
	}
	if c := m.Changes; c != nil && (c.File != filepath.Base(c.File) || c.Rows < 0 || c.Rows > rows) {
		return nil, wrong("changes are of %d of %d rows in %q", c.Rows, rows, c.File)
	}
	return m, nil
}

// sumFile returns what a file is.
func sumFile(path string) (fileOf, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileOf{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return fileOf{n, hex.EncodeToString(h.Sum(nil))}, err
}
