package runs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/shapes"
	"github.com/vitago/vitago/tasks/finetuning"
)

var errNoModel = errors.New("no such model")

// options returns folders with a few pictures.
func options(t testing.TB) Options {
	t.Helper()
	dir := t.TempDir()
	o := Options{Dir: filepath.Join(dir, "runs"), Data: filepath.Join(dir, "data"), Model: func(name string) (string, error) {
		if name != "tiny" {
			return "", errNoModel
		}
		return golden.Path(t, "testdata/tiny/huggingface"), nil
	}}
	if err := shapes.Write(filepath.Join(o.Data, "pictures"), 0, 2, 24, false, 1); err != nil {
		t.Fatal(err)
	}
	return o
}

// start opens runs, and closes them with the test.
func start(t testing.TB, o Options, tuner func(string) (finetuning.Interface, error)) *Runs {
	t.Helper()
	r, err := open(o, tuner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// wait returns a run when it has ended, and what was told of it.
func wait(t testing.TB, r *Runs, id string, from int) (Run, []Event) {
	t.Helper()
	var all []Event
	for e, err := range r.Watch(t.Context(), id, from) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	x, err := r.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return x, all
}

// request is of a few quick steps.
func request() finetuning.Request {
	return finetuning.Request{Data: "pictures", Recipe: "lora", Seed: 1,
		Overrides: finetuning.Overrides{Epochs: new(2), Batch: new(4), Accumulate: new(1), Rate: new(0.01), HeadRate: new(0.1), Rank: new(2)}}
}

// A run is told of while it trains, to who comes late as well, and is there again after a restart, as is its model.
func TestRun(t *testing.T) {
	o := options(t)
	r := start(t, o, openClip)
	x, err := r.Start("tiny", request())
	if err != nil {
		t.Fatal(err)
	}
	if x.State != Queued && x.State != Running || !idForm.MatchString(x.ID) || x.Request.Data != "pictures" {
		t.Errorf("started: %+v", x)
	}
	done, events := wait(t, r, x.ID, 0)
	if done.State != Done || done.Error != "" || done.Response == nil || done.Response.Steps != 6 || done.Events != len(events) {
		t.Fatalf("%d events, and it is %+v", len(events), done)
	}
	if events[0].Kind != finetuning.Begun || events[len(events)-1].Step != 6 {
		t.Errorf("events are %+v", events)
	}
	for i, e := range events {
		if e.Seq != i {
			t.Errorf("event %d has number %d", i, e.Seq)
		}
	}
	if want := filepath.Join(x.ID, outFolder, "model"); done.Response.Model != want {
		t.Errorf("the model is %q, want %q", done.Response.Model, want)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, done.Response.Model, "head.safetensors")); err != nil {
		t.Error(err)
	}
	if _, late := wait(t, r, x.ID, 3); !slices.Equal(late, events[3:]) {
		t.Errorf("from 3: %+v, want %+v", late, events[3:])
	}
	if _, none := wait(t, r, x.ID, 1000); none != nil {
		t.Errorf("from 1000: %+v", none)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Start("tiny", request()); !errors.Is(err, ErrClosed) {
		t.Errorf("start after the end: %v", err)
	}
	again := start(t, o, openClip)
	if got, told := wait(t, again, x.ID, 0); !slices.Equal(told, events) || fmt.Sprintf("%+v", got.Response) != fmt.Sprintf("%+v", done.Response) || got.State != Done {
		t.Errorf("after a restart: %d events, %+v", len(told), got)
	}
	for name, do := range map[string]func() (Run, error){
		"stop": func() (Run, error) { return again.Stop(t.Context(), x.ID) }, "resume": func() (Run, error) { return again.Resume(x.ID) },
	} {
		if _, err := do(); !errors.Is(err, ErrState) {
			t.Errorf("%s of a run that is done: %v", name, err)
		}
	}
}

// A run that is stopped has a checkpoint, and becomes what it would have become.
func TestStopAndResume(t *testing.T) {
	o := options(t)
	r := start(t, o, openClip)
	whole, err := r.Start("tiny", request())
	if err != nil {
		t.Fatal(err)
	}
	if x, _ := wait(t, r, whole.ID, 0); x.State != Done {
		t.Fatalf("%+v", x)
	}
	x, err := r.Start("tiny", request())
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Watch(t.Context(), x.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == finetuning.Trained {
			break
		}
	}
	stopped, err := r.Stop(t.Context(), x.ID)
	if errors.Is(err, ErrState) {
		t.Skip("it was quicker")
	}
	if err != nil || stopped.State != Stopped || !strings.Contains(stopped.Error, "interrupted after step") || strings.Contains(stopped.Error, o.Dir) {
		t.Fatalf("%+v, %v", stopped, err)
	}
	if last, err := filepath.Glob(filepath.Join(o.Dir, x.ID, outFolder, "checkpoint-*")); err != nil || len(last) == 0 {
		t.Errorf("no checkpoint: %v", err)
	}
	if err := r.Close(t.Context()); err != nil { // and a new process goes on with it
		t.Fatal(err)
	}
	r = start(t, o, openClip)
	if _, err := r.Resume(x.ID); err != nil {
		t.Fatal(err)
	}
	done, events := wait(t, r, x.ID, stopped.Events)
	if done.State != Done || done.Error != "" || len(events) == 0 || events[0].Seq != stopped.Events || events[0].Step == 0 {
		t.Fatalf("resumed: %+v, %+v", done, events)
	}
	for _, name := range []string{"model/head.safetensors", "model/model.safetensors"} {
		a, err1 := os.ReadFile(filepath.Join(o.Dir, whole.ID, outFolder, name))
		b, err2 := os.ReadFile(filepath.Join(o.Dir, x.ID, outFolder, name))
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs from that of a run that was not stopped (%v)", name, err)
		}
	}
}

// A fake trains as a test says.
type fake struct {
	mu   sync.Mutex
	got  []finetuning.Request
	tune func(ctx context.Context, r finetuning.Request, progress func(finetuning.Progress) error) (finetuning.Response, error)
}

func (f *fake) open(string) (finetuning.Interface, error) { return f, nil }

func (f *fake) FineTune(ctx context.Context, r finetuning.Request, progress func(finetuning.Progress) error) (finetuning.Response, error) {
	f.mu.Lock()
	f.got = append(f.got, r)
	f.mu.Unlock()
	return f.tune(ctx, r, progress)
}

// untilStopped trains until it is stopped.
func untilStopped(ctx context.Context, _ finetuning.Request, progress func(finetuning.Progress) error) (finetuning.Response, error) {
	if err := progress(finetuning.Progress{Kind: finetuning.Begun, Steps: 10}); err != nil {
		return finetuning.Response{}, err
	}
	<-ctx.Done()
	return finetuning.Response{}, fmt.Errorf("fake: %w: %w", finetuning.ErrInterrupted, context.Cause(ctx))
}

// begun waits until a run has told that it begins.
func begun(t *testing.T, r *Runs, id string, from int) {
	t.Helper()
	for e, err := range r.Watch(t.Context(), id, from) {
		if err != nil || e.Kind != finetuning.Begun {
			t.Fatalf("%+v, %v", e, err)
		}
		return
	}
	t.Fatal("it has ended")
}

// One run trains at a time, others wait in their order, and no more than may.
func TestQueue(t *testing.T) {
	o := options(t)
	o.Queue = 2
	r := start(t, o, (&fake{tune: untilStopped}).open)
	var ids []string
	for i := range 3 {
		x, err := r.Start("tiny", request())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, x.ID)
		if i == 0 {
			begun(t, r, x.ID, 0)
		}
	}
	if _, err := r.Start("tiny", request()); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "2, want at most 2") {
		t.Errorf("a fourth: %v", err)
	}
	if all := r.List(); len(all) != 3 {
		t.Errorf("%d runs, want 3", len(all))
	}
	for i, want := range []struct {
		state State
		ahead int
	}{{Running, 0}, {Queued, 1}, {Queued, 2}} {
		if x, err := r.Get(ids[i]); err != nil || x.State != want.state || x.Ahead != want.ahead {
			t.Errorf("run %d: %+v, %v, want %+v", i, x, err, want)
		}
	}
	if x, err := r.Stop(t.Context(), ids[1]); err != nil || x.State != Stopped {
		t.Errorf("one that waits: %+v, %v", x, err)
	}
	if x, err := r.Get(ids[2]); err != nil || x.Ahead != 1 {
		t.Errorf("the next is %+v, %v", x, err)
	}
	if x, err := r.Stop(t.Context(), ids[0]); err != nil || x.State != Stopped || x.Error == "" {
		t.Errorf("one that trains: %+v, %v", x, err)
	}
	begun(t, r, ids[2], 0)
	if _, err := r.Resume(ids[1]); err != nil { // one that had never begun
		t.Error(err)
	}
	if _, err := r.Resume(ids[1]); !errors.Is(err, ErrState) {
		t.Errorf("resumed twice: %v", err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := r.Stop(ended, ids[2]); err != enough && err != nil { //nolint:errorlint // the cause itself
		t.Errorf("who does not wait for the end: %v", err)
	}
	begun(t, r, ids[1], 0) // it has ended nevertheless, since the next has its turn
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		if x, err := r.Get(id); err != nil || x.State != Stopped {
			t.Errorf("run %d after the end: %+v, %v", i, x, err)
		}
	}
	if _, err := r.Resume(ids[0]); !errors.Is(err, ErrClosed) {
		t.Errorf("resume after the end: %v", err)
	}
}

// What a program leaves that was killed is found: a run that trained or waited has stopped, half a line is dropped, and what is damaged
// says so.
func TestRestart(t *testing.T) {
	o := options(t)
	f := &fake{tune: untilStopped}
	r := start(t, o, f.open)
	first, err := r.Start("tiny", request())
	if err != nil {
		t.Fatal(err)
	}
	begun(t, r, first.ID, 0)
	var given finetuning.Request
	if err := json.Unmarshal([]byte(`{"data": "pictures", "recipe": "lora", "seed": 0, "overrides": {"rank": 2}}`), &given); err != nil {
		t.Fatal(err)
	}
	second, err := r.Start("tiny", given)
	if err != nil {
		t.Fatal(err)
	}
	killed := o
	killed.Dir = filepath.Join(t.TempDir(), "killed")
	if err := os.CopyFS(killed.Dir, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	add := func(id, name, text string) {
		t.Helper()
		file, err := os.OpenFile(filepath.Join(killed.Dir, id, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
		if err == nil {
			_, err = file.WriteString(text)
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add(first.ID, progressFile, `{"kind":"train","step":1}`+"\n"+`{"kind":"tr`)
	damaged := newID(now())
	if err := os.Mkdir(filepath.Join(killed.Dir, damaged), 0o777); err != nil {
		t.Fatal(err)
	}
	add(damaged, runFile, "{")
	if err := os.Mkdir(filepath.Join(killed.Dir, "notes"), 0o777); err != nil { // is none of ours
		t.Fatal(err)
	}
	again := start(t, killed, f.open)
	if all := again.List(); len(all) != 3 {
		t.Fatalf("%d runs, want 3: %+v", len(all), all)
	}
	x, events := wait(t, again, first.ID, 0)
	if x.State != Stopped || x.Error != "the program ended while it was running" || len(events) != 2 || x.Events != 2 || x.Last.Step != 1 {
		t.Errorf("the one that trained: %+v, %d events", x, len(events))
	}
	x, events = wait(t, again, second.ID, 0)
	if x.State != Stopped || x.Error != "the program ended while it was queued" || events != nil || x.Request.Given == nil || !x.Request.Given("seed") || !x.Request.Given("overrides.rank") || x.Request.Given("split") {
		t.Errorf("the one that waited: %+v, %d events", x, len(events))
	}
	x, _ = wait(t, again, damaged, 0)
	if x.State != Failed || !strings.Contains(x.Error, damaged+"/run.json") || strings.Contains(x.Error, killed.Dir) {
		t.Errorf("a damaged one: %+v", x)
	}
	if _, err := again.Resume(damaged); !errors.Is(err, ErrState) {
		t.Errorf("a damaged one is resumed: %v", err)
	}
	if _, err := again.Resume(first.ID); err != nil {
		t.Fatal(err)
	}
	begun(t, again, first.ID, 2) // behind what is whole
	if _, err := open(killed, f.open); !errors.Is(err, folder.ErrInUse) {
		t.Errorf("two processes: %v", err)
	}
}

// What goes wrong in a run is said of the run, which can be resumed, and the next has its turn.
func TestFails(t *testing.T) {
	o := options(t)
	broken := errors.New("broken: " + filepath.Join(o.Data, "pictures/a.png"))
	n := 0
	f := &fake{tune: func(context.Context, finetuning.Request, func(finetuning.Progress) error) (finetuning.Response, error) {
		switch n++; n {
		case 1:
			return finetuning.Response{}, broken
		case 2:
			panic("at the disco")
		}
		return finetuning.Response{Steps: n}, nil
	}}
	r := start(t, o, f.open)
	for i, want := range []string{"runs: broken: pictures/a.png", "runs: panic: at the disco"} {
		x, err := r.Start("tiny", request())
		if err != nil {
			t.Fatal(err)
		}
		got, _ := wait(t, r, x.ID, 0)
		if got.State != Failed || got.Error != want {
			t.Errorf("run %d: %+v, want %q", i, got, want)
		}
		if i == 1 {
			if _, err := r.Resume(x.ID); err != nil {
				t.Fatal(err)
			}
			if got, _ = wait(t, r, x.ID, 0); got.State != Done || got.Error != "" || got.Response.Steps != 3 {
				t.Errorf("resumed: %+v", got)
			}
		}
	}
	if _, err := r.Get("x"); !errors.Is(err, ErrRun) {
		t.Errorf("get: %v", err)
	}
	for _, err := range r.Watch(t.Context(), "../x", 0) {
		if !errors.Is(err, ErrRun) {
			t.Errorf("watch: %v", err)
		}
	}
	for _, err := range r.Watch(t.Context(), r.List()[0].ID, -1) {
		if !errors.Is(err, finetuning.ErrRequest) {
			t.Errorf("watch from -1: %v", err)
		}
	}
}

// Any number watch, each at its own pace: all see all, and who leaves or whose context ends is gone.
func TestWatch(t *testing.T) {
	const steps = 200
	o := options(t)
	halfway, on := make(chan struct{}), make(chan struct{})
	f := &fake{tune: func(_ context.Context, _ finetuning.Request, progress func(finetuning.Progress) error) (finetuning.Response, error) {
		for i := range steps {
			if i == steps/2 {
				close(halfway)
				<-on
			}
			if err := progress(finetuning.Progress{Kind: finetuning.Trained, Step: i + 1, Steps: steps}); err != nil {
				return finetuning.Response{}, err
			}
		}
		return finetuning.Response{}, nil
	}}
	r := start(t, o, f.open)
	x, err := r.Start("tiny", request())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	watch := func(from int) {
		all.Go(func() {
			next := from
			for e, err := range r.Watch(t.Context(), x.ID, from) {
				if err != nil || e.Seq != next || e.Step != next+1 {
					t.Errorf("event %+v, %v, want %d", e, err, next)
					return
				}
				next++
			}
			if next != steps {
				t.Errorf("it ended after %d of %d", next, steps)
			}
		})
	}
	for i := range 4 {
		watch(i * 30)
	}
	<-halfway
	for i := range 4 { // late
		watch(i * 50)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	seen := 0
	for e, err := range r.Watch(ctx, x.ID, 0) {
		if seen++; e.Seq == steps/2-1 {
			cancel(enough) // while it waits for more
		}
		if err != nil && err != enough { //nolint:errorlint // the cause itself
			t.Errorf("error is %v", err)
		}
	}
	if seen != steps/2+1 { // and the error
		t.Errorf("saw %d", seen)
	}
	close(on)
	all.Wait()
}

// Paths that requests have stay where they may be, and what a run gets are those of this machine.
func TestConfined(t *testing.T) {
	o := options(t)
	o.MemoryLimit = 1 << 30
	outside := t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(outside, "secret.csv"), []byte("path,label\n"), 0o666),
		os.WriteFile(filepath.Join(o.Data, "weights.csv"), []byte("class,weight\ncircle,2\n"), 0o666),
		os.WriteFile(filepath.Join(o.Data, "a-0.tar"), nil, 0o666),
		os.Symlink(outside, filepath.Join(o.Data, "out")),
		os.Symlink("pictures", filepath.Join(o.Data, "in")),
		os.Symlink(filepath.Join(outside, "secret.csv"), filepath.Join(o.Data, "b-0.tar")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f := &fake{tune: func(context.Context, finetuning.Request, func(finetuning.Progress) error) (finetuning.Response, error) {
		return finetuning.Response{}, nil
	}}
	r := start(t, o, f.open)
	for _, c := range []struct {
		change func(q *finetuning.Request)
		kind   error
		want   string
	}{
		{func(q *finetuning.Request) { q.Data = "../secret" }, finetuning.ErrRequest, `data is "../secret", want a path below`},
		{func(q *finetuning.Request) { q.Data = outside }, finetuning.ErrRequest, "want a path below the folder of data"},
		{func(q *finetuning.Request) { q.Data = "pictures/../../secret" }, finetuning.ErrRequest, "want a path below"},
		{func(q *finetuning.Request) { q.Data = "out" }, finetuning.ErrData, "path escapes"},
		{func(q *finetuning.Request) { q.Data = "out/secret.csv" }, finetuning.ErrData, "path escapes"},
		{func(q *finetuning.Request) { q.Data = "nowhere" }, finetuning.ErrData, "no such file"},
		{func(q *finetuning.Request) { q.Data = "*-0.tar" }, finetuning.ErrData, "path escapes"},
		{func(q *finetuning.Request) { q.Data = "out/*.csv" }, finetuning.ErrData, "path escapes"},
		{func(q *finetuning.Request) { q.Data = "*/*.tar" }, finetuning.ErrRequest, "want a pattern of files in one folder"},
		{func(q *finetuning.Request) { q.Validation = "/etc" }, finetuning.ErrRequest, "validation is"},
		{func(q *finetuning.Request) { q.Vocab = "../v" }, finetuning.ErrRequest, "vocab is"},
		{func(q *finetuning.Request) { q.Targets = "out/x.safetensors" }, finetuning.ErrData, "targets is"},
		{func(q *finetuning.Request) { q.ClassWeights = "out/secret.csv" }, finetuning.ErrData, "class_weights is"},
		{func(q *finetuning.Request) { q.Teacher = "../../models/x" }, errNoModel, "teacher: no such model"},
		{func(q *finetuning.Request) { q.Output = "mine" }, finetuning.ErrRequest, "model and output are not of the request"},
		{func(q *finetuning.Request) { q.Model = "mine" }, finetuning.ErrRequest, "model and output are not of the request"},
		{func(q *finetuning.Request) { q.Resume = true }, finetuning.ErrRequest, "resume is not of a new run"},
		{func(q *finetuning.Request) { q.Cache = "../c" }, finetuning.ErrRequest, "cache is"},
		{func(q *finetuning.Request) { q.Cache = "a/b" }, finetuning.ErrRequest, "cache is"},
		{func(q *finetuning.Request) { q.MemoryLimit = -1 }, finetuning.ErrRequest, "memory_limit is -1"},
		{func(q *finetuning.Request) { q.MemoryLimit = 1 << 40 }, finetuning.ErrRequest, "want at most 1073741824"},
		{func(q *finetuning.Request) { q.Recipe = "magic" }, finetuning.ErrRequest, "magic"},
		{func(q *finetuning.Request) { q.Split = 2 }, finetuning.ErrRequest, "split is 2"},
	} {
		q := request()
		c.change(&q)
		x, err := r.Start("tiny", q)
		if !errors.Is(err, c.kind) || x.ID != "" || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("got %+v, %v, want %q", x, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), o.Data) || strings.Contains(err.Error(), o.Dir)) {
			t.Errorf("error %v names a folder of this machine", err)
		}
	}
	if _, err := r.Start("other", request()); !errors.Is(err, errNoModel) {
		t.Errorf("a model that there is not: %v", err)
	}
	if n := len(f.got); n != 0 || len(r.List()) != 0 {
		t.Errorf("%d runs began", n)
	}
	if entries, err := os.ReadDir(o.Dir); err != nil || len(entries) != 1 { // the lock
		t.Errorf("%d files are left, %v", len(entries), err)
	}
	q := request()
	q.Data, q.ClassWeights, q.Cache = "in", "weights.csv", "c"
	q.Recipe, q.Solver, q.Overrides = "probe", "adamw", finetuning.Overrides{}
	x, err := r.Start("tiny", q)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := wait(t, r, x.ID, 0); got.State != Done {
		t.Fatalf("%+v", got)
	}
	got := f.got[0]
	if got.Data != filepath.Join(o.Data, "in") || got.ClassWeights != filepath.Join(o.Data, "weights.csv") || got.Cache != filepath.Join(o.Dir, "cache", "c") ||
		got.Output != filepath.Join(o.Dir, x.ID, "out") || got.MemoryLimit != o.MemoryLimit || got.Within != o.Data || got.Resume {
		t.Errorf("a run got %+v", got)
	}
	for _, bad := range []Options{{}, {Dir: o.Dir, Data: o.Data}, {Dir: o.Dir, Data: o.Dir, Model: o.Model}, {Dir: filepath.Join(o.Data, "x"), Data: o.Data, Model: o.Model},
		{Dir: o.Data, Data: filepath.Join(o.Data, "pictures"), Model: o.Model}, {Dir: t.TempDir(), Data: o.Data, Model: o.Model, Queue: -1}, {Dir: t.TempDir(), Data: filepath.Join(o.Data, "none"), Model: o.Model}} {
		if r, err := Open(bad); err == nil {
			r.Close(t.Context())
			t.Errorf("no error for %+v", bad)
		}
	}
}

// FuzzUnder: whatever a path is, it leads to something below the folder of data, or is an error.
func FuzzUnder(f *testing.F) {
	for _, s := range []string{"pictures", "../x", "/etc/passwd", "in/../..", "out", "out/x", `..\x`, "C:x", "a\x00b", "*", "[", "out/*", "./pictures", "pictures/"} {
		f.Add(s)
	}
	dir := f.TempDir()
	o := Options{Dir: filepath.Join(dir, "runs"), Data: filepath.Join(dir, "data"), Model: func(string) (string, error) { return "", nil }}
	for _, err := range []error{os.MkdirAll(filepath.Join(o.Data, "pictures"), 0o777), os.Symlink("pictures", filepath.Join(o.Data, "in")), os.Symlink(dir, filepath.Join(o.Data, "out"))} {
		if err != nil {
			f.Skip(err)
		}
	}
	r := start(f, o, openClip)
	root, err := filepath.EvalSymlinks(o.Data)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := r.under("data", path)
		if err != nil || path == "" {
			return
		}
		found, err := filepath.Glob(got)
		if err != nil || !strings.ContainsAny(filepath.Base(got), `*?[`) {
			found = []string{got}
		}
		for _, p := range found {
			if real, err := filepath.EvalSymlinks(p); err != nil || !folder.Inside(real, root) {
				t.Fatalf("%q leads to %q (%q), %v", path, got, real, err)
			}
		}
	})
}

// A head that is fitted by L-BFGS tells of pictures in the place of steps; it has no checkpoint, and what it
// goes on with are the features that it has.
func TestProbe(t *testing.T) {
	r := start(t, options(t), openClip)
	x, err := r.Start("tiny", finetuning.Request{Data: "pictures", Recipe: "probe"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Stop(t.Context(), x.ID); err != nil && !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
	if _, err := r.Resume(x.ID); err != nil && !errors.Is(err, ErrState) {
		t.Fatal(err)
	}
	done, events := wait(t, r, x.ID, 0)
	if done.State != Done || done.Response.Best == nil || len(events) < 2 || done.Response.Steps < 1 || len(done.Response.Classes) != 6 {
		t.Errorf("%d events, %+v", len(events), done)
	}
}
