package history

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vitago/vitago/internal/plural"
)

// ModelFolder is the folder in the output of a run that has the model, with what was learnt beside it.
const ModelFolder = "model"

// ErrOtherRun is of a checkpoint of another model, recipe or data.
var ErrOtherRun = errors.New("of another run")

// A Reached is how far the run of a checkpoint has come.
type Reached struct {
	Recipe string // its name
	Step   int    // made
	Epochs int    // that it was asked for
}

// A Length is how long a run was asked to be, from a step on: its rates follow the schedule of so many epochs.
type Length struct {
	From   int `json:"from"`   // step
	Epochs int `json:"epochs"` // of the whole run, from its beginning
}

// A LengthError says that a run is to be made shorter than it is.
type LengthError struct {
	Epochs, Steps int // that it is to have
	Made          int // steps
}

// Error implements error.
func (e *LengthError) Error() string {
	return fmt.Sprintf("finetune: %s %s, and the run has made %d", plural.Phrase{One: "epoch has", Many: "epochs have"}.Of(e.Epochs), plural.Of(e.Steps, "step"), e.Made)
}

// A Difference is a setting in which a run is not the one that a checkpoint is of.
type Difference struct {
	Setting  string // "recipe: Epochs", after the field of the recipe; "augmentation: Flip", after that of data.Augment; "seed"
	Was, Now string // "none" for nothing
}

// An OtherRunError says in what the run is not the one that a checkpoint is of. It is an [ErrOtherRun].
type OtherRunError struct {
	Checkpoint  string       // its directory
	Differences []Difference // at least one
}

// Error implements error.
func (e *OtherRunError) Error() string {
	lines := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		lines[i] = fmt.Sprintf("%s: %s, now %s", d.Setting, d.Was, d.Now)
	}
	return fmt.Sprintf("finetune: %s is %v: %s", e.Checkpoint, ErrOtherRun, strings.Join(lines, "\n"))
}

// Unwrap returns [ErrOtherRun].
func (e *OtherRunError) Unwrap() error { return ErrOtherRun }
