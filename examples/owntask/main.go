// Owntask measures how bright a picture is, by a task and a model that Vitago does not have.
//
//	go -C examples/owntask run . ../../demo/pictures/red-circle.png
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imageencoding"

	_ "github.com/vitago/vitago/examples/owntask/average" // registers itself
	"github.com/vitago/vitago/examples/owntask/brightness"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: owntask IMAGE")
	}
	image, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	// A program names the task and a folder. What model is in it, config.json says: {"model_type": "average"}.
	conf := &tasks.Config{ModelsDir: "models", ModelName: "average", DownloadPolicy: tasks.DownloadNever}
	meter, err := tasks.Load[brightness.Interface](conf)
	if err != nil {
		log.Fatal(err)
	}
	bright, err := meter.Brightness(context.Background(), image)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("brightness %.2f\n", bright)

	encoder, err := tasks.Load[imageencoding.Interface](conf)
	if err != nil {
		log.Fatal(err)
	}
	response, err := encoder.EncodeImage(context.Background(), image)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("as a vector", response.Vector.Data().F32())
}
