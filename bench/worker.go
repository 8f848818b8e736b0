package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nlpodyssey/spago/mat"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/kernel"
)

// otherKinds are the workers that use the best kernel, or none: 8-bit weights and operands, products
// with the weights packed ahead, gonum, training without and with recomputation, and the machine itself.
var otherKinds = []string{"int8", "packed", "gonum", "train", "recompute", "machine"}

// serve is a worker of our own: kind is the kernel to use, or one of otherKinds.
func serve(kind, threads string, in io.Reader, out io.Writer) error {
	n, err := strconv.Atoi(threads)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(n)
	w := &worker{kind: kind, version: "go " + runtime.Version()[len("go"):]}
	if !slices.Contains(otherKinds, kind) && !kernel.Use(kind) {
		return fmt.Errorf("worker is %q, want one of %v", kind, slices.Concat(kernel.Available(), otherKinds))
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var q request
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return err
		}
		r, err := w.answer(q)
		if err != nil {
			r = reply{Error: err.Error()}
		}
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return err
		}
	}
	return lines.Err()
}

// A worker holds what its requests have loaded.
type worker struct {
	kind, version string
	model         *clipvit.Model
	patches       *mat.Dense[float32] // of the batch that was encoded last
	shape         [3]int
	x, w, y       []float32 // of the product that was computed last
	packed        *kernel.Packed
	int8          *kernel.Int8
	memory        []uint64 // of bandwidth
	step          func() (stepResult, error)
}

func (w *worker) answer(q request) (r reply, err error) {
	r.Version = w.version
	switch q.Cmd {
	case "load":
		if w.model, err = converter.Load(q.Dir); err != nil {
			return r, err
		}
		if q.Size != 0 {
			err = w.model.Resize(q.Size, clipvit.BicubicTorch)
		}
		if w.kind == "int8" {
			w.model.Quantize()
		}
	case "encode":
		if w.model == nil {
			return r, errors.New("encode before load")
		}
		r.Seconds, r.Values = w.encode(q.Batch, q.Callers)
	case "free": // gives back what is cached between calls: pools let go at the second collection
		runtime.GC()
		debug.FreeOSMemory()
	case "gemm":
		r.Seconds, r.Values = w.gemm(q.Shape, q.Calls)
	case "prepare":
		err = w.prepare(q.Dir, q.Lesson)
	case "step":
		if w.step == nil {
			return r, errors.New("step before prepare")
		}
		start := time.Now()
		r.Step, err = w.step()
		r.Seconds = time.Since(start).Seconds()
	case "peak":
		r.Peaks = peaks()
	case "bandwidth":
		r.Bandwidth = w.bandwidth()
	default:
		err = fmt.Errorf("request %q, want load, encode, free, gemm, prepare, step, peak or bandwidth", q.Cmd)
	}
	return r, err
}

// encode encodes a batch of images at once and returns the seconds and the embeddings [B,E]; or, if
// there are callers, lets each of them encode as many, one after the other, and returns the seconds.
func (w *worker) encode(batch, callers int) (float64, []float32) {
	c := w.model.Config
	images := batch
	if callers > 0 {
		images = 1
	}
	if w.patches == nil || w.patches.Shape()[0] != images*c.Patches() {
		w.patches = patches(values(images*3*c.ImageSize*c.ImageSize), c)
	}
	start := time.Now()
	if callers == 0 {
		y := w.model.Embedding(w.patches)
		return time.Since(start).Seconds(), mat.Data[float32](y)
	}
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range batch {
				w.model.Embedding(w.patches)
			}
		})
	}
	all.Wait()
	return time.Since(start).Seconds(), nil
}

// gemm returns the mean seconds of a product x [m,k] · w [n,k]ᵀ and its last row.
func (w *worker) gemm(shape [3]int, calls int) (float64, []float32) {
	m, n, k := shape[0], shape[1], shape[2]
	if w.shape != shape {
		both := values((m + n) * k)
		w.shape, w.x, w.w, w.y = shape, both[:m*k], both[m*k:], make([]float32, m*n)
		switch w.kind {
		case "packed":
			w.packed = kernel.Pack(w.w, n, k)
		case "int8":
			w.int8 = kernel.PackInt8(w.w, n, k)
		}
	}
	product := func() {
		switch w.kind {
		case "packed":
			kernel.MatMulPacked(w.y, w.x, w.packed, m, kernel.Epilogue{})
		case "int8":
			kernel.MatMulInt8(w.y, w.x, w.int8, m, kernel.Epilogue{})
		case "gonum":
			gonum.Implementation{}.Sgemm(blas.NoTrans, blas.Trans, m, n, k, 1, w.x, k, w.w, k, 0, w.y, n)
		default:
			kernel.MatMulNT(w.y, w.x, w.w, m, n, k, kernel.Epilogue{})
		}
	}
	start := time.Now()
	for range calls {
		product()
	}
	return time.Since(start).Seconds() / float64(calls), w.y[(m-1)*n:]
}

// peaks measures the multiply-add peak of every kernel, in operations per second.
func peaks() map[string]float64 {
	defer kernel.Use("")
	all := map[string]float64{}
	for _, name := range (machine{Kernels: kernels()}).peaks() {
		kernel.Use(name)
		all[name] = kernel.Peak()
	}
	return all
}

// bandwidth reads 256 MB, far more than caches hold, with every thread its part, and returns the
// bytes per second of the fastest of 3 times.
func (w *worker) bandwidth() float64 {
	const words = 256 << 20 / 8
	if w.memory == nil {
		w.memory = make([]uint64, words)
		for i := range w.memory { // or every page would be the same page of zeros
			w.memory[i] = uint64(i)
		}
	}
	best := 0.0
	for range 3 {
		threads := runtime.GOMAXPROCS(0)
		sums := make([]uint64, threads)
		var all sync.WaitGroup
		start := time.Now()
		for i := range threads {
			all.Go(func() { sums[i] = sum(w.memory[i*words/threads : (i+1)*words/threads]) })
		}
		all.Wait()
		best = max(best, words*8/time.Since(start).Seconds())
		runtime.KeepAlive(sums)
	}
	return best
}

// sum adds in four chains, so that it waits for memory and not for itself.
func sum(x []uint64) uint64 {
	var a, b, c, d uint64
	for ; len(x) >= 8; x = x[8:] {
		a, b, c, d = a+x[0], b+x[1], c+x[2], d+x[3]
		a, b, c, d = a+x[4], b+x[5], c+x[6], d+x[7]
	}
	return a + b + c + d
}

// values returns n numbers from -2 to 2, the same as values in worker.py makes: every float is exact.
func values(n int) []float32 { return valuesFrom(0, n) }

// valuesFrom returns n of these numbers from number at on.
func valuesFrom(at, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		x := uint32(at+i) * 2654435761
		x ^= x >> 15
		x *= 2246822519
		x ^= x >> 13
		v[i] = float32(x>>8)*(1.0/(1<<22)) - 2
	}
	return v
}

// patches cuts pixels [B,3,S,S] into patches [B·G²,3P²], a row by channel, then row, then column.
func patches(pixels []float32, c clipvit.Config) *mat.Dense[float32] {
	s, p, g := c.ImageSize, c.PatchSize, c.Grid()
	rows := make([]float32, 0, len(pixels))
	for image := range len(pixels) / (3 * s * s) {
		for patch := range g * g {
			for line := range 3 * p {
				channel, y, x := line/p, patch/g*p+line%p, patch%g*p
				from := ((image*3+channel)*s+y)*s + x
				rows = append(rows, pixels[from:from+p]...)
			}
		}
	}
	return mat.NewDense[float32](mat.WithShape(len(rows)/c.PatchLen(), c.PatchLen()), mat.WithBacking(rows))
}
