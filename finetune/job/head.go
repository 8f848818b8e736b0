package job

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/probe"
)

// ownHead is the file of a head that is no classifier of ours, which is of [finetune.Trainer.Save] alone.
const ownHead = "head.safetensors"

// headOf returns the classifier that lies beside a model, nil if there is none that can be begun with: it has to read the
// embedding and to have the classes that are learnt, in their order. note says what becomes of a head that there is.
func (r Request) headOf(ctx context.Context, like *converter.Model, width int, classes []string) (h *finetune.Classifier, note string, err error) {
	c, err := like.Classifier(ctx)
	switch {
	case err != nil && ctx.Err() == nil: // one that classify would refuse, and nothing here wants
		return nil, fmt.Sprintf("%v: the run has nothing of this classifier, and nor has what is written", err), nil
	case err != nil:
		return nil, "", err
	case c != nil:
		return nil, fmt.Sprintf("the classifier in %s, of %d classes, reads %s: the run has nothing of it, and nor has what is written", r.Model, len(c.Classes), c.Features), nil
	}
	dir, err := converter.Folder(r.Model)
	if err != nil {
		return nil, "", err
	}
	if !probe.HasHead(dir) {
		if _, err := os.Stat(filepath.Join(dir, ownHead)); err == nil {
			return nil, fmt.Sprintf("the head in %s is one of your own, which only a program that has its type can load: the run has nothing of it, and nor has what is written", dir), nil
		}
		return nil, "", nil
	}
	was, err := probe.LoadHead(dir)
	if err != nil {
		return nil, "", err
	}
	dropped := fmt.Sprintf("the head in %s, of %d classes, is dropped: ", dir, len(was.Classes))
	switch {
	case classes == nil:
		return nil, dropped + "it is no classes that are learnt", nil
	case was.Features.Kind != clipvit.Embedding || was.Linear.W.Shape()[1] != width:
		return nil, dropped + fmt.Sprintf("it reads %d numbers, %s, and the new one %d, the embedding", was.Linear.W.Shape()[1], was.Features, width), nil
	case !slices.Equal(was.Classes, classes):
		return nil, dropped + fmt.Sprintf("it has %.200q, the data have %.200q", was.Classes, classes), nil
	}
	h, err = finetune.LoadClassifier(dir)
	return h, fmt.Sprintf("begins with the head in %s, of the same %d classes", dir, len(classes)), err
}

// beginHead returns the head for classes that a run begins with, that of the model if it fits, and notes where it is from.
func (j *Job) beginHead(ctx context.Context, width int, classes []string, r finetune.Recipe) (*finetune.Classifier, error) {
	h, err := j.noteHead(ctx, width, classes)
	if err != nil || h != nil {
		return h, err
	}
	if r.HeadRate == 0 && r.Rate > 0 { // where both are 0, the trainer says so
		return nil, bad("{overrides.head_rate} is 0, and the head is a new one of zeros, through which no gradient comes: want above 0, or a model with a head of these classes")
	}
	return finetune.NewClassifier(width, classes), nil
}

// noteHead notes what becomes of the head of the model, and returns it if the run begins with it.
func (j *Job) noteHead(ctx context.Context, width int, classes []string) (*finetune.Classifier, error) {
	h, note, err := j.request.headOf(ctx, j.like, width, classes)
	if err == nil && note != "" {
		j.Notes = append(j.Notes, note)
		j.facts = append(j.facts, [2]string{"note", note})
	}
	return h, err
}
