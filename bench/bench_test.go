package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/kernel"
)

// The test program is its own worker: "fake" answers as the test wants, all else as the command does. And it is a Python that has infinity-emb.
func TestMain(m *testing.M) {
	if len(os.Args) > 4 && os.Args[2] == "infinity_emb.cli" {
		fmt.Fprintln(os.Stderr, fakeInfinity(os.Args[3:]))
		os.Exit(1)
	}
	if len(os.Args) == 4 && os.Args[1] == "worker" {
		if os.Args[2] != "fake" {
			if err := run(context.Background(), os.Args[1:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			var q request
			json.Unmarshal(in.Bytes(), &q)
			switch q.Cmd {
			case "load":
				fmt.Printf(`{"version":"threads %s, OpenMP %s"}`+"\n", os.Args[3], os.Getenv("OMP_NUM_THREADS"))
			case "encode":
				fmt.Printf(`{"seconds":%d,"values":[1,2]}`+"\n", q.Batch)
			case "refuse":
				fmt.Println(`{"error":"no such thing"}`)
			case "babble":
				fmt.Println("hello")
			case "die":
				fmt.Fprintln(os.Stderr, "first\nout of luck")
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	quiet = time.Millisecond
	os.Exit(m.Run())
}

func start1(t *testing.T, kind string) *process {
	t.Helper()
	p, err := launch(t.Context(), []string{os.Args[0], "worker", kind, "1"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

func TestProtocol(t *testing.T) {
	p := start1(t, "fake")
	if r, err := p.ask(request{Cmd: "load"}); err != nil || r.Version != "threads 1, OpenMP 1" {
		t.Errorf("load: %q, %v", r.Version, err)
	}
	if r, err := p.ask(request{Cmd: "encode", Batch: 8}); err != nil || r.Seconds != 8 || !slices.Equal(r.Values, []float32{1, 2}) {
		t.Errorf("encode: %+v, %v", r, err)
	}
	for _, c := range []struct{ cmd, want string }{ // in this order: the last ends it
		{"refuse", "no such thing"}, {"babble", `babble: the worker said "hello\n"`}, {"die", "die: the worker ended: out of luck"},
	} {
		if _, err := p.ask(request{Cmd: c.cmd}); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.cmd, err, c.want)
		}
	}
	if _, err := p.ask(request{Cmd: "load"}); err == nil {
		t.Error("a worker that ended answers")
	}
}

// Our worker, in a process of its own, computes what the library computes in this one, of the same
// file; and the file is what the parameters say.
func TestWorker(t *testing.T) {
	c, dir := configs["tiny"], t.TempDir()
	for range 2 { // the second time it is there
		if err := writeModel(dir, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeModel(dir, configs["vit-b-32"]); err == nil || !strings.Contains(err.Error(), "another model") {
		t.Errorf("another model over it: %v", err)
	}
	model, err := converter.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if model.Config != c.Config {
		t.Errorf("the model is %+v, want %+v", model.Config, c)
	}
	want := mat.Data[float32](model.Embedding(patches(values(2*3*c.ImageSize*c.ImageSize), c.Config)))

	p := start1(t, kernel.Name())
	if _, err := p.ask(request{Cmd: "encode", Batch: 1}); err == nil {
		t.Error("encode before load: no error")
	}
	if _, err := p.ask(request{Cmd: "load", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	r, err := p.ask(request{Cmd: "encode", Batch: 2})
	if cosine, difference := agreement(r.Values, want, c.EmbedDim); err != nil || cosine < f32Cosine || difference > 1e-5 || r.Seconds <= 0 {
		t.Errorf("encode: %v, cosine %v, difference %v, %v s", err, cosine, difference, r.Seconds)
	}
	if a, b := want[:c.EmbedDim], want[c.EmbedDim:]; slices.Equal(a, b) {
		t.Error("both images have the same embedding: batches are not checked")
	}
	if r, err := p.ask(request{Cmd: "encode", Batch: 2, Callers: 3}); err != nil || r.Seconds <= 0 {
		t.Errorf("callers: %+v, %v", r, err)
	}
	for _, q := range []request{{Cmd: "free"}, {Cmd: "load", Dir: dir, Size: 56}, {Cmd: "encode", Batch: 1}} {
		if _, err := p.ask(q); err != nil {
			t.Errorf("%s: %v", q.Cmd, err)
		}
	}
	if _, err := p.ask(request{Cmd: "dance"}); err == nil || !strings.Contains(err.Error(), `"dance"`) {
		t.Errorf("dance: %v", err)
	}
	if err := serve("dance", "1", strings.NewReader(""), &bytes.Buffer{}); err == nil {
		t.Error("an unknown kernel serves")
	}
}

// A model of texts is what transformers calls CLIPModel, and the worker encodes them as the library does.
func TestTextWorker(t *testing.T) {
	c, dir := configs["tiny-text"], t.TempDir()
	if err := writeModel(dir, c); err != nil {
		t.Fatal(err)
	}
	m, err := clip.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tower, err := m.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if tower.Config != c.text {
		t.Errorf("the tower is %+v, want %+v", tower.Config, c.text)
	}
	ids := texts(3, 7, c.text.Vocab)
	if want := []int{498, 360, 198, 413, 257, 211, 499}; !slices.Equal(ids[0], want) { // those of worker.py
		t.Errorf("ids are %v, want %v", ids[0], want)
	}
	y, err := tower.Forward(ids)
	if err != nil {
		t.Fatal(err)
	}
	p := start1(t, kernel.Name())
	if _, err := p.ask(request{Cmd: "load", Dir: dir, Tokens: 7}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ask(request{Cmd: "encode", Batch: 3}); err == nil {
		t.Error("images of a tower of texts: no error")
	}
	r, err := p.ask(request{Cmd: "encode", Batch: 3, Tokens: 7, Calls: 2})
	if err != nil || !slices.Equal(r.Values, mat.Data[float32](y)) || r.Seconds <= 0 {
		t.Errorf("encode: %v in %v s, %v; want %v", r.Values, r.Seconds, err, y)
	}
	if _, err := p.ask(request{Cmd: "encode", Batch: 3, Tokens: 78}); err == nil {
		t.Error("a text longer than the context: no error")
	}
}

// The operations of towers whose counts are known.
func TestTowers(t *testing.T) {
	for name, want := range map[string]float64{"vit-b-32": 8.82, "vit-h-14": 334.59, "text-b": 0.76} {
		if got := configs[name].flops() / 1e9; math.Abs(got-want) > 0.005 {
			t.Errorf("one %s of %s is %v GFLOP, want %v", configs[name].noun(), name, got, want)
		}
	}
	for name, c := range configs {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.text.Validate(); err != nil && c.ofTexts() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The product of every Go contender is the product.
func TestGEMM(t *testing.T) {
	const m, n, k = 7, 5, 9
	x := values((m + n) * k)
	want := make([]float32, n) // the last row
	for j := range want {
		for i := range k {
			want[j] += x[(m-1)*k+i] * x[(m+j)*k+i]
		}
	}
	for kind, tolerance := range map[string]float64{kernel.Name(): 1e-5, "packed": 1e-5, "gonum": 1e-5, "int8": 0.02} {
		w := &worker{kind: kind}
		s, got := w.gemm([3]int{m, n, k}, 2)
		if _, d := agreement(got, want, n); d > tolerance || s <= 0 {
			t.Errorf("%s: %v in %v s, want %v", kind, got, s, want)
		}
	}
}

// worker.py must make the same numbers.
func TestValues(t *testing.T) {
	v := values(1000)
	if v[0] != -2 {
		t.Errorf("the first value is %v, want -2", v[0])
	}
	// values(4)[1:] of worker.py
	if want := []float32{-0.5456790924072266, 1.3277616500854492, -1.7662360668182373}; !slices.Equal(v[1:4], want) {
		t.Errorf("values are %v, want %v", v[1:4], want)
	}
	if slices.Min(v) < -2 || slices.Max(v) >= 2 {
		t.Errorf("values from %v to %v, want -2 to 2", slices.Min(v), slices.Max(v))
	}
}

// A patch is a square of each channel.
func TestPatches(t *testing.T) {
	c := clipvit.Config{ImageSize: 4, PatchSize: 2}
	pixels := make([]float32, 2*3*4*4)
	for i := range pixels {
		pixels[i] = float32(i)
	}
	x := patches(pixels, c)
	if s := x.Shape(); s[0] != 8 || s[1] != 12 {
		t.Fatalf("shape is %v, want [8 12]", s)
	}
	// Image 1, patch 2 (below, left): pixels (2,0), (2,1), (3,0), (3,1) of each channel of 16.
	want := []float32{56, 57, 60, 61, 72, 73, 76, 77, 88, 89, 92, 93}
	if got := mat.Data[float32](x)[6*12 : 7*12]; !slices.Equal(got, want) {
		t.Errorf("patch is %v, want %v", got, want)
	}
}

func TestHalf(t *testing.T) {
	for x, want := range map[float64]uint16{0: 0, 1: 0x3c00, -2: 0xc000, 0.5: 0x3800, 1.0 / 3: 0x3555, 65504: 0x7bff, 1e-9: 0, -1e-9: 0x8000} {
		if got := half(x); got != want {
			t.Errorf("half(%v) = %#x, want %#x", x, got, want)
		}
	}
}

func TestStatistics(t *testing.T) {
	for _, c := range []struct {
		x    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.x); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.x, got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("there is a median of nothing")
	}
	// Two rows; the second is turned by 45 degrees.
	cosine, difference := agreement([]float32{1, 0, 4, 4}, []float32{1, 0, 4, 0}, 2)
	if math.Abs(cosine-math.Sqrt2/2) > 1e-12 || difference != 1 {
		t.Errorf("agreement: %v, %v, want 0.7071, 1", cosine, difference)
	}
	nan := float32(math.NaN())
	for _, bad := range [][]float32{nil, {1}, {1, nan}, {0, 0}} {
		if cosine, _ := agreement(bad, []float32{1, 0}, 2); cosine != -1 {
			t.Errorf("agreement of %v: cosine %v, want -1", bad, cosine)
		}
	}
	if got := flops(clipvit.ViTL14336) / 1e9; math.Abs(got-381.92) > 0.005 {
		t.Errorf("one image is %v GFLOP, want 381.92", got)
	}
	if got := statusBytes([]byte("Name:\tx\nVmHWM:\t   1024 kB\nVmRSS:\t 3 kB\n"), "VmHWM"); got != 1<<20 {
		t.Errorf("VmHWM is %d bytes, want %d", got, 1<<20)
	}
}

func TestTable(t *testing.T) {
	want := "| a | b |\n|---|---:|\n| x\\|y | 1 |\n| z |  |\n"
	if got := table([]string{"a", "b"}, []string{"x|y", "1"}, []string{"z"}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestFlags(t *testing.T) {
	if got, err := ints("8,1,8"); err != nil || !slices.Equal(got, []int{1, 8}) {
		t.Errorf("8,1,8: %v, %v", got, err)
	}
	for _, bad := range [][]string{
		{"-config", "text-b", "-tokens", "1"}, {"-config", "text-b", "-tokens", "78"}, {"-config", "tiny", "-tokens", "9"}, {"-config", "tiny", "-only", "ends"},
		{"train", "-config", "text-b"}, {"scale", "-config", "text-b"}, {"scale", "-only", "encode"}, {"scale", "-tokens", "0"}, {"-threads", "0"}, {"-batch", "x"}, {"-config", "huge"}, {"-rounds", "0"}, {"grow"}, {"train", "-config", "tiny", "-cases", "half"},
	} {
		if err := run(t.Context(), bad); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

// Of a processor without AVX-512, the best of our kernels is that for AVX2.
func TestISA(t *testing.T) {
	for _, name := range []string{"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE", kernel.Env} {
		t.Setenv(name, "") // which the flag sets
	}
	o, err := parse([]string{"-isa", "avx2", "-contenders", "best,openvino"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"avx2", "openvino"}; !slices.Equal(o.kinds, want) || os.Getenv(kernel.Env) != "avx2" {
		t.Errorf("contenders are %v and the kernel %q, want %v and avx2", o.kinds, os.Getenv(kernel.Env), want)
	}
	if _, err := parse([]string{"-isa", "avx2", "-contenders", "best,avx2"}); err == nil {
		t.Error("best and avx2 are two contenders")
	}
}

// fake is a comparison whose tables are known: 1 GFLOP an image, and a peak of 10 GFLOP/s.
func fake() *comparison {
	c := &comparison{
		Machine: machine{Date: "today", CPU: "abacus", Cores: 2, Platform: "wood", Kernels: []string{"k"}, Command: "run"}, GFLOP: 1,
		Config: "vit-l-14-336", Noun: "image", Tokens: 577,
		Versions: map[string]string{"ONNX Runtime": "onnxruntime 9"}, Failed: map[string]string{"OpenVINO": "gone", "numpy (OpenBLAS)": "gone"},
		Bandwidth: map[int]float64{2: 5e9},
		Starts: []start{
			{Contender: "ONNX Runtime", Threads: 2, Loaded: 1, First: 2, Memory: 3e9},
			{Contender: "ONNX Runtime", Threads: 2, Loaded: 4, First: 5, Cold: true},
		},
	}
	for name, times := range map[string][]float64{"vitago, K": {1, 2, 3}, "ONNX Runtime": {4, 4, 7}} {
		for _, s := range times {
			c.Encoding = append(c.Encoding, sample{Contender: name, Threads: 2, What: "batch 8", Seconds: s, Peaks: map[string]float64{"k": 10e9}, Cosine: 1, Difference: 1e-6, Memory: 2e9})
		}
	}
	slices.SortStableFunc(c.Encoding, func(a, b sample) int { return -strings.Compare(a.Contender, b.Contender) })
	c.Products = []sample{{Contender: "PyTorch", Threads: 2, What: "out", Seconds: 2 * 577 * 1024 * 1024 / 5e9, Peaks: map[string]float64{"k": 10e9}, Cosine: 1}}
	return c
}

func TestReport(t *testing.T) {
	o := options{config: configs["vit-l-14-336"], threads: []int{2}, batches: []int{8}}
	got := fake().markdown(o)
	for _, want := range []string{
		"today; 2 cores of abacus, wood; `run`.",
		"ONNX Runtime: onnxruntime 9. One image of 577 tokens is 1.00 GFLOP.",
		"2 threads: peak of multiply-adds k 10 (10 to 10) GFLOP/s; memory read at 5.0 GB/s.",
		"Not measured: OpenVINO; numpy (OpenBLAS) (gone).",
		"### 2 threads, 8 images at once",
		"| vitago, K | 250 | 125 | 0.40 | 1.00 | 1.0000000 | 1.0e-06 | 2.00 |", // 2 s for 8 images
		"| ONNX Runtime | 500 | 500 | 0.20 | 2.00 | 1.0000000 | 1.0e-06 | 2.00 |",
		"| ONNX Runtime | 1.00 | 2.00 | 4.00 | 5.00 | 3.00 |",
		"| PyTorch | – (–) | 5 (0.50) | – (–) | – (–) |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// A contender whose result is not the reference's makes the command fail.
func TestWrong(t *testing.T) {
	c := fake()
	if err := c.wrong(); err != nil {
		t.Error(err)
	}
	c.Encoding[len(c.Encoding)-1].Cosine = 0.9999
	if err := c.wrong(); err == nil || !strings.Contains(err.Error(), "ONNX Runtime, batch 8, 2 threads: the cosine to the reference is 0.9999000") {
		t.Errorf("a cosine of 0.9999: %v", err)
	}
}

func TestGrowth(t *testing.T) {
	all := points(clipvit.ViTL14336, 2)
	tokens := map[int]bool{}
	axes := map[string]int{}
	g := growth{Kernel: "k"}
	for _, p := range all {
		axes[p.Axis]++
		if p.Axis == "size" {
			tokens[p.Tokens] = true
		}
		p.Seconds, p.Peaks, p.Base, p.Top = 0.5, map[string]float64{"k": 2 * p.GFLOP * 1e9 / 0.5}, 1e9, 1e9+1000*int64(p.Tokens)
		g.Points = append(g.Points, p)
	}
	if want := map[string]int{"batch": 6, "cores": 2, "size": 4, "callers": 4}; !maps.Equal(axes, want) {
		t.Errorf("points %v, want %v", axes, want)
	}
	for _, n := range []int{257, 577, 1025, 1601} {
		if !tokens[n] {
			t.Errorf("no point of %d tokens in %v", n, tokens)
		}
	}
	text := g.markdown()
	for _, want := range []string{
		"| 560² (1601 tokens) | 2.000 | 500 | ", " | 0.50 | 1002 | 2 | 1.0 |",
		"| 8 | 2.000 | 500 | 764 | 0.50 | 1001 | 1 | 1.00 |", // callers
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for ext, magic := range map[string]string{".svg": "<?xml", ".png": "\x89PNG"} {
		path := filepath.Join(t.TempDir(), "plot"+ext)
		if err := drawPanels(path, g.panels()); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(b, []byte(magic)) || len(b) < 5000 {
			t.Errorf("%s: %v, %d bytes that begin with %.10q", ext, err, len(b), b)
		}
	}
	if err := drawPanels("plot.doc", g.panels()); err == nil {
		t.Error("a plot as .doc: no error")
	}
}

// A grid has a cell for every pair of tokens and batch that is no larger than a part, and names those that fall behind a smaller
// one.
func TestGrid(t *testing.T) {
	o := options{config: configs["tiny"], dir: t.TempDir(), python: filepath.Join(t.TempDir(), "no-python"), rounds: 1, threads: []int{1}, tokens: []int{3, 33, mostTokens}, batches: []int{1, 2}}
	g, err := measureGrid(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Encoding) != 5 || g.Encoding[1].Tokens != 3 || g.Encoding[1].Batch != 2 || g.Encoding[4].Batch != 1 {
		t.Errorf("cells %+v", g.Encoding)
	}
	if got, want := g.flops(50), gridLayers*(2*50*(4*128*128+2*128*512)+4*50*50*128.0); got != want {
		t.Errorf("50 tokens take %v operations, want %v", got, want)
	}
	for i := range g.Encoding { // 0.8 of the peak, 33 tokens 0.6, of two sequences 0.8, by a peer in twice the time
		s := &g.Encoding[i]
		fraction := 0.8
		if s.Tokens == 33 && s.Batch == 1 {
			fraction = 0.6
		}
		s.Contender, s.Peaks = "vitago, K", map[string]float64{"k": 1e9}
		s.Seconds = g.flops(s.Tokens) * float64(s.Batch) / 1e9 / fraction
		peer := *s
		peer.Contender, peer.Seconds = "ONNX Runtime", 2*s.Seconds
		g.Encoding = append(g.Encoding, peer)
	}
	text := g.markdown()
	for _, want := range []string{
		"| tokens | batch 1 | batch 2 |", "| 3 | 0.80 | 0.80 |", "| 33 | **0.60** | 0.80 |", "| 10000 | 0.80 | – |", "There are 1.\n- 33 tokens, batch 1: 0.60 after 0.80 of 3 tokens, batch 1",
		"| 33 | 2.00 | 2.00 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	path := filepath.Join(t.TempDir(), "plot.svg")
	if err := drawPanels(path, (&growth{Grid: g}).panels()); err != nil {
		t.Fatal(err)
	}
}

// The whole comparison runs without Python, and says what is missing.
func TestWithoutPython(t *testing.T) {
	o := options{
		config: configs["tiny"], dir: t.TempDir(), python: filepath.Join(t.TempDir(), "no-python"),
		rounds: 1, threads: []int{1}, batches: []int{1}, kinds: []string{kernel.Name(), "torch"},
	}
	if err := writeModel(o.dir, o.config); err != nil {
		t.Fatal(err)
	}
	text, data, err := compare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := data.(*comparison)
	if len(c.Encoding) != 1 || len(c.Products) != len(o.config.shapes()) || c.Bandwidth[1] <= 0 || c.Encoding[0].Peaks[peakOf(kernel.Name())] <= 0 {
		t.Errorf("measured %+v", c)
	}
	if !strings.Contains(text, "Not measured: PyTorch; PyTorch, eager (no Python at ") {
		t.Errorf("it does not say that there is no Python:\n%s", text)
	}
}
