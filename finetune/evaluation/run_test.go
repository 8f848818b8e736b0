package evaluation

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/finetune/data"
)

// A fake classifier says what a function says of the names of pictures. It reads none, but for those that are called broken.
type fake struct {
	labels []string
	say    func(name string) []float64 // in the order of the labels
}

var _ clip.Classifier = fake{}

var errBroken = errors.New("broken")

func (f fake) Labels() []string { return f.labels }

func (f fake) Classify(context.Context, ...clip.Picture) ([][]clip.Label, error) {
	panic("Run takes ClassifyAll")
}

func (f fake) ClassifyAll(ctx context.Context, pictures iter.Seq[clip.Picture], o clip.StreamOptions) iter.Seq2[clip.Classified, error] {
	return func(yield func(clip.Classified, error) bool) {
		i := 0
		for p := range pictures {
			if ctx.Err() != nil {
				yield(clip.Classified{}, context.Cause(ctx))
				return
			}
			x := clip.Classified{Index: i, Name: p.Name()}
			i++
			if strings.Contains(p.Name(), "broken") {
				if !o.SkipErrors {
					yield(clip.Classified{}, errBroken)
					return
				}
				x.Err = errBroken
			} else {
				for j, v := range f.say(p.Name()) {
					x.Labels = append(x.Labels, clip.Label{Name: f.labels[j], Probability: v})
				}
				slices.SortStableFunc(x.Labels, func(a, b clip.Label) int { return int(1e6 * (b.Probability - a.Probability)) })
			}
			if !yield(x, nil) {
				return
			}
		}
	}
}

// pictureFolder writes pictures of some paths below a folder.
func pictureFolder(t *testing.T, paths ...string) string {
	t.Helper()
	dir := t.TempDir()
	m := image.NewRGBA(image.Rect(0, 0, 8, 4))
	m.Set(1, 1, color.White)
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		path := filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		content := b.Bytes()
		if strings.Contains(p, "broken") {
			content = []byte("no picture")
		}
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func opened(t *testing.T, dir string) *data.Dataset {
	t.Helper()
	d, err := data.OpenTest(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// byFirst says that a picture is of the label that its file's name begins with.
func byFirst(labels ...string) fake {
	return fake{labels, func(name string) []float64 {
		p := make([]float64, len(labels))
		for i, l := range labels {
			if strings.HasPrefix(filepath.Base(name), l) {
				p[i] = 1
			}
		}
		return p
	}}
}

// TestRun: labels are found by name, in whatever order the classifier has them, and pictures that cannot be read are counted.
func TestRun(t *testing.T) {
	dir := pictureFolder(t, "cat/cat1.png", "cat/dog2.png", "cat/broken.png", "dog/dog1.png", "dog/dog2.png", "dog/emu.png")
	d := opened(t, dir)
	c := byFirst("emu", "dog", "cat")
	heard := 0
	r, err := Run(t.Context(), c, d, Options{SkipErrors: true, Progress: func(done, total int) {
		if heard++; done != heard || total != 6 {
			t.Errorf("heard %d of %d, want %d of 6", done, total, heard)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if heard != 6 || r.Pictures != 5 || r.Right != 3 || r.Top != 0 || len(r.Skipped) != 1 || r.Skipped[0].Path != filepath.Join(dir, "cat", "broken.png") || !errors.Is(r.Skipped[0].Err, errBroken) {
		t.Errorf("got %+v, heard %d", r, heard)
	}
	for i, want := range []Class{
		{Name: "emu", Predicted: 1}, {Name: "dog", Pictures: 3, Predicted: 3, Right: 2, Scores: Scores{2. / 3, 2. / 3, 2. / 3}},
		{Name: "cat", Pictures: 2, Predicted: 1, Right: 1, Scores: Scores{0.5, 1, 2. / 3}},
	} {
		if r.Classes[i] != want {
			t.Errorf("class %d is %+v, want %+v", i, r.Classes[i], want)
		}
	}
	if len(r.Wrong) != 2 || r.Wrong[0].Wanted != "cat" || r.Wrong[0].Got != "dog" || r.Wrong[1].Got != "emu" || r.Wrong[1].Path != d.Samples[r.Wrong[1].Index].Path {
		t.Errorf("wrong pictures %+v", r.Wrong)
	}
	if r, err := Run(t.Context(), c, d, Options{SkipErrors: true, Top: 2, Wrong: 1}); err != nil || r.Top != 2 || r.TopAccuracy != 4./5 || len(r.Wrong) != 1 {
		t.Errorf("top %d is %v, %d wrong (%v), want 2, 0.8, 1", r.Top, r.TopAccuracy, len(r.Wrong), err)
	}

	out := t.TempDir()
	if err := r.Write(t.Context(), out, d, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{classesFile, confusionFile, wrongFile, sheetFile} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	f, err := os.Open(filepath.Join(out, sheetFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := jpeg.Decode(f); err != nil {
		t.Error(err)
	}
}

// TestOneClass: pictures of a single class say how often it is recognised.
func TestOneClass(t *testing.T) {
	d := opened(t, pictureFolder(t, "cat/cat1.png", "cat/cat2.png", "cat/dog1.png"))
	r, err := Run(t.Context(), byFirst("cat", "dog"), d, Options{})
	if err != nil || r.Right != 2 || r.Macro.Recall != 2./3 || r.Macro.Precision != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestRunErrors(t *testing.T) {
	dir := pictureFolder(t, "cat/cat1.png", "dog/dog1.png", "dog/broken.png")
	d := opened(t, dir)
	hopeless := opened(t, pictureFolder(t, "cat/broken1.png", "dog/broken2.png"))
	c := byFirst("dog", "cat")
	none := func(p ...float64) clip.Classifier { return fake{c.labels, func(string) []float64 { return p }} }
	for _, e := range []struct {
		what string
		c    clip.Classifier
		d    *data.Dataset
		o    Options
		want string
	}{
		{"a class that is no label", byFirst("Dog", "cat", "emu"), d, Options{}, `1 of the 2 classes of the pictures are no label of the classifier: "dog"; it has the 3 labels "Dog" "cat" "emu"`},
		{"no labels", byFirst(), d, Options{}, "the classifier has no labels"},
		{"a label twice", byFirst("cat", "dog", "cat"), d, Options{}, `labels 1 and 3 of the classifier are both "cat"`},
		{"no pictures", c, &data.Dataset{}, Options{}, "no pictures"},
		{"no pictures at all", c, nil, Options{}, "no pictures"},
		{"pictures without classes", c, &data.Dataset{Samples: d.Samples}, Options{}, "pictures without labels"},
		{"all are right", c, d, Options{Top: 2}, "top 2 of 2 classes, want 1 to 1"},
		{"a negative top", c, d, Options{Top: -1}, "top -1"},
		{"a broken picture", c, d, Options{}, "broken"},
		{"broken pictures alone", c, hopeless, Options{SkipErrors: true}, "2 pictures, and none can be read: broken"},
		{"a label is missing", none(1), d, Options{}, "gives 1 labels, want all 2"},
		{"a label that is none", fake{[]string{"cat", "dog"}, nil}.saying("cat", "cow"), d, Options{}, `gives the label "cow"`},
		{"a label comes twice", fake{[]string{"cat", "dog"}, nil}.saying("cat", "cat"), d, Options{}, `gives the label "cat"`},
	} {
		if _, err := Run(t.Context(), e.c, e.d, e.o); err == nil || !strings.Contains(err.Error(), e.want) {
			t.Errorf("%s: error is %v, want %q", e.what, err, e.want)
		} else if i := strings.LastIndex(err.Error(), "clip: "); i > 0 {
			t.Errorf("%s: error is %v, want the name of one package", e.what, err)
		}
	}
	if _, err := Run(t.Context(), byFirst("Dog", "Cat"), d, Options{}); !errors.Is(err, data.ErrClasses) {
		t.Errorf("error is %v, want one of classes", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	if _, err := Run(ctx, c, d, Options{SkipErrors: true, Progress: func(int, int) { cancel(stop) }}); !errors.Is(err, stop) {
		t.Errorf("error is %v, want that ctx has ended", err)
	}
}

// saying returns a classifier that gives every picture labels of other names.
func (f fake) saying(names ...string) clip.Classifier { return misnaming{f, names} }

type misnaming struct {
	fake
	names []string
}

func (m misnaming) ClassifyAll(context.Context, iter.Seq[clip.Picture], clip.StreamOptions) iter.Seq2[clip.Classified, error] {
	return func(yield func(clip.Classified, error) bool) {
		var x clip.Classified
		for _, n := range m.names {
			x.Labels = append(x.Labels, clip.Label{Name: n, Probability: 0.5})
		}
		yield(x, nil)
	}
}

// TestMemory: a hundred times the pictures take no more memory.
func TestMemory(t *testing.T) {
	labels := names(50)
	c := fake{labels, func(name string) []float64 {
		p := make([]float64, len(labels))
		p[len(name)%len(labels)] = 1
		return p
	}}
	held := func(n int) uint64 {
		d := &data.Dataset{Classes: labels, Samples: make([]data.Sample, n)}
		for i := range d.Samples {
			d.Samples[i] = data.Sample{Path: "x", Label: i % len(labels)}
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		r, err := Run(t.Context(), c, d, Options{})
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(r)
		runtime.KeepAlive(d)
		return max(after.HeapAlloc, before.HeapAlloc) - before.HeapAlloc
	}
	few, many := held(500), held(50000)
	if many > few+100<<10 { // bytes
		t.Errorf("50,000 pictures hold %d bytes, 500 hold %d", many, few)
	}
}
