package projector

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/tiny"
)

// randomize gives every parameter of m values of a deviation that keeps what flows through it apart.
func randomize(m nn.Model, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	params.Walk(m, func(path string, p *nn.Param) {
		data := mat.Data[float32](p)
		for i := range data {
			data[i] = float32(rng.NormFloat64() * 0.3)
			if strings.Contains(path, "Norm") && strings.HasSuffix(path, ".W") {
				data[i]++
			}
		}
	})
}

// newEncoder returns an unfrozen encoder with random parameters, of a tower of configuration c.
func newEncoder(t testing.TB, l Layout, kind string, c clipvit.Config, out int) *Encoder {
	t.Helper()
	e := &Encoder{Tower: tiny.New(t, clipvit.New, c), Layout: l, Select: clipvit.Features{Kind: clipvit.Patches, Layer: -1}}
	in := c.Width
	if l.Fit == Tile {
		in *= 4
		e.RowSeparator, e.GlobalSeparator = op.NewParam(1, in), op.NewParam(1, in)
	}
	if kind == Identity {
		out = in
	}
	if l.Fit == AnyRes && l.Merge == MergeUnpad {
		e.Newline = op.NewParam(1, out)
	}
	e.Projector = tiny.New(t, New, Config{Type: kind, In: in, Out: out})
	randomize(e, 7)
	return e
}

// tokensNaive is the specification of Tokens: one view after the other, tokens put together one by one in
// the order of the original code, then projected.
func tokensNaive(t *testing.T, e *Encoder, img image.Image) *mat.Dense[float32] {
	t.Helper()
	c := e.Tower.Config
	tiles, err := e.Layout.Split(img, c)
	if err != nil {
		t.Fatal(err)
	}
	var views [][]float32 // [T,C] each
	for i := range tiles.Patches.Shape()[0] / c.Patches() {
		x := mat.NewDense[float32](mat.WithShape(c.Patches(), c.PatchLen()), mat.WithBacking(tiles.view(i, c)))
		y, err := e.Tower.Features(x, e.Select.Layer)
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, slices.Clone(y.Value().Data().F32()))
	}
	var rows []float32
	token := func(view, i int) []float32 { return views[view][i*c.Width : (i+1)*c.Width] }
	if e.Layout.Fit == AnyRes {
		return anyResNaive(e, tiles, views)
	}
	if e.Layout.Fit != Tile {
		for i := range c.Tokens() {
			if i > 0 || e.Select.Kind == clipvit.AllTokens {
				rows = append(rows, token(0, i)...)
			}
		}
	} else {
		g, half := c.Grid(), c.Grid()/2
		picture := func(first, down, across int) {
			for r := range down * half {
				for col := range across * half {
					view := first + r/half*across + col/half
					for dy := range 2 {
						for dx := range 2 {
							rows = append(rows, token(view, 1+(r%half*2+dy)*g+col%half*2+dx)...)
						}
					}
				}
				rows = append(rows, mat.Data[float32](e.RowSeparator)...)
			}
		}
		picture(0, 1, 1)
		rows = append(rows, mat.Data[float32](e.GlobalSeparator)...)
		picture(1, tiles.Rows, tiles.Cols)
	}
	in := e.Projector.Config.In
	y := e.Projector.Forward(mat.NewDense[float32](mat.WithShape(len(rows)/in, in), mat.WithBacking(rows)))
	return mat.NewDense[float32](mat.WithShape(y.Shape()...), mat.WithBacking(y.Value().Data().F32()))
}

// anyResNaive projects the patches of all views, lays those of the tiles out as one picture of tokens, cuts off
// on both sides what is more than the image's ratio wants, and puts a newline after each row.
func anyResNaive(e *Encoder, tiles *Tiles, views [][]float32) *mat.Dense[float32] {
	c, g, out := e.Tower.Config, e.Tower.Config.Grid(), e.Projector.Config.Out
	projected := func(view int) [][]float32 {
		x := mat.NewDense[float32](mat.WithShape(g*g, c.Width), mat.WithBacking(slices.Clone(views[view][c.Width:])))
		return slices.Collect(slices.Chunk(slices.Clone(e.Projector.Forward(x).Value().Data().F32()), out))
	}
	picture := make([][][]float32, tiles.Rows*g) // rows of tokens
	for row := range picture {
		for col := range tiles.Cols {
			picture[row] = append(picture[row], projected(1 + row/g*tiles.Cols + col)[row%g*g:][:g]...)
		}
	}
	rows := slices.Concat(projected(0)...)
	switch e.Layout.Merge {
	case MergeFlat:
		for view := range tiles.Rows * tiles.Cols {
			rows = append(rows, slices.Concat(projected(1+view)...)...)
		}
	case MergeSpatial:
		for _, row := range picture {
			rows = append(rows, slices.Concat(row...)...)
		}
	}
	if e.Layout.Merge != MergeUnpad {
		return mat.NewDense[float32](mat.WithShape(len(rows)/out, out), mat.WithBacking(rows))
	}
	ratio := float64(tiles.Width) / float64(tiles.Height)
	high, wide := len(picture), len(picture[0])
	if ratio > float64(wide)/float64(high) {
		cut := (high - int(float64(wide)/ratio+1e-7)) / 2
		picture = picture[cut : high-cut]
	} else {
		cut := (wide - int(float64(high)*ratio+1e-7)) / 2
		for row := range picture {
			picture[row] = picture[row][cut : wide-cut]
		}
	}
	for _, row := range picture {
		rows = append(append(rows, slices.Concat(row...)...), mat.Data[float32](e.Newline)...)
	}
	return mat.NewDense[float32](mat.WithShape(len(rows)/out, out), mat.WithBacking(rows))
}

// tolerance is that of sums of a few dozen products in another order, through two blocks.
const tolerance = 2e-6

// TestEncoder compares every layout, feature, batch and state with the specification.
func TestEncoder(t *testing.T) {
	c := tower(16, 4)
	m := noise(50, 33)
	all := slices.Clone(Layouts)
	for _, merge := range []Merge{MergeFlat, MergeSpatial} {
		l := layout(t, "llava-1.6")
		l.Merge = merge
		all = append(all, l)
	}
	for _, l := range all {
		for _, feature := range []clipvit.FeatureKind{clipvit.Patches, clipvit.AllTokens} {
			if feature == clipvit.AllTokens && (l.Fit == Tile || l.Fit == AnyRes) {
				continue
			}
			for _, kind := range []string{"mlp2x_gelu", Linear, Identity} {
				e := newEncoder(t, l, kind, c, 12)
				e.Select.Kind = feature
				for _, e.Select.Layer = range []int{-1, -2, 0} {
					want := tokensNaive(t, e, m)
					n, err := e.Count(50, 33)
					if err != nil || n != want.Shape()[0] {
						t.Fatalf("%s: %d tokens counted, %v, want %d", l.Name, n, err, want.Shape()[0])
					}
					for _, frozen := range []bool{false, true} {
						if frozen {
							e.Freeze()
						} else {
							e.Unfreeze()
						}
						for _, e.Batch = range []int{0, 1, 3, 1000} {
							name := fmt.Sprintf("%s, %s, %s, layer %d, frozen %v, batch %d", l.Name, feature, kind, e.Select.Layer, frozen, e.Batch)
							got, err := e.Tokens(m)
							if err != nil {
								t.Fatal(name, err)
							}
							if got.RequiresGrad() || !slices.Equal(got.Shape(), want.Shape()) {
								t.Fatalf("%s: shape %v, want %v; gradient %v", name, got.Shape(), want.Shape(), got.RequiresGrad())
							}
							golden.Compare(t, name, got.Data().F32(), want.Data().F32(), tolerance)

							tiles, err := e.Split(m)
							if err != nil {
								t.Fatal(err)
							}
							before := slices.Clone(tiles.Patches.Data().F32())
							y, err := e.Forward(tiles)
							if err != nil || y.RequiresGrad() == frozen {
								t.Fatalf("%s: %v, a graph: %v", name, err, y.RequiresGrad())
							}
							golden.Compare(t, name, y.Value().Data().F32(), want.Data().F32(), tolerance)
							if !slices.Equal(before, tiles.Patches.Data().F32()) {
								t.Errorf("%s: the patches changed", name)
							}
						}
					}
				}
			}
		}
	}
}

// TestEncoderPart: what learns alone gets its gradient, through whatever is frozen behind it.
func TestEncoderPart(t *testing.T) {
	l := layout(t, "xcomposer2-4khd")
	l.HDNum = 4
	e := newEncoder(t, l, "mlp2x_gelu", tower(16, 4), 12)
	tiles, err := e.Split(noise(40, 40))
	if err != nil {
		t.Fatal(err)
	}
	grads := func() map[string][]float32 {
		y, err := e.Forward(tiles)
		if err != nil {
			t.Fatal(err)
		}
		g := mat.NewDense[float32](mat.WithShape(y.Shape()...))
		for i := range g.Data().F32() {
			g.Data().F32()[i] = float32(math.Sin(float64(i)))
		}
		y.AccGrad(g)
		if err := ag.Backward(y); err != nil {
			t.Fatal(err)
		}
		got := map[string][]float32{}
		params.Walk(e, func(path string, p *nn.Param) {
			if p.HasGrad() {
				got[path] = slices.Clone(p.Grad().Data().F32())
				p.ZeroGrad()
			}
		})
		return got
	}
	all := grads()
	if len(all) < 30 || all["Tower.Embed.Patch"] == nil || all["RowSeparator"] == nil || all["GlobalSeparator"] == nil {
		t.Fatalf("%d parameters have gradients", len(all))
	}
	for _, c := range []struct {
		name   string
		freeze func()
		want   []string
	}{
		{"projector and separators", func() { e.Freeze(); e.Projector.Unfreeze(); e.vectors(true) },
			[]string{"GlobalSeparator", "Projector.Layers.0.B", "Projector.Layers.0.W", "Projector.Layers.1.B", "Projector.Layers.1.W", "RowSeparator"}},
		{"separators", func() { e.Freeze(); e.vectors(true) }, []string{"GlobalSeparator", "RowSeparator"}},
		{"class token", func() { e.Freeze(); e.Tower.Embed.Class.SetRequiresGrad(true) }, []string{"Tower.Embed.Class"}},
	} {
		for _, e.Batch = range []int{0, 2} {
			c.freeze()
			got := grads()
			var names []string
			for name, g := range got {
				names = append(names, name)
				golden.Compare(t, c.name+": "+name, g, all[name], 1e-5)
			}
			if slices.Sort(names); !slices.Equal(names, c.want) {
				t.Errorf("%s: gradients of %v, want %v", c.name, names, c.want)
			}
		}
	}
	e.Freeze()
	tiles.Patches.SetRequiresGrad(true)
	grads()
	if tiles.Patches.Grad() == nil {
		t.Error("no gradient of the patches")
	}
}

// TestEncoderDifferences compares gradients of the separators, the projector and a pixel with differences of
// the loss.
func TestEncoderDifferences(t *testing.T) {
	l := layout(t, "xcomposer2.5-train")
	l.HDNum = 3
	e := newEncoder(t, l, "mlp2x_gelu", tower(8, 2), 12)
	tiles, err := e.Split(noise(33, 12))
	if err != nil {
		t.Fatal(err)
	}
	if tiles.Rows*tiles.Cols < 2 {
		t.Fatalf("%d×%d tiles", tiles.Rows, tiles.Cols)
	}
	tiles.Patches.SetRequiresGrad(true)
	// The loss is Σ sin(i)·yᵢ.
	y, err := e.Forward(tiles)
	if err != nil {
		t.Fatal(err)
	}
	g := mat.NewDense[float32](mat.WithShape(y.Shape()...))
	for i := range g.Data().F32() {
		g.Data().F32()[i] = float32(math.Sin(float64(i)))
	}
	loss := func() (sum float64) {
		y, err := e.forward(t.Context(), tiles, false)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range y.Value().Data().F32() {
			sum += float64(v) * math.Sin(float64(i))
		}
		return sum
	}
	y.AccGrad(g)
	if err := ag.Backward(y); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		x    mat.Tensor
		at   int
	}{
		{"row separator", e.RowSeparator, 0}, {"row separator", e.RowSeparator, 17}, {"global separator", e.GlobalSeparator, 5},
		{"projector", e.Projector.Layers[0].W, 33}, {"a pixel of the global view", tiles.Patches, 7}, {"a pixel of the last tile", tiles.Patches, tiles.Patches.Size() - 9},
		{"class token", e.Tower.Embed.Class, 3},
	} {
		v := &c.x.Value().Data().F32()[c.at]
		old, step := *v, float32(1e-2)
		*v = old + step
		up := loss()
		*v = old - step
		down := loss()
		*v = old
		got, want := float64(c.x.Grad().Data().F32()[c.at]), (up-down)/(2*float64(step))
		// float32 sums of some hundred values leave 1e-5 of the loss, the third derivative about step².
		if math.Abs(got-want) > 2e-2*max(1, math.Abs(want)) {
			t.Errorf("%s %d: gradient %v, differences say %v", c.name, c.at, got, want)
		}
	}
}

// TestImages: of layouts with one view, several images go together.
func TestImages(t *testing.T) {
	e := newEncoder(t, layout(t, "pad"), "mlp2x_gelu", tower(16, 4), 12)
	var patches, want []float32
	for i := range 3 {
		m := noise(20+i, 30)
		tiles, err := e.Split(m)
		if err != nil {
			t.Fatal(err)
		}
		y, err := e.Tokens(m)
		if err != nil {
			t.Fatal(err)
		}
		patches, want = append(patches, tiles.Patches.Data().F32()...), append(want, y.Data().F32()...)
	}
	y, err := e.Forward(&Tiles{Patches: mat.NewDense[float32](mat.WithShape(3*16, 48), mat.WithBacking(patches))})
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "tokens", y.Value().Data().F32(), want, tolerance)
}

// TestConcurrent: a frozen encoder serves many callers; the race detector looks on.
func TestConcurrent(t *testing.T) {
	for _, name := range []string{"pad", "xcomposer2.5", "llava-1.6"} {
		e := newEncoder(t, layout(t, name), "mlp2x_gelu", tower(16, 4), 12)
		e.Batch = 2
		e.Freeze()
		var wait sync.WaitGroup
		for i := range 6 {
			m := noise(30+5*(i%3), 20)
			want, err := e.Tokens(m)
			if err != nil {
				t.Fatal(err)
			}
			wait.Go(func() {
				for range 3 {
					got, err := e.Tokens(m)
					if err != nil || !slices.Equal(got.Data().F32(), want.Data().F32()) {
						t.Errorf("%s: other tokens beside other callers, %v", name, err)
					}
				}
			})
		}
		wait.Wait()
	}
}

// TestEncoderErrors: wrong combinations are errors at every door.
func TestEncoderErrors(t *testing.T) {
	c, hd, pad, anyres := tower(16, 4), layout(t, "xcomposer2-4khd"), layout(t, "pad"), layout(t, "llava-1.6")
	m := noise(20, 20)
	for _, x := range []struct {
		name  string
		l     Layout
		edit  func(e *Encoder)
		words []string
	}{
		{"plain features for a projector of merged ones", hd, func(e *Encoder) { e.Layout = pad }, []string{"takes 32 columns", `layout "pad" makes 8`}},
		{"tiles for a plain projector", pad, func(e *Encoder) { e.Layout = hd }, []string{"takes 8 columns", "makes 32", "row separator", "global separator"}},
		{"separators of the width of the language model", hd, func(e *Encoder) { e.RowSeparator = op.NewParam(1, 12) }, []string{"row separator is [1 12], want [1,32]"}},
		{"a column", hd, func(e *Encoder) { e.GlobalSeparator = op.NewParam(32) }, []string{"global separator is [32 1], want [1,32]"}},
		{"the class token", hd, func(e *Encoder) { e.Select.Kind = clipvit.AllTokens }, []string{`features are "all", want "patches"`}},
		{"no newline", pad, func(e *Encoder) { e.Layout = anyres }, []string{`layout "llava-1.6" needs a newline [1,12]`}},
		{"newline", anyres, func(e *Encoder) { e.Newline = op.NewParam(1, 8) }, []string{"newline is [1 8], want [1,12]"}},
		{"the class token", anyres, func(e *Encoder) { e.Select.Kind = clipvit.AllTokens }, []string{"takes rows of patches"}},
		{"feature", pad, func(e *Encoder) { e.Select.Kind = "class" }, []string{`features are "class"`}},
		{"layer", pad, func(e *Encoder) { e.Select.Layer = 3 }, []string{"layer is 3, want -3 to 2"}},
		{"layer", pad, func(e *Encoder) { e.Select.Layer = -4 }, []string{"layer is -4"}},
		{"batch", pad, func(e *Encoder) { e.Batch = -1 }, []string{"batch of -1"}},
		{"tower", pad, func(e *Encoder) { e.Tower = nil }, []string{"needs a tower"}},
		{"projector", pad, func(e *Encoder) { e.Projector = nil }, []string{"and a projector"}},
		{"layout", pad, func(e *Encoder) { e.Layout = Layout{} }, []string{`fits by ""`}},
	} {
		e := newEncoder(t, x.l, "mlp2x_gelu", c, 12)
		tiles, err := e.Split(m)
		if err != nil {
			t.Fatal(err)
		}
		x.edit(e)
		_, countErr := e.Count(20, 20)
		_, splitErr := e.Split(m)
		_, tokensErr := e.Tokens(m)
		_, forwardErr := e.Forward(tiles)
		for door, err := range map[string]error{"Validate": e.Validate(), "Count": countErr, "Split": splitErr, "Tokens": tokensErr, "Forward": forwardErr} {
			for _, w := range x.words {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%s: error of %s is %v, want %q in it", x.name, door, err, w)
				}
			}
		}
	}
	dense := func(shape ...int) *mat.Dense[float32] { return mat.NewDense[float32](mat.WithShape(shape...)) }
	for _, x := range []struct {
		l    Layout
		t    *Tiles
		want string
	}{
		{pad, nil, "no patches"},
		{pad, &Tiles{}, "no patches"},
		{pad, &Tiles{Patches: dense(15, 48)}, "[15 48], want [views·16,48]"},
		{pad, &Tiles{Patches: dense(16, 47)}, "[16 47]"},
		{pad, &Tiles{Patches: dense(32, 48), Rows: 1, Cols: 1}, "1×1 tiles"},
		{hd, &Tiles{Patches: dense(32, 48)}, "2 views for 0×0 tiles"},
		{hd, &Tiles{Patches: dense(48, 48), Rows: 1, Cols: 1}, "3 views for 1×1 tiles"},
		{hd, &Tiles{Patches: dense(16, 48), Rows: -1, Cols: 0}, "1 views for -1×0"},
		{hd, &Tiles{Patches: dense(32, 48), Rows: math.MaxInt/2 + 1, Cols: 2}, "2 views"},
		{anyres, &Tiles{Patches: dense(32, 48)}, "2 views for 0×0 tiles"},
		{anyres, &Tiles{Patches: dense(48, 48), Rows: 1, Cols: 2}, "an image of 0×0 pixels"},
	} {
		e := newEncoder(t, x.l, "mlp2x_gelu", c, 12)
		if _, err := e.Forward(x.t); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("error is %v, want %q in it", err, x.want)
		}
	}
	e := newEncoder(t, hd, "mlp2x_gelu", c, 12)
	if _, err := e.Tokens(nil); err == nil {
		t.Error("nil has tokens")
	}
}

// TestEncoderGob: the exported field names are the contract of what is saved.
func TestEncoderGob(t *testing.T) {
	e := newEncoder(t, layout(t, "xcomposer2-4khd"), "mlp2x_gelu", tower(16, 4), 12)
	m := noise(40, 30)
	want, err := e.Tokens(m)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(e); err != nil {
		t.Fatal(err)
	}
	back := &Encoder{}
	if err := gob.NewDecoder(&b).Decode(back); err != nil {
		t.Fatal(err)
	}
	got, err := back.Tokens(m)
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "tokens", got.Data().F32(), want.Data().F32(), 0)
}
