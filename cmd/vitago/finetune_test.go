package main

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/job"
)

// colours writes a folder of small pictures for each of three classes: a colour, and noise.
func colours(t *testing.T, each int) string {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	for class, name := range []string{"blue", "green", "red"} {
		os.Mkdir(filepath.Join(dir, name), 0o777)
		for i := range each {
			img := image.NewRGBA(image.Rect(0, 0, 20, 16))
			for p := range 20 * 16 {
				c := [3]uint8{uint8(rng.IntN(160)), uint8(rng.IntN(160)), uint8(rng.IntN(160))}
				c[2-class] += 95
				img.Set(p%20, p/20, color.RGBA{c[0], c[1], c[2], 255})
			}
			f, err := os.Create(filepath.Join(dir, name, fmt.Sprintf("%02d.png", i)))
			if err != nil {
				t.Fatal(err)
			}
			if err := png.Encode(f, img); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
	}
	return dir
}

// read returns the content of a file.
func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestFinetune: every recipe for classes learns them, and leaves a model that loads and encodes.
func TestFinetune(t *testing.T) {
	pictures := colours(t, 10)
	for _, c := range []struct {
		recipe string
		flags  []string
		files  []string // besides those of all
	}{
		{"probe", []string{"--solver", "adamw", "--epochs", "60", "--batch", "8", "--head-rate", "0.05", "--cache", filepath.Join(t.TempDir(), "cache")}, nil},
		{"lora", []string{"--epochs", "10", "--batch", "4", "--accumulate", "2", "--rate", "0.01", "--head-rate", "0.05", "--rank", "2"}, []string{"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}},
		{"last-n", []string{"--epochs", "10", "--blocks", "1", "--accumulate", "1", "--rate", "0.005", "--head-rate", "0.05", "--val-every", "5", "--patience", "50", "--tensorboard"}, []string{"tensorboard"}},
		{"full", []string{"--epochs", "10", "--accumulate", "2", "--rate", "0.005", "--head-rate", "0.05", "--ema", "0.9", "--augment-flip", "0.5", "--wise-ft", "0.9"}, nil},
	} {
		t.Run(c.recipe, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			args := append([]string{"finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", c.recipe, "--split", "0.3"}, c.flags...)
			r := vitago(args...)
			r.want(t, exitDone, []string{"accuracy before", "1.0000, after step ", filepath.Join(out, "model")}, []string{"group ", "learns ", "frozen ", "in all ", " MB\n", "validation loss", "trained in"})
			for _, name := range append([]string{"metrics.jsonl", "report.md", "curve.svg", "model/config.json", "model/head.safetensors", "model/classes.json"}, c.files...) {
				if _, err := os.Stat(filepath.Join(out, filepath.FromSlash(name))); err != nil {
					t.Error(err)
				}
			}
			head, err := finetune.LoadClassifier(filepath.Join(out, "model"))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(head.Classes, []string{"blue", "green", "red"}) {
				t.Errorf("classes %v", head.Classes)
			}
			encoded := vitago("encode", "--model", filepath.Join(out, "model"), filepath.Join(pictures, "red", "00.png"))
			encoded.want(t, exitDone, []string{`"embedding":[`}, nil)
			untuned := vitago("encode", "--model", tinyModel, filepath.Join(pictures, "red", "00.png"))
			if same := encoded.out == untuned.out; same != (c.recipe == "probe") {
				t.Errorf("the embedding is as it was: %v", same)
			}
			if page := read(t, out, "report.md"); !strings.Contains(page, "| best accuracy | 1.0000") || !strings.Contains(page, "Head ") {
				t.Errorf("report:\n%s", page)
			}
			// What else there is in the checkpoint is there still.
			tuned, err := checkpoint.Open(filepath.Join(out, "model", "model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			defer tuned.Close()
			if _, ok := tuned.Tensor("text_projection.weight"); !ok {
				t.Error("the text tower is gone")
			}
		})
	}
}

// TestFinetuneProbe: the head that fits best, and a second run that finds the features in the cache.
func TestFinetuneProbe(t *testing.T) {
	pictures := colours(t, 10)
	out := filepath.Join(t.TempDir(), "out")
	os.WriteFile(filepath.Join(pictures, "red", "99.png"), []byte("no picture"), 0o666)
	var first string
	for i := range 2 {
		args := []string{"finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", "probe"}
		if i > 0 { // what is there is nobody's to overwrite by accident
			vitago(args...).want(t, exitFailed, nil, []string{"model is there already: choose another directory"})
			args = append(args, "--resume")
		}
		r := vitago(args...)
		r.want(t, exitDone, []string{"penalty ", "best accuracy    1.0000", "skipped          1 picture that"}, []string{"3 classes", "99.png"})
		head := read(t, out, "model", "head.safetensors")
		if page := read(t, out, "report.md"); !strings.Contains(page, "| best accuracy | 1.0000 |") || !strings.Contains(page, "99.png") {
			t.Errorf("report:\n%s", page)
		}
		if i == 1 && head != first {
			t.Error("another head from the cache")
		}
		first = head
	}
	if _, err := finetune.LoadClassifier(filepath.Join(out, "model")); err != nil {
		t.Error(err)
	}
	// No recipe goes on with another's run.
	other := filepath.Join(t.TempDir(), "out")
	trained := func(out, recipe, model string) ran {
		return vitago("finetune", "--model", model, "--data", pictures, "--out", out, "--recipe", recipe, "--resume")
	}
	trained(out, "lora", tinyModel).want(t, exitFailed, nil, []string{"model is there already: choose another directory"})
	trained(out, "probe", filepath.Join(out, "model")).want(t, exitFailed, nil, []string{"holds what is learnt from"})
	trained(other, "lora", tinyModel).want(t, exitDone, []string{"steps"}, []string{""})
	trained(other, "probe", tinyModel).want(t, exitFailed, nil, []string{"are of another run: choose another directory"})
	if _, err := converter.Load(filepath.Join(out, "model")); err != nil {
		t.Error(err)
	}
}

// TestFinetuneResume: a run that is interrupted, and one that is ended and gone on with, end in the same bytes.
func TestFinetuneResume(t *testing.T) {
	pictures := colours(t, 6)
	args := func(out string, more ...string) []string {
		return append([]string{
			"finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", "full", "--epochs", "4", "--batch", "3", "--accumulate", "2",
			"--augment-crop", "0.5", "--augment-colour", "0.1", "--rate", "0.01", "--val-every", "2", "--checkpoint-every", "3",
		}, more...)
	}
	straight, parts := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "out")
	vitago(args(straight)...).want(t, exitDone, []string{"steps"}, []string{""})

	vitago(args(parts, "--steps", "4")...).want(t, exitDone, []string{"steps"}, []string{""})
	vitago(args(parts)...).want(t, exitFailed, nil, []string{"model is there already: choose another directory"})
	vitago("finetune", "--model", filepath.Join(parts, "model"), "--data", pictures, "--out", parts, "--recipe", "lora", "--resume").
		want(t, exitFailed, nil, []string{"holds what is learnt from"})
	vitago(args(parts, "--resume", "--rate", "0.02")...).want(t, exitFailed, nil, []string{"is of another run: --rate: 0.01, now 0.02"})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // when it has begun to go on
		for ctx.Err() == nil {
			if strings.Count(readIfThere(filepath.Join(parts, "metrics.jsonl")), `"train"`) >= 6 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if r := vitagoContext(ctx, strings.NewReader(""), args(parts, "--resume")...); r.status == exitInterrupted {
		r.want(t, exitInterrupted, nil, []string{"resumed after step 4 of", "--resume goes on"})
	}
	cancel()
	vitago(args(parts, "--resume")...).want(t, exitDone, []string{"steps"}, []string{"resumed after step"})
	vitago(args(parts, "--resume", "--steps", "3")...).want(t, exitUsage, nil, []string{"--steps is 3, and the run in --out has made"})
	for _, name := range []string{"model.safetensors", "head.safetensors", "config.json"} {
		if read(t, straight, "model", name) != read(t, parts, "model", name) {
			t.Errorf("%s differs", name)
		}
	}
}

func readIfThere(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// TestFinetuneTargets: a projector learns vectors for patches, a tower those of another one.
func TestFinetuneTargets(t *testing.T) {
	pictures := colours(t, 3)
	m, err := converter.Load(tinyModel)
	if err != nil {
		t.Fatal(err)
	}
	write := func(shape ...int) string {
		n := 1
		for _, d := range shape {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i % 3)
		}
		path := filepath.Join(t.TempDir(), "targets.safetensors")
		if err := checkpoint.WriteTensors(path, nil, []checkpoint.Values{{Name: "targets", Shape: shape, Data: x}}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	finetune := func(out string, more ...string) ran {
		return vitago(append([]string{"finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--epochs", "2"}, more...)...)
	}
	out := filepath.Join(t.TempDir(), "out")
	finetune(out, "--recipe", "projector", "--targets", write(9, m.Config.Patches(), 6)).want(t, exitDone, []string{"steps"}, []string{"cosine"})
	saved, err := converter.Open(filepath.Join(out, "model"))
	if err != nil {
		t.Fatal(err)
	}
	defer saved.Close()
	p, err := saved.Projector(t.Context())
	if err != nil || p.Model.Config.Out != 6 {
		t.Errorf("projector %+v: %v", p, err)
	}
	out = filepath.Join(t.TempDir(), "out")
	finetune(out, "--recipe", "full", "--targets", write(9, m.Config.EmbedDim)).want(t, exitDone, []string{"steps"}, []string{"cosine"})
	out = filepath.Join(t.TempDir(), "out")
	finetune(out, "--recipe", "last-n", "--blocks", "1", "--teacher", tinyModel, "--distance", "mse").want(t, exitDone, []string{"cosine before  1.0000"}, []string{"cosine"})

	for _, c := range []struct{ targets, want string }{
		{write(8, 6), "want [9,…,width] for 9 pictures"},
		{write(9, 6), "vectors of 6 numbers, the embedding has"},
		{write(9, 2, 6), "2 vectors for each picture, want 1, or"},
		{filepath.Join(tinyModel, "model.safetensors"), "tensors, want 1"},
	} {
		finetune(filepath.Join(t.TempDir(), "out"), "--recipe", "projector", "--targets", c.targets).want(t, exitFailed, nil, []string{c.want})
	}
}

// TestFinetuneRefuses: what is wrong is said, and nothing is written.
func TestFinetuneRefuses(t *testing.T) {
	pictures := colours(t, 3)
	out := filepath.Join(t.TempDir(), "out")
	one := t.TempDir()
	os.CopyFS(filepath.Join(one, "red"), os.DirFS(filepath.Join(pictures, "red")))
	strange := t.TempDir()
	for _, name := range []string{"red", "yellow"} {
		os.CopyFS(filepath.Join(strange, name), os.DirFS(filepath.Join(pictures, "red")))
	}
	split := filepath.Join(t.TempDir(), "train")
	os.CopyFS(split, os.DirFS(pictures))
	all := []string{"finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", "probe"}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"finetune"}, exitUsage, "--model is missing"},
		{append(all, "--recipe", "everything"), exitUsage, "want probe, projector, lora"},
		{append(all, "--fix-vit"), exitUsage, "are of the recipe xcomposer"},
		{append(all, "--recipe", "projector"), exitUsage, "give --targets"},
		{append(all, "--teacher", "a", "--targets", "b"), exitUsage, "exclude each other"},
		{append(all, "--recipe", "full", "--solver", "lbfgs"), exitUsage, "--solver is of the recipe probe"},
		{append(all, "--solver", "lbfgs", "--augment-flip", "0.5"), exitUsage, "--solver adamw"},
		{append(all, "--out", filepath.Join(pictures, "tuned")), exitUsage, "where it would be taken for a class"},
		{append(all, "--cache", pictures), exitUsage, "where it would be taken for a class"},
		{append(all, "--data", filepath.Dir(split)), exitFailed, "its folders are parts of a data set, not classes: train on one of them, and validate on another: " + split},
		{append(all, "--solver", "adamw", "--patience", "3", "--split", "0"), exitUsage, "no data to validate on"},
		{append(all, "--wise-ft", "1.5"), exitUsage, "--wise-ft is 1.5"},
		{append(all, "--solver", "adamw", "--epochs", "-1"), exitUsage, "epochs is -1"},
		{append(all, "--solver", "adamw", "--batch", "0"), exitUsage, "batch is 0"},
		{append(all, "--data", t.TempDir()), exitFailed, "no folders of classes"},
		{append(all, "--data", filepath.Join(out, "nothing")), exitFailed, "no such file"},
		{append(all, "--data", one), exitFailed, "want at least 2 classes"},
		{append(all, "--epochs", "0"), exitUsage, "--epochs: epochs is 0, want 1 to"},
		{append(all, "--recipe", "lora", "--rate", "-1"), exitUsage, "--rate: rate is -1, want 0 to 1"},
		{append(all, "--recipe", "lora", "--rank", "0"), exitUsage, "--rank: rank is 0, want 1 to"},
		{append(all, "--recipe", "lora", "--alpha", "-2"), exitUsage, "--alpha: alpha is -2, want above 0"},
		{append(all, "--recipe", "last-n", "--blocks", "0"), exitUsage, "--blocks: the last 0 blocks learn, want at least 1"},
		{append(all, "--recipe", "lora", "--warmup", "NaN"), exitUsage, "--warmup: warm-up is NaN"},
		{append(all, "--split", "2"), exitUsage, "--split is 2, want 0 to below 1"},
		{append(all, "--recipe", "lora", "--steps", "1"), exitUsage, "--steps is 1, and nothing would be learnt: the rate rises from 0"},
		{append(all, "--recipe", "lora", "--rate", "0", "--head-rate", "0"), exitFailed, "nothing learns: all rates are 0"},
		{append(all, "--recipe", "lora", "--head-rate", "0"), exitUsage, "--head-rate is 0, and the head is a new one of zeros, through which no gradient comes"},
		{append(all, "--recipe", "lora", "--smoothing", "1"), exitUsage, "--smoothing: smoothing is 1, which makes all labels alike"},
		{append(all, "--recipe", "lora", "--log-every", "0"), exitUsage, "--log-every is 0, want at least 1"},
		{append(all, "--val", strange), exitFailed, `class is not among the 3 of the training data`},
		{append(all, "--solver", "adamw", "--memory", "0.00001"), exitFailed, "the limit is"},
		{append(all, "--solver", "adamw", "--augment-flip", "2"), exitUsage, "probability of a flip is 2"},
		{append(all, "--recipe", "lora", "--lora-targets", "q"), exitUsage, `target is "q"`},
	} {
		r := vitago(c.args...)
		r.want(t, c.status, nil, []string{c.want})
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%v: something was written", c.args)
		}
	}
	// Nothing that was asked for is passed over.
	for _, c := range []struct{ args, want string }{
		{"--recipe full --blocks 2", "--blocks is of the recipe last-n"},
		{"--recipe full --rank 2", "--rank is of the recipe lora"},
		{"--recipe full --distance mse", "--distance goes with --teacher or --targets"},
		{"--recipe full --layer -1", "--layer goes with --teacher or --targets"},
		{"--recipe full --projector linear", "--projector goes with --teacher or --targets"},
		{"--recipe full --teacher x --smoothing 0.1", "--smoothing is of classes"},
		{"--epochs 2", "--epochs goes with --solver adamw"},
		{"--tensorboard", "--tensorboard goes with --solver adamw"},
		{"--solver adamw --rate 1e-3", "--rate is of a tower that learns"},
		{"--solver adamw --wise-ft 0.5", "--wise-ft mixes weights of a tower that learns"},
		{"--recipe lora --cache x", "--cache keeps what a frozen tower gives"},
		{"--solver adamw --augment-flip 0.5 --cache x", "--cache keeps what a tower gives for a picture"},
		{"--recipe contrastive --head-rate 0.1", "--head-rate is of a head"},
		{"--recipe xcomposer --fix-sampler --teacher x --head-rate 0.1", "--head-rate contradicts --fix-sampler"},
		{"--recipe contrastive --lock texts --text-rate 0.1", "--text-rate contradicts --lock texts"},
	} {
		vitago(append(all, strings.Fields(c.args)...)...).want(t, exitUsage, nil, []string{c.want})
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%v: something was written", c.args)
		}
	}
	vitago(append(all, "--dry-run")...).want(t, exitDone, []string{"pictures  6 to train on, ", "classes   3, of ", "time      about "}, []string{"3 classes, 6 pictures; the tower is frozen"})
	vitago(append(all, "--solver", "adamw", "--dry-run")...).want(t, exitDone, []string{"steps ", "epochs ", "time      about ", " a batch of "}, []string{"Head ", "learns ", "in all "})
	if _, err := os.Stat(out); err == nil {
		t.Error("a dry run has written something")
	}

	// A broken picture is skipped and listed, or the end.
	os.WriteFile(filepath.Join(pictures, "red", "00.png"), []byte("no picture"), 0o666)
	vitago(append(all, "--solver", "adamw", "--strict", "--split", "0")...).want(t, exitFailed, nil, []string{"00.png"})
	os.RemoveAll(out)
	for _, resume := range []string{"--resume=false", "--resume"} { // with nothing left to do
		vitago(append(all, "--solver", "adamw", "--epochs", "1", "--split", "0", resume)...).want(t, exitDone, []string{"1 picture that cannot be read"}, []string{""})
	}
	if page := read(t, out, "report.md"); !strings.Contains(page, "00.png") {
		t.Errorf("report:\n%s", page)
	}
}

// TestFinetuneFields: every field of a request has a flag, and every flag is of a field or says how a run is shown.
func TestFinetuneFields(t *testing.T) {
	fields := map[string]bool{}
	var walk func(r reflect.Type, prefix string)
	walk = func(r reflect.Type, prefix string) {
		for _, f := range reflect.VisibleFields(r) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-":
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type, prefix+name+".")
			default:
				fields[flagOf(prefix+name)] = true
			}
		}
	}
	walk(reflect.TypeFor[job.Request](), "")
	flags := newFinetune().Flags()
	for name := range fields {
		if flags.Lookup(name) == nil {
			t.Errorf("there is no flag --%s", name)
		}
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if !fields[f.Name] && !slices.Contains([]string{"model", "dry-run", "json", "log-every"}, f.Name) {
			t.Errorf("--%s is of no field", f.Name)
		}
	})
}

// TestFinetuneIdle: what only the command has is refused where it does nothing, too.
func TestFinetuneIdle(t *testing.T) {
	args := []string{"finetune", "--model", tinyModel, "--data", "pictures", "--out", filepath.Join(t.TempDir(), "out"), "--recipe", "probe"}
	vitago(append(args, "--log-every", "3")...).want(t, exitUsage, nil, []string{"--log-every goes with --solver adamw: L-BFGS goes to the optimum, and has no steps to tell of"})
	for _, gb := range []string{"NaN", "Inf", "-1e300"} {
		vitago(append(args, "--memory", gb)...).want(t, exitUsage, nil, []string{"want GB from -1e+09 to 1e+09"})
	}
}
