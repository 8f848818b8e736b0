package compare

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
)

// A state is the tensors of a checkpoint, to be edited.
type state struct {
	t       testing.TB
	tensors []named
}

// tinyState returns the tiny CLIP in float32, in OpenAI's names.
func tinyState(t testing.TB) *state { return &state{t, contents(t, tiny(t, "float32_torch2.0.1.pt"))} }

func (s *state) find(name string) *named {
	s.t.Helper()
	for i := range s.tensors {
		if s.tensors[i].name == name {
			return &s.tensors[i]
		}
	}
	s.t.Fatalf("no tensor %s", name)
	return nil
}

func (x *named) values() []float32 {
	f := make([]float32, len(x.data)/x.dtype.Size())
	decode(f, x.data, x.dtype)
	return f
}

// set gives a tensor other values, and another shape if there is one.
func (x *named) set(f []float32, shape ...int) {
	x.data = make([]byte, len(f)*x.dtype.Size())
	if err := encode(x.data, f, x.dtype); err != nil {
		panic(err)
	}
	if shape != nil {
		x.shape = shape
	}
}

// each edits the values of the tensors whose names contain a text.
func (s *state) each(text string, edit func(f []float32)) *state {
	n := 0
	for i := range s.tensors {
		if x := &s.tensors[i]; strings.Contains(x.name, text) && x.dtype != I64 {
			f := x.values()
			edit(f)
			x.set(f)
			n++
		}
	}
	if n == 0 {
		s.t.Fatalf("no tensor of %q", text)
	}
	return s
}

// drop removes the tensors whose names contain a text.
func (s *state) drop(text string) *state {
	s.tensors = slices.DeleteFunc(s.tensors, func(x named) bool { return strings.Contains(x.name, text) })
	return s
}

// retype stores all tensors in another type.
func (s *state) retype(to DType) *state {
	for i := range s.tensors {
		if x := &s.tensors[i]; x.dtype != I64 {
			f := x.values()
			x.dtype = to
			x.set(f)
		}
	}
	return s
}

func (s *state) open() *converter.Model {
	s.t.Helper()
	b := asSafetensors(s.t, s.tensors)
	c, err := converter.OpenReader(bytes.NewReader(b), int64(len(b)), "state")
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// noise adds to values a normal error of a size relative to their own.
func noise(seed uint64, relative float64) func(f []float32) {
	rng := rand.New(rand.NewPCG(seed, 1))
	return func(f []float32) {
		var sum float64
		for _, v := range f {
			sum += float64(v) * float64(v)
		}
		deviation := relative * math.Sqrt(sum/float64(len(f)))
		for i := range f {
			f[i] += float32(deviation * rng.NormFloat64())
		}
	}
}

// another replaces values by others of the same mean and deviation, as those of another model would be.
func another(seed uint64) func(f []float32) {
	rng := rand.New(rand.NewPCG(seed, 2))
	return func(f []float32) {
		var mean, square float64
		for _, v := range f {
			mean += float64(v) / float64(len(f))
		}
		for _, v := range f {
			square += (float64(v) - mean) * (float64(v) - mean) / float64(len(f))
		}
		for i := range f {
			f[i] = float32(mean + math.Sqrt(square)*rng.NormFloat64())
		}
	}
}

func mustCompare(t testing.TB, a, b *converter.Model) *Comparison {
	t.Helper()
	r, err := Models(context.Background(), a, b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tensorOf returns the drift of a parameter.
func (r *Comparison) tensorOf(t testing.TB, name string) TensorDrift {
	t.Helper()
	for _, d := range r.Tensors {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no parameter %s", name)
	return TensorDrift{}
}

func (r *Comparison) groupOf(t testing.TB, tower, part string, block int) GroupDrift {
	t.Helper()
	for _, g := range r.Groups {
		if g.Tower == tower && g.Part == part && g.Block == block {
			return g
		}
	}
	t.Fatalf("no group %s %s %d", tower, part, block)
	return GroupDrift{}
}

// naiveDrift is a naive comparison, which the streaming one is judged by: every pair of tensors in float64, two
// passes.
type naiveDrift struct{ maxAbs, aa, bb, ab, dd, varA, varB, cov float64 }

func (n *naiveDrift) add(a, b []float32) {
	var meanA, meanB float64
	for i := range a {
		meanA += float64(a[i]) / float64(len(a))
		meanB += float64(b[i]) / float64(len(a))
	}
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		n.maxAbs = math.Max(n.maxAbs, math.Abs(x-y))
		n.aa += x * x
		n.bb += y * y
		n.ab += x * y
		n.dd += (x - y) * (x - y)
		n.varA += (x - meanA) * (x - meanA)
		n.varB += (y - meanB) * (y - meanB)
		n.cov += (x - meanA) * (y - meanB)
	}
}

func (n naiveDrift) check(t testing.TB, what string, d Drift) {
	t.Helper()
	const tol = 1e-11 // sums of 10⁵ terms of float64 in another order
	for _, c := range []struct {
		name      string
		got       Measure
		want      float64
		tolerance float64
	}{
		{"max_abs", d.MaxAbs, n.maxAbs, 0},
		{"relative_l2", d.RelativeL2, math.Sqrt(n.dd / n.aa), tol},
		{"cosine", d.Cosine, n.ab / math.Sqrt(n.aa*n.bb), tol},
		{"correlation", d.Correlation, n.cov / math.Sqrt(n.varA*n.varB), tol},
	} {
		if diff := math.Abs(float64(c.got) - c.want); !(diff <= c.tolerance) {
			t.Errorf("%s: %s is %v, want %v", what, c.name, c.got, c.want)
		}
	}
}

// TestCompareForms: all fixtures are one CLIP, in two dialects, in five containers, and in two
// precisions that hold its values.
func TestCompareForms(t *testing.T) {
	for _, a := range []string{"float32_torch2.0.1.pt", "openai_torch1.7.1.pt", "huggingface"} {
		for _, b := range fixtures {
			t.Run(a+" "+b.path, func(t *testing.T) {
				var last, total int64
				r, err := compareFiles(t.Context(), tiny(t, a), tiny(t, b.path), Options{Progress: func(d, n int64) {
					if d < last {
						t.Errorf("progress went from %d to %d", last, d)
					}
					last, total = d, n
				}})
				if err != nil {
					t.Fatal(err)
				}
				want := "The vision tower is identical. The text tower is identical."
				if !b.text {
					want = "The vision tower is identical. Only A has a text tower."
				}
				if r.Verdict != Identical || r.Summary != want {
					t.Errorf("%s: %q, want identical: %q", r.Verdict, r.Summary, want)
				}
				if last != total || total == 0 {
					t.Errorf("progress ended at %d of %d", last, total)
				}
				for _, d := range r.Tensors {
					switch {
					case d.Tower == "text" && !b.text:
						if d.Verdict != OnlyInA || d.RelativeL2.Defined() || d.DTypeB != "" {
							t.Errorf("%s: got %+v", d.Name, d)
						}
					case d.Verdict != Identical || d.MaxAbs != 0 || d.RelativeL2 != 0 || d.Cosine != 1:
						t.Errorf("%s: got %+v", d.Name, d)
					}
				}
				if r.B.Dialect != b.dialect || r.B.Container != b.container || r.A.DTypes[string(F32)] == 0 {
					t.Errorf("sides are %+v and %+v", r.A, r.B)
				}
			})
		}
	}
}

// TestCompareMixed: what is read of a parameter in several tensors adds up even if they differ in precision.
func TestCompareMixed(t *testing.T) {
	s := &state{t, contents(t, tiny(t, "huggingface/model.safetensors"))}
	x := s.find("vision_model.encoder.layers.0.self_attn.k_proj.weight")
	f := x.values()
	x.dtype = checkpoint.F64
	x.data, _ = binary.Append(nil, binary.LittleEndian, widened(f))
	m := s.open()
	k := &comparer{ctx: t.Context(), bands: []*bandBuffer{{x: make([]float64, compareBand), y: make([]float64, compareBand)}}}
	p := newSide(m).params["Blocks.0.Attn.QKV.W"]
	if _, _, err := k.bandwise(p, p); err != nil || k.done != 2*p.Bytes() || p.Bytes() != (2+8+2)*64*64 {
		t.Errorf("%d bytes were counted (%v), want %d, twice %d", k.done, err, 2*p.Bytes(), (2+8+2)*64*64)
	}
}

func widened(f []float32) []float64 {
	y := make([]float64, len(f))
	for i, v := range f {
		y[i] = float64(v)
	}
	return y
}

// The parameters come in the order in which data passes them, and every canonical one has its region.
func TestCompareOrder(t *testing.T) {
	r := mustCompare(t, tinyState(t).open(), tinyState(t).open())
	var got []string
	for _, d := range r.Tensors[:6] {
		got = append(got, d.Name)
	}
	want := []string{"Embed.Patch", "Embed.Class", "Embed.Position", "PreNorm.W", "PreNorm.B", "Blocks.0.Norm1.W"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	many := []string{"Blocks.10.Attn.QKV.B", "Proj", "Blocks.2.MLP.Up.W", "Text.Token", "Blocks.10.Attn.QKV.W", "Blocks.2.Norm1.W",
		"LogitScale", "Projector.Newline", "Projector.Layers.0.W", "PostNorm.W", "Text.Blocks.0.MLP.Down.W"}
	inOrder(many)
	want = []string{"Blocks.2.Norm1.W", "Blocks.2.MLP.Up.W", "Blocks.10.Attn.QKV.W", "Blocks.10.Attn.QKV.B", "PostNorm.W", "Proj",
		"Text.Token", "Text.Blocks.0.MLP.Down.W", "LogitScale", "Projector.Layers.0.W", "Projector.Newline"}
	if !slices.Equal(many, want) {
		t.Errorf("got %q, want %q", many, want)
	}
	for _, path := range []string{tiny(t, "huggingface"), golden.Path(t, "testdata/families/xcomposer2-hd"), golden.Path(t, "testdata/families/llava-linear")} {
		m, err := converter.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		for _, p := range m.Parameters() {
			tower, rest, ok := strings.Cut(p.Path, ".")
			switch {
			case p.Path == "LogitScale":
				tower = "text"
			case ok && (tower == "Text" || tower == "Projector"):
				tower = strings.ToLower(tower)
			default:
				tower, rest = "vision", p.Path
			}
			if at, _, block := regionOf(p.Path); at.tower != tower || at.prefix == "" && rest == p.Path || (block >= 0) != strings.Contains(p.Path, "Blocks.") {
				t.Errorf("%s is in region %+v, block %d", p.Path, at, block)
			}
		}
	}
}

// TestCompareNumbers compares every measure with the naive ones.
func TestCompareNumbers(t *testing.T) {
	a := tinyState(t)
	b := tinyState(t).each("visual.transformer.resblocks.1.mlp", noise(1, 0.25)).each("visual.transformer.resblocks.0", noise(2, 0.01)).each("visual.proj", noise(3, 0.03))
	r := mustCompare(t, a.open(), b.open())

	var mlp naiveDrift
	for _, x := range []struct{ ours, theirs string }{
		{"Norm2.W", "ln_2.weight"}, {"Norm2.B", "ln_2.bias"}, {"MLP.Up.W", "mlp.c_fc.weight"}, {"MLP.Up.B", "mlp.c_fc.bias"},
		{"MLP.Down.W", "mlp.c_proj.weight"}, {"MLP.Down.B", "mlp.c_proj.bias"},
	} {
		name := "visual.transformer.resblocks.1." + x.theirs
		va, vb := a.find(name).values(), b.find(name).values()
		mlp.add(va, vb)
		if strings.HasPrefix(x.ours, "MLP") {
			var one naiveDrift
			one.add(va, vb)
			d := r.tensorOf(t, "Blocks.1."+x.ours)
			one.check(t, d.Name, d.Drift)
			if d.Verdict != Tuned {
				t.Errorf("%s is %s, want tuned", d.Name, d.Verdict)
			}
		}
	}
	g := r.groupOf(t, "vision", "block", 1)
	mlp.check(t, "block 1's MLP", *g.MLP)
	if g.MLP.Verdict != Tuned || g.Attention.Verdict != Identical || g.Verdict != Tuned || g.Tensors != 12 {
		t.Errorf("block 1 is %+v", g)
	}
	var proj naiveDrift
	proj.add(a.find("visual.proj").values(), b.find("visual.proj").values()) // transposing both changes nothing
	proj.check(t, "Proj", r.tensorOf(t, "Proj").Drift)

	want := fmt.Sprintf("All 2 blocks of the vision tower were initialised from A and tuned; the largest change is in block 1's MLP "+
		"(relative L2 %.2g); the embedding, the norm before the blocks and the norm after the blocks are identical. "+
		"The text tower is identical.", math.Sqrt(mlp.dd/mlp.aa))
	if r.Verdict != Tuned || r.Summary != want {
		t.Errorf("%s: %q, want %q", r.Verdict, r.Summary, want)
	}

	// Many bands, and a mean far larger than the deviation.
	n := 3*compareBand + 17
	va, vb := make([]float32, n), make([]float32, n)
	rng := rand.New(rand.NewPCG(4, 4))
	for i := range va {
		va[i] = 1000 + float32(rng.NormFloat64())
		vb[i] = va[i] + 0.1*float32(rng.NormFloat64())
	}
	x, y := make([]float64, n), make([]float64, n)
	for i := range va {
		x[i], y[i] = float64(va[i]), float64(vb[i])
	}
	var m moments
	for lo := 0; lo < n; lo += compareBand {
		m = m.merge(momentsOf(x[lo:min(lo+compareBand, n)], y[lo:min(lo+compareBand, n)]))
	}
	var whole naiveDrift
	whole.add(va, vb)
	whole.check(t, "bands", m.drift(Tuned))
}

// TestCompareVerdicts changes B, or A, in every way that has a name.
func TestCompareVerdicts(t *testing.T) {
	const mlp1 = "visual.transformer.resblocks.1.mlp.c_fc.weight"
	// Values that no rounding leaves alone: those of the fixture are all of half precision.
	full := func() *state { return tinyState(t).each("", noise(9, 0.1)) }
	for _, c := range []struct {
		name    string
		a, b    *state
		verdict Verdict
		param   string // one to look at
		want    Verdict
		derived string
		summary string
	}{
		{"to float16", full(), full().retype(F16), RoundedF16, "Blocks.0.MLP.Up.W", RoundedF16, "B",
			"The vision tower is identical up to rounding to float16 (in B). The text tower is identical up to rounding to float16 (in B)."},
		{"from bfloat16", full().retype(BF16), full(), RoundedBF16, "Embed.Position", RoundedBF16, "A",
			"The vision tower is identical up to rounding to bfloat16 (in A). The text tower is identical up to rounding to bfloat16 (in A)."},
		{"float16 that is stored in float32", full(), full().retype(F16).retype(F32), RoundedF16, "Proj", RoundedF16, "B", ""},
		{"a block", tinyState(t), tinyState(t).each("visual.transformer.resblocks.1.", noise(1, 0.05)), Tuned, "Blocks.1.MLP.Up.W", Tuned, "",
			"Of the 2 blocks of the vision tower, 1 is identical (0) and 1 was initialised from A and tuned (1); the largest change is in block 1's"},
		{"a tensor of another model", tinyState(t), tinyState(t).each(mlp1, another(1)), Mixed, "Blocks.1.MLP.Up.W", Unrelated, "",
			"Of the 2 blocks of the vision tower, 1 is identical (0) and 1 is partly unrelated (1); " +
				"the embedding, the norm before the blocks, the norm after the blocks and the projection are identical. The text tower is identical."},
		{"another model", tinyState(t), tinyState(t).each("", another(2)), Unrelated, "Blocks.0.Norm1.W", Unrelated, "",
			"The vision towers are unrelated. The text towers are unrelated; the logit scale is identical."},
		{"another vision tower", tinyState(t), tinyState(t).each("visual.", another(3)), Mixed, "Blocks.0.Attn.QKV.W", Unrelated, "",
			"The vision towers are unrelated. The text tower is identical."},
		{"biases alone", tinyState(t), tinyState(t).each("resblocks.1.mlp.c_fc.bias", another(5)), Tuned, "Blocks.1.MLP.Up.B", Unrelated, "",
			"Of the 2 blocks of the vision tower, 1 is identical (0) and 1 was initialised from A and tuned (1); the largest change is in block 1's MLP"},
		{"the temperature", tinyState(t), tinyState(t).each("logit_scale", func(f []float32) { f[0] = 4.6 }), Tuned, "LogitScale", Changed, "",
			"The vision tower is identical. The block of the text tower is identical; the logit scale was changed."},
		{"fewer blocks", tinyState(t), tinyState(t).drop("visual.transformer.resblocks.1."), Identical, "Blocks.1.MLP.Up.W", OnlyInA, "",
			"The vision tower is identical; only A has block 1. The text tower is identical."},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mustCompare(t, c.a.open(), c.b.open())
			if r.Verdict != c.verdict {
				t.Errorf("verdict is %s, want %s", r.Verdict, c.verdict)
			}
			if d := r.tensorOf(t, c.param); d.Verdict != c.want || d.Derived != c.derived {
				t.Errorf("%s is %s (%s), want %s (%s)", c.param, d.Verdict, d.Derived, c.want, c.derived)
			}
			if !strings.HasPrefix(r.Summary, c.summary) {
				t.Errorf("summary is %q, want %q", r.Summary, c.summary)
			}
		})
	}
}

// TestCompareFamilies: the tower of a vision-language model, which lacks the post-norm and the projection, and
// whose language model is nobody's business, with OpenAI's.
func TestCompareFamilies(t *testing.T) {
	for _, family := range []struct{ tower, projector, language string }{
		{"model.vision_tower.vision_tower.", "model.mm_projector.", "model.layers.0.mlp.weight"},
		{"vit.vision_tower.", "vision_proj.", "model.layers.0.attention.wqkv.Plora_A.weight"},
	} {
		s := &state{t, contents(t, tiny(t, "huggingface/model.safetensors"))}
		s.retype(F32).each("encoder.layers.", noise(1, 0.03)).each("layers.0.self_attn.", noise(2, 0.1))
		vlm := &state{t: t}
		for _, x := range s.tensors {
			if strings.HasPrefix(x.name, "vision_model.") && !strings.Contains(x.name, "post_layernorm") {
				x.name = family.tower + x.name
				vlm.tensors = append(vlm.tensors, x)
			}
		}
		add := func(name string, shape ...int) {
			n := 1
			for _, d := range shape {
				n *= d
			}
			x := named{name: name, dtype: F32}
			x.set(make([]float32, n), shape...)
			vlm.tensors = append(vlm.tensors, x)
		}
		add(family.projector+"0.weight", 128, 64)
		add(family.projector+"0.bias", 128)
		add(family.projector+"2.weight", 128, 128)
		add(family.projector+"2.bias", 128)
		add(family.language, 3, 3)
		r := mustCompare(t, tinyState(t).open(), vlm.open())
		attention := r.groupOf(t, "vision", "block", 0).Attention
		want := fmt.Sprintf("All 2 blocks of the vision tower were initialised from A and tuned; the largest change is in block 0's attention (relative L2 %.2g); "+
			"the embedding and the norm before the blocks are identical; only A has the norm after the blocks and the projection. "+
			"Only A has a text tower. Only B has a projector.", attention.RelativeL2)
		if r.Verdict != Tuned || r.Summary != want {
			t.Errorf("%s: %q, want tuned: %q", r.Verdict, r.Summary, want)
		}
		// Both have a projector.
		vlm.each(family.projector+"0.", func(f []float32) { normalsInto(f, 1) }).each(family.projector+"2.", func(f []float32) { normalsInto(f, 2) })
		before := vlm.open()
		r = mustCompare(t, before, vlm.each(family.projector, noise(3, 0.02)).open())
		if want := "The vision tower is identical. The projector was initialised from A and tuned (relative L2 0.02)."; r.Verdict != Tuned || r.Summary != want {
			t.Errorf("%s: %q, want tuned: %q", r.Verdict, r.Summary, want)
		}
	}
}

func normalsInto(f []float32, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	for i := range f {
		f[i] = float32(rng.NormFloat64())
	}
}

// resizedState returns a tiny CLIP whose position embedding has PyTorch's values of testdata/tiny/posembed.npz:
// its 5 columns again and again, each time larger, since resizing does not mix columns.
func resizedState(t testing.TB, array string) *state {
	f := golden.Load(t, "testdata/tiny/posembed.npz")
	rows, x := f.Shape(array)[0], f.Float32(array)
	const width, columns = 64, 5
	position := make([]float32, rows*width)
	for i := range position {
		row, column := i/width, i%width
		position[i] = x[row*columns+column%columns] * float32(1+column/columns)
	}
	s := tinyState(t)
	s.find("visual.positional_embedding").set(position, rows, width)
	return s
}

// TestCompareResized: position embeddings that PyTorch resized are recognised, and by which filter.
func TestCompareResized(t *testing.T) {
	// Shrinking and enlarging; the filter of 5to7 differs by a alone.
	for _, grids := range []string{"6to9", "6to4", "5to7"} {
		from, to := grids[:1], grids[3:]
		for _, filter := range []string{"torch", "antialias"} {
			t.Run(grids+" "+filter, func(t *testing.T) {
				a := resizedState(t, grids+"/in")
				how := map[string]string{"torch": "torch's bicubic", "antialias": "antialiased bicubic"}[filter]
				places := fmt.Sprintf("from %s² to %s² places by %s", from, to, how)
				for _, dtype := range []DType{F32, F16, BF16} {
					b := resizedState(t, grids+"/"+filter).retype(dtype)
					r := mustCompare(t, a.open(), b.open())
					d := r.tensorOf(t, positionPath)
					if d.Verdict != Resized || d.Derived != "B" || string(d.Filter) != filter || d.ShapeB == nil || d.Elements != int64(d.ShapeB[0]*64) {
						t.Errorf("%s: got %+v", dtype, d)
					}
					if want := "the position embedding is A's, resized " + places; !strings.Contains(r.Summary, want) {
						t.Errorf("%s: summary is %q, want %q in it", dtype, r.Summary, want)
					}
					r = mustCompare(t, b.open(), a.open()) // the other way round
					if d := r.tensorOf(t, positionPath); d.Verdict != Resized || d.Derived != "A" || string(d.Filter) != filter {
						t.Errorf("%s: got %+v", dtype, d)
					}
					if want := "the position embedding is B's, resized " + places; !strings.Contains(r.Summary, want) {
						t.Errorf("%s: summary is %q, want %q in it", dtype, r.Summary, want)
					}
				}
				tuned := resizedState(t, grids+"/"+filter).each("visual.positional_embedding", noise(1, 0.02))
				r := mustCompare(t, a.open(), tuned.open())
				d := r.tensorOf(t, positionPath)
				if d.Verdict != ResizedTuned || string(d.Filter) != filter || math.Abs(float64(d.RelativeL2)-0.02) > 0.002 {
					t.Errorf("tuned: got %+v, want relative L2 near 0.02", d)
				}
				if want := places + " and tuned (relative L2 0.02)"; !strings.Contains(r.Summary, want) {
					t.Errorf("summary is %q, want %q in it", r.Summary, want)
				}
				other := resizedState(t, grids+"/"+filter).each("visual.positional_embedding", another(1))
				if d := mustCompare(t, a.open(), other.open()).tensorOf(t, positionPath); d.Verdict != Unrelated || d.Filter != "" || d.Derived != "" {
					t.Errorf("another: got %+v", d)
				}
			})
		}
	}
}

// TestJudge: tensors of every size, independent or tuned, plain or like the weights of norms, are told
// apart; thousands of independent ones without a mistake.
func TestJudge(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	pairs := func(n int, mean, relative float64) moments {
		x, y := make([]float64, n), make([]float64, n)
		for i := range x {
			e, f := rng.NormFloat64(), rng.NormFloat64()
			x[i], y[i] = mean+0.1*e, mean+0.1*f
			if relative >= 0 {
				y[i] = x[i] + 0.1*relative*f
			}
		}
		return momentsOf(x, y)
	}
	for range 500 {
		for _, n := range []int{37, 64, 256, 1024, 4096} {
			for _, mean := range []float64{0, 1} {
				if m := pairs(n, mean, -1); m.judge() != Unrelated {
					t.Fatalf("%d independent elements about %v with cosine %v and correlation %v are %s", n, mean, m.cosine(), m.correlation(), m.judge())
				}
			}
		}
	}
	for range 100 {
		for n, relative := range map[int]float64{64: 0.3, 256: 1, 1024: 2, 4096: 2} {
			for _, mean := range []float64{0, 1} {
				if m := pairs(n, mean, relative); m.judge() != Tuned {
					t.Fatalf("%d elements about %v, tuned by %v, with correlation %v, are %s", n, mean, relative, m.correlation(), m.judge())
				}
			}
		}
	}
	// All rows are one row: a matrix is worth no more than its width.
	for range 200 {
		const width, rows = 1024, 16
		x, y := slices.Repeat(normals(width, rng), rows), slices.Repeat(normals(width, rng), rows)
		if m := momentsOf(x, y); m.judge() != Unrelated {
			t.Fatalf("independent matrices of equal rows with correlation %v are %s", m.correlation(), m.judge())
		}
	}
	// What a cosine would be taken in by.
	if m := pairs(1024, 1, -1); m.cosine() < 0.98 {
		t.Errorf("cosine of independent norms is %v, want above 0.98", m.cosine())
	}
	ones := func(n int) []float64 { return slices.Repeat([]float64{1.1}, n) }
	for name, m := range map[string]moments{
		"nothing":  {},
		"few":      pairs(36, 0, 0.01),
		"constant": momentsOf(ones(1000), normals(1000, rng)),
		"one":      momentsOf([]float64{1}, []float64{2}),
	} {
		if m.judge() != Changed {
			t.Errorf("%s: got %s, want changed", name, m.judge())
		}
	}
	if m := momentsOf(ones(1000), normals(1000, rng)); !math.IsNaN(m.correlation()) {
		t.Errorf("correlation with a constant is %v, want none", m.correlation())
	}
}

func normals(n int, rng *rand.Rand) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// Values that are not finite are counted and left out, on both sides.
func TestCompareNotFinite(t *testing.T) {
	const name = "visual.transformer.resblocks.0.mlp.c_fc.weight"
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	spoiled := func(values ...float32) *state {
		return tinyState(t).each(name, func(f []float32) { copy(f[7:], values) })
	}
	r := mustCompare(t, spoiled(nan, inf).open(), spoiled(nan, inf).open())
	if d := r.tensorOf(t, "Blocks.0.MLP.Up.W"); d.Verdict != Identical || d.NotFinite != 2 || d.Elements != 64*256-2 || d.Cosine != 1 {
		t.Errorf("equal: got %+v", d)
	}
	if want := "The vision tower is identical; 2 values are not finite and were left out."; !strings.HasPrefix(r.Summary, want) {
		t.Errorf("summary is %q, want %q", r.Summary, want)
	}
	a, b := spoiled(), spoiled(nan, inf).each(name, func(f []float32) { f[0] += 0.5 })
	d := mustCompare(t, a.open(), b.open()).tensorOf(t, "Blocks.0.MLP.Up.W")
	va, vb := a.find(name).values(), b.find(name).values()
	var want naiveDrift
	want.add(slices.Delete(va, 7, 9), slices.Delete(vb, 7, 9))
	want.check(t, "spoiled", d.Drift)
	if d.Verdict != Tuned || d.NotFinite != 2 {
		t.Errorf("got %+v", d)
	}
	// What overflows by rounding is still rounded.
	huge := tinyState(t).each(name, func(f []float32) { f[3], f[4] = 1e6, 0.1 })
	half := tinyState(t).each(name, func(f []float32) { f[3], f[4] = inf, kernel.FromHalf(kernel.ToHalf(0.1)) })
	if d := mustCompare(t, huge.open(), half.open()).tensorOf(t, "Blocks.0.MLP.Up.W"); d.Verdict != RoundedF16 || d.NotFinite != 1 {
		t.Errorf("overflow: got %+v", d)
	}
}

func TestCompareFloat64(t *testing.T) {
	const name = "visual.transformer.resblocks.0.mlp.c_fc.weight"
	a, b := tinyState(t), tinyState(t).each(name, noise(1, 0.1))
	x := a.find(name)
	x.dtype, x.data = F64, nil
	for i, v := range b.find(name).values() {
		x.data = binary.LittleEndian.AppendUint64(x.data, math.Float64bits(float64(v)*(1+float64(i%3)*1e-10)))
	}
	d := mustCompare(t, a.open(), b.open()).tensorOf(t, "Blocks.0.MLP.Up.W")
	if d.Verdict != RoundedF32 || d.Derived != "B" || d.MaxAbs == 0 || d.DTypeA != F64 {
		t.Errorf("got %+v", d)
	}
}

// Shapes that cannot be compared are said, and the rest is compared.
func TestCompareShapes(t *testing.T) {
	b := tinyState(t)
	token := b.find("token_embedding.weight")
	token.set(token.values()[:40*64], 40, 64)
	r := mustCompare(t, tinyState(t).open(), b.open())
	d := r.tensorOf(t, "Text.Token")
	if d.Verdict != OtherShape || !slices.Equal(d.ShapeB, []int{40, 64}) || d.MaxAbs.Defined() {
		t.Errorf("got %+v", d)
	}
	if want := "The vision tower is identical. The text tower is identical; token_embedding.weight has shape [50 64] in A and [40 64] in B."; r.Verdict != Identical || r.Summary != want {
		t.Errorf("verdict on what both have is %s, %q; want identical, %q", r.Verdict, r.Summary, want)
	}

	// Projectors of other widths, and of another number of layers.
	projector := func(tensors ...named) *converter.Model {
		c, err := openBytes(asSafetensors(t, tensors))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	linear := projector(vector("model.mm_projector.weight", 4, 8), vector("model.mm_projector.bias", 4))
	for _, c := range []struct {
		b    *converter.Model
		want string
	}{
		{
			projector(vector("model.mm_projector.weight", 6, 8), vector("model.mm_projector.bias", 6)),
			"The projector has another shape; A's is linear from 8 to 4, B's linear from 8 to 6; " +
				"model.mm_projector.weight has shape [4 8] in A and [6 8] in B; model.mm_projector.bias has shape [4] in A and [6] in B.",
		},
		{
			projector(vector("model.mm_projector.0.weight", 4, 8), vector("model.mm_projector.0.bias", 4), vector("model.mm_projector.2.weight", 4, 4), vector("model.mm_projector.2.bias", 4)),
			"; A's is linear from 8 to 4, B's mlp2x_gelu from 8 to 4.",
		},
	} {
		if r := mustCompare(t, linear, c.b); !strings.HasSuffix(r.Summary, c.want) || r.A.Projector.Type != "linear" {
			t.Errorf("projectors: got %q, want %q", r.Summary, c.want)
		}
	}

	// Another size of tower has nothing in common.
	demo := "../../cmd/vitago/testdata/demo/tiny-clip.pt"
	if r, err := compareFiles(t.Context(), tiny(t, "huggingface"), demo, Options{}); err != nil || r.Verdict != Unrelated ||
		!strings.HasPrefix(r.Summary, "The vision towers are unrelated;") || !strings.Contains(r.Summary, "only B has blocks 2-3") {
		t.Errorf("got %v, %v", r, err)
	}
}

func TestCompareFails(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Models(ctx, tinyState(t).open(), tinyState(t).open(), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	broken := filepath.Join(t.TempDir(), "broken.safetensors")
	os.WriteFile(broken, asSafetensors(t, tinyState(t).drop("visual.conv1.weight").tensors), 0o666)
	var wrong *converter.MismatchError
	if _, err := compareFiles(t.Context(), tiny(t, "huggingface"), broken, Options{}); !errors.As(err, &wrong) {
		t.Errorf("got %v, want a MismatchError", err)
	}
	alone := &state{t: t, tensors: []named{{name: "model.mm_projector.weight", dtype: F32}, {name: "model.mm_projector.bias", dtype: F32}}}
	alone.find("model.mm_projector.weight").set(make([]float32, 6), 3, 2)
	alone.find("model.mm_projector.bias").set(make([]float32, 3), 3)
	if _, err := Models(t.Context(), tinyState(t).open(), alone.open(), Options{}); err == nil || !strings.Contains(err.Error(), "no parameter in common") {
		t.Errorf("got %v, want no parameter in common", err)
	}
	damaged, err := os.ReadFile(tiny(t, "state_torch2.9.1.pt"))
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	for _, x := range contents(t, tiny(t, "state_torch2.9.1.pt")) {
		if x.name == "visual.conv1.weight" {
			raw = x.data
		}
	}
	at := bytes.Index(damaged, raw)
	damaged[at] ^= 1
	c, err := openBytes(damaged)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Models(t.Context(), tinyState(t).open(), c, Options{}); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("got %v, want damage", err)
	}
	for _, paths := range [][2]string{{"absent.pt", tiny(t, "huggingface")}, {tiny(t, "huggingface"), "absent.pt"}} {
		if _, err := compareFiles(t.Context(), paths[0], paths[1], Options{}); err == nil || !strings.Contains(err.Error(), "absent.pt") {
			t.Errorf("got %v, want absent.pt in it", err)
		}
	}
}

// A comparison survives JSON, with null for what is undefined.
func TestComparisonJSON(t *testing.T) {
	r := mustCompare(t, tinyState(t).open(), tinyState(t).drop("visual.transformer.resblocks.1.").each("visual.proj", noise(1, 0.1)).open())
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `"verdict":"only in A","elements":0,"max_abs":null,"relative_l2":null`) {
		t.Errorf("no null in %s", b)
	}
	var back Comparison
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(back); err != nil || !bytes.Equal(again, b) {
		t.Errorf("got %s (%v), want %s", again, err, b)
	}
}
