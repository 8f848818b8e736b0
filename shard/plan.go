package shard

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strconv"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/shard/input"
	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

const planName = beside + "plan.json"

// A Plan is what all workers at a dataset agree on: vitago/plan.json, which is written once.
type Plan struct {
	Version     int           `json:"version"`                // of the format
	Inputs      []string      `json:"inputs"`                 // as they were given
	Input       input.Options `json:"input"`                  // how they are read
	Spec        output.Spec   `json:"output"`                 // what is written
	Shards      int           `json:"shards"`                 // how many
	Parts       string        `json:"parts_sha256,omitempty"` // of vitago/parts/SHA256.jsonl, which has the part of each shard in a line; "" of what [Merge] made
	Fingerprint string        `json:"fingerprint"`            // of Space
	Space       clip.Space    `json:"space"`                  // that all vectors are of
	Model       string        `json:"model"`                  // as it was named, for people
	Vitago      string        `json:"vitago"`                 // the version that made it
}

// As JSON inputs and the model are a [pyjson.Name], as locations in package input.
type (
	plainPlan Plan
	planJSON  struct {
		Inputs []pyjson.Name `json:"inputs"`
		Model  pyjson.Name   `json:"model"`
		*plainPlan
	}
)

// MarshalJSON writes a JSON object.
func (p Plan) MarshalJSON() ([]byte, error) {
	return json.Marshal(planJSON{pyjson.Names(p.Inputs), pyjson.Name(p.Model), (*plainPlan)(&p)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Plan) UnmarshalJSON(text []byte) error {
	j := planJSON{plainPlan: (*plainPlan)(p)}
	err := json.Unmarshal(text, &j)
	p.Inputs, p.Model = nil, string(j.Model)
	for _, in := range j.Inputs {
		p.Inputs = append(p.Inputs, string(in))
	}
	return err
}

// maxShards bounds a plan. What reads one takes some hundred bytes for each shard.
const maxShards = 10_000_000

// parsePlan reads a plan.
func parsePlan(text []byte) (*Plan, error) {
	p := &Plan{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
	}
	switch {
	case p.Version != version:
		return nil, wrong("it is of version %d, want %d", p.Version, version)
	case p.Shards < 1 || p.Shards > maxShards:
		return nil, wrong("it has %d shards, want 1 to %d", p.Shards, maxShards)
	case p.Parts != "" && !isSum(p.Parts):
		return nil, wrong("parts have the SHA-256 %.100q, want 64 hexadecimal digits", p.Parts)
	case p.Fingerprint != p.Space.Fingerprint():
		return nil, wrong("the fingerprint is %.16s, and that of the space %.16s", p.Fingerprint, p.Space.Fingerprint())
	case p.Spec.Digits != digits(p.Shards):
		return nil, wrong("numbers of %d shards have %d digits, want %d", p.Shards, p.Spec.Digits, digits(p.Shards))
	case p.Spec.Dim != p.Space.Dim:
		return nil, wrong("vectors have %d values, and those of the space %d", p.Spec.Dim, p.Space.Dim)
	}
	if err := p.Spec.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return p, nil
}

// digits returns how many digits the largest number of so many shards has: all get as many, since readers sort names as texts.
func digits(shards int) int { return len(strconv.Itoa(max(shards-1, 0))) }

func isSum(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && s == strings.ToLower(s)
}

// compare returns a [MismatchError] if what is asked for now, or another dataset has, is not what the plan says.
func (p *Plan) compare(where string, now *Plan, other string) error {
	differ := func(what string, was, is any) error {
		if a, b := says(was), says(is); a != b {
			return &MismatchError{where, what, a, b, other}
		}
		return nil
	}
	var errs []error
	if len(now.Inputs) > 0 {
		was := p.Input
		was.Columns = now.Input.Columns // the inputs say them
		errs = append(errs, differ("inputs", pyjson.Names(p.Inputs), pyjson.Names(now.Inputs)), differ("the options of inputs", was, now.Input))
	}
	was, is := p.Spec, now.Spec
	was.Digits, was.Columns = is.Digits, is.Columns // the inputs say them, too
	errs = append(errs, differ("the output", was, is))
	if all := p.Space.Differences(now.Space); p.Fingerprint != now.Fingerprint {
		errs = append(errs, &MismatchError{where, "vectors of the space", fmt.Sprintf("%.16s (%s)", p.Fingerprint, strings.Join(all, "; ")), fmt.Sprintf("%.16s", now.Fingerprint), other})
	} else if was.Texts {
		errs = append(errs, differ("a text tower of the fingerprint", p.Space.Text, now.Space.Text))
	}
	return errors.Join(errs...)
}

// says writes a value for people.
func says(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // all are texts, numbers and bools
	}
	return string(text)
}

func partsName(sum string) string { return beside + "parts/" + sum + ".jsonl" }
func endsName(sum string) string  { return beside + "parts/" + sum + ".ends" }

// maxPart bounds the line of a part: 10,000 names of files have about 1 MB.
const maxPart = 1 << 30

// putParts writes parts to the store under the name of their SHA-256, so that workers that do this at once write the same, and returns how many
// there are. They lie in a file of the folder temp meanwhile, and not in memory.
func putParts(ctx context.Context, s store.Store, parts iter.Seq2[input.Part, error], temp string) (sum string, n int, err error) {
	f, err := os.CreateTemp(temp, "vitago-parts-")
	if err != nil {
		return "", 0, fmt.Errorf("shard: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	h := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(f, h))
	var ends []byte
	end := int64(0)
	for p, err := range parts {
		if err != nil {
			return "", 0, err
		}
		line, err := json.Marshal(p)
		if err != nil {
			return "", 0, fmt.Errorf("shard: %w", err)
		}
		if len(line) >= maxPart {
			return "", 0, fmt.Errorf("shard: part %d takes %d bytes in the plan, want at most %d: fewer pictures a shard", n, len(line), maxPart)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return "", 0, fmt.Errorf("shard: %w", err)
		}
		end += int64(len(line)) + 1
		ends = binary.LittleEndian.AppendUint64(ends, uint64(end))
		if n++; n > maxShards {
			return "", 0, fmt.Errorf("shard: more than %d shards: give more pictures a shard", maxShards)
		}
	}
	if err := w.Flush(); err != nil {
		return "", 0, fmt.Errorf("shard: %w", err)
	}
	sum = hex.EncodeToString(h.Sum(nil))
	if err := s.Put(ctx, partsName(sum), f, end, store.PutOptions{}); err != nil {
		return "", 0, err
	}
	return sum, n, store.Write(ctx, s, endsName(sum), ends, store.PutOptions{})
}

// parseEnds reads where the lines of n parts end.
func parseEnds(b []byte, n int) ([]int64, error) {
	if len(b) != 8*n {
		return nil, fmt.Errorf("%w: the ends of parts take %d bytes, want %d for %d shards", ErrDamaged, len(b), 8*n, n)
	}
	ends := make([]int64, n)
	before := int64(0)
	for i := range ends {
		end := binary.LittleEndian.Uint64(b[8*i:])
		if end <= uint64(before) || end-uint64(before) > maxPart {
			return nil, fmt.Errorf("%w: part %d lies from byte %d to %d", ErrDamaged, i, before, end)
		}
		before = int64(end)
		ends[i] = before
	}
	return ends, nil
}

// readEnds reads where the lines of all parts end.
func (d *dataset) readEnds(ctx context.Context) error {
	b, _, err := store.Read(ctx, d.store, endsName(d.plan.Parts), 8*maxShards)
	if err != nil {
		return err
	}
	if d.ends, err = parseEnds(b, d.plan.Shards); err != nil {
		return fmt.Errorf("shard: %s: %s: %w", d.location, endsName(d.plan.Parts), err)
	}
	return nil
}

// checkShards returns an error if the plan has another number of shards than there are parts. All that needs memory for each shard asks it first.
func (d *dataset) checkShards(ctx context.Context) error {
	if d.plan.Parts == "" {
		return nil
	}
	i, err := d.store.Stat(ctx, endsName(d.plan.Parts))
	if errors.Is(err, fs.ErrNotExist) { // what is done can be read without
		return nil
	}
	if err == nil && i.Size != 8*int64(d.plan.Shards) {
		err = fmt.Errorf("shard: %s: %s: %w: it has %d shards, and %s has %d bytes, want 8 for each", d.location, planName, ErrDamaged, d.plan.Shards, i.Name, i.Size)
	}
	return err
}

// part reads the part of a shard.
func (d *dataset) part(ctx context.Context, n int) (p input.Part, err error) {
	begin := int64(0)
	if n > 0 {
		begin = d.ends[n-1]
	}
	name := partsName(d.plan.Parts)
	r, err := d.store.Open(ctx, name, begin, d.ends[n]-begin)
	if err != nil {
		if i, e := d.store.Stat(ctx, name); e == nil && i.Size < d.ends[n] {
			err = fmt.Errorf("shard: %s: %s: part %d: %w: %d bytes, want %d", d.location, name, n, ErrDamaged, i.Size, d.ends[n])
		}
		return p, err
	}
	defer r.Close()
	line, err := io.ReadAll(r)
	if err != nil {
		return p, err
	}
	if want := d.ends[n] - begin; int64(len(line)) != want {
		err = fmt.Errorf("%d bytes, want %d", len(line), want)
	} else {
		err = json.Unmarshal(line, &p)
	}
	if err != nil {
		return p, fmt.Errorf("shard: %s: %s: part %d: %w: %w", d.location, name, n, ErrDamaged, err)
	}
	return p, nil
}

// makePlan lists the inputs, and puts the plan, or reads the one that another worker was faster with.
func (d *dataset) makePlan(ctx context.Context, p *Plan, temp string) (mine bool, err error) {
	if p.Parts, p.Shards, err = putParts(ctx, d.store, input.Parts(ctx, p.Inputs, p.Input), temp); err != nil {
		return false, err
	}
	if p.Shards == 0 {
		return false, fmt.Errorf("shard: no pictures in %s", strings.Join(p.Inputs, ", "))
	}
	p.Spec.Digits = digits(p.Shards)
	if err := p.Spec.Validate(); err != nil {
		return false, err
	}
	if p.Spec.Format == "csv" {
		create, load := p.Spec.SQL("pictures")
		if err := store.Write(ctx, d.store, beside+"load.sql", fmt.Appendf(nil, "%s-- each file of csv: %s\n", create, load), store.PutOptions{}); err != nil {
			return false, err
		}
	}
	text := folder.MustJSON(p)
	err = store.Write(ctx, d.store, planName, text, store.PutOptions{IfAbsent: true})
	if errors.Is(err, store.ErrExists) {
		other, err := openDataset(ctx, d.location)
		if err == nil {
			d.plan, d.sum = other.plan, other.sum
		}
		return false, err
	}
	d.plan, d.sum = p, sumOf(text)
	return err == nil, err
}
