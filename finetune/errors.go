package finetune

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/plural"
)

// Why [New] and [Open] refuse, for [errors.Is]; see also [MemoryError], and the errors of package data. The errors that
// wrap these say which and how many.
var (
	// ErrExists is of a directory with checkpoints, where nothing is to be resumed.
	ErrExists = errors.New("holds checkpoints of a run")
	// ErrInUse is of a directory in which another run is at work.
	ErrInUse = errors.New("another run is at work here")
	// ErrOtherRun is of a checkpoint of another model, recipe or data.
	ErrOtherRun = history.ErrOtherRun
	// ErrBlocks is of a recipe that has more blocks learn than lie below the features.
	ErrBlocks = errors.New("more blocks are to learn than are used")
	// ErrCaptions is of captions that are too long for the text tower, and may not be cut.
	ErrCaptions = errors.New("captions may not be cut")

	// ErrNoHead means that a model has no classifier: neither the head that a run has trained, nor one of its own.
	ErrNoHead = errors.New("no classifier")
	// ErrUnfinished means that the directory is that of a run which has not ended, and has no model yet.
	ErrUnfinished = errors.New("a run that has not ended")
)

// validate says everything that is wrong with numbers, whatever the model and the data.
func (c *Config) validate() error {
	errs := []error{c.Recipe.Validate()}
	for _, f := range []struct {
		name string
		v    int
	}{{"steps from one checkpoint to the next", c.CheckpointEvery}, {"steps from one validation to the next", c.ValidateEvery}, {"patience", c.Patience}, {"most steps", c.MaxSteps}} {
		if f.v < 0 {
			errs = append(errs, fmt.Errorf("finetune: %s is %d, want 0 or more", f.name, f.v))
		}
	}
	if c.Patience > 0 && c.Validation == nil {
		errs = append(errs, fmt.Errorf("finetune: patience is %d, and there are no data to validate on", c.Patience))
	}
	return errors.Join(errs...)
}

// checkData says what is wrong with data that come from loaders: whatever a run would come upon after hours.
func (c *Config) checkData() error {
	train, ok := c.Train.(*data.Loader)
	if !ok {
		return nil
	}
	validation, _ := c.Validation.(*data.Loader)
	errs := []error{train.Validate()}
	if validation != nil {
		errs = append(errs, validation.Validate())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	if o, ok := c.Objective.(particular); ok {
		return o.checkData(c, train.Data, validation)
	}
	return nil
}

// An objective may want something of data that come from loaders; validation is nil if there are none.
type particular interface {
	checkData(c *Config, train *data.Dataset, validation *data.Loader) error
}

func (o Classification) checkData(c *Config, train *data.Dataset, validation *data.Loader) error {
	classes := train.Classes
	switch {
	case len(classes) == 0:
		return fmt.Errorf("finetune: %d %w, which classification needs", len(train.Samples), data.ErrUnlabelled)
	case len(classes) == 1 && !train.Multi:
		return fmt.Errorf("finetune: %s, all of one class, %q; %w", plural.Of(len(train.Samples), "picture"), classes[0], data.ErrOneClass)
	case train.Multi:
		return errors.New("finetune: the pictures have lists of labels, and classification wants one each")
	}
	if h, ok := c.Head.(*Classifier); ok && h.Multi {
		return errors.New("finetune: the head has classes that do not exclude each other, and the data one label each")
	}
	return sameClasses(c, train, validation, o.Weights)
}

// sameClasses says where data, head and weights have not the same classes.
func sameClasses(c *Config, train *data.Dataset, validation *data.Loader, weights []float64) error {
	classes := train.Classes
	if validation != nil && (!slices.Equal(validation.Data.Classes, classes) || validation.Data.Multi != train.Multi) {
		return fmt.Errorf("finetune: %w: %.80q and %.80q; see data.Align", data.ErrClasses, validation.Data.Classes, classes)
	}
	if h, ok := c.Head.(*Classifier); ok && !slices.Equal(h.Classes, classes) {
		return fmt.Errorf("finetune: the head has the classes %.80q, the data %.80q", h.Classes, classes)
	}
	return checkWeights(weights, len(classes))
}
