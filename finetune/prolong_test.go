package finetune

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
)

// lengthConfig is a run of so many epochs of 3 steps.
func lengthConfig(t *testing.T, dir string, part Part, epochs int) Config {
	c, _ := goldenConfig(t, 2)
	c.Recipe.Tower, c.Recipe.Blocks, c.Recipe.LoRA = part, 1, adapter.LoRA{Rank: 2, Alpha: 2, Targets: []string{"q_proj", "fc1"}}
	c.Recipe.Epochs, c.MaxSteps = epochs, 0
	c.Dir, c.Resume, c.CheckpointEvery = dir, true, 4
	_, c.Validation, _ = task(t, 5)
	return c
}

// TestProlong: a run that has ended goes on to more epochs, at the rates of the new length, and to the same bits however often it
// is interrupted, by every recipe.
func TestProlong(t *testing.T) {
	errStop := errors.New("stop")
	for _, part := range []Part{None, LowRank, Last, Complete} {
		t.Run(string(part), func(t *testing.T) {
			dir, other := t.TempDir(), t.TempDir()
			_, ended := run(t, lengthConfig(t, dir, part, 4))
			run(t, lengthConfig(t, other, part, 4))
			straight, want := run(t, lengthConfig(t, dir, part, 7))
			if got := straight.Lengths(); !reflect.DeepEqual(got, []history.Length{{Epochs: 4}, {From: ended.Steps, Epochs: 7}}) {
				t.Errorf("lengths %v", got)
			}
			per := ended.Steps / 4
			if want.Steps != 7*per {
				t.Errorf("%d steps, want %d", want.Steps, 7*per)
			}
			r := straight.Recipe
			for _, e := range want.History {
				if e.Kind != history.TrainEvent {
					continue
				}
				total := 4 * per
				if e.Step > ended.Steps {
					total = 7 * per
				}
				if f := r.Schedule.of(int(math.Ceil(r.Warmup*float64(total))), total)(e.Step - 1); e.Factor != f {
					t.Errorf("step %d: factor %v, want %v", e.Step, e.Factor, f)
				}
			}
			for runs := 1; ; runs++ {
				c := lengthConfig(t, other, part, 7)
				ctx, cancel := context.WithCancelCause(context.Background())
				batches, limit := 0, 13
				if runs == 1 {
					limit = 1 // before the first step that is new
				}
				for _, s := range []Source{c.Train, c.Validation} {
					s.(*memorySource).yielded = func(*data.Batch) {
						if batches++; batches == limit {
							cancel(errStop)
						}
					}
				}
				tr, err := New(c)
				if err != nil {
					t.Fatal(err)
				}
				r, err := tr.Run(ctx)
				cancel(nil)
				if errors.Is(err, errStop) {
					last, _ := LastCheckpoint(other)
					if at, err := ReadReached(last); err != nil || at.Epochs != 7 || at.Step < ended.Steps {
						t.Errorf("reached %+v, %v", at, err)
					}
					continue
				}
				if err != nil || runs < 3 {
					t.Fatalf("%d runs, %v", runs, err)
				}
				sameBits(t, "prolonged", weightsOf(tr), weightsOf(straight))
				if got, want := curve(r.History), curve(want.History); !reflect.DeepEqual(got, want) {
					t.Errorf("history %v\nwant %v", got, want)
				}
				break
			}
		})
	}
}

// TestProlongKilled: where a prolonged run ends without a word, the journal and the checkpoints are enough to go on.
func TestProlongKilled(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		run(t, lengthConfig(t, d, Last, 3))
	}
	straight, want := run(t, lengthConfig(t, dir, Last, 6))
	killed := errors.New("killed")
	c := lengthConfig(t, other, Last, 6)
	c.Sinks = []history.Sink{history.SinkFunc(func(e history.Event) error {
		if e.Step == want.Steps-2 {
			return killed
		}
		return nil
	})}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Run(t.Context()); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	tr, r := run(t, lengthConfig(t, other, Last, 6))
	sameBits(t, "killed", weightsOf(tr), weightsOf(straight))
	if !reflect.DeepEqual(curve(r.History), curve(want.History)) {
		t.Error("another history")
	}
}

// TestShorten: a stopped run ends where it is asked to, and not before the steps that it has made.
func TestShorten(t *testing.T) {
	dir := t.TempDir()
	c := lengthConfig(t, dir, Last, 6)
	ctx, cancel := context.WithCancel(t.Context())
	c.Sinks = []history.Sink{history.SinkFunc(func(e history.Event) error {
		if e.Kind == history.TrainEvent && e.Step == 5 {
			cancel()
		}
		return nil
	})}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	made := tr.Step()
	short := (*history.LengthError)(nil)
	if _, err := New(lengthConfig(t, dir, Last, 1)); !errors.As(err, &short) || short.Made != made || short.Epochs != 1 || strings.Contains(err.Error(), "begins again") {
		t.Errorf("error is %v, want that %d steps are made", err, made)
	}
	c = lengthConfig(t, dir, Last, 6)
	c.MaxSteps = made
	tr, r := run(t, c)
	if r.Steps != made || tr.state.Validated != made || len(tr.Lengths()) != 1 {
		t.Errorf("%d steps, validated %d, lengths %v, want an end at %d", r.Steps, tr.state.Validated, tr.Lengths(), made)
	}
	if tr, r = run(t, lengthConfig(t, dir, Last, 4)); r.Steps != 4*tr.stepsPerEpoch() || !reflect.DeepEqual(tr.Lengths(), []history.Length{{Epochs: 6}, {From: made, Epochs: 4}}) {
		t.Errorf("%d steps, lengths %v", r.Steps, tr.Lengths())
	}
}

// TestProlongPatience: a run that ended for its patience goes on if it is made longer, with patience anew.
func TestProlongPatience(t *testing.T) {
	config := func(dir string, epochs int) Config {
		c, _ := goldenConfig(t, 4)
		_, c.Validation, _ = task(t, 4)
		c.Recipe.Rate, c.Recipe.HeadRate, c.Recipe.EMA, c.Recipe.Schedule = 0.3, 0.3, 0, Constant // far too high
		c.Dir, c.ValidateEvery, c.Patience, c.Resume, c.Recipe.Epochs, c.MaxSteps = dir, 1, 4, true, epochs, 0
		return c
	}
	dir := t.TempDir()
	_, first := run(t, config(dir, 9))
	if _, again := run(t, config(dir, 9)); again.Steps != first.Steps || first.Stopped == "" {
		t.Fatalf("%d and %d steps: %s", first.Steps, again.Steps, first.Stopped)
	}
	if _, r := run(t, config(dir, 12)); r.Steps < first.Steps+4 {
		t.Errorf("prolonged after %d steps it has %d, want 4 more at least", first.Steps, r.Steps)
	}
}

// FuzzState: whatever a state says is read or refused.
func FuzzState(f *testing.F) {
	for _, s := range []string{
		`{"version":1,"identity":{"recipe":{"Name":"lora","Epochs":7}},"state":{"step":12,"lengths":[{"from":0,"epochs":4},{"from":12,"epochs":7}]}}`,
		`{"version":1,"state":{"step":3,"lengths":[{"from":5,"epochs":0}]}}`, `{"version":1,"state":{"step":-3}}`, `{"version":2}`, `{`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, stateFile), text, 0o666); err != nil {
			t.Fatal(err)
		}
		s, err := readState(dir)
		if err != nil {
			return
		}
		if err := s.State.check("", s.Identity.Recipe.Epochs); err != nil {
			t.Error(err)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
	})
}
