package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/shard/input"
	"github.com/vitago/vitago/shard/store"
)

// Kinds of errors, for [errors.Is].
var (
	// ErrThreshold is of a shard of whose pictures too many could not be encoded.
	ErrThreshold = errors.New("too many of its pictures could not be encoded")
	// ErrExists is of an output that has been begun, where nothing is to be resumed.
	ErrExists = errors.New("a dataset has been begun there, and resuming was not asked for")
	// ErrNoPlan is of an output in which nothing has been begun.
	ErrNoPlan = errors.New("no dataset has been begun there")
	// ErrOther is what a [MismatchError] is.
	ErrOther = errors.New("made in another way")
	// ErrDamaged is of a file of a dataset, or of what lies beside it, that is not what was written.
	ErrDamaged = errors.New("damaged")
	// ErrFailed is of a shard that has failed before, in a way that does not change by itself.
	ErrFailed = errors.New("has failed before")
)

// Useless says whether to try again after err is useless, since the same would come of it: the input is damaged or has changed, too many pictures
// cannot be encoded, or the dataset was begun in another way. After any other error, as of a network or a disk, another attempt may succeed.
func Useless(err error) bool {
	for _, kind := range []error{ErrThreshold, ErrOther, ErrDamaged, ErrFailed, input.ErrDamaged, input.ErrChanged} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// A MismatchError says in what a dataset that has been begun differs from what is asked for. It is an [ErrOther].
type MismatchError struct {
	Output   string // the dataset's location
	What     string // a setting, or the space of the vectors
	Was, Now string // in the dataset, and as it is asked for
	Other    string // the dataset that Now is of, where [Merge] compares two; else it is what was asked for
}

// Error implements error.
func (e *MismatchError) Error() string {
	if e.Other != "" {
		return fmt.Sprintf("shard: %s: was begun with %s %s, and %s with %s", e.Output, e.What, e.Was, e.Other, e.Now)
	}
	return fmt.Sprintf("shard: %s: was begun with %s %s, which is now %s", e.Output, e.What, e.Was, e.Now)
}

// Is reports whether target is [ErrOther].
func (e *MismatchError) Is(target error) bool { return target == ErrOther }

// A Failure is what vitago/failed/N.json says of a shard that could not be encoded.
type Failure struct {
	Version int       `json:"version"` // of the format
	Shard   int       `json:"shard"`   // its number
	Reason  string    `json:"reason"`  // in words
	Useless bool      `json:"useless"` // whether trying again is, as of [Useless]
	Worker  string    `json:"worker"`  // who tried it last
	Time    time.Time `json:"time"`    // by the clock of the worker
}

// maxSmall bounds the files beside a dataset that hold one object.
const maxSmall = 1 << 24

// parseFailure reads what [Job.fail] wrote.
func parseFailure(text []byte, n int) (*Failure, error) {
	f := &Failure{}
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if f.Version != version || f.Shard != n || f.Reason == "" {
		return nil, fmt.Errorf("%w: version %d of shard %d with the reason %.100q, want version %d of shard %d with one", ErrDamaged, f.Version, f.Shard, f.Reason, version, n)
	}
	return f, nil
}

// readFailure returns why a shard has failed, nil if it has not. One that cannot be read says that.
func (d *dataset) readFailure(ctx context.Context, n int) (*Failure, error) {
	text, _, err := store.Read(ctx, d.store, d.failureName(n), maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := parseFailure(text, n)
	if err != nil { // the shard may still be encoded
		return &Failure{Version: version, Shard: n, Reason: err.Error()}, nil
	}
	return f, nil
}

// fail writes why a shard has failed, unless the dataset has another plan by now.
func (j *Job) fail(ctx context.Context, n int, err error) error {
	if err := j.samePlan(ctx); err != nil {
		return err
	}
	return store.Write(ctx, j.store, j.failureName(n), folder.MustJSON(Failure{version, n, err.Error(), Useless(err), j.worker, time.Now().UTC()}), store.PutOptions{})
}
