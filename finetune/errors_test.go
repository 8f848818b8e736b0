package finetune

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
)

// TestKinds: programs tell apart why a run is refused, and people read with which numbers.
func TestKinds(t *testing.T) {
	used := t.TempDir()
	c, _ := goldenConfig(t, 4)
	c.Dir, c.MaxSteps = used, 1
	run(t, c)
	other, _ := tinyTower(t, "quickgelu")
	mat.Data[float32](other.PreNorm.B)[0]++

	dataset := func(classes ...string) *data.Dataset {
		d := &data.Dataset{Classes: classes}
		for i := range 6 {
			label := data.Unlabelled
			if len(classes) > 0 {
				label = i % len(classes)
			}
			d.Samples = append(d.Samples, data.Sample{Path: fmt.Sprint(i, ".png"), Label: label})
		}
		return d
	}
	loader := func(c *Config, d *data.Dataset) *data.Loader {
		return &data.Loader{Data: d, Config: c.Tower.Config, BatchSize: 2}
	}
	for _, k := range []struct {
		name   string
		change func(c *Config)
		want   error
		words  string
	}{
		{"empty", func(c *Config) { c.Train = loader(c, &data.Dataset{}) }, data.ErrEmpty, "no pictures"},
		{"no batches", func(c *Config) { c.Train = &data.Loader{Data: dataset("a", "b"), Config: c.Tower.Config} }, nil, "batch of 0"},
		{"unlabelled", func(c *Config) { c.Train = loader(c, dataset()) }, data.ErrUnlabelled, "6 pictures without labels"},
		{"one class", func(c *Config) { c.Train = loader(c, dataset("a")) }, data.ErrOneClass, `6 pictures, all of one class, "a"`},
		{"other classes to validate on", func(c *Config) {
			c.Train, c.Validation = loader(c, dataset(threeClasses...)), loader(c, dataset("a", "c", "d"))
		}, data.ErrClasses, `["a" "c" "d"] and ["a" "b" "c"]`},
		{"a head of other classes", func(c *Config) { c.Train = loader(c, dataset("a", "b")) }, nil, `the head has the classes ["a" "b" "c"], the data ["a" "b"]`},
		{"used", func(c *Config) { c.Dir = used }, ErrExists, "checkpoint-00000001"},
		{"of another model", func(c *Config) { c.Dir, c.Resume, c.Tower = used, true, other }, ErrOtherRun, "weights of the tower: "},
		{"of another recipe", func(c *Config) { c.Dir, c.Resume, c.Recipe.Clip = used, true, 2 }, ErrOtherRun, "recipe: Clip: 1, now 2"},
	} {
		c, _ := goldenConfig(t, 4)
		k.change(&c)
		_, err := New(c)
		if err == nil || k.want != nil && !errors.Is(err, k.want) || !strings.Contains(err.Error(), k.words) || !strings.HasPrefix(err.Error(), "finetune: ") {
			t.Errorf("%s: error is %v, want %q with %q", k.name, err, k.want, k.words)
		}
	}
	c, _ = goldenConfig(t, 4)
	c.Dir, c.Resume, c.Recipe.Clip = used, true, 2
	if _, err := New(c); strings.Contains(err.Error(), "Rate") {
		t.Errorf("what is the same is named, too: %v", err)
	}
	c.Recipe.Clip = 1
	held, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := New(c); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), used) {
		t.Errorf("error is %v, want %q", err, ErrInUse)
	}
}

// TestMemoryError: advice has numbers, is in order, and is true.
func TestMemoryError(t *testing.T) {
	refused := func(change func(c *Config)) *MemoryError {
		t.Helper()
		c, _ := goldenConfig(t, 4)
		c.MemoryLimit = 5e5
		change(&c)
		_, err := New(c)
		var refused *MemoryError
		if !errors.As(err, &refused) {
			t.Fatalf("error is %v, want a *MemoryError", err)
		}
		return refused
	}
	e := refused(func(*Config) {})
	if e.Limit != 5e5 || e.Need.Total() <= e.Limit || len(e.Advice) < 4 {
		t.Fatalf("%+v", e)
	}
	if !slices.IsSortedFunc(e.Advice, func(a, b Saving) int { return int(a.Total - b.Total) }) || e.Advice[len(e.Advice)-1].Total >= e.Need.Total() {
		t.Errorf("advice %+v is not in the order of what it saves, of %d", e.Advice, e.Need.Total())
	}
	for _, a := range []struct {
		what   string
		change func(r *Recipe)
		within float64 // of what it then is, relative
	}{
		{"without averages (EMA 0)", func(r *Recipe) { r.EMA = 0 }, 0},
		{"with batches of 1, 4 to a step", func(r *Recipe) { r.Batch, r.Accumulate = 1, 4 }, 0.01},
		{`by the recipe "lora"`, func(r *Recipe) {
			r.Tower, r.LoRA = LowRank, adapter.LoRA{Rank: 16, Alpha: 16, Targets: []string{"q_proj", "v_proj"}}
		}, 0.2},
		{`by the recipe "last-n" with 3 blocks`, func(r *Recipe) { r.Tower, r.Blocks = Last, 3 }, 0.1},
		{`by the recipe "probe"`, func(r *Recipe) { r.Tower = None }, 0.2},
	} {
		i := slices.IndexFunc(e.Advice, func(s Saving) bool { return s.What == a.what })
		if i < 0 {
			t.Errorf("no advice %q in %+v", a.what, e.Advice)
			continue
		}
		c, _ := goldenConfig(t, 4)
		c.MemoryLimit, c.Recompute = -1, true
		a.change(&c.Recipe)
		tr, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		got, want := float64(e.Advice[i].Total), float64(tr.Memory().Total())
		if got < want*(1-a.within)-1 || got > want*(1+a.within)+1 {
			t.Errorf("%s: %v bytes, want %v within %v", a.what, got, want, a.within)
		}
	}
	if e := refused(func(c *Config) {
		c.Recipe.Tower, c.Recipe.Blocks, c.Recipe.EMA, c.Recipe.Batch, c.MemoryLimit = Last, 3, 0, 1, 1
	}); e.Advice[0].What != `by the recipe "probe"` ||
		!slices.ContainsFunc(e.Advice, func(s Saving) bool { return s.What == "with 1 block that learns" }) {
		t.Errorf("advice %+v", e.Advice)
	}
	// One block that learns takes more if it is computed again, so that it is not.
	for part, want := range map[Part]string{Last: "needed, and more if blocks are computed again", Complete: "needed, even if blocks are computed again"} {
		if e := refused(func(c *Config) { c.Recipe.Tower, c.Recipe.Blocks, c.MemoryLimit = part, 1, 1 }); !strings.Contains(e.Error(), want) ||
			(part == Last) != (e.Need.Recomputed > e.Need.Activations) {
			t.Errorf("%s: error is %q, want %q", part, e, want)
		}
	}
}

// TestAllBroken: a run of pictures none of which can be read does not end as if all were well, nor as a mistake of
// the program.
func TestAllBroken(t *testing.T) {
	labelled, _ := goldenConfig(t, 4)
	pairs, _ := pairTask(t, 4, 1)
	for name, c := range map[string]Config{"labels": labelled, "captions": pairs} {
		for _, accumulate := range []int{1, 5} {
			d := &data.Dataset{}
			for i := range 6 {
				s := data.Sample{Path: filepath.Join("absent", fmt.Sprint(i, ".png")), Label: data.Unlabelled}
				if name == "labels" {
					s.Label, d.Classes = i%3, threeClasses
				} else {
					s.Caption = "a b"
				}
				d.Samples = append(d.Samples, s)
			}
			c.Train, c.Recipe.Accumulate = &data.Loader{Data: d, Config: c.Tower.Config, BatchSize: 4}, accumulate
			tr, err := New(c)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := tr.Run(t.Context()); !errors.Is(err, data.ErrEmpty) || !strings.Contains(err.Error(), "of the 6 to train on can be read; absent") {
				t.Errorf("%s, %d batches a step: error is %v", name, accumulate, err)
			}
			if _, _, err := tr.Evaluate(t.Context(), c.Train); !errors.Is(err, data.ErrEmpty) || !strings.Contains(err.Error(), "no pictures of the 6 to validate on can be read") {
				t.Errorf("%s: error of a validation is %v", name, err)
			}
		}
	}
}

// TestOthersCheckpoints: transformers' Trainer calls its folders checkpoint-500; these are of no run of ours.
func TestOthersCheckpoints(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"checkpoint-500", "checkpoint-00000007", "checkpoint-9"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if last, err := LastCheckpoint(dir); err != nil || filepath.Base(last) != "checkpoint-00000007" {
		t.Errorf("last checkpoint is %q, %v", last, err)
	}
}
