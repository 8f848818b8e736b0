package history

import "time"

// A Pace is how long batches take.
type Pace struct {
	Train, Validation time.Duration // of a batch; 0 as long as none was measured
	Batches           int           // that were measured, of both
}

// Progress is how far a run is, between the events.
type Progress struct {
	Step, Steps int // made, and in all
	// Batch is how many batches of training data have been learnt, of Batches in all steps.
	Batch, Batches int
	// Validated is how many batches of the validation at hand have been judged, of Validation; 0 while it trains.
	Validated, Validation int
	Images                int  // of this batch
	Pace                  Pace // so far
	// Left is about how long the rest takes at the pace so far; 0 as long as nobody can say.
	Left time.Duration
}
