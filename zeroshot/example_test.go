package zeroshot_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/zeroshot"
)

// A tiny model with random weights has opinions, too.
func ExampleNew() {
	ctx := context.Background()
	m, err := clip.Open("../testdata/families/hf5-clip")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	c, err := zeroshot.New(ctx, m, []string{"cat", "hat", "photo"}, []string{"a photo of a {}", "a {}"})
	if err != nil {
		fmt.Println(err)
		return
	}
	all, err := c.Classify(ctx, clip.File("../cmd/vitago/testdata/demo/cat.png"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range all[0] {
		fmt.Printf("%s %.3f\n", l.Name, l.Probability)
	}
	// Output:
	// hat 0.954
	// cat 0.027
	// photo 0.018
}

// Pictures are encoded once, and asked for other labels at any time; the embeddings of labels are kept in a folder.
func ExampleClassifier_Rank() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	m, err := clip.Open("../testdata/families/hf5-clip")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	vectors, err := m.Encode(ctx, clip.File("../cmd/vitago/testdata/demo/cat.png"), clip.File("../cmd/vitago/testdata/demo/gradient.png"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, labels := range [][]string{{"cat", "hat"}, {"photo", "cat", "hat"}} {
		c, err := zeroshot.New(ctx, m, labels, []string{"a {}"}, zeroshot.Cache(dir))
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, v := range vectors {
			fmt.Print(c.Rank(v)[0].Name, " ")
		}
	}
	// Output: hat hat hat hat
}

// All pictures of a folder, decoded ahead, by the label that fits best.
func ExampleClassifier_ClassifyAll() {
	ctx := context.Background()
	m, err := clip.Open("../testdata/families/hf5-clip")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	c, err := zeroshot.New(ctx, m, []string{"cat", "hat"}, []string{"a photo of a {}"})
	if err != nil {
		fmt.Println(err)
		return
	}
	pictures, _, err := clip.Folder("../cmd/vitago/testdata/demo")
	if err != nil {
		fmt.Println(err)
		return
	}
	for p, err := range c.ClassifyAll(ctx, slices.Values(pictures), clip.StreamOptions{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %s %.3f\n", filepath.Base(p.Name), p.Labels[0].Name, p.Labels[0].Probability)
	}
	// Output:
	// blue-square.png: cat 0.741
	// cat.jpg: cat 0.817
	// cat.png: cat 0.814
	// gradient.png: cat 0.777
	// orange-circle.png: cat 0.932
	// red-circle.png: cat 0.710
}

// Labels that do not exclude each other: each has a probability of its own, and one is enough. The prompts are of a file.
func ExampleMultiLabel() {
	ctx := context.Background()
	m, err := clip.Open("../testdata/families/hf5-clip")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	labels, err := zeroshot.ReadPrompts("labels.tsv", []byte("pet\ta photo of a cat\npet\ta cat\nclothes\ta photo of a hat\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := zeroshot.NewPrompts(ctx, m, labels, nil, zeroshot.MultiLabel(-0.5, "a photo"))
	if err != nil {
		fmt.Println(err)
		return
	}
	all, err := c.Classify(ctx, clip.File("../cmd/vitago/testdata/demo/cat.png"), clip.File("../cmd/vitago/testdata/demo/blue-square.png"))
	if err != nil {
		fmt.Println(err)
		return
	}
	threshold := zeroshot.Threshold{Probability: 0.5, Each: true}
	for _, ranked := range all {
		for _, l := range threshold.Accepted(ranked) {
			fmt.Print(l.Name, " ")
		}
		fmt.Println("are accepted")
	}
	// Output:
	// clothes pet are accepted
	// are accepted
}
