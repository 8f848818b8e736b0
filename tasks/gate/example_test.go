package gate_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/tasks/gate"
)

// A model of a task that works on one picture at a time.
func Example() {
	g := gate.New("brightness", 1)
	bounds := func(file []byte) (string, error) {
		img, leave, err := g.Decode(context.Background(), file)
		if err != nil {
			return "", err
		}
		defer leave()
		return img.Bounds().String(), nil
	}

	file, err := os.ReadFile("../../cmd/vitago/testdata/demo/cat.png")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bounds(file))
	_, err = bounds([]byte("no picture"))
	fmt.Println(errors.Is(err, gate.ErrImage), err)
	// Output:
	// (0,0)-(128,96) <nil>
	// true brightness: not a readable image: not an image: the file starts with "no picture", want JPEG, PNG, GIF, WebP, TIFF, BMP, ICO, PPM or QOI
}
