package finetune

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/golden"
)

// twoLayers is a head of one's own.
type twoLayers struct {
	nn.Module
	Hidden, Out *linear.Model
	Stats       *nn.Buffer // [n]
	Eps         *nn.Buffer
}

func newTwoLayers(width, hidden, k int) *twoLayers {
	return &twoLayers{
		Hidden: linear.New[float32](width, hidden), Out: linear.New[float32](hidden, k),
		Stats: nn.Buf(mat.NewDense[float32](mat.WithShape(3))), Eps: nn.Buf(mat.Scalar(1e-5)),
	}
}

func (m *twoLayers) Forward(x mat.Tensor) mat.Tensor {
	return Linear(ag.ReLU(Linear(x, m.Hidden)), m.Out)
}

// fill gives a head random values.
func (m *twoLayers) fill(seed uint64) *twoLayers {
	rng := rand.New(rand.NewPCG(seed, 0))
	parts, err := partsOf(m)
	if err != nil {
		panic(err)
	}
	for _, p := range parts {
		for i := range p.data() {
			p.data()[i] = float32(rng.NormFloat64())
		}
	}
	return m
}

// values returns all that is saved of a head.
func values(t *testing.T, h Head) (all []float32) {
	t.Helper()
	parts, err := partsOf(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		all = append(all, p.data()...)
	}
	return all
}

// Linear is spago's own module, image by image, and so are its gradients.
func TestLinear(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(shape ...int) *mat.Dense[float32] {
		x := mat.NewDense[float32](mat.WithShape(shape...), mat.WithGrad(true))
		for i := range x.Data().F32() {
			x.Data().F32()[i] = float32(rng.NormFloat64())
		}
		return x
	}
	for _, biased := range []bool{true, false} {
		x, m := random(5, 7), linear.New[float32](7, 3)
		copy(m.W.Data().F32(), random(3, 7).Data().F32())
		copy(m.B.Data().F32(), random(3, 1).Data().F32())
		naive := func() mat.Tensor { return ag.Mul(x, ag.T(m.W)) }
		if biased {
			naive = func() mat.Tensor {
				var rows []mat.Tensor
				for _, row := range ag.RowViews(x) {
					rows = append(rows, ag.T(m.Forward(ag.T(row))[0]))
				}
				return ag.Stack(rows...)
			}
		} else {
			m.B = nil
		}
		weight := random(5, 3).Value().(mat.Matrix)
		weight.SetRequiresGrad(false)
		run := func(y mat.Tensor) (out [][]float32) {
			y.AccGrad(weight)
			if err := ag.Backward(y); err != nil {
				t.Fatal(err)
			}
			out = append(out, slices.Clone(y.Value().Data().F32()))
			for _, p := range []mat.Tensor{x, m.W} {
				out = append(out, slices.Clone(p.Grad().Data().F32()))
				p.ZeroGrad()
			}
			if m.B != nil {
				out = append(out, slices.Clone(m.B.Grad().Data().F32()))
				m.B.ZeroGrad()
			}
			return out
		}
		want, got := run(naive()), run(Linear(x, m))
		for i, name := range []string{"y", "gradient of x", "gradient of W", "gradient of B"}[:len(want)] {
			golden.Compare(t, fmt.Sprint(name, biased), got[i], want[i], 1e-6) // sums of at most 7 terms in another order
		}
	}
}

func TestLinearPanics(t *testing.T) {
	x := mat.NewDense[float32](mat.WithShape(2, 3))
	short := linear.New[float32](3, 4)
	short.B = nn.NewParam(mat.NewDense[float32](mat.WithShape(3)))
	for want, m := range map[string]*linear.Model{
		"finetune: Linear: x is [2 3], want [B,5] for W [4 5]":   linear.New[float32](5, 4),
		"finetune: Linear: W is float64, want float32":           linear.New[float64](3, 4),
		"finetune: Linear: B is [3 1], want [4] for W [4 3]":     short,
		"finetune: Linear: x is [2 3], want [B,1] for W [4 1]":   linear.New[float32](1, 4),
		"finetune: Linear: x is float64, want float32|x float64": linear.New[float32](3, 4),
	} {
		func() {
			want, in := want, mat.Tensor(x)
			if w, ok := strings.CutSuffix(want, "|x float64"); ok {
				want, in = w, mat.NewDense[float64](mat.WithShape(2, 3))
			}
			defer func() {
				if got := fmt.Sprint(recover()); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			Linear(in, m)
		}()
	}
}

// A run whose head has another width ends with an error, and not the process.
func TestWidthOfHead(t *testing.T) {
	for name, h := range map[string]Head{
		"own":        newTwoLayers(11, 4, 3).fill(1),
		"classifier": NewClassifier(11, threeClasses),
	} {
		c, _ := goldenConfig(t, 4)
		c.Head = h
		tr, err := New(c)
		if err == nil {
			_, err = tr.Run(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), "finetune: Linear: ") || !strings.Contains(err.Error(), "11") || !strings.Contains(err.Error(), "[4 10]") {
			t.Errorf("%s: error is %v, want one with both widths", name, err)
		}
	}
}

// What was saved is what is loaded, and is what another module of the same fields loads.
func TestSaveHead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	for i, classes := range [][]string{{"cat", "dog, \"wild\"", "日本", "no UTF-8: \xff"}, nil} {
		h := newTwoLayers(10, 4, 3).fill(uint64(i))
		if err := SaveHead(dir, h, classes); err != nil {
			t.Fatal(err)
		}
		again := newTwoLayers(10, 4, 3)
		again.Hidden.W.SetRequiresGrad(true)
		got, err := LoadHead(dir, again)
		if err != nil || !slices.Equal(got, classes) || (got == nil) != (classes == nil) {
			t.Fatalf("classes %q, %v, want %q", got, err, classes)
		}
		if !slices.Equal(values(t, again), values(t, h)) {
			t.Error("other values than were saved")
		}
		if got, err := LoadHead(dir, nil); err != nil || !slices.Equal(got, classes) {
			t.Errorf("classes %q, %v, want %q", got, err, classes)
		}
	}
	tensors, err := checkpoint.ReadTensors(filepath.Join(dir, "head.safetensors"))
	var names []string
	for _, x := range tensors {
		names = append(names, fmt.Sprint(x.Name, x.Shape))
	}
	if want := []string{"Hidden.B[4 1]", "Hidden.W[4 10]", "Out.B[3 1]", "Out.W[3 4]", "Stats[3 1]"}; err != nil || !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Errorf("tensors %v, %v, want %v", names, err, want)
	}
	if _, err := probe.LoadHead(dir); err == nil {
		t.Error("package probe reads it")
	}
}

// A classifier is written in the form that all of the module read, and a head of one's own takes its place.
func TestSaveHeadOfClasses(t *testing.T) {
	dir := t.TempDir()
	c := NewClassifier(10, threeClasses)
	c.Linear.W.Data().F32()[7] = 7
	if err := SaveHead(dir, c, nil); err != nil {
		t.Fatal(err)
	}
	again := NewClassifier(10, []string{"x", "y", "z"})
	classes, err := LoadHead(dir, again)
	if err != nil || !slices.Equal(classes, threeClasses) || !slices.Equal(again.Classes, threeClasses) || again.Linear.W.Data().F32()[7] != 7 {
		t.Errorf("%q, %v", classes, err)
	}
	if !probe.HasHead(dir) {
		t.Error("package probe sees no head")
	}
	if got, err := LoadHead(dir, nil); err != nil || !slices.Equal(got, threeClasses) {
		t.Errorf("classes %q, %v", got, err)
	}
	_, err = LoadHead(dir, NewClassifier(9, threeClasses))
	wantError(t, err, "weights [3 10], want [3 9]")
	wantError(t, SaveHead(dir, c, []string{"x", "y", "z"}), "the head has the classes", `got ["x" "y" "z"]`)
	_, err = LoadHead(dir, newTwoLayers(10, 4, 3))
	wantError(t, err, "missing (Hidden.W, Hidden.B, Out.W, Out.B, Stats)", "unexpected (weight, bias)")
	if err := SaveHead(dir, newTwoLayers(10, 4, 3).fill(1), threeClasses); err != nil {
		t.Fatal(err)
	}
	if probe.HasHead(dir) {
		t.Error("the classes.json of another head is still there")
	}
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error is %v, want one with %q", err, w)
		}
	}
}

func TestHeadErrors(t *testing.T) {
	dir := t.TempDir()
	h := newTwoLayers(10, 4, 3).fill(1)
	wantError(t, SaveHead(dir, h, []string{}), "an empty list of classes")
	wantError(t, SaveHead(dir, h, []string{"a", "a"}), `two classes are called "a"`)
	wantError(t, SaveHead(dir, &hidden{w: h.Out.W}, nil), "no parameters in exported fields")
	wide := newTwoLayers(10, 4, 3)
	wide.Out = linear.New[float64](4, 3)
	wantError(t, SaveHead(dir, wide, nil), "Out.W of the head *finetune.twoLayers is float64, want float32")
	bad := newTwoLayers(10, 4, 3)
	bad.Out.B.Data().F32()[2] = float32(math.Inf(1))
	wantError(t, SaveHead(dir, bad, nil), "Out.B of the head has +Inf at place 2")
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}

	if _, err := LoadHead(dir, h); !os.IsNotExist(err) && !strings.Contains(fmt.Sprint(err), converter.HeadFile) {
		t.Errorf("no file: %v", err)
	}
	// All that does not fit is said at once, and nothing is changed.
	if err := SaveHead(dir, h, threeClasses); err != nil {
		t.Fatal(err)
	}
	other := &wider{Hidden: linear.New[float32](12, 4), Last: linear.New[float32](4, 3)}
	before := slices.Clone(values(t, other))
	_, err := LoadHead(dir, other)
	wantError(t, err, converter.HeadFile, "*finetune.wider", "missing (Last.W, Last.B)", "unexpected (Out.W, Out.B, Stats)", "of the wrong shape (Hidden.W is [4 10], want [4 12])")
	if !slices.Equal(values(t, other), before) {
		t.Error("the head has changed")
	}
	// A file that is damaged.
	path := filepath.Join(dir, converter.HeadFile)
	for name, meta := range map[string]string{"no list of names": `{"a":1}`, "two classes": `["a","a"]`, "empty list": `[]`} {
		v, err := checkpoint.ReadTensors(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.WriteTensors(path, map[string]string{"classes": meta}, v); err != nil {
			t.Fatal(err)
		}
		_, err = LoadHead(dir, h)
		wantError(t, err, name, converter.HeadFile)
		_, err = LoadHead(dir, nil)
		wantError(t, err, name, converter.HeadFile)
	}
	nan := newTwoLayers(10, 4, 3).fill(2)
	parts, _ := partsOf(nan)
	var v []checkpoint.Values
	for _, p := range parts {
		v = append(v, checkpoint.Values{Name: p.path, Shape: p.shape(), Data: p.data()})
	}
	v[3].Data[1] = float32(math.NaN())
	if err := checkpoint.WriteTensors(path, nil, v); err != nil {
		t.Fatal(err)
	}
	before = slices.Clone(values(t, h))
	_, err = LoadHead(dir, h)
	wantError(t, err, "Out.B has NaN at place 1")
	if !slices.Equal(values(t, h), before) {
		t.Error("the head has changed")
	}
}

// hidden is a head whose parameters nobody sees.
type hidden struct {
	nn.Module
	w *nn.Param
}

func (h *hidden) Forward(x mat.Tensor) mat.Tensor { return ag.Mul(x, ag.T(h.w)) }

type wider struct {
	nn.Module
	Hidden, Last *linear.Model
}

func (h *wider) Forward(x mat.Tensor) mat.Tensor { return Linear(Linear(x, h.Hidden), h.Last) }

// What a trainer saves of a head of one's own, LoadHead loads, with the classes of the data.
func TestTrainerSavesHead(t *testing.T) {
	c, _ := goldenConfig(t, 4)
	h := newTwoLayers(10, 4, 3).fill(3)
	c.Head = h
	tr, _ := run(t, c)
	dir := filepath.Join(t.TempDir(), "model")
	if err := tr.Save(t.Context(), dir, nil, converter.Options{}); err != nil {
		t.Fatal(err)
	}
	again := newTwoLayers(10, 4, 3)
	if classes, err := LoadHead(dir, again); err != nil || classes != nil { // of a source that is no loader
		t.Fatalf("classes %q, %v", classes, err)
	}
	if !slices.Equal(values(t, again), values(t, h)) {
		t.Error("other values than were saved")
	}
}

// FuzzLoadHead: no file ends the program, and what is refused has changed nothing.
func FuzzLoadHead(f *testing.F) {
	dir := f.TempDir()
	for _, classes := range [][]string{nil, {"a", "b", "c"}} {
		if err := SaveHead(dir, newTwoLayers(2, 2, 3).fill(1), classes); err != nil {
			f.Fatal(err)
		}
		file, err := os.ReadFile(filepath.Join(dir, converter.HeadFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
		f.Add(file[:len(file)/2])
		f.Add(bytes.Replace(file, []byte("F32"), []byte("F64"), 1))
		f.Add(bytes.Replace(file, []byte(`[\"a\"`), []byte(`[\"b\"`), 1))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := checkpoint.OpenReader(bytes.NewReader(content), int64(len(content)), "fuzzed")
		if err != nil {
			return
		}
		h := newTwoLayers(2, 2, 3)
		before := slices.Clone(values(t, h))
		classes, err := fill(h, file)
		switch {
		case err != nil && (!slices.Equal(values(t, h), before) || classes != nil):
			t.Fatalf("changed, with the error %v", err)
		case err == nil && checkClasses(classes) != nil:
			t.Fatalf("classes %q", classes)
		}
	})
}
