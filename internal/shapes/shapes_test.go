package shapes

import (
	"bytes"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every shape covers about the same area, so that the amount of colour does not tell its class.
func TestArea(t *testing.T) {
	if !slices.IsSorted(Classes()) {
		t.Errorf("%q is not sorted: labels are not those of the folders", Classes())
	}
	for _, c := range classes {
		const n = 400
		inside := 0
		for i := range n * n {
			x, y := 3*(float64(i%n)+0.5)/n-1.5, 3*(float64(i/n)+0.5)/n-1.5
			if c.inside(x, y) {
				inside++
			}
		}
		if area := 9 * float64(inside) / (n * n); area < 1.6 || area > 2.1 {
			t.Errorf("%s has an area of %.2f, want about 1.9", c.name, area)
		}
	}
}

func TestDraw(t *testing.T) {
	for _, hard := range []bool{false, true} {
		seen := map[string]string{}
		for label, name := range Classes() {
			for number := range 3 {
				m := Draw(label, number, 32, hard, 1)
				if again := Draw(label, number, 32, hard, 1); !bytes.Equal(m.Pix, again.Pix) {
					t.Errorf("%s %d is not the same twice", name, number)
				}
				if other := Draw(label, number, 32, hard, 2); bytes.Equal(m.Pix, other.Pix) {
					t.Errorf("%s %d is the same with another seed", name, number)
				}
				if twin := seen[string(m.Pix)]; twin != "" {
					t.Errorf("%s %d is like %s", name, number, twin)
				}
				seen[string(m.Pix)] = name
				// Without noise there would be two or three colours and mixtures of them.
				min, max := m.Pix[0], m.Pix[0]
				for i, v := range m.Pix {
					if i%4 == 0 && v < min {
						min = v
					} else if i%4 == 0 && v > max {
						max = v
					}
				}
				if max-min < 16 {
					t.Errorf("%s %d: red from %d to %d, nothing to see", name, number, min, max)
				}
			}
		}
	}
}

// Of colours, the ink is of the hue that the label says, nearer than to any other's.
func TestColours(t *testing.T) {
	if !slices.IsSorted(Colours()) {
		t.Errorf("%q is not sorted: labels are not those of the folders", Colours())
	}
	for label, name := range Colours() {
		seen := map[string]bool{}
		for number := range 8 {
			m := DrawColour(label, number, 32, 1)
			if again := DrawColour(label, number, 32, 1); !bytes.Equal(m.Pix, again.Pix) {
				t.Errorf("%s %d is not the same twice", name, number)
			}
			seen[string(m.Pix)] = true
			// What is bright is the ink, but for a bit of noise.
			var ink [3]float64
			for p := range slices.Chunk(m.Pix, 4) {
				if max(p[0], p[1], p[2]) > 120 {
					for i := range ink {
						ink[i] += float64(p[i])
					}
				}
			}
			if off := math.Abs(math.Remainder(hueOf(ink)-colours[label].hue, 1)); !(off < 1./12) {
				t.Errorf("%s %d is %.0f of red, green and blue: %.2f turns away", name, number, ink, off)
			}
		}
		if len(seen) != 8 {
			t.Errorf("%s: %d pictures of 8 differ", name, len(seen))
		}
	}
	dir := t.TempDir()
	if err := WriteColours(dir, 5, 2, 16, 1); err != nil {
		t.Fatal(err)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*", "*.png")); err != nil || len(files) != 12 {
		t.Errorf("got %q, %v, want 12 files", files, err)
	}
}

// hueOf returns the hue of red, green and blue in turns.
func hueOf(c [3]float64) float64 {
	for i, v := range c {
		next, last := c[(i+1)%3], c[(i+2)%3]
		if v >= max(next, last) {
			return (2*float64(i) + (next-last)/(v-min(next, last))) / 6
		}
	}
	return math.NaN()
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, 5, 2, 16, false, 1); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.png"))
	if err != nil || len(files) != 12 {
		t.Fatalf("got %q, %v, want 12 files", files, err)
	}
	f, err := os.Open(filepath.Join(dir, "ring", "00006.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	want := Draw(slices.Index(Classes(), "ring"), 6, 16, false, 1)
	for i := range 16 * 16 {
		if m.At(i%16, i/16) != want.At(i%16, i/16) {
			t.Fatalf("pixel %d is %v, want %v", i, m.At(i%16, i/16), want.At(i%16, i/16))
		}
	}
	if err := Write(dir, 0, 1, 16, false, 1); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second time: %v", err)
	}
	if err := Write(t.TempDir(), 0, 0, 16, false, 1); err == nil {
		t.Error("no pictures are no error")
	}
}
