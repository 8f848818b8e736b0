package projector

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
)

// tower is a configuration of r pixels a side with patches of p.
// normalized are what the levels of images become in every tower here.
var normalized = clipvit.Transform{}.Levels()

func tower(r, p int) clipvit.Config {
	return clipvit.Config{ImageSize: r, PatchSize: p, Width: 8, Heads: 2, Layers: 2, MLPWidth: 12, Activation: transformer.QuickGELU, NormEps: 1e-5}
}

func layout(t testing.TB, name string) Layout {
	t.Helper()
	l, err := FindLayout(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// noise is a random picture.
func noise(width, height int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	rng := rand.New(rand.NewPCG(uint64(width), uint64(height)))
	for i := range m.Pix {
		m.Pix[i] = byte(rng.Uint32())
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	return m
}

// hd is the arithmetic of ixc_utils.py as it stands there: rows and columns of tiles, and the size before
// padding of the picture, which lies.
func hd(width, height, r int, l Layout) (rows, cols, w, h int) {
	turned := width < height
	if turned {
		width, height = height, width
	}
	ratio := float64(width) / float64(height)
	scale := 1.
	for scale*math.Ceil(scale/ratio) <= float64(l.HDNum) {
		scale++
	}
	scale--
	if l.Enlarge != 0 {
		scale = math.Min(math.Ceil(float64(width)*l.Enlarge/float64(r)), scale)
	}
	w = int(scale * float64(r))
	h = int(float64(w) / ratio)
	rows, cols = int(math.Ceil(float64(h)/float64(r))), w/r
	if turned {
		rows, cols = cols, rows
	}
	return rows, cols, w, h
}

// TestTokens: the counts that XComposer's and LLaVA's code give for full-size towers.
func TestTokens(t *testing.T) {
	at560 := tower(560, 14)
	for _, c := range []struct {
		layout        string
		hdNum         int // 0: the preset's
		c             clipvit.Config
		width, height int
		want          int
	}{
		{"clip", 0, clipvit.ViTL14336, 640, 480, 576},
		{"pad", 0, clipvit.ViTL14336, 640, 480, 576},
		{"squash", 0, tower(490, 14), 640, 480, 1225},
		{"squash", 0, clipvit.ViTL14, 640, 480, 256},
		// Counted by LlavaNextProcessor of transformers 4.57.3.
		{"llava-1.6", 0, clipvit.ViTL14336, 640, 480, 2340},
		{"llava-1.6", 0, clipvit.ViTL14336, 1920, 1080, 1948},
		{"llava-1.6", 0, clipvit.ViTL14336, 500, 500, 2928},
		{"llava-1.6", 0, clipvit.ViTL14336, 480, 640, 2352},
		{"llava-1.6", 0, clipvit.ViTL14336, 2000, 500, 1890},
		{"llava-1.6", 0, clipvit.ViTL14336, 333, 1000, 2376},
		{"llava-1.6", 0, clipvit.ViTL14336, 1, 1, 1176},
		{"xcomposer2-4khd-train", 0, clipvit.ViTL14336, 900, 900, 2509}, // 4×4
		{"xcomposer2-4khd", 0, clipvit.ViTL14336, 900, 900, 3817},       // 5×5
		{"xcomposer2-4khd", 0, clipvit.ViTL14336, 20, 20, 3817},         // enlarged however small it is
		{"xcomposer2.5", 18, at560, 4000, 2000, 7681},                   // 3×6
		{"xcomposer2.5", 0, at560, 6000, 4000, 10101},                   // 4×6
		{"xcomposer2.5", 25, at560, 4000, 4000, 10521},                  // 5×5
		{"xcomposer2.5", 0, at560, 500, 500, 2*400 + 1 + 2*20},          // never enlarged beyond a tile
		{"xcomposer2.5-train", 0, at560, 500, 500, 5*400 + 1 + 3*20},    // by half at most: 2×2
		{"xcomposer2.5-several", 0, at560, 4000, 4000, 5*400 + 1 + 3*20},
	} {
		l := layout(t, c.layout)
		if c.hdNum > 0 {
			l.HDNum = c.hdNum
		}
		if got, err := l.Tokens(c.width, c.height, c.c); err != nil || got != c.want {
			t.Errorf("%s of %d×%d at %d: %d tokens, %v, want %d", c.layout, c.width, c.height, c.c.ImageSize, got, err, c.want)
		}
	}
}

// TestPartition sweeps the aspect ratios from 1:25 to 25:1, in steps that are no simple fractions, at sizes
// around those where the number of tiles changes, against the arithmetic of the original code.
func TestPartition(t *testing.T) {
	sweep := 0
	for _, c := range []clipvit.Config{clipvit.ViTL14336, tower(560, 14)} {
		half := c.Grid() / 2
		for _, l := range Layouts {
			for _, hdNum := range []int{l.HDNum, 1, 9, 55} {
				if l.Fit != Tile {
					continue
				}
				l.HDNum = hdNum
				for _, long := range []int{c.ImageSize - 1, c.ImageSize, 1000, 4*c.ImageSize + 1, 5003} {
					for ratio := 1.0; ratio <= 25; ratio *= 1.0137 {
						short := max(int(float64(long)/ratio), (long+24)/25)
						for _, size := range [][2]int{{long, short}, {short, long}} {
							sweep++
							rows, cols, w, h := hd(size[0], size[1], c.ImageSize, l)
							p, err := l.partition(size[0], size[1], c.ImageSize)
							if err != nil || p.rows != rows || p.cols != cols || p.width != w || p.height != h || p.turned != (size[0] < size[1]) {
								t.Fatalf("%s %d of %v: %+v, %v, want %d×%d tiles of %d×%d", l.Name, hdNum, size, p, err, rows, cols, w, h)
							}
							if p.rows*p.cols > hdNum || p.padded-p.height < 0 || p.padded-p.height >= c.ImageSize || p.padded%c.ImageSize != 0 {
								t.Fatalf("%s %d of %v: %+v", l.Name, hdNum, size, p)
							}
							if want := map[bool]int{true: (p.padded - p.height) / 2}[l.Centre]; p.top != want {
								t.Fatalf("%s %d of %v: %d rows of white above, want %d", l.Name, hdNum, size, p.top, want)
							}
							n, err := l.Tokens(size[0], size[1], c)
							if want := (rows*cols+1)*half*half + 1 + (rows+1)*half; err != nil || n != want {
								t.Fatalf("%s %d of %v: %d tokens, %v, want %d", l.Name, hdNum, size, n, err, want)
							}
						}
					}
				}
			}
		}
	}
	if sweep < 10000 {
		t.Errorf("swept %d sizes, want more", sweep)
	}
}

// TestSplitShapes splits real pictures of such ratios.
func TestSplitShapes(t *testing.T) {
	c := tower(16, 4)
	for _, l := range Layouts {
		for _, size := range [][2]int{{1, 1}, {1, 5}, {1, 25}, {25, 1}, {100, 4}, {4, 100}, {31, 30}, {30, 31}, {16, 16}, {64, 48}, {47, 97}, {400, 17}} {
			tiles, err := l.Split(noise(size[0], size[1]), c)
			if err != nil {
				t.Fatal(l.Name, size, err)
			}
			rows, cols := 0, 0
			switch l.Fit {
			case Tile:
				rows, cols, _, _ = hd(size[0], size[1], c.ImageSize, l)
			case AnyRes:
				rows, cols = l.grid(size[0], size[1], c.ImageSize)
			}
			if tiles.Width != size[0] || tiles.Height != size[1] {
				t.Errorf("%s of %v: an image of %d×%d", l.Name, size, tiles.Width, tiles.Height)
			}
			if want := []int{(1 + rows*cols) * 16, 48}; tiles.Rows != rows || tiles.Cols != cols || !slices.Equal(tiles.Patches.Shape(), want) {
				t.Errorf("%s of %v: %d×%d tiles, %v, want %d×%d, %v", l.Name, size, tiles.Rows, tiles.Cols, tiles.Patches.Shape(), rows, cols, want)
			}
		}
	}
}

// pixel returns the value of a channel of a pixel of a view.
func (t *Tiles) pixel(view, x, y, ch int, c clipvit.Config) float32 {
	p := c.PatchSize
	return t.view(view, c)[(y/p*c.Grid()+x/p)*c.PatchLen()+ch*p*p+y%p*p+x%p]
}

// TestTiles: with a picture whose sides are those of the tiles, nothing is resized, and every pixel is found
// again: row after row of tiles, after the global view, whether the picture is wide or high.
func TestTiles(t *testing.T) {
	c := tower(8, 2)
	l := Layout{Name: "test", Fit: Tile, HDNum: 6}
	for _, size := range [][2]int{{24, 16}, {16, 24}, {48, 8}, {8, 48}} {
		m := noise(size[0], size[1])
		tiles, err := l.Split(m, c)
		if err != nil {
			t.Fatal(err)
		}
		if tiles.Rows != size[1]/8 || tiles.Cols != size[0]/8 {
			t.Fatalf("%v: %d×%d tiles, want %d×%d", size, tiles.Rows, tiles.Cols, size[1]/8, size[0]/8)
		}
		for y := range size[1] {
			for x := range size[0] {
				for ch := range 3 {
					want := normalized[ch][m.Pix[m.PixOffset(x, y)+ch]]
					if got := tiles.pixel(1+y/8*tiles.Cols+x/8, x%8, y%8, ch, c); got != want {
						t.Fatalf("%v: channel %d of %d,%d is %v, want %v", size, ch, x, y, got, want)
					}
				}
			}
		}
	}
}

// TestGlobalView compares with the bicubic filter as torch has it, in float64: a = -0.75, four taps around
// the centre of the pixel, those beyond the edge moved to it. Sixteen products are summed in float32.
func TestGlobalView(t *testing.T) {
	cubic := func(x float64) float64 {
		const a = -0.75
		if x = math.Abs(x); x < 1 {
			return ((a+2)*x-(a+3))*x*x + 1
		} else if x < 2 {
			return ((a*x-5*a)*x+8*a)*x - 4*a
		}
		return 0
	}
	c := tower(8, 2)
	for _, grid := range [][2]int{{1, 1}, {2, 1}, {1, 2}, {2, 2}, {3, 2}, {4, 3}, {5, 1}, {6, 6}, {8, 7}} {
		width, height := 8*grid[0], 8*grid[1]
		l := Layout{Name: "test", Fit: Tile, HDNum: grid[0] * grid[1]} // so that the picture is not resized
		m := noise(width, height)
		tiles, err := l.Split(m, c)
		if err != nil {
			t.Fatal(err)
		}
		if tiles.Rows != grid[1] || tiles.Cols != grid[0] {
			t.Fatalf("%v: %d×%d tiles", grid, tiles.Rows, tiles.Cols)
		}
		for y := range 8 {
			for x := range 8 {
				cx, cy := float64(grid[0])*(float64(x)+0.5)-0.5, float64(grid[1])*(float64(y)+0.5)-0.5
				for ch := range 3 {
					want := 0.0
					for j := int(math.Floor(cy)) - 1; j <= int(math.Floor(cy))+2; j++ {
						for i := int(math.Floor(cx)) - 1; i <= int(math.Floor(cx))+2; i++ {
							px, py := min(max(i, 0), width-1), min(max(j, 0), height-1)
							v := float64(normalized[ch][m.Pix[m.PixOffset(px, py)+ch]])
							want += cubic(cx-float64(i)) * cubic(cy-float64(j)) * v
						}
					}
					if got := tiles.pixel(0, x, y, ch, c); math.Abs(float64(got)-want) > 2e-6 {
						t.Fatalf("%v: channel %d of %d,%d is %v, want %v", grid, ch, x, y, got, want)
					}
				}
			}
		}
	}
}

// TestWhite: what the ratio leaves over is white, below or on both sides; in a high picture on the right.
func TestWhite(t *testing.T) {
	c := tower(8, 2)
	black := func(w, h int) image.Image {
		m := image.NewNRGBA(image.Rect(0, 0, w, h))
		for i := 3; i < len(m.Pix); i += 4 {
			m.Pix[i] = 255
		}
		return m
	}
	for _, centre := range []bool{false, true} {
		l := Layout{Name: "test", Fit: Tile, HDNum: 2, Centre: centre}
		wide, err := l.Split(black(16, 5), c) // in one row of two tiles; 3 rows of white
		if err != nil {
			t.Fatal(err)
		}
		high, err := l.Split(black(5, 16), c)
		if err != nil {
			t.Fatal(err)
		}
		if wide.Rows != 1 || wide.Cols != 2 || high.Rows != 2 || high.Cols != 1 {
			t.Fatalf("%d×%d and %d×%d tiles", wide.Rows, wide.Cols, high.Rows, high.Cols)
		}
		top := 0
		if centre {
			top = 1 // int(3/2)
		}
		for y := range 8 {
			want := normalized[1][255]
			if y >= top && y < top+5 {
				want = normalized[1][0]
			}
			for x := range 16 {
				if got := wide.pixel(1+x/8, x%8, y, 1, c); got != want {
					t.Fatalf("centre %v: wide %d,%d is %v, want %v", centre, x, y, got, want)
				}
				if got := high.pixel(1+x/8, y, x%8, 1, c); got != want {
					t.Fatalf("centre %v: high %d,%d is %v, want %v", centre, y, x, got, want)
				}
			}
		}
	}
}

// TestPad: LLaVA's square has the mean colour on both sides, the odd line after the picture, and is then
// resized as CLIP resizes.
func TestPad(t *testing.T) {
	if want := [3]byte{122, 116, 104}; (clipvit.Transform{}).MeanColour() != want {
		t.Fatalf("mean colour %v, want %v", (clipvit.Transform{}).MeanColour(), want)
	}
	c := tower(16, 4)
	for _, size := range [][2]int{{20, 20}, {31, 20}, {20, 31}, {1, 9}, {16, 15}} {
		m := noise(size[0], size[1])
		side := max(size[0], size[1])
		square := image.NewNRGBA(image.Rect(0, 0, side, side))
		for y := range side {
			for x := range side {
				square.SetNRGBA(x, y, color.NRGBA{122, 116, 104, 255})
				if from := image.Pt(x-(side-size[0])/2, y-(side-size[1])/2); from.In(m.Bounds()) {
					square.Set(x, y, m.At(from.X, from.Y))
				}
			}
		}
		want, err := clipvit.Preprocess(square, c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := layout(t, "pad").Split(m, c)
		if err != nil || !slices.Equal(got.Patches.Data().F32(), want.Data().F32()) {
			t.Errorf("%v: other pixels, %v", size, err)
		}
	}
}

// TestSquash: a square is resized as CLIP does it; of another picture nothing is cut off, so that its first
// and last column count.
func TestSquash(t *testing.T) {
	c, l := tower(16, 4), layout(t, "squash")
	m := noise(23, 23)
	want, err := clipvit.Preprocess(m, c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Split(m, c)
	if err != nil || !slices.Equal(got.Patches.Data().F32(), want.Data().F32()) {
		t.Errorf("a square has other pixels, %v", err)
	}
	wide := noise(40, 10)
	before, _ := l.Split(wide, c)
	for y := range 10 {
		wide.Set(0, y, color.White)
		wide.Set(39, y, color.Black)
	}
	after, err := l.Split(wide, c)
	if err != nil || before.pixel(0, 0, 8, 0, c) == after.pixel(0, 0, 8, 0, c) || before.pixel(0, 15, 8, 0, c) == after.pixel(0, 15, 8, 0, c) {
		t.Errorf("the edge does not count, %v", err)
	}
}

// TestAnyRes: black fills up what the ratio leaves over, on both sides, and is left out of the tokens; the
// whole image is squashed. LLaVA's own grids, with the ties between them.
func TestAnyRes(t *testing.T) {
	c, l := tower(8, 2), layout(t, "llava-1.6")
	for _, x := range []struct{ width, height, rows, cols, top, down, left, across int }{
		{16, 8, 1, 2, 0, 4, 0, 8},
		{8, 16, 2, 1, 0, 8, 0, 4},
		{100, 100, 2, 2, 0, 8, 0, 8},
		{8, 24, 3, 1, 0, 12, 0, 4},
		{24, 8, 1, 3, 0, 4, 0, 12},
		{16, 4, 1, 2, 1, 2, 0, 8},    // two of eight lines of pixels above, two below
		{1, 1, 1, 2, 0, 4, 2, 4},     // nothing is gained by four tiles, and the first of the smallest is taken
		{1000, 1, 1, 2, 2, 0, 0, 8},  // less than half a row of patches: none is left, as in transformers
		{300, 200, 2, 2, 1, 6, 0, 8}, // int(8·2/3) = 5 rows, an odd number left over
		{200, 300, 2, 2, 0, 8, 1, 6},
	} {
		m := noise(x.width, x.height)
		tiles, err := l.Split(m, c)
		if err != nil {
			t.Fatal(err)
		}
		top, down, left, across := tiles.inside(c.Grid())
		if got := []int{tiles.Rows, tiles.Cols, top, down, left, across}; !slices.Equal(got, []int{x.rows, x.cols, x.top, x.down, x.left, x.across}) {
			t.Errorf("%d×%d: %v, want %+v", x.width, x.height, got, x)
		}
		squashed, err := layout(t, "squash").Split(m, c)
		if err != nil || !slices.Equal(squashed.view(0, c), tiles.view(0, c)) {
			t.Errorf("%d×%d: the whole is not squashed, %v", x.width, x.height, err)
		}
		if x.width == 16 {
			for y := range 8 * x.rows {
				for col := range 16 {
					from := normalized[2][0]
					if off := (8 - x.height) / 2; y >= off && y < off+x.height {
						from = normalized[2][m.Pix[m.PixOffset(col, y-off)+2]]
					}
					if got := tiles.pixel(1+col/8, col%8, y, 2, c); got != from {
						t.Errorf("%d×%d: %d,%d is %v, want %v", x.width, x.height, col, y, got, from)
					}
				}
			}
		}
	}
	for _, bad := range []clipvit.Transform{{Filter: clipvit.FilterBilinear}, {Resize: 10}} { // which a tile would have to follow
		c.Transform = bad
		if _, err := l.Split(noise(16, 8), c); err == nil || !strings.Contains(err.Error(), "this layout") {
			t.Errorf("%+v: error is %v", bad, err)
		}
	}
}

// TestModes: an image with alpha is made RGB before it is resized, by dropping alpha, as all of these models'
// code does it: what is transparent keeps its colour.
func TestModes(t *testing.T) {
	c := tower(16, 4)
	m := noise(30, 20)
	clear := image.NewNRGBA(m.Bounds())
	copy(clear.Pix, m.Pix)
	for i := 3; i < len(clear.Pix); i += 4 {
		clear.Pix[i] = byte(i / 4)
	}
	for _, l := range Layouts {
		if l.Fit == Crop || l.Fit == Processor { // converts last, as OpenAI's
			continue
		}
		a, err := l.Split(m, c)
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Split(clear, c)
		if err != nil || !slices.Equal(a.Patches.Data().F32(), b.Patches.Data().F32()) {
			t.Errorf("%s: alpha counts, %v", l.Name, err)
		}
	}
}

func TestLayoutErrors(t *testing.T) {
	c, hd := tower(16, 4), layout(t, "xcomposer2-4khd")
	for _, x := range []struct {
		l     Layout
		img   image.Image
		c     clipvit.Config
		words []string
	}{
		{hd, nil, c, []string{"image is nil"}},
		{hd, noise(0, 5), c, []string{"0×5 pixels"}},
		{hd, noise(9, 9), clipvit.Config{}, []string{"image size is 0"}},
		{hd, noise(9, 9), tower(12, 4), []string{"merges 2×2 patches", "3×3"}},
		{hd, image.NewGray(image.Rect(0, 0, 5000, 1)), c, []string{"5000 to 1", "25 tiles of 16 pixels"}},
		{hd, image.NewGray(image.Rect(0, 0, 1, 5000)), c, []string{"5000 to 1"}},
		{Layout{Name: "x", Fit: "y"}, noise(9, 9), c, []string{`"x" fits by "y"`}},
		{Layout{Name: "x", Fit: Tile}, noise(9, 9), c, []string{"at most 0 tiles, want 1 to 1024"}},
		{Layout{Name: "x", Fit: Tile, HDNum: 2, Enlarge: math.NaN()}, noise(9, 9), c, []string{"enlarges by NaN"}},
		{Layout{Name: "x", Fit: Pad, HDNum: 2}, noise(9, 9), c, []string{"fields of tiles"}},
		{Layout{Name: "x", Fit: AnyRes}, noise(9, 9), c, []string{"has 0 grids"}},
		{Layout{Name: "x", Fit: Pad, Grids: [][2]int{{1, 2}}}, noise(9, 9), c, []string{"has 1 grids"}},
		{Layout{Name: "x", Fit: AnyRes, Grids: [][2]int{{1, 2}, {0, 2}}}, noise(9, 9), c, []string{"grid of 0×2"}},
		{Layout{Name: "x", Fit: AnyRes, Grids: [][2]int{{1, 2}}, Merge: "unpad"}, noise(9, 9), c, []string{`merges tiles by "unpad", want ""`}},
		{Layout{Name: "x", Fit: Pad, Merge: MergeFlat}, noise(9, 9), c, []string{`merges tiles by "flat" and fits by "pad"`}},
		{Layout{Name: "x", Fit: AnyRes, Grids: [][2]int{{64, 64}}}, noise(9, 9), c, []string{"grid of 64×64"}},
		{layout(t, "pad"), image.NewGray(image.Rect(0, 0, 20000, 1)), c, []string{`layout "pad"`, "20000×1 pixels to a square of 400000000"}},
		{Layout{Name: "x", Fit: AnyRes, Grids: [][2]int{{1024, 1}}}, noise(9, 9), tower(560, 14), []string{"1024×1 tiles, of 321126400 pixels"}},
		{Layout{Name: "x", Fit: Tile, HDNum: 1024}, noise(9, 9), tower(560, 14), []string{"32×32 tiles, of 321126400 pixels"}},
	} {
		_, err := x.l.Split(x.img, x.c)
		for _, w := range x.words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: error is %v, want %q in it", x.l, err, w)
			}
		}
	}
	if _, err := FindLayout("anyres"); err == nil || !strings.Contains(err.Error(), "xcomposer2.5-train") {
		t.Errorf("error is %v, want all names in it", err)
	}
	if n, err := layout(t, "pad").Tokens(20000, 1, c); err == nil {
		t.Errorf("%d tokens of what Split refuses", n)
	}
	for _, size := range [][2]int{{0, 1}, {1, -1}, {math.MaxInt, 1}, {1, 5000}} {
		if n, err := hd.Tokens(size[0], size[1], c); err == nil {
			t.Errorf("%v: %d tokens", size, n)
		}
	}
}

// TestPresets: all are valid and found by their names, which differ.
func TestPresets(t *testing.T) {
	for i, l := range Layouts {
		if err := l.Validate(); err != nil {
			t.Error(err)
		}
		if got, err := FindLayout(l.Name); err != nil || !reflect.DeepEqual(got, Layouts[i]) {
			t.Errorf("%s: found %+v, %v", l.Name, got, err)
		}
	}
}

// FuzzSplit: whatever the size, Split and Tokens agree on whether there are tokens and how many, and
// nothing panics.
func FuzzSplit(f *testing.F) {
	for _, s := range [][2]uint16{{1, 1}, {1, 5000}, {5000, 1}, {0, 3}, {25, 1}, {336, 337}} {
		for i := range Layouts {
			f.Add(s[0], s[1], uint8(i), uint8(0), uint8(0), []byte{1, 2, 3})
		}
	}
	f.Fuzz(func(t *testing.T, width, height uint16, which, hdNum, enlarge uint8, pixels []byte) {
		w, h := int(width)%6000, int(height)%6000
		if w*h > 1<<16 { // a picture of more costs time and has no other ratio
			h = 1<<16/w + 1
		}
		l := Layouts[int(which)%len(Layouts)]
		if hdNum > 0 && l.Fit == Tile {
			l.HDNum, l.Enlarge = int(hdNum)%64, float64(enlarge)/64
		}
		if l.Fit == Pad { // its square has the longer side
			w, h = min(w, 1000), min(h, 1000)
		}
		m := image.NewNRGBA(image.Rect(3, 5, 3+w, 5+h))
		if len(pixels) > 0 {
			copy(m.Pix, bytes.Repeat(pixels, len(m.Pix)/len(pixels)+1))
		}
		c := tower(8, 4)
		tiles, err := l.Split(m, c)
		n, tokensErr := l.Tokens(w, h, c)
		if (err == nil) != (tokensErr == nil) {
			t.Fatalf("%+v of %d×%d: Split says %v, Tokens %v", l, w, h, err, tokensErr)
		}
		if err != nil {
			return
		}
		want := 4
		switch l.Fit {
		case Tile:
			want = (tiles.Rows*tiles.Cols + 1) + 1 + (tiles.Rows + 1)
		case AnyRes:
			want = len(tiles.pack(2))
		}
		if n != want || tiles.Patches.Shape()[0] != (1+tiles.Rows*tiles.Cols)*4 {
			t.Fatalf("%+v of %d×%d: %d tokens, want %d; patches %v", l, w, h, n, want, tiles.Patches.Shape())
		}
		for _, v := range tiles.Patches.Data().F32() {
			if !(v > -8 && v < 8) { // white is below 3, and the filter overshoots by less than half of the range twice
				t.Fatalf("%+v of %d×%d: a pixel is %v", l, w, h, v)
			}
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	for _, name := range []string{"pad", "squash", "xcomposer2-4khd"} {
		b.Run(fmt.Sprintf("%s/1920x1080", name), func(b *testing.B) {
			l, m := layout(b, name), noise(1920, 1080)
			for b.Loop() {
				if _, err := l.Split(m, clipvit.ViTL14336); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
