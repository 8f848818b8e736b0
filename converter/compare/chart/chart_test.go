package chart

import (
	"bytes"
	"image/png"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter/compare"
)

// The axis is logarithmic where small values would vanish, and towers that do not move are left out.
func TestDrift(t *testing.T) {
	block := func(tower string, n int, attention, mlp float64) compare.GroupDrift {
		return compare.GroupDrift{
			Tower: tower, Part: "block", Block: n,
			Attention: &compare.Drift{RelativeL2: compare.Measure(attention)}, MLP: &compare.Drift{RelativeL2: compare.Measure(mlp)},
		}
	}
	undefined := math.NaN()
	for _, c := range []struct {
		name   string
		groups []compare.GroupDrift
		series int
		least  float64 // of the axis
	}{
		{"linear", []compare.GroupDrift{block("vision", 0, 0.01, 0.02), block("vision", 1, 0.1, 0.1)}, 2, 0},
		{"logarithmic", []compare.GroupDrift{block("vision", 0, 0.001, 0.02), block("vision", 1, 0.1, 0.1)}, 2, -3.1},
		{"frozen", []compare.GroupDrift{block("vision", 0, 0, 0), block("vision", 1, 0.1, 0.1)}, 2, 0},
		{"identical text", []compare.GroupDrift{block("vision", 0, 0.1, 0.1), block("text", 0, 0, 0)}, 2, 0},
		{"tuned text", []compare.GroupDrift{block("vision", 0, 0.1, 0.1), block("text", 0, 0.2, 0.1)}, 4, 0},
		{"identical", []compare.GroupDrift{block("vision", 0, 0, 0), block("text", 0, 0, 0)}, 4, 0},
		{"one has no blocks", []compare.GroupDrift{block("vision", 0, 0.1, 0.1), block("text", 0, undefined, undefined)}, 2, 0},
	} {
		r := &compare.Comparison{Groups: c.groups}
		if got := len(driftSeriesOf(r)); got != c.series {
			t.Errorf("%s: %d lines, want %d", c.name, got, c.series)
		}
		p, err := Drift(r)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(p.Y.Min-c.least) > 1e-9 || !(p.Y.Max > p.Y.Min) {
			t.Errorf("%s: axis from %v to %v, want from %v", c.name, p.Y.Min, p.Y.Max, c.least)
		}
	}
	if _, err := Drift(&compare.Comparison{}); err == nil || !strings.Contains(err.Error(), "no block in common") {
		t.Errorf("no blocks: got %v", err)
	}
	var labels []string
	for _, tick := range blockTicks(-0.3, 23.3) {
		labels = append(labels, tick.Label)
	}
	if want := []string{"0", "2", "4", "6", "8", "10", "12", "14", "16", "18", "20", "22"}; !slices.Equal(labels, want) {
		t.Errorf("blocks are marked %q, want %q", labels, want)
	}
	labels = nil
	for _, tick := range logTicks(-3.1, -1.6) {
		labels = append(labels, tick.Label)
	}
	if want := []string{"0.001", "0.002", "0.005", "0.01", "0.02"}; !slices.Equal(labels, want) {
		t.Errorf("distances are marked %q, want %q", labels, want)
	}
	if got, want := base("/a/"+strings.Repeat("x", 50)+".pt"), strings.Repeat("x", 39)+"…"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCurves(t *testing.T) {
	p, err := Curves("loss", "step", "loss", Line{"training", []float64{1, 2, 3}, []float64{3, 2, 1}}, Line{"validation", []float64{1, 3}, []float64{3, 2}})
	if err != nil {
		t.Fatal(err)
	}
	if p.X.Min != 1 || p.X.Max != 3 || p.Y.Min != 1 || p.Y.Max != 3 {
		t.Errorf("axes from %v to %v and from %v to %v, want 1 to 3 both", p.X.Min, p.X.Max, p.Y.Min, p.Y.Max)
	}
	file, err := Encode(p, ".png")
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if size := img.Bounds().Size(); size.X != 1209 || size.Y != 756 {
		t.Errorf("plot has %v pixels, want 1209 by 756", size)
	}
	if _, err := Curves("", "", "", Line{"none", nil, nil}); err == nil || !strings.Contains(err.Error(), `chart: the line "none"`) {
		t.Errorf("got %v, want an error that names the line", err)
	}
}
