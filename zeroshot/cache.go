package zeroshot

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/folder"
)

// A space is the part of a cache that belongs to one text tower, its tokenizer, and some templates:
//
//	DIR/SPACE/about.json        what all embeddings of this folder are
//	DIR/SPACE/01/23456789….f64  of the label with the SHA-256 0123456789…
//
// SPACE is a hash of what about.json says. A file holds float64, little endian, and then their CRC-32C. It appears with its
// name when it is complete, and one that is damaged counts as absent.
type space struct {
	dir string
	n   int // E
}

// about is what about.json says.
type about struct {
	Text      string   `json:"text"` // fingerprint of tower and tokenizer
	Templates []string `json:"templates"`
}

// openSpace opens that of a model and templates, whose embeddings have n values.
func openSpace(ctx context.Context, dir string, m *clip.Model, templates []string, n int) (*space, error) {
	fingerprint, err := m.TextFingerprint(ctx)
	if err != nil {
		return nil, err
	}
	text, err := folder.JSON(about{fingerprint, templates})
	if err != nil {
		return nil, failed(err)
	}
	hash := sha256.Sum256(text)
	s := &space{filepath.Join(dir, hex.EncodeToString(hash[:12])), n} // 96 bits: no two of a cache's spaces agree
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		return nil, failed(err)
	}
	path := filepath.Join(s.dir, "about.json")
	if _, err := os.Lstat(path); err == nil {
		return s, nil // a cache may be read where it cannot be written
	}
	return s, failed(folder.WriteCached(path, text))
}

// failed returns the error of a cache, nil if there is none.
func failed(err error) error {
	if err != nil {
		return fmt.Errorf("zeroshot: cache: %w", err)
	}
	return nil
}

func (s *space) path(label string) string {
	hash := sha256.Sum256([]byte(label))
	name := hex.EncodeToString(hash[:])
	return filepath.Join(s.dir, name[:2], name[2:]+".f64") // no folder gets too long
}

// castagnoli is the polynomial of CRC-32C, which processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// get returns the embedding of a label [E], or nil if it is not there whole.
func (s *space) get(label string) []float64 {
	raw, err := folder.ReadSmall(s.path(label), int64(8*s.n+4))
	if err != nil {
		return nil
	}
	return decode(raw, s.n)
}

// decode returns the n values of a file, or nil if it is damaged.
func decode(raw []byte, n int) []float64 {
	if len(raw) != 8*n+4 {
		return nil
	}
	values, sum := raw[:8*n], raw[8*n:]
	if crc32.Checksum(values, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return nil
	}
	x := make([]float64, n)
	for i := range x {
		x[i] = math.Float64frombits(binary.LittleEndian.Uint64(values[8*i:]))
		if x[i]-x[i] != 0 {
			return nil
		}
	}
	return x
}

// put keeps the embedding of a label.
func (s *space) put(label string, x []float64) error {
	raw := make([]byte, 0, 8*len(x)+4)
	for _, v := range x {
		raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(v))
	}
	raw = binary.LittleEndian.AppendUint32(raw, crc32.Checksum(raw, castagnoli))
	path := s.path(label)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return failed(err)
	}
	return failed(folder.WriteCached(path, raw))
}
