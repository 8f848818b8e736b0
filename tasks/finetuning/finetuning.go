// Package finetuning is the task of training a model on one's own pictures. It learns to tell the classes of labelled
// ones apart, or to find their captions. It may also learn to give what another model gives for them, or the vectors or
// tokens of a file. The package says what the task is; package clip beside it does
// it, and registers itself with package tasks when it is imported.
package finetuning

import (
	"context"
	"errors"
	"time"

	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/tasks/imageencoding"
)

// DefaultModel is the tower that InternLM-XComposer and LLaVA start from.
const DefaultModel = imageencoding.DefaultModel

var (
	// ErrRequest means that a request makes no sense, whatever the model, the data and the machine. What it is about is a
	// *[job.RequestError], as a rule.
	ErrRequest = job.ErrRequest
	// ErrData means that there is nothing to be learnt from the data. They are not there, have no labels or a single
	// class, or have other classes to validate on. Or teacher, targets or vocabulary do not fit. The errors of package
	// data are wrapped as well.
	ErrData = job.ErrData
	// ErrRefused means that the run cannot begin here. The memory would not suffice, or the output is in use. Or it holds
	// a run that is not to be resumed, or one of another model, recipe or data. The errors of packages finetune and job
	// are wrapped as well.
	ErrRefused = job.ErrRefused
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

// Request says what is to be learnt, and how; its Model is that of the task.
type Request = job.Request

// Overrides are what is to be other than in a preset: Epochs: new(3). A nil field changes nothing.
type Overrides = job.Overrides

// Augment says how pictures are varied. The zero value is not at all.
type Augment = job.Augment

// A Kind says what a Progress is about.
type Kind string

// The kinds.
const (
	Begun     Kind = "begun"      // the run begins, or goes on
	Seen      Kind = "seen"       // a picture has gone through the tower whose head is fitted by "lbfgs"; pictures are its steps
	Trained   Kind = "train"      // a step has been made
	Validated Kind = "validation" // pictures that are not trained on have been looked at
)

// Progress is what is known at some point of a run.
type Progress struct {
	Kind    Kind    `json:"kind"`              // what it is about
	Run     string  `json:"run,omitempty"`     // of a sweep: the name of the run
	Step    int     `json:"step"`              // made so far
	Steps   int     `json:"steps"`             // of the whole run
	Epoch   int     `json:"epoch"`             // from 0
	Loss    float64 `json:"loss"`              // mean over the images
	Score   float64 `json:"score"`             // mean over the images: the share that is told right, the cosine with what is to be given, R² of tokens
	Best    bool    `json:"best,omitempty"`    // of Validated: better than all before
	Images  int     `json:"images"`            // of the step or validation
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

	// Runs are those of a sweep, the best first; Model leads to that of the best, and is "" if all failed.
	Runs []job.SweepRun `json:"runs,omitempty"`

	Classes []string `json:"classes,omitempty"` // in the order of the classifier's rows
	Steps   int      `json:"steps"`             // of the whole run
	// Best is the validation whose weights were taken; nil if there was none.
	Best *Progress `json:"best,omitempty"`
	// Mixed is the score in validation of what wise_ft has mixed; nil if there is none.
	Mixed    *float64          `json:"mixed,omitempty"`
	Stopped  string            `json:"stopped,omitempty"` // why before its last step
	Skipped  map[string]string `json:"skipped,omitempty"` // pictures that could not be read, and why
	Notes    []string          `json:"notes,omitempty"`   // what was left out of the data and may have been wanted
	Memory   int64             `json:"memory,omitempty"`  // bytes that the process took at its peak, where the system says
	Duration time.Duration     `json:"duration"`          // of this call
}
