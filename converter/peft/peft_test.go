package peft

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/golden"
)

// every wants all modules.
func every(string) bool { return true }

// write writes an adapter of one module, with members of the configuration and tensors besides or in the place of these.
func write(t *testing.T, config map[string]any, tensors ...checkpoint.Values) string {
	t.Helper()
	dir := t.TempDir()
	all := map[string]any{"peft_type": "LORA", "base_model_name_or_path": "clip", "r": 1, "lora_alpha": 2}
	for name, v := range config {
		all[name] = v
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), b, 0o666); err != nil {
		t.Fatal(err)
	}
	list := []checkpoint.Values{
		{Name: Prefix + "m.lora_A.weight", Shape: []int{1, 2}, Data: []float32{1, 2}},
		{Name: Prefix + "m.lora_B.weight", Shape: []int{3, 1}, Data: []float32{1, 0, -1}},
	}
	for _, v := range tensors {
		n := len(list)
		for i := range list {
			if list[i].Name == v.Name {
				n = i
			}
		}
		list = append(list[:n:n], append([]checkpoint.Values{v}, list[min(n+1, len(list)):]...)...)
	}
	if err := checkpoint.WriteTensors(filepath.Join(dir, WeightsFile), nil, list); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		config map[string]any
		want   [6]float32 // of 10, 10, …
	}{
		{nil, [6]float32{12, 14, 10, 10, 8, 6}},
		{map[string]any{"use_rslora": true, "rank_pattern": nil, "init_lora_weights": "gaussian"}, [6]float32{12, 14, 10, 10, 8, 6}},
		{map[string]any{"alpha_pattern": map[string]any{"n": 5, "[lm]": 1}, "rank_pattern": map[string]any{"m": 1}}, [6]float32{11, 12, 10, 10, 9, 8}},
	} {
		a, err := Open(write(t, c.config), every)
		if err != nil {
			t.Fatal(err)
		}
		got := [6]float32{10, 10, 10, 10, 10, 10}
		if len(a.Changes) != 1 || a.Changes[0].Parameter != "m.weight" || a.Changes[0].Whole() {
			t.Fatalf("changes %+v", a.Changes)
		}
		if a.Changes[0].Apply(got[:]); got != c.want {
			t.Errorf("%v: got %v, want %v", c.config, got, c.want)
		}
	}
	a, err := Open(write(t, nil), func(string) bool { return false })
	if err != nil || len(a.Changes) != 0 || len(a.Others) != 2 {
		t.Errorf("changes %v, others %v: %v", a.Changes, a.Others, err)
	}
}

// TestRefuses: what is not understood is an error that names it.
func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		config  map[string]any
		tensors []checkpoint.Values
		want    string
	}{
		{map[string]any{"peft_type": "IA3"}, nil, `peft_type is "IA3", want LORA`},
		{map[string]any{"peft_type": "VERA"}, nil, `peft_type is "VERA", want LORA`},
		{map[string]any{"init_lora_weights": "pissa_niter_4"}, nil, `init_lora_weights is "pissa_niter_4"`},
		{map[string]any{"use_qalora": true}, nil, "use_qalora is true, want nothing"},
		{map[string]any{"target_parameters": []string{"x"}}, nil, "target_parameters is [x], want nothing"},
		{map[string]any{"layer_replication": [][]int{{0, 1}}}, nil, "layer_replication is [[0 1]], want nothing"},
		{map[string]any{"trainable_token_indices": []int{1}}, nil, "trainable_token_indices is [1], want nothing"},
		{map[string]any{"a_thing_of_tomorrow": 1}, nil, "a_thing_of_tomorrow is 1, want nothing"},
		{map[string]any{"rank_pattern": map[string]any{"m": 1.5}}, nil, "rank of m is 1.5, want 1 to 4096"},
		{map[string]any{"rank_pattern": map[string]any{"(": 1}}, nil, "rank_pattern: ("},
		{map[string]any{"rank_pattern": []int{1}}, nil, "rank_pattern is [1], want an object"},
		{map[string]any{"r": 2}, nil, "m.lora_A.weight: shape [1 2], want 2 rows, the rank that the configuration says"},
		{map[string]any{"use_dora": true}, nil, "no m.lora_magnitude_vector, and use_dora is true"},
		{nil, []checkpoint.Values{{Name: "m.lora_magnitude_vector", Shape: []int{3}, Data: make([]float32, 3)}}, "m.lora_magnitude_vector, and use_dora is false"},
		{nil, []checkpoint.Values{{Name: "n.lora_A.weight", Shape: []int{1, 2}, Data: make([]float32, 2)}}, "no n.lora_B.weight beside the others of the module"},
		{nil, []checkpoint.Values{{Name: "m.lora_A.weight", Shape: []int{1, 2}, Data: make([]float32, 2)}}, "m.lora_A.weight stands twice"},
		{nil, []checkpoint.Values{{Name: "m.lora_S", Shape: []int{1}, Data: make([]float32, 1)}}, "m.lora_S is no part of a correction by LoRA that is known"},
		{nil, []checkpoint.Values{{Name: Prefix + "m.lora_B.weight", Shape: []int{3, 1, 2, 1}, Data: make([]float32, 6)}}, "want 1 columns"},
	} {
		dir := write(t, c.config, c.tensors...)
		if _, err := Open(dir, every); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v: error is %v, want one with %q", c.config, err, c.want)
		}
	}
}

// FuzzOpen: no configuration and no file of tensors ends the program, and what is opened can be applied.
func FuzzOpen(f *testing.F) {
	for _, version := range []string{"0.18.0", "0.21.2"} {
		for _, name := range []string{"plain", "patterns", "dora", "embeddings", "bias", "tower"} {
			dir := golden.Path(f, "testdata/peft/"+version+"/"+name)
			config, err := os.ReadFile(filepath.Join(dir, ConfigFile))
			if err != nil {
				f.Fatal(err)
			}
			weights, err := os.ReadFile(filepath.Join(dir, WeightsFile))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(config, weights)
		}
	}
	f.Add([]byte(`{"peft_type":"LORA","r":1,"rank_pattern":{"":1e300}}`), []byte{})
	f.Fuzz(func(t *testing.T, config, weights []byte) {
		c, err := parseConfig(config)
		if err != nil {
			return
		}
		file, err := checkpoint.OpenReader(strings.NewReader(string(weights)), int64(len(weights)), "fuzzed")
		if err != nil {
			return
		}
		a := &Adapter{Config: c}
		if err := a.read(file, every); err != nil {
			return
		}
		for _, c := range a.Changes {
			n := 1.0
			for _, d := range c.Shape {
				n *= float64(d)
			}
			if n < math.MaxInt16 {
				c.Apply(make([]float32, int(n)))
			}
		}
	})
}
