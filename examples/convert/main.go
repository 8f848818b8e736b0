// Convert makes a directory that transformers loads of any checkpoint, exports it to OpenCLIP's form, and says how the two are related.
//
//	go run ./examples/convert builtin:demo small exported
//	go run ./examples/convert ViT-B-32.pt vit-b-32 openclip
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/compare"
	_ "github.com/vitago/vitago/demo" // builtin:demo
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: convert MODEL DIRECTORY EXPORTED")
		os.Exit(2)
	}
	if err := convert(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

// convert writes both forms of a model, and compares them.
func convert(ctx context.Context, path, dir, exported string) error {
	model, err := converter.Open(path)
	if err != nil {
		return err
	}
	defer model.Close()
	fmt.Printf("%s, %d parameters in %s\n", model.Dialect(), len(model.Parameters()), model.Container())
	if _, err := model.Convert(ctx, dir, converter.Options{}); err != nil {
		return err
	}
	if _, err := model.Export(ctx, exported, converter.ExportOptions{To: "openclip"}); err != nil {
		return err
	}
	a, err := converter.Open(dir)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := converter.Open(exported)
	if err != nil {
		return err
	}
	defer b.Close()
	r, err := compare.Models(ctx, a, b, compare.Options{})
	if err != nil {
		return err
	}
	fmt.Println(r.Summary)
	return nil
}
