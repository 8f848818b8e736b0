package imageencoding_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imageencoding"
	_ "github.com/vitago/vitago/tasks/imageencoding/clip" // does it
)

func Example() {
	encoder, err := tasks.Load[imageencoding.Interface](&tasks.Config{
		ModelsDir: "../../testdata/tiny", // and imageencoding.DefaultModel in a real program
		ModelName: "huggingface",
	})
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../cmd/vitago/testdata/demo/cat.png")
	if err != nil {
		log.Fatal(err)
	}
	response, err := encoder.EncodeImage(context.Background(), picture)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Vector.Shape())

	_, err = encoder.EncodeImage(context.Background(), []byte("no picture"))
	fmt.Println("422:", errors.Is(err, imageencoding.ErrImage))
	// Output:
	// [10 1]
	// 422: true
}
