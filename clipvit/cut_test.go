package clipvit

import (
	"image"
	"image/color"
	"slices"
	"strings"
	"testing"
)

// TestCut: the patches of an image of the tower's size are those of Preprocess, which resizes nothing then.
func TestCut(t *testing.T) {
	m, _ := tinyTower(t, "quick_gelu")
	c := m.Config
	img := image.NewNRGBA(image.Rect(2, 3, 2+c.ImageSize, 3+c.ImageSize))
	for i := range img.Pix {
		img.Pix[i] = byte(i * 37)
	}
	want, err := Preprocess(img, c)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, c.Patches()*c.PatchLen())
	if err := Cut(got, img, c); err != nil || !slices.Equal(got, want.Data().F32()) {
		t.Errorf("other patches, %v", err)
	}
	levels := c.Transform.Levels()
	r, g, b := levels[0][img.Pix[0]], levels[1][img.Pix[1]], levels[2][img.Pix[2]]
	if n := c.PatchSize * c.PatchSize; got[0] != r || got[n] != g || got[2*n] != b {
		t.Errorf("the first pixel is %v %v %v, want %v %v %v", got[0], got[n], got[2*n], r, g, b)
	}
	for _, x := range []struct {
		n    int
		img  image.Image
		c    Config
		want string
	}{
		{len(got), nil, c, "image is nil"},
		{len(got), image.NewGray(image.Rect(0, 0, c.ImageSize, c.ImageSize+1)), c, "want"},
		{len(got) - 1, img, c, "room for"},
		{len(got), img, Config{}, "image size is 0"},
		{len(got), image.NewUniform(color.White), c, "pixels, want"},
	} {
		if err := Cut(make([]float32, x.n), x.img, x.c); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("error is %v, want %q in it", err, x.want)
		}
	}
}
