package finetune_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/projector"
)

// A projector is put on a plain tower, and learns what another one gives for the tiles of pictures.
func ExampleConfig_SetTeacherEncoder() {
	ctx := context.Background()
	tower, err := converter.Load("../cmd/vitago/testdata/demo/tiny-clip.pt")
	if err != nil {
		log.Fatal(err)
	}
	layout, err := projector.FindLayout("xcomposer2-4khd")
	if err != nil {
		log.Fatal(err)
	}
	layout.HDNum = 4 // tiles at most
	teacher, err := projector.NewEncoder(tower, layout, -1, "mlp2x_gelu", 32, 1)
	if err != nil {
		log.Fatal(err)
	}
	encoder, err := projector.NewEncoder(tower, layout, -1, "mlp2x_gelu", 32, 2)
	if err != nil {
		log.Fatal(err)
	}
	pictures, err := data.Open("../cmd/vitago/testdata/demo", false)
	if err != nil {
		log.Fatal(err)
	}
	recipe, err := finetune.FindRecipe("projector")
	if err != nil {
		log.Fatal(err)
	}
	recipe.Epochs, recipe.Batch, recipe.Accumulate = 40, 1, 3 // pictures of several tiles come one by one
	c := finetune.Config{
		Encoder: encoder, Recipe: recipe,
		Train: &data.Loader{Data: pictures, Config: tower.Config, BatchSize: recipe.Batch, Layout: &layout},
	}
	if err := c.SetTeacherEncoder(teacher, "teacher", finetune.SquareDistance); err != nil {
		log.Fatal(err)
	}
	trainer, err := finetune.New(c)
	if err != nil {
		log.Fatal(err)
	}
	result, err := trainer.Run(ctx)
	if err != nil {
		log.Fatal(err)
	}
	first, last := result.History[0], result.History[len(result.History)-1]
	fmt.Println("the loss fell to less than a tenth:", last.Loss < first.Loss/10)
	// trainer.Save(ctx, "tuned", …) writes a directory that converter.Model.Encoder and vitago tokens read.

	// Output: the loss fell to less than a tenth: true
}

// The switches of XComposer's finetune.py as a recipe.
func ExampleXComposer() {
	r := finetune.XComposer(true, false) // the tower stays, the projector learns
	fmt.Println(r.Name, r.Tower, r.HeadRate > 0)
	// Output: xcomposer none true
}
