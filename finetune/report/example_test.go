package report_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/report"
)

// A page and a curve of a run that has ended. finetune/job writes them for each.
func ExampleReport_Write() {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	result := &finetune.Result{Steps: 2, History: []history.Event{ // what Trainer.Run returns
		{Kind: history.TrainEvent, Step: 1, Steps: 2, Loss: 0.7, Score: 0.5, Images: 8, Seconds: 1, Rate: 8},
		{Kind: history.TrainEvent, Step: 2, Steps: 2, Loss: 0.4, Score: 0.75, Images: 8, Seconds: 1, Rate: 8},
	}}
	err = report.Report{Title: "Flowers", Facts: [][2]string{{"model", "builtin:demo"}}, Measure: "accuracy", Result: result}.Write(dir)
	if err != nil {
		log.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range files {
		fmt.Println(filepath.Base(f))
	}
	// Output:
	// curve.svg
	// report.md
}

// Curves of a run in TensorBoard, while it lasts: the sink goes into finetune.Config.Sinks.
func ExampleNewTensorBoard() {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	board, err := report.NewTensorBoard(dir, "accuracy", nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := board.Write(history.Event{Kind: history.TrainEvent, Step: 1, Steps: 2, Loss: 0.7, Score: 0.5}); err != nil {
		log.Fatal(err)
	}
	if err := board.Close(); err != nil {
		log.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	fmt.Println(len(files), "file of events", err) // tensorboard --logdir DIR
	// Output: 1 file of events <nil>
}
