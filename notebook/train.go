package notebook

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/converter/compare/chart"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/internal/plural"
)

// A Run is a training that has ended, with its curves. Its model is in a folder.
type Run struct {
	Folder   string   // of all that was written
	Model    string   // the folder of the model: a path for [Open] and [Compare]
	Classes  []string // as the folders are called; nil if captions were learnt
	Accuracy float64  // of the pictures to validate on, from 0 to 1; NaN without any
	Curves   []Curve  // of the loss and the score, over steps
	title    string
	across   string
	up       string
	facts    string
}

// A Curve is a line of a plot.
type Curve struct {
	Name string    // for the legend
	X, Y []float64 // as many of both
}

// Probe trains a head for the classes of a folder, which has a folder of pictures for each class, on a tower that stays as it is: the linear
// probe of the CLIP paper. A fifth of the pictures is set aside to validate on. The result is written to the folder out; of a
// probe that is there already the features are taken again.
func (m *Model) Probe(pictures, out string) *Run {
	return m.Tune(job.Request{Data: pictures, Output: out, Recipe: "probe"})
}

// LoRA trains corrections of low rank of the tower, with a head for the classes of a folder as Probe's. A run that is in the folder out
// already goes on where it was, or is read if it has ended.
func (m *Model) LoRA(pictures, out string, epochs int) *Run {
	return m.Tune(job.Request{Data: pictures, Output: out, Recipe: "lora", Split: 0.2, Overrides: job.Overrides{Epochs: &epochs}})
}

// Tune trains by any request of package job. Its Model is m, and it goes on with the run that is in its Output.
func (m *Model) Tune(r job.Request) *Run {
	m.clip()
	run := &Run{Folder: r.Output, Accuracy: math.NaN()}
	r.Model, r.Resume = m.path, true
	call("training", func(ctx context.Context, p *progress) error {
		byLBFGS, err := r.ByLBFGS()
		if err != nil {
			return err
		}
		if byLBFGS {
			return run.probe(ctx, r, p)
		}
		return run.train(ctx, r, p)
	})
	return run
}

func (run *Run) probe(ctx context.Context, r job.Request, p *progress) error {
	j, err := job.OpenProbe(ctx, r)
	if err != nil {
		return err
	}
	defer j.Close()
	fitted, err := j.Run(ctx, func(done, _, total int) { p.set(done, total) })
	if err != nil {
		return err
	}
	run.Model, run.Classes = fitted.Model, j.Classes
	if v := fitted.Validation; v != nil {
		run.Accuracy = v.Value()
	}
	run.title, run.across, run.up = "linear probe", "log10 of the penalty λ", "accuracy"
	training, validation := Curve{Name: "training"}, Curve{Name: "validation"}
	for _, t := range fitted.Trials {
		x := math.Log10(t.Lambda)
		training.X, training.Y = append(training.X, x), append(training.Y, t.Train.Value())
		validation.X, validation.Y = append(validation.X, x), append(validation.Y, t.Validation.Value())
	}
	if len(training.X) > 0 {
		run.Curves = []Curve{sorted(training), sorted(validation)}
	}
	run.facts = fmt.Sprintf("linear probe of %s on %s", plural.Of(len(run.Classes), "class"), plural.Of(j.Pictures, "picture"))
	return nil
}

func (run *Run) train(ctx context.Context, r job.Request, p *progress) error {
	j, err := job.Open(ctx, r)
	if err != nil {
		return err
	}
	defer j.Close()
	for _, n := range j.Notes {
		fmt.Fprintln(os.Stderr, n)
	}
	p.set(j.Trainer.Step(), j.Trainer.Steps())
	j.Trainer.Sinks = append(j.Trainer.Sinks, history.SinkFunc(func(e history.Event) error {
		p.set(e.Step, e.Steps)
		return nil
	}))
	result, err := j.Trainer.Run(ctx)
	if err != nil {
		return err
	}
	written, err := j.Write(ctx, result)
	if err != nil {
		return err
	}
	run.Model, run.Classes = written.Model, j.Classes
	if result.Best != nil {
		run.Accuracy = result.Best.Score
	}
	training, validation := Curve{Name: "training"}, Curve{Name: "validation"}
	for _, e := range result.History {
		switch {
		case e.Kind == history.ValidationEvent:
			validation.X, validation.Y = append(validation.X, float64(e.Step)), append(validation.Y, e.Loss)
		case e.Images > 0:
			training.X, training.Y = append(training.X, float64(e.Step)), append(training.Y, e.Loss)
		}
	}
	for _, c := range []Curve{training, validation} {
		if len(c.X) > 0 {
			run.Curves = append(run.Curves, c)
		}
	}
	run.title, run.across, run.up = r.Recipe, "step", "loss"
	run.facts = fmt.Sprintf("%s, %d steps", r.Recipe, result.Steps)
	return nil
}

// sorted orders the points of a curve from left to right.
func sorted(c Curve) Curve {
	for i := range c.X {
		for j := i; j > 0 && c.X[j] < c.X[j-1]; j-- {
			c.X[j], c.X[j-1], c.Y[j], c.Y[j-1] = c.X[j-1], c.X[j], c.Y[j-1], c.Y[j]
		}
	}
	return c
}

// String says what came of it.
func (run *Run) String() string {
	text := run.facts
	if !math.IsNaN(run.Accuracy) {
		text += fmt.Sprintf(": %s right of those to validate on", percent(run.Accuracy))
	}
	return text
}

// SimpleRender shows the curves.
func (run *Run) SimpleRender() map[string]any { return render(run) }

func (run *Run) bundle() (bundle, error) {
	if len(run.Curves) == 0 {
		return bundle{mimeText: run.String()}, nil
	}
	var lines []chart.Line
	for _, c := range run.Curves {
		lines = append(lines, chart.Line{Name: c.Name, X: c.X, Y: c.Y})
	}
	p, err := chart.Curves(run.title, run.across, run.up, lines...)
	if err != nil {
		return nil, err
	}
	file, err := chart.PNG(p, plotDPI)
	if err != nil {
		return nil, err
	}
	return bundle{mimePNG: file, mimeText: run.String()}, nil
}

// Open opens the model with the head that was trained.
func (run *Run) Open() *Tuned { return OpenTuned(run.Folder) }

// A Tuned is a model with a head for the classes that it was trained for.
type Tuned struct {
	dir string
	of  *finetune.Tuned
}

// OpenTuned opens what a training has written into a folder.
func OpenTuned(dir string) *Tuned {
	t := &Tuned{dir: dir}
	call("opening "+dir, func(ctx context.Context, _ *progress) (err error) {
		t.of, err = finetune.Open(ctx, dir)
		return err
	})
	return t
}

// Close gives the memory back, and closes the files.
func (t *Tuned) Close() {
	call("closing "+t.dir, func(context.Context, *progress) error { return t.of.Close() })
}

// Classify says which class fits each picture best.
func (t *Tuned) Classify(pictures Pictures) *Answers {
	a := &Answers{Pictures: pictures}
	call("classifying", func(ctx context.Context, p *progress) error { return a.fill(ctx, t.of, p) })
	return a
}

// Judge classifies the pictures in a folder that has a folder for each class, and says how many are right.
func (t *Tuned) Judge(dir string) *Judged {
	j := &Judged{All: Folder(dir)}
	for i, best := range t.Classify(j.All).Best() {
		if filepath.Base(filepath.Dir(j.All[i].Name())) == best {
			j.Right++
		} else {
			j.Wrong = append(j.Wrong, j.All[i])
		}
	}
	return j
}

// Judged says how many pictures were classified as their folders are called.
type Judged struct {
	All, Wrong Pictures // pictures that were judged, and those of them that got another class
	Right      int      // how many got theirs
}

// String says how many are right.
func (j *Judged) String() string { return fmt.Sprintf("%d of %d right", j.Right, len(j.All)) }

// SimpleRender shows it in words.
func (j *Judged) SimpleRender() map[string]any { return render(j) }

func (j *Judged) bundle() (bundle, error) { return bundle{mimeText: j.String()}, nil }

// String says where it is from.
func (t *Tuned) String() string {
	return filepath.Base(t.dir) + ", with a head"
}
