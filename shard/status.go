package shard

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/shard/store"
)

// The states of a shard.
const (
	StateDone    = "done"
	StateFailed  = "failed"  // and no worker is at it
	StateClaimed = "claimed" // a worker has it by [Job.Claims]; of others nobody knows
	StateOpen    = "open"
)

// A Status says how far a dataset is, by its records, claims and failures.
type Status struct {
	Output      string        `json:"output"`           // the dataset's location
	Model       string        `json:"model"`            // as it was named
	Fingerprint string        `json:"fingerprint"`      // of the space of the vectors
	Shards      int           `json:"shards"`           // of the plan: the sum of the next four
	Done        int           `json:"done"`             // shards with a record
	Failed      int           `json:"failed"`           // shards that failed, and no worker is at them
	Claimed     int           `json:"claimed"`          // shards that a worker has, by claims in the output
	Open        int           `json:"open"`             // all other shards
	Rows        int           `json:"rows"`             // of shards that are done
	FailedRows  int           `json:"failed_samples"`   // that could not be encoded, in shards that are done
	Missing     int           `json:"missing"`          // that had not been downloaded, in shards that are done
	Rate        float64       `json:"rows_per_second"`  // of the shards that were done last; 0 if there is none
	Left        time.Duration `json:"-"`                // 0 if it is not known
	LeftSeconds float64       `json:"seconds_left"`     // the same
	Workers     int           `json:"workers"`          // that have made these, or have claims
	Each        []ShardStatus `json:"each"`             // by number
	Began       time.Time     `json:"began,omitzero"`   // of the first shard that is done
	Ended       time.Time     `json:"ended,omitzero"`   // of the last
	Kernels     []string      `json:"kernels,omitzero"` // with which shards were made, sorted: on another, bits differ
}

// A ShardStatus says how far a shard is.
type ShardStatus struct {
	Shard   int       `json:"shard"`             // its number
	State   string    `json:"state"`             // [StateDone], [StateFailed], [StateClaimed] or [StateOpen]
	Rows    int       `json:"rows,omitempty"`    // so far, of one that is claimed
	Failed  int       `json:"failed,omitempty"`  // samples that could not be encoded, of one that is done
	Missing int       `json:"missing,omitempty"` // samples that had not been downloaded, of one that is done
	Worker  string    `json:"worker,omitempty"`  // who made it, has it, or tried it last
	Kernel  string    `json:"kernel,omitempty"`  // the implementation of the products, of one that is done
	Began   time.Time `json:"began,omitzero"`    // by the clock of the worker; zero if it is not known
	Ended   time.Time `json:"ended,omitzero"`    // likewise
	Reason  string    `json:"reason,omitempty"`  // of one that has failed
	Useless bool      `json:"useless,omitempty"` // to try it again
}

// As JSON the output, the model and a reason are a [pyjson.Name], as in a [Plan].
type (
	plainStatus Status
	statusJSON  struct {
		Output pyjson.Name       `json:"output"`
		Model  pyjson.Name       `json:"model"`
		Each   []shardStatusJSON `json:"each"`
		*plainStatus
	}
	shardStatusJSON struct {
		Reason pyjson.Name `json:"reason,omitempty"`
		*ShardStatus
	}
)

// MarshalJSON writes a JSON object.
func (s Status) MarshalJSON() ([]byte, error) {
	each := make([]shardStatusJSON, len(s.Each))
	for i := range s.Each {
		each[i] = shardStatusJSON{pyjson.Name(s.Each[i].Reason), &s.Each[i]}
	}
	return json.Marshal(statusJSON{pyjson.Name(s.Output), pyjson.Name(s.Model), each, (*plainStatus)(&s)})
}

// atOnce is how many small files are read at a time: each is a request that takes as long as a network wants.
const atOnce = 16

// ReadStatus reads how far the dataset at a location is. Without one the error is [ErrNoPlan].
func ReadStatus(ctx context.Context, location string) (*Status, error) {
	d, err := openDataset(ctx, location)
	if err != nil {
		return nil, err
	}
	if err := d.checkShards(ctx); err != nil {
		return nil, err
	}
	s := &Status{Output: location, Model: d.plan.Model, Fingerprint: d.plan.Fingerprint, Shards: d.plan.Shards, Each: make([]ShardStatus, d.plan.Shards)}
	for n := range s.Each {
		s.Each[n] = ShardStatus{Shard: n, State: StateOpen}
	}
	// What decides comes last.
	for _, of := range []struct {
		kind string
		read func(e *ShardStatus, text []byte, n, generation int)
	}{
		{"failed", func(e *ShardStatus, text []byte, n, _ int) {
			f, err := parseFailure(text, n)
			if err != nil {
				f = &Failure{Reason: err.Error()}
			}
			*e = ShardStatus{Shard: n, State: StateFailed, Worker: f.Worker, Ended: f.Time, Reason: f.Reason, Useless: f.Useless}
		}},
		{"claims", func(e *ShardStatus, text []byte, n, _ int) {
			if c, err := parseClaim(text, n); err == nil {
				*e = ShardStatus{Shard: n, State: StateClaimed, Rows: c.Rows, Worker: c.Worker, Began: c.Since}
			}
		}},
		{"shards", func(e *ShardStatus, text []byte, n, generation int) {
			r, err := d.record(text, n, generation)
			if err != nil {
				*e = ShardStatus{Shard: n, State: StateOpen, Reason: err.Error()}
				return
			}
			*e = ShardStatus{Shard: n, State: StateDone, Rows: r.Rows, Failed: r.Failed, Missing: r.Missing, Worker: r.Worker, Kernel: r.Kernel, Began: r.Began, Ended: r.Ended}
		}},
	} {
		if err := d.each(ctx, of.kind, func(text []byte, n, generation int) { of.read(&s.Each[n], text, n, generation) }); err != nil {
			return nil, err
		}
	}
	s.sum()
	return s, nil
}

// each reads the newest file of each shard of a kind: "shards", "claims" or "failed". Several goroutines call f, each with another shard.
func (d *dataset) each(ctx context.Context, kind string, f func(text []byte, n, generation int)) error {
	newest, err := d.newest(ctx, kind)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for n, g := range newest {
		name := map[string]string{"shards": d.recordName(n, g), "claims": d.claimName(n, g), "failed": d.failureName(n)}[kind]
		group.Go(func() error {
			text, _, err := store.Read(ctx, d.store, name, maxSmall)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // deleted meanwhile
			}
			if err == nil {
				f(text, n, g)
			}
			return err
		})
	}
	return group.Wait()
}

// sum makes the sums of all shards.
func (s *Status) sum() {
	workers, kernels := map[string]bool{}, map[string]bool{}
	var done []ShardStatus
	soFar := 0
	for _, e := range s.Each {
		switch e.State {
		case StateDone:
			s.Done++
			s.Rows += e.Rows
			s.FailedRows += e.Failed
			s.Missing += e.Missing
			kernels[e.Kernel] = true
			done = append(done, e)
		case StateFailed:
			s.Failed++
		case StateClaimed:
			s.Claimed++
			soFar += e.Rows
		default:
			s.Open++
		}
		if e.Worker != "" && e.State != StateFailed {
			workers[e.Worker] = true
		}
	}
	for k := range kernels {
		s.Kernels = append(s.Kernels, k)
	}
	slices.Sort(s.Kernels)
	s.Workers = len(workers)
	if s.Done == 0 {
		return
	}
	slices.SortFunc(done, func(a, b ShardStatus) int {
		return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.Shard, b.Shard))
	})
	s.Began = slices.MinFunc(done, func(a, b ShardStatus) int { return a.Began.Compare(b.Began) }).Began
	s.Ended = done[len(done)-1].Ended
	s.Rate = rate(done)
	if perShard := float64(s.Rows) / float64(s.Done); s.Rate > 0 {
		left := max(perShard*float64(s.Open+s.Claimed)-float64(soFar), 0)
		s.LeftSeconds = left / s.Rate
		s.Left = time.Duration(min(s.LeftSeconds, maxLeft.Seconds()) * float64(time.Second))
	}
}

const (
	maxLeft = 100 * 365 * 24 * time.Hour // what a Duration can be
	recent  = 10 * time.Minute           // shards of which the rate is that of now
	some    = 20                         // or so many, if fewer were done in that time
)

// rate returns how many rows a second the shards that were done last had, given all in the order in which they ended.
func rate(done []ShardStatus) float64 {
	last := done[len(done)-1].Ended
	from := len(done) - 1
	for from > 0 && (last.Sub(done[from-1].Ended) <= recent || len(done)-from < some) {
		from--
	}
	began, rows := last, 0
	for _, e := range done[from:] {
		rows += e.Rows
		if e.Began.Before(began) {
			began = e.Began
		}
	}
	seconds := last.Sub(began).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(rows) / seconds
}
