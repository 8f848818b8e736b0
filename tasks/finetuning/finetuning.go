// Package finetuning is the task of training a model on one's own pictures: to tell the classes of labelled
// ones apart, to give what another model gives for them, or to give vectors of a file. It says what the task
// is; package clip beside it does it.
package finetuning

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/tasks/imageencoding"
)

// DefaultModel is the tower that InternLM-XComposer and LLaVA start from.
const DefaultModel = imageencoding.DefaultModel

var (
	// ErrRequest means that a request makes no sense, whatever the model, the data and the machine.
	ErrRequest = errors.New("not a valid request")
	// ErrData means that there is nothing to be learnt from the data: they are not there, have no labels or
	// a single class, or other classes to validate on, or teacher or targets do not fit. The errors of package
	// data are wrapped as well.
	ErrData = errors.New("not data to learn from")
	// ErrRefused means that the run cannot begin here: the memory would not suffice, or the output is in use,
	// holds a run that is not to be resumed, or one of another model, recipe or data. The errors of package
	// finetune are wrapped as well.
	ErrRefused = errors.New("refused to begin")
	// ErrInterrupted means that the run ended before its time because the context or the receiver of
	// progress wanted it to, whose error is wrapped as well. It can be resumed.
	ErrInterrupted = errors.New("interrupted")
	// ErrDiverged means that a loss or a gradient became infinite or no number. The checkpoints before stay.
	ErrDiverged = errors.New("diverged")
)

// Interface is what a trainer of models does.
type Interface interface {
	// FineTune trains the model as the request says and writes the result into the request's output. The
	// model itself stays as it is, and the next call begins with it again. It may be called from many
	// goroutines at once; a call may then wait for others to end.
	//
	// If progress is not nil, it hears, one after the other and in the goroutine of the call, that the run
	// begins, and of every step and validation. An error of it ends the run as the end of ctx does: with a
	// checkpoint of the last step, so that the same request with Resume goes on as if nothing had happened.
	FineTune(ctx context.Context, r Request, progress func(Progress) error) (Response, error)
}

// Request says what is to be learnt, and how. Data, Recipe and Output must be set.
type Request struct {
	// Data is where the pictures are: a folder with a folder for each class; a table of paths and labels
	// (.csv, .tsv, .jsonl); or shards of WebDataset (.tar, which may be a pattern).
	Data string `json:"data"`
	// Validation is where those to validate on are. If it is empty, they are a part of Data.
	Validation string `json:"validation,omitempty"`
	// Split is the share of each class of Data that is set aside for that; 0 is none.
	Split float64 `json:"split,omitempty"`

	// Teacher is a model directory or checkpoint whose embeddings are learnt in the place of labels.
	Teacher string `json:"teacher,omitempty"`
	// Targets is a safetensors file of one tensor, whose vectors are learnt in the place of labels: [N,E] by
	// the embeddings of N pictures in the order of Data, or [N,G²,W] by a projector of their patches.
	Targets string `json:"targets,omitempty"`
	// Distance is that from Teacher or Targets: "cosine", which is the default, or "mse".
	Distance string `json:"distance,omitempty"`

	Recipe    string    `json:"recipe"`              // name of a preset: "probe", "lora", "last-n", "full"; with Targets "projector", "xcomposer"
	Overrides Overrides `json:"overrides,omitzero"`  // of the preset
	Augment   Augment   `json:"augment,omitzero"`    // of the pictures that are trained on
	Seed      uint64    `json:"seed,omitempty"`      // of all that is random
	MaxSteps  int       `json:"max_steps,omitempty"` // ends the run before its epochs do; 0 is never
	Patience  int       `json:"patience,omitempty"`  // ends it after so many validations without a better score; 0 is never

	// Output is the directory for all that is written. It holds one run.
	Output string `json:"output"`
	// Resume goes on from the last checkpoint in Output, if there is one. Without it such an Output is
	// refused. What is to be learnt, and from what, must be what it was.
	Resume          bool  `json:"resume,omitempty"`
	CheckpointEvery int   `json:"checkpoint_every,omitempty"` // steps; 0 is an epoch
	ValidateEvery   int   `json:"validate_every,omitempty"`   // steps; 0 is an epoch
	MemoryLimit     int64 `json:"memory_limit,omitempty"`     // bytes; 0 is what the machine has, a negative number any
	// Cache is a directory where what a model that does not learn (recipe "probe") gives for a picture is kept
	// from epoch to epoch, and from run to run; "" computes it every time.
	Cache string `json:"cache,omitempty"`
	// Strict makes a picture that cannot be read an error. Otherwise it is skipped, counted and named.
	Strict bool `json:"strict,omitempty"`
}

// Overrides are what is to be other than in a preset: Epochs: new(3). A nil field changes nothing.
type Overrides struct {
	Epochs     *int `json:"epochs,omitempty"`
	Batch      *int `json:"batch,omitempty"`      // images that go through the model together
	Accumulate *int `json:"accumulate,omitempty"` // batches that make a step

	Rate        *float64 `json:"rate,omitempty"`         // of the model's last layers
	HeadRate    *float64 `json:"head_rate,omitempty"`    // of the classifier
	WeightDecay *float64 `json:"weight_decay,omitempty"` // of weights; norms, biases and embeddings have none
	LayerDecay  *float64 `json:"layer_decay,omitempty"`  // a layer's rate in terms of the next one's
	EMA         *float64 `json:"ema,omitempty"`          // decay of an average of the weights; 0 is none
	Warmup      *float64 `json:"warmup,omitempty"`       // share of the steps in which the rates rise
	Clip        *float64 `json:"clip,omitempty"`         // largest norm of the gradients; 0 is any
	Smoothing   *float64 `json:"smoothing,omitempty"`    // of the labels

	Blocks  *int     `json:"blocks,omitempty"`  // of "last-n": how many learn
	Rank    *int     `json:"rank,omitempty"`    // of "lora"
	Alpha   *float64 `json:"alpha,omitempty"`   // of "lora"
	Targets []string `json:"targets,omitempty"` // of "lora": which products are corrected
}

// Augment says how pictures are varied. The zero value is not at all.
type Augment struct {
	Crop   float64 `json:"crop,omitempty"`   // least share of a picture that is cut out; 0 is the middle square
	Flip   float64 `json:"flip,omitempty"`   // probability to exchange left and right
	Colour float64 `json:"colour,omitempty"` // brightness, contrast and saturation vary by at most this
}

// Validate returns nil, or an [ErrRequest] with everything that is wrong with r by itself.
func (r Request) Validate() error {
	var errs []error
	for _, f := range []struct{ name, v string }{{"data", r.Data}, {"recipe", r.Recipe}, {"output", r.Output}} {
		if f.v == "" {
			errs = append(errs, fmt.Errorf("finetuning: %w: no %s", ErrRequest, f.name))
		}
	}
	if !(r.Split >= 0 && r.Split < 1) {
		errs = append(errs, fmt.Errorf("finetuning: %w: split is %v, want 0 to below 1", ErrRequest, r.Split))
	}
	if r.Split > 0 && r.Validation != "" {
		errs = append(errs, fmt.Errorf("finetuning: %w: split is %v and validation %q, want one of them", ErrRequest, r.Split, r.Validation))
	}
	if r.Teacher != "" && r.Targets != "" {
		errs = append(errs, fmt.Errorf("finetuning: %w: teacher %q and targets %q, want one of them", ErrRequest, r.Teacher, r.Targets))
	}
	if r.Targets != "" && (r.Split > 0 || r.Validation != "") {
		errs = append(errs, fmt.Errorf("finetuning: %w: targets are of the pictures of data alone: want no split and no validation", ErrRequest))
	}
	if r.Distance != "" && r.Distance != "cosine" && r.Distance != "mse" {
		errs = append(errs, fmt.Errorf("finetuning: %w: distance is %.40q, want cosine or mse", ErrRequest, r.Distance))
	}
	for _, f := range []struct {
		name string
		v    int
	}{{"max_steps", r.MaxSteps}, {"patience", r.Patience}, {"checkpoint_every", r.CheckpointEvery}, {"validate_every", r.ValidateEvery}} {
		if f.v < 0 {
			errs = append(errs, fmt.Errorf("finetuning: %w: %s is %d, want 0 or more", ErrRequest, f.name, f.v))
		}
	}
	for _, f := range []struct{ name, v string }{{"output", r.Output}, {"cache", r.Cache}} {
		if r.Data != "" && f.v != "" && folder.Inside(f.v, r.Data) {
			errs = append(errs, fmt.Errorf("finetuning: %w: %s %s lies in the data, where it would be taken for a class", ErrRequest, f.name, f.v))
		}
	}
	return errors.Join(errs...)
}

// A Kind says what a Progress is about.
type Kind string

// The kinds.
const (
	Begun     Kind = "begun"      // the run begins, or goes on
	Trained   Kind = "train"      // a step has been made
	Validated Kind = "validation" // pictures that are not trained on have been looked at
)

// Progress is what is known at some point of a run.
type Progress struct {
	Kind    Kind    `json:"kind"`
	Step    int     `json:"step"`  // made so far
	Steps   int     `json:"steps"` // of the whole run
	Epoch   int     `json:"epoch"` // from 0
	Loss    float64 `json:"loss"`  // mean over the images
	Score   float64 `json:"score"` // mean over the images: the share that is told right, or the cosine with what is to be given
	Best    bool    `json:"best,omitempty"`
	Images  int     `json:"images"`
	Skipped int     `json:"skipped,omitempty"` // pictures that cannot be read
	Seconds float64 `json:"seconds"`           // since the step or validation before

	Table  string `json:"table,omitempty"`  // of Begun: what learns, a line for every group
	Memory int64  `json:"memory,omitempty"` // of Begun: bytes that the run will take, about
}

// Response says what a run came to.
type Response struct {
	// Model is a directory in the request's output that loads as the model did, with what was learnt beside it: a
	// classifier as head.safetensors (weight, bias) and classes.json, a projector as conversion writes it.
	Model   string `json:"model"`
	Adapter string `json:"adapter,omitempty"` // of "lora": a directory that peft loads
	Report  string `json:"report"`            // a page of Markdown

	Classes []string `json:"classes,omitempty"` // in the order of the classifier's rows
	Steps   int      `json:"steps"`             // of the whole run
	// Best is the validation whose weights were taken; nil if there was none.
	Best     *Progress         `json:"best,omitempty"`
	Stopped  string            `json:"stopped,omitempty"` // why before its last step
	Skipped  map[string]string `json:"skipped,omitempty"` // pictures that could not be read, and why
	Memory   int64             `json:"memory,omitempty"`  // bytes that the process took at its peak, where the system says
	Duration time.Duration     `json:"duration"`          // of this call
}
