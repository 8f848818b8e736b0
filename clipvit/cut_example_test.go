package clipvit_test

import (
	"fmt"
	"image"

	"github.com/vitago/vitago/clipvit"
)

// The four quarters of a picture, each as an image of its own, in one batch.
func ExampleCut() {
	c := clipvit.ViTL14
	img := image.NewRGBA(image.Rect(0, 0, 2*c.ImageSize, 2*c.ImageSize))
	n := c.Patches() * c.PatchLen()
	patches := make([]float32, 4*n) // [4·G²,3P²]
	for i := range 4 {
		x, y := i%2*c.ImageSize, i/2*c.ImageSize
		part := img.SubImage(image.Rect(x, y, x+c.ImageSize, y+c.ImageSize))
		if err := clipvit.Cut(patches[i*n:(i+1)*n], part, c); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(len(patches)/c.PatchLen(), "patches; black is", patches[0], c.Transform.Levels()[0][0])
	// Output: 1024 patches; black is -1.7922626 -1.7922626
}

// A model that follows one library is made to follow another: what its files say of images stays.
func ExampleFindPreset() {
	t := clipvit.Transform{Fit: clipvit.FitSquash, Resize: 256}
	p, err := clipvit.FindPreset("transformers")
	if err != nil {
		fmt.Println(err)
		return
	}
	t = t.Follow(p)
	fmt.Println(t.Fit, t.Resize, t.Rounding, t.Alpha)
	// Output: squash 256 transformers white
}
