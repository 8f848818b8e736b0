package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
)

var demoNames = []string{"blue-square.png", "cat.jpg", "cat.png", "gradient.png", "orange-circle.png", "red-circle.png"}

// direct computes features of an image by calls of the model, [E], [C], [T-1,C] or [T,C].
func direct(t *testing.T, path, features string, layer int) []float32 {
	t.Helper()
	m, err := converter.Load(tinyModel)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := clipvit.DecodeImage(f)
	if err != nil {
		t.Fatal(err)
	}
	if features == "embedding" {
		e, err := m.Encode(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		return e[0]
	}
	x, err := clipvit.Preprocess(img, m.Config)
	if err != nil {
		t.Fatal(err)
	}
	y, err := m.Features(x, layer)
	if err != nil {
		t.Fatal(err)
	}
	all, c := y.Value().Data().F32(), m.Config.Width
	return map[string][]float32{"cls": all[:c], "patches": all[c:], "all": all}[features]
}

// readOutput reads what encode wrote with readers that share no code with the writers, and returns
// the shape of the features, those of one image after the other, and the names if there are any.
func readOutput(t *testing.T, format, feature string, data []byte) (shape []int, x []float32, names []string) {
	t.Helper()
	switch format {
	case "jsonl":
		for line := range bytes.Lines(data) {
			var v map[string]any
			if err := json.Unmarshal(line, &v); err != nil {
				t.Fatal(err)
			}
			if len(v) != 2 {
				t.Errorf("line has %d fields, want 2: %s", len(v), line)
			}
			names = append(names, v["image"].(string))
			shape = []int{len(names)}
			var flatten func(any, int)
			flatten = func(v any, depth int) {
				if list, ok := v.([]any); ok {
					if len(shape) == depth {
						shape = append(shape, len(list))
					}
					if shape[depth] != len(list) {
						t.Fatalf("dimension %d is %d, and then %d", depth, shape[depth], len(list))
					}
					for _, e := range list {
						flatten(e, depth+1)
					}
					return
				}
				x = append(x, float32(v.(float64)))
			}
			flatten(v[feature], 1)
		}
	case "npy": // as a .npz file
		path := filepath.Join(t.TempDir(), "x.npz")
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.Create("x.npy")
		if err != nil {
			t.Fatal(err)
		}
		w.Write(data)
		if err := errors.Join(z.Close(), os.WriteFile(path, b.Bytes(), 0o666)); err != nil {
			t.Fatal(err)
		}
		f := golden.LoadFile(t, path)
		shape, x = f.Shape("x"), f.Float32("x")
		if rest := len(data) - 4*len(x); rest%64 != 0 {
			t.Errorf("the header has %d bytes, want a multiple of 64", rest)
		}
	case "safetensors":
		c, err := checkpoint.OpenReader(bytes.NewReader(data), int64(len(data)), "x")
		if err != nil {
			t.Fatal(err)
		}
		v, ok := c.Tensor(feature)
		if !ok {
			t.Fatalf("tensors are %q, want %q", c.Names(), feature)
		}
		shape, x = v.Shape, make([]float32, v.Len())
		if err := v.Float32s(x); err != nil {
			t.Fatal(err)
		}
		n := binary.LittleEndian.Uint64(data)
		if n%8 != 0 {
			t.Errorf("the header has %d bytes, want a multiple of 8", n)
		}
		var header struct {
			Metadata map[string]string `json:"__metadata__"`
		}
		if err := json.Unmarshal(data[8:8+n], &header); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(header.Metadata["images"]), &names); err != nil {
			t.Fatal(err)
		}
	}
	return shape, x, names
}

func TestEncode(t *testing.T) {
	dir := t.TempDir()
	const tokens, width, embed = 17, 64, 10
	for _, c := range []struct {
		features string
		layer    int
		shape    []int
	}{
		{"embedding", -1, []int{embed}},
		{"cls", -1, []int{width}},
		{"cls", 0, []int{width}},
		{"patches", -2, []int{tokens - 1, width}},
		{"all", 2, []int{tokens, width}},
	} {
		for _, format := range []string{"jsonl", "npy", "safetensors"} {
			t.Run(fmt.Sprint(c.features, c.layer, format), func(t *testing.T) {
				args := []string{"encode", "--model", tinyModel, "--features", c.features, "--batch", "4"} // batches of 4 and 2
				if c.features != "embedding" {
					args = append(args, "--layer", fmt.Sprint(c.layer))
				}
				path := filepath.Join(dir, "x."+format)
				r := vitago(append(args, "--overwrite", "-o", path, "testdata/demo")...)
				r.want(t, exitDone, nil, []string{"of 6 images in "})
				inFile, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				r = vitago(append(args, "--format", format, "testdata/demo")...)
				r.want(t, exitDone, []string{""}, nil)
				if r.out != string(inFile) {
					t.Error("standard output and file differ")
				}
				shape, got, names := readOutput(t, format, c.features, inFile)
				if want := append([]int{6}, c.shape...); !slices.Equal(shape, want) {
					t.Fatalf("shape is %v, want %v", shape, want)
				}
				n := len(got) / 6
				for i, name := range demoNames {
					name = filepath.Join("testdata", "demo", name)
					if want := direct(t, name, c.features, c.layer); !slices.Equal(got[i*n:(i+1)*n], want) { // shortest decimals are exact
						t.Errorf("%s: got %v, want %v", name, got[i*n:(i+1)*n], want)
					}
					if names != nil && names[i] != name {
						t.Errorf("image %d is %q, want %q", i, names[i], name)
					}
				}
			})
		}
	}
	if got, want := files(t, dir), []string{"x.jsonl", "x.jsonl.about.json", "x.npy", "x.npy.about.json", "x.npy.names.jsonl", "x.safetensors", "x.safetensors.about.json"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if info, err := os.Stat(filepath.Join(dir, "x.npy")); err != nil || runtime.GOOS != "windows" && info.Mode().Perm()&0o400 == 0 {
		t.Errorf("output: %v, %v", info, err)
	}
}

// TestPrecision: with int8 or bf16 an embedding is another, and points where that of float32 does. The automatic choice is one
// of bf16 and f32, and says which.
func TestPrecision(t *testing.T) {
	want := direct(t, "testdata/demo/cat.png", "embedding", -1)
	instruction := kernel.BF16Name() != "generic"
	for _, c := range []struct {
		precision string
		same      bool
		cosine    float64
		note      string // where it is not faster, nothing where it is
	}{
		{"f32", true, 0.9999999, ""},
		{"int8", false, 0.999, map[bool]string{false: "not faster with int8"}[clipvit.Int8Pays()]},
		{"bf16", false, 0.9999, map[bool]string{false: "not faster with bf16"}[clipvit.BF16Pays()]},
		{"auto", !clipvit.BF16Pays(), 0.9999, map[bool]string{true: "precision: bf16, since " + kernel.BF16Name(), false: "precision: f32, since "}[clipvit.BF16Pays()]},
	} {
		precision, same := c.precision, c.same
		r := vitago("encode", "--model", tinyModel, "--precision", precision, "testdata/demo/cat.png")
		if precision == "bf16" && !instruction {
			r.want(t, exitUsage, nil, []string{"--precision bf16: the kernel in use, " + kernel.Name() + ", has no instruction for bfloat16, which is of AMX and AVX512-BF16: want f32, or auto, which chooses"})
			continue
		}
		var note []string
		if c.note != "" {
			note = []string{c.note}
		}
		if said := "8 bits do not suffice the vision tower: it computes "; precision == "int8" && strings.Contains(r.err, said) {
			note = append(note, "in int8") // which a processor's rounding decides
		}
		r.want(t, exitDone, []string{"embedding"}, note)
		_, got, _ := readOutput(t, "jsonl", "embedding", []byte(r.out))
		if slices.Equal(got, want) != same {
			t.Errorf("%s: equal to float32: %v, want %v", precision, !same, same)
		}
		var gg, gw, ww float64
		for i := range got {
			g, w := float64(got[i]), float64(want[i])
			gg, gw, ww = gg+g*g, gw+g*w, ww+w*w
		}
		if cosine := gw / math.Sqrt(gg*ww); cosine < c.cosine {
			t.Errorf("%s: cosine %v, want at least %v", precision, cosine, c.cosine)
		}
	}
	vitago("encode", "--model", tinyModel, "--precision", "int4", "testdata/demo/cat.png").want(t, exitUsage, nil, []string{"int4", "f32", "int8"})
}

func TestNormalize(t *testing.T) {
	zero, other := []float32{0, 0}, []float32{3, 4}
	if clip.Normalize(zero, other); !slices.Equal(append(zero, other...), []float32{0, 0, 0.6, 0.8}) {
		t.Errorf("got %v and %v, want a zero vector as it is, and [0.6 0.8]", zero, other)
	}
	for _, features := range []string{"embedding", "cls", "patches", "all"} {
		r := vitago("encode", "--model", tinyArchive, "--normalize", "--features", features, "testdata/demo/cat.png")
		shape, got, _ := readOutput(t, "jsonl", features, []byte(r.out))
		want := direct(t, "testdata/demo/cat.png", features, -1)
		n := shape[len(shape)-1]
		for i := 0; i < len(got); i += n {
			var gg, gw, ww float64
			for j := i; j < i+n; j++ {
				g, w := float64(got[j]), float64(want[j])
				gg, gw, ww = gg+g*g, gw+g*w, ww+w*w
			}
			// Rounding to float32 changes a length of 1 by at most 2⁻²⁴.
			if math.Abs(gg-1) > 1e-6 || math.Abs(gw/math.Sqrt(ww)-1) > 1e-6 {
				t.Errorf("%s, vector %d: length² %v, projection on what it was %v; want 1", features, i/n, gg, gw/math.Sqrt(ww))
			}
		}
	}
}

// images makes a folder of pictures, and of files that are none.
func images(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	png, err := os.ReadFile("testdata/demo/red-circle.png")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b.png", "a.PNG", "sub/c.png", "sub/deep/d.jpeg", "notes.txt", ".hidden.png", ".git/e.png", "no-extension", "we[ird].png"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, png, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestExpandImages(t *testing.T) {
	dir := images(t)
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args, want []string
	}{
		{[]string{"."}, []string{"a.PNG", "b.png", "sub/c.png", "sub/deep/d.jpeg", "we[ird].png"}},
		{[]string{"sub", "b.png", "-", "a.PNG"}, []string{"sub/c.png", "sub/deep/d.jpeg", "b.png", "-", "a.PNG"}},
		{[]string{"*.png"}, []string{"b.png", "we[ird].png"}},
		{[]string{".h*"}, []string{".hidden.png"}},
		{[]string{"s*", "?.png"}, []string{"sub/c.png", "sub/deep/d.jpeg", "b.png"}},
		{[]string{"no-extension"}, []string{"no-extension"}},
		{[]string{"we[ird].png"}, []string{"we[ird].png"}}, // a file before it is a pattern
		{[]string{"b.png", "b.png"}, []string{"b.png", "b.png"}},
	} {
		var args, want []string
		for _, a := range c.args {
			if a != "-" {
				a = filepath.Join(dir, a)
			}
			args = append(args, a)
		}
		for _, w := range c.want {
			if w != "-" {
				w = filepath.Join(dir, filepath.FromSlash(w))
			}
			want = append(want, w)
		}
		if got, err := expandImages(io.Discard, args, false); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v; want %q", c.args, got, err, want)
		}
	}
	for arg, want := range map[string]string{
		"absent.png": "absent.png", "*.gif": "no file matches", "empty": "no images in this folder", "[": "[",
	} {
		if got, err := expandImages(io.Discard, []string{filepath.Join(dir, arg)}, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v; want an error with %q", arg, got, err, want)
		}
	}
}

// TestEncodeFolder: folders that are links are followed, names that are bytes stay apart, and what is left out is said.
func TestEncodeFolder(t *testing.T) {
	dir := images(t)
	if err := os.Rename(filepath.Join(dir, "no-extension"), filepath.Join(dir, "photo.HEIC")); err != nil {
		t.Fatal(err)
	}
	real := images(t)
	names := []string{"a.PNG", "b.png", "sub/c.png", "sub/deep/d.jpeg", "we[ird].png"}
	if runtime.GOOS == "linux" {
		if err := errors.Join(os.Symlink(filepath.Join(real, "sub"), filepath.Join(dir, "link")), os.Rename(filepath.Join(dir, "b.png"), filepath.Join(dir, "b\xe9.png"))); err != nil {
			t.Fatal(err)
		}
		names = []string{"a.PNG", `b\udce9.png`, "link/c.png", "link/deep/d.jpeg", "sub/c.png", "sub/deep/d.jpeg", "we[ird].png"}
	}
	r := vitago("encode", "--model", tinyModel, dir)
	r.want(t, exitDone, []string{"a.PNG"}, []string{"note: left out 1 picture of the format HEIC, which is not read: " + filepath.Join(dir, "photo.HEIC") + "\n"})
	for i, line := range strings.Split(strings.TrimSpace(r.out), "\n") {
		if want := names[min(i, len(names)-1)]; !strings.Contains(line, filepath.Base(want)+`","embedding":[`) {
			t.Errorf("line %d is %.100s, want %s", i, line, want)
		}
	}
	if got := strings.Count(r.out, "\n"); got != len(names) {
		t.Errorf("%d lines, want %d", got, len(names))
	}
}

func TestEncodeStdin(t *testing.T) {
	data, err := os.ReadFile("testdata/demo/cat.jpg")
	if err != nil {
		t.Fatal(err)
	}
	r := vitagoContext(context.Background(), bytes.NewReader(data), "encode", "--model", tinyModel, "testdata/demo/cat.png", "-")
	r.want(t, exitDone, []string{`{"image":"-","embedding":[`}, nil)
	_, x, names := readOutput(t, "jsonl", "embedding", []byte(r.out))
	want := append(direct(t, "testdata/demo/cat.png", "embedding", -1), direct(t, "testdata/demo/cat.jpg", "embedding", -1)...)
	if !slices.Equal(x, want) || !slices.Equal(names, []string{"testdata/demo/cat.png", "-"}) {
		t.Errorf("got %v of %q, want %v", x, names, want)
	}
	vitago("encode", "--model", tinyModel, "-").want(t, exitFailed, nil, []string{"vitago: -: ", "empty"})
}

func TestEncodeErrors(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.jpg")
	jpeg, err := os.ReadFile("testdata/demo/cat.jpg")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, jpeg[:len(jpeg)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	// One that leaves no room for a temporary name: most file systems take 255 bytes.
	long := strings.Repeat("x", 247) + ".npy"
	out := filepath.Join(dir, "out.npy")
	if err := os.WriteFile(out, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--model", tinyModel, "-o", out, "testdata/demo/cat.png"}, out + " exists, and overwriting was not asked for; give --overwrite"},
		{[]string{"--model", tinyModel, "--overwrite", "-o", out, broken, "testdata/demo/cat.png"}, broken + ": "},
		{[]string{"--model", tinyModel, "--overwrite", "-o", out, "encode.go", "testdata/demo/cat.png"}, "encode.go: not an image"},
		{[]string{"--model", tinyModel, "--overwrite", "-o", out, "testdata/demo/cat.png", "absent.png"}, "absent.png"},
		{[]string{"--model", "absent", "--overwrite", "-o", out, "testdata/demo/cat.png"}, "absent"},
		{[]string{"--model", ".", "--overwrite", "-o", out, "testdata/demo/cat.png"}, ".: a directory without"},
		{[]string{"--model", tinyModel, "-o", filepath.Join(dir, "sub", "deep", "x.npy"), broken, "testdata/demo/cat.png"}, broken + ": "},
		{[]string{"--model", tinyModel, "-o", filepath.Join(broken, "x.npy"), "testdata/demo/cat.png"}, broken},
		{[]string{"--model", tinyModel, "--format", "npy", "-o", filepath.Join(dir, "sub") + string(filepath.Separator), "testdata/demo/cat.png"}, "names a folder, want a file"},
		{[]string{"--model", tinyModel, "-o", filepath.Join(dir, long), "testdata/demo/cat.png"}, filepath.Join(dir, long) + ": cannot write in the folder " + dir + ": "},
		{[]string{"--model", tinyModel, "--format", "npy", "-o", dir, "testdata/demo/cat.png"}, "directory"},
	} {
		r := vitago(append([]string{"encode"}, c.args...)...)
		r.want(t, exitFailed, nil, []string{"vitago: ", c.want})
		if strings.Count(r.err, "\n") != 1 || strings.Contains(r.err, ".partial") {
			t.Errorf("%q: got %q, want one line without temporary names", c.args, r.err)
		}
	}
	if got, err := os.ReadFile(out); string(got) != "old" {
		t.Errorf("a failure changed the output file to %q, %v", got, err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"broken.jpg", "out.npy"}) {
		t.Errorf("failures left %q", got)
	}

	// A full disk.
	if _, err := os.Stat("/dev/full"); err == nil {
		vitago("encode", "--model", tinyModel, "--format", "npy", "-o", "/dev/full", "testdata/demo/cat.png").want(t, exitFailed, nil, []string{"no space left"})
	}
}

// TestEncodeMakesFolders: as all other verbs do.
func TestEncodeMakesFolders(t *testing.T) {
	out := filepath.Join(t.TempDir(), "sub", "deep", "x.npy")
	vitago("encode", "--model", tinyModel, "-o", out, "testdata/demo/cat.png").want(t, exitDone, nil, []string{out + ": embedding [1,10] of 1 image in "})
	if _, err := os.Stat(out); err != nil {
		t.Error(err)
	}
}

func TestSkipErrors(t *testing.T) {
	dir := t.TempDir()
	args := []string{"encode", "--model", tinyModel, "--skip-errors", "--batch", "2"}
	pictures := []string{"absent.png", "encode.go", "testdata/demo/cat.png", "main.go", "testdata/demo/cat.jpg"}
	messages := []string{"skipped: encode.go: not an image", "absent.png", "vitago: 3 of 5 images could not be read\n"}

	r := vitago(append(args, pictures...)...)
	r.want(t, exitFailed, []string{`{"image":"encode.go","error":"encode.go: not an image`}, messages)
	for i, line := range strings.Split(strings.TrimSpace(r.out), "\n") {
		var v struct {
			Image, Error string
			Embedding    []float32
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		if good := i == 2 || i == 4; v.Image != pictures[i] || good != (v.Error == "") || good && !slices.Equal(v.Embedding, direct(t, v.Image, "embedding", -1)) {
			t.Errorf("line %d is %s", i, line)
		}
	}

	path := filepath.Join(dir, "x.npy")
	vitago(append(append(args, "-o", path), pictures...)...).want(t, exitFailed, nil, messages)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	shape, x, _ := readOutput(t, "npy", "embedding", data)
	if !reflect.DeepEqual(shape, []int{5, 10}) {
		t.Fatalf("shape is %v", shape)
	}
	for i, name := range pictures {
		row := x[i*10 : (i+1)*10]
		if i == 2 || i == 4 {
			if !slices.Equal(row, direct(t, name, "embedding", -1)) {
				t.Errorf("row %d is %v", i, row)
			}
		} else if slices.ContainsFunc(row, func(v float32) bool { return v == v }) {
			t.Errorf("row %d is %v, want NaN", i, row)
		}
	}
}

// interrupting is a standard input on which Ctrl-C comes, and nothing else ever.
type interrupting struct{ cancel func() }

func (r interrupting) Read([]byte) (int, error) {
	r.cancel()
	select {}
}

func TestEncodeInterrupted(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	r := vitagoContext(ctx, interrupting{cancel}, "encode", "--model", tinyModel, "--batch", "1", "-o", filepath.Join(dir, "x.npy"), "-", "testdata/demo/cat.jpg")
	r.want(t, exitInterrupted, nil, []string{"vitago: interrupted\n"})
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("Ctrl-C before the first image left %q", got)
	}
	ctx, cancel = context.WithCancel(context.Background())
	args := []string{"encode", "--model", tinyModel, "--batch", "1", "-o", filepath.Join(dir, "x.npy"), "testdata/demo", "testdata/demo", "-"}
	r = vitagoContext(ctx, interrupting{cancel}, args...)
	r.want(t, exitInterrupted, nil, []string{filepath.Join(dir, "x.npy") + ": 1", " of 13 images are kept, and --resume goes on behind them\nvitago: interrupted\n"})
	if got := files(t, dir); !slices.Equal(got, []string{"x.npy.partial", "x.npy.partial.journal"}) {
		t.Errorf("Ctrl-C left %q", got)
	}
	cat, err := os.ReadFile("testdata/demo/cat.jpg")
	if err != nil {
		t.Fatal(err)
	}
	r = vitagoContext(t.Context(), bytes.NewReader(cat), append(args, "--resume")...)
	r.want(t, exitDone, nil, []string{"x.npy: embedding [13,10] of 13 images, 1", " of them from before, in "})
	if got := files(t, dir); !slices.Equal(got, []string{"x.npy", "x.npy.about.json", "x.npy.names.jsonl"}) {
		t.Errorf("in the end there are %q", got)
	}
	vitagoContext(ctx, nil, "encode", "--model", tinyModel, "testdata/demo/cat.png").want(t, exitInterrupted, nil, []string{"interrupted"})
	vitagoContext(ctx, nil, "inspect", tinyModel).want(t, exitInterrupted, nil, []string{"interrupted"})
}

// counting counts how often it is read.
type counting struct{ n *atomic.Int64 }

func (r counting) Read([]byte) (int, error) {
	r.n.Add(1)
	return 0, io.EOF
}

// TestPrepareAhead: images wait to be decoded until they are about to be used.
func TestPrepareAhead(t *testing.T) {
	var n atomic.Int64
	names := slices.Repeat([]string{stdinName}, 1000)
	got := 0
	for p, err := range prepare(t.Context(), names, counting{&n}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if got++; got <= 30 {
			time.Sleep(10 * time.Millisecond)
			if now := n.Load(); now < int64(got) || now > int64(got+1) {
				t.Errorf("%d images were read at number %d, want that and one more", now, got)
			}
		}
		if p.err == nil || p.of != nil {
			t.Errorf("got %v, want an error", p)
		}
	}
	if got != len(names) || n.Load() != int64(got) {
		t.Errorf("got %d pictures of %d reads, want %d", got, n.Load(), len(names))
	}
}

// TestEncodeNaN: features that are no numbers are an error in every format, and leave no file.
func TestEncodeNaN(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(tinyModel)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model.safetensors")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 8 + int(binary.LittleEndian.Uint64(raw))
	var header map[string]struct {
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(raw[8:n], &header); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint16(raw[n+header["visual_projection.weight"].Offsets[0]:], 0x7e00) // NaN in half precision
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{".npy", ".safetensors", ".jsonl"} {
		out := filepath.Join(dir, "out"+ext)
		var stderr bytes.Buffer
		status := run(t.Context(), []string{"encode", "--model", dir, "-o", out, "testdata/demo/cat.png"}, nil, io.Discard, &stderr)
		if status != 1 || !strings.Contains(stderr.String(), "testdata/demo/cat.png: embedding: value 1 of 10 is NaN") {
			t.Errorf("%s: status %d, %s", ext, status, stderr.String())
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s was written", out)
		}
	}
}
