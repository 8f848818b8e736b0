package answers_test

import (
	"context"
	"fmt"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cmd/vitago/answers"
	"github.com/vitago/vitago/demo"
)

// The first answer that is known of the small model in the program, and what the model says.
func ExampleCheck_Run() {
	m, err := demo.Open()
	if err != nil {
		fmt.Println(err)
		return
	}
	c := answers.For(answers.Known(), demo.Name)[0].Checks[0]
	o, err := c.Run(context.Background(), m, clip.Picture{}) // of a text, so without a picture
	fmt.Println(c.Text, len(o.Want), o.Pass, err)
	// Output: a red circle 64 true <nil>
}
