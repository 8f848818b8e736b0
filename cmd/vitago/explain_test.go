package main

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/explain"
)

// An explained picture is what --json prints.
type explained struct {
	Width, Height int
	Method        string
	Blocks        int
	Seen          struct{ Left, Top, Right, Bottom float64 }
	Maps          []struct {
		Text, Class   string
		Cosine, Score *float64
		Maximum       struct {
			X, Y        float64
			Row, Column int
			Value       float32
		}
		Tokens []struct {
			Token string
			Share float64
		}
		Values [][]float32
	}
}

func explainedOf(t *testing.T, args ...string) (e explained) {
	t.Helper()
	r := vitago(append([]string{"explain", "--json"}, args...)...)
	r.want(t, exitDone, []string{"maximum"}, nil)
	if err := json.Unmarshal([]byte(r.out), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestExplain: what the verb prints and writes is what the package says, of one caption and of several.
func TestExplain(t *testing.T) {
	dir, model := t.TempDir(), withVocabulary(t, fewWords)
	out, values := filepath.Join(dir, "x.png"), filepath.Join(dir, "x.npy")
	e := explainedOf(t, "--model", model, "--text", "photo of a cat", "-o", out, "--map", values, "testdata/demo/cat.jpg")
	m, err := clip.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want, err := explain.Caption(t.Context(), m, clip.File("testdata/demo/cat.jpg"), "photo of a cat", explain.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g, peak := want.Grid, want.Peak()
	if one := e.Maps[0]; len(e.Maps) != 1 || one.Text != "photo of a cat" || one.Cosine == nil || *one.Cosine != want.Score || one.Score != nil ||
		!slices.Equal(slices.Concat(one.Values...), want.Values) || one.Maximum.X != peak.X || one.Maximum.Row != peak.Row || one.Maximum.Value != peak.Value || len(one.Tokens) != len(want.Tokens) {
		t.Errorf("printed %+v, want %+v", one, want)
	}
	if e.Width != want.Image.Bounds().Dx() || e.Seen.Right != want.Window.Right || e.Method != "relevance" || e.Blocks != 2 {
		t.Errorf("printed %+v, want %+v", e, want)
	}
	if got := npyValues(t, values, g, g); !slices.Equal(got, want.Values) {
		t.Errorf("wrote %v, want %v", got, want.Values)
	}
	overlay, drawn := pngOf(t, out), want.Overlay()
	if overlay.Bounds() != drawn.Bounds() {
		t.Fatalf("the overlay is %v, want %v", overlay.Bounds(), drawn.Bounds())
	}
	for y := range drawn.Bounds().Dy() {
		for x := range drawn.Bounds().Dx() {
			if c := color.RGBAModel.Convert(overlay.At(x, y)); c != drawn.RGBAAt(x, y) {
				t.Fatalf("the overlay has %v at %d,%d, want %v", c, x, y, drawn.RGBAAt(x, y))
			}
		}
	}

	args := []string{"explain", "--model", model, "--text", "photo of a cat", "--text", "dog.", "-o", out, "--map", values, "testdata/demo/cat.jpg"}
	vitago(args...).want(t, exitFailed, nil, []string{"exists, and", "give --overwrite"})
	r := vitago(append(args, "--overwrite")...)
	r.want(t, exitDone, []string{"photo of a cat: cosine", "dog.: cosine", "counts most at"}, []string{""})
	if lines := strings.Count(r.out, "|\n"); lines != 2*g {
		t.Errorf("%d lines of maps, want %d:\n%s", lines, 2*g, r.out)
	}
	copied := filepath.Join(t.TempDir(), "cat.png")
	if err := os.WriteFile(copied, []byte(read(t, "testdata/demo/cat.png")), 0o666); err != nil {
		t.Fatal(err)
	}
	vitago("explain", "--model", model, "--text", "dog.", "-o", copied, "--overwrite", copied).want(t, exitUsage, nil, []string{copied + " is the image itself"})
	if read(t, copied) != read(t, "testdata/demo/cat.png") {
		t.Error("the image was overwritten by its map")
	}
	both := npyValues(t, values, 2, g, g)
	if !slices.Equal(both[:g*g], want.Values) || slices.Equal(both[g*g:], want.Values) {
		t.Error("of two captions the first is not that of one, or both are the same")
	}
	if b := pngOf(t, out).Bounds(); b.Dx() < 4*192 { // the picture, two maps, the legend
		t.Errorf("the sheet is %v, want four cells", b)
	}

	// From standard input, and of a model that sees all of it.
	jpeg := read(t, "testdata/demo/cat.jpg")
	piped := vitagoContext(t.Context(), strings.NewReader(jpeg), "explain", "--json", "--model", model, "--text", "photo of a cat", "-")
	piped.want(t, exitDone, []string{`"image":"-"`}, []string{""})
	squashed := explainedOf(t, "--model", model, "--text", "photo", "--fit", "squash", "testdata/demo/cat.jpg")
	if s := squashed.Seen; s.Left != 0 || s.Top != 0 || s.Right != float64(squashed.Width) || s.Bottom != float64(squashed.Height) {
		t.Errorf("squashed, it sees %+v of %d×%d", s, squashed.Width, squashed.Height)
	}
	// Its blocks count from either end.
	first, all := explainedOf(t, "--model", model, "--text", "photo", "--start-layer", "0", "testdata/demo/cat.jpg"), explainedOf(t, "--model", model, "--text", "photo", "--start-layer", "-2", "testdata/demo/cat.jpg")
	if first.Blocks != 2 || all.Blocks != 2 || !slices.Equal(first.Maps[0].Values[0], all.Maps[0].Values[0]) {
		t.Errorf("%d and %d blocks, want 2 of 2", first.Blocks, all.Blocks)
	}
	rollout := explainedOf(t, "--model", model, "--method", "rollout", "testdata/demo/cat.jpg")
	if one := rollout.Maps[0]; one.Cosine != nil || one.Text != "" || rollout.Blocks != 2 {
		t.Errorf("rollout is %+v", rollout)
	}
	// A name that is no UTF-8, as Linux has them, is in JSON what other verbs make of it.
	if odd := filepath.Join(dir, "\xff.jpg"); os.WriteFile(odd, []byte(jpeg), 0o666) == nil && isThere(dir, "\xff.jpg") {
		vitago("explain", "--json", "--model", model, "--text", "photo", odd).want(t, exitDone, []string{`\udcff.jpg"`}, []string{""})
	}
	vitago("explain", "--model", model, "--class", "cat", "testdata/demo/cat.jpg").want(t, exitUsage, nil, []string{"--class wants a model with a head"})
	// Without a model it is the one in the program, whose words are few.
	vitago("explain", "--text", "a", "testdata/demo/cat.jpg").want(t, exitDone, []string{"a: cosine"}, []string{builtinNote})
}

// TestExplainClass: a head says what the map is of: the best class, or the one that is named.
func TestExplainClass(t *testing.T) {
	pictures, out := colours(t, 2), filepath.Join(t.TempDir(), "out")
	vitago("finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", "probe", "--split", "0.5").want(t, exitDone, []string{"model"}, []string{""})
	picture, model := filepath.Join(pictures, "red", "00.png"), filepath.Join(out, "model")
	best := explainedOf(t, "--model", model, picture)
	class := best.Maps[0].Class
	vitago("classify", "--model", model, "--top", "1", picture).want(t, exitDone, []string{"\t" + class + "\t"}, []string{""})
	same := explainedOf(t, "--model", model, "--class", class, picture)
	if !slices.Equal(same.Maps[0].Values[0], best.Maps[0].Values[0]) || best.Maps[0].Score == nil || best.Maps[0].Cosine != nil || math.IsNaN(*best.Maps[0].Score) {
		t.Errorf("of the best class %+v, of it by its name %+v", best.Maps[0], same.Maps[0])
	}
	three := explainedOf(t, "--model", model, "--class", "red", "--class", "green", "--class", "blue", "--method", "similarity", picture)
	if len(three.Maps) != 3 || three.Maps[1].Class != "green" {
		t.Errorf("of three classes %+v", three)
	}
	vitago("explain", "--model", model, "--class", "grene", picture).want(t, exitUsage, nil, []string{`--class "grene": the head has no such class`, `did you mean "green"?`})
}

func pngOf(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// npyValues returns the values of a file that must have a shape.
func npyValues(t *testing.T, path string, shape ...int) []float32 {
	t.Helper()
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, ok := f.Tensor(f.Names()[0])
	if !ok || !slices.Equal(x.Shape, shape) {
		t.Fatalf("%s has %v, want one array %v", path, f.Names(), shape)
	}
	values := make([]float32, x.Len())
	if err := x.Float32s(values); err != nil {
		t.Fatal(err)
	}
	return values
}
