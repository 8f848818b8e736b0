package clip_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imageencoding"
	_ "github.com/vitago/vitago/tasks/imageencoding/clip"
)

func Example() {
	encoder, err := tasks.Load[imageencoding.Interface](&tasks.Config{
		ModelsDir: "../../../testdata/tiny", // and imageencoding.DefaultModel in a real program
		ModelName: "huggingface",
	})
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../../cmd/vitago/testdata/demo/cat.png")
	if err != nil {
		log.Fatal(err)
	}
	response, err := encoder.EncodeImage(context.Background(), picture)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Vector.Shape())
	// Output: [10 1]
}
