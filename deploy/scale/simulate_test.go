package main

import (
	"math"
	"reflect"
	"slices"
	"testing"
)

func same(n int, seconds float64) []float64 { return slices.Repeat([]float64{seconds}, n) }

// Without faults the simulation is the formula, however shards are handed out.
func TestSimulationIsFormula(t *testing.T) {
	p := parameters(t)
	for _, j := range []Job{
		{Images: 1e6, Model: "ViT-B/32", Precision: "float32", Pods: 7, Cores: 2},
		{Images: 1_234_567, Model: "ViT-L/14", Precision: "int8", Pods: 124, Cores: 4}, // the last shard is not full, and alone in its round
		{Images: 1_240_001, Model: "ViT-L/14", Precision: "int8", Pods: 124, Cores: 4}, // a shard of one image
		{Images: 55_000, Model: "ViT-B/32", Precision: "int8", Pods: 100, Cores: 1},    // more pods than shards
	} {
		plan, err := p.MakePlan(j)
		if err != nil {
			t.Fatal(err)
		}
		_, rate, _ := p.model(j.Model, j.Precision)
		for _, assigned := range []bool{true, false} {
			s := Simulation{Shards: p.shards(plan.Job, rate.Value.Value), Pods: j.Pods, Assigned: assigned, Start: p.Data.Start.Value, Lease: 60}
			o := s.Run(1)
			if math.Abs(o.End/hour-plan.Hours) > 1e-9*plan.Hours {
				t.Errorf("%+v, assigned %v: simulated %v hours, formula %v", j, assigned, o.End/hour, plan.Hours)
			}
			if hours := o.Busy / hour * float64(j.Cores); math.Abs(hours-plan.CoreHours) > 1e-9*plan.CoreHours {
				t.Errorf("%+v, assigned %v: simulated %v core-hours, formula %v", j, assigned, hours, plan.CoreHours)
			}
			if o.Repeated != 0 || o.Kills != 0 || o.Twice != 0 || o.Done != len(s.Shards) {
				t.Errorf("%+v, assigned %v: %+v", j, assigned, o)
			}
		}
	}
}

// With kills at a rate λ a shard of τ seconds takes (e^λτ-1)/λ seconds of work in the mean, and is killed e^λτ-1 times.
func TestRepeatedWork(t *testing.T) {
	const shards, seeds = 400, 60
	for _, tau := range []float64{100, 1000, 3000} {
		for _, assigned := range []bool{true, false} {
			const rate = 1.0 / 3600
			s := Simulation{Shards: same(shards, tau), Pods: 20, Assigned: assigned, Lease: 30, Replaced: 60, Kills: rate}
			for name, c := range map[string]struct {
				value func(o Outcome) float64
				want  float64
			}{
				"seconds": {func(o Outcome) float64 { return o.Repeated }, shards * tau * repeated(rate, tau)},
				"kills":   {func(o Outcome) float64 { return float64(o.Kills) }, shards * math.Expm1(rate*tau)},
			} {
				got, e := mean(seeds, func(seed uint64) float64 { return c.value(s.Run(seed)) })
				if math.Abs(got-c.want) > 3*e || e > c.want/10 { // three standard errors: 1 of 370 would be further off; seeds are fixed
					t.Errorf("shards of %v s, assigned %v, %s repeated: %.1f ± %.1f, want %.1f", tau, assigned, name, got, e, c.want)
				}
			}
		}
	}
}

// Attempts that fail at their end with chance q are 1/(1-q) for each shard.
func TestErrors(t *testing.T) {
	const shards, q = 500, 0.2
	s := Simulation{Shards: same(shards, 10), Pods: 8, Lease: 5, Errors: q}
	got, e := mean(40, func(seed uint64) float64 { return s.Run(seed).Repeated })
	if want := shards * 10 * (1/(1-q) - 1); math.Abs(got-want) > 3*e {
		t.Errorf("repeated %.1f ± %.1f, want %.1f", got, e, want)
	}
}

// A pod that stands still for longer than the lease loses its shard: what it does afterwards is for nothing, and counts as that.
func TestPauses(t *testing.T) {
	s := Simulation{Shards: same(300, 100), Pods: 10, Lease: 30, Pauses: 1.0 / 500, Pause: 60}
	o := s.Run(3)
	if o.Done != 300 || o.Work != 300*100 || o.Twice == 0 || o.Repeated != float64(o.Twice)*100 {
		t.Errorf("%+v", o)
	}
	s.Lease = 1e6
	if o := s.Run(3); o.Twice != 0 || o.Repeated != 0 {
		t.Errorf("with a lease that never ends: %+v", o)
	}
}

// Pods that take the next shard are done when work per pod says, but for one shard (Graham's bound); assigned shards wait for
// the slowest pod.
func TestStragglers(t *testing.T) {
	s := Simulation{Shards: same(1000, 60), Pods: 20, Slow: 0.2, SlowBy: 3, Lease: 60}
	for seed := range uint64(10) {
		s.Assigned = false
		taken := s.Run(seed)
		s.Assigned = true
		assigned := s.Run(seed)
		if assigned.End != 50*60*3 && assigned.End != 50*60 {
			t.Errorf("seed %d: assigned shards end at %v, want those of the slowest pod", seed, assigned.End)
		}
		if bound := taken.Busy/20 + 60*3; taken.End > bound || taken.End > assigned.End+60*3 {
			t.Errorf("seed %d: taken shards end at %v, want at most %v, and no later than assigned ones (%v)", seed, taken.End, bound, assigned.End)
		}
	}
}

func TestSeed(t *testing.T) {
	s := Simulation{Shards: same(100, 60), Pods: 7, Slow: 0.2, SlowBy: 3, Kills: 1e-3, Pauses: 1e-3, Pause: 30, Errors: 0.05, Lease: 20, Replaced: 30, Start: 5}
	if a, b := s.Run(5), s.Run(5); !reflect.DeepEqual(a, b) {
		t.Errorf("%+v and %+v", a, b)
	}
	if a, b := s.Run(5), s.Run(6); reflect.DeepEqual(a, b) {
		t.Errorf("two seeds: %+v", a)
	}
}
