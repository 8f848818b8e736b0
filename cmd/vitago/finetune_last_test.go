package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/history"
)

// asProgram is set where the binary of the tests is to be the program.
const asProgram = "VITAGO_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program returns the command vitago as a process of its own.
func program(t *testing.T, args ...string) (cmd *exec.Cmd, errw *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd, errw = exec.Command(self, args...), &bytes.Buffer{}
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = errw
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, errw
}

// lasting returns the arguments of a run of many steps and checkpoints.
func lasting(pictures, out string) []string {
	return []string{
		"finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", "full", "--epochs", "10", "--batch", "2", "--accumulate", "1",
		"--augment-crop", "0.5", "--rate", "0.003", "--ema", "0.9", "--val-every", "2", "--checkpoint-every", "1", "--tensorboard", "--resume",
	}
}

// unfinished returns what in a directory is still in the making.
func unfinished(t *testing.T, dir string) []string {
	return slices.DeleteFunc(files(t, dir), func(name string) bool { return !strings.Contains(name, ".partial-") })
}

// steps returns the events of a run, without those of the clock.
func steps(t *testing.T, out string) (all []history.Event) {
	t.Helper()
	for line := range strings.Lines(read(t, out, "metrics.jsonl")) {
		var e history.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Rate <= 0 || e.Seconds < 0 {
			t.Errorf("%+v: want a rate and a time", e)
		}
		e.Seconds, e.Rate = 0, 0
		all = append(all, e)
	}
	return all
}

// TestFinetuneKilled: a run that is killed again and again, wherever it is, comes to the same bytes and the
// same events, each of them once.
func TestFinetuneKilled(t *testing.T) {
	pictures := colours(t, 6)
	straight, killed := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "out")
	vitago(lasting(pictures, straight)...).want(t, exitDone, []string{"steps"}, []string{""})
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1)) // other moments every time
	had, left := 0, 0
	for range 12 {
		cmd, errw := program(t, lasting(pictures, killed)...)
		time.Sleep(time.Duration(30+rng.IntN(150)) * time.Millisecond)
		cmd.Process.Kill()
		if err := cmd.Wait(); err == nil {
			break // it was done
		} else if cmd.ProcessState.Exited() && runtime.GOOS != "windows" {
			t.Fatalf("it ended by itself: %v\n%s", err, errw)
		}
		if _, err := os.Stat(killed); err == nil {
			had++
			left += len(unfinished(t, killed))
		}
	}
	t.Logf("killed %d times, %d things were in the making", had, left)
	if had < 2 {
		t.Error("it was hardly killed")
	}
	vitago(lasting(pictures, killed)...).want(t, exitDone, []string{"steps"}, []string{""})
	for _, name := range []string{"model.safetensors", "head.safetensors", "classes.json", "config.json"} {
		if read(t, straight, "model", name) != read(t, killed, "model", name) {
			t.Errorf("%s differs", name)
		}
	}
	if got, want := steps(t, killed), steps(t, straight); !slices.Equal(got, want) {
		t.Errorf("%d events, want %d; or others", len(got), len(want))
	}
	if names, _ := filepath.Glob(filepath.Join(killed, "tensorboard", "*")); len(names) != 1 {
		t.Errorf("event files %v, want 1", names)
	}
	if left := unfinished(t, killed); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// stoppedLines is what a run says that was stopped after its first step.
var stoppedLines = regexp.MustCompile(`stopped after step (\d+) of \d+; --resume goes on; --resume --steps (\d+) ends it here with a model\nvitago: interrupted\n`)

// TestFinetuneSignals: signals end a run with a checkpoint of its last step.
func TestFinetuneSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals can be sent here")
	}
	pictures := colours(t, 6)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(s) { // the tests run under nohup, and so does the program
			continue
		}
		out := filepath.Join(t.TempDir(), "out")
		cmd, errw := program(t, append(lasting(pictures, out), "--epochs", "1000", "--checkpoint-every", "100000")...)
		for start := time.Now(); strings.Count(readIfThere(filepath.Join(out, "metrics.jsonl")), `"train"`) < 3; time.Sleep(time.Millisecond) {
			if time.Since(start) > 30*time.Second {
				cmd.Process.Kill()
				t.Fatalf("it does not train: %v\n%s", cmd.Wait(), errw)
			}
		}
		cmd.Process.Signal(s)
		err := cmd.Wait()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted || !stoppedLines.MatchString(errw.String()) {
			t.Errorf("%v: %v, want status %d\n%s", s, err, exitInterrupted, errw)
		}
		if m := stoppedLines.FindStringSubmatch(errw.String()); m != nil && m[1] == m[2] { // and so it does
			defer func() {
				vitago(append(lasting(pictures, out), "--epochs", "1000", "--checkpoint-every", "100000", "--resume", "--steps", m[2])...).
					want(t, exitDone, []string{"steps            " + m[1], filepath.Join(out, "model")}, []string{"resumed after step " + m[1]})
			}()
		}
		events := steps(t, out)
		last := events[len(events)-1].Step
		if names, _ := filepath.Glob(filepath.Join(out, "checkpoint-*")); len(names) != 1 || !strings.HasSuffix(names[0], fmt.Sprintf("-%08d", last)) {
			t.Errorf("%v: checkpoints %v, want one of step %d", s, names, last)
		}
		if left := unfinished(t, out); len(left) > 0 {
			t.Errorf("%v: left: %v", s, left)
		}
	}
}

// accuracy returns the share of pictures whose class a tuned model's head says.
func accuracy(t *testing.T, model, pictures string) float64 {
	t.Helper()
	r := vitago("classify", "--model", model, "--json", pictures)
	r.want(t, exitDone, []string{"label"}, nil)
	right, all := 0.0, 0.0
	for line := range strings.Lines(r.out) {
		var got struct {
			Image  string
			Labels []clip.Label
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		all++
		if got.Labels[0].Name == filepath.Base(filepath.Dir(got.Image)) {
			right++
		}
	}
	return right / all
}

// TestFinetuneWise: --wise-ft is between the weights that were and those that were learnt, also of a run that
// has ended already.
func TestFinetuneWise(t *testing.T) {
	pictures, others, out := colours(t, 4), colours(t, 9), filepath.Join(t.TempDir(), "out")
	weights := func(dir string) map[string][]float32 {
		t.Helper()
		c, err := checkpoint.Open(filepath.Join(dir, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all := map[string][]float32{}
		for _, x := range c.Tensors() {
			if strings.HasPrefix(x.Name, "vision_model.encoder") {
				all[x.Name] = make([]float32, x.Len())
				if err := x.Float32s(all[x.Name]); err != nil {
					t.Fatal(err)
				}
			}
		}
		return all
	}
	original := weights(tinyModel)
	byShare := map[string]map[string][]float32{}
	for _, share := range []string{"1", "0.25", "0"} {
		r := vitago("finetune", "--model", tinyModel, "--data", pictures, "--val", others, "--out", out, "--recipe", "full", "--epochs", "2", "--accumulate", "1", "--rate", "0.01", "--ema", "0", "--resume", "--wise-ft", share)
		r.want(t, exitDone, []string{"steps"}, []string{""})
		if share == "1" {
			if strings.Contains(r.out, "mixed") {
				t.Errorf("nothing is mixed:\n%s", r.out)
			}
		} else if want := fmt.Sprintf("mixed accuracy   %.4f\n", accuracy(t, filepath.Join(out, "model"), others)); !strings.Contains(r.out, want) {
			t.Errorf("share %s: got\n%swant %s", share, r.out, want)
		}
		byShare[share] = weights(filepath.Join(out, "model"))
		if page := read(t, out, "report.md"); strings.Contains(page, "WiSE-FT") != (share != "1") {
			t.Errorf("report:\n%s", page)
		}
	}
	moved := 0
	for name, was := range original {
		for i, v := range was {
			tuned := byShare["1"][name][i]
			if tuned != v {
				moved++
			}
			if got, want := byShare["0.25"][name][i], 0.75*float64(v)+0.25*float64(tuned); math.Abs(float64(got)-want) > 1e-6 {
				t.Fatalf("%s[%d] is %v, want %v", name, i, got, want)
			}
			if byShare["0"][name][i] != v {
				t.Fatalf("%s[%d] is %v, want %v", name, i, byShare["0"][name][i], v)
			}
		}
	}
	if moved < 1000 {
		t.Errorf("%d weights were tuned: nothing is tested", moved)
	}
}

// TestTrainingBar: a bar on a terminal, with lines above it.
func TestTrainingBar(t *testing.T) {
	var b bytes.Buffer
	p := &progress{w: &b, label: "training", unit: count, width: 110, stopped: make(chan struct{})}
	s := barSink(p, "accuracy")
	p.skipped.Store(10) // resumed
	event := history.Event{Kind: history.TrainEvent, Step: 20, Steps: 40, Loss: 0.5, Score: 0.75, Factor: 1, Rate: 12.3}
	if err := s.Write(event); err != nil || b.Len() > 0 {
		t.Errorf("a step writes %q: %v", b.String(), err)
	}
	const bar = "training  [======      ]   50%  20 of 40  11s left  loss 0.5000  accuracy 0.750  rate 100%  12.3 images/s"
	p.show(5 * time.Second)
	if got := b.String(); got != "\r"+bar {
		t.Errorf("got %q, want %q", got, bar)
	}
	b.Reset()
	if err := s.Write(history.Event{Kind: history.ValidationEvent, Step: 20, Steps: 40, Loss: 1, Score: 0.5, Best: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "\r"+strings.Repeat(" ", len(bar))+"\rstep 20/40  validation loss  1.00000  accuracy 0.5000  best\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	b.Reset()
	event.Step = 40
	if err := s.Write(event); err != nil || !strings.HasPrefix(b.String(), "step 40/40  train") {
		t.Errorf("the last step is %q: %v", b.String(), err)
	}
}
