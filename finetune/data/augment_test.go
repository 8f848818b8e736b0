package data

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/pillow"
)

const augmentFile = "testdata/tiny/augment.npz"

// tiny is a tower with an input of 28×28 pixels, as in the goldens, in patches of 7×7.
var tiny = clipvit.Config{ImageSize: 28, PatchSize: 7, Width: 8, Heads: 2, Layers: 1, MLPWidth: 16, EmbedDim: 4, Activation: transformer.GELU, NormEps: 1e-5}

// replay gives the numbers of a list.
func replay(t *testing.T, draws []float64) func() float64 {
	return func() float64 {
		if len(draws) == 0 {
			t.Fatal("more numbers drawn than torchvision draws")
		}
		u := draws[0]
		draws = draws[1:]
		return u
	}
}

func TestCropBox(t *testing.T) {
	f := golden.Load(t, augmentFile)
	size, want := f.Int64("crop/size"), f.Int64("crop/box")
	area, aspect, draws := f.Float64("crop/area"), f.Float64("crop/aspect"), f.Float64("crop/draws")
	for i := range len(size) / 2 {
		got := cropBox(int(size[2*i]), int(size[2*i+1]), [2]float64(area[2*i:]), [2]float64(aspect[2*i:]), replay(t, draws[22*i:22*i+22]))
		// torchvision cuts nothing out of a picture that is too small for the aspect; we cut out a pixel.
		if w := want[4*i:]; got != (box{int(w[0]), int(w[1]), int(max(w[2], 1)), int(max(w[3], 1))}) {
			t.Errorf("%v of %v, area %v, aspect %v: got %v, want %v", i, size[2*i:2*i+2], area[2*i:2*i+2], aspect[2*i:2*i+2], got, w[:4])
		}
	}
}

// A crop always lies in the picture, and its area and aspect are what was asked for where that is possible.
func TestCropBoxInside(t *testing.T) {
	s := newStream(1)
	for range 20000 {
		w, h := 1+s.below(300), 1+s.below(300)
		area, aspect := [2]float64{0.3, 0.9}, [2]float64{0.5, 2}
		b := cropBox(w, h, area, aspect, s.uniform)
		if b.x < 0 || b.y < 0 || b.width < 1 || b.height < 1 || b.x+b.width > w || b.y+b.height > h {
			t.Fatalf("%v of a picture of %d×%d", b, w, h)
		}
		share := float64(b.width*b.height) / float64(w*h)
		// Both sides are rounded by at most a half. Pictures that are much longer than allowed fall back to what fits.
		slack := (0.5*float64(b.width+b.height) + 0.25) / float64(w*h)
		if r := float64(w) / float64(h); r > 0.6 && r < 1.6 && (share < area[0]-slack || share > area[1]+slack) {
			t.Fatalf("%v of %d×%d has %.3f of the area, want %v", b, w, h, share, area)
		}
	}
}

func TestAdjust(t *testing.T) {
	f := golden.Load(t, augmentFile)
	shape := f.Shape("sweep/source")
	source := f.Uint8("sweep/source")
	for what, name := range []string{brightness: "brightness", contrast: "contrast", saturation: "saturation", hue: "hue"} {
		factors := f.Float64("sweep/factors")
		if what == hue {
			factors = f.Float64("sweep/hues")
		}
		want := f.Uint8("sweep/" + name)
		for i, factor := range factors {
			m := &pillow.Image{Mode: pillow.RGB, Width: shape[1], Height: shape[0], Pix: bytes.Clone(source)}
			adjust[what](m, factor)
			for p, w := range want[i*len(source):][:len(source)] {
				if m.Pix[p] != w {
					t.Errorf("%s by %v: byte %d of %v: got %d, want %d", name, factor, p, source[p/3*3:][:3], m.Pix[p], w)
					break
				}
			}
		}
	}
}

// Every colour there is becomes what Pillow makes of it.
func TestEveryColour(t *testing.T) {
	if testing.Short() {
		t.Skip("all of 2²⁴ colours, several times")
	}
	f := golden.Load(t, augmentFile)
	const side = 1 << 12
	for what, name := range map[int]string{hue: "every/hue", saturation: "every/saturation"} {
		cases := f.Int64(name)
		for i := 0; i < len(cases); i += 2 {
			m, err := pillow.New(pillow.RGB, side, side)
			if err != nil {
				t.Fatal(err)
			}
			for p := range side * side {
				m.Pix[3*p], m.Pix[3*p+1], m.Pix[3*p+2] = byte(p>>16), byte(p>>8), byte(p)
			}
			factor := float64(cases[i]) / 1e6
			adjust[what](m, factor)
			if got := int64(crc32.ChecksumIEEE(m.Pix)); got != cases[i+1] {
				t.Errorf("%s by %v: got CRC-32 %08x, want %08x", name, factor, got, cases[i+1])
			}
		}
	}
}

func TestVariation(t *testing.T) {
	f := golden.Load(t, augmentFile)
	modes := []pillow.Mode{pillow.RGB, pillow.Gray, pillow.RGBA, pillow.CMYK}
	for n, mode := range f.Int64("chain_modes") {
		name := fmt.Sprintf("chain/%d/", n)
		shape := f.Shape(name + "source")
		m := &pillow.Image{Mode: modes[mode], Width: shape[1], Height: shape[0], Pix: bytes.Clone(f.Uint8(name + "source"))}
		v := variation{flip: f.Int64(name + "flip")[0] == 1}
		if b := f.Int64(name + "box"); len(b) == 4 {
			v.crop = &box{int(b[0]), int(b[1]), int(b[2]), int(b[3])}
		}
		for _, what := range f.Int64(name + "order") {
			if factor := f.Float64(name + "factors")[what]; factor == factor {
				v.colours = append(v.colours, change{int(what), factor})
			}
		}
		got, err := v.apply(m, tiny.ImageSize, clipvit.Transform{})
		if err != nil {
			t.Error(name, err)
			continue
		}
		if !bytes.Equal(got.Pix, f.Uint8(name+"pixels")) {
			t.Errorf("%s%+v: pixels differ from torchvision's", name, v)
		}
		if !bytes.Equal(m.Pix, f.Uint8(name+"source")) {
			t.Errorf("%s%+v: the source was changed", name, v)
		}
		x, err := clipvit.Preprocess(got, tiny)
		if err != nil {
			t.Error(name, err)
			continue
		}
		golden.Compare(t, name+"tensor", x.Data().F32(), toPatches(f.Float32(name+"tensor"), tiny), 0)
	}
}

// toPatches brings [3,S,S] into the order of patches [G²,3P²].
func toPatches(x []float32, c clipvit.Config) []float32 {
	s, g, p := c.ImageSize, c.Grid(), c.PatchSize
	var out []float32
	for patch := range g * g {
		for ch := range 3 {
			for y := range p {
				at := ch*s*s + (patch/g*p+y)*s + patch%g*p
				out = append(out, x[at:at+p]...)
			}
		}
	}
	return out
}

// Factors are spread evenly over their ranges, and orders and flips over theirs.
func TestDraw(t *testing.T) {
	a := Augment{Area: [2]float64{0.5, 1}, Flip: 0.25, Brightness: 0.4, Contrast: 2, Hue: 0.1}
	const n = 24000
	flips, orders := 0, map[string]int{}
	low, high, sum := [4]float64{9, 9, 9, 9}, [4]float64{-9, -9, -9, -9}, [4]float64{}
	for i := range n {
		v := a.draw(100, 100, newStream(7, uint64(i)))
		if v.flip {
			flips++
		}
		order := ""
		for _, c := range v.colours {
			order += fmt.Sprint(c.what)
			low[c.what], high[c.what], sum[c.what] = min(low[c.what], c.factor), max(high[c.what], c.factor), sum[c.what]+c.factor
		}
		orders[order]++
	}
	// Six standard deviations of a count of n events with probability p.
	near := func(got int, p float64) bool { return math.Abs(float64(got)-n*p) < 6*math.Sqrt(n*p*(1-p)) }
	if !near(flips, a.Flip) {
		t.Errorf("%d flips of %d, want a quarter", flips, n)
	}
	if len(orders) != 6 {
		t.Errorf("orders %v, want the 6 of three steps", orders)
	}
	for order, count := range orders {
		if !near(count, 1./6) {
			t.Errorf("order %s %d times of %d, want a sixth", order, count, n)
		}
	}
	for what, want := range map[int][2]float64{brightness: {0.6, 1.4}, contrast: {0, 3}, hue: {-0.1, 0.1}} {
		width := want[1] - want[0]
		mean, sigma := (want[0]+want[1])/2, width/math.Sqrt(12*n)
		if low[what] < want[0] || high[what] > want[1] || low[what] > want[0]+width/100 || high[what] < want[1]-width/100 || math.Abs(sum[what]/n-mean) > 6*sigma {
			t.Errorf("step %d: factors from %v to %v, mean %v; want %v evenly", what, low[what], high[what], sum[what]/n, want)
		}
	}
	if v := (Augment{}).draw(100, 100, newStream(7)); v.crop != nil || v.flip || v.colours != nil {
		t.Errorf("the zero value does %+v, want nothing", v)
	}
}

// The random numbers are part of every run that is to go on: they must never change.
func TestStreamFrozen(t *testing.T) {
	s := newStream(336, augmentStream, 2, 3)
	got := fmt.Sprintf("%.17g %.17g %d", s.uniform(), s.uniform(), s.below(1000))
	v := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	s.shuffle(v)
	got += fmt.Sprint(" ", v)
	const want = "0.89588282609285896 0.31365080376301402 574 [9 1 4 2 5 8 0 3 6 7]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if slices.Equal(newStream(1, 2).shuffled(50), newStream(2, 1).shuffled(50)) {
		t.Error("seed 1, kind 2 is as seed 2, kind 1")
	}
}

func (s *stream) shuffled(n int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = i
	}
	s.shuffle(v)
	return v
}

func TestAugmentValidate(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		a    Augment
		want string
	}{
		{Augment{}, ""},
		{Augment{Area: [2]float64{0.08, 1}, Aspect: [2]float64{1, 1}, Flip: 1, Brightness: 3, Contrast: 1, Saturation: 0.1, Hue: 0.5}, ""},
		{Augment{Area: [2]float64{0, 1}}, "data: area of a crop is [0 1], want two numbers above 0, at most 1 and in order"},
		{Augment{Area: [2]float64{0.9, 0.8}}, "area of a crop is [0.9 0.8]"},
		{Augment{Area: [2]float64{0.9, 1.1}}, "area of a crop is [0.9 1.1]"},
		{Augment{Area: [2]float64{nan, nan}}, "area of a crop is [NaN NaN]"},
		{Augment{Aspect: [2]float64{2, 1}}, "aspect of a crop is [2 1]"},
		{Augment{Aspect: [2]float64{1, math.Inf(1)}}, "aspect of a crop is [1 +Inf]"},
		{Augment{Flip: 1.5}, "data: probability of a flip is 1.5, want 0 to 1"},
		{Augment{Hue: 0.6, Contrast: -1, Saturation: nan}, "data: contrast is -1, want 0 to 3.4028234663852886e+38\ndata: saturation is NaN, want 0 to 3.4028234663852886e+38\ndata: hue is 0.6, want 0 to 0.5"},
	} {
		err := c.a.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.a, err, c.want)
		}
	}
}
