package shard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/shard/input"
	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// TestOther: a dataset that was begun in another way is not gone on with, and the error says both sides.
func TestOther(t *testing.T) {
	in, out := photos(t, 2, nil), t.TempDir()
	o := Options{Output: out, Inputs: []string{in}, Resume: true}
	open(t, o)
	squashed, err := demo.Open(clip.Checkpoint(converter.Prepare(clipvit.Choice{Fit: "pad"})))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		model  *clip.Model
		change func(o *Options)
		want   string
	}{
		{"inputs", model(), func(o *Options) { o.Inputs = []string{in, in} }, "inputs"},
		{"shards", model(), func(o *Options) { o.Input.PerShard = 7 }, `the options of inputs {}, which is now {"per_shard":7}`},
		{"format", model(), func(o *Options) { o.Format = "jsonl" }, `"format":"npy"`},
		{"float32", model(), func(o *Options) { o.Float32 = true }, "the output"},
		{"captions", model(), func(o *Options) { o.Captions = true }, `"texts":true`},
		{"model", squashed, func(*Options) {}, "vectors of the space"},
	} {
		other := o
		c.change(&other)
		_, err := Open(t.Context(), c.model, other)
		if !errors.Is(err, ErrOther) || !Useless(err) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: error %v, want %q", c.what, err, c.want)
		}
	}
	o.Resume = false
	if _, err := Open(t.Context(), model(), o); !errors.Is(err, ErrExists) {
		t.Errorf("error %v, want %v", err, ErrExists)
	}
	if _, err := Open(t.Context(), model(), Options{Output: t.TempDir()}); !errors.Is(err, ErrNoPlan) {
		t.Errorf("error %v, want %v", err, ErrNoPlan)
	}
	if _, err := Open(t.Context(), model(), Options{Output: t.TempDir(), Inputs: []string{in}, MaxErrors: 2}); err == nil {
		t.Error("errors of 200% of all pictures were permitted")
	}
	j := open(t, Options{Output: out, Resume: true}) // with the settings of the plan
	if p := j.Plan(); !slices.Equal(p.Inputs, []string{in}) || p.Spec.Format != "npy" {
		t.Errorf("%+v", p)
	}
}

// TestOnePlan: workers that open at once agree on one plan.
func TestOnePlan(t *testing.T) {
	in, out := photos(t, 6, nil), t.TempDir()
	var made [4]bool
	var workers sync.WaitGroup
	for i := range made {
		workers.Go(func() {
			j, err := Open(t.Context(), model(), Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 2}, Resume: true})
			if err != nil {
				t.Error(err)
				return
			}
			made[i] = j.made
			if j.Shards() != 3 {
				t.Errorf("%d shards, want 3", j.Shards())
			}
		})
	}
	workers.Wait()
	if n := slices.Index(made[:], true); n < 0 || slices.Contains(made[n+1:], true) {
		t.Errorf("the plan was made by %v, want one of them", made)
	}
}

// TestChanged: a tar that has changed since the plan, or is cut off, fails its shard for good, and no other. A file among others that has is one
// picture that failed.
func TestChanged(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	for i := range 3 {
		writeTar(t, filepath.Join(in, fmt.Sprintf("%d.tar", i)), []string{"a", "b"})
	}
	cut, err := os.ReadFile(filepath.Join(in, "2.tar"))
	if err == nil {
		err = os.WriteFile(filepath.Join(in, "2.tar"), cut[:len(cut)/2], 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	j := open(t, Options{Output: out, Inputs: []string{in}, MaxErrors: 1})
	writeTar(t, filepath.Join(in, "1.tar"), []string{"a", "b", "c"})
	r := all(t, j)
	if r.Done != 1 || r.Failed != 2 || r.Useless != 2 {
		t.Errorf("%+v, want one done, and two that are useless", r)
	}
	if _, err := j.Shard(t.Context(), 2); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "2.tar") {
		t.Errorf("error %v, want %v, of 2.tar", err, ErrFailed)
	}
	f, err := j.readFailure(t.Context(), 1)
	if err != nil || !f.Useless || !strings.Contains(f.Reason, "1.tar") || !strings.Contains(f.Reason, "changed") || f.Worker != j.worker {
		t.Errorf("failure %+v, error %v", f, err)
	}
	s, err := ReadStatus(t.Context(), out)
	if err != nil || s.Done != 1 || s.Failed != 2 || s.Rows != 2 || s.Each[1].State != StateFailed || !s.Each[1].Useless || s.Each[0].Rows != 2 || s.Open != 0 {
		t.Errorf("status %+v, error %v", s, err)
	}
	if _, err := j.Shard(t.Context(), 1); !errors.Is(err, ErrFailed) || !Useless(err) {
		t.Errorf("error %v, want %v", err, ErrFailed)
	}
	if _, err := j.Shard(t.Context(), 9); err == nil {
		t.Error("shard 9 of 3 was encoded")
	}
	photo, files := photos(t, 2, nil), t.TempDir()
	j = open(t, Options{Output: files, Inputs: []string{photo}, MaxErrors: 1})
	if err := os.WriteFile(filepath.Join(photo, "001.png"), []byte("another"), 0o666); err != nil {
		t.Fatal(err)
	}
	if r := all(t, j); r.Done != 1 || r.Rows != 1 {
		t.Errorf("%+v, want one row", r)
	}
}

// TestThreshold: a shard whose share of failed pictures is above the threshold fails, at it does not; reasons stand in the errors.
func TestThreshold(t *testing.T) {
	in := photos(t, 4, func(i int) bool { return i == 2 })
	for _, c := range []struct {
		most float64
		done bool
	}{{0, false}, {0.24, false}, {0.25, true}, {1, true}} {
		out := t.TempDir()
		j := open(t, Options{Output: out, Inputs: []string{in}, MaxErrors: c.most})
		r := all(t, j)
		if c.done != (r.Done == 1) || c.done == errors.Is(r.First, ErrThreshold) {
			t.Errorf("of at most %v: %+v", c.most, r)
		}
		if !c.done {
			if len(tree(t, out)) != 0 || !strings.Contains(r.First.Error(), "1 of 4") || !strings.Contains(r.First.Error(), "002.png: ") {
				t.Errorf("of at most %v: files of %v; %v", c.most, len(tree(t, out)), r.First)
			}
			continue
		}
		rec, _, err := j.readRecord(t.Context(), 0)
		if err != nil || rec.Samples != 4 || rec.Rows != 3 || rec.Failed != 1 {
			t.Errorf("record %+v, error %v", rec, err)
		}
		for f, err := range output.Failures(t.Context(), j.store, rec.Files) {
			if err != nil || f.Key != "002.png" || f.Stage != stageDecode || f.Reason == "" {
				t.Errorf("failure %+v, error %v", f, err)
			}
		}
	}
}

// TestNoRows: a shard all of whose pictures have failed has no rows and no files but the errors, and the dataset is complete.
func TestNoRows(t *testing.T) {
	in, out := photos(t, 4, func(i int) bool { return i < 2 }), t.TempDir()
	all(t, open(t, Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 2}, MaxErrors: 1}))
	if files := tree(t, out); len(files) != 2 || files["img_emb/img_emb_1.npy"] == "" || files["metadata/metadata_1.parquet"] == "" {
		t.Errorf("%d files", len(files))
	}
	v, err := Verify(t.Context(), out, func(err error) { t.Error(err) })
	if err != nil || v.Rows != 2 || v.Done != 2 {
		t.Errorf("%+v, error %v", v, err)
	}
	if todo, err := open(t, Options{Output: out, Resume: true}).Todo(t.Context()); err != nil || len(todo) > 0 {
		t.Errorf("to do are %v, error %v", todo, err)
	}
	m, err := Merge(t.Context(), filepath.Join(t.TempDir(), "merged"), []string{out}, MergeOptions{})
	if err != nil || m.Shards != 1 || m.Empty != 1 || m.Rows != 2 {
		t.Errorf("%+v, error %v", m, err)
	}
}

// TestCaptions: text_emb has what the text tower makes of the captions, cut to its context; a sample without one fails.
func TestCaptions(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	long := strings.Repeat("a red circle ", 40)
	captions := []string{"a red circle", "", "a blue square", long, "€"}
	writeTar(t, filepath.Join(in, "0.tar"), captions)
	j := open(t, Options{Output: out, Inputs: []string{filepath.Join(in, "0.tar")}, Captions: true, Float32: true, MaxErrors: 1})
	if r := all(t, j); r.Done != 1 {
		t.Fatalf("%+v", r)
	}
	rec, _, err := j.readRecord(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for row, err := range output.Rows(t.Context(), j.store, rec.Files, j.plan.Spec) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		ids, err := model().Tokenize(t.Context(), row.Caption, true)
		if err != nil {
			t.Fatal(err)
		}
		want, err := model().EncodeTokens(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		clip.Normalize(want...)
		if !slices.Equal(row.Text, want[0]) {
			t.Errorf("%s: other values", row.Caption)
		}
	}
	stages := map[string]int{}
	for f, err := range output.Failures(t.Context(), j.store, rec.Files) {
		if err != nil {
			t.Fatal(err)
		}
		stages[f.Stage]++
	}
	if n != 3 || stages[stageCaption] != 2 {
		t.Errorf("%d rows, failures %v; want 3, and 2 of captions", n, stages)
	}
}

var errNumber = errors.New("the source gives the number 4, want 0 to 3")

// TestEnds: a context that ends, a source that fails and a number that there is not end the work, and leave nothing behind.
func TestEnds(t *testing.T) {
	in := photos(t, 8, nil)
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		source func(cancel context.CancelFunc) Source
		want   error
	}{
		"context": {func(cancel context.CancelFunc) Source {
			n := -1
			return Source{Next: func(context.Context) (int, bool, error) {
				if n++; n == 2 {
					cancel()
				}
				return n, true, nil
			}}
		}, context.Canceled},
		"source": {func(context.CancelFunc) Source {
			n := -1
			return Source{Next: func(context.Context) (int, bool, error) {
				if n++; n == 1 {
					return 0, false, broken
				}
				return n, true, nil
			}}
		}, broken},
		"number": {func(context.CancelFunc) Source {
			n := 2
			return Source{Next: func(context.Context) (int, bool, error) { n++; return n, true, nil }}
		}, errNumber},
	} {
		out := t.TempDir()
		j := open(t, Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 2}})
		ctx, cancel := context.WithCancel(t.Context())
		s := c.source(cancel)
		given, ended := 0, 0
		next := s.Next
		s.Next = func(ctx context.Context) (int, bool, error) {
			n, ok, err := next(ctx)
			if ok {
				given++
			}
			return n, ok, err
		}
		var mu sync.Mutex
		s.Done = func(int, *Record, error) { mu.Lock(); ended++; mu.Unlock() }
		_, err := j.Work(ctx, s)
		cancel()
		if !errors.Is(err, c.want) && (c.want != errNumber || err == nil || !strings.Contains(err.Error(), c.want.Error())) { //nolint:errorlint // which of the rows it is
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
		if given != ended {
			t.Errorf("%s: %d numbers were given, and %d ended", name, given, ended)
		}
		clean(t, out)
	}
}

// failing is a store in which putting files of some names fails.
type failing struct {
	store.Store
	name string
	err  error
}

func (f failing) Rename(ctx context.Context, from, to string) error {
	if strings.Contains(to, f.name) {
		return f.err
	}
	return f.Store.Rename(ctx, from, to)
}

// TestFullDisk: an output that cannot be written ends the worker, and says nothing against the shard.
func TestFullDisk(t *testing.T) {
	in, out := photos(t, 4, nil), t.TempDir()
	o := Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 1}, Resume: true}
	j := open(t, o)
	full := errors.New("disk full")
	j.store = failing{j.store, "metadata", full}
	s, err := j.Assigned(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Work(t.Context(), s); !errors.Is(err, full) || Useless(err) {
		t.Errorf("error %v, want %v", err, full)
	}
	if _, err := os.Stat(filepath.Join(out, "vitago", "failed")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a shard was said to have failed")
	}
	if r := all(t, open(t, o)); r.Done+r.Before != 4 || r.Before == 0 {
		t.Errorf("%+v, want 4 shards, and those whose record there was published", r)
	}
	clean(t, out)
}

// TestOlderPlan: a worker that was paused while its dataset was deleted, and begun in another way, puts nothing into the new one; and if it was paused
// between that check and the record, the record is void.
func TestOlderPlan(t *testing.T) {
	in := photos(t, 4, nil)
	for name, pause := range map[string]func(j *Job, begin func()){
		"before":     func(_ *Job, begin func()) { begin() },
		"just then":  func(j *Job, begin func()) { j.recording = func(int) { begin() } },
		"and failed": func(j *Job, begin func()) { begin(); j.o.MaxErrors = -1 },
	} {
		out := t.TempDir()
		o := Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 2}}
		older := open(t, o)
		var newer *Job
		pause(older, func() {
			for _, dir := range []string{"vitago/plan.json", "vitago/tmp"} { // its list of parts may be there still
				if err := os.RemoveAll(filepath.Join(out, dir)); err != nil {
					t.Error(err)
				}
			}
			o.Input.PerShard = 3
			newer = open(t, o)
		})
		if r, err := older.Shard(t.Context(), 0); err == nil || name != "just then" && !errors.Is(err, ErrOther) {
			t.Errorf("%s: record %+v, error %v, want %v", name, r, err, ErrOther)
		}
		s, err := ReadStatus(t.Context(), out)
		if err != nil || s.Open != 2 {
			t.Errorf("%s: %+v, error %v, want 2 that are open", name, s, err)
		}
		if r := all(t, newer); r.Done != 2 || r.Rows != 4 {
			t.Errorf("%s: %+v, want 2 done", name, r)
		}
		if v, err := Verify(t.Context(), out, func(err error) { t.Errorf("%s: %v", name, err) }); err != nil || v.Rows != 4 {
			t.Errorf("%s: %+v, error %v", name, v, err)
		}
		clean(t, out)
	}
}
