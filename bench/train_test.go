package main

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
)

// What a step computes, by hand, in GFLOP: 577 tokens, 1024 columns, 24 blocks.
func TestTrainingFlops(t *testing.T) {
	c := clipvit.ViTL14336
	const (
		weights     = 2 * 577 * 12 * 1024 * 1024 / 1e9           // of a block
		attention   = 2 * 2 * 577 * 577 * 1024 / 1e9             // of a block
		corrections = 2 * 577 * 16 * (4*2*1024 + 2*5*1024) / 1e9 // of a block
		patch       = 2 * 576 * 588 * 1024 / 1e9
		projection  = 2 * 1024 * 768 / 1e9
	)
	for name, want := range map[string]float64{
		"full":      24*3*(weights+attention) + 2*patch + 3*projection,
		"lora":      24*(2*weights+3*attention+3*corrections) - 2*577*1024*3*(1024+16)/1e9 + patch + 2*projection,
		"projector": 2 * 576 * (2*1024*4096 + 3*4096*4096) / 1e9,
	} {
		i := slices.IndexFunc(trainingCases, func(c trainingCase) bool { return c.name == name })
		one, four := trainingCases[i].flops(c, 1)/1e9, trainingCases[i].flops(c, 4)/1e9
		if math.Abs(one-want) > 1e-6*want || math.Abs(four-4*want) > 1e-6*4*want {
			t.Errorf("%s: %v GFLOP, of 4 images %v, want %v and %v", name, one, four, want, 4*want)
		}
	}
}

// Our contenders make steps of every case, in processes of their own, and without Python the report says that it
// is missing. Each case learns, and computing again changes nothing.
func TestTrain(t *testing.T) {
	o := options{
		config: configs["tiny"], dir: t.TempDir(), python: filepath.Join(t.TempDir(), "no-python"),
		rounds: 1, threads: []int{1}, batches: []int{2}, cases: []string{"full", "lora", "projector"},
	}
	if err := writeModel(o.dir, o.config); err != nil {
		t.Fatal(err)
	}
	text, got, err := train(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	steps := got.(*fineTuning).Steps
	for i, want := range []struct{ name, contender string }{
		// The heats, each contender warming up and then measured.
		{"full", "vitago"}, {"full", "vitago"}, {"full", "vitago"}, {"full", "vitago"},
		{"full", "vitago"}, {"full", "vitago, recomputing"}, {"full", "vitago"}, {"full", "vitago, recomputing"},
		{"full", "vitago"}, {"full", "vitago"},
		{"lora", "vitago"}, {"lora", "vitago, recomputing"}, {"lora", "vitago"}, {"lora", "vitago, recomputing"},
		{"lora", "vitago"}, {"lora", "vitago"},
		{"projector", "vitago"}, {"projector", "vitago"},
	} {
		if i >= len(steps) {
			t.Fatalf("%d steps were measured, want more", len(steps))
		}
		s := steps[i]
		if s.Case != want.name || s.Contender != want.contender {
			t.Fatalf("step %d is %s by %s, want %s by %s", i, s.Case, s.Contender, want.name, want.contender)
		}
		var sum float64
		for part, v := range s.Parts {
			sum += v
			if v <= 0 {
				t.Errorf("step %d: part %d took %v s", i, part, v)
			}
		}
		if s.Seconds <= 0 || sum > s.Seconds {
			t.Errorf("step %d took %v s, its parts %v", i, s.Seconds, s.Parts)
		}
		if s.Norm <= 0 || s.Peaks == nil {
			t.Errorf("step %d is %+v", i, s)
		}
		// The step after the first of the same contender and heat.
		if j := slices.IndexFunc(steps, func(f trainingStep) bool {
			return f.Case == s.Case && f.Heat == s.Heat && f.Contender == s.Contender && f.Round == 0
		}); s.Round == 1 && !(s.Loss < steps[j].Loss) {
			t.Errorf("%s, %s: the loss goes from %v to %v", s.Case, s.Contender, steps[j].Loss, s.Loss)
		}
	}
	for _, want := range []string{
		"Not measured: full, PyTorch, eager (no Python at ", "### lora: LoRA of rank 16", "| vitago, recomputing |", "1 thread, 2 images a step, ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// racing is a race whose table is known: 1 GFLOP a step and a peak of 10 GFLOP/s. The first step does not count.
func racing() *fineTuning {
	f := &fineTuning{Machine: machine{Kernels: []string{"k"}}}
	for round, seconds := range [][2]float64{{9, 99}, {0.2, 0.3}, {0.4, 0.6}, {0.3, 0.9}} {
		for i, name := range []string{"vitago", "PyTorch, eager"} {
			f.Steps = append(f.Steps, trainingStep{
				Case: "full", Contender: name, Round: round, Seconds: seconds[i], Peaks: map[string]float64{"k": 10e9}, Memory: 2e9,
				stepResult: stepResult{Loss: 5 - float64(round) + 0.01*float64(round*(1-i)), Norm: 2 + 0.001*float64(1-i), Parts: [3]float64{0.01, 0.02, seconds[i] - 0.03}},
			})
		}
	}
	return f
}

func TestRaceTable(t *testing.T) {
	f := racing()
	got := f.raceTable(f.Steps, 1e9)
	for _, want := range []string{
		"| vitago | 300 | 200 | 10.00 | 20.00 | 270 | 0.33 | 1.00 | 5.0000 | 0.0e+00 | 1.5e-02 | 5.0e-04 | 2.00 |",
		"| PyTorch, eager | 600 | 300 | 10.00 | 20.00 | 570 | 0.17 | 2.00 | 5.0000 | 0.0e+00 | 0.0e+00 | 0.0e+00 | 2.00 |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// A contender whose first step is not the reference's makes the command fail.
func TestOtherWork(t *testing.T) {
	if err := racing().wrong(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(s *trainingStep){
		"loss": func(s *trainingStep) { s.Loss *= 1.002 },
		"norm": func(s *trainingStep) { s.Norm *= 0.998 },
		"NaN":  func(s *trainingStep) { s.Loss = math.NaN() },
	} {
		f := racing()
		spoil(&f.Steps[0])
		if err := f.wrong(); err == nil || !strings.HasPrefix(err.Error(), "full, vitago: the first step has loss ") {
			t.Errorf("another %s: %v", name, err)
		}
	}
}
