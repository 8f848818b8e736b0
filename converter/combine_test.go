package converter

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/internal/golden"
)

// combine opens the base of adapters of a version of peft, with these combined.
func combine(t *testing.T, version string, how peft.Combination, names []string, weights ...float64) (*Model, error) {
	t.Helper()
	var all []Weighted
	for i, name := range names {
		all = append(all, Weighted{golden.Path(t, filepath.Join("testdata/peft", version, name)), weights[i]})
	}
	m, err := Open(golden.Path(t, "testdata/peft/clip"), Combine(how, all...))
	if err == nil {
		t.Cleanup(func() { m.Close() })
	}
	return m, err
}

// TestCombine: adapters with weights come to what add_weighted_adapter of peft makes of them, by both combinations.
func TestCombine(t *testing.T) {
	for _, version := range peftVersions {
		for _, how := range []peft.Combination{peft.Cat, peft.Linear} {
			if version == "0.18.0" && how == peft.Linear {
				continue // where the sign of a negative weight is on both factors, and so on none
			}
			t.Run(version+"/"+string(how), func(t *testing.T) {
				want := valuesOf(t, openWith(t, golden.Path(t, "testdata/peft/clip")))
				m, err := combine(t, version, how, []string{"plain", "second"}, 0.7, -0.4)
				if err != nil {
					t.Fatal(err)
				}
				changed, err := checkpoint.ReadTensors(golden.Path(t, filepath.Join("testdata/peft", version, "weighted-"+string(how)+".safetensors")))
				if err != nil || len(changed) != 12 {
					t.Fatalf("%d changed: %v", len(changed), err)
				}
				for _, c := range changed {
					r, block := m.find(c.Name)
					w := want[number(r.to, block)]
					n := len(w) / r.bands
					copy(w[r.band*n:][:n], c.Data)
				}
				got := valuesOf(t, m)
				for path, w := range want {
					golden.Compare(t, path, got[path], w, 1e-6) // float32 on both sides
				}
				if a := m.Adapters(); len(a) != 2 || !strings.HasSuffix(a[1], "second=-0.4") {
					t.Errorf("adapters %v", a)
				}
			})
		}
	}
	// The two differ by far more than they round.
	cat, _ := combine(t, "0.21.2", peft.Cat, []string{"plain", "second"}, 0.7, -0.4)
	linear, _ := combine(t, "0.21.2", peft.Linear, []string{"plain", "second"}, 0.7, -0.4)
	x, y := valuesOf(t, cat), valuesOf(t, linear)
	far := 0
	for path := range x {
		for i := range x[path] {
			if d := x[path][i] - y[path][i]; d > 0.01 || d < -0.01 {
				far++
			}
		}
	}
	if far < 100 {
		t.Errorf("%d weights differ between cat and linear", far)
	}
}

// TestCombineOne: cat with weights of 1 is one adapter after the other, to the bit, and one alone is itself by either.
func TestCombineOne(t *testing.T) {
	base, plain := golden.Path(t, "testdata/peft/clip"), golden.Path(t, "testdata/peft/0.21.2/plain")
	second := golden.Path(t, "testdata/peft/0.21.2/second")
	want := valuesOf(t, openWith(t, base, plain, second))
	m, err := combine(t, "0.21.2", peft.Cat, []string{"plain", "second"}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for path, v := range valuesOf(t, m) {
		if !slices.Equal(v, want[path]) {
			t.Errorf("%s differs", path)
		}
	}
	want = valuesOf(t, openWith(t, base, plain))
	if m, err = combine(t, "0.21.2", peft.Linear, []string{"plain"}, 1); err != nil {
		t.Fatal(err)
	}
	for path, v := range valuesOf(t, m) {
		golden.Compare(t, path, v, want[path], 1e-6)
	}
	// One whose names are those of another version of transformers corrects the same weights.
	other := filepath.Join(t.TempDir(), "other")
	if err := os.CopyFS(other, os.DirFS(second)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(other, peft.WeightsFile)
	tensors, err := checkpoint.ReadTensors(file)
	if err != nil {
		t.Fatal(err)
	}
	kept := tensors[:0]
	for _, x := range tensors {
		if strings.Contains(x.Name, "vision_model.") { // those of the text tower keep nothing
			x.Name = strings.Replace(x.Name, "vision_model.", "", 1)
			kept = append(kept, x)
		}
	}
	if err := checkpoint.WriteTensors(file, nil, kept); err != nil {
		t.Fatal(err)
	}
	for _, how := range []peft.Combination{peft.Cat, peft.Linear} {
		a, err := Open(base, Combine(how, Weighted{plain, 0.7}, Weighted{other, -0.4}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		b, err := combine(t, "0.21.2", how, []string{"plain", "second"}, 0.7, -0.4)
		if err != nil {
			t.Fatal(err)
		}
		x, y := valuesOf(t, a), valuesOf(t, b)
		for path := range x {
			if strings.Contains(path, "Vision") && !slices.Equal(x[path], y[path]) {
				t.Errorf("%s: %s differs under other names", how, path)
			}
		}
	}
}

// TestCombineRefuses: what has no weight is an error that names it.
func TestCombineRefuses(t *testing.T) {
	for _, c := range []struct {
		how     peft.Combination
		names   []string
		weights []float64
		want    string
	}{
		{peft.Cat, []string{"plain", "dora"}, []float64{1, 0.5}, "a correction with a magnitude (DoRA), which has no weight"},
		{peft.Linear, []string{"dora"}, []float64{1}, "(DoRA)"},
		{peft.Cat, []string{"embeddings"}, []float64{0.5}, "visual_projection.weight: a whole parameter (modules_to_save), which has no weight"},
		{peft.Cat, []string{"embeddings", "embeddings"}, []float64{1, 1}, "is a whole parameter (modules_to_save) of one adapter, and another changes it, too"},
		{peft.Linear, []string{"bias"}, []float64{1}, "a bias of a correction (lora_bias), which peft leaves out: want cat"},
		{peft.Linear, []string{"patterns", "plain", "second"}, []float64{1, 1, 1}, "rank 2 beside one of 3, want the same, or cat"},
		{peft.Cat, []string{"plain"}, []float64{0}, "is 0, want a number other than 0"},
		{"svd", []string{"plain"}, []float64{1}, `combination is "svd", want cat or linear`},
		{peft.Cat, []string{"nowhere"}, []float64{1}, "no adapter: "},
	} {
		if _, err := combine(t, "0.21.2", c.how, c.names, c.weights...); err == nil || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s of %v %v: error is %v, want one with %q", c.how, c.names, c.weights, err, c.want)
		}
	}
	// Scales and biases have weights by cat.
	for _, name := range []string{"bias", "linear", "patterns"} {
		whole, err := combine(t, "0.21.2", peft.Cat, []string{name}, 1)
		if err != nil {
			t.Fatal(err)
		}
		half, err := combine(t, "0.21.2", peft.Cat, []string{name}, 0.5)
		if name == "linear" { // whose biases have learnt
			if err == nil || !strings.Contains(err.Error(), "bias: a whole parameter") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		base, x, y := valuesOf(t, openWith(t, golden.Path(t, "testdata/peft/clip"))), valuesOf(t, whole), valuesOf(t, half)
		for path, b := range base {
			mean := make([]float32, len(b))
			for i := range b {
				mean[i] = (b[i] + x[path][i]) / 2
			}
			golden.Compare(t, name+": "+path, y[path], mean, 1e-6)
		}
	}
}
