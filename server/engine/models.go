package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/internal/pillow"
	labelled "github.com/vitago/vitago/tasks/imageclassification/clip"
	found "github.com/vitago/vitago/tasks/imagesearch/clip"
	"github.com/vitago/vitago/tasks/visualtokens/projected"
)

// An entry is a model of the configuration. Engine.mu guards what changes.
type entry struct {
	Model
	info      Info
	stamp     string // of its files
	bytes     int64  // that its weights take when they are loaded, as an estimate
	vision    bool   // it has embeddings of pictures
	head      bool   // it has a classifier
	projector bool   // it makes visual tokens

	now     *instance // nil while it is not loaded
	loading *loading  // nil while nobody loads it
	gone    bool      // it is no longer of the configuration
}

// An instance is a model that is loaded. It is let go when nobody uses it any more.
type instance struct {
	of    *entry
	name  string
	clip  *clip.Model
	tuned *finetune.Tuned // nil without a classifier
	batch int             // pictures that go through the tower together

	users int       // guarded by Engine.mu, as the next ones
	used  time.Time // when the last of them left
	late  func() bool
	left  bool // it is let go when nobody uses it any more

	print      once[string] // fingerprint of the vision tower
	search     once[*found.ImageSearch]
	tokens     once[*projected.Tokens]
	classifier once[*labelled.ImageClassification]
}

// A loading is a model on its way, which all who ask for it wait for.
type loading struct {
	done    chan struct{}
	waiters int // guarded by Engine.mu
	now     *instance
	err     error
}

// A once makes a value when it is first wanted. What failed is tried again by the next.
type once[T any] struct {
	mu   sync.Mutex
	done bool
	v    T
}

func (o *once[T]) get(make func() (T, error)) (v T, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.done {
		if v, err = make(); err != nil {
			return v, err
		}
		o.v, o.done = v, true
	}
	return o.v, nil
}

// find returns the entry of a name, the first for "". The caller holds mu.
func (e *Engine) find(name string) (*entry, error) {
	for _, en := range e.entries {
		if name == "" || en.Name == name || slices.Contains(en.Aliases, name) {
			return en, nil
		}
	}
	names := make([]string, len(e.entries))
	for i, en := range e.entries {
		names[i] = en.Name
	}
	return nil, fmt.Errorf("engine: model %.100q: %w; there are %q", name, ErrModel, names)
}

// acquire returns a model of a name when it is loaded, and release, which the caller calls when it does not use that any more. Whoever asks
// while it is loaded waits for the same; want says what it has to be able to do.
func (e *Engine) acquire(ctx context.Context, name string, want func(*entry) error) (in *instance, release func(), err error) {
	e.mu.Lock()
	en, err := e.find(name)
	if err == nil && want != nil {
		err = want(en)
	}
	if err != nil || en.now != nil {
		defer e.mu.Unlock()
		if err != nil {
			return nil, nil, err
		}
		return en.now, e.use(en.now), nil
	}
	l := en.loading
	if l == nil {
		l = &loading{done: make(chan struct{})}
		en.loading = l
		e.running.Go(func() { e.load(en, l) })
	}
	l.waiters++
	e.mu.Unlock()
	select {
	case <-l.done:
		if l.err != nil {
			return nil, nil, l.err
		}
		return l.now, sync.OnceFunc(func() { e.release(l.now) }), nil // it has been used on our behalf
	case <-ctx.Done():
	}
	e.mu.Lock()
	l.waiters--
	loaded := l.now
	e.mu.Unlock()
	if loaded != nil {
		e.release(loaded)
	}
	return nil, nil, context.Cause(ctx)
}

// use counts a user of a model, who calls what it returns when it has done. The caller holds mu.
func (e *Engine) use(in *instance) (release func()) {
	in.users++
	if in.late != nil {
		in.late()
		in.late = nil
	}
	return sync.OnceFunc(func() { e.release(in) })
}

// share is use for who uses the model already.
func (e *Engine) share(in *instance) (release func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.use(in)
}

// release counts a user less.
func (e *Engine) release(in *instance) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if in.users--; in.users > 0 {
		return
	}
	in.used = time.Now()
	switch {
	case in.left:
		e.unload(in)
	case e.config.Idle > 0:
		e.letGoLater(in)
	}
	e.room.Broadcast()
}

// letGoLater lets go of a model when nobody has used it for so long. The caller holds mu.
func (e *Engine) letGoLater(in *instance) {
	used := in.used
	in.late = e.after(e.config.Idle, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if in.users == 0 && in.used.Equal(used) && !in.left {
			e.leave(in)
		}
	})
}

// leave makes a model one that is let go as soon as nobody uses it; who asks for it from now on gets it loaded anew. The caller holds mu.
func (e *Engine) leave(in *instance) {
	in.left = true
	if in.of.now == in {
		in.of.now = nil
	}
	if in.late != nil {
		in.late()
		in.late = nil
	}
	if in.users == 0 {
		e.unload(in)
	}
}

// unload lets go of a model that nobody uses. The caller holds mu.
func (e *Engine) unload(in *instance) {
	delete(e.loaded, in)
	e.bytes -= in.of.bytes
	e.room.Broadcast()
	told := e.config.Hooks.Unload
	e.running.Go(func() {
		in.close()
		if told != nil {
			told(in.name)
		}
		debug.FreeOSMemory() // weights lie outside the heap, so that nothing else makes the collector run
	})
}

// close closes what files a model has open. Its weights are the collector's.
func (in *instance) close() {
	if in.search.done {
		_ = in.search.v.Close() // it was only read
	}
	_ = in.clip.Close()
}

// load loads a model, when there is room for it, and gives it to all who wait.
func (e *Engine) load(en *entry, l *loading) {
	e.oneLoad.Lock() // one after the other: each takes memory beside its weights, and the disk
	defer e.oneLoad.Unlock()
	e.mu.Lock()
	err := e.makeRoom(en, l)
	hooks := e.config.Hooks
	e.mu.Unlock()
	begun := time.Now()
	var in *instance
	if err == nil {
		err = safely(hooks, func() (err error) {
			in, err = e.read(en)
			return err
		})
		if hooks.Load != nil {
			hooks.Load(en.Name, time.Since(begun), err)
		}
		if err != nil {
			e.mu.Lock()
			e.bytes -= en.bytes
			e.mu.Unlock()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	defer close(l.done)
	en.loading = nil
	if l.err = err; err != nil {
		return
	}
	in.users, in.left = l.waiters, en.gone || e.closed
	e.loaded[in] = true
	l.now = in
	if !in.left {
		en.now = in
	}
	if in.users == 0 {
		in.users++
		e.running.Go(func() { e.release(in) })
	}
}

// makeRoom waits until there is room for the weights of a model, and takes it. Models that nobody uses are let go for it, those first that
// were not used longest. Where that is not enough, others take no more requests until it is loaded: they are loaded again for those. The
// caller holds mu.
func (e *Engine) makeRoom(en *entry, l *loading) error {
	for {
		if e.base.Err() != nil {
			return ErrClosed
		}
		limit := e.config.Memory
		if err := en.fits(limit); err != nil {
			return err
		}
		if limit == 0 || e.bytes+en.bytes <= limit {
			e.bytes += en.bytes
			return nil
		}
		leaving := int64(0)
		for in := range e.loaded {
			if in.left {
				leaving += in.of.bytes
			}
		}
		if e.bytes-leaving+en.bytes > limit { // those that leave already are not enough
			e.leave(e.oldest())
			continue
		}
		e.room.Wait()
	}
}

// oldest returns the model to let go next. The caller holds mu, and there is one.
func (e *Engine) oldest() (next *instance) {
	for in := range e.loaded {
		if in.left {
			continue
		}
		if next == nil || in.users == 0 && next.users > 0 || (in.users == 0) == (next.users == 0) && in.used.Before(next.used) {
			next = in
		}
	}
	return next
}

// fits returns an error if a model alone takes more than there is.
func (en *entry) fits(limit int64) error {
	if limit > 0 && en.bytes > limit {
		return fmt.Errorf("engine: model %q: its weights take about %d MB of memory, and models may take %d MB", en.Name, (en.bytes+1<<20-1)>>20, limit>>20)
	}
	return nil
}

// read reads the weights of a model: of the text tower and the projector only when they are wanted.
func (e *Engine) read(en *entry) (*instance, error) {
	c, tuned, err := en.open()
	if err != nil {
		return nil, failed(en.Name, err)
	}
	in := &instance{of: en, name: en.Name, clip: c, tuned: tuned}
	if in.batch, err = c.Batch(e.base); err == nil && tuned != nil {
		var v *clipvit.Model
		if v, err = c.Vision(e.base); err == nil {
			err = tuned.Head().Check(v)
		}
	}
	if err != nil {
		return nil, errors.Join(failed(en.Name, err), c.Close())
	}
	e.running.Go(func() { // it takes about as long as the first pictures do
		_, _ = in.fingerprint(e.base) // who wants it is told
	})
	return in, nil
}

// failed says which model it was. It is of no kind: that is no fault of who asked.
func failed(name string, err error) error {
	return fmt.Errorf("engine: model %q: %w", name, pillow.Bare(err, "clip", "converter", "finetune"))
}

// fingerprint returns that of the vision tower.
func (in *instance) fingerprint(ctx context.Context) (string, error) {
	return in.print.get(func() (string, error) { return in.clip.VisionFingerprint(ctx) })
}

// Reload makes the engine one of another configuration: on SIGHUP, say. A model whose settings and files have not changed stays as it is.
// Requests that are under way end with the model that they have; later ones get the new. Where the configuration is wrong, or a model that is
// to be preloaded cannot be, the old one is in force and the error says why. It returns when those that are to be preloaded are.
func (e *Engine) Reload(ctx context.Context, c Config) error {
	c = c.withDefaults()
	entries, err := c.entries()
	if err != nil {
		return err
	}
	old, were, err := e.replace(c, entries)
	if err != nil {
		return err
	}
	e.pool.set(c) // without mu, which the pool takes while it holds its own
	if err := e.preload(ctx); err != nil {
		_, _, closed := e.replace(old, were) // models that have been let go are loaded again when they are asked for
		e.pool.set(old)
		return errors.Join(err, closed)
	}
	return nil
}

// replace brings a configuration with its entries into force, and returns the one before, with entries to go back to.
func (e *Engine) replace(c Config, entries []*entry) (old Config, were []*entry, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return old, nil, ErrClosed
	}
	old = e.config
	var left []*entry
	for _, en := range e.entries {
		was := *en
		was.now, was.loading, was.gone = nil, nil, false
		were = append(were, &was)
		i := slices.IndexFunc(entries, func(x *entry) bool { return x.Name == en.Name && en.same(x) })
		if i < 0 {
			left = append(left, en)
			continue
		}
		en.Aliases, en.Preload, en.info = entries[i].Aliases, entries[i].Preload, entries[i].info // the rest is read without mu
		entries[i] = en
	}
	e.entries, e.config = entries, c
	for _, en := range left {
		en.gone = true
		if en.now != nil {
			e.leave(en.now)
		}
	}
	for in := range e.loaded {
		if in.users == 0 && !in.left && in.late != nil { // for another time
			in.late()
			in.late = nil
		}
		if in.users == 0 && !in.left && c.Idle > 0 {
			e.letGoLater(in)
		}
	}
	e.room.Broadcast()
	return old, were, nil
}

// preload loads the models that are to be.
func (e *Engine) preload(ctx context.Context) error {
	e.mu.Lock()
	var names []string
	for _, en := range e.entries {
		if en.Preload {
			names = append(names, en.Name)
		}
	}
	e.mu.Unlock()
	var errs []error
	for _, name := range names {
		_, release, err := e.acquire(ctx, name, nil)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		release()
	}
	return errors.Join(errs...)
}

// entries returns what a configuration has, or all that is wrong with it.
func (c Config) entries() (all []*entry, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	var errs []error
	preloaded := int64(0)
	for _, m := range c.Models {
		en, err := look(m)
		if err == nil {
			err = en.fits(c.Memory)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, en)
		if m.Preload {
			preloaded += en.bytes
		}
	}
	if c.Memory > 0 && len(errs) == 0 && preloaded > c.Memory {
		errs = append(errs, fmt.Errorf("engine: the models to preload take about %d MB of memory, and models may take %d MB: they would not stay loaded", preloaded>>20, c.Memory>>20))
	}
	return all, errors.Join(errs...)
}
