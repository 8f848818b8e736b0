package converter

import (
	"cmp"
	"context"
	"errors"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/projector"
)

// stripes is a picture that differs from place to place.
func stripes(width, height int) image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetNRGBA(x, y, color.NRGBA{byte(x * 7), byte(y * 5), byte(x*y + x), 255})
		}
	}
	return m
}

// TestLoadEncoder loads every family that has both parts, as it is and after a conversion: the same encoder,
// with the tokens that tower and projector, loaded apart, give for the pixels of its layout. Those two are
// compared with the family's own library in TestFamilies.
func TestLoadEncoder(t *testing.T) {
	img := stripes(50, 37)
	n := 0
	for _, f := range families {
		dst := filepath.Join(t.TempDir(), "out")
		if f.projector == (ProjectorConfig{}) || f.vision == (clipvit.Config{}) {
			_, err := loadEncoder(t.Context(), family(t, f.path), "")
			if err == nil || !strings.Contains(err.Error(), "no projector") && !strings.Contains(err.Error(), "no vision tower") {
				t.Errorf("%s: error is %v, want which part is not there", f.path, err)
			}
			continue
		}
		f.vision.Transform = rulesOf(family(t, f.path), f.dialect)
		n++
		if _, err := convertFile(t.Context(), family(t, f.path), dst, Options{}); err != nil {
			t.Fatal(err)
		}
		layout, want := "", cmp.Or(f.projector.Layout, layouts[f.projector.Family])
		if f.projector.Family == familyXComposerH {
			layout, want = "xcomposer2.5", "xcomposer2.5"
		}
		var first []float32
		for _, path := range []string{family(t, f.path), dst} {
			e, err := loadEncoder(t.Context(), path, layout)
			if err != nil {
				t.Fatal(path, err)
			}
			if e.Layout.Name != want || e.Select.Layer != f.layer || e.Select.Kind != clipvit.Patches || e.Tower.Config != f.vision {
				t.Errorf("%s: layout %q, layer %d, feature %q, tower %+v, want %q, %d, %q, %+v", path, e.Layout.Name, e.Select.Layer, e.Select.Kind, e.Tower.Config, want, f.layer, clipvit.Patches, f.vision)
			}
			got, err := e.Tokens(img)
			if err != nil {
				t.Fatal(path, err)
			}
			if got.RequiresGrad() {
				t.Errorf("%s: not frozen", path)
			}
			if first == nil {
				first = got.Data().F32()
				if want != "llava-1.6" { // whose order of tokens package projector compares with the library's
					golden.Compare(t, f.path, first, apart(t, path, e, img), 1e-6)
				}
			} else if !slices.Equal(got.Data().F32(), first) {
				t.Errorf("%s: other tokens after the conversion", path)
			}
			e.Unfreeze()
			tiles, err := e.Split(img)
			if err != nil {
				t.Fatal(err)
			}
			if y, err := e.Forward(tiles); err != nil || !y.RequiresGrad() {
				t.Errorf("%s: an unfrozen encoder makes no graph, %v", path, err)
			}
		}
	}
	if n < 5 {
		t.Errorf("%d families have both parts", n)
	}
}

// apart returns the tokens of an image from tower and projector loaded by themselves.
func apart(t *testing.T, path string, e *projector.Encoder, img image.Image) []float32 {
	t.Helper()
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := loadProjector(path)
	if err != nil {
		t.Fatal(err)
	}
	tiles, err := e.Layout.Split(img, m.Config)
	if err != nil {
		t.Fatal(err)
	}
	x, err := m.Features(tiles.Patches, *p.Config.SelectLayer)
	if err != nil {
		t.Fatal(err)
	}
	views := slices.Collect(slices.Chunk(x.Value().Data().F32(), m.Config.Tokens()*m.Config.Width))
	c, g := m.Config.Width, m.Config.Grid()
	var rows []float32
	if tiles.Rows == 0 {
		rows = views[0][c:]
	} else {
		line := func(view, row int) { // of merged tokens
			for col := range g / 2 {
				for _, at := range []int{2 * row * g, (2*row + 1) * g} {
					rows = append(rows, views[view][(1+at+2*col)*c:][:2*c]...)
				}
			}
		}
		for row := range g / 2 {
			line(0, row)
			rows = append(rows, p.RowSeparator...)
		}
		rows = append(rows, p.GlobalSeparator...)
		for row := range tiles.Rows * g / 2 {
			for col := range tiles.Cols {
				line(1+row/(g/2)*tiles.Cols+col, row%(g/2))
			}
			rows = append(rows, p.RowSeparator...)
		}
	}
	in := mat.NewDense[float32](mat.WithShape(len(rows)/p.Config.In, p.Config.In), mat.WithBacking(rows))
	return p.Model.Forward(in).Value().Data().F32()
}

func TestLoadEncoderErrors(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := loadEncoder(canceled, family(t, "llava"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that it was cancelled", err)
	}
	noLayer := filepath.Join(t.TempDir(), "out")
	if _, err := convertFile(t.Context(), family(t, "llava"), noLayer, Options{}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(noLayer, projectorFile)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b = []byte(strings.Replace(string(b), `"layout": "pad"`, `"layout": ""`, 1)) // as conversions wrote it before it was read
	edit := func(old, new string) {
		s := strings.Replace(string(b), old, new, 1)
		if s == string(b) {
			t.Fatalf("%s has no %s", b, old)
		}
		if err := os.WriteFile(file, []byte(s), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		old, new, layout string
		path             string
		words            []string
	}{
		{path: "xcomposer2-hd", words: []string{"xcomposer2-hd", "has to be chosen", `"xcomposer2-4khd" or "xcomposer2.5"`}},
		{path: "xcomposer2-hd", layout: "pad", words: []string{"takes 256 columns", `layout "pad" makes 64`}},
		{path: "llava", layout: "xcomposer2-4khd", words: []string{"takes 64 columns", "row separator"}},
		{path: "llava", layout: "anyres", words: []string{`"anyres"`, "clip, clip-transformers"}},
		{path: "no-such-folder", words: []string{"no-such-folder"}},
		{old: `"llava-1.5"`, new: `"llava-1.6"`, words: []string{`layout "llava-1.6" needs a newline [1,12]`}},
		{old: `"llava-1.5"`, new: `"other"`, words: []string{`none is known for family "other"`}},
		{old: `"layout": ""`, new: `"layout": "anyres"`, words: []string{`layout is "anyres"`}},
		{old: `"select_layer": -2`, new: `"select_layer": -9`, words: []string{"layer -9, want -3 to 2"}},
		{old: `"select_layer": -2`, new: `"select_layer": null`, words: []string{"nothing says which layer"}},
	} {
		path := noLayer
		if c.path != "" {
			path = filepath.Join(filepath.Dir(family(t, "llava")), c.path)
		} else {
			edit(c.old, c.new)
		}
		_, err := loadEncoder(t.Context(), path, c.layout)
		for _, w := range c.words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: error is %v, want %q in it", c, err, w)
			}
		}
	}
	edit(`"llava-1.5"`, `"llava-1.6"`)
	if e, err := loadEncoder(t.Context(), noLayer, "pad"); err != nil || e.Layout.Name != "pad" {
		t.Errorf("LLaVA 1.6 with one view: %v", err)
	}
}

// TestLayoutsOfFamilies: every family has a preset or a reason to have none.
func TestLayoutsOfFamilies(t *testing.T) {
	if _, err := chooseLayout("", familyXComposerH); !errors.Is(err, ErrLayout) {
		t.Errorf("without a layout: %v, want ErrLayout", err)
	}
	for _, f := range []string{familyLLaVA15, familyLLaVA16, familyXComposer, familyXComposerH, family4KHD, familyXComposer5, familyXtuner} {
		l, err := chooseLayout("", f)
		if f == familyXComposerH {
			if err == nil {
				t.Errorf("%s: layout %q", f, l.Name)
			}
		} else if err != nil || l.Name != layouts[f] {
			t.Errorf("%s: layout %q, %v", f, l.Name, err)
		}
	}
}

// TestLoadEncoderNewline: LLaVA 1.6 as it is and converted, with a newline in its tokens; with the layout of 1.5
// it has those of the whole image alone.
func TestLoadEncoderNewline(t *testing.T) {
	dir, _ := llavaOf(t, vector("model.mm_projector.0.weight", wordWidth, tinyWidth), vector("model.mm_projector.0.bias", wordWidth),
		vector("model.mm_projector.2.weight", wordWidth, wordWidth), vector("model.mm_projector.2.bias", wordWidth), vector("model.image_newline", wordWidth))
	editConfig(t, dir, map[string]any{"image_aspect_ratio": "anyres", "mm_patch_merge_type": "spatial_unpad"})
	converted := filepath.Join(t.TempDir(), "out")
	if _, err := convertFile(t.Context(), dir, converted, Options{}); err != nil {
		t.Fatal(err)
	}
	img := stripes(40, 20)
	var first []float32
	for _, path := range []string{dir, converted} {
		e, err := loadEncoder(t.Context(), path, "")
		if err != nil {
			t.Fatal(err)
		}
		y, err := e.Tokens(img)
		if err != nil {
			t.Fatal(err)
		}
		g := e.Tower.Config.Grid()
		if want := []int{g*g + g*(2*g+1), wordWidth}; e.Layout.Name != "llava-1.6" || !slices.Equal(y.Shape(), want) { // 1×2 tiles
			t.Errorf("%s: layout %q, tokens %v, want %v", path, e.Layout.Name, y.Shape(), want)
		}
		got := y.Data().F32()
		if last := got[len(got)-wordWidth:]; !slices.Equal(last, mat.Data[float32](e.Newline)) {
			t.Errorf("%s: the last token is %v, want the newline", path, last)
		}
		if first == nil {
			first = got
		} else if !slices.Equal(first, got) {
			t.Errorf("%s: other tokens after the conversion", path)
		}
		if e, err = loadEncoder(t.Context(), path, "pad"); err != nil {
			t.Fatal(err)
		}
		if n, err := e.Count(40, 20); err != nil || n != g*g {
			t.Errorf("%s: %d tokens of one view, %v, want %d", path, n, err, g*g)
		}
	}
}

// TestGrids: the grids of LLaVA 1.6 are those of its config.json, before and after a conversion, and sizes that are none
// are an error.
func TestGrids(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(family(t, "llava-hf"))); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, configFile)
	plain, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	set := func(points string) {
		t.Helper()
		text := strings.Replace(string(plain), "{", `{"image_grid_pinpoints": `+points+",", 1)
		if err := os.WriteFile(config, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	set("[[12, 12], [24, 48]]") // of 12 pixels a side
	dst := filepath.Join(t.TempDir(), "out")
	if _, err := convertFile(t.Context(), dir, dst, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, dst} {
		c, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		p := c.ProjectorConfig()
		if want := [][2]int{{1, 1}, {2, 4}}; p.Grids == nil || !slices.Equal(*p.Grids, want) {
			t.Errorf("%s: %+v, want grids %v", path, p, want)
		}
		c.Close()
	}
	set("[[12, 13]]")
	if _, err := loadEncoder(t.Context(), dir, ""); err == nil || !strings.Contains(err.Error(), "[12 13]") {
		t.Errorf("of 12 by 13 pixels: %v", err)
	}
	p := &ProjectorConfig{}
	if err := p.setGrids([][2]int{{672, 336}}, true, 336); err != nil || (*p.Grids)[0] != [2]int{1, 2} {
		t.Errorf("two tiles side by side, width first: %v, %v", p.Grids, err)
	}
}
