package history_test

import (
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/finetune/history"
)

// A run tells its sinks what happens: lines for a person, and whatever a program makes of it. They are finetune.Config.Sinks of a run.
func ExampleNewLines() {
	best := 0.0
	sinks := []history.Sink{
		history.NewLines(os.Stdout, 10, "accuracy"),
		history.SinkFunc(func(e history.Event) error {
			if e.Kind == history.ValidationEvent && e.Best {
				best = e.Score
			}
			return nil // an error would end the run
		}),
	}
	for _, e := range []history.Event{ // as a trainer gives them
		{Kind: history.TrainEvent, Step: 10, Steps: 20, Loss: 0.7, Score: 0.5, Factor: 1, Images: 8, Seconds: 2, Rate: 4},
		{Kind: history.ValidationEvent, Step: 10, Steps: 20, Loss: 0.6, Score: 0.75, Images: 16, Seconds: 1, Best: true},
	} {
		for _, s := range sinks {
			if err := s.Write(e); err != nil {
				log.Fatal(err)
			}
		}
	}
	fmt.Println(best)
	// Output:
	// step 10/20  train      loss  0.70000  accuracy 0.5000  norm        0  rate 100%  4 images/s  20s left
	// step 10/20  validation loss  0.60000  accuracy 0.7500  best
	// 0.75
}
