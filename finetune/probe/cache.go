package probe

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/folder"
)

// A Cache keeps features in a folder, one file for a picture:
//
//	DIR/SPACE/about.json        what all features of this folder are
//	DIR/SPACE/01/23456789….f32  of the picture whose bytes have the SHA-256 0123456789…
//
// SPACE is a hash of the tower, the preprocessing and the kind of features, so nothing in the cache ever
// becomes wrong; what is no longer needed can be deleted at any time. A file holds float32, little
// endian, and then their CRC-32C. It appears with its name when it is complete, and one that is damaged counts
// as absent: any number of processes may use a cache at once, and be killed.
type Cache struct{ dir string }

// OpenCache returns the cache in a folder, which it makes if it is not there.
func OpenCache(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("probe: cache: %w", err)
	}
	return &Cache{dir}, nil
}

// A Key is the SHA-256 of a picture's bytes as they are in its file.
type Key [sha256.Size]byte

// KeyOf returns the key of a picture.
func KeyOf(picture []byte) Key { return sha256.Sum256(picture) }

// about is what about.json says.
type about struct {
	Features      clipvit.Features `json:"features"`
	Shape         []int            `json:"shape"`         // of one picture's
	Model         string           `json:"model"`         // its Fingerprint
	Preprocessing string           `json:"preprocessing"` // hash of what is done to the pictures
}

// preprocessing is a hash of what is done to pictures for a tower, as [clipvit.Preprocess] does it or, if one is given, a
// layout. The words change when something else is done for the same configuration.
func preprocessing(c clipvit.Config, layout string) string {
	t := c.Transform.Resolved()
	text := fmt.Appendf(nil, "as in Pillow 13: %d pixels, patches of %d, fit %q, filter %q, mean %v, deviation %v, layout %q",
		c.ImageSize, c.PatchSize, t.Fit, t.Filter, t.Mean, t.Std, layout)
	// What came later is told where it is not OpenAI's, so that features of before stay.
	r := c.Transform.Canonical()
	r.Fit, r.Filter, r.Mean, r.Std = "", "", [3]float64{}, [3]float64{}
	if r != (clipvit.Transform{}) {
		text = fmt.Appendf(text, ", resize %d, fill %v, rounding %q, alpha %q, EXIF %t", r.Resize, r.Fill, r.Rounding, r.Alpha, r.EXIF)
	}
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}

// A Space is the part of a cache that belongs to one tower and one kind of features. Its methods may be
// called by many goroutines at once.
type Space struct {
	dir string
	n   int // features of a picture; 0 if each has its own number
}

// Space opens the part of the cache that belongs to the features of a tower. It reads the whole tower,
// which takes about as long as encoding a few pictures.
func (c *Cache) Space(m *clipvit.Model, f clipvit.Features) (*Space, error) {
	return c.space(m, f, preprocessing(m.Config, ""))
}

// ViewsSpace opens the part of the cache that belongs to all tokens of a layer of a tower, of pictures that reach it
// by a layout and as any number of views: layout says all that decides what these are, but for the size of the
// tower's input.
func (c *Cache) ViewsSpace(m *clipvit.Model, layer int, layout string) (*Space, error) {
	s, err := c.space(m, clipvit.Features{Kind: clipvit.AllTokens, Layer: layer}, preprocessing(m.Config, layout))
	if err != nil {
		return nil, err
	}
	s.n = 0
	return s, nil
}

// space opens the part of the cache for pictures that are prepared in a way that has the given hash.
func (c *Cache) space(m *clipvit.Model, f clipvit.Features, preprocessing string) (*Space, error) {
	shape, err := f.Shape(m.Config)
	if err != nil {
		return nil, err
	}
	model, err := f.Fingerprint(m)
	if err != nil {
		return nil, err
	}
	if f.Layer < 0 {
		f.Layer = f.Blocks(m.Config) // one name for one thing
	}
	text, err := json.MarshalIndent(about{f, shape, model, preprocessing}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("probe: cache: %w", err)
	}
	hash := sha256.Sum256(text)
	s := &Space{filepath.Join(c.dir, hex.EncodeToString(hash[:12])), 1} // 96 bits: no two of a cache's spaces agree
	for _, d := range shape {
		s.n *= d
	}
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		return nil, fmt.Errorf("probe: cache: %w", err)
	}
	if err := folder.WriteCached(filepath.Join(s.dir, "about.json"), append(text, '\n')); err != nil {
		return nil, fmt.Errorf("probe: cache: %w", err)
	}
	return s, nil
}

// Len returns how many features a picture has, or 0 if each has its own number.
func (s *Space) Len() int { return s.n }

func (s *Space) path(k Key) string {
	name := hex.EncodeToString(k[:])
	return filepath.Join(s.dir, name[:2], name[2:]+".f32") // no folder gets too long
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Get returns the features of a picture, or nil if they are not there or damaged.
func (s *Space) Get(k Key) ([]float32, error) {
	f, err := os.Open(s.path(k))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("probe: cache: %w", err)
	}
	defer f.Close()
	size := 4 * s.n
	if s.n == 0 {
		info, err := f.Stat()
		if err != nil {
			return nil, fmt.Errorf("probe: cache: %w", err)
		}
		size = int(max(info.Size()-crc32.Size, 0)) &^ 3 // of any number of float32
	}
	raw := make([]byte, size+crc32.Size+1) // one more, which must not be there
	n, err := io.ReadFull(f, raw)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("probe: cache: %w", err)
	}
	body, sum := raw[:size], raw[size:]
	if n != size+crc32.Size || binary.LittleEndian.Uint32(sum) != crc32.Checksum(body, castagnoli) {
		return nil, nil
	}
	x := make([]float32, size/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
	}
	return x, nil
}

// Put keeps the features of a picture.
func (s *Space) Put(k Key, x []float32) error {
	if s.n > 0 && len(x) != s.n {
		return fmt.Errorf("probe: cache: %d features, want %d", len(x), s.n)
	}
	raw := make([]byte, 0, 4*len(x)+crc32.Size)
	for _, v := range x {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	raw = binary.LittleEndian.AppendUint32(raw, crc32.Checksum(raw, castagnoli))
	path := s.path(k)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("probe: cache: %w", err)
	}
	err := folder.WriteCached(path, raw) // damage is found by the sum
	if err != nil {
		// Windows does not replace a file that someone reads; then it was written by someone else.
		if there, _ := s.Get(k); there != nil {
			return nil
		}
		return fmt.Errorf("probe: cache: %w", err)
	}
	return nil
}
