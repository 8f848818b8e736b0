package shard

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/shard/input"
	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// Options are choices of [Open]. Output is wanted.
type Options struct {
	Output string // a folder or a location of a store, such as "s3://BUCKET/PREFIX"

	// What makes the plan. Without Inputs a worker joins a dataset that has been begun, with the settings of its plan.
	Inputs   []string
	Input    input.Options // how Inputs are read
	Format   string        // one of output.Formats; "" is "npy"
	Float32  bool          // npy alone: float32 in place of float16
	Header   bool          // csv alone: the first line has the names of the columns
	Captions bool          // every row has the vector of its caption as well; samples without a caption fail

	Resume      bool // go on with a dataset that has been begun, or join others at it
	RetryFailed bool // try shards again of which [Useless] was said

	// MaxErrors is the share of a shard's samples above which it fails, if they cannot be encoded: 0.1 is one of ten. What the input itself
	// says was not downloaded does not count.
	MaxErrors float64
	Batch     int    // as of [clip.StreamOptions]
	Temp      string // the folder for the list of parts while it is made, and for files on their way to a store that is none of this machine; "" is the system's

	// Progress is called after each sample of a shard, from one goroutine; nil is fine.
	Progress func(Progress)
}

// Progress says how far a worker is with a shard.
type Progress struct {
	Shard   int // its number
	Samples int // of the shard, so far
	Rows    int // of them, those that have vectors
}

// Formats returns the names of the formats of datasets, sorted.
func Formats() []string { return output.Formats() }

// A Job is a dataset that this process works at.
type Job struct {
	*dataset
	model  *clip.Model
	o      Options
	worker string       // a name of its own
	made   bool         // it has made the plan
	begun  atomic.Int64 // shards, so that each has a folder of its own: a source may give a number again while it is in work

	recording, recorded func(n int) // hooks of tests, before and behind the record; nil is fine
}

// Open makes the plan of a dataset, or reads the one that is there and compares it with what is asked for: a difference is a [MismatchError]. Workers
// that open at the same time agree on one plan.
func Open(ctx context.Context, m *clip.Model, o Options) (*Job, error) {
	if !(o.MaxErrors >= 0 && o.MaxErrors <= 1) {
		return nil, fmt.Errorf("shard: errors of at most %v of all pictures, want 0 to 1", o.MaxErrors)
	}
	d, err := openDataset(ctx, o.Output)
	begun := err == nil
	if err != nil && (!errors.Is(err, ErrNoPlan) || len(o.Inputs) == 0) {
		return nil, err
	}
	switch {
	case begun && !o.Resume:
		return nil, fmt.Errorf("shard: %s: %w", o.Output, ErrExists)
	case begun && d.plan.Parts == "":
		return nil, fmt.Errorf("shard: %s: %w: by merging, and there is nothing to encode", o.Output, ErrOther)
	}
	if len(o.Inputs) == 0 {
		o.Captions = d.plan.Spec.Texts
	}
	space, err := spaceOf(ctx, m, o.Captions)
	if err != nil {
		return nil, err
	}
	p := &Plan{Version: version, Inputs: o.Inputs, Input: o.Input, Fingerprint: space.Fingerprint(), Space: space, Model: m.Name(), Vitago: build()}
	p.Spec = output.Spec{Format: o.Format, Dim: space.Dim, Normalized: true, Texts: o.Captions, Header: o.Header}
	if p.Spec.Format == "" {
		p.Spec.Format = "npy"
	}
	p.Spec.Half = p.Spec.Format == "npy" && !o.Float32
	if len(o.Inputs) == 0 {
		p.Spec = d.plan.Spec
	}
	if !begun {
		for _, in := range o.Inputs {
			if within(in, o.Output) {
				return nil, fmt.Errorf("shard: %s: the input %s lies in it, want an output that has nothing but its dataset", o.Output, in)
			}
		}
	}
	j := &Job{dataset: d, model: m, o: o, worker: workerName()}
	if !begun {
		if p.Input.Columns, err = input.Columns(ctx, p.Inputs, p.Input); err != nil {
			return nil, err
		}
		p.Spec.Columns = p.Input.Columns
		if j.made, err = d.makePlan(ctx, p, o.Temp); err != nil {
			return nil, err
		}
		if !j.made && !o.Resume {
			return nil, fmt.Errorf("shard: %s: %w", o.Output, ErrExists)
		}
	}
	if !j.made {
		if err := d.plan.compare(o.Output, p, ""); err != nil {
			return nil, err
		}
	}
	return j, d.readEnds(ctx)
}

// spaceOf returns the space of normalised embeddings, with that of texts if they are wanted.
func spaceOf(ctx context.Context, m *clip.Model, texts bool) (clip.Space, error) {
	if !texts {
		return m.SpaceOf(ctx, "", clip.Vectors{Normalized: true})
	}
	if _, _, err := m.Tokenizer(); err != nil {
		return clip.Space{}, err
	}
	return m.Space(ctx)
}

// Shards returns how many shards the dataset has.
func (j *Job) Shards() int { return j.plan.Shards }

// Plan returns what all workers agree on.
func (j *Job) Plan() Plan { return *j.plan }

// Worker returns the name of this worker, which no other has.
func (j *Job) Worker() string { return j.worker }

var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// workerName returns a name for a worker.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	host = unfit.ReplaceAllString(host, "-")
	var b [4]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("%.40s-%d-%s", host, os.Getpid(), hex.EncodeToString(b[:]))
}

// A state is what is known of a shard.
type state struct {
	record     *Record // of a shard that is done; nil otherwise
	generation int     // of the newest record, whether or not it is void; -1 if there is none
	failure    *Failure
}

// state reads what is known of a shard, and publishes what has a record and was not published.
func (j *Job) state(ctx context.Context, n int) (s state, err error) {
	generation, _, err := j.latest(ctx, "shards", n)
	if err != nil {
		return s, err
	}
	return j.stateAt(ctx, n, generation)
}

// stateAt is state where the generation of the newest record is known, -1 if there is none.
func (j *Job) stateAt(ctx context.Context, n, generation int) (s state, err error) {
	if s.record, s.generation, err = j.recordAt(ctx, n, generation); err != nil {
		return s, err
	}
	if s.record != nil {
		whole, err := j.settle(ctx, s.record)
		if err != nil || whole {
			return s, err
		}
		s.record = nil
	}
	s.failure, err = j.readFailure(ctx, n)
	return s, err
}

// Todo returns the numbers of the shards that are to be done, in order: those that have no record whose files are there. Those of which
// [Useless] was said are left out, unless Options.RetryFailed is set. It lists what there is. Of a folder it reads the records, and finds files
// of other sizes; of a bucket, where each is a request, those of shards alone of which not all files are there.
func (j *Job) Todo(ctx context.Context) (all []int, err error) {
	recorded, failed, files := map[int]bool{}, map[int]bool{}, map[string]int64{}
	for i, err := range j.store.List(ctx, "") {
		if err != nil {
			return nil, err
		}
		switch folder, base := path.Split(i.Name); folder {
		case beside + "shards/":
			if n, _, ok := j.parseName(base); ok {
				recorded[n] = true
			}
		case beside + "failed/":
			if n, _, ok := j.parseName(base); ok {
				failed[n] = true
			}
		default:
			if !strings.HasPrefix(folder, beside) {
				files[i.Name] = i.Size
			}
		}
	}
	lacks := func(name string) bool { _, there := files[name]; return !there }
	whole := map[int]bool{}
	if store.IsLocal(j.location) {
		var mu sync.Mutex
		err := j.each(ctx, "shards", func(text []byte, n, generation int) {
			r, err := j.record(text, n, generation)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			whole[n] = !slices.ContainsFunc(r.Files, func(f output.File) bool {
				size, there := files[f.Name]
				return !strings.HasPrefix(f.Name, beside) && (!there || size != f.Bytes)
			})
		})
		if err != nil {
			return nil, err
		}
	} else {
		for n := range recorded {
			whole[n] = !slices.ContainsFunc(j.plan.Spec.Names(n), lacks)
		}
	}
	for n := range j.plan.Shards {
		switch {
		case whole[n]:
			continue
		case recorded[n] || failed[n]:
			s, err := j.state(ctx, n)
			if err != nil {
				return nil, err
			}
			if s.record != nil || s.failure != nil && s.failure.Useless && !j.o.RetryFailed {
				continue
			}
		}
		all = append(all, n)
	}
	return all, nil
}

// Shard encodes one shard, and returns its record: that which is there, if it is done. An error is of this shard alone or of the worker; [Useless]
// says whether another attempt may help.
func (j *Job) Shard(ctx context.Context, n int) (r *Record, err error) {
	if n < 0 || n >= j.plan.Shards {
		return nil, fmt.Errorf("shard: number %d, want 0 to %d", n, j.plan.Shards-1)
	}
	todo, failed := []int{n}, error(nil)
	_, err = j.Work(ctx, Source{
		Next: func(context.Context) (int, bool, error) {
			if len(todo) == 0 {
				return 0, false, nil
			}
			todo = nil
			return n, true, nil
		},
		Done: func(_ int, done *Record, err error) { r, failed = done, err },
	})
	if err == nil {
		err = failed
	}
	return r, err
}
