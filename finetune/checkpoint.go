package finetune

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

// infinity is a norm that nothing reaches.
var infinity = math.Inf(1)

// What a run keeps in its directory. A checkpoint is a directory of its own, whose name has the step.
const (
	lockFile         = ".lock"
	metricsFile      = "metrics.jsonl"
	bestPrefix       = "best-" // directories of weights alone
	checkpointPrefix = "checkpoint-"
	stateFile        = "state.json"
	learningFile     = "learning.safetensors"  // the weights that learn
	optimizerFile    = "optimizer.safetensors" // what the optimiser keeps
	averagesFile     = "averages.safetensors"  // of the weights, if the recipe has them
)

// checkpointsKept is how many are there: should the last be damaged, there is one before.
const checkpointsKept = 2

// checkpointVersion is that of the form of a checkpoint.
const checkpointVersion = 1

// maxState is how many bytes a state.json may have: 100,000 pictures that cannot be read.
const maxState = 64 << 20

type savedState struct {
	Version  int           `json:"version"`
	Identity identity      `json:"identity"`
	State    state         `json:"state"`
	Skipped  pyjson.ByName `json:"skipped"` // pictures that cannot be read, and why
}

// checkpoint writes where the run is, unless that is there already.
func (t *Trainer) checkpoint() error {
	if t.Dir == "" {
		return nil
	}
	dir := filepath.Join(t.Dir, stepName(checkpointPrefix, t.state.Step))
	if _, err := os.Stat(dir); err == nil {
		return nil // the same step is the same bits
	}
	if err := t.journal.sync(); err != nil { // which is to be as far as the checkpoint
		return err
	}
	if err := writeDir(dir, t.writeCheckpoint); err != nil {
		return err
	}
	return t.tidy()
}

// tidy removes checkpoints that have served, and best weights that neither of those that stay speaks of.
func (t *Trainer) tidy() error {
	all, err := numbered(t.Dir, checkpointPrefix)
	if err != nil {
		return err
	}
	gone := all[:max(0, len(all)-checkpointsKept)]
	best, err := numbered(t.Dir, bestPrefix)
	if err != nil {
		return err
	}
	for _, b := range best {
		if b.step != t.state.BestStep && b.step != t.saved {
			gone = append(gone, b)
		}
	}
	t.saved = t.state.BestStep
	var errs []error
	for _, d := range gone {
		errs = append(errs, os.RemoveAll(d.path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return nil
}

// writeState writes the file that says where the run is.
func (t *Trainer) writeState(dir string) error {
	text, err := json.MarshalIndent(savedState{checkpointVersion, t.identity, t.state, t.skipped}, "", "  ")
	if err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return writeFile(filepath.Join(dir, stateFile), append(text, '\n'))
}

// keepLength has the checkpoint that the run goes on from say how long it is now.
func (t *Trainer) keepLength() error {
	if !t.changed {
		return nil
	}
	t.changed = false
	return t.writeState(filepath.Join(t.Dir, stepName(checkpointPrefix, t.state.Step)))
}

func (t *Trainer) writeCheckpoint(dir string) error {
	t.state.Recompute = t.Tower.Recompute
	errs := []error{
		checkpoint.WriteTensors(filepath.Join(dir, learningFile), nil, t.weights()),
		checkpoint.WriteTensors(filepath.Join(dir, optimizerFile), nil, vectors(t.optimizer.State())),
	}
	if t.ema != nil {
		errs = append(errs, checkpoint.WriteTensors(filepath.Join(dir, averagesFile), nil, vectors(t.ema.State())))
	}
	return errors.Join(append(errs, t.writeState(dir))...)
}

// weights returns what learns, by path.
func (t *Trainer) weights() []checkpoint.Values {
	var all []checkpoint.Values
	for _, p := range t.learning() {
		all = append(all, checkpoint.Values{Name: p.Path, Shape: p.Shape(), Data: mat.Data[float32](p.Param)})
	}
	return all
}

// vectors returns named slices in the order of their names.
func vectors(m map[string][]float32) []checkpoint.Values {
	var all []checkpoint.Values
	for _, name := range slices.Sorted(maps.Keys(m)) {
		all = append(all, checkpoint.Values{Name: name, Shape: []int{len(m[name])}, Data: m[name]})
	}
	return all
}

// restoreVectors has restore take what [vectors] made of something and a file holds.
func restoreVectors(path string, restore func(map[string][]float32) error) error {
	all, err := checkpoint.ReadTensors(path)
	if err != nil {
		return err
	}
	m := map[string][]float32{}
	for _, v := range all {
		m[v.Name] = v.Data
	}
	if err := restore(m); err != nil {
		return fmt.Errorf("finetune: %s: %w", path, err)
	}
	return nil
}

// A numberedDir is a directory whose name has a step.
type numberedDir struct {
	path string
	step int
}

// stepName is the name of a folder of a step.
func stepName(prefix string, step int) string { return fmt.Sprintf("%s%08d", prefix, step) }

// numbered returns the directories in dir that [stepName] gives with a prefix, the smallest first. Those of other programs have no zeros
// in front of the number.
func numbered(dir, prefix string) ([]numberedDir, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("finetune: %w", err)
	}
	var all []numberedDir
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), prefix)
		if n, err := strconv.Atoi(digits); ok && err == nil && e.IsDir() && e.Name() == stepName(prefix, n) {
			all = append(all, numberedDir{filepath.Join(dir, e.Name()), n})
		}
	}
	slices.SortFunc(all, func(a, b numberedDir) int { return a.step - b.step })
	return all, nil
}

// LastCheckpoint returns the newest checkpoint of the run in a directory, or "".
func LastCheckpoint(dir string) (string, error) {
	all, err := numbered(dir, checkpointPrefix)
	if len(all) == 0 {
		return "", err
	}
	return all[len(all)-1].path, nil
}

// readState reads what a checkpoint says of itself.
func readState(dir string) (s savedState, err error) {
	path := filepath.Join(dir, stateFile)
	raw, err := folder.ReadSmall(path, maxState)
	if err != nil {
		return s, fmt.Errorf("finetune: %w", err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("finetune: %s: %w", path, pyjson.Explain(err))
	}
	if s.Version != checkpointVersion {
		return s, fmt.Errorf("finetune: %s: version %d, want %d", dir, s.Version, checkpointVersion)
	}
	return s, s.State.check(path, s.Identity.Recipe.Epochs)
}

// check says what is wrong with the numbers of a state that a file says, of a run of so many epochs.
func (s state) check(path string, epochs int) error {
	for _, n := range []int{s.Step, s.Epoch, s.Batch, s.Validated, s.BestStep, s.Worse} {
		if n < 0 {
			return fmt.Errorf("finetune: %s: a count is %d, want 0 or more", path, n)
		}
	}
	for i, l := range s.Lengths {
		first := i == 0 && l.From != 0
		if last := i == len(s.Lengths)-1; first || i > 0 && l.From <= s.Lengths[i-1].From || l.From > s.Step || l.Epochs < 1 || last && l.Epochs != epochs {
			return fmt.Errorf("finetune: %s: lengths are %v, want rising steps from 0 to %d, and %d epochs at the end", path, s.Lengths, s.Step, epochs)
		}
	}
	return nil
}

// ReadReached reads how far the run of a checkpoint, as [LastCheckpoint] returns one, has come.
func ReadReached(checkpoint string) (history.Reached, error) {
	s, err := readState(checkpoint)
	return history.Reached{Recipe: s.Identity.Recipe.Name, Step: s.State.Step, Epochs: s.Identity.Recipe.Epochs}, err
}

// restore goes back to a checkpoint. After an error the trainer is of no use.
func (t *Trainer) restore(dir string) error {
	s, err := readState(dir)
	if err != nil {
		return err
	}
	was := s.Identity
	was.Recipe.Epochs = t.Recipe.Epochs
	if d := was.differs(t.identity); d != nil {
		return &history.OtherRunError{Checkpoint: dir, Differences: d}
	}
	// One after the other: what was read of one is gone before the next.
	if err := restoreVectors(filepath.Join(dir, optimizerFile), t.optimizer.Restore); err != nil {
		return err
	}
	if t.ema != nil {
		if err := restoreVectors(filepath.Join(dir, averagesFile), t.ema.Restore); err != nil {
			return err
		}
	}
	if err := t.readWeights(filepath.Join(dir, learningFile)); err != nil {
		return err
	}
	t.state, t.saved = s.State, s.State.BestStep
	maps.Copy(t.skipped, s.Skipped)
	t.learner.recompute(t.Tower.Recompute || s.State.Recompute)
	return t.lengthen(s.Identity.Recipe.Epochs)
}

// readWeights sets what learns to what a file says, tensor by tensor, or says all that is wrong.
func (t *Trainer) readWeights(path string) error {
	c, err := checkpoint.Open(path)
	if err != nil {
		return err
	}
	defer c.Close()
	learning := t.learning()
	var errs []error
	for _, p := range learning {
		if x, ok := c.Tensor(p.Path); !ok {
			errs = append(errs, fmt.Errorf("finetune: %s: no %s", path, p.Path))
		} else if !slices.Equal(x.Shape, p.Shape()) {
			errs = append(errs, fmt.Errorf("finetune: %s: %s: shape %v, want %v", path, p.Path, x.Shape, p.Shape()))
		}
	}
	if n := len(c.Names()); n != len(learning) {
		errs = append(errs, fmt.Errorf("finetune: %s: %d weights, want %d", path, n, len(learning)))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, p := range learning {
		x, _ := c.Tensor(p.Path)
		if err := x.Float32s(mat.Data[float32](p.Param)); err != nil {
			return err
		}
	}
	return nil
}

// bestPath returns where the best weights are.
func (t *Trainer) bestPath() string {
	return filepath.Join(t.Dir, stepName(bestPrefix, t.state.BestStep))
}

// keepBest remembers the weights as they are now: in a file, or in memory if there is no directory.
func (t *Trainer) keepBest() error {
	if t.Dir == "" {
		t.best = t.weights()
		for i := range t.best {
			t.best[i].Data = slices.Clone(t.best[i].Data)
		}
		return nil
	}
	return writeDir(t.bestPath(), func(dir string) error {
		return checkpoint.WriteTensors(filepath.Join(dir, learningFile), nil, t.weights())
	})
}

// takeFinal gives the model the weights that count in the end.
func (t *Trainer) takeFinal() error {
	switch {
	case t.state.BestStep > 0 && t.Dir == "":
		for i, p := range t.learning() {
			copy(mat.Data[float32](p.Param), t.best[i].Data)
		}
	case t.state.BestStep > 0:
		return t.readWeights(filepath.Join(t.bestPath(), learningFile))
	case t.ema != nil:
		t.ema.Swap()
	}
	return nil
}
