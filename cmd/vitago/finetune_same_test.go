package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/clip"
)

// TestFinetuneSame: a recipe is the same algorithm in the command and in the task, byte for byte.
func TestFinetuneSame(t *testing.T) {
	pictures := colours(t, 4)
	task, err := clip.LoadFineTuning(tinyModel)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		recipe string
		flags  []string
		o      job.Overrides
	}{
		{"probe", nil, job.Overrides{}}, // by L-BFGS
		{"lora", []string{"--epochs", "2"}, job.Overrides{Epochs: new(2)}},
		{"last-n", []string{"--epochs", "2", "--blocks", "1"}, job.Overrides{Epochs: new(2), Blocks: new(1)}},
		{"full", []string{"--epochs", "2"}, job.Overrides{Epochs: new(2)}},
	} {
		t.Run(c.recipe, func(t *testing.T) {
			byCommand, byTask := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "out")
			vitago(append([]string{
				"finetune", "--model", tinyModel, "--data", pictures, "--out", byCommand, "--recipe", c.recipe, "--split", "0.25", "--seed", "7",
			}, c.flags...)...).want(t, exitDone, []string{"best accuracy"}, []string{""})
			r, err := task.FineTune(t.Context(), finetuning.Request{Data: pictures, Recipe: c.recipe, Split: 0.25, Seed: 7, Overrides: c.o, Output: byTask}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"head.safetensors", "classes.json", "model.safetensors", "config.json"} {
				if read(t, r.Model, name) != read(t, byCommand, "model", name) {
					t.Errorf("%s differs", name)
				}
			}
		})
	}
}

// TestFinetuneHead: a head that a model has already is begun with where it has the same classes, or named as dropped.
func TestFinetuneHead(t *testing.T) {
	pictures, more := colours(t, 4), colours(t, 4)
	first := filepath.Join(t.TempDir(), "out")
	vitago("finetune", "--model", tinyModel, "--data", pictures, "--out", first, "--recipe", "probe").want(t, exitDone, []string{"best accuracy"}, []string{""})
	model := filepath.Join(first, "model")
	run := func(more ...string) ran {
		return vitago(append([]string{"finetune", "--model", model, "--out", filepath.Join(t.TempDir(), "out")}, more...)...)
	}
	run("--data", pictures, "--recipe", "lora", "--epochs", "1").want(t, exitDone, []string{"accuracy before  1.0000"},
		[]string{"note: begins with the head in " + model + ", of the same 3 classes"})
	run("--data", pictures, "--recipe", "probe").want(t, exitDone, []string{""}, []string{"is fitted anew: L-BFGS comes to the same from anywhere"})
	run("--data", pictures, "--recipe", "full", "--epochs", "1", "--teacher", tinyModel, "--rate", "1e-3").want(t, exitDone, []string{""}, []string{"of 3 classes, is dropped: it is no classes that are learnt"})
	run("--data", pictures, "--recipe", "lora", "--epochs", "1", "--init-head").want(t, exitDone, []string{"accuracy before  0.3333"}, []string{""})
	run("--data", pictures, "--recipe", "probe", "--init-head").want(t, exitUsage, nil, []string{"--init-head goes with --solver adamw: L-BFGS comes to the same from any head"})
	rename(t, filepath.Join(more, "red"), filepath.Join(more, "pink"))
	run("--data", more, "--recipe", "lora", "--epochs", "1").want(t, exitDone, []string{"accuracy before"},
		[]string{"begins with the head in " + model + ` where the classes are the same, 2 of 3; with zeros for ["pink"]; without its ["red"]`})
	for _, name := range []string{"blue", "green"} {
		rename(t, filepath.Join(more, name), filepath.Join(more, "other "+name))
	}
	run("--data", more, "--recipe", "lora", "--epochs", "1").want(t, exitDone, []string{""}, []string{`is dropped: it has ["blue" "green" "red"], the data have ["other blue" "other green" "pink"]`})
	run("--data", more, "--recipe", "lora", "--epochs", "1", "--init-head").want(t, exitUsage, nil, []string{"--init-head begins with a new head, and so does the run without it"})
	vitago("finetune", "--model", tinyModel, "--data", pictures, "--out", filepath.Join(t.TempDir(), "out"), "--recipe", "lora", "--init-head").
		want(t, exitUsage, nil, []string{"--init-head begins with a new head, and " + tinyModel + " has none with which the run would begin"})
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
