package visualtokens_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/visualtokens"
	_ "github.com/vitago/vitago/tasks/visualtokens/projected" // does it
)

func Example() {
	model, err := tasks.Load[visualtokens.Interface](&tasks.Config{
		ModelsDir: "../../testdata/families", // a LLaVA of random weights
		ModelName: "llava",
	})
	if err != nil {
		log.Fatal(err)
	}
	picture, err := os.ReadFile("../../cmd/vitago/testdata/demo/cat.png")
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
