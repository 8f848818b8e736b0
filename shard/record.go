package shard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"time"

	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// A Record is what vitago/shards/N.json says of a shard that is done. It is put once, and decides whose files are the shard's.
type Record struct {
	Version     int           `json:"version"`            // of the format
	Shard       int           `json:"shard"`              // its number
	Plan        string        `json:"plan_sha256"`        // of vitago/plan.json
	Generation  int           `json:"generation"`         // 0, or one more than that of the record before, which was void
	Input       string        `json:"input"`              // what was read
	InputSHA256 string        `json:"input_sha256"`       // of all bytes that were read of it
	Samples     int           `json:"samples"`            // that the part had
	Rows        int           `json:"rows"`               // that have vectors
	Failed      int           `json:"failed"`             // that could not be encoded, or had no caption
	Missing     int           `json:"missing"`            // that the input itself says were not downloaded
	LeftOut     []string      `json:"left_out,omitempty"` // what is no sample, such as links in a tar, a sentence each
	Files       []output.File `json:"files"`              // by their names in the dataset
	Temporary   string        `json:"temporary"`          // the folder that has the files until they are published, with a slash at its end
	Fingerprint string        `json:"fingerprint"`        // of the space of the vectors
	Kernel      string        `json:"kernel"`             // the implementation of the products: the bits depend on it
	Vitago      string        `json:"vitago"`             // the version of the worker's program
	Worker      string        `json:"worker"`             // who made it
	Began       time.Time     `json:"began"`              // by the clock of the worker
	Ended       time.Time     `json:"ended"`              // likewise
}

// parseRecord reads the record of a shard.
func parseRecord(text []byte, shard, generation int) (*Record, error) {
	r := &Record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
	}
	switch {
	case r.Version != version:
		return nil, wrong("it is of version %d, want %d", r.Version, version)
	case r.Shard != shard || r.Generation != generation:
		return nil, wrong("it is of shard %d, generation %d, want %d, %d", r.Shard, r.Generation, shard, generation)
	case r.Rows < 0 || r.Failed < 0 || r.Missing < 0 || r.Samples != r.Rows+r.Failed+r.Missing:
		return nil, wrong("%d samples are %d rows, %d failed and %d missing", r.Samples, r.Rows, r.Failed, r.Missing)
	case !isSum(r.InputSHA256) || !isSum(r.Fingerprint):
		return nil, wrong("the input has the SHA-256 %.100q and the space the fingerprint %.100q, want 64 hexadecimal digits", r.InputSHA256, r.Fingerprint)
	case !isTemporary(r.Temporary):
		return nil, wrong("the temporary folder is %.100q", r.Temporary)
	}
	for _, f := range r.Files {
		if store.CheckName(f.Name) != nil || f.Bytes < 0 || !isSum(f.SHA256) {
			return nil, wrong("it has the file %.100q of %d bytes with the SHA-256 %.100q", f.Name, f.Bytes, f.SHA256)
		}
	}
	return r, nil
}

// isTemporary says whether a text is what [dataset.temporary] returns.
func isTemporary(s string) bool {
	name, slash := strings.CutSuffix(s, "/")
	return slash && strings.HasPrefix(s, temporaryFolder) && store.CheckName(name) == nil
}

// record reads the record of a shard, and returns an error for one of another plan: a worker that was paused may put it when the dataset was
// deleted, and begun in another way.
func (d *dataset) record(text []byte, shard, generation int) (*Record, error) {
	r, err := parseRecord(text, shard, generation)
	if err == nil && r.Plan != d.sum {
		return nil, fmt.Errorf("%w: it is of the plan %.16s, want %.16s", ErrDamaged, r.Plan, d.sum)
	}
	return r, err
}

// readRecord returns the newest record of a shard, nil if there is none. One that cannot be read, or is of another plan, counts as none, with its
// generation.
func (d *dataset) readRecord(ctx context.Context, n int) (r *Record, generation int, err error) {
	if generation, _, err = d.latest(ctx, "shards", n); err != nil {
		return nil, -1, err
	}
	return d.recordAt(ctx, n, generation)
}

// recordAt is readRecord of a generation that is known from [dataset.newest]; -1 is none.
func (d *dataset) recordAt(ctx context.Context, n, generation int) (r *Record, _ int, err error) {
	if generation < 0 {
		return nil, -1, nil
	}
	text, _, err := store.Read(ctx, d.store, d.recordName(n, generation), maxSmall)
	if errors.Is(err, fs.ErrNotExist) { // deleted by a person meanwhile
		return nil, -1, nil
	}
	if err != nil {
		return nil, generation, err
	}
	if r, err = d.record(text, n, generation); err != nil {
		return nil, generation, nil
	}
	return r, generation, nil
}

// settle publishes the files of a record, if that is left to do, and says whether all of them are there. If not, the record is void.
func (d *dataset) settle(ctx context.Context, r *Record) (whole bool, err error) {
	moved := false
	for _, f := range r.Files {
		// The temporary one first: a file of that name may be that of a void record.
		there, err := d.has(ctx, r.Temporary+f.Name, f)
		if err != nil {
			return false, err
		}
		if there {
			if err := d.store.Rename(ctx, r.Temporary+f.Name, f.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return false, err
			}
			moved = true
		}
		if there, err = d.has(ctx, f.Name, f); err != nil || !there {
			return false, err
		}
	}
	if moved {
		d.sweep(ctx, r.Shard, r.Generation)
	}
	return true, nil
}

// has says whether there is a file of a name that has as many bytes as one of a record.
func (d *dataset) has(ctx context.Context, name string, f output.File) (bool, error) {
	i, err := d.store.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && i.Size == f.Bytes, err
}

// build returns the version of this program, "" if it is not known.
func build() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == "github.com/vitago/vitago" {
				return m.Version
			}
		}
	}
	return ""
}
