package finetune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/projector"
)

// shapes are pictures in one tile, in several, higher than wide and wider than high.
var pictureShapes = [][2]int{{40, 30}, {16, 16}, {21, 64}, {90, 17}, {33, 35}, {12, 50}}

// patchwork is a picture of squares of random colours, with some noise.
func patchwork(width, height int, seed uint64) image.Image {
	rng := rand.New(rand.NewPCG(seed, 1))
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	var colours [100]color.NRGBA
	for i := range colours {
		colours[i] = color.NRGBA{byte(rng.IntN(220)), byte(rng.IntN(220)), byte(rng.IntN(220)), 255}
	}
	const side = 5
	for y := range height {
		for x := range width {
			c := colours[(y/side*10+x/side)%len(colours)]
			c.R, c.G, c.B = c.R+byte(rng.IntN(30)), c.G+byte(rng.IntN(30)), c.B+byte(rng.IntN(30))
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

// gallery writes n pictures of these shapes and returns them as data.
func gallery(t testing.TB, n int, seed int) *data.Dataset {
	t.Helper()
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "a"), 0o777)
	for i := range n {
		s := pictureShapes[(i+seed)%len(pictureShapes)]
		img := patchwork(s[0], s[1], uint64(100*seed+i))
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "a", fmt.Sprintf("%02d.png", i)), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	d, err := data.Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// encoderOf loads the encoder of a family's fixture.
func encoderOf(t testing.TB, family, layout string) *projector.Encoder {
	t.Helper()
	source, err := converter.Open(golden.Path(t, "testdata/families/"+family))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	e, err := source.Encoder(context.Background(), layout)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// encoders are one of every way from views to tokens: tiles that are merged, with separators before the projection; one view;
// tiles with a newline after the projection.
var encoders = []struct{ name, family, layout string }{
	{"tiles", "xcomposer2-hd", "xcomposer2.5"},
	{"one view", "llava", "pad"},
	{"newlines", "llava", "llava-1.6"},
}

// encoderWith returns an encoder of the tower of a family, frozen, with a random projector to 24 columns and random separators.
func encoderWith(t testing.TB, family, layout string, seed uint64) *projector.Encoder {
	t.Helper()
	l, err := projector.FindLayout(layout)
	if err != nil {
		t.Fatal(err)
	}
	m, err := converter.Load(golden.Path(t, "testdata/families/"+family))
	if err != nil {
		t.Fatal(err)
	}
	e, err := projector.NewEncoder(m, l, -2, "mlp2x_gelu", 24, seed)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 9))
	for _, p := range []*nn.Param{e.RowSeparator, e.GlobalSeparator} {
		if p != nil {
			for i := range p.Size() {
				mat.Data[float32](p)[i] = float32(rng.NormFloat64())
			}
		}
	}
	e.Freeze()
	return e
}

// tokenConfig is a run that regresses an encoder to another one of the same form, from a random projector.
func tokenConfig(t testing.TB, family, layout string, train *data.Dataset, recipe Recipe) (c Config, teacher *projector.Encoder) {
	t.Helper()
	teacher, e := encoderWith(t, family, layout, 7), encoderWith(t, family, layout, 5)
	e.Init(5)
	if e.Layout.Views() > 1 {
		recipe.Batch, recipe.Accumulate = 1, recipe.Batch*recipe.Accumulate
	}
	c = Config{
		Encoder: e, Recipe: recipe, Seed: 5,
		Train: &data.Loader{Data: train, Config: e.Tower.Config, BatchSize: recipe.Batch, Shuffle: true, Seed: 5, Layout: &e.Layout},
	}
	if err := c.SetTeacherEncoder(teacher, "teacher", SquareDistance); err != nil {
		t.Fatal(err)
	}
	return c, teacher
}

// projectorRecipe is the preset for steps of 4 pictures, with a rate for a small projector.
func projectorRecipe(epochs int, rate float64) Recipe {
	r, err := FindRecipe("projector")
	if err != nil {
		panic(err)
	}
	r.Epochs, r.Batch, r.HeadRate, r.Clip = epochs, 4, rate, 0
	return r
}

// tokenError is the mean square of the differences of two encoders' tokens of a picture.
func tokenError(t testing.TB, a, b *projector.Encoder, img image.Image) float64 {
	t.Helper()
	x, err := a.Tokens(img)
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Tokens(img)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, v := range x.Data().F32() {
		d := float64(v - y.Data().F32()[i])
		sum += d * d
	}
	return sum / float64(x.Size())
}

// TestProjectorLearns: a projector, and with it the separators, come from random values to give the tokens of a teacher, of
// pictures that they have learnt from and of one that they have not.
func TestProjectorLearns(t *testing.T) {
	img := patchwork(45, 28, 99)
	for i, f := range encoders {
		t.Run(f.name, func(t *testing.T) {
			if testing.Short() && i > 0 {
				t.Skip("the first learns as the others do")
			}
			rate, epochs := []float64{5e-3, 2e-2, 2e-2}[i], []int{220, 150, 150}[i]
			c, teacher := tokenConfig(t, f.family, f.layout, gallery(t, 24, 0), projectorRecipe(epochs, rate))
			c.Cache = openCache(t)
			before := tokenError(t, c.Encoder, teacher, img)
			weights := weightsNamed(c.Encoder)
			_, r := run(t, c)
			first, last := r.History[0].Loss, r.History[len(r.History)-1].Loss
			after := tokenError(t, c.Encoder, teacher, img)
			t.Logf("loss from %.3g to %.3g, %.0f times less, in %d steps and %v; of a picture held out from %.3g to %.3g", first, last, first/last, r.Steps, r.Duration, before, after)
			if !(first/last >= 50) || !(before/after >= 10) {
				t.Errorf("loss is %.3g times less, want 50; of a picture held out %.3g times, want 10", first/last, before/after)
			}
			if e := r.History[len(r.History)-1]; !(e.Score > 0.9) {
				t.Errorf("%s is %v, want above 0.9", c.Objective.Measure(), e.Score)
			}
			now := weightsNamed(c.Encoder)
			for path, was := range weights {
				learns := !strings.HasPrefix(path, "Tower.")
				if slices.Equal(was, now[path]) == learns {
					t.Errorf("%s: changed is %v, want %v", path, !learns, learns)
				}
			}
		})
	}
}

func openCache(t testing.TB) *probe.Cache {
	t.Helper()
	c, err := probe.OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// weightsNamed returns the weights of a model by their paths.
func weightsNamed(m nn.Model) map[string][]float32 {
	all := map[string][]float32{}
	params.Walk(m, func(path string, p *nn.Param) { all[path] = slices.Clone(mat.Data[float32](p)) })
	return all
}

// TestEncoderParts: each recipe changes what it says, and its table names it.
func TestEncoderParts(t *testing.T) {
	d := gallery(t, 3, 0)
	full, err := FindRecipe("full")
	if err != nil {
		t.Fatal(err)
	}
	full.Batch, full.Accumulate = 2, 1
	for _, c := range []struct {
		name             string
		recipe           Recipe
		tower, projector bool
	}{
		{"projector", projectorRecipe(1, 1e-3), false, true},
		{"full", full, true, true},
		{"xcomposer", XComposer(false, false), true, true},
		{"xcomposer, fix_vit", XComposer(true, false), false, true},
		{"xcomposer, fix_sampler", XComposer(false, true), true, false},
	} {
		for _, f := range encoders {
			t.Run(c.name+", "+f.name, func(t *testing.T) {
				c.recipe.Epochs = 3 // the rate of the first step is 0
				config, _ := tokenConfig(t, f.family, f.layout, d, c.recipe)
				was := weightsNamed(config.Encoder)
				tr, r := run(t, config)
				if r.Steps < 1 {
					t.Fatal("no step")
				}
				table := tr.Table()
				for path, now := range weightsNamed(config.Encoder) {
					learns := c.projector
					switch {
					case strings.HasPrefix(path, "Tower.PostNorm"), strings.HasPrefix(path, "Tower.Proj"), strings.HasPrefix(path, "Tower.Blocks.1."):
						learns = false // behind layer -2 of 2 blocks
					case strings.HasPrefix(path, "Tower."):
						learns = c.tower
					}
					if changed := !slices.Equal(was[path], now); changed != learns {
						t.Errorf("%s: changed is %v, want %v", path, changed, learns)
					}
				}
				want := map[string]bool{
					"Tower.Embed": c.tower, "Tower.Blocks.0": c.tower, "Tower.Blocks.1": false, "Projector": c.projector,
					"plora_sub_GN": c.projector && f.name == "tiles", "plora_glb_GN": c.projector && f.name == "tiles",
					"image_newline": c.projector && f.name == "newlines",
				}
				for group, there := range want {
					if strings.Contains(table, group+" ") != there {
						t.Errorf("table has %s: %v, want %v\n%s", group, !there, there, table)
					}
				}
			})
		}
	}
	config, _ := tokenConfig(t, encoders[0].family, encoders[0].layout, d, XComposer(true, true))
	if _, err := New(config); err == nil || !strings.Contains(err.Error(), "nothing learns") {
		t.Errorf("with fix_vit and fix_sampler: %v", err)
	}
}

// TestEncoderResume: a run of an encoder that ends in the middle, with a part of a step made, comes to the same bits.
func TestEncoderResume(t *testing.T) {
	errStop := errors.New("stop")
	d := gallery(t, 7, 0)
	for _, part := range []Part{None, Complete, LowRank} {
		for _, f := range encoders {
			t.Run(string(part)+", "+f.name, func(t *testing.T) {
				config := func(dir string) Config {
					r := projectorRecipe(3, 1e-2)
					r.Tower, r.Rate, r.EMA, r.LoRA, r.Batch = part, 1e-3, 0.9, adapter.LoRA{Rank: 2, Alpha: 2, Targets: []string{"q_proj"}}, 3
					c, _ := tokenConfig(t, f.family, f.layout, d, r)
					c.Dir, c.Resume, c.CheckpointEvery, c.ValidateEvery = dir, true, 2, 2
					l := *c.Train.(*data.Loader)
					l.Shuffle = false
					c.Validation = &l
					return c
				}
				straight, want := run(t, config(t.TempDir()))
				dir := t.TempDir()
				stopped := 0
				for {
					c := config(dir)
					if part == None {
						c.Cache = openCache(t) // which changes nothing
					}
					ctx, cancel := context.WithCancelCause(context.Background())
					events := 0
					c.Sinks = []history.Sink{history.SinkFunc(func(history.Event) error {
						if events++; events == 4 {
							cancel(errStop)
						}
						return nil
					})}
					tr, err := New(c)
					if err != nil {
						t.Fatal(err)
					}
					got, err := tr.Run(ctx)
					if errors.Is(err, errStop) {
						stopped++
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					if stopped < 1 {
						t.Error("it was never stopped")
					}
					sameBits(t, "after "+fmt.Sprint(stopped)+" stops", weightsOf(tr), weightsOf(straight))
					if len(got.History) != len(want.History) {
						t.Fatalf("%d events, want %d", len(got.History), len(want.History))
					}
					for i, e := range got.History {
						if w := want.History[i]; e.Loss != w.Loss || e.Score != w.Score {
							t.Errorf("event %d: %+v, want %+v", i, e, w)
						}
					}
					break
				}
				other := config(dir)
				other.Encoder.Layout.Name = "another"
				other.Train.(*data.Loader).Layout.Name = "another"
				other.Validation.(*data.Loader).Layout.Name = "another"
				if _, err := New(other); !errors.Is(err, ErrOtherRun) {
					t.Errorf("another layout goes on with it: %v", err)
				}
			})
		}
	}
}

// TestEncoderCache: what a frozen tower gives is kept for each picture and layout, and comes to the same bits.
func TestEncoderCache(t *testing.T) {
	d := gallery(t, 5, 0)
	f := encoders[0]
	dir := t.TempDir()
	files := func() int {
		all, err := filepath.Glob(filepath.Join(dir, "*", "*", "*.f32"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	var first map[string][]float32
	for i, want := range []int{0, 5, 5, 10} {
		c, _ := tokenConfig(t, f.family, f.layout, d, projectorRecipe(2, 1e-2))
		var err error
		if i > 0 {
			if c.Cache, err = probe.OpenCache(dir); err != nil {
				t.Fatal(err)
			}
		}
		if i == 3 { // other views
			c.Encoder.Layout.HDNum = 2
			c.Objective.(*TokenDistillation).Teacher.Layout.HDNum = 2
		}
		tr, _ := run(t, c)
		if n := files(); n != want {
			t.Errorf("run %d: %d files in the cache, want %d", i, n, want)
		}
		if i == 0 {
			first = weightsOf(tr)
		} else if i < 3 {
			sameBits(t, fmt.Sprintf("run %d", i), weightsOf(tr), first)
		}
	}
}

// TestTeacherShares: with one frozen tower the teacher's tokens come from its features, and are the same as those from a
// tower of its own.
func TestTeacherShares(t *testing.T) {
	d := gallery(t, 4, 0)
	for _, f := range encoders {
		var all []map[string][]float32
		for _, share := range []bool{true, false} {
			c, teacher := tokenConfig(t, f.family, f.layout, d, projectorRecipe(2, 1e-2))
			o := c.Objective.(*TokenDistillation)
			if o.sharedWith(c.Encoder) == nil {
				t.Fatalf("%s: the teacher keeps a tower of its own", f.name)
			}
			if !share {
				other := encoderWith(t, f.family, f.layout, 7)
				teacher.Tower = other.Tower
			}
			tr, _ := run(t, c)
			all = append(all, weightsOf(tr))
			if m, want := tr.Memory(), bytesOf(teacher); share && m.Frozen != want || !share && m.Frozen != want+bytesOf(c.Encoder.Tower) {
				t.Errorf("%s: %d bytes of frozen weights, the tower has %d, the teacher %d; shared %v", f.name, m.Frozen, bytesOf(c.Encoder.Tower), want, share)
			}
		}
		sameBits(t, f.name, all[0], all[1])
	}
}

// TestEncoderSave: what was learnt is in the directory, with the layer and the separators, beside what the model had.
func TestEncoderSave(t *testing.T) {
	img := patchwork(45, 28, 99)
	d := gallery(t, 3, 0)
	for _, family := range []string{"xcomposer2-hd", "xcomposer2-vl", "llava", "llava-hf"} {
		for _, part := range []Part{None, Complete} {
			t.Run(family+", "+string(part), func(t *testing.T) {
				like, err := converter.Open(golden.Path(t, "testdata/families/"+family))
				if err != nil {
					t.Fatal(err)
				}
				defer like.Close()
				layout := ""
				if family == "xcomposer2-hd" {
					layout = "xcomposer2.5"
				}
				e, err := like.Encoder(t.Context(), layout)
				if err != nil {
					t.Fatal(err)
				}
				r := projectorRecipe(1, 1e-2)
				r.Tower, r.Rate, r.Batch = part, 1e-3, 1
				c := Config{Encoder: e, Recipe: r, Train: &data.Loader{Data: d, Config: e.Tower.Config, BatchSize: 1, Layout: &e.Layout}}
				teacher := encoderOf(t, family, layout)
				teacher.Init(3)
				if err := c.SetTeacherEncoder(teacher, "teacher", SquareDistance); err != nil {
					t.Fatal(err)
				}
				tr, _ := run(t, c)
				dst := filepath.Join(t.TempDir(), "model")
				if err := tr.Save(t.Context(), dst, like, converter.Options{}); err != nil {
					t.Fatal(err)
				}
				want, err := e.Tokens(img)
				if err != nil {
					t.Fatal(err)
				}
				paths := []string{dst}
				if family != "llava-hf" { // of whose tower LLaVA's form does not say how many heads it has
					exported := filepath.Join(t.TempDir(), "exported")
					to := "xcomposer"
					if family == "llava" {
						to = "llava"
					}
					saved, err := converter.Open(dst)
					if err != nil {
						t.Fatal(err)
					}
					defer saved.Close()
					if _, err := saved.Export(t.Context(), exported, converter.ExportOptions{To: to}); err != nil {
						t.Fatal(err)
					}
					paths = append(paths, exported)
				}
				for _, path := range paths {
					l := layout
					if path == dst {
						l = "" // which is known
					}
					saved, err := converter.Open(path, converter.Assume(e.Tower.Config.Activation))
					if err != nil {
						t.Fatal(err)
					}
					defer saved.Close()
					got, err := saved.Encoder(t.Context(), l)
					if err != nil {
						t.Fatal(err)
					}
					if got.Select.Layer != e.Select.Layer || got.Layout.Fit != e.Layout.Fit {
						t.Errorf("%s: layer %d, layout %q, want %d, %q", path, got.Select.Layer, got.Layout.Name, e.Select.Layer, e.Layout.Name)
					}
					y, err := got.Tokens(img)
					if err != nil {
						t.Fatal(err)
					}
					golden.Compare(t, path, y.Data().F32(), want.Data().F32(), 4e-6) // packed weights are summed in another order
					for name, pair := range map[string][2]*nn.Param{"row": {got.RowSeparator, e.RowSeparator}, "global": {got.GlobalSeparator, e.GlobalSeparator}} {
						if (pair[0] == nil) != (pair[1] == nil) || pair[0] != nil && !slices.Equal(mat.Data[float32](pair[0]), mat.Data[float32](pair[1])) {
							t.Errorf("%s: the %s separator is another", path, name)
						}
					}
				}
			})
		}
	}
}

// TestNewEncoderSave: a plain tower with a new projector becomes a model that loads with its layout and layer.
func TestNewEncoderSave(t *testing.T) {
	img := patchwork(45, 28, 99)
	for _, f := range encoders {
		c, _ := tokenConfig(t, f.family, f.layout, gallery(t, 2, 0), projectorRecipe(3, 1e-2))
		tr, _ := run(t, c)
		dst := filepath.Join(t.TempDir(), "model")
		if err := tr.Save(t.Context(), dst, nil, converter.Options{}); err != nil {
			t.Fatal(err)
		}
		source, err := converter.Open(dst)
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		got, err := source.Encoder(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if got.Layout.Name != f.layout || got.Select.Layer != -2 {
			t.Errorf("%s: layout %q and layer %d, want %q and -2", f.name, got.Layout.Name, got.Select.Layer, f.layout)
		}
		if d := tokenError(t, got, c.Encoder, img); d > 1e-10 {
			t.Errorf("%s: tokens differ by %v", f.name, d)
		}
	}
}

// TestTokenTargets: the tokens of a file, by the names of pictures, teach the same as the teacher that wrote them.
func TestTokenTargets(t *testing.T) {
	d := gallery(t, 6, 0)
	train, validation, err := d.Split(0.34, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range encoders {
		t.Run(f.name, func(t *testing.T) {
			c, teacher := tokenConfig(t, f.family, f.layout, train, projectorRecipe(3, 1e-2))
			v := *c.Train.(*data.Loader)
			v.Data = validation
			c.Validation = &v
			var all []checkpoint.Values
			for i := range d.Samples {
				x := tokensOf(t, teacher, d, i)
				all = append(all, checkpoint.Values{Name: "somewhere/" + d.Name(i), Shape: x.Shape(), Data: x.Data().F32()})
			}
			open := func(values []checkpoint.Values) (*data.Tokens, error) {
				path := filepath.Join(t.TempDir(), "tokens.safetensors")
				if err := checkpoint.WriteTensors(path, nil, values); err != nil {
					t.Fatal(err)
				}
				return data.OpenTokens(path, train, validation)
			}
			targets, err := open(all)
			if err != nil {
				t.Fatal(err)
			}
			defer targets.Close()
			if err := targets.Fits(c.Encoder, train, validation); err != nil {
				t.Fatal(err)
			}
			_, want := run(t, c)
			again, _ := tokenConfig(t, f.family, f.layout, train, projectorRecipe(3, 1e-2))
			again.Validation = &v
			again.SetTokenTargets(targets, SquareDistance)
			_, got := run(t, again)
			for i, e := range got.History {
				if w := want.History[i]; math.Abs(e.Loss-w.Loss) > 1e-6*w.Loss {
					t.Errorf("event %d: loss %v, want %v", i, e.Loss, w.Loss)
				}
			}

			edit := func(change func(v []checkpoint.Values) []checkpoint.Values) []checkpoint.Values {
				return change(slices.Clone(all))
			}
			for what, values := range map[string][]checkpoint.Values{
				"1 of 6 pictures have no tensor of their name: a/00.png": edit(func(v []checkpoint.Values) []checkpoint.Values { return v[1:] }),
				"have several tensors: a/00.png: somewhere/a/00.png and other/a/00.png": edit(func(v []checkpoint.Values) []checkpoint.Values {
					return append(v, checkpoint.Values{Name: "other/a/00.png", Shape: v[0].Shape, Data: v[0].Data})
				}),
				"somewhere/a/03.png: [1 3], want [N,24]": edit(func(v []checkpoint.Values) []checkpoint.Values {
					v[3] = checkpoint.Values{Name: v[3].Name, Shape: []int{1, 3}, Data: make([]float32, 3)}
					return v
				}),
			} {
				if _, err := open(values); err == nil || !strings.Contains(err.Error(), what) {
					t.Errorf("error is %v, want %q", err, what)
				}
			}
			short, err := open(edit(func(v []checkpoint.Values) []checkpoint.Values {
				v[2].Shape, v[2].Data = []int{5, 24}, v[2].Data[:5*24]
				return v
			}))
			if err != nil {
				t.Fatal(err)
			}
			defer short.Close()
			if err := short.Fits(c.Encoder, train, validation); err == nil || !strings.Contains(err.Error(), "a/02.png (21×64 pixels) has [5 24], want [") {
				t.Errorf("error is %v", err)
			}
			last, _ := tokenConfig(t, f.family, f.layout, d, projectorRecipe(3, 1e-2))
			last.SetTokenTargets(short, SquareDistance)
			tr, err := New(last)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "a/02.png: targets are [5 24], the encoder gives [") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestTokenNames: of pictures one of whose paths ends as the other's each finds its own tensor.
func TestTokenNames(t *testing.T) {
	d := gallery(t, 1, 0)
	folder := filepath.Join(filepath.Dir(d.Samples[0].Path), "..")
	os.MkdirAll(filepath.Join(folder, "b", "a"), 0o777)
	raw, err := os.ReadFile(d.Samples[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "b", "a", "00.png"), raw, 0o666); err != nil {
		t.Fatal(err)
	}
	if d, err = data.Open(folder, false); err != nil || len(d.Samples) != 2 {
		t.Fatal(len(d.Samples), err)
	}
	path := filepath.Join(t.TempDir(), "t.safetensors")
	if err := checkpoint.WriteTensors(path, nil, []checkpoint.Values{{Name: `x\b\a\00.png`, Shape: []int{1, 1}, Data: []float32{2}}, {Name: "x/a/00.png", Shape: []int{1, 1}, Data: []float32{1}}}); err != nil {
		t.Fatal(err)
	}
	targets, err := data.OpenTokens(path, d)
	if err != nil {
		t.Fatal(err)
	}
	defer targets.Close()
	for name, want := range map[string]float32{"a/00.png": 1, "b/a/00.png": 2} {
		if got, err := targets.Of(name); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %v: %v", name, got, want, err)
		}
	}
}

func tokensOf(t testing.TB, e *projector.Encoder, d *data.Dataset, i int) *mat.Dense[float32] {
	t.Helper()
	r, err := d.Open(i)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	img, err := clipvit.DecodeImage(r)
	if err != nil {
		t.Fatal(err)
	}
	x, err := e.Tokens(img)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestEncoderRefuses: what does not fit together is said before anything is computed.
func TestEncoderRefuses(t *testing.T) {
	d := gallery(t, 2, 0)
	f := encoders[0]
	good := func() (Config, *projector.Encoder) {
		return tokenConfig(t, f.family, f.layout, d, projectorRecipe(1, 1e-2))
	}
	for _, c := range []struct {
		edit func(c *Config)
		want string
	}{
		{func(c *Config) { c.Head = NewClassifier(3, []string{"a", "b"}) }, "want one or the other"},
		{func(c *Config) { c.Train.(*data.Loader).Layout = nil }, "pictures are loaded by layout"},
		{func(c *Config) { c.Train.(*data.Loader).BatchSize = 2 }, `batch of 2, want 1: layout "xcomposer2.5" has up to 25 views`},
		{func(c *Config) { c.Train.(*data.Loader).Augment.Flip = 0.5 }, "are not varied"},
		{func(c *Config) { c.Encoder.Select.Layer = 9 }, "layer is 9"},
		{func(c *Config) { c.MemoryLimit = 1 << 20 }, "tiles at most (hd_num)"},
		{func(c *Config) { c.MemoryLimit, c.Recipe.Tower = 1<<20, Complete }, `by the recipe "projector"`},
	} {
		config, _ := good()
		c.edit(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
	config, _ := good()
	for _, layout := range []string{"xcomposer2-4khd", "pad"} {
		teacher := encoderWith(t, f.family, layout, 1)
		if err := config.SetTeacherEncoder(teacher, "other", SquareDistance); err == nil || !strings.Contains(err.Error(), "the layout") {
			t.Errorf("a teacher with layout %s: %v", layout, err)
		}
	}
}
