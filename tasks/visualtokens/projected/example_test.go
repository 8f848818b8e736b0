package projected_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/visualtokens"
	"github.com/vitago/vitago/tasks/visualtokens/projected"
)

func Example() {
	model, err := tasks.Load[visualtokens.Interface](&tasks.Config{
		ModelsDir: "../../../testdata/families", // a LLaVA of random weights
		ModelName: "llava",
	})
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../../cmd/vitago/testdata/demo/cat.png")
	if err != nil {
		log.Fatal(err)
	}
	response, err := model.Tokens(context.Background(), picture)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Tokens.Shape())
	// Output: [16 12]
}

// Of an encoder that is loaded already: how many tokens a picture would have is known without looking at one.
func ExampleNew() {
	source, err := converter.Open("../../../testdata/families/xcomposer2-hd") // of random weights
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	encoder, err := source.Encoder(context.Background(), "xcomposer2-4khd")
	if err != nil {
		log.Fatal(err)
	}
	model, err := projected.New(encoder)
	if err != nil {
		log.Fatal(err)
	}
	n, err := model.Count(640, 480)
	fmt.Println(n, err)
	// Output: 95 <nil>
}
