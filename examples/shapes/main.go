// Shapes draws pictures to learn from, in the folders that fine-tuning reads.
//
//	go run ./examples/shapes -n 40 -test 10 shapes
//
// It writes shapes/train/CLASS/00000.png and so on, n of each of six shapes, and others in shapes/test. Colour,
// size, place and noise vary; with -hard any shape may have any colour, and blots lie about.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/internal/shapes"
)

func main() {
	hard := flag.Bool("hard", false, "only the outline tells the shapes apart")
	n := flag.Int("n", 100, "pictures of each shape to train on")
	test := flag.Int("test", 50, "pictures of each shape to test with")
	size := flag.Int("size", 64, "pixels a side")
	seed := flag.Uint64("seed", 1, "other pictures with another")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: shapes [flags] DIR")
		flag.PrintDefaults()
		os.Exit(2)
	}
	err := shapes.Write(filepath.Join(flag.Arg(0), "train"), 0, *n, *size, *hard, *seed)
	if err == nil {
		err = shapes.Write(filepath.Join(flag.Arg(0), "test"), *n, *test, *size, *hard, *seed)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
