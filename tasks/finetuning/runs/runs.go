// Package runs offers the task finetuning to many who ask: runs that wait for their turn, are watched by any number, stop with a checkpoint,
// go on from it, and are there again after a restart of the program. A run is a folder:
//
//	Dir/ID/run.json        what was asked for, and how far it has come
//	Dir/ID/progress.jsonl  what was told of it, a line each
//	Dir/ID/out/            what package job writes: checkpoints, metrics.jsonl, report, model
//
// Requests may come over a network, so the paths in them are confined: see [Options].
package runs

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/clip"
	"github.com/vitago/vitago/tasks/gate"
)

// The kinds of errors, beside those of package finetuning.
var (
	// ErrBusy means that as many runs wait as may. The request may be sent again later.
	ErrBusy = errors.New("too many runs wait")
	// ErrRun means that there is no such run.
	ErrRun = errors.New("no such run")
	// ErrState means that a run is in a state in which it cannot be stopped or resumed.
	ErrState = errors.New("not in this state")
	// ErrClosed means that the runs are being closed.
	ErrClosed = errors.New("shutting down")
)

// Options say where runs are, and what they may read.
type Options struct {
	// Dir is the folder of the runs, which is made if it is not there. One process at a time has it.
	Dir string
	// Data is the folder below which requests have pictures, captions, targets and vocabularies: their paths are relative to it, and
	// lead out of it neither by .. nor by links, and no more do those of pictures in tables below it.
	Data string
	// Model returns the path of the model that requests have by this name, teachers among them, or an error if there is none. It may
	// have any kind, which Start returns.
	Model func(name string) (path string, err error)
	// Queue is how many runs may wait beside the one that trains; 0 is [DefaultQueue].
	Queue int
	// MemoryLimit is how many bytes a run may take; requests may ask for less. 0 is what the machine has.
	MemoryLimit int64
}

// DefaultQueue is how many runs may wait, unless [Options] say otherwise.
const DefaultQueue = 16

// A State is what becomes of a run.
type State string

// The states. A run that has stopped, or failed, can be resumed.
const (
	Queued  State = "queued"  // waits for its turn
	Running State = "running" // trains
	Stopped State = "stopped" // by who asked, or with the program
	Done    State = "done"
	Failed  State = "failed"
)

// Ended says whether nothing more happens to a run unless it is resumed.
func (s State) Ended() bool { return s != Queued && s != Running }

// A Run is what is known of one.
type Run struct {
	ID      string             `json:"id"`             // by which it is asked for; unique in its folder
	Model   string             `json:"model"`          // its name
	Request finetuning.Request `json:"request"`        // as it came
	State   State              `json:"state"`          // what has become of it
	Created time.Time          `json:"created"`        // when it was asked for
	Changed time.Time          `json:"changed"`        // the state
	Ahead   int                `json:"ahead,omitzero"` // runs that come before it, while it is queued
	Events  int                `json:"events"`         // that were told, those before it was resumed among them
	// Last is the last event; nil if there is none.
	Last *finetuning.Progress `json:"last,omitzero"`
	// Error says why it failed, or has stopped.
	Error string `json:"error,omitzero"`
	// Response is that of a run that is done. Its paths are relative to Options.Dir.
	Response *finetuning.Response `json:"response,omitzero"`
}

// Runs are the runs in a folder. They may be used by many goroutines at once.
type Runs struct {
	o      Options
	data   *os.Root
	unlock func()
	open   func(dir string) (finetuning.Interface, error) // clip's, but in tests

	mu     sync.Mutex
	byID   map[string]*run
	queue  []*run
	now    *run          // that trains
	wake   chan struct{} // of the goroutine that trains, buffered
	closed bool
	done   chan struct{} // that goroutine has ended
}

// A run is a [Run] with what belongs to it here.
type run struct {
	Run            // guarded by Runs.mu; Ahead is made when it is asked for
	given []string // fields that the request was given; nil if it does not say
	log   log
	ended chan struct{} // closed when it has ended; another of each turn
	stop  context.CancelCauseFunc
	asked bool // to stop
}

// errStopped is why a run ends that is stopped.
var errStopped = errors.New("it was stopped")

// Open returns the runs in a folder, as they were left. Those that waited or trained when the program ended have stopped, and can be
// resumed. They must be closed in the end.
func Open(o Options) (*Runs, error) { return open(o, openClip) }

func openClip(dir string) (finetuning.Interface, error) {
	m, err := clip.LoadFineTuning(dir)
	if err != nil {
		return nil, err // and not an Interface that holds a nil pointer
	}
	return m, nil
}

// files of a run, in its folder.
const (
	runFile   = "run.json"
	outFolder = "out"
	lockFile  = ".lock"
)

// maxRun bounds a run.json, whose answer may name every picture that could not be read.
const maxRun = 64 << 20

func open(o Options, tuner func(string) (finetuning.Interface, error)) (_ *Runs, err error) {
	switch {
	case o.Dir == "" || o.Data == "" || o.Model == nil:
		return nil, errors.New("runs: Dir, Data and Model are wanted")
	case o.Queue < 0 || o.MemoryLimit < 0:
		return nil, fmt.Errorf("runs: a queue of %d and %d bytes, want 0 or more", o.Queue, o.MemoryLimit)
	}
	o.Queue = cmp.Or(o.Queue, DefaultQueue)
	for _, dir := range []*string{&o.Dir, &o.Data} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return nil, fmt.Errorf("runs: %w", err)
		}
	}
	if folder.Inside(o.Dir, o.Data) || folder.Inside(o.Data, o.Dir) {
		return nil, fmt.Errorf("runs: the folder of runs %s and that of data %s lie in each other: a request could learn from what others have learnt", o.Dir, o.Data)
	}
	r := &Runs{o: o, open: tuner, byID: map[string]*run{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if err := os.MkdirAll(o.Dir, 0o777); err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	if r.unlock, err = folder.Lock(filepath.Join(o.Dir, lockFile)); err != nil {
		return nil, fmt.Errorf("runs: %s: %w", o.Dir, err)
	}
	defer func() {
		if err != nil {
			r.unlock()
		}
	}()
	if r.data, err = os.OpenRoot(o.Data); err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	if err := r.find(); err != nil {
		r.data.Close()
		return nil, err
	}
	go r.work()
	return r, nil
}

// idForm is that of names of runs: the time, and a few random digits.
var idForm = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$`)

func newID(now time.Time) string {
	var random [4]byte
	rand.Read(random[:]) // which never fails
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(random[:])
}

// find reads the runs that are there.
func (r *Runs) find() error {
	entries, err := os.ReadDir(r.o.Dir)
	if err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !idForm.MatchString(e.Name()) {
			continue
		}
		x, err := r.read(e.Name())
		if errors.Is(err, fs.ErrNotExist) { // it was not begun
			continue
		}
		if err != nil { // damaged: it is listed, and does not keep the others from their work
			x = &run{Run: Run{ID: e.Name(), State: Failed, Error: r.shown(err).Error()}, ended: closedChan()}
		}
		r.byID[x.ID] = x
	}
	return nil
}

func closedChan() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// A saved is what run.json has.
type saved struct {
	Run
	Given []string `json:"given,omitzero"`
}

// read reads a run.
func (r *Runs) read(id string) (*run, error) {
	path := filepath.Join(r.o.Dir, id, runFile)
	raw, err := folder.ReadSmall(path, maxRun)
	if err != nil {
		return nil, err
	}
	var s saved
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.ID != id {
		return nil, fmt.Errorf("%s: it is of the run %.40q", path, s.ID)
	}
	if s.Request.Given = nil; s.Given != nil {
		s.Request.Given = func(field string) bool { return slices.Contains(s.Given, field) }
	}
	x := &run{Run: s.Run, given: s.Given, ended: closedChan()}
	if err := x.log.open(filepath.Join(r.o.Dir, id, progressFile)); err != nil {
		return nil, err
	}
	x.Events, x.Last = x.log.lines, x.log.last
	if !x.State.Ended() {
		x.State, x.Error, x.Changed = Stopped, "the program ended while it was "+string(x.State), now()
		return x, r.save(x)
	}
	return x, nil
}

// now is the time that is noted, in whole milliseconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// save writes run.json.
func (r *Runs) save(x *run) error {
	text, err := folder.JSON(saved{x.Run, x.given})
	if err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	if err := folder.WriteBytes(filepath.Join(r.o.Dir, x.ID, runFile), text); err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	return nil
}

// Start puts a run of a model in the queue. The output of r, and its model, must not be set, and its cache is a name that runs share.
// The errors are those of [finetuning.Interface] that can be known before the run begins, those of Options.Model, [ErrBusy] and
// [ErrClosed]; what else is wrong, the run says when it has failed.
func (r *Runs) Start(model string, request finetuning.Request) (Run, error) {
	if request.Resume {
		return Run{}, refuse("resume is not of a new run")
	}
	created := now()
	x := &run{Run: Run{ID: newID(created), Model: model, Request: request, State: Queued, Created: created, Changed: created}, given: fieldsGiven(request)}
	x.Request.Objective, x.Request.DryRun = nil, false
	if request.Objective != nil {
		return Run{}, refuse("an objective of one's own cannot be kept in a file")
	}
	r.mu.Lock() // what follows takes no time
	defer r.mu.Unlock()
	if err := r.room(); err != nil {
		return Run{}, err
	}
	full, _, err := r.confined(x)
	if err == nil {
		err = full.Check()
	}
	if err != nil {
		return Run{}, r.shown(err)
	}
	dir := filepath.Join(r.o.Dir, x.ID)
	err = os.Mkdir(dir, 0o777)
	if err == nil {
		err = x.log.open(filepath.Join(dir, progressFile))
	}
	if err == nil {
		err = r.save(x)
	}
	if err != nil {
		os.RemoveAll(dir)
		return Run{}, r.shown(err)
	}
	r.byID[x.ID] = x
	r.enqueue(x)
	return r.state(x), nil
}

// room returns an error if no run can be put in the queue. Runs.mu is held.
func (r *Runs) room() error {
	switch {
	case r.closed:
		return fmt.Errorf("runs: %w", ErrClosed)
	case len(r.queue) >= r.o.Queue:
		return fmt.Errorf("runs: %w: %d, want at most %d", ErrBusy, len(r.queue), r.o.Queue)
	}
	return nil
}

// enqueue puts a run behind the others. Runs.mu is held.
func (r *Runs) enqueue(x *run) {
	x.ended, x.asked = make(chan struct{}), false
	x.log.begin()
	r.queue = append(r.queue, x)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run returns the run of an id. Runs.mu is held.
func (r *Runs) run(id string) (*run, error) {
	x, ok := r.byID[id]
	if !ok {
		return nil, fmt.Errorf("runs: %w: %.40q", ErrRun, id)
	}
	return x, nil
}

// state returns what is known of a run. Runs.mu is held.
func (r *Runs) state(x *run) Run {
	s := x.Run
	if s.State == Queued {
		s.Ahead = slices.Index(r.queue, x)
		if r.now != nil {
			s.Ahead++
		}
	}
	return s
}

// Get returns what is known of a run, or an [ErrRun].
func (r *Runs) Get(id string) (Run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, err := r.run(id)
	if err != nil {
		return Run{}, err
	}
	return r.state(x), nil
}

// List returns all runs, the newest first.
func (r *Runs) List() []Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Run, 0, len(r.byID))
	for _, x := range r.byID {
		all = append(all, r.state(x))
	}
	slices.SortFunc(all, func(a, b Run) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID)) })
	return all
}

// Stop ends a run that waits or trains, between two steps and with a checkpoint, and returns it when it has ended. If ctx ends before,
// the error is its cause, and the run is stopped nevertheless. A run that has ended is an [ErrState].
func (r *Runs) Stop(ctx context.Context, id string) (Run, error) {
	r.mu.Lock()
	x, err := r.run(id)
	if err == nil && x.State.Ended() {
		err = fmt.Errorf("runs: %s: %w: it is %s, and only one that waits or trains can be stopped", id, ErrState, x.State)
	}
	if err != nil {
		r.mu.Unlock()
		return Run{}, err
	}
	err = r.halt(x)
	ended := x.ended
	r.mu.Unlock()
	if err != nil {
		return Run{}, r.shown(err)
	}
	select {
	case <-ended:
		return r.Get(id)
	case <-ctx.Done():
		return Run{}, context.Cause(ctx)
	}
}

// halt stops a run that has not ended. Runs.mu is held.
func (r *Runs) halt(x *run) error {
	x.asked = true
	if x.State == Running {
		x.stop(errStopped)
		return nil
	}
	r.queue = slices.DeleteFunc(r.queue, func(y *run) bool { return y == x })
	x.State, x.Error, x.Changed = Stopped, "", now()
	close(x.ended)
	x.log.end()
	return r.save(x)
}

// Resume puts a run that has stopped or failed in the queue again. It goes on from its last checkpoint, to the same bits as if it had
// never stopped. A run in another state is an [ErrState].
func (r *Runs) Resume(id string) (Run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, err := r.run(id)
	switch {
	case err != nil:
		return Run{}, err
	case x.State != Stopped && x.State != Failed || x.Created.IsZero(): // damaged
		return Run{}, fmt.Errorf("runs: %s: %w: it is %s, and only one that has stopped or failed can be resumed", id, ErrState, x.State)
	}
	if err := r.room(); err != nil {
		return Run{}, err
	}
	before := x.Run
	x.State, x.Error, x.Changed = Queued, "", now()
	if err := r.save(x); err != nil {
		x.Run = before
		return Run{}, r.shown(err)
	}
	r.enqueue(x)
	return r.state(x), nil
}

// Close stops the run that trains, with a checkpoint, and those that wait, and returns when that is done, or the cause if ctx ends
// before. All other calls are an [ErrClosed] then, or tell what was.
func (r *Runs) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		for _, x := range slices.Clone(r.queue) {
			_ = r.halt(x) // the next who opens the folder finds it queued, and says that it has stopped
		}
		if r.now != nil {
			_ = r.halt(r.now)
		}
		close(r.wake)
	}
	r.mu.Unlock()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// work trains one run after the other.
func (r *Runs) work() {
	defer close(r.done)
	defer r.unlock()
	defer r.data.Close()
	for range r.wake {
		for r.next() {
		}
	}
}

// next trains the first of the queue, and reports whether there was one.
func (r *Runs) next() bool {
	r.mu.Lock()
	if len(r.queue) == 0 {
		r.mu.Unlock()
		return false
	}
	x := r.queue[0]
	r.queue = r.queue[1:]
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	r.now, x.stop, x.State, x.Changed = x, stop, Running, now()
	err := r.save(x)
	r.mu.Unlock()

	var response finetuning.Response
	if err == nil {
		response, err = r.train(ctx, x)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = nil
	switch {
	case err == nil:
		x.State, x.Response = Done, r.below(response)
	case x.asked && errors.Is(err, errStopped):
		x.State, x.Error = Stopped, r.shown(err).Error()
	default:
		x.State, x.Error = Failed, r.shown(err).Error()
	}
	x.Changed = now()
	if err := r.save(x); err != nil && x.Error == "" {
		x.Error = r.shown(err).Error()
	}
	close(x.ended)
	x.log.end()
	return true
}

// train trains a run. A panic is an error of the run, and not the end of the program.
func (r *Runs) train(ctx context.Context, x *run) (response finetuning.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("runs: panic: %v", p)
		}
	}()
	request, model, err := r.confined(x)
	if err != nil {
		return response, err
	}
	if _, err := os.Stat(request.Output); err == nil { // of a turn before
		request.Resume = true
	}
	tuner, err := r.open(model)
	if err != nil {
		return response, err
	}
	return tuner.FineTune(ctx, request, func(p finetuning.Progress) error {
		if err := x.log.write(p); err != nil {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		x.Events, x.Last = x.Events+1, &p
		return nil
	})
}

// refuse returns a [finetuning.ErrRequest].
func refuse(format string, args ...any) error {
	return fmt.Errorf("runs: %w: %s", finetuning.ErrRequest, fmt.Sprintf(format, args...))
}

// A hidden is an error whose text has no paths of this machine.
type hidden struct {
	text string
	err  error
}

func (h hidden) Error() string { return h.text }
func (h hidden) Unwrap() error { return h.err }

// shown returns an error as whoever sent a request may read it.
func (r *Runs) shown(err error) error {
	return hidden{r.relative("runs: " + gate.Bare(err).Error()), err}
}
