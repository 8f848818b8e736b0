package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/shard"
	"github.com/vitago/vitago/shard/input"
	_ "github.com/vitago/vitago/shard/store/s3" // s3://
)

// shardsHelp is what encode says of --shards.
const shardsHelp = `With --shards images are encoded in shards into OUT, a folder or s3://BUCKET/PREFIX, by as many
workers as are started with the same command line and --resume. IMAGE is then a folder, a .txt with
a path a line, a .tar of WebDataset or img2dataset, or a .parquet, here or on S3. A worker takes
shards that no other has, or with --part I/N a share of its own. A shard is written, read back, and
only then has its name; whatever ends a worker, whoever comes next encodes it again, to the same
bytes. OUT has img_emb/img_emb_N.npy, float16 of length 1, and metadata/metadata_N.parquet, as clip-
retrieval writes them, or what --format says. Images that cannot be read stand in OUT/vitago/errors.
"vitago status OUT" says how far it is, "vitago verify-shards OUT" whether all of it is there. The
exit status is 42 where trying again is useless, since the input is damaged or OUT was made in
another way, and 1 where it may help. docs/shards.md has the rest.`

// sharding is what the flags of --shards ask for.
type sharding struct {
	on          bool
	perShard    int
	float32     bool
	captions    bool
	maxErrors   float64
	part        string // I/N, or ""
	lease       time.Duration
	retryFailed bool
	columns     input.Options // those of a parquet
}

// shardFlags are those that go with --shards alone.
var shardFlags = []string{"per-shard", "float32", "captions", "max-errors", "part", "lease", "retry-failed", "bytes-column", "caption-column", "key-column"}

// defaultMaxErrors is far above what collections have, and far below what a wrong folder, or a codec that is not known, comes to.
const defaultMaxErrors = 0.1

// flag declares the flags.
func (s *sharding) flag(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&s.on, "shards", false, "encode in shards into OUT, which -o names, a folder or s3://BUCKET/PREFIX")
	f.IntVar(&s.perShard, "per-shard", 10_000, "`N` images a shard, of folders, lists and tables; a tar is one")
	f.BoolVar(&s.float32, "float32", false, "npy in float32, in place of float16")
	f.BoolVar(&s.captions, "captions", false, "encode captions as well, to text_emb; an image without one counts as an error")
	f.Float64Var(&s.maxErrors, "max-errors", defaultMaxErrors, "`SHARE` of a shard's images that may fail, 0 to 1, or the shard does; those that were not downloaded do not count")
	f.StringVar(&s.part, "part", "", "`I/N` takes the share of worker I of N, from 0 on, in place of what no other has")
	f.DurationVar(&s.lease, "lease", shard.DefaultLease, "`TIME` after which the shard of a worker that is not heard of is another's")
	f.BoolVar(&s.retryFailed, "retry-failed", false, "with --resume: try shards again that have failed for good")
	f.StringVar(&s.columns.Bytes, "bytes-column", "", "`NAME` of a parquet's column that has the images (default: the one whose name says so)")
	f.StringVar(&s.columns.Caption, "caption-column", "", "`NAME` of a parquet's column of captions (default: the one whose name says so)")
	f.StringVar(&s.columns.Key, "key-column", "", "`NAME` of a parquet's column that names images (default: the one whose name says so)")
}

// check finds what can be wrong with the flags together.
func (s *sharding) check(cmd *cobra.Command, e *encoding) error {
	flags := cmd.Flags()
	if !s.on {
		for _, name := range shardFlags {
			if flags.Changed(name) {
				return usagef("--%s goes with --shards", name)
			}
		}
		return nil
	}
	for _, c := range []struct{ name, why string }{
		{"text", "captions of images are texts: --captions"}, {"text-file", "captions of images are texts: --captions"}, {"vocab", ""},
		{"features", "shards have embeddings"}, {"layer", "shards have embeddings"}, {"normalize", "vectors of shards always have the length 1"},
		{"overwrite", "delete OUT, or give another"}, {"skip-errors", "--max-errors says how many may fail"},
	} {
		if flags.Changed(c.name) && !(c.name == "vocab" && s.captions) {
			if c.name == "vocab" {
				c.why = "images have no words, and captions go with --captions"
			}
			return usagef("--%s does not go with --shards: %s", c.name, c.why)
		}
	}
	switch {
	case e.output == "":
		return usagef("--shards goes with -o OUT, a folder or s3://BUCKET/PREFIX")
	case e.format == "safetensors":
		return usagef("--format safetensors does not go with --shards: want %s", strings.Join(shard.Formats(), ", "))
	case s.float32 && e.format != "" && e.format != "npy":
		return usagef("--float32 is of --format npy: %s always has float32", e.format)
	case s.perShard < 1:
		return usagef("--per-shard is %d, want at least 1", s.perShard)
	case !(s.maxErrors >= 0 && s.maxErrors <= 1):
		return usagef("--max-errors is %v, want 0 to 1", s.maxErrors)
	case s.lease <= 0 || s.lease > 24*time.Hour:
		return usagef("--lease is %v, want more than 0 and at most 24h", s.lease)
	case s.part != "" && flags.Changed("lease"):
		return usagef("--lease is of workers that share what there is, and --part takes a part of its own")
	case s.retryFailed && !e.keep.Resume:
		return usagef("--retry-failed goes with --resume")
	}
	_, _, err := s.share()
	return err
}

// share returns what --part says: 0 of 0 for all that no other has.
func (s *sharding) share() (i, of int, err error) {
	if s.part == "" {
		return 0, 0, nil
	}
	a, b, _ := strings.Cut(s.part, "/")
	i, err1 := strconv.Atoi(a)
	of, err2 := strconv.Atoi(b)
	if err1 != nil || err2 != nil || of < 1 || i < 0 || i >= of {
		return 0, 0, usagef("--part is %q, want I/N with I from 0 to N-1", s.part)
	}
	return i, of, nil
}

// neverAgain is an error after which the same command line would fail again.
type neverAgain struct{ error }

func (n neverAgain) Unwrap() error { return n.error }

// shards encodes in shards.
func (e *encoding) shards(cmd *cobra.Command, inputs []string) error {
	ctx, log, s := cmd.Context(), cmd.ErrOrStderr(), &e.sharding
	if len(inputs) == 0 {
		for _, name := range []string{"format", "float32", "captions", "per-shard", "bytes-column", "caption-column", "key-column"} {
			if cmd.Flags().Changed(name) {
				return usagef("--%s stands in the plan of %s, and goes with the images that it was begun with", name, e.output)
			}
		}
	}
	m, err := e.open(log)
	if err != nil {
		return err
	}
	defer m.Close()
	if e.captions() {
		if err := e.checkText(log, m); err != nil {
			return err
		}
	}
	o := shard.Options{
		Output: e.output, Inputs: inputs, Input: s.columns, Format: e.format, Float32: s.float32, Captions: s.captions, MaxErrors: s.maxErrors, Resume: e.keep.Resume, RetryFailed: s.retryFailed,
	}
	o.Input.PerShard = s.perShard
	var notes []string
	o.Input.Note = func(n string) { notes = append(notes, n) }
	if cmd.Flags().Changed("batch") {
		o.Batch = e.batch
	}
	p := startProgress(log, "loading "+e.model, megabytes)
	var mu sync.Mutex
	began, samples := time.Time{}, 0
	o.Progress = func(x shard.Progress) {
		mu.Lock()
		defer mu.Unlock()
		samples++
		p.note.Store(fmt.Sprintf("%s images, %.1f images/s, shard %d", grouped(int64(samples)), float64(samples)/time.Since(began).Seconds(), x.Shard))
	}
	j, err := shard.Open(ctx, m, o)
	loaded := p.stop()
	for _, n := range notes {
		note(log, []string{n})
	}
	if err != nil {
		return forGood(adviseVocabulary(err, e.model))
	}
	source, total, end, err := s.source(cmd, j)
	if err != nil {
		return err
	}
	defer end()
	p, began = startProgress(log, "worker "+j.Worker(), count), time.Now()
	p.set(0, int64(total))
	ended, done, left := 0, source.Done, leftOut{}
	source.Done = func(n int, r *shard.Record, err error) {
		mu.Lock()
		ended++
		p.set(int64(ended), int64(max(total, ended)))
		mu.Unlock()
		if r != nil && r.Worker == j.Worker() {
			left.add(n, r.LeftOut)
		}
		if done != nil {
			done(n, r, err)
		}
		if err != nil && ctx.Err() == nil {
			p.mu.Lock()
			p.wipe()
			fmt.Fprintf(failures(ctx, cmd.ErrOrStderr()), "shard %d: %s\n", n, plain(err))
			p.mu.Unlock()
		}
	}
	r, err := j.Work(ctx, source)
	elapsed := p.stop()
	note(log, left.notes(e.output))
	if err != nil {
		return forGood(err)
	}
	before := ""
	if r.Before > 0 {
		before = fmt.Sprintf("; %s from before, or of other workers", plural.Of(r.Before, "shard"))
	}
	fmt.Fprintf(log, "%s: %s of %d, %s in %s, after %s of loading%s\n", e.output, plural.Of(r.Done, "shard"), j.Shards(), plural.Of(r.Rows, "row"), seconds(elapsed), seconds(loaded), before)
	if r.Failed > 0 {
		err = fmt.Errorf("%s failed, the first: %w", plural.Of(r.Failed, "shard"), r.First)
		if r.Failed == r.Useless {
			return neverAgain{err}
		}
	}
	return err
}

// A leftOut collects what shards have left out.
type leftOut struct {
	mu     sync.Mutex
	shards int
	first  []string // of a few shards
}

// add adds what a shard has left out.
func (l *leftOut) add(n int, notes []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const shown = 3
	if len(notes) == 0 {
		return
	}
	if l.shards++; l.shards > shown {
		return
	}
	for _, text := range notes {
		l.first = append(l.first, fmt.Sprintf("shard %d: %s", n, text))
	}
}

// notes returns what is said of it.
func (l *leftOut) notes(output string) []string {
	if l.shards == 0 {
		return nil
	}
	return append(l.first, fmt.Sprintf("%s left files out; left_out in %s says which", plural.Of(l.shards, "shard"), strings.TrimSuffix(output, "/")+"/vitago/shards"))
}

// captions says whether texts are encoded beside images.
func (e *encoding) captions() bool { return e.sharding.on && e.sharding.captions }

// forGood makes an error one after which another attempt is useless, if it is.
func forGood(err error) error {
	if shard.Useless(err) {
		return neverAgain{err}
	}
	return err
}

// source returns where the numbers of shards come from, and about how many there are.
func (s *sharding) source(cmd *cobra.Command, j *shard.Job) (source shard.Source, total int, end func(), err error) {
	i, of, err := s.share()
	if err != nil {
		return source, 0, nil, err
	}
	if of > 0 {
		source, err = j.Assigned(i, of)
		return source, j.Shards() / of, func() {}, err
	}
	source, end, err = j.Claims(cmd.Context(), shard.ClaimOptions{Lease: s.lease})
	return source, j.Shards(), end, err
}
