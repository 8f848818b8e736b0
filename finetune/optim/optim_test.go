package optim

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/tiny"
)

func matrix(data []float32, shape []int) *mat.Dense[float32] {
	return mat.NewDense[float32](mat.WithShape(shape...), mat.WithBacking(slices.Clone(data)), mat.WithGrad(true))
}

func named(path string, data []float32, shape ...int) Named {
	return Named{path, &nn.Param{Matrix: matrix(data, shape)}}
}

// random returns parameters of these lengths with values, and gives them gradients.
func random(rng *rand.Rand, lengths ...int) []Named {
	var ps []Named
	for i, n := range lengths {
		p := named(fmt.Sprintf("P%d", i), normal(rng, n), n, 1)
		p.AccGrad(matrix(normal(rng, n), []int{n, 1}))
		ps = append(ps, p)
	}
	return ps
}

func normal(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

const file = "testdata/tiny/optim.npz"

// The cases of the golden file; their numbers are there.
var cases = []struct {
	name     string
	adamw    bool
	schedule Schedule
}{
	{"adamw", true, Constant(0)},
	{"adamw_groups", true, Cosine(4, 20, 0.1)},
	{"sgd", false, Constant(3)},
	{"sgd_momentum", false, Cosine(0, 20, 0)},
	{"sgd_nesterov", false, Linear(5, 20)},
}

// tolerance is that of all values of the goldens, relative to the largest of a parameter: PyTorch's own
// float32 is within 6e-7 of its float64 here (NAME/float32 says how near in each case).
const tolerance = 1e-6

// normTolerance is relative: parts of the sum of squares are taken in float32.
const normTolerance = 2e-7

// run is a case under way.
type run struct {
	f         *golden.File
	name      string
	groups    []Group
	optimizer Optimizer
	ema       *EMA
	schedule  Schedule
}

func start(t *testing.T, f *golden.File, name string, adamw bool, schedule Schedule) *run {
	t.Helper()
	r := &run{f: f, name: name, schedule: schedule}
	for i, rate := range f.Float64(name + "/rate") {
		r.groups = append(r.groups, Group{Name: fmt.Sprint(i), Rate: rate, WeightDecay: f.Float64(name + "/decay")[i]})
	}
	for _, path := range paths(f) {
		g := &r.groups[f.Int64(name + "/group/" + path)[0]]
		g.Params = append(g.Params, named(path, f.Float32("param/"+path), f.Shape("param/"+path)...))
	}
	options := f.Float64(name + "/options")
	var err error
	if adamw {
		r.optimizer, err = NewAdamW(r.groups, AdamWConfig{options[0], options[1], options[2]})
	} else {
		r.optimizer, err = NewSGD(r.groups, SGDConfig{options[0], options[1] != 0})
	}
	if err != nil {
		t.Fatal(err)
	}
	r.ema = NewEMA(r.params())
	return r
}

// paths returns those of the golden parameters.
func paths(f *golden.File) (paths []string) {
	for _, name := range f.Names() {
		if path, ok := strings.CutPrefix(name, "param/"); ok {
			paths = append(paths, path)
		}
	}
	return paths
}

func (r *run) params() (all []Named) {
	for _, g := range r.groups {
		all = append(all, g.Params...)
	}
	return all
}

// step makes one of the steps and returns the norm of its gradients.
func (r *run) step(t *testing.T, step int) float64 {
	t.Helper()
	for _, p := range r.params() {
		if r.f.Int64("present/" + p.Path)[step] == 0 {
			continue
		}
		all, n := r.f.Float32("grad/"+p.Path), p.Size()
		for batch := range 2 {
			p.AccGrad(matrix(all[(2*step+batch)*n:][:n], p.Shape()))
		}
	}
	ScaleGradients(r.groups, 0.5)
	norm := ClipGradNorm(r.groups, r.f.Float64(r.name + "/max_norm")[0])
	if err := r.optimizer.Step(r.schedule(step)); err != nil {
		t.Fatal(err)
	}
	r.optimizer.ZeroGrad()
	r.ema.Update(r.f.Float64(r.name + "/ema_decay")[0])
	return norm
}

// TestGolden follows PyTorch for twenty steps with groups, schedules, clipping, micro-batches and
// gradients that are absent.
func TestGolden(t *testing.T) {
	f := golden.Load(t, file)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, f, c.name, c.adamw, c.schedule)
			norms := f.Float64(c.name + "/norm")
			for step, want := range norms {
				if got := r.schedule(step); math.Abs(got-f.Float64(c.name + "/factor")[step]) > 1e-14 {
					t.Fatalf("step %d: factor %v, want %v", step, got, f.Float64(c.name + "/factor")[step])
				}
				norm := r.step(t, step)
				if math.Abs(norm-want) > normTolerance*want {
					t.Fatalf("step %d: norm %v, want %v", step, norm, want)
				}
				for _, p := range r.params() {
					n := p.Size()
					if !golden.Compare(t, fmt.Sprintf("step %d: %s", step, p.Path), p.values(), f.Float32(c.name + "/param/" + p.Path)[step*n:][:n], tolerance) {
						t.FailNow()
					}
				}
			}
			compareState(t, f, c.name+"/ema/", r.ema.State())
			state := maps.Clone(r.optimizer.State())
			if got := state["step"]; !slices.Equal(got, []float32{float32(len(norms))}) {
				t.Errorf("steps %v, want %d", got, len(norms))
			}
			if !c.adamw { // PyTorch's SGD counts no steps
				maps.DeleteFunc(state, func(k string, _ []float32) bool { return strings.HasSuffix(k, ".step") })
			}
			delete(state, "step")
			compareState(t, f, c.name+"/state/", state)
		})
	}
}

// compareState compares everything that the file has under a prefix.
func compareState(t *testing.T, f *golden.File, prefix string, state map[string][]float32) {
	t.Helper()
	var want []string
	for _, name := range f.Names() {
		if name, ok := strings.CutPrefix(name, prefix); ok {
			want = append(want, name)
		}
	}
	if got := slices.Sorted(maps.Keys(state)); !slices.Equal(got, want) {
		t.Fatalf("%s: got %q, want %q", prefix, got, want)
	}
	for _, name := range want {
		golden.Compare(t, prefix+name, state[name], f.Float32(prefix+name), tolerance)
	}
}

// TestResume stops every case after ten steps, and goes on in new objects to the same bits.
func TestResume(t *testing.T) {
	f := golden.Load(t, file)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			whole, first, second := start(t, f, c.name, c.adamw, c.schedule), start(t, f, c.name, c.adamw, c.schedule), start(t, f, c.name, c.adamw, c.schedule)
			for step := range 20 {
				whole.step(t, step)
			}
			for step := range 10 {
				first.step(t, step)
			}
			for i, p := range second.params() {
				copy(p.values(), first.params()[i].values())
			}
			state, averages := copied(first.optimizer.State()), copied(first.ema.State())
			if err := errors.Join(second.optimizer.Restore(state), second.ema.Restore(averages)); err != nil {
				t.Fatal(err)
			}
			for _, s := range []struct{ got, want map[string][]float32 }{{second.optimizer.State(), state}, {second.ema.State(), averages}} {
				for name, x := range s.want { // what is large is there once
					if len(x) > 1 && &s.got[name][0] != &x[0] {
						t.Errorf("%s is a copy", name)
					}
				}
			}
			for step := 10; step < 20; step++ {
				second.step(t, step)
			}
			for i, p := range second.params() {
				if want := whole.params()[i].values(); !slices.Equal(p.values(), want) {
					t.Errorf("%s is %v, want %v", p.Path, p.values(), want)
				}
			}
			for _, s := range []struct{ got, want map[string][]float32 }{
				{second.optimizer.State(), whole.optimizer.State()}, {second.ema.State(), whole.ema.State()},
			} {
				if !maps.EqualFunc(s.got, s.want, slices.Equal[[]float32]) {
					t.Errorf("state is %v, want %v", s.got, s.want)
				}
			}
		})
	}
}

func TestRestoreErrors(t *testing.T) {
	fresh := func() (*AdamW, *EMA) {
		ps := random(rand.New(rand.NewPCG(1, 2)), 3, 4)
		o, err := NewAdamW([]Group{{Params: ps, Rate: 0.1}}, DefaultAdamW)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Step(1); err != nil {
			t.Fatal(err)
		}
		return o, NewEMA(ps)
	}
	for _, c := range []struct {
		name  string
		spoil func(s map[string][]float32)
		want  []string
	}{
		{"empty", func(s map[string][]float32) { clear(s) }, []string{`state of 0 arrays has no "step"`}},
		{"half", func(s map[string][]float32) { delete(s, "P1.exp_avg") }, []string{"just one of P1.exp_avg and P1.step"}},
		{"no count", func(s map[string][]float32) { delete(s, "P1.step") }, []string{"just one of P1.exp_avg and P1.step", "just one of P1.exp_avg_sq and P1.step"}},
		{"fraction", func(s map[string][]float32) { s["P0.step"] = []float32{1.5} }, []string{"P0.step is [1.5], want one whole number"}},
		{"NaN", func(s map[string][]float32) { s["step"] = []float32{float32(math.NaN())} }, []string{"step is [NaN]"}},
		{"negative", func(s map[string][]float32) { s["step"] = []float32{-1} }, []string{"step is [-1]"}},
		{"two counts", func(s map[string][]float32) { s["step"] = []float32{1, 2, 3} }, []string{"step is [1 2], want"}},
		{"another shape and another model", func(s map[string][]float32) {
			s["P0.exp_avg"], s["Q.exp_avg"], s["P0.momentum_buffer"] = make([]float32, 7), nil, nil
		}, []string{"P0.exp_avg has 7 values, want 3", "has P0.momentum_buffer, which is of no parameter", "has Q.exp_avg, which is of no parameter"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _ := fresh()
			other, _ := fresh()
			if err := other.Step(1); err != nil {
				t.Fatal(err)
			}
			state := maps.Clone(other.State())
			c.spoil(state)
			before := copied(o.State())
			wantErr(t, o.Restore(state), c.want...)
			if !maps.EqualFunc(o.State(), before, slices.Equal[[]float32]) {
				t.Error("an error changed the state")
			}
		})
	}
	_, e := fresh()
	before := copied(e.State())
	wantErr(t, e.Restore(map[string][]float32{"P0": make([]float32, 9), "Q": nil}), "average P0 has 9 values, want 3", "average has no P1", "average has Q, which is not among its 2")
	if !maps.EqualFunc(e.State(), before, slices.Equal[[]float32]) {
		t.Error("an error changed the averages")
	}
}

func copied(s map[string][]float32) map[string][]float32 {
	c := map[string][]float32{}
	for k, v := range s {
		c[k] = slices.Clone(v)
	}
	return c
}

func wantErr(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", want)
		return
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Errorf("got %d reasons, want %d:\n%v", len(lines), len(want), err)
	}
	for _, w := range want {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "optim: ") && strings.Contains(l, w) }) {
			t.Errorf("got %v, want %q", err, w)
		}
	}
}

// TestStepByStep compares all lengths around those of pieces with the formulas in float64, written down
// once more.
func TestStepByStep(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 3, 4, 5, pieceLen - 1, pieceLen, pieceLen + 1, 3*pieceLen + 7} {
		ps := random(rng, 2, n)
		w0, g := slices.Clone(ps[1].values()), ps[1].gradient()
		const rate, decay, factor = 0.3, 0.1, 0.5
		o, err := NewAdamW([]Group{{Params: ps, Rate: rate, WeightDecay: decay}}, DefaultAdamW)
		if err != nil {
			t.Fatal(err)
		}
		var norm float64
		for _, p := range ps {
			for _, v := range p.gradient() {
				norm += float64(v) * float64(v)
			}
		}
		groups := []Group{{Params: ps}}
		if got := ClipGradNorm(groups, math.Inf(1)); math.Abs(got-math.Sqrt(norm)) > normTolerance*got {
			t.Errorf("%d: norm %v, want %v", n, got, math.Sqrt(norm))
		}
		want := make([]float32, n)
		for i, w := range w0 {
			w, g := float64(w), float64(g[i])
			var m, v float64
			for step := 1; step <= 2; step++ {
				w -= rate * factor * decay * w
				m, v = 0.9*m+0.1*g, 0.999*v+0.001*g*g
				w -= rate * factor * m / (1 - math.Pow(0.9, float64(step))) / (math.Sqrt(v/(1-math.Pow(0.999, float64(step)))) + 1e-8)
			}
			want[i] = float32(w)
		}
		for range 2 {
			if err := o.Step(factor); err != nil {
				t.Fatal(err)
			}
		}
		golden.Compare(t, fmt.Sprint(n, " weights"), ps[1].values(), want, tolerance)
		e := NewEMA(ps)
		copy(ps[1].values(), w0)
		e.Update(0.75)
		for i := range want {
			want[i] = float32(0.75*float64(want[i]) + 0.25*float64(w0[i]))
		}
		golden.Compare(t, fmt.Sprint(n, " averages"), e.State()["P1"], want, tolerance)
		ScaleGradients(groups, -2)
		for i, v := range ps[1].gradient() {
			want[i] = v / -2
		}
		ScaleGradients(groups, -0.5)
		golden.Compare(t, fmt.Sprint(n, " gradients"), ps[1].gradient(), want, 0)
	}
}

// The bits do not depend on the number of processors.
func TestProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	result := func(procs int) []any {
		runtime.GOMAXPROCS(procs)
		ps := random(rand.New(rand.NewPCG(5, 6)), 3*pieceLen+5, 17, pieceLen)
		groups := []Group{{Params: ps, Rate: 0.1, WeightDecay: 0.1}}
		o, err := NewAdamW(groups, DefaultAdamW)
		if err != nil {
			t.Fatal(err)
		}
		norm := ClipGradNorm(groups, 1)
		if err := o.Step(1); err != nil {
			t.Fatal(err)
		}
		return []any{norm, ps[0].values(), ps[1].values(), ps[2].values()}
	}
	want := fmt.Sprint(result(1)...)
	for _, procs := range []int{2, 3, 8} {
		if got := fmt.Sprint(result(procs)...); got != want {
			t.Errorf("%d processors give other bits than 1", procs)
		}
	}
}

func TestNonFinite(t *testing.T) {
	for _, n := range []int{1, 6, 2*pieceLen + 3} {
		for _, at := range []int{0, n / 2, n - 1} {
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				ps := random(rand.New(rand.NewPCG(7, 8)), 5, n, n)
				groups := []Group{{Params: ps[:1], Rate: 0.1}, {Params: ps[1:], Rate: 0.1}}
				adamw, err := NewAdamW(groups, DefaultAdamW)
				if err != nil {
					t.Fatal(err)
				}
				sgd, err := NewSGD(groups, SGDConfig{Momentum: 0.9})
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range []Optimizer{adamw, sgd} {
					if err := o.Step(1); err != nil {
						t.Fatal(err)
					}
				}
				ps[1].gradient()[at], ps[2].gradient()[0] = float32(bad), float32(bad) // the first is named
				g := slices.Clone(ps[0].gradient())
				if norm := ClipGradNorm(groups, 1e-3); norm-norm == 0 || !slices.Equal(ps[0].gradient(), g) {
					t.Errorf("clipping to a norm of %v changed the gradients", norm)
				}
				for _, o := range []Optimizer{adamw, sgd} {
					weights, state := slices.Clone(ps[0].values()), copied(o.State())
					err := o.Step(1)
					var e *NonFiniteError
					if !errors.As(err, &e) {
						t.Fatalf("%v at %d of %d: got %v", bad, at, n, err)
					}
					if e.Path != "P1" || e.Step != 2 || e.What != "gradient" || fmt.Sprint(e.Value) != fmt.Sprint(bad) {
						t.Errorf("%v at %d of %d: got %+v", bad, at, n, e)
					}
					if want := fmt.Sprintf("optim: step 2: the gradient of P1 is %v, want a finite number", bad); err.Error() != want {
						t.Errorf("got %q, want %q", err, want)
					}
					if !slices.Equal(ps[0].values(), weights) || !maps.EqualFunc(o.State(), state, slices.Equal[[]float32]) {
						t.Error("the step changed something")
					}
				}
			}
		}
	}
	if got, want := (&NonFiniteError{Step: 3, What: "loss", Value: math.NaN()}).Error(), "optim: step 3: the loss is NaN, want a finite number"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The largest numbers there are have a norm.
func TestClipLarge(t *testing.T) {
	ps := random(rand.New(rand.NewPCG(1, 1)), 100)
	for i := range ps[0].gradient() {
		ps[0].gradient()[i] = math.MaxFloat32
	}
	groups := []Group{{Params: ps}}
	if norm := ClipGradNorm(groups, 1); math.Abs(norm/(10*math.MaxFloat32)-1) > 1e-6 {
		t.Errorf("norm %v, want %v", norm, 10*math.MaxFloat32)
	}
	if norm := ClipGradNorm(groups, 1); math.Abs(norm-1) > 1e-5 {
		t.Errorf("norm %v after clipping, want 1", norm)
	}
	if norm := ClipGradNorm([]Group{{Params: []Named{named("P", []float32{1}, 1, 1)}}}, 1); norm != 0 {
		t.Errorf("norm %v without gradients, want 0", norm)
	}
}

func TestStepErrors(t *testing.T) {
	p := random(rand.New(rand.NewPCG(1, 1)), 4)[0]
	o, err := NewAdamW([]Group{{Params: []Named{p}, Rate: 1}}, DefaultAdamW)
	if err != nil {
		t.Fatal(err)
	}
	for _, factor := range []float64{-1, math.NaN(), math.Inf(1)} {
		wantErr(t, o.Step(factor), "step 1: the factor of the rates is "+fmt.Sprint(factor))
	}
	if err := o.Step(0); err != nil {
		t.Error(err)
	}
	p.ReplaceValue(matrix([]float32{1, 2}, []int{2, 1}))
	p.AccGrad(matrix([]float32{1, 2}, []int{2, 1}))
	wantErr(t, o.Step(1), "step 2: P0 has 2 values, 2 of a gradient, and had 4 before")
	wantErr(t, o.OptimizeParams(&nn.Param{Matrix: matrix([]float32{1}, []int{1, 1})}), "a parameter [1 1] is in none of the groups")
}

func TestNewErrors(t *testing.T) {
	good := func() Named { return named("Good", []float32{1}, 1, 1) }
	frozen := named("Frozen", []float32{1}, 1, 1)
	frozen.SetRequiresGrad(false)
	double := Named{"Double", nn.NewParam(mat.Scalar(1.0))}
	p := good()
	for _, c := range []struct {
		name   string
		groups []Group
		config AdamWConfig
		want   []string
	}{
		{"none", nil, DefaultAdamW, []string{"no parameters, want at least 1"}},
		{"rates", []Group{{"a", []Named{good()}, -1, math.NaN()}}, DefaultAdamW, []string{`group "a": rate is -1`, `group "a": weight decay is NaN`}},
		{"infinite", []Group{{"a", []Named{good()}, math.Inf(1), 0}}, DefaultAdamW, []string{`group "a": rate is +Inf`}},
		{"parameters", []Group{{Params: []Named{frozen, double, {"Nil", nil}, {"", good().Param}}}}, DefaultAdamW, []string{
			"Frozen: requires no gradient", "Double: values are *mat.Dense[float64], want *mat.Dense[float32]", `"Nil": no parameter`, "a parameter [1 1] has no path"}},
		{"twice", []Group{{Params: []Named{p}}, {Params: []Named{p}}}, DefaultAdamW, []string{"Good: twice in the groups"}},
		{"same", []Group{{Params: []Named{p, {"Other", p.Param}}}}, DefaultAdamW, []string{"Other: is the same parameter as Good"}},
		{"config", []Group{{Params: []Named{good()}}}, AdamWConfig{-0.1, 1, 0}, []string{"Beta1 is -0.1", "Beta2 is 1,", "Eps is 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := NewAdamW(c.groups, c.config)
			wantErr(t, err, c.want...)
			if o != nil {
				t.Errorf("got %v with an error", o)
			}
		})
	}
	for c, want := range map[SGDConfig]string{{Momentum: 1}: "Momentum is 1", {Momentum: -1}: "Momentum is -1", {Nesterov: true}: "Nesterov with Momentum 0"} {
		_, err := NewSGD([]Group{{Params: []Named{good()}}}, c)
		wantErr(t, err, want)
	}
}

// OptimizeParams does to each parameter what Step does to all, and takes gradients away.
func TestStrategy(t *testing.T) {
	build := func() (ps []Named, o *AdamW) {
		ps = random(rand.New(rand.NewPCG(9, 9)), 5, pieceLen+1, 8)
		ps[2].ZeroGrad()
		o, err := NewAdamW([]Group{{Params: ps[:1], Rate: 0.1, WeightDecay: 0.2}, {Params: ps[1:], Rate: 0.3}}, DefaultAdamW)
		if err != nil {
			t.Fatal(err)
		}
		return ps, o
	}
	want, o := build()
	if err := o.Step(0.5); err != nil {
		t.Fatal(err)
	}
	got, o := build()
	o.Factor = 0.5
	for _, p := range got {
		if err := o.OptimizeParams(p.Param); err != nil {
			t.Fatal(err)
		}
		if p.HasGrad() {
			t.Errorf("%s has its gradient still", p.Path)
		}
	}
	for i := range want {
		golden.Compare(t, want[i].Path, got[i].values(), want[i].values(), 0)
	}
	got[0].AccGrad(matrix([]float32{1, 1, float32(math.NaN()), 1, 1}, []int{5, 1}))
	var e *NonFiniteError
	if err := o.OptimizeParams(got[0].Param); !errors.As(err, &e) || e.Path != "P0" || e.Step != 2 {
		t.Errorf("got %v", err)
	}
}

func TestEMASwap(t *testing.T) {
	ps := random(rand.New(rand.NewPCG(2, 2)), 3, pieceLen+3)
	e := NewEMA(ps)
	averages := slices.Clone(ps[1].values())
	live := ps[1].values()
	for i := range live {
		live[i]++
	}
	after := slices.Clone(live)
	e.Swap()
	golden.Compare(t, "averages", ps[1].values(), averages, 0)
	if &live[0] != &ps[1].values()[0] {
		t.Error("the parameter has another slice now")
	}
	for name, f := range map[string]func(){
		"Update": func() { e.Update(0.5) }, "State": func() { e.State() }, "Restore": func() { _ = e.Restore(nil) },
	} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, name+" while values and averages are exchanged") {
					t.Errorf("%s: got %v", name, r)
				}
			}()
			f()
		}()
	}
	e.Swap()
	golden.Compare(t, "values", ps[1].values(), after, 0)
	golden.Compare(t, "averages", e.State()["P1"], averages, 0)
}

func TestSchedules(t *testing.T) {
	f := golden.Load(t, file)
	for _, c := range []struct {
		name string
		new  func(warmup, total int, floor float64) Schedule
	}{
		{"constant", func(w, _ int, _ float64) Schedule { return Constant(w) }},
		{"constant_warmup", func(w, _ int, _ float64) Schedule { return Constant(w) }},
		{"cosine", Cosine},
		{"cosine_warmup", Cosine},
		{"cosine_floor", Cosine},
		{"cosine_short", Cosine},
		{"linear", func(w, n int, _ float64) Schedule { return Linear(w, n) }},
		{"linear_warmup", func(w, n int, _ float64) Schedule { return Linear(w, n) }},
		{"linear_one", func(w, n int, _ float64) Schedule { return Linear(w, n) }},
	} {
		o := f.Float64("schedule/" + c.name + "/options")
		s := c.new(int(o[0]), int(o[1]), o[2])
		want := f.Float64("schedule/" + c.name + "/factor")
		for step, w := range want {
			if got := s(step); math.Abs(got-w) > 1e-15 { // the same formula in another order: some units in the last place
				t.Errorf("%s: factor %v at %d, want %v", c.name, got, step, w)
			}
		}
		// After the end nothing changes any more.
		if got, w := s(10*len(want)), want[len(want)-1]; math.Abs(got-w) > 1e-15 && c.name != "cosine_short" {
			t.Errorf("%s: factor %v after the end, want %v", c.name, got, w)
		}
		if got := s(-1); got < 0 || got > 1 {
			t.Errorf("%s: factor %v before the beginning", c.name, got)
		}
	}
}

// tower returns a tower with three blocks.
func tower(t *testing.T) *clipvit.Model {
	t.Helper()
	return tiny.New(t, clipvit.New, clipvit.Config{ImageSize: 8, PatchSize: 4, Width: 4, Heads: 2, Layers: 3, MLPWidth: 8, EmbedDim: 4, Activation: transformer.GELU, NormEps: 1e-5})
}

// Every parameter of a tower has its place in this list.
func TestLayers(t *testing.T) {
	layers := []struct {
		prefix string
		power  float64 // of the decay
	}{
		{"Embed.", 4}, {"PreNorm.", 4}, {"Blocks.0.", 3}, {"Blocks.1.", 2}, {"Blocks.2.", 1}, {"PostNorm.", 0}, {"Proj", 0},
	}
	decayed := map[string]bool{"Embed.Patch": true, "Proj": true}
	for i := range 3 {
		for _, name := range []string{"Attn.QKV.W", "Attn.Out.W", "MLP.Up.W", "MLP.Down.W"} {
			decayed[fmt.Sprintf("Blocks.%d.%s", i, name)] = true
		}
	}
	seen := 0
	params.Walk(tower(t), func(path string, p *nn.Param) {
		seen++
		i := slices.IndexFunc(layers, func(l struct {
			prefix string
			power  float64
		}) bool {
			return strings.HasPrefix(path, l.prefix)
		})
		for _, prefix := range []string{"", "Tower.", "Model.0."} {
			if got, want := LayerDecay(prefix+path, 3, 0.5), math.Pow(0.5, layers[i].power); got != want {
				t.Errorf("%s%s: factor %v, want %v", prefix, path, got, want)
			}
		}
		if got := NoDecay(path, p.Shape()); got == decayed[path] {
			t.Errorf("%s: NoDecay is %v", path, got)
		}
	})
	if want := 3 + 2 + 3*12 + 2 + 1; seen != want {
		t.Errorf("%d parameters, want %d", seen, want)
	}
	for _, path := range []string{"Head.W", "W", "", "Blocks", "Blocks.x", "Blocks.3.W", "Blocks.-1.W"} {
		if got := LayerDecay(path, 3, 0.5); got != 1 {
			t.Errorf("%q: factor %v, want 1", path, got)
		}
	}
	if !NoDecay("Scale", []int{}) || !NoDecay("B", []int{5}) || NoDecay("Head.W", []int{1, 5}) {
		t.Error("NoDecay by shape")
	}
}

func TestCollect(t *testing.T) {
	m := tower(t)
	m.Freeze()
	if got := Collect(m); len(got) != 0 {
		t.Errorf("a frozen model has %d parameters that learn", len(got))
	}
	m.Blocks[2].Unfreeze()
	got := Collect(m)
	if len(got) != 12 || got[0].Path != "Blocks.2.Norm1.W" || got[0].Param != m.Blocks[2].Norm1.W {
		t.Errorf("got %d parameters, want 12 from Blocks.2.Norm1.W", len(got))
	}
	if _, err := NewAdamW([]Group{{Params: got, Rate: 1}}, DefaultAdamW); err != nil {
		t.Error(err)
	}
}

// BenchmarkStep reports the bytes that must move, and how much longer it takes than copying as many.
func BenchmarkStep(b *testing.B) {
	const n = 1 << 24
	ps := random(rand.New(rand.NewPCG(1, 1)), n)
	groups := []Group{{Params: ps, Rate: 1e-5, WeightDecay: 0.01}}
	adamw, err := NewAdamW(groups, DefaultAdamW)
	if err != nil {
		b.Fatal(err)
	}
	sgd, err := NewSGD(groups, SGDConfig{Momentum: 0.9})
	if err != nil {
		b.Fatal(err)
	}
	ema := NewEMA(ps)
	for _, c := range []struct {
		name   string
		arrays int64 // read and written
		f      func()
	}{
		{"copy", 2, func() {
			x := [][]float32{ema.avg[0]}
			sweep(cut(x), func(_ int, p piece) { copy(x[0][p.from:p.to], ps[0].gradient()[p.from:p.to]) })
		}},
		{"norm", 1, func() { ClipGradNorm(groups, math.Inf(1)) }},
		{"finite", 1, func() { _ = CheckGradients(groups, 1) }},
		{"ema", 3, func() { ema.Update(0.999) }},
		{"sgd", 6, func() { _ = sgd.Step(1) }},
		{"adamw", 8, func() { _ = adamw.Step(1) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(c.arrays * 4 * n)
			for b.Loop() {
				c.f()
			}
		})
	}
}
