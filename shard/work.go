package shard

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/shard/input"
	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// A Report says what a worker has done.
type Report struct {
	Done    int   // shards that this worker has encoded
	Before  int   // that were done already, or by another worker first
	Failed  int   // that failed, now or before
	Useless int   // of those, the ones that would fail again
	GivenUp int   // since [Source.Alive] said so
	Rows    int   // that this worker has encoded
	First   error // why the first of the failed ones failed
}

const (
	maxInFlight = 4        // shards of a worker: one that is read, one in the tower, and those that are checked and published
	readAhead   = 256      // samples that are read before the tower takes them
	bytesAhead  = 64 << 20 // of their pictures
	inTower     = 1 << 10  // samples between reading and writing, without the bytes of their pictures
)

// A flight is a shard in work.
type flight struct {
	n          int
	generation int // of the record that it is to have
	ctx        context.Context
	cancel     context.CancelCauseFunc
	reader     *input.Reader
	writer     *output.Writer
	dir        string // of this machine, which has the files
	temporary  string // the name in the store, with a slash at its end
	input      string
	began      time.Time
	sum        string // of all that was read
	leftOut    []string
	samples    int
	failed     int
	missing    int
	rows       atomic.Int64
	captions   []*caption // rows that wait for the vectors of their captions
	first      string     // why the first sample failed
	part, err  error      // of the part that is read, and of what is written
	put        bool       // there may be a record of it
}

// A caption is a row that waits for the vector of its caption.
type caption struct {
	row output.Row
	ids []int
}

// An item is a sample on its way to its shard, or the end of one.
type item struct {
	of            *flight
	sample        *input.Sample // nil at the end of a shard
	err           error         // at the end of a shard, of its part
	width, height int
}

// work is what a call of [Job.Work] has.
type work struct {
	*Job
	source  Source
	end     context.CancelCauseFunc // ends all with an error
	queue   chan *item              // from the reader to the tower
	order   chan *item              // from the tower to the writer, in the same order
	encoded chan clip.Encoded
	bytes   *semaphore.Weighted
	slots   *semaphore.Weighted

	mu       sync.Mutex
	inFlight map[*flight]bool
	report   Report
	finish   sync.WaitGroup
}

// Work encodes shards whose numbers come from a source, until it has none or ctx ends. The pictures of all of them go through the tower in one
// stream, so that it waits for no shard to be opened, checked or published. Memory does not grow with the number of pictures.
//
// A shard that fails is a line of the report, and the others are done. The error is that of the worker itself: the output cannot be written, the source
// has ended, the model is damaged, or ctx has ended. What was begun then is given up, and nothing of it is left but perhaps a temporary file.
func (j *Job) Work(ctx context.Context, s Source) (Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &work{Job: j, source: s, end: cancel, queue: make(chan *item, readAhead), order: make(chan *item, inTower), encoded: make(chan clip.Encoded),
		bytes: semaphore.NewWeighted(bytesAhead), slots: semaphore.NewWeighted(maxInFlight), inFlight: map[*flight]bool{}}
	var all sync.WaitGroup
	run := func(f func(ctx context.Context) error) {
		all.Go(func() {
			if err := f(ctx); err != nil {
				cancel(err)
			}
		})
	}
	beats := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() { w.beat(beats) })
	run(w.read)
	run(w.encode)
	run(w.write)
	all.Wait()
	w.finish.Wait()
	close(beats)
	beating.Wait()
	err := context.Cause(ctx)
	for f := range w.inFlight { // of a worker that has failed
		f.cancel(err)
		w.discard(f)
		w.ended(f.n, nil, err)
	}
	if err == nil {
		err = j.tidy(ctx)
	}
	return w.report, err
}

// send sends a value, or returns the cause of ctx's end.
func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read reads the samples of one shard after the other, ahead of the tower.
func (w *work) read(ctx context.Context) error {
	defer close(w.queue)
	for {
		if err := w.slots.Acquire(ctx, 1); err != nil {
			return context.Cause(ctx)
		}
		n, ok, err := w.source.Next(ctx)
		if err != nil || !ok {
			w.slots.Release(1)
			return err
		}
		if n < 0 || n >= w.plan.Shards {
			err := fmt.Errorf("shard: the source gives the number %d, want 0 to %d", n, w.plan.Shards-1)
			w.ended(n, nil, err)
			return err
		}
		f, err := w.open(ctx, n)
		if err != nil {
			return err
		}
		if f == nil {
			continue
		}
		if err := w.readPart(ctx, f); err != nil {
			return err
		}
	}
}

// open begins a shard. It is nil if there is nothing to do for it.
func (w *work) open(ctx context.Context, n int) (*flight, error) {
	s, err := w.state(ctx, n)
	if err != nil {
		w.ended(n, nil, err)
		return nil, err
	}
	if s.record != nil {
		w.count(func(r *Report) { r.Before++ })
		w.ended(n, s.record, nil)
		w.slots.Release(1)
		return nil, nil
	}
	if s.failure != nil && s.failure.Useless && !w.o.RetryFailed {
		w.failed(n, fmt.Errorf("shard: %s: shard %d %w: %s", w.location, n, ErrFailed, s.failure.Reason))
		w.slots.Release(1)
		return nil, nil
	}
	f := &flight{n: n, generation: s.generation + 1, began: time.Now().UTC()}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	f.temporary = w.temporary(n, f.generation, fmt.Sprintf("%s-%d", w.worker, w.begun.Add(1)))
	w.mu.Lock()
	w.inFlight[f] = true
	w.mu.Unlock()
	if f.dir = w.folder(f.temporary); f.dir == "" {
		if f.dir, err = os.MkdirTemp(w.o.Temp, "vitago-shard-"); err != nil {
			return nil, fmt.Errorf("shard: %w", err)
		}
	}
	if f.writer, err = output.Create(f.dir, n, w.plan.Spec); err != nil {
		return nil, err
	}
	return f, nil
}

// readPart reads the samples of a shard.
func (w *work) readPart(ctx context.Context, f *flight) error {
	end := func(err error) error { return send(ctx, w.queue, &item{of: f, err: err}) }
	p, err := w.part(ctx, f.n)
	if err != nil {
		return err
	}
	f.input = p.String()
	options := w.plan.Input
	if f.reader, err = p.Open(f.ctx, options); err != nil {
		return end(err)
	}
	defer f.reader.Close()
	for s, err := range f.reader.Samples() {
		if err != nil {
			return end(err)
		}
		if f.ctx.Err() != nil {
			return end(context.Cause(f.ctx))
		}
		if err := w.bytes.Acquire(ctx, weight(&s)); err != nil {
			return context.Cause(ctx)
		}
		if err := send(ctx, w.queue, &item{of: f, sample: &s}); err != nil {
			return err
		}
	}
	f.sum, f.leftOut = f.reader.SHA256(), f.reader.Notes()
	return end(nil)
}

// weight returns how much of bytesAhead a sample takes.
func weight(s *input.Sample) int64 { return min(int64(len(s.Image)), bytesAhead) }

// encode gives pictures to the tower, and all that is read to the writer, in its order.
func (w *work) encode(ctx context.Context) error {
	o := clip.StreamOptions{Batch: w.o.Batch, SkipErrors: true}
	for x, err := range w.model.Stream(ctx, w.pictures(ctx), o) {
		if err != nil {
			return err
		}
		if err := send(ctx, w.encoded, x); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // and pictures may go on for a moment
	}
	close(w.order)
	return nil
}

// pictures yields those pictures of the queue that can be given to the tower.
func (w *work) pictures(ctx context.Context) iter.Seq[clip.Picture] {
	return func(yield func(clip.Picture) bool) {
		for {
			var i *item
			select {
			case i = <-w.queue:
			case <-ctx.Done():
			}
			if i == nil {
				return
			}
			var image []byte
			if i.sample != nil {
				w.bytes.Release(weight(i.sample))
				image, i.sample.Image = i.sample.Image, nil
			}
			if send(ctx, w.order, i) != nil {
				return
			}
			if !i.encodes() {
				continue
			}
			picture := clip.Opened(i.sample.Path, func() (io.ReadCloser, error) {
				var err error
				if i.width, i.height, err = clip.SizeOf(i.sample.Path, image); err != nil {
					return nil, err
				}
				return io.NopCloser(bytes.NewReader(image)), nil
			})
			if !yield(picture) {
				return
			}
		}
	}
}

// encodes says whether an item goes through the tower.
func (i *item) encodes() bool { return i.sample != nil && i.sample.Err == nil }

// write writes the rows of shards, and finishes those that are whole.
func (w *work) write(ctx context.Context) error {
	for {
		var i *item
		select {
		case i = <-w.order:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if i == nil {
			return nil
		}
		var x clip.Encoded
		if i.encodes() {
			select {
			case x = <-w.encoded:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		f := i.of
		if i.sample == nil {
			if f.part = i.err; f.part == nil && f.err == nil {
				f.err = w.flush(ctx, f)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			w.finish.Go(func() { w.land(ctx, f) })
			continue
		}
		f.samples++
		if f.err == nil {
			f.err = w.add(ctx, f, i, x)
		}
		if w.o.Progress != nil {
			w.o.Progress(Progress{f.n, f.samples, int(f.rows.Load())})
		}
	}
}

// Stages at which a sample can fail.
const (
	stageInput    = "input"
	stageDownload = "download"
	stageDecode   = "decode"
	stageCaption  = "caption"
	stageRow      = "row"
)

// add adds a sample to its shard.
func (w *work) add(ctx context.Context, f *flight, i *item, x clip.Encoded) error {
	s := i.sample
	fail := func(stage string, err error) error {
		if stage == stageDownload {
			f.missing++
		} else {
			f.failed++
		}
		why := reason(err, s.Path)
		if f.first == "" && stage != stageDownload {
			f.first = s.Path + ": " + why
		}
		return f.writer.Fail(output.Failure{Key: s.Key, Path: s.Path, Stage: stage, Reason: why})
	}
	switch {
	case errors.Is(s.Err, input.ErrDownload):
		return fail(stageDownload, s.Err)
	case s.Err != nil:
		return fail(stageInput, s.Err)
	case x.Err != nil:
		return fail(stageDecode, x.Err)
	}
	clip.Normalize(x.Vector)
	r := output.Row{Key: s.Key, Path: s.Path, Caption: s.Caption, HasCaption: s.HasCaption, Image: x.Vector, Width: i.width, Height: i.height, SHA256: s.SHA256, Columns: s.Columns}
	if !w.plan.Spec.Texts {
		return f.row(r)
	}
	if !s.HasCaption {
		return fail(stageCaption, errors.New("it has no caption"))
	}
	ids, err := w.model.Tokenize(ctx, s.Caption, true) // as clip-retrieval's reader does, by open_clip's tokenizer
	if errors.Is(err, clip.ErrText) {
		return fail(stageCaption, err)
	}
	if err != nil {
		return err
	}
	if f.captions = append(f.captions, &caption{r, ids}); len(f.captions) < captionsTogether {
		return nil
	}
	return w.flush(ctx, f)
}

// reason returns the text of an error without the name of the picture and of packages before it.
func reason(err error, name string) string {
	text, more := err.Error(), true
	for more {
		more = false
		for _, prefix := range []string{"clip: ", "input: ", "store: ", "stat " + name + ": ", "open " + name + ": ", name + ": "} {
			var cut bool
			text, cut = strings.CutPrefix(text, prefix)
			more = more || cut
		}
	}
	return text
}

// row writes a row, or why it cannot be one.
func (f *flight) row(r output.Row) error {
	err := f.writer.Write(r)
	if errors.Is(err, output.ErrRow) {
		f.failed++
		if f.first == "" {
			f.first = r.Path + ": " + err.Error()
		}
		return f.writer.Fail(output.Failure{Key: r.Key, Path: r.Path, Stage: stageRow, Reason: err.Error()})
	}
	if err == nil {
		f.rows.Add(1)
	}
	return err
}

// captionsTogether is how many captions are sorted by their length, so that those of like length go through the tower together.
const captionsTogether = 256

// flush writes the rows that wait for the vectors of their captions.
func (w *work) flush(ctx context.Context, f *flight) error {
	all := f.captions
	f.captions = nil
	byLength := slices.Clone(all)
	slices.SortStableFunc(byLength, func(a, b *caption) int { return cmp.Compare(len(a.ids), len(b.ids)) })
	lengths := make([]int, len(all))
	for i, c := range byLength {
		lengths[i] = len(c.ids)
	}
	for len(byLength) > 0 {
		n := clip.Together(lengths, 0)
		ids := make([][]int, n)
		for i, c := range byLength[:n] {
			ids[i] = c.ids
		}
		vectors, err := w.model.EncodeTokens(ctx, ids...)
		if err != nil {
			return err
		}
		clip.Normalize(vectors...)
		for i, v := range vectors {
			byLength[i].row.Text = v
		}
		byLength, lengths = byLength[n:], lengths[n:]
	}
	for _, c := range all {
		if err := f.row(c.row); err != nil {
			return err
		}
	}
	return nil
}

// land brings a shard whose samples are all written to its record, and publishes it, or says why not.
func (w *work) land(ctx context.Context, f *flight) {
	defer w.slots.Release(1)
	defer func() {
		w.mu.Lock()
		delete(w.inFlight, f)
		w.mu.Unlock()
		f.cancel(nil)
	}()
	r, err := w.record(ctx, f)
	if err != nil {
		w.discard(f)
		if ctx.Err() != nil {
			w.ended(f.n, nil, context.Cause(ctx))
			return
		}
		// Another may have been faster, and have swept away what this worker had.
		if s, e := w.state(ctx, f.n); e == nil && s.record != nil {
			r, err = s.record, nil
		}
	}
	switch {
	case err == nil && r.Temporary == f.temporary:
		w.count(func(x *Report) { x.Done++; x.Rows += r.Rows })
		w.ended(f.n, r, nil)
	case err == nil:
		w.discard(f)
		w.count(func(x *Report) { x.Before++ })
		w.ended(f.n, r, nil)
	case f.ctx.Err() != nil: // it was given up
		w.count(func(x *Report) { x.GivenUp++ })
		w.ended(f.n, nil, err)
	case f.part == nil && (!Useless(err) || errors.Is(err, ErrOther)): // of the disk, the store or the plan: the next shard would have it as well
		w.ended(f.n, nil, err)
		w.end(err)
	default:
		if e := w.fail(ctx, f.n, err); e != nil {
			w.end(e)
		}
		w.failed(f.n, err)
	}
}

// record closes the files of a shard, checks them, puts the record, and publishes. It returns the record that the shard then has, which may be of
// another worker.
func (w *work) record(ctx context.Context, f *flight) (*Record, error) {
	if err := errors.Join(f.part, f.err); err != nil {
		return nil, err
	}
	if counted := f.samples - f.missing; float64(f.failed) > w.o.MaxErrors*float64(counted) {
		return nil, fmt.Errorf("shard: %s: %w: %d of %d, want at most %v of them; the first: %s", f.input, ErrThreshold, f.failed, counted, w.o.MaxErrors, f.first)
	}
	files, err := f.writer.Close()
	if err != nil {
		return nil, err
	}
	if w.folder(f.temporary) == "" {
		for _, file := range files {
			if err := w.upload(ctx, filepath.Join(f.dir, filepath.FromSlash(file.Name)), f.temporary+file.Name); err != nil {
				return nil, err
			}
		}
	}
	if err := output.Check(ctx, below{w.store, f.temporary}, files, w.plan.Spec); err != nil {
		return nil, err
	}
	if err := w.samePlan(ctx); err != nil {
		return nil, err
	}
	r := &Record{Version: version, Shard: f.n, Plan: w.sum, Generation: f.generation, Input: f.input, InputSHA256: f.sum, Samples: f.samples, Rows: int(f.rows.Load()), Failed: f.failed, Missing: f.missing, LeftOut: f.leftOut,
		Files: files, Temporary: f.temporary, Fingerprint: w.plan.Fingerprint, Kernel: kernel.Name(), Vitago: build(), Worker: w.worker, Began: f.began, Ended: time.Now().UTC()}
	if w.recording != nil {
		w.recording(f.n)
	}
	err = store.Write(ctx, w.store, w.recordName(f.n, f.generation), folder.MustJSON(r), store.PutOptions{IfAbsent: true})
	f.put = err == nil || !errors.Is(err, store.ErrExists) // perhaps it was, and the answer was lost
	if errors.Is(err, store.ErrExists) {
		other, _, e := w.readRecord(ctx, f.n)
		if e != nil || other == nil || other.Temporary != f.temporary {
			return nil, errors.Join(err, e)
		}
		f.put, err = true, nil // the first attempt of two had been successful
	}
	if err != nil {
		return nil, err
	}
	if w.recorded != nil {
		w.recorded(f.n)
	}
	ctx = context.WithoutCancel(ctx) // it takes no time, and saves another the work
	whole, err := w.settle(ctx, r)
	if err != nil {
		return nil, err
	}
	if !whole {
		return nil, fmt.Errorf("shard: %s: the files of shard %d are gone from %s", w.location, f.n, f.temporary)
	}
	// What cannot be deleted harms nothing.
	_ = w.store.Delete(ctx, w.failureName(f.n))
	w.sweep(ctx, f.n, f.generation) // of a shard without files, too
	if f.dir != w.folder(f.temporary) {
		os.RemoveAll(f.dir)
	}
	return r, nil
}

// upload puts a file of this machine into the store.
func (w *work) upload(ctx context.Context, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("shard: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("shard: %w", err)
	}
	return w.store.Put(ctx, name, f, info.Size(), store.PutOptions{})
}

// discard deletes what was written of a shard. What a record may name stays in the output.
func (w *work) discard(f *flight) {
	local := f.dir == w.folder(f.temporary)
	if !f.put || !local {
		if f.writer != nil {
			_ = f.writer.Discard() // what is left lies in the folder that is removed next
		}
		if f.dir != "" {
			os.RemoveAll(f.dir)
		}
	}
	if !f.put && !local {
		ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
		defer cancel()
		_ = w.remove(ctx, f.temporary) // what is left is swept with the shard
	}
}

// failed reports a shard that has failed.
func (w *work) failed(n int, err error) {
	w.count(func(r *Report) {
		r.Failed++
		if Useless(err) {
			r.Useless++
		}
		if r.First == nil {
			r.First = err
		}
	})
	w.ended(n, nil, err)
}

func (w *work) count(f func(r *Report)) {
	w.mu.Lock()
	f(&w.report)
	w.mu.Unlock()
}

func (w *work) ended(n int, r *Record, err error) {
	if w.source.Done != nil {
		w.source.Done(n, r, err)
	}
}

// beat says every so often that this worker is at work.
func (w *work) beat(end <-chan struct{}) {
	every := w.source.Beat
	if every == 0 {
		every = defaultBeat
	}
	if w.source.Alive == nil {
		return
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-end:
			return
		}
		w.mu.Lock()
		var all []*flight
		for f := range w.inFlight {
			all = append(all, f)
		}
		w.mu.Unlock()
		for _, f := range all {
			if err := w.source.Alive(f.n, int(f.rows.Load())); err != nil {
				f.cancel(err)
			}
		}
	}
}
