// Zeroshot names pictures: it says which of some labels fits each of them best, without training.
//
//	go run ./examples/zeroshot builtin:demo "red circle,blue square,green heart" demo/pictures/red-circle.png demo/pictures/green-heart.png
//
// The model has both towers. One of the labels always fits best, whatever the picture shows.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/vitago/vitago/clip"
	_ "github.com/vitago/vitago/demo" // builtin:demo
	"github.com/vitago/vitago/zeroshot"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: zeroshot MODEL LABEL,LABEL... IMAGE...")
		os.Exit(2)
	}
	model, err := clip.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	classifier, err := zeroshot.New(context.Background(), model, strings.Split(os.Args[2], ","), []string{"a photo of a {}"})
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range os.Args[3:] {
		labels, err := classifier.Classify(context.Background(), clip.File(file))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s %.2f\n", file, labels[0][0].Name, labels[0][0].Probability)
	}
}
