package finetune

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/internal/softmax"
)

// Tuned is a tower with a classifier on it: what a run has trained, or a checkpoint that has one. It may be used by many
// goroutines at once.
type Tuned struct {
	model *clip.Model
	head  *probe.Head
	by    clip.Classifier
}

var _ clip.Classifier = &Tuned{}

// Open opens the model that a run of classes has written, or a checkpoint with a classifier of its own. Of a run, dir is its
// directory or [history.ModelFolder] in it; classifiers of one's own are CLIPForImageClassification of transformers, and what timm
// has tuned. Open reads the classifier; the tower is loaded when it is first used. The model must be closed in the end.
//
// The error is [ErrNoHead] for a model without a classifier, or with a head that is none of classes. It is [ErrUnfinished]
// for a run that has not ended.
func Open(ctx context.Context, dir string, o ...clip.Option) (*Tuned, error) {
	dir, err := ofRun(dir)
	if err != nil {
		return nil, err
	}
	m, err := clip.Open(dir, o...)
	if err != nil {
		return nil, err
	}
	t, err := TunedOf(ctx, m)
	if err != nil {
		m.Close()
		return nil, err
	}
	return t, nil
}

// TunedOf returns the classifier of a model that is open, as [Open] finds it, and reads no more of it. A model of [clip.New] has none.
func TunedOf(ctx context.Context, m *clip.Model) (*Tuned, error) {
	if m.Checkpoint() == nil {
		return nil, fmt.Errorf("finetune: %s: %w: it has towers alone", m.Name(), ErrNoHead)
	}
	head, err := headOf(ctx, m)
	if err != nil {
		return nil, err
	}
	t := &Tuned{model: m, head: head}
	t.by = clip.ClassifyBy(m, head.Features, head.Classes, t.Rank)
	return t, nil
}

// ofRun returns where the model of a directory is: below it, if a run has written that.
func ofRun(dir string) (string, error) {
	is := func(name ...string) bool {
		_, err := os.Stat(filepath.Join(append([]string{dir}, name...)...))
		return err == nil
	}
	switch {
	case is("config.json"):
		return dir, nil
	case is(history.ModelFolder, "config.json"):
		return filepath.Join(dir, history.ModelFolder), nil
	}
	run := dir
	if filepath.Base(dir) == history.ModelFolder && !is() {
		run = filepath.Dir(dir)
	}
	if last, err := LastCheckpoint(run); err == nil && last != "" {
		return "", fmt.Errorf("finetune: %s is the directory of %w and has no model yet; resuming it goes on from %s", run, ErrUnfinished, filepath.Base(last))
	}
	return dir, nil
}

// headOf reads the classifier of a model: that which lies beside it, or its own.
func headOf(ctx context.Context, m *clip.Model) (head *probe.Head, err error) {
	dir := m.Name()
	switch {
	case probe.HasHead(dir):
		head, err = probe.LoadHead(dir)
	case hasOwnHead(dir):
		return nil, fmt.Errorf("finetune: %s: %w: %s has no %s beside it, so it is a head of one's own%s; LoadHead reads it in a program that has this type", dir, ErrNoHead, converter.HeadFile, probe.ClassesFile, typeOfHead(dir))
	default:
		if head, err = probe.HeadOf(ctx, m.Checkpoint()); err == nil && head == nil {
			return nil, fmt.Errorf("finetune: %s: %w: no head that a run has trained (%s, %s), and none among its tensors", dir, ErrNoHead, converter.HeadFile, probe.ClassesFile)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := head.Fits(m.Checkpoint().Stated().Vision); err != nil {
		return nil, fmt.Errorf("finetune: %s: %w", dir, pillow.Bare(err, "probe", "clipvit"))
	}
	return head, nil
}

// hasOwnHead says whether there is a head in a directory.
func hasOwnHead(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, converter.HeadFile))
	return err == nil
}

// typeOfHead returns ", a TYPE" of the head in a directory, if its file says that.
func typeOfHead(dir string) string {
	f, err := checkpoint.Open(filepath.Join(dir, converter.HeadFile))
	if err != nil {
		return ""
	}
	defer f.Close()
	if t := f.Metadata()[moduleKey]; t != "" {
		return fmt.Sprintf(", a %.60s", t)
	}
	return ""
}

// Close closes the files of the model. What is loaded by then can still be used.
func (t *Tuned) Close() error { return t.model.Close() }

// Model returns the tower. Its features are what [Tuned.Rank] takes, of the kind that [Tuned.Head] reads.
func (t *Tuned) Model() *clip.Model { return t.model }

// Head returns the classifier.
func (t *Tuned) Head() *probe.Head { return t.head }

// Labels returns the classes in the order of the head.
func (t *Tuned) Labels() []string { return slices.Clone(t.head.Classes) }

// Rank returns all classes, the most probable first, for the features [D] of a picture. They have no cosines, and their
// probabilities sum to 1 unless the head is Multi. It panics if D is not that of the head.
func (t *Tuned) Rank(vector []float32) []clip.Label {
	if d := t.head.Dim(); len(vector) != d {
		panic(fmt.Sprintf("finetune: a vector of %d values, want %d", len(vector), d))
	}
	return ranked(t.head.Classes, t.head.Predict(vector))
}

// ranked returns classes with their probabilities [K], the most probable first.
func ranked(classes []string, p []float64) []clip.Label {
	labels := make([]clip.Label, len(classes))
	for i, name := range classes {
		labels[i] = clip.Label{Name: name, Probability: p[i]}
	}
	slices.SortStableFunc(labels, func(a, b clip.Label) int { return cmp.Compare(b.Probability, a.Probability) }) // as probable ones in their order
	return labels
}

// ClassifyBy returns the classifier that a head of one's own makes of a model: it reads the embeddings of m, and classes are those of the columns of
// its logits [B,K], whose softmax the probabilities are. The head may be any spago model; [SaveHead] and [LoadHead] keep it. It is used by many
// goroutines if the classifier is, and panics on a picture if it does not take embeddings of m's width, or gives other than K logits.
func ClassifyBy(m *clip.Model, head Head, classes []string) clip.Classifier {
	classes = slices.Clone(classes)
	return clip.ClassifyBy(m, clipvit.Features{Kind: clipvit.Embedding}, classes, func(vector []float32) []clip.Label {
		x := mat.NewDense[float32](mat.WithShape(1, len(vector)), mat.WithBacking(slices.Clone(vector))) // [1,E]
		logits := head.Forward(x).Value()
		if k := logits.Size(); k != len(classes) {
			panic(fmt.Sprintf("finetune: the head %T gives %d logits, want %d, one a class", head, k, len(classes)))
		}
		p := slices.Clone(logits.Data().F64())
		softmax.Of(p)
		return ranked(classes, p)
	})
}

// Classify returns all classes for each picture, the most probable first, and the error of the first that cannot be read.
func (t *Tuned) Classify(ctx context.Context, pictures ...clip.Picture) ([][]clip.Label, error) {
	return t.by.Classify(ctx, pictures...)
}

// ClassifyAll yields all classes for each picture, the most probable first, in the order of the pictures; they are decoded
// ahead. It ends with the first error. With SkipErrors in o, a picture that cannot be read has its error in
// [clip.Classified] instead.
func (t *Tuned) ClassifyAll(ctx context.Context, pictures iter.Seq[clip.Picture], o clip.StreamOptions) iter.Seq2[clip.Classified, error] {
	return t.by.ClassifyAll(ctx, pictures, o)
}
