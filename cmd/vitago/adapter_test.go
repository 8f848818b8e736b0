package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// embedding returns what encode says of a picture.
func embedding(t *testing.T, model, picture string) []float32 {
	t.Helper()
	r := vitago("encode", "--model", model, picture)
	r.want(t, exitDone, []string{"["}, nil)
	var line map[string]any
	if err := json.Unmarshal([]byte(r.out), &line); err != nil {
		t.Fatal(err)
	}
	for _, v := range line {
		if list, ok := v.([]any); ok {
			x := make([]float32, len(list))
			for i := range list {
				x[i] = float32(list[i].(float64))
			}
			return x
		}
	}
	t.Fatalf("no vector in %s", r.out)
	return nil
}

// TestAdapter: an adapter that finetune writes is merged with its base, or opened by itself, to what finetune has merged, also
// where it has its corrections under two names.
func TestAdapter(t *testing.T) {
	pictures := colours(t, 3)
	picture := filepath.Join(pictures, "red", "00.png")
	for _, model := range []string{tinyModel, golden.Path(t, "testdata/families/hf-vision")} {
		out, merged := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "merged")
		vitago("finetune", "--model", model, "--data", pictures, "--out", out, "--recipe", "lora", "--epochs", "3", "--rate", "0.01").want(t, exitDone, []string{"steps"}, []string{""})
		adapter := filepath.Join(out, "adapter")
		want := embedding(t, filepath.Join(out, "model"), picture)
		golden.Compare(t, "the adapter alone", embedding(t, adapter, picture), want, 1e-5)
		vitago("convert", "--adapter", adapter, model, merged).want(t, exitDone, []string{"adapter     " + adapter}, []string{"converted"})
		golden.Compare(t, "what is merged", embedding(t, merged, picture), want, 1e-5)
		vitago("inspect", adapter).want(t, exitDone, []string{"adapter     " + adapter + ", which is merged when the model is loaded"}, nil)
		vitago("convert", adapter, filepath.Join(t.TempDir(), "again")).want(t, exitDone, []string{"adapter     " + adapter}, []string{"converted"})
		vitago("export", adapter, filepath.Join(t.TempDir(), "x"), "--to", "huggingface").want(t, exitDone, []string{"adapter     " + adapter}, []string{"exported"})
		vitago("compare", model, adapter).want(t, exitDone, []string{"B  " + model + " + " + adapter + ": "}, []string{"compared"})
	}
	plain := golden.Path(t, "testdata/peft/0.21.2/plain")
	for _, args := range []string{"encode --model ADAPTER -", "convert ADAPTER x", "finetune --model ADAPTER --data x --out y --recipe lora"} {
		vitago(strings.Fields(strings.ReplaceAll(args, "ADAPTER", plain))...).want(t, exitFailed, nil, []string{
			`is an adapter of peft's, which is no model by itself: it has to be merged with its base model, "clip", which is no directory here; "vitago convert --adapter ADAPTER BASE DST" merges`,
		})
	}
	vitago("convert", "--adapter", plain, tinyModel, filepath.Join(t.TempDir(), "x")).want(t, exitFailed, nil, []string{"it is of another one"})
}
