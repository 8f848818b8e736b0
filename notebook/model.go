package notebook

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/vitago/vitago/clip"
	_ "github.com/vitago/vitago/demo" // builtin:demo
	"github.com/vitago/vitago/internal/sheet"
	"github.com/vitago/vitago/zeroshot"
)

// A Model is a CLIP: a vision tower, mostly with a text tower. Its weights are read when they are first used.
type Model struct {
	path string
	of   *clip.Model
}

// opened are the models that are open. A notebook runs its first cell again and again: that must not keep a model in memory twice.
var opened = struct {
	sync.Mutex
	models map[string]*Model
}{models: map[string]*Model{}}

// Open opens a model: "builtin:demo", the folder or the file of a checkpoint, whatever software wrote it. A model that is open already
// is returned as it is. It reads no weights yet.
func Open(path string) (m *Model) {
	opened.Lock()
	defer opened.Unlock()
	if m := opened.models[path]; m != nil {
		return m
	}
	call("opening "+path, func(context.Context, *progress) error {
		of, err := clip.Open(path)
		if err != nil {
			return err
		}
		m = &Model{path, of}
		return nil
	})
	opened.models[path] = m
	return m
}

// Close gives the memory of the model back, and closes its files. Afterwards it must not be used; it may be opened again.
func (m *Model) Close() {
	opened.Lock()
	defer opened.Unlock()
	if m.of == nil {
		return
	}
	delete(opened.models, m.path)
	call("closing "+m.path, func(context.Context, *progress) error { return m.of.Close() })
	m.of = nil
	debug.FreeOSMemory()
}

// clip returns the model, if it is open.
func (m *Model) clip() *clip.Model {
	if m == nil || m.of == nil {
		failf("this model has been closed: open it again by notebook.Open")
	}
	return m.of
}

// String says what the model is.
func (m *Model) String() string {
	c := m.clip().Checkpoint()
	if c == nil {
		return m.path
	}
	config := c.Stated()
	v := config.Vision
	text := "no text tower"
	if config.Text != nil {
		text = "with a text tower"
	}
	var parameters int64
	for _, p := range c.Parameters() {
		n := int64(1)
		for _, d := range p.Shape() {
			n *= int64(d)
		}
		parameters += n
	}
	return fmt.Sprintf("%s: pictures of %d×%d pixels in patches of %d×%d, %d blocks of width %d, vectors of %d numbers, %s, %.1f million parameters",
		m.path, v.ImageSize, v.ImageSize, v.PatchSize, v.PatchSize, v.Layers, v.Width, v.EmbedDim, text, float64(parameters)/1e6)
}

// SimpleRender shows it in words.
func (m *Model) SimpleRender() map[string]any { return render(m) }

func (m *Model) bundle() (bundle, error) { return bundle{mimeText: m.String()}, nil }

// Vectors are rows of numbers with names, each of the length 1, so that the product of two is their cosine.
type Vectors struct {
	Names []string    // of the rows
	Rows  [][]float32 // [N,E]
}

// Embed returns the vector of each picture.
func (m *Model) Embed(pictures Pictures) *Vectors {
	v := &Vectors{}
	call("embedding pictures", func(ctx context.Context, p *progress) error {
		for e, err := range m.clip().Stream(ctx, slices.Values(pictures.clips()), clip.StreamOptions{}) {
			if err != nil {
				return err
			}
			v.Names, v.Rows = append(v.Names, e.Name), append(v.Rows, e.Vector)
			p.set(len(v.Rows), len(pictures))
		}
		clip.Normalize(v.Rows...)
		return nil
	})
	return v
}

// EmbedTexts returns the vector of each text.
func (m *Model) EmbedTexts(texts ...string) *Vectors {
	v := &Vectors{Names: texts}
	call("embedding texts", func(ctx context.Context, _ *progress) (err error) {
		v.Rows, err = m.clip().EncodeText(ctx, texts)
		clip.Normalize(v.Rows...)
		return err
	})
	return v
}

// Cosines returns the cosine of each of v with each of w: 1 for the same direction, 0 for nothing in common.
func (v *Vectors) Cosines(w *Vectors) *Table {
	t := &Table{Rows: short(v.Names), Columns: short(w.Names), Digits: 3}
	for _, a := range v.Rows {
		var row []float64
		for _, b := range w.Rows {
			if len(a) != len(b) {
				failf("vectors of %d and of %d numbers have no cosine: they are of different models", len(a), len(b))
			}
			row = append(row, clip.Cosine(a, b))
		}
		t.Values = append(t.Values, row)
	}
	return t
}

// String says how many there are, and how long.
func (v *Vectors) String() string {
	if len(v.Rows) == 0 {
		return "no vectors"
	}
	return fmt.Sprintf("%d vectors of %d numbers", len(v.Rows), len(v.Rows[0]))
}

// SimpleRender shows the names and the first numbers.
func (v *Vectors) SimpleRender() map[string]any { return render(v) }

func (v *Vectors) bundle() (bundle, error) {
	const some = 6
	t := &Table{Rows: short(v.Names), Digits: 3}
	for i, row := range v.Rows {
		row = row[:min(some, len(row))]
		var values []float64
		for j, x := range row {
			if i == 0 {
				t.Columns = append(t.Columns, fmt.Sprint(j))
			}
			values = append(values, float64(x))
		}
		t.Values = append(t.Values, values)
	}
	t.Title = v.String() + ", the first of each:"
	return t.bundle()
}

// short returns the last parts of paths.
func short(names []string) (all []string) {
	for _, n := range names {
		all = append(all, filepath.Base(n))
	}
	return all
}

// Answers say which labels fit pictures best.
type Answers struct {
	Pictures Pictures  // those that were asked about
	Labels   [][]Label // of each picture all labels, the most probable first
}

// A Label is a label with its probability among all, and the cosine of picture and label; 0 of a head.
type Label = clip.Label

// Classify says which of two or more labels fits each picture best, without training: each label is put into "a photo of a {}." unless it
// has a {} itself or begins with "a ", "an " or "the ", in which case it is taken as it stands.
func (m *Model) Classify(pictures Pictures, labels ...string) *Answers {
	a := &Answers{Pictures: pictures}
	call("classifying", func(ctx context.Context, p *progress) error {
		var prompts []zeroshot.Label
		for _, l := range labels {
			prompt := zeroshot.Label{Name: l, Prompts: []string{l}}
			if !sentenceLike(l) {
				text, err := zeroshot.Fill(zeroshot.DefaultTemplate, l)
				if err != nil {
					return err
				}
				prompt.Prompts = []string{text}
			}
			prompts = append(prompts, prompt)
		}
		c, err := zeroshot.NewPrompts(ctx, m.clip(), prompts, []string{zeroshot.Place})
		if err != nil {
			return err
		}
		return a.fill(ctx, c, p)
	})
	return a
}

// sentenceLike says whether a label is a text by itself.
func sentenceLike(label string) bool {
	first, _, more := strings.Cut(strings.ToLower(label), " ")
	return more && slices.Contains([]string{"a", "an", "the"}, first)
}

// fill asks a classifier.
func (a *Answers) fill(ctx context.Context, c clip.Classifier, p *progress) error {
	for e, err := range c.ClassifyAll(ctx, slices.Values(a.Pictures.clips()), clip.StreamOptions{}) {
		if err != nil {
			return err
		}
		a.Labels = append(a.Labels, e.Labels)
		p.set(len(a.Labels), len(a.Pictures))
	}
	return nil
}

// Best returns the most probable label of each picture.
func (a *Answers) Best() (best []string) {
	for _, l := range a.Labels {
		best = append(best, l[0].Name)
	}
	return best
}

// String says the best labels, a line for each picture.
func (a *Answers) String() string {
	var b strings.Builder
	for i, l := range a.Labels {
		fmt.Fprintf(&b, "%s: %s %s\n", a.Pictures[i].short(), l[0].Name, percent(l[0].Probability))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// SimpleRender shows a contact sheet with the two best labels below each picture.
func (a *Answers) SimpleRender() map[string]any { return render(a) }

func (a *Answers) bundle() (bundle, error) {
	return sheetBundle(a.Pictures, func(i int) (lines []sheet.Line) {
		for _, l := range a.Labels[i][:min(2, len(a.Labels[i]))] {
			lines = append(lines, sheet.Line{Text: l.Name + " " + percent(l.Probability), Colour: grey(len(lines) > 0)})
		}
		return lines
	}, a.String())
}

func percent(p float64) string { return fmt.Sprintf("%.0f %%", 100*p) }
