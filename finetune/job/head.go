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
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
)

// headOf returns a classifier for the classes of d that begins with the one beside a model, nil if none can be begun with.
// That one has to read the embedding, and to have some of the classes, in any order. Rows of others are zeros. note says what
// becomes of a head that there is.
func (r Request) headOf(ctx context.Context, like *converter.Model, width int, d *data.Dataset) (h *finetune.Classifier, note string, err error) {
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
		if _, err := os.Stat(filepath.Join(dir, converter.HeadFile)); err == nil {
			return nil, fmt.Sprintf("the head in %s is one of your own, which only a program that has its type can load: the run has nothing of it, and nor has what is written", dir), nil
		}
		return nil, "", nil
	}
	was, err := probe.LoadHead(dir)
	if err != nil {
		return nil, "", err
	}
	dropped := fmt.Sprintf("the head in %s, of %d classes, is dropped: ", dir, len(was.Classes))
	var classes, kept, fresh, gone []string
	if d != nil {
		classes = d.Classes
	}
	for _, c := range classes {
		if slices.Contains(was.Classes, c) {
			kept = append(kept, c)
		} else {
			fresh = append(fresh, c)
		}
	}
	for _, c := range was.Classes {
		if !slices.Contains(classes, c) {
			gone = append(gone, c)
		}
	}
	switch {
	case classes == nil:
		return nil, dropped + "it is no classes that are learnt", nil
	case was.Multi != d.Multi:
		kinds := map[bool]string{false: "exclude each other", true: "do not exclude each other"}
		return nil, dropped + fmt.Sprintf("its classes %s, and those of the data %s", kinds[was.Multi], kinds[d.Multi]), nil
	case was.Features.Kind != clipvit.Embedding || was.Linear.W.Shape()[1] != width:
		return nil, dropped + fmt.Sprintf("it reads %d numbers, %s, and the new one %d, the embedding", was.Linear.W.Shape()[1], was.Features, width), nil
	case kept == nil:
		return nil, dropped + fmt.Sprintf("it has %.200q, the data have %.200q", was.Classes, classes), nil
	}
	h = newHead(width, d)
	for k, c := range classes {
		if from := slices.Index(was.Classes, c); from >= 0 {
			copy(h.Linear.W.Data().F32()[k*width:(k+1)*width], was.Linear.W.Data().F32()[from*width:])
			h.Linear.B.Data().F32()[k] = was.Linear.B.Data().F32()[from]
		}
	}
	switch {
	case slices.Equal(was.Classes, classes):
		return h, fmt.Sprintf("begins with the head in %s, of the same %d classes", dir, len(classes)), nil
	case fresh == nil && gone == nil:
		return h, fmt.Sprintf("begins with the head in %s, of the same %d classes in another order", dir, len(classes)), nil
	}
	note = fmt.Sprintf("begins with the head in %s where the classes are the same, %d of %d", dir, len(kept), len(classes))
	if fresh != nil {
		note += fmt.Sprintf("; with zeros for %.200q", fresh)
	}
	if gone != nil {
		note += fmt.Sprintf("; without its %.200q", gone)
	}
	return h, note, nil
}

// newHead returns a head of zeros.
func newHead(width int, d *data.Dataset) *finetune.Classifier {
	h := finetune.NewClassifier(width, d.Classes)
	h.Multi = d.Multi
	return h
}

// beginHead returns the head for classes that a run begins with, that of the model if it fits, and notes where it is from.
func (j *Job) beginHead(ctx context.Context, width int, d *data.Dataset, r finetune.Recipe) (*finetune.Classifier, error) {
	if j.request.InitHead {
		h, note, err := j.request.headOf(ctx, j.like, width, d)
		switch {
		case err != nil:
			return nil, err
		case h == nil && note != "":
			return nil, bad("{init_head} begins with a new head, and so does the run without it: %s", note)
		case h == nil:
			return nil, bad("{init_head} begins with a new head, and %s has none with which the run would begin", j.request.Model)
		}
	} else if h, err := j.noteHead(ctx, width, d); err != nil || h != nil {
		return h, err
	}
	if r.HeadRate == 0 && r.Rate > 0 { // where both are 0, the trainer says so
		return nil, bad("{overrides.head_rate} is 0, and the head is a new one of zeros, through which no gradient comes: want above 0, or a model with a head of these classes")
	}
	return newHead(width, d), nil
}

// noteHead notes what becomes of the head of the model, and returns it if the run begins with it.
func (j *Job) noteHead(ctx context.Context, width int, d *data.Dataset) (*finetune.Classifier, error) {
	h, note, err := j.request.headOf(ctx, j.like, width, d)
	if err == nil && note != "" {
		j.Notes = append(j.Notes, note)
		j.facts = append(j.facts, [2]string{"note", note})
	}
	return h, err
}
