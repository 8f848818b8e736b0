package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/internal/golden"
)

// TestFinetuneProlong: by every recipe a run that has ended goes on to more epochs, to the same bytes whether it is ended on
// the way where it is validated anyway or not, and one that is resumed without a number is as long as it was to be.
func TestFinetuneProlong(t *testing.T) {
	pictures := colours(t, 4)
	table, _ := captioned(t, 4)
	llava, model := golden.Path(t, "testdata/families/llava"), withVocabulary(t, fewWords)
	for _, c := range []struct{ name, line string }{
		{"probe", "--model " + tinyModel + " --data " + pictures + " --recipe probe --solver adamw --head-rate 0.01"},
		{"projector", "--model " + llava + " --data " + pictures + " --recipe projector --teacher " + llava + " --init-projector --head-rate 0.01"},
		{"lora", "--model " + tinyModel + " --data " + pictures + " --recipe lora --rank 2 --rate 0.01 --accumulate 1"},
		{"last-n", "--model " + tinyModel + " --data " + pictures + " --recipe last-n --blocks 1 --rate 0.01 --accumulate 1"},
		{"full", "--model " + tinyModel + " --data " + pictures + " --recipe full --rate 0.01 --accumulate 1"},
		{"xcomposer", "--model " + llava + " --data " + pictures + " --recipe xcomposer --teacher " + llava + " --init-projector --rate 0.01 --accumulate 1"},
		{"contrastive", "--model " + model + " --data " + table + " --recipe contrastive --rate 0.01 --accumulate 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := func(out string, more ...string) ran {
				return vitago(append(strings.Fields("finetune --out "+out+" "+c.line+" --split 0.25 --batch 3 --val-every 2"), more...)...)
			}
			straight, parts := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "out")
			for _, out := range []string{straight, parts} {
				run(out, "--epochs", "2").want(t, exitDone, []string{"steps"}, []string{""})
			}
			run(straight, "--epochs", "4", "--resume").want(t, exitDone, []string{"steps"}, []string{"resumed after step"})
			if c.name == "lora" {
				if page := read(t, straight, "report.md"); !strings.Contains(page, "| length | 2 epochs, 4 from step 6 on |") {
					t.Errorf("the report does not tell of the length: %s", page)
				}
			}
			was := inode(t, filepath.Join(parts, "model"))
			run(parts, "--epochs", "4", "--resume", "--steps", "8").want(t, exitDone, []string{"steps"}, []string{""}) // and ended on the way
			if os.SameFile(was, inode(t, filepath.Join(parts, "model"))) {
				t.Error("the model is not another folder")
			}
			run(parts, "--resume").want(t, exitDone, []string{"steps"}, []string{"resumed after step 8 of 12"})
			for _, name := range []string{"model", "head.safetensors", "projector.safetensors", "adapter"} {
				path, file := "model", name
				if name == "model" || name == "adapter" {
					path, file = name, map[string]string{"model": "model.safetensors", "adapter": "adapter_model.safetensors"}[name]
				}
				if got, want := readIfThere(filepath.Join(parts, path, file)), readIfThere(filepath.Join(straight, path, file)); got != want {
					t.Errorf("%s differs", name)
				}
			}
			run(parts, "--resume", "--epochs", "1").want(t, exitUsage, nil, []string{"--epochs is 1, with 3 steps, and the run in --out has made 12; --steps 12 ends it there"})
			run(parts, "--resume", "--steps", "13").want(t, exitUsage, nil, []string{"--steps is 13, and the --epochs are 4, with 12 steps: want at most that, or more epochs"})
		})
	}
	out := filepath.Join(t.TempDir(), "out")
	probe := []string{"finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", "probe"}
	vitago(probe...).want(t, exitDone, []string{"model"}, []string{""})
	vitago(append(probe, "--resume", "--epochs", "9")...).want(t, exitUsage, nil, []string{"--epochs goes with --solver adamw: L-BFGS goes to the optimum, and has no steps to tell of"})
}

func inode(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestFinetuneProlongKilled: a run that is made longer and killed again and again comes to the same bytes, and the model of before is
// whole until the new one is.
func TestFinetuneProlongKilled(t *testing.T) {
	pictures := colours(t, 6)
	straight, killed := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "out")
	for _, out := range []string{straight, killed} {
		vitago(append(lasting(pictures, out), "--epochs", "2")...).want(t, exitDone, []string{"steps"}, []string{""})
	}
	before := read(t, killed, "model", "model.safetensors")
	vitago(lasting(pictures, straight)...).want(t, exitDone, []string{"steps"}, []string{"resumed after step 16 of 80"})
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2)) // other moments every time
	for range 6 {
		cmd, errw := program(t, lasting(pictures, killed)...)
		time.Sleep(time.Duration(60+rng.IntN(200)) * time.Millisecond)
		cmd.Process.Kill()
		if err := cmd.Wait(); err == nil {
			break // it was done
		} else if cmd.ProcessState.Exited() && runtime.GOOS != "windows" {
			t.Fatalf("it ended by itself: %v\n%s", err, errw)
		}
		if now := readIfThere(filepath.Join(killed, "model", "model.safetensors")); now != before && len(unfinished(t, killed)) == 0 && now != read(t, straight, "model", "model.safetensors") {
			t.Error("the model is neither that of before nor the new one")
		}
	}
	vitago(lasting(pictures, killed)...).want(t, exitDone, []string{"steps"}, []string{""})
	for _, name := range []string{"model.safetensors", "head.safetensors", "classes.json"} {
		if read(t, straight, "model", name) != read(t, killed, "model", name) {
			t.Errorf("%s differs", name)
		}
	}
	if got, want := steps(t, killed), steps(t, straight); !slices.Equal(got, want) {
		t.Errorf("%d events, want %d; or others", len(got), len(want))
	}
}
