package finetune

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/projector"
)

// A Source gives batches, the same for the same epoch every time. [data.Loader] is one.
type Source interface {
	// Len returns how many batches an epoch has.
	Len() int
	// Batches yields those of an epoch from number from on.
	Batches(ctx context.Context, epoch, from int) iter.Seq2[*data.Batch, error]
}

var _ Source = &data.Loader{}

// Config is all that a run needs. Tower, Objective, Recipe and Train must be set.
type Config struct {
	Tower    *clipvit.Model   // it is changed: [Recipe.Tower] says how
	Features clipvit.Features // what the head gets of it: the embedding, which zero stands for, or patches or all tokens of a layer
	Head     Head             // nil if the objective judges the features themselves
	// Encoder is what learns to turn pictures into tokens of a language model: it has the tower, its layer are the features,
	// and its projector and separators are the head. Tower, Features and Head stay zero; loaders have its Layout.
	Encoder    *projector.Encoder
	Objective  Objective // what judges a batch; it must be set
	Recipe     Recipe    // what learns, and how; it must be set
	Train      Source    // what is learnt from; it must be set
	Validation Source    // nil for none
	Seed       uint64    // of LoRA's first values; sources have their own

	// Cache keeps what a frozen tower gives for pictures, so that each goes through it once. It is used
	// if the recipe's tower is None and pictures come from a [data.Loader] that does not vary them.
	Cache *probe.Cache

	// Dir is where checkpoints, the best weights and metrics.jsonl are kept; "" keeps none.
	Dir string
	// Resume goes on from the last checkpoint in Dir, if there is one. Without it a Dir with checkpoints
	// is an error. The run has to be the same, but that Recipe.Epochs may be another number: a run that was stopped or
	// has ended is prolonged by it, or made shorter, and [Trainer.Lengths] says since when.
	Resume bool
	// CheckpointEvery is the number of steps from one checkpoint to the next; 0 is an epoch.
	CheckpointEvery int
	// ValidateEvery is the number of steps from one validation to the next; 0 is an epoch.
	ValidateEvery int
	// Patience ends the run after so many validations without a better score; 0 is never.
	Patience int
	// MaxSteps ends the run before its epochs do; 0 is never. The schedule is that of the whole run. Of a run that is resumed
	// it may be another number, such as that of the steps it has made: then it ends there, with the weights that count.
	MaxSteps int
	// Recompute has the tower keep next to nothing of its blocks for the gradients, and compute it again,
	// which takes a third more time. It is done in any case where the run would not fit into the memory
	// otherwise.
	Recompute bool
	// MemoryLimit is how many bytes the run may take by [Trainer.Memory]; 0 is what the machine has, and
	// a negative number is any.
	MemoryLimit int64
	// Sinks hear of every step and validation.
	Sinks []history.Sink
	// Progress, if it is not nil, hears of every batch that was learnt or judged. It is called between them, so it should be quick.
	Progress func(p history.Progress)
}

// A Trainer trains one model by one recipe.
type Trainer struct {
	Config
	learner   learner
	model     parts
	groups    []optim.Group
	optimizer *optim.AdamW
	ema       *optim.EMA // nil for none
	identity  identity
	changed   bool // the length is not what the last checkpoint says

	space   *probe.Space // of Cache, if it is used
	keys    map[*data.Loader]map[int]probe.Key
	state   state
	best    []checkpoint.Values // the best weights, if there is no directory for them
	saved   int                 // the BestStep of the checkpoint before
	history []history.Event
	journal *journal
	lock    *flock.Flock      // of Dir
	skipped map[string]string // pictures that cannot be read, and why
	clock   time.Time

	training, judging stopwatch // of batches
	batchClock        time.Time // when the batch at hand began

	large    bool // the graph of a batch is worth a collection
	reserved bool // memory for the gradients
}

// largeGraph is how many bytes of activations are worth the milliseconds of a collection.
const largeGraph = 64 << 20

// A state is what a run has done so far, besides weights.
type state struct {
	Step      int     `json:"step"`
	Epoch     int     `json:"epoch"`     // of the next batch
	Batch     int     `json:"batch"`     // the next of the epoch
	Validated int     `json:"validated"` // the step of the last validation; 0 if there was none
	Best      float64 `json:"best"`      // score
	BestStep  int     `json:"best_step"`
	Worse     int     `json:"worse"`     // validations since the best
	Recompute bool    `json:"recompute"` // which rounds otherwise
	// Lengths are those of a run that was made longer or shorter; nil of others.
	Lengths []history.Length `json:"lengths,omitempty"`
}

// New checks everything that can be wrong, makes what the recipe says of the tower and the head learn, and
// goes back to the last checkpoint if it is asked to.
func New(c Config) (*Trainer, error) {
	t := &Trainer{Config: c, skipped: map[string]string{}, keys: map[*data.Loader]map[int]probe.Key{}}
	var err error
	if t.learner, err = t.newLearner(); err != nil {
		return nil, err
	}
	t.Features = orEmbedding(t.Features)
	c = t.Config // of which an encoder has set the tower
	if c.Tower == nil || c.Objective == nil || c.Train == nil {
		return nil, errors.New("finetune: tower, objective and training data must be given")
	}
	if err := errors.Join(c.validate(), checkFeatures(c.Features, c.Tower)); err != nil {
		return nil, err
	}
	if err := c.checkData(); err != nil {
		return nil, err
	}
	if err := t.learner.check(); err != nil {
		return nil, err
	}
	t.model = t.learner.parts()
	if c.Train.Len() < 1 {
		return nil, errors.New("finetune: no batches to train on")
	}
	recipe := c.Recipe
	recipe.About, recipe.Projector = "", false
	t.identity = identity{Recipe: recipe, Features: c.Features, Objective: c.Objective.Name(), Data: sourceName(c.Train), Seed: c.Seed}
	t.identity.Tower, t.identity.Head = t.learner.names()
	t.identity.HeadStart = new(headStart(c.Head))
	switch {
	case c.Encoder != nil:
		t.identity.Preprocessing = new(c.Encoder.Tower.Config.Transform.Canonical())
	case c.Tower != nil:
		t.identity.Preprocessing = new(c.Tower.Config.Transform.Canonical())
	}
	loaded := t.learner.loaded()
	// Two streams of one seed are one stream: 1 is the number of this use.
	if err := t.learner.free(rand.New(rand.NewPCG(c.Seed, 1))); err != nil {
		return nil, err
	}
	t.groups = c.Recipe.groups(t.model)
	if len(t.groups) == 0 {
		return nil, fmt.Errorf("finetune: recipe %s: nothing learns: the tower is frozen, and there is no head that may", c.Recipe.Name)
	}
	t.learner.recompute(c.Recompute)
	if err := t.checkMemory(loaded); err != nil {
		return nil, err
	}
	t.large = t.Memory().Activations > largeGraph
	if c.Cache != nil && c.Recipe.Tower == None {
		if t.space, err = t.learner.space(c.Cache); err != nil {
			return nil, err
		}
	}
	b := c.Recipe.Betas
	if t.optimizer, err = optim.NewAdamW(t.groups, optim.AdamWConfig{Beta1: b[0], Beta2: b[1], Eps: optim.DefaultAdamW.Eps}); err != nil {
		return nil, err
	}
	if c.Recipe.EMA > 0 {
		t.ema = optim.NewEMA(t.learning())
	}
	if !slices.ContainsFunc(t.groups, func(g optim.Group) bool { return g.Rate > 0 }) {
		return nil, fmt.Errorf("finetune: recipe %s: nothing learns: all rates are 0", c.Recipe.Name)
	}
	return t, t.open()
}

// schedule returns the factor of the rates of the step that follows after so many, by the length that the run had then. Where it
// has one step, that is not of the warm-up, in which the rate of the first step is 0 (as in transformers, which trains nothing then).
func (t *Trainer) schedule(step int) float64 {
	r, lengths := t.Recipe, t.Lengths()
	l := lengths[0]
	for _, next := range lengths[1:] {
		if next.From <= step {
			l = next
		}
	}
	total := l.Epochs * t.stepsPerEpoch()
	warmup := int(math.Ceil(r.Warmup * float64(total)))
	if total == 1 {
		warmup = 0
	}
	return r.Schedule.of(warmup, total)(step)
}

// Lengths returns how long the run was asked to be: first from step 0, and then from each step at which it was made longer or
// shorter. From there on the rates are those of a run that had the new length from its beginning. However often it was
// interrupted in between, runs with the same lengths come to the same bits.
func (t *Trainer) Lengths() []history.Length {
	if t.state.Lengths == nil {
		return []history.Length{{Epochs: t.Recipe.Epochs}}
	}
	return slices.Clone(t.state.Lengths)
}

// lengthen gives a run that was asked for so many epochs those of the recipe, from the step on that it has reached. Patience
// begins anew.
func (t *Trainer) lengthen(was int) error {
	now := t.Recipe.Epochs
	if was == now {
		return nil
	}
	if total := now * t.stepsPerEpoch(); total < t.state.Step {
		return &history.LengthError{Epochs: now, Steps: total, Made: t.state.Step}
	}
	lengths := t.state.Lengths
	if lengths == nil {
		lengths = []history.Length{{Epochs: was}}
	}
	if last := len(lengths) - 1; lengths[last].From == t.state.Step {
		lengths = lengths[:last]
	}
	t.state.Lengths = append(lengths, history.Length{From: t.state.Step, Epochs: now})
	t.state.Worse, t.changed = 0, true
	return nil
}

// open makes Dir ready, and goes back to its last checkpoint.
func (t *Trainer) open() (err error) {
	if t.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(t.Dir, 0o777); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	t.lock = flock.New(filepath.Join(t.Dir, lockFile), flock.SetPermissions(0o666))
	switch ok, err := t.lock.TryLock(); {
	case err != nil:
		return fmt.Errorf("finetune: %s: %w", t.Dir, err)
	case !ok:
		return fmt.Errorf("finetune: %s: %w", t.Dir, ErrInUse)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if err := folder.Clean(t.Dir); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	last, err := LastCheckpoint(t.Dir)
	if err != nil {
		return err
	}
	if last != "" && !t.Resume {
		return fmt.Errorf("finetune: %s %w (%s): choose another directory, or resume it", t.Dir, ErrExists, filepath.Base(last))
	}
	if last != "" {
		if err := t.restore(last); errors.Is(err, ErrOtherRun) || errors.As(err, new(*history.LengthError)) {
			return err
		} else if err != nil {
			return fmt.Errorf("%w (without %s it goes on from the checkpoint before, or begins again)", err, last)
		}
	}
	t.journal, t.history, err = openJournal(filepath.Join(t.Dir, metricsFile), t.state)
	return err
}

// Close lets others use Dir. [Trainer.Run] does it in the end; who does not run has to.
func (t *Trainer) Close() error {
	if t.lock == nil {
		return nil
	}
	if err := errors.Join(t.journal.close(), t.lock.Unlock()); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	t.journal, t.lock = nil, nil
	return nil
}

// learning returns all parameters that learn.
func (t *Trainer) learning() []optim.Named {
	var all []optim.Named
	for _, g := range t.groups {
		all = append(all, g.Params...)
	}
	return all
}

// stepsPerEpoch counts a last step of fewer batches, too.
func (t *Trainer) stepsPerEpoch() int {
	a := t.Recipe.Accumulate
	return (t.Train.Len() + a - 1) / a
}

// Steps returns how many steps the whole run has.
func (t *Trainer) Steps() int {
	n := t.Recipe.Epochs * t.stepsPerEpoch()
	if t.MaxSteps > 0 {
		n = min(n, t.MaxSteps)
	}
	return n
}

// Step returns how many steps have been made.
func (t *Trainer) Step() int { return t.state.Step }

// History returns all events so far, those before a resumption too.
func (t *Trainer) History() []history.Event { return t.history }

// Table says what learns, a line for every group: tensors, parameters, rate and decay.
func (t *Trainer) Table() string { return table(t.model, t.groups) }

// hashOf returns the SHA-256 of all weights of a model.
func hashOf(m nn.Model) string {
	h := sha256.New()
	var buf []byte
	params.Walk(m, func(path string, p *nn.Param) {
		values := mat.Data[float32](p)
		fmt.Fprintf(h, "%s %v\n", path, p.Shape())
		buf = buf[:0]
		for _, v := range values {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
		}
		h.Write(buf)
	})
	return hex.EncodeToString(h.Sum(nil))
}

// headStart returns the SHA-256 of the weights of a [Classifier] that are not zeros. Other heads may begin at random, and so otherwise
// when they are resumed.
func headStart(h Head) string {
	c, ok := h.(*Classifier)
	if !ok || !slices.ContainsFunc(slices.Concat(mat.Data[float32](c.Linear.W), mat.Data[float32](c.Linear.B)), func(v float32) bool { return v != 0 }) {
		return ""
	}
	return hashOf(c)
}

// headName returns the type of a head and the shapes of its parameters.
func headName(h Head) string {
	if h == nil {
		return ""
	}
	s := reflect.TypeOf(h).String()
	params.Walk(h, func(path string, p *nn.Param) { s += fmt.Sprintf(" %s%v", path, p.Shape()) })
	return s
}

// sourceName says which data in which order a source gives, as far as it is known.
func sourceName(s Source) string {
	name := fmt.Sprintf("%d batches", s.Len())
	if l, ok := s.(*data.Loader); ok {
		name += fmt.Sprintf(" of %d, shuffled %v, seed %d, short batches %v, %+v, %s", l.BatchSize, l.Shuffle, l.Seed, !l.DropLast, l.Augment, l.Data.Fingerprint())
	}
	return name
}
