package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nlpodyssey/spago/mat"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
)

// otherKinds are the workers that use the best kernel, or none: other precisions, products
// with the weights packed ahead, gonum, training without and with recomputation, the machine itself, and pictures.
var otherKinds = []string{"int8", "bf16", "packed", "gonum", "train", "recompute", "machine", "encode", "scan", "scan-codes"}

// serve is a worker of our own: kind is the kernel to use, or one of otherKinds.
func serve(kind, threads string, in io.Reader, out io.Writer) error {
	n, err := strconv.Atoi(threads)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(n)
	w := &worker{kind: kind, version: "go " + runtime.Version()[len("go"):]}
	if _, implementation := precision(kind); implementation != "" && !kernel.Use(implementation) {
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
	text          *cliptext.Model
	patches       *mat.Dense[float32] // of the batch that was encoded last
	shape         [3]int
	x, w, y       []float32 // of the product that was computed last
	packed        *kernel.Packed
	int8          *kernel.Int8
	memory        []uint64 // of bandwidth
	step          func() (stepResult, error)
	searcher      *searcher
}

func (w *worker) answer(q request) (r reply, err error) {
	r.Version = w.version
	switch q.Cmd {
	case "load":
		err = w.load(q)
	case "encode":
		switch {
		case q.Blocks && w.model != nil:
			r.Seconds, r.Values = w.blocks(q.Batch, max(1, q.Tokens), q.Calls)
		case q.Tokens == 0 && w.model != nil:
			r.Seconds, r.Values = w.encode(q.Batch, q.Callers, q.Calls)
		case q.Tokens > 0 && w.text != nil:
			r.Seconds, r.Values, err = w.encodeTexts(q.Batch, q.Tokens, q.Calls)
		default:
			return r, errors.New("encode before load")
		}
	case "free": // gives back what is cached between calls: pools let go at the second collection
		kernel.Drain()
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
	case "pictures":
		r.Seconds, r.Values, err = readPictures(q.Dir, q.Size)
	case "rows":
		w.searcher, err = newSearcher(q.Dir, w.kind == "scan-codes")
	case "find":
		if w.searcher == nil {
			return r, errors.New("find before rows")
		}
		r.Seconds, r.Hits, r.Exact, err = w.searcher.find(q.Batch, q.Calls)
	case "peak":
		r.Peaks = peaks()
	case "bandwidth":
		r.Bandwidth = w.bandwidth()
	default:
		err = fmt.Errorf("request %q, want load, encode, free, gemm, prepare, step, pictures, rows, find, peak or bandwidth", q.Cmd)
	}
	return r, err
}

// load opens the model as the command does, and loads the tower that is asked for.
func (w *worker) load(q request) error {
	var o []clip.Option
	precision, _ := precision(w.kind)
	switch precision {
	case "int8":
		o = append(o, clip.Int8())
	case "bf16":
		o = append(o, clip.BF16())
	}
	ctx := context.Background()
	m, err := clip.Open(q.Dir, o...)
	if err != nil {
		return err
	}
	if q.Tokens > 0 && !q.Blocks {
		w.text, err = m.Text(ctx)
		return err
	}
	if w.model, err = m.Vision(ctx); err == nil && q.Size != 0 {
		err = w.model.Resize(q.Size, clipvit.BicubicTorch)
	}
	return err
}

// timed calls f so many times, at least once, and returns the median of the seconds and the last result.
func timed(calls int, f func() mat.Tensor) (float64, []float32) {
	var times []float64
	var y mat.Tensor
	for range max(1, calls) {
		start := time.Now()
		y = f()
		times = append(times, time.Since(start).Seconds())
	}
	return median(times), mat.Data[float32](y)
}

// blocks computes the blocks on a batch of sequences, in parts as a tower does, and returns the seconds and the last token.
func (w *worker) blocks(batch, tokens, calls int) (float64, []float32) {
	c := w.model.Config.Width
	x := values(batch * tokens * c)
	seconds, y := timed(calls, func() mat.Tensor {
		y, _ := transformer.InParts(batch, tokens, func(from, to int) (mat.Tensor, error) {
			part := mat.NewDense[float32](mat.WithShape((to-from)*tokens, c), mat.WithBacking(x[from*tokens*c:to*tokens*c]))
			return op.FromPanels(w.model.Blocks.Forward(op.ToPanels(part, tokens), tokens, false, transformer.Visit(nil))), nil
		})
		return y
	})
	return seconds, y[len(y)-c:]
}

// readPictures decodes the files of a folder and makes squares of them. It returns the CPU seconds and a checksum of the pixels of
// each, channel by channel.
func readPictures(folder string, size int) (seconds float64, sums []float32, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, nil, err
	}
	c := clipvit.Config{ // of one patch, the picture, with values from 0 to 1
		ImageSize: size, PatchSize: size, Width: 64, Heads: 1, Layers: 1, MLPWidth: 64, Activation: transformer.GELU, NormEps: 1e-5,
		Transform: clipvit.Transform{Std: [3]float64{1, 1, 1}},
	}
	for _, e := range entries {
		begun := cpuSeconds()
		f, err := os.Open(filepath.Join(folder, e.Name()))
		if err != nil {
			return 0, nil, err
		}
		img, err := clipvit.DecodeImage(f)
		f.Close()
		if err != nil {
			return 0, nil, err
		}
		patch, err := clipvit.Preprocess(img, c)
		if err != nil {
			return 0, nil, err
		}
		seconds += cpuSeconds() - begun
		levels := make([]byte, 0, 3*size*size)
		for _, v := range mat.Data[float32](patch) {
			levels = append(levels, byte(math.Round(255*float64(v))))
		}
		sums = append(sums, float32(crc32.ChecksumIEEE(levels)&0xffffff))
	}
	return seconds, sums, nil
}

// encodeTexts encodes a batch of texts at once and returns the seconds and the embeddings [B,E].
func (w *worker) encodeTexts(batch, tokens, calls int) (seconds float64, y []float32, err error) {
	texts := texts(batch, tokens, w.text.Config.Vocab)
	seconds, y = timed(calls, func() mat.Tensor {
		y, ferr := w.text.Forward(texts)
		if ferr != nil {
			err = ferr
			return mat.Scalar[float32](0)
		}
		return y
	})
	return seconds, y, err
}

// encode encodes a batch of images at once and returns the seconds and the embeddings [B,E]; or, if
// there are callers, lets each of them encode as many, one after the other, and returns the seconds.
func (w *worker) encode(batch, callers, calls int) (float64, []float32) {
	c := w.model.Config
	images := batch
	if callers > 0 {
		images = 1
	}
	if w.patches == nil || w.patches.Shape()[0] != images*c.Patches() {
		w.patches = patches(values(images*3*c.ImageSize*c.ImageSize), c)
	}
	if callers == 0 {
		return timed(calls, func() mat.Tensor { return w.model.Embedding(w.patches) })
	}
	start := time.Now()
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
		v[i] = float32(mixed(at+i)>>8)*(1.0/(1<<22)) - 2
	}
	return v
}

// mixed returns number i of a sequence that looks random.
func mixed(i int) uint32 {
	x := uint32(i) * 2654435761
	x ^= x >> 15
	x *= 2246822519
	return x ^ x>>13
}

// texts returns the ids of n texts of so many tokens, the same as texts in worker.py makes. The last two of the vocabulary start
// and end a text.
func texts(n, tokens, vocab int) [][]int {
	all := make([][]int, n)
	for i := range all {
		all[i] = make([]int, tokens)
		for j := range tokens {
			all[i][j] = int(mixed(i*tokens+j)>>8) % (vocab - 2)
		}
		all[i][0], all[i][tokens-1] = vocab-2, vocab-1
	}
	return all
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
