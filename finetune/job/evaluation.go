package job

import (
	"context"
	"math"
	"path/filepath"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/evaluation"
	"github.com/vitago/vitago/finetune/report"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/softmax"
)

// wrongKept is how many of the wrong pictures a run names, the surest.
const wrongKept = 1000

// A recorder is the objective of a run, and adds up what is said of each picture besides.
type recorder struct {
	finetune.Objective
	tally *evaluation.Tally
	data  *data.Dataset
	p     []float64 // of a picture
	heard func(done, total int)
	done  int
}

// Unwrap returns the objective itself, of which the trainer may want more.
func (r *recorder) Unwrap() finetune.Objective { return r.Objective }

// Judge implements [finetune.Objective].
func (r *recorder) Judge(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error) {
	k := y.Shape()[1]
	logits := y.Value().Data().F32()
	for row, i := range b.Index {
		r.p = append(r.p[:0], make([]float64, k)...)
		path, z := r.data.Samples[i].Path, logits[row*k:(row+1)*k]
		var err error
		if r.data.Multi {
			sigmoid(r.p, z)
			err = r.tally.AddSet(i, path, b.LabelSets[row], r.p)
		} else {
			for c, v := range z {
				r.p[c] = float64(v)
			}
			softmax.Of(r.p)
			err = r.tally.Add(i, path, b.Labels[row], r.p)
		}
		if err != nil {
			return nil, 0, err
		}
	}
	if r.done += b.Len(); r.heard != nil {
		r.heard(r.done, len(r.data.Samples))
	}
	return r.Objective.Judge(y, b)
}

// sigmoid sets p to the probabilities of logits, each by itself.
func sigmoid(p []float64, logits []float32) {
	for i, z := range logits {
		p[i] = 1 / (1 + math.Exp(-float64(z)))
	}
}

// evaluate judges the model as it is by the pictures to validate on, if it learns classes and there are such: one pass
// through them. score is what they come to by the objective.
func (j *Job) evaluate(ctx context.Context) (r *evaluation.Result, score float64, err error) {
	t := j.Trainer
	validation, ok := t.Validation.(*data.Loader)
	if !ok || j.Classes == nil {
		return nil, 0, nil
	}
	objective := t.Objective
	record := &recorder{Objective: objective, tally: evaluation.NewTally(j.Classes, 0, wrongKept), data: validation.Data, heard: j.Judging}
	if validation.Data.Multi {
		record.tally = evaluation.NewMultiTally(j.Classes, wrongKept)
	}
	t.Objective = record
	defer func() { t.Objective = objective }()
	if _, score, err = t.Evaluate(ctx, validation); err != nil {
		return nil, 0, err
	}
	r, err = record.tally.Result()
	return r, score, err
}

// evaluationFolder is where the tables and the contact sheet of an evaluation are, beside the report.
const evaluationFolder = "evaluation"

// writeEvaluation writes the files of an evaluation, and gives it to the page that names them. d is what was judged.
func (r Request) writeEvaluation(ctx context.Context, e *evaluation.Result, d *data.Dataset, page *report.Report) error {
	page.Evaluation, page.Files = e, e.Files().Below(evaluationFolder)
	return folder.Prefix("job", folder.WriteDir(filepath.Join(r.Output, evaluationFolder), true, func(dir string) error {
		return e.Write(ctx, dir, d, r.EXIF)
	}))
}
