package finetune

import (
	"context"
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

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/projector"
)

// bilinear is a head of spago's own operators, which the package does not know.
type bilinear struct {
	nn.Module
	W *nn.Param // [3,10]
}

func (m *bilinear) Forward(x mat.Tensor) mat.Tensor { return ag.Mul(x, ag.T(m.W)) }

// TestSave: what is saved computes what was trained, by every recipe, with every kind of head.
func TestSave(t *testing.T) {
	ctx := context.Background()
	for _, part := range []Part{None, LowRank, Last, Complete} {
		t.Run(string(part), func(t *testing.T) {
			c, _ := goldenConfig(t, 4)
			c.Recipe.Tower, c.Recipe.Blocks, c.Recipe.LoRA = part, 1, adapter.LoRA{Rank: 2, Alpha: 2, Targets: []string{"q_proj", "fc2"}}
			tr, _ := run(t, c)
			patches := matrix(c.Train.(*memorySource).patches, []int{12 * 36, 27})
			want := slices.Clone(c.Head.Forward(c.Tower.Embedding(patches)).Value().Data().F32())
			dir := t.TempDir()
			if err := tr.SaveAdapter(filepath.Join(dir, "adapter"), "base"); (err == nil) != (part == LowRank) {
				t.Fatal(err)
			}
			for range 2 { // the second takes the place of the first
				if err := tr.Save(ctx, filepath.Join(dir, "model"), nil, converter.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			tower, err := converter.Load(filepath.Join(dir, "model"))
			if err != nil {
				t.Fatal(err)
			}
			head, err := LoadClassifier(filepath.Join(dir, "model"))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(head.Classes, threeClasses) {
				t.Errorf("classes %v", head.Classes)
			}
			golden.Compare(t, "logits", head.Forward(tower.Embedding(patches)).Value().Data().F32(), want, 5e-6)
			if part == LowRank {
				m, _ := tinyTower(t, "quickgelu")
				if _, err := adapter.Load(m, filepath.Join(dir, "adapter")); err != nil {
					t.Fatal(err)
				}
				golden.Compare(t, "logits by the adapter", head.Forward(m.Embedding(patches)).Value().Data().F32(), want, 5e-6)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestSaveLike: a frozen tower keeps its precision and what is beside it; heads of other kinds are saved.
func TestSaveLike(t *testing.T) {
	ctx := context.Background()
	like, err := converter.Open(golden.Path(t, "testdata/tiny/huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	defer like.Close()
	source, err := checkpoint.Open(golden.Path(t, "testdata/tiny/huggingface/model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	p, err := projector.New(projector.Config{Type: "mlp2x_gelu", In: 4, Out: 6})
	if err != nil {
		t.Fatal(err)
	}
	for _, head := range []Head{nil, p, &bilinear{W: nn.NewParam(mat.NewDense[float32](mat.WithShape(3, 10)))}} {
		tower, err := like.Vision(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tr := &Trainer{Config: Config{Tower: tower, Head: head, Recipe: Recipe{Tower: None}}}
		tr.learner = newImages(tr)
		dst := filepath.Join(t.TempDir(), "model")
		if err := tr.Save(ctx, dst, like, converter.Options{}); err != nil {
			t.Fatal(err)
		}
		c, err := checkpoint.Open(filepath.Join(dst, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range c.Tensors() {
			if was, ok := source.Tensor(x.Name); ok && (was.DType != x.DType || !slices.Equal(was.Shape, x.Shape)) {
				t.Errorf("%s is %s, was %s", x.Name, x.DType, was.DType)
			}
		}
		c.Close()
		_, errHead := os.Stat(filepath.Join(dst, converter.HeadFile))
		saved, err := converter.Open(dst)
		if err != nil {
			t.Fatal(err)
		}
		_, errProjector := saved.Projector(ctx)
		saved.Close()
		if _, generic := head.(*bilinear); (errHead == nil) != generic || (errProjector == nil) != (head == Head(p)) {
			t.Errorf("%T: %v, %v", head, errHead, errProjector)
		}
	}
}

// TestInterpolate: the ends are the two towers, and what lies between is between.
func TestInterpolate(t *testing.T) {
	for _, share := range []float64{0, 0.25, 1} {
		tuned, _ := tinyTower(t, "quickgelu")
		original, _ := tinyTower(t, "quickgelu")
		tuned.Freeze()
		tuned.Blocks[1].Unfreeze()
		w := mat.Data[float32](tuned.Blocks[1].MLP.Up.W)
		rng := rand.New(rand.NewPCG(1, 2))
		want := make([]float32, len(w))
		for i, v := range mat.Data[float32](original.Blocks[1].MLP.Up.W) {
			w[i] = float32(rng.NormFloat64())
			want[i] = float32((1-share)*float64(v) + share*float64(w[i]))
		}
		if err := Interpolate(tuned, original, share); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(mat.Data[float32](tuned.Blocks[1].MLP.Up.W), want) {
			t.Errorf("share %v: the tuned weight is not between", share)
		}
		if !slices.Equal(mat.Data[float32](tuned.Blocks[0].MLP.Up.W), mat.Data[float32](original.Blocks[0].MLP.Up.W)) {
			t.Errorf("share %v: a weight that was not tuned differs", share)
		}
	}
	tuned, _ := tinyTower(t, "quickgelu")
	other, _ := tinyTower(t, "gelu")
	if err := Interpolate(tuned, other, 0.5); err == nil {
		t.Error("towers of two configurations are mixed")
	}
	if err := Interpolate(tuned, tuned, math.NaN()); err == nil {
		t.Error("share is NaN")
	}
}

// TestObjectives: a tower and a projector learn from targets and from a teacher.
func TestObjectives(t *testing.T) {
	teacher, _ := tinyTower(t, "quickgelu")
	teacher.Freeze()
	rng := rand.New(rand.NewPCG(3, 4))
	newProjector := func(in, out int) *projector.Model {
		p, err := projector.New(projector.Config{Type: "mlp2x_gelu", In: in, Out: out})
		if err != nil {
			t.Fatal(err)
		}
		p.Init(rng)
		return p
	}
	targets := make([]float32, 12*36*5) // of the patches of 12 images
	for i := range targets {
		targets[i] = float32(i%5-1) + float32(rng.NormFloat64())/10 // a direction, and noise
	}
	for _, distance := range []Distance{SquareDistance, CosineDistance} {
		for name, change := range map[string]func(c *Config){
			"projector to targets": func(c *Config) {
				c.Features = clipvit.Features{Kind: clipvit.Patches, Layer: -2}
				c.Recipe.Tower, c.Head = None, newProjector(20, 5)
				c.Objective = &Regression{Distance: distance, Target: func(i int) ([]float32, error) { return targets[i*36*5 : (i+1)*36*5], nil }, What: "noise"}
			},
			"projector to a teacher's patches": func(c *Config) {
				c.Features = clipvit.Features{Kind: clipvit.Patches, Layer: 1}
				c.Recipe.Tower, c.Head = Last, newProjector(20, 20)
				c.Recipe.Blocks = 1
				c.Objective = &Distillation{Distance: distance, Teacher: teacher, Features: clipvit.Features{Kind: clipvit.Patches, Layer: -1}, What: "teacher"}
			},
			"tower to a teacher's embedding": func(c *Config) {
				for i := range mat.Data[float32](c.Tower.Proj) {
					mat.Data[float32](c.Tower.Proj)[i] += float32(rng.NormFloat64()) * 0.3
				}
				c.Head = nil
				c.Objective = &Distillation{Distance: distance, Teacher: teacher, What: "teacher"}
			},
		} {
			t.Run(fmt.Sprintf("%s by %s", name, distance), func(t *testing.T) {
				c, _ := goldenConfig(t, 4)
				c.Recipe.HeadRate, c.Recipe.Rate = 3e-3, 3e-3
				change(&c)
				_, r := run(t, c)
				first, last := r.History[0], r.History[18] // of the same images
				if !(last.Loss < 0.97*first.Loss) || !(last.Score > first.Score) {
					t.Errorf("loss from %v to %v, cosine from %v to %v", first.Loss, last.Loss, first.Score, last.Score)
				}
			})
		}
	}
	// Sizes that do not fit are an error, with the first batch.
	for name, change := range map[string]func(c *Config){
		"targets of another size": func(c *Config) {
			c.Objective = &Regression{Distance: SquareDistance, Target: func(int) ([]float32, error) { return make([]float32, 7), nil }, What: "zeros"}
		},
		"a teacher of another width": func(c *Config) {
			c.Objective = &Distillation{Distance: SquareDistance, Teacher: teacher, Features: clipvit.Features{Kind: clipvit.Patches, Layer: 0}}
		},
		"a teacher of other patches": func(c *Config) {
			other, _ := tinyTower(t, "gelu")
			c.Objective = &Distillation{Distance: SquareDistance, Teacher: other}
		},
	} {
		c, _ := goldenConfig(t, 4)
		c.Head = nil
		change(&c)
		tr, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Run(context.Background()); err == nil || !strings.HasPrefix(err.Error(), "finetune: ") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
