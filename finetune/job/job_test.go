package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/shapes"
)

// draw writes three pictures of each of two shapes.
func draw(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pictures")
	if err := shapes.Write(dir, 0, 3, 24, false, 1); err != nil {
		t.Fatal(err)
	}
	for _, class := range shapes.Classes() {
		if class != "circle" && class != "ring" {
			os.RemoveAll(filepath.Join(dir, class))
		}
	}
	return dir
}

// run opens a job, and runs and writes it.
func run(t *testing.T, r Request) (Written, *finetune.Result) {
	t.Helper()
	j, err := Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	result, err := j.Trainer.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, err := j.Write(t.Context(), result)
	if err != nil {
		t.Fatal(err)
	}
	return w, result
}

// Runs that version 64c7bcd was ended in after step 5 go on, to the weights that it came to without the interruption; but
// for what another processor rounds otherwise.
func TestResumesBefore(t *testing.T) {
	tiny, llava := golden.Path(t, "testdata/tiny/huggingface"), golden.Path(t, "testdata/families/llava")
	for _, r := range []Request{
		{Model: tiny, Recipe: "probe", Solver: AdamW, Overrides: Overrides{HeadRate: new(0.05)}},
		{Model: tiny, Recipe: "lora", Overrides: Overrides{Rank: new(2), Accumulate: new(1), Rate: new(0.01)}},
		{Model: llava, Recipe: "projector", Teacher: llava, InitProjector: true, Overrides: Overrides{HeadRate: new(0.01)}},
	} {
		t.Run(r.Recipe, func(t *testing.T) {
			r.Data, r.Output, r.Seed, r.Resume = draw(t), filepath.Join(t.TempDir(), "out"), 1, true
			r.Overrides.Epochs, r.Overrides.Batch = new(4), new(2)
			if err := os.CopyFS(r.Output, os.DirFS(filepath.Join("testdata", "64c7bcd", r.Recipe))); err != nil {
				t.Fatal(err)
			}
			_, result := run(t, r)
			if h := result.History; result.Steps != 12 || len(h) != 12 || h[4].Step != 5 {
				t.Errorf("%d steps, %d of them told of, want 12", result.Steps, len(h))
			}
			want := weights(t, filepath.Join(r.Output, "want.safetensors"))
			got := weights(t, filepath.Join(r.Output, "checkpoint-00000012", "learning.safetensors"))
			if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
				t.Errorf("weights %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
			for name, w := range want {
				golden.Compare(t, name, got[name], w, 1e-3) // AdamW magnifies what small gradients are rounded by
			}

			// With another seed it is another run.
			r.Output, r.Seed = filepath.Join(t.TempDir(), "other"), 2
			if err := os.CopyFS(r.Output, os.DirFS(filepath.Join("testdata", "64c7bcd", r.Recipe))); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), r); !errors.Is(err, finetune.ErrOtherRun) || !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "seed: 1, now 2") {
				t.Errorf("error is %v, want that it is of another run", err)
			}
		})
	}
}

// weights returns the tensors of a file.
func weights(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	all, err := checkpoint.ReadTensors(path)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string][]float32{}
	for _, v := range all {
		m[v.Name] = v.Data
	}
	return m
}

// A request is refused in the words of its fields, or of who calls them otherwise.
func TestCheck(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Recipe: "full", Overrides: Overrides{Blocks: new(2)}}, "overrides.blocks is of the recipe last-n"},
		{Request{Recipe: "full", Overrides: Overrides{Rank: new(2)}}, "overrides.rank is of the recipe lora"},
		{Request{Recipe: "lora", Captions: true, Lock: "images", Overrides: Overrides{Rank: new(2)}}, "overrides.rank contradicts lock images"},
		{Request{Recipe: "last-n", Captions: true, Lock: "images", Overrides: Overrides{Blocks: new(2)}}, "overrides.blocks contradicts lock images"},
		{Request{Recipe: "probe", Solver: AdamW, Recompute: true}, "recompute is of a tower that learns, and this one is frozen"},
		{Request{Recipe: "full", DType: "f8"}, `dtype is "f8", want source or f16 or bf16 or f32`},
		{Request{Recipe: "full", Activation: "relu"}, `activation is "relu", want one of ["quick_gelu" "gelu"]`},
		{Request{Recipe: "projector", Teacher: "x", Layout: "round"}, `layout is "round", want ` + strings.Join(layouts(), " or ")},
		{Request{Recipe: "projector", Teacher: "x", Projector: "mlp0x_gelu"}, `projector is "mlp0x_gelu", want linear, identity or mlpNx_gelu with N from 1 to 9`},
		{Request{Recipe: "lora", Distance: "mse"}, "distance goes with teacher or targets"},
		{Request{Recipe: "lora", Layer: new(-1)}, "layer goes with teacher or targets"},
		{Request{Recipe: "lora", Layout: "pad"}, "layout, hd_num and init_projector are of models with a projector, or the recipe projector, and tokens from teacher or targets"},
		{Request{Recipe: "full", Teacher: "x", Overrides: Overrides{Smoothing: new(0.1)}}, "overrides.smoothing is of classes, and it is something else that is learnt"},
		{Request{Recipe: "probe", Solver: AdamW, Overrides: Overrides{Rate: new(0.1)}}, "overrides.rate is of a tower that learns, and this one is frozen"},
		{Request{Recipe: "probe", Solver: AdamW, WiseFT: new(0.5)}, "wise_ft mixes weights of a tower that learns, and this one is frozen"},
		{Request{Recipe: "full", Cache: "c"}, "cache keeps what a frozen tower gives, and this one learns"},
		{Request{Recipe: "probe", Solver: AdamW, Cache: "c", Augment: Augment{Flip: 0.5}}, "cache keeps what a tower gives for a picture, and varied ones are others each time"},
		{Request{Recipe: "contrastive", Overrides: Overrides{HeadRate: new(0.1)}}, "overrides.head_rate is of a head, and captions are learnt without one"},
		{Request{Recipe: "xcomposer", FixSampler: true, Teacher: "x", Overrides: Overrides{HeadRate: new(0.1)}}, "overrides.head_rate contradicts fix_sampler"},
		{Request{Recipe: "contrastive", Lock: "texts", Overrides: Overrides{TextRate: new(0.1)}}, "overrides.text_rate contradicts lock texts"},
		{Request{Recipe: "full", Truncate: true}, "truncate goes with captions: recipe contrastive, or captions"},
		{Request{Recipe: "projector", Teacher: "x", Captions: true}, "captions goes with the recipes contrastive, lora, last-n and full"},
		{Request{Recipe: "contrastive", Teacher: "x"}, "captions are learnt, so there can be no teacher and no targets"},
		{Request{Recipe: "full", FixViT: true}, "fix_vit and fix_sampler are of the recipe xcomposer"},
		{Request{Recipe: "projector"}, "recipe projector trains a projector: give targets or teacher"},
		{Request{Recipe: "full", Solver: LBFGS}, "solver is of the recipe probe"},
		{Request{Recipe: "probe", Solver: LBFGS, Augment: Augment{Flip: 0.5}}, "augment.flip: varied pictures want solver adamw: L-BFGS sees each picture once"},
		{Request{Recipe: "probe", Solver: LBFGS, Overrides: Overrides{Epochs: new(3)}}, "overrides.epochs goes with solver adamw: L-BFGS goes to the optimum, and has no steps to tell of"},
	} {
		c.r.Data, c.r.Output = "pictures", out
		err := c.r.Check()
		e := (*RequestError)(nil)
		if !errors.As(err, &e) || !errors.Is(err, ErrRequest) || err.Error() != "job: "+c.want {
			t.Errorf("%+v: error is %v, want %s", c.r, err, c.want)
			continue
		}
		if got := e.Named(func(field string) string { return "<" + field + ">" }); strings.NewReplacer("<", "", ">", "").Replace(got) != c.want || !strings.Contains(got, "<") {
			t.Errorf("with other names it is %s", got)
		}
	}
	for _, r := range []Request{
		{Recipe: "last-n", Overrides: Overrides{Blocks: new(2)}},
		{Recipe: "probe", Solver: AdamW, Cache: "c", Overrides: Overrides{Epochs: new(3)}},
		{Recipe: "probe", Solver: LBFGS, Cache: "c"},
		{Recipe: "lora", Captions: true, Overrides: Overrides{Rank: new(2), TextRate: new(0.1)}, WiseFT: new(0.5)},
		{Recipe: "contrastive", Lock: "images", WiseFT: new(0.5), Cache: "c", Recompute: true},
		{Recipe: "projector", Teacher: "x", Projector: "mlp9x_gelu", Activation: "gelu", DType: "bf16"},
		{Recipe: "xcomposer", FixViT: true, Teacher: "x", Distance: "cosine", Layout: "pad", Layer: new(-2)},
	} {
		r.Data, r.Output = "pictures", out
		if err := r.Check(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	// Flags may be given the value that they have anyway.
	r := Request{Recipe: "full", Data: "pictures", Output: out, Given: func(field string) bool { return field == "cache" }}
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), "cache keeps") {
		t.Errorf("error is %v, want one about the cache", err)
	}
	for name, want := range map[string]bool{"seed": true, "overrides.rank": true, "overrides.alpha": false, "cache": false, "log_every": false} {
		if got := (Request{Seed: 1, Overrides: Overrides{Rank: new(0)}}).given(name); got != want {
			t.Errorf("%s is given: %v", name, got)
		}
	}
}

// A dry run opens everything, and writes nothing; each way to run refuses what is for the other.
func TestOpen(t *testing.T) {
	r := Request{Model: golden.Path(t, "testdata/tiny/huggingface"), Data: draw(t), Recipe: "probe", Solver: AdamW, Output: filepath.Join(t.TempDir(), "out"), DryRun: true, TensorBoard: true}
	r.Cache = filepath.Join(r.Output, "cache")
	j, err := Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenProbe(t.Context(), r); !errors.Is(err, ErrRequest) {
		t.Errorf("a probe without its solver: %v", err)
	}
	r.Solver, r.TensorBoard = LBFGS, false
	if _, err := Open(t.Context(), r); !errors.Is(err, ErrRequest) {
		t.Errorf("a job with the solver of a probe: %v", err)
	}
	p, err := OpenProbe(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if p.Pictures != 6 || p.Numbers != 2*11 || len(p.Classes) != 2 {
		t.Errorf("%d pictures, %d numbers, classes %v", p.Pictures, p.Numbers, p.Classes)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.Output); err == nil {
		t.Error("something was written")
	}
	r.Recipe, r.Solver, r.TensorBoard, r.DryRun, r.Cache, r.Overrides.Epochs = "full", "", true, false, "", new(1)
	w, _ := run(t, r)
	if names, _ := filepath.Glob(filepath.Join(r.Output, "tensorboard", "*")); len(names) != 1 || w.Model != filepath.Join(r.Output, history.ModelFolder) || w.Mixed != nil || w.Adapter != "" {
		t.Errorf("event files %v, written %+v", names, w)
	}
}

// What is mixed leaves the report's table as it was when the run began.
func TestMixedTable(t *testing.T) {
	r := Request{
		Model: golden.Path(t, "testdata/tiny/huggingface"), Data: draw(t), Recipe: "lora", Output: filepath.Join(t.TempDir(), "out"),
		WiseFT: new(0.5), Overrides: Overrides{Epochs: new(1)},
	}
	dry := r
	dry.DryRun = true
	j, err := Open(t.Context(), dry)
	if err != nil {
		t.Fatal(err)
	}
	table := j.Trainer.Table()
	j.Close()
	w, _ := run(t, r)
	if page, err := os.ReadFile(w.Report); err != nil || !strings.Contains(string(page), table) {
		t.Errorf("report %s, %v, want the table\n%s", page, err, table)
	}
}

// Whoever ends the context while a job is opened hears of that, and not that the data are bad.
func TestOpenCanceled(t *testing.T) {
	tiny, llava := golden.Path(t, "testdata/tiny/huggingface"), golden.Path(t, "testdata/families/llava")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range []Request{
		{Model: tiny, Recipe: "full"}, {Model: tiny, Recipe: "full", Teacher: tiny},
		{Model: llava, Recipe: "projector", Teacher: llava}, {Model: tiny, Recipe: "probe", Solver: LBFGS},
	} {
		r.Data, r.Output = draw(t), filepath.Join(t.TempDir(), "out")
		var err error
		if r.Solver == LBFGS {
			_, err = OpenProbe(ctx, r)
		} else {
			_, err = Open(ctx, r)
		}
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrData) || errors.Is(err, ErrRefused) || errors.Is(err, ErrRequest) {
			t.Errorf("%s: error is %v, want that of the context", r.Recipe, err)
		}
		if _, err := os.Stat(r.Output); err == nil {
			t.Errorf("%s: something was written", r.Recipe)
		}
	}
}

// Every field survives the way through JSON, but for those that are not of it; 0 and nothing are told apart where they differ.
func TestJSON(t *testing.T) {
	var r Request
	fill(t, reflect.ValueOf(&r).Elem())
	r.Model, r.Within, r.DryRun, r.Given = "", "", false, nil
	zeros := Request{Layer: new(0), WiseFT: new(0.0), Overrides: Overrides{TextRate: new(0.0), EMA: new(0.0), Clip: new(0.0), Targets: []string{}}}
	for _, r := range []Request{r, zeros, {}} {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Request
		err = json.Unmarshal(b, &back)
		back.Given = nil // which is there if one stands there with the value that it has anyway
		if err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("%s: got %+v, %v, want %+v", b, back, err, r)
		}
	}
}

// fill gives every field a value that is not zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint64:
		v.SetUint(math.MaxUint64)
	case reflect.Float64:
		v.SetFloat(0.1)
	case reflect.Func: // which JSON has not
	default:
		t.Fatalf("a field of type %s, which this test does not know", v.Type())
	}
}

// An adapter has the names that transformers 4.57 and 5.24 have for the modules of the classes that the model is for. (Tried
// there with peft 0.18.0 and 0.21.2, on the towers alone, on the whole LLaVA, and through transformers' own load_adapter.)
func TestAdapterNames(t *testing.T) {
	const inEncoder = `"(.*\\.)?encoder\\.layers\\.\\d+\\.(self_attn|mlp)\\.(q_proj)"`
	for _, c := range []struct {
		model, targets string
		prefixes       []string
	}{
		{"testdata/tiny/huggingface", `["q_proj"]`, []string{"vision_model."}},
		{"testdata/families/hf-vision", `["q_proj"]`, []string{"vision_model.", ""}},
		{"testdata/families/llava", inEncoder, []string{"vision_model.", "", "model.vision_tower.vision_tower.vision_model.", "model.vision_tower.vision_tower."}},
		{"testdata/families/llava-hf", inEncoder, []string{"vision_model.", "", "model.vision_tower.vision_model.", "model.vision_tower."}},
		{"testdata/families/xcomposer2-vl", inEncoder, []string{"vision_model.", "", "vit.vision_tower.vision_model.", "vit.vision_tower."}},
	} {
		t.Run(filepath.Base(c.model), func(t *testing.T) {
			r := Request{
				Model: golden.Path(t, c.model), Data: draw(t), Recipe: "lora", Output: filepath.Join(t.TempDir(), "out"),
				Overrides: Overrides{Epochs: new(1), Batch: new(4), Targets: []string{"q_proj"}},
			}
			m, err := converter.Load(r.Model)
			if err != nil {
				t.Fatal(err)
			}
			if m.Config.NoPostNorm { // which classes are learnt by
				r.Teacher = r.Model
			}
			w, _ := run(t, r)
			got := weights(t, filepath.Join(w.Adapter, "adapter_model.safetensors"))
			want := 0
			for _, prefix := range c.prefixes {
				for block := range m.Config.Layers {
					for _, side := range []string{"A", "B"} {
						want++
						name := fmt.Sprintf("encoder.layers.%d.self_attn.q_proj.lora_%s.weight", block, side)
						if v, first := got["base_model.model."+prefix+name], got["base_model.model."+c.prefixes[0]+name]; v == nil || !slices.Equal(v, first) {
							t.Errorf("no %s%s, or another than the first", prefix, name)
						}
					}
				}
			}
			if len(got) != want {
				t.Errorf("%d tensors, want %d", len(got), want)
			}
			var config struct {
				Targets json.RawMessage `json:"target_modules"`
			}
			b, err := os.ReadFile(filepath.Join(w.Adapter, "adapter_config.json"))
			if err != nil || json.Unmarshal(b, &config) != nil || strings.Join(strings.Fields(string(config.Targets)), "") != c.targets {
				t.Errorf("%v: target_modules %s, want %s", err, config.Targets, c.targets)
			}
			if _, err := adapter.Load(m, w.Adapter); err != nil { // by which it is gone on with
				t.Error(err)
			}
		})
	}
}

// A field of JSON that there is not, and one that would do nothing, are errors, though the value is that of none.
func TestJSONIdle(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct{ text, want string }{
		{`{"recipe":"lora","epochs":3}`, `unknown field "epochs"`},
		{`{"recipe":"lora","overrides":{"epochs":"three"}}`, "job: overrides.epochs is a string, want an integer"},
		{`{"recipe":"lora","overrides":{"epochs":1.5}}`, "job: overrides.epochs is 1.5, want an integer"},
		{`{"recipe":["lora"]}`, "job: recipe is a list, want a string"},
		{`{"sweep":{"rate":[1]}}`, "job: sweep is an object, want a list"},
		{`{"recipe":"lora","overrides":{"learning_rate":3}}`, `unknown field "learning_rate"`},
		{`{"recipe":"lora","split":0,"validation":"v"}`, `split is 0 and validation "v", want one of them`},
		{`{"recipe":"lora","patience":0}`, "patience goes with pictures to validate on, and there is no data to validate on: give validation, or a split above 0"},
		{`{"recipe":"probe","validation":"v","seed":3}`, "seed is of what is random, and nothing is"},
		{`{"recipe":"full","cache":""}`, "cache keeps what a frozen tower gives, and this one learns"},
		{`{"recipe":"full","overrides":{"rank":0}}`, "overrides.rank is of the recipe lora"},
		{`{"recipe":"probe","solver":"lbfgs","teacher":"t"}`, "solver lbfgs fits a head for classes, and it is what teacher or targets say that is learnt"},
		{`{"recipe":"contrastive","captions":true}`, "captions is of other recipes than contrastive"},
	} {
		r := Request{Model: "m"}
		err := json.Unmarshal([]byte(c.text), &r)
		if err == nil {
			r.Data, r.Output = "pictures", out
			err = r.Check()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %s", c.text, err, c.want)
		}
	}
	var r Request
	if err := json.Unmarshal([]byte(`{"data":"d","recipe":"lora","split":0,"output":"`+filepath.ToSlash(out)+`","overrides":{"warmup":0}}`), &r); err != nil || r.Check() != nil || *r.Overrides.Warmup != 0 {
		t.Errorf("%+v: %v, %v", r, err, r.Check())
	}
}
