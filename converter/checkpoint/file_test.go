package checkpoint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// naive reads a view element by element through its indices: the definition.
func naive(t *Tensor, all []float32) []float32 {
	var out []float32
	var walk func(d int, at int64)
	walk = func(d int, at int64) {
		if d == len(t.Shape) {
			out = append(out, all[at])
			return
		}
		for i := range t.Shape[d] {
			walk(d+1, at+int64(i)*t.strides[d])
		}
	}
	walk(0, t.offset)
	return out
}

// TestViews reads random views whole, by all doors and in pieces.
func TestViews(t *testing.T) {
	const n = 5000
	all := make([]float32, n)
	var raw []byte
	for i := range all {
		all[i] = float32(i)
		raw, _ = binary.Append(raw, binary.LittleEndian, all[i])
	}
	rng := rand.New(rand.NewPCG(1, 2))
	tested := 0
	for range 3000 {
		s := &storage{name: "s", dtype: F32, size: 4 * n, r: bytes.NewReader(raw)}
		var shape, strides []int64
		for range rng.IntN(4) {
			shape = append(shape, 1+rng.Int64N(12))
			strides = append(strides, rng.Int64N(40))
		}
		if rng.IntN(3) == 0 {
			strides = rowMajor(shape)
		}
		x, err := newTensor("x", s, rng.Int64N(100), shape, strides)
		if err != nil {
			continue
		}
		tested++
		want := naive(x, all)
		got := make([]float32, x.Len())
		if err := x.Float32s(got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("shape %v, strides %v: got %v, want %v", shape, strides, got, want)
		}
		streamed, err := io.ReadAll(io.MultiReader(x.Reader())) // in pieces of 512 bytes and more
		if err != nil {
			t.Fatal(err)
		}
		decode(got, streamed, F32)
		if !slices.Equal(got, want) {
			t.Fatalf("shape %v, strides %v: Reader gives %v, want %v", shape, strides, got, want)
		}
		lo := rng.IntN(len(want))
		hi := lo + rng.IntN(len(want)-lo+1)
		if err := x.Part(got[:hi-lo], lo); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got[:hi-lo], want[lo:hi]) {
			t.Fatalf("shape %v, strides %v: elements %d to %d are %v, want %v", shape, strides, lo, hi, got[:hi-lo], want[lo:hi])
		}
		if len(shape) == 2 {
			y := x.Transposed()
			if err := y.Float32s(got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, naive(y, all)) || got[min(1, len(got)-1)] != want[min(1, x.Shape[0]-1)*x.Shape[1]] && x.Shape[0] > 1 {
				t.Fatalf("shape %v, strides %v: transposed gives %v", shape, strides, got)
			}
		}
	}
	if tested < 1000 {
		t.Errorf("only %d views were tested", tested)
	}
}

// TestScatteredView reads a view that spans more than is held at a time.
func TestScatteredView(t *testing.T) {
	const cols = 3 * maxSpan / 4 / 2 // two rows, and a gap that is longer than maxSpan
	s := &storage{name: "s", dtype: F32, size: 8 * cols, r: offsets{}}
	x, err := newTensor("x", s, 7, []int64{500, 2}, []int64{1, cols})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 1000)
	if err := x.Float32s(got); err != nil {
		t.Fatal(err)
	}
	for i, g := range got {
		if want := float32(7 + i/2 + i%2*cols); g != want {
			t.Fatalf("element %d is %v, want %v", i, g, want)
		}
	}
	s.compressed = true
	if _, err := newTensor("x", s, 7, []int64{500, 2}, []int64{1, cols}); err == nil {
		t.Error("a scattered view of a large compressed storage is not refused")
	}
}

// offsets is a storage in which every float32 is its own index.
type offsets struct{}

func (offsets) ReadAt(p []byte, off int64) (int, error) {
	for i := 0; i+4 <= len(p); i += 4 {
		encode(p[i:], []float32{float32((off + int64(i)) / 4)}, F32)
	}
	return len(p), nil
}

func TestFloat32sChecksItsCaller(t *testing.T) {
	c, err := openBytes(torchZip(t, stateDictOf(good)))
	if err != nil {
		t.Fatal(err)
	}
	x, _ := c.Tensor("w")
	if err := x.Float32s(make([]float32, 5)); err == nil {
		t.Error("5 elements of 6 are read")
	}
	ints := good
	ints.class = "IntStorage"
	if c, err = openBytes(torchZip(t, stateDictOf(ints))); err != nil {
		t.Fatal(err)
	}
	x, _ = c.Tensor("w")
	if err := x.Float32s(make([]float32, 6)); err == nil {
		t.Error("integers are read as floats")
	}
}

// TestShrinkingFile: a map whose file is cut is an error, not the end of the process.
func TestShrinkingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	n := 1 << 20
	data := make([]byte, 4*n)
	if err := os.WriteFile(path, asSafetensors(t, []named{{"w", F32, []int{n}, data}}), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := os.Truncate(path, 4096); err != nil {
		t.Skip("this system does not cut open files: ", err)
	}
	x, _ := c.Tensor("w")
	if err := x.Float32s(make([]float32, n)); err == nil {
		t.Error("elements are read that are no longer there")
	}
}

func TestOpenWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v, want that it does not exist", err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("an empty directory opens")
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(empty); !errors.Is(err, ErrUnknownFormat) {
		t.Errorf("error is %v, want ErrUnknownFormat", err)
	}
}

// A gate is a file that is read only after it was opened; asked says that somebody waits.
type gate struct {
	io.ReaderAt
	asked, open chan struct{}
}

func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	select {
	case g.asked <- struct{}{}:
	default:
	}
	<-g.open
	return g.ReaderAt.ReadAt(p, off)
}

// TestSHA256Waits: who waits for the sum that another computes need not wait longer than its own context.
func TestSHA256Waits(t *testing.T) {
	b := zipOf(t, entry{name: "w.npy", data: npyOf(plainNPY, floats(6))})
	g := &gate{bytes.NewReader(b), make(chan struct{}, 1), make(chan struct{})}
	close(g.open)
	c, err := OpenReader(g, int64(len(b)), "x")
	if err != nil {
		t.Fatal(err)
	}
	<-g.asked
	g.open = make(chan struct{})
	first := make(chan error)
	go func() { _, err := c.SHA256(t.Context()); first <- err }()
	<-g.asked
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if _, err := c.SHA256(ctx); !errors.Is(err, enough) {
		t.Errorf("error is %v, want %v", err, enough)
	}
	close(g.open)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if sum, err := c.SHA256(t.Context()); err != nil || sum != fmt.Sprintf("%x", sha256.Sum256(b)) {
		t.Errorf("the sum is %s (%v)", sum, err)
	}
}
