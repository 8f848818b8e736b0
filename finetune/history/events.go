package history

import (
	"fmt"
	"io"
	"time"
)

// The kinds of events.
const (
	TrainEvent      = "train"
	ValidationEvent = "validation"
)

// An Event is what is known after a step, or after a validation.
type Event struct {
	Kind    string  `json:"kind"`              // [TrainEvent] or [ValidationEvent]
	Step    int     `json:"step"`              // made so far
	Steps   int     `json:"steps"`             // of the whole run
	Epoch   int     `json:"epoch"`             // from 0
	Loss    float64 `json:"loss"`              // mean over the images
	Score   float64 `json:"score"`             // mean over the images, of the objective: accuracy, say
	Factor  float64 `json:"factor"`            // of the rates, of a step
	Norm    float64 `json:"norm,omitempty"`    // of all gradients, before they were clipped, of a step
	Images  int     `json:"images"`            // of the step or validation
	Skipped int     `json:"skipped,omitempty"` // pictures that cannot be read
	Seconds float64 `json:"seconds"`           // since the step or validation before
	Rate    float64 `json:"images_per_second"` // images a second, of the step or validation
	Best    bool    `json:"best,omitempty"`    // of a validation: better than all before
}

// A Sink hears of every event. An error ends the run.
type Sink interface {
	// Write is called after each step and each validation, in their order.
	Write(e Event) error
}

// SinkFunc is a [Sink] that is a function.
type SinkFunc func(e Event) error

// Write implements [Sink].
func (f SinkFunc) Write(e Event) error { return f(e) }

// NewLines returns a sink that writes lines for a person: one for every so many steps, and every validation.
func NewLines(w io.Writer, every int, measure string) Sink {
	var sum float64 // seconds of all steps, and of validations, as they come
	first := -1     // the step before the first
	return SinkFunc(func(e Event) error {
		if first < 0 {
			first = e.Step - 1
		}
		sum += e.Seconds
		if e.Kind == TrainEvent && e.Step%max(1, every) != 0 && e.Step != e.Steps {
			return nil
		}
		s := fmt.Sprintf("step %*d/%d  %-10s loss %8.5f  %s %.4f", len(fmt.Sprint(e.Steps)), e.Step, e.Steps, e.Kind, e.Loss, measure, e.Score)
		if e.Kind == TrainEvent {
			left := time.Duration(sum / float64(max(1, e.Step-first)) * float64(e.Steps-e.Step) * float64(time.Second))
			s += fmt.Sprintf("  norm %8.3g  rate %3.0f%%  %.4g images/s  %s left", e.Norm, 100*e.Factor, e.Rate, left.Round(time.Second))
		} else if e.Best {
			s += "  best"
		}
		_, err := fmt.Fprintln(w, s)
		return err
	})
}
