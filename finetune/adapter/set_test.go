package adapter

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/internal/golden"
)

// TestSet: a tower computes with some of several adapters what the converter makes of it with these, and what it computed before
// is what it computes again, to the bit.
func TestSet(t *testing.T) {
	base := golden.Path(t, "testdata/peft/0.21.2/vision")
	dirs := map[string]string{"a": write(t, base, 1, 2, "q_proj", "fc1"), "b": write(t, base, 2, 3, "q_proj", "v_proj", "fc2")}
	m := load(t, base)
	s, err := NewSet(m)
	if err != nil {
		t.Fatal(err)
	}
	x := patchesFor(m)
	compute := func() []float32 {
		y, err := (clipvit.Features{Kind: clipvit.ClassToken, Layer: -1}).Of(m, x)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(y.Value().Data().F32())
	}
	before := compute()
	weights := m.Blocks[0].MLP.Up.W.Matrix
	for _, name := range []string{"a", "b"} {
		if c, err := s.Load(name, dirs[name]); err != nil || c.Rank != map[string]int{"a": 2, "b": 3}[name] {
			t.Fatalf("%+v: %v", c, err)
		}
	}
	if !slices.Equal(compute(), before) {
		t.Error("an adapter that is loaded changes the tower before it is active")
	}
	known := map[string][]float32{"": before}
	for _, active := range [][]Weighted{{{"a", 1}}, {{"b", 1}}, {{"a", 0.7}, {"b", -0.4}}, nil, {{"b", 1}}, {{"a", 1}}, nil, {{"a", 0.7}, {"b", -0.4}}} {
		if err := s.Activate(active...); err != nil {
			t.Fatal(err)
		}
		var weighted []converter.Weighted
		name := ""
		for _, w := range active {
			weighted = append(weighted, converter.Weighted{Dir: dirs[w.Name], Weight: w.Weight})
			name += w.Name
		}
		got := compute()
		if was, ok := known[name]; ok && !slices.Equal(got, was) {
			t.Errorf("%q computes other bits than the first time", name)
		}
		known[name] = got
		if len(active) == 0 {
			continue
		}
		merged := load(t, base, converter.Combine(peft.Cat, weighted...))
		y, err := (clipvit.Features{Kind: clipvit.ClassToken, Layer: -1}).Of(merged, x)
		if err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, name, got, y.Value().Data().F32(), 1e-5)
		if slices.Equal(got, before) || !slices.Equal(s.Active(), active) {
			t.Errorf("%q is not active: %v", name, s.Active())
		}
	}
	if m.Blocks[0].MLP.Up.W.Matrix != weights {
		t.Error("the weights of the tower lie elsewhere")
	}

	for _, c := range []struct {
		err  error
		want string
	}{
		{s.Activate(Weighted{"c", 1}), `"c" is no adapter of the set, which has ["a" "b"]`},
		{s.Activate(Weighted{"a", 0}), "is 0, want"},
		{s.Activate(Weighted{"a", 1}, Weighted{"a", 1}), "twice"},
		{s.Remove("a"), `"a" is active`},
		{s.Remove("c"), "no adapter of the set"},
		{func() error { _, err := s.Load("a", dirs["a"]); return err }(), "the set has an adapter of this name"},
		{func() error { _, err := s.Load("c", t.TempDir()); return err }(), "adapter_config.json"},
		{func() error { _, err := NewSet(m); return err }(), "is corrected already"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("error is %v, want one with %q", c.err, c.want)
		}
	}
	if !slices.Equal(compute(), known["ab"]) {
		t.Error("what fails changes what is active")
	}
	s.Merge()
	golden.Compare(t, "merged", compute(), known["ab"], 1e-5)
	if err := s.Remove("a"); err != nil || !slices.Equal(s.Names(), []string{"b"}) || s.Active() != nil {
		t.Errorf("left %v, active %v: %v", s.Names(), s.Active(), err)
	}
}

// write writes an adapter of a tower with random corrections, and returns its directory.
func write(t *testing.T, base string, seed uint64, rank int, targets ...string) string {
	t.Helper()
	m := load(t, base)
	rng := rand.New(rand.NewPCG(seed, 1))
	c := LoRA{Rank: rank, Alpha: 4, Targets: targets}
	if err := Add(m, c, rng); err != nil {
		t.Fatal(err)
	}
	c.each(m, func(_ string, target loraTarget, b *transformer.Block) {
		w, list := target.layer(b)
		x := mat.Data[float32](target.of1(*list, w).B)
		for i := range x {
			x[i] = 0.3 * float32(rng.NormFloat64())
		}
	})
	dir := filepath.Join(t.TempDir(), "adapter")
	if err := Save(m, c, base, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
