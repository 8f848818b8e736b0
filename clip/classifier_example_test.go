package clip_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
)

// A classifier by the picture of each class that is the most alike: whatever takes a clip.Classifier takes it.
func ExampleClassifyBy() {
	ctx := context.Background()
	m, err := clip.Open("../testdata/families/hf5-clip")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	labels := []string{"circle", "square"}
	like, err := m.Encode(ctx, clip.File("../cmd/vitago/testdata/demo/red-circle.png"), clip.File("../cmd/vitago/testdata/demo/blue-square.png"))
	if err != nil {
		fmt.Println(err)
		return
	}
	c := clip.ClassifyBy(m, clipvit.Features{Kind: clipvit.Embedding}, labels, func(x []float32) (all []clip.Label) {
		for i, y := range like {
			cosine := clip.Cosine(x, y)
			all = append(all, clip.Label{Name: labels[i], Probability: (1 + cosine) / 2, Cosine: cosine})
		}
		slices.SortFunc(all, func(a, b clip.Label) int { return cmp.Compare(b.Probability, a.Probability) })
		return all
	})
	all, err := c.Classify(ctx, clip.File("../cmd/vitago/testdata/demo/orange-circle.png"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(all[0][0].Name)
	// Output: circle
}
