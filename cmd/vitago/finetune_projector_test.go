package main

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/projector"
)

// gallery writes pictures of several shapes, most of which become several tiles.
func gallery(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pictures")
	os.MkdirAll(filepath.Join(dir, "more"), 0o777)
	for i, s := range [][2]int{{40, 30}, {16, 16}, {21, 64}, {90, 17}, {33, 35}, {12, 50}, {50, 50}, {64, 20}} {
		img := image.NewNRGBA(image.Rect(0, 0, s[0], s[1]))
		for y := range s[1] {
			for x := range s[0] {
				k := 1 + (x/5*7+y/5*13+i*29)%50
				img.SetNRGBA(x, y, color.NRGBA{byte(5 * k), byte(37 * k), byte(91*k + x), 255})
			}
		}
		name := filepath.Join(dir, []string{".", "more"}[i%2], string(rune('a'+i))+".png")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, img); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return dir
}

// difference returns the mean square of the differences of two models' tokens of a picture.
func difference(t *testing.T, a, b, layout, picture string) float64 {
	t.Helper()
	var all [][]float32
	for _, model := range []string{a, b} {
		source, err := converter.Open(model)
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		e, err := source.Encoder(t.Context(), layout)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(picture)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		img, err := clipvit.DecodeImage(f)
		if err != nil {
			t.Fatal(err)
		}
		x, err := e.Tokens(img)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x.Data().F32())
	}
	if len(all[0]) != len(all[1]) {
		t.Fatalf("%d and %d numbers", len(all[0]), len(all[1]))
	}
	sum := 0.0
	for i, v := range all[0] {
		sum += float64(v-all[1][i]) * float64(v-all[1][i])
	}
	return sum / float64(len(all[0]))
}

// losses returns the first and the last loss of a run.
func losses(t *testing.T, out string) (first, last float64) {
	t.Helper()
	for line := range strings.Lines(read(t, out, "metrics.jsonl")) {
		var e history.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == history.TrainEvent {
			if first == 0 {
				first = e.Loss
			}
			last = e.Loss
		}
	}
	return first, last
}

// TestFinetuneProjector: XComposer's projector and separators learn a teacher's tokens from random values; once from the
// teacher, once from the file that vitago tokens wrote with it, which comes to the same; and what is written loads and exports.
func TestFinetuneProjector(t *testing.T) {
	pictures := gallery(t)
	const layout = "xcomposer2.5"
	base := golden.Path(t, "testdata/families/xcomposer2-hd")
	// A teacher with another projector than the model's.
	source, err := converter.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	e, err := source.Encoder(t.Context(), layout)
	if err != nil {
		t.Fatal(err)
	}
	e.Init(77)
	for i := range e.RowSeparator.Size() {
		mat.Data[float32](e.RowSeparator)[i], mat.Data[float32](e.GlobalSeparator)[i] = float32(math.Sin(float64(i))), float32(math.Cos(float64(3*i)))
	}
	like, err := converter.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer like.Close()
	teacher := filepath.Join(t.TempDir(), "teacher")
	if _, err := converter.Save(t.Context(), converter.Models{Encoder: e}, like, teacher, converter.Options{}); err != nil {
		t.Fatal(err)
	}

	args := func(out string, more ...string) []string {
		return append([]string{
			"finetune", "--recipe", "projector", "--model", base, "--layout", layout, "--data", pictures, "--out", out, "--init-projector",
			"--epochs", "200", "--batch", "4", "--head-rate", "0.01", "--checkpoint-every", "1000", "--val-every", "100", "--clip", "0", "--split", "0.2", "--log-every", "100",
		}, more...)
	}
	byTeacher := filepath.Join(t.TempDir(), "out")
	r := vitago(args(byTeacher, "--teacher", teacher, "--cache", filepath.Join(t.TempDir(), "cache"))...)
	r.want(t, exitDone, []string{"best r2", "model "}, []string{"Projector ", "plora_sub_GN ", "plora_glb_GN ", "learns ", "in all ", "r2"})
	first, last := losses(t, byTeacher)
	model := filepath.Join(byTeacher, "model")
	held := filepath.Join("testdata", "demo", "cat.png")
	before, after := difference(t, base, teacher, layout, held), difference(t, model, teacher, layout, held)
	t.Logf("loss from %.3g to %.3g; of a picture that is not among them from %.3g to %.3g", first, last, before, after)
	if !(first/last > 10) || !(before/after > 5) {
		t.Errorf("loss fell from %v to %v, want 10 times; of a picture held out from %v to %v, want 5 times", first, last, before, after)
	}
	page := read(t, byTeacher, "report.md")
	for _, want := range []string{"the tokens of " + teacher, "layout " + layout + ", layer -1, mlp2x_gelu from 256 to 12", "![loss](curve.svg)", "plora_glb_GN"} {
		if !strings.Contains(page, want) {
			t.Errorf("the report does not say %q:\n%s", want, page)
		}
	}
	if !strings.Contains(read(t, byTeacher, "curve.svg"), "<svg") {
		t.Error("no curve")
	}

	// From a file, and stopped in between.
	tokens := filepath.Join(t.TempDir(), "tokens.safetensors")
	vitago("tokens", "--model", teacher, "-o", tokens, pictures).want(t, exitDone, nil, []string{"tokens of width 12 of 8 images"})
	byFile := filepath.Join(t.TempDir(), "out")
	vitago(args(byFile, "--targets", tokens, "--steps", "7")...).want(t, exitDone, []string{"steps"}, []string{""})
	vitago(args(byFile, "--targets", tokens, "--resume")...).want(t, exitDone, []string{"best r2"}, []string{"resumed after step 7"})
	for _, name := range []string{"projector.safetensors", "projector_config.json", "model.safetensors"} {
		if read(t, model, name) != read(t, byFile, "model", name) {
			t.Errorf("%s differs between a teacher and its tokens in a file", name)
		}
	}

	// What was learnt is what XComposer gets.
	exported := filepath.Join(t.TempDir(), "exported")
	vitago("export", "--to", "xcomposer", model, exported).want(t, exitDone, []string{"form "}, []string{"exported"})
	if d := difference(t, exported, model, layout, held); d > 1e-10 {
		t.Errorf("tokens of the export differ by %v", d)
	}
}

// TestFinetuneEncoder: every way to learn tokens: the tower too, XComposer's switches, LLaVA, a plain tower, targets in order.
func TestFinetuneEncoder(t *testing.T) {
	pictures := gallery(t)
	hd, vl := golden.Path(t, "testdata/families/xcomposer2-hd"), golden.Path(t, "testdata/families/xcomposer2-vl")
	llava := golden.Path(t, "testdata/families/llava")
	ordered := filepath.Join(t.TempDir(), "ordered.safetensors")
	if err := checkpoint.WriteTensors(ordered, nil, []checkpoint.Values{{Name: "targets", Shape: []int{8, 16, 12}, Data: make([]float32, 8*16*12)}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, to     string
		args, errors []string // flags, and what is said
		without      []string // what is not
		layout       string   // to load it again
	}{
		{"the tower too", "xcomposer", []string{"--recipe", "full", "--model", hd, "--teacher", hd, "--layout", "xcomposer2-4khd", "--hd-num", "3", "--epochs", "3", "--wise-ft", "0.5"},
			[]string{"Tower.Embed", "Tower.Blocks.1", "Projector", "plora_sub_GN"}, nil, "xcomposer2-4khd"},
		{"fix_vit", "xcomposer", []string{"--recipe", "xcomposer", "--fix-vit", "--model", vl, "--teacher", vl, "--init-projector"},
			[]string{"Projector"}, []string{"Tower.", "plora"}, ""},
		{"fix_sampler", "xcomposer", []string{"--recipe", "xcomposer", "--fix-sampler", "--model", vl, "--teacher", vl}, []string{"Tower.Embed"}, []string{"Projector"}, ""},
		{"low rank", "llava", []string{"--recipe", "lora", "--rank", "2", "--model", llava, "--teacher", llava, "--epochs", "2"}, []string{"Tower.Blocks.0", "Projector"}, nil, ""},
		{"one view, targets in order", "llava", []string{"--recipe", "projector", "--model", llava, "--targets", ordered}, []string{"Projector"}, nil, ""},
		{"plain tower, teacher", "llava", []string{"--recipe", "projector", "--model", tinyModel, "--teacher", tinyLLaVA(t), "--epochs", "2"}, []string{"Projector", "image_newline"}, nil, ""},
		{"plain tower, teacher, another type", "llava", []string{"--recipe", "projector", "--model", tinyModel, "--teacher", tinyLLaVA(t), "--epochs", "2", "--projector", "mlp3x_gelu"},
			[]string{"Projector", "image_newline"}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			r := vitago(append([]string{"finetune", "--data", pictures, "--out", out, "--split", "0"}, c.args...)...)
			r.want(t, exitDone, []string{"model "}, c.errors)
			for _, not := range c.without {
				if strings.Contains(r.err, not) {
					t.Errorf("it says %q:\n%s", not, r.err)
				}
			}
			model := filepath.Join(out, "model")
			saved, err := converter.Open(model)
			if err != nil {
				t.Fatal(err)
			}
			defer saved.Close()
			if _, err := saved.Encoder(t.Context(), c.layout); err != nil {
				t.Error(err)
			}
			exported := filepath.Join(t.TempDir(), "exported")
			vitago("export", "--to", c.to, model, exported).want(t, exitDone, []string{"form "}, []string{"exported"})
		})
	}
}

// tinyLLaVA returns a model directory of LLaVA-1.6's form with the tower of tinyModel.
func tinyLLaVA(t *testing.T) string {
	t.Helper()
	m, err := converter.Load(tinyModel)
	if err != nil {
		t.Fatal(err)
	}
	l, err := projector.FindLayout("llava-1.6")
	if err != nil {
		t.Fatal(err)
	}
	e, err := projector.NewEncoder(m, l, -2, "mlp2x_gelu", 8, 3)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "llava")
	if _, err := converter.Save(t.Context(), converter.Models{Vision: m, Encoder: e}, nil, dir, converter.Options{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestFinetuneProjectorRefuses: what does not fit is said with names and numbers, and nothing is written.
func TestFinetuneProjectorRefuses(t *testing.T) {
	pictures := gallery(t)
	hd, llava := golden.Path(t, "testdata/families/xcomposer2-hd"), golden.Path(t, "testdata/families/llava")
	write := func(all ...checkpoint.Values) string {
		path := filepath.Join(t.TempDir(), "t.safetensors")
		if err := checkpoint.WriteTensors(path, nil, all); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tensor := func(name string, shape ...int) checkpoint.Values {
		return checkpoint.Values{Name: name, Shape: shape, Data: make([]float32, shape[0]*shape[1])}
	}
	var all []checkpoint.Values
	for _, name := range []string{"a", "more/b", "c", "more/d", "e", "more/f", "g", "more/h"} {
		all = append(all, tensor(name+".png", 16, 12))
	}
	out := filepath.Join(t.TempDir(), "out")
	run := []string{"finetune", "--data", pictures, "--out", out, "--recipe", "projector", "--split", "0"}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--model", hd, "--teacher", hd}, exitFailed, "a layout has to be chosen"},
		{[]string{"--model", llava, "--targets", write(all[1:]...)}, exitFailed, "1 of 8 pictures have no tensor of their name: a.png"},
		{[]string{"--model", llava, "--targets", write(append(all[1:], tensor("a.png", 17, 12))...)}, exitFailed, "a.png (40×30 pixels) has [17 12], want [16,12]"},
		{[]string{"--model", llava, "--targets", write(append(all[1:], tensor("a.png", 16, 13))...)}, exitFailed, "a.png: [16 13], want [N,12]"},
		{[]string{"--model", hd, "--layout", "xcomposer2.5", "--targets", write(all...)}, exitFailed, `are of another layout than "xcomposer2.5"`},
		{[]string{"--model", llava, "--teacher", hd}, exitFailed, "a layout has to be chosen"},
		{[]string{"--model", llava, "--teacher", tinyModel}, exitFailed, "has no projector"},
		{[]string{"--model", llava, "--teacher", llava, "--hd-num", "3"}, exitUsage, "--hd-num is of layouts of tiles"},
		{[]string{"--model", llava, "--teacher", llava, "--augment-flip", "0.5"}, exitUsage, "--augment-flip varies pictures, and those of a --layout are not varied"},
		{[]string{"--model", tinyModel, "--recipe", "probe", "--layout", "pad"}, exitUsage, "are of models with a projector"},
		{[]string{"--model", llava, "--teacher", llava, "--projector", "linear"}, exitUsage, "--projector is the type of a new one, and"},
		{[]string{"--model", hd, "--layout", "xcomposer2.5", "--teacher", hd, "--memory", "0.0001"}, exitFailed, "with 1 tile at most (hd_num)"},
	} {
		vitago(append(run, c.args...)...).want(t, c.status, nil, []string{c.want})
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%v: something was written", c.args)
		}
	}
}
