package chart_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/vitago/vitago/converter/compare/chart"
)

func ExampleCurves() {
	steps := []float64{0, 100, 200}
	p, err := chart.Curves("LoRA", "step", "loss",
		chart.Line{Name: "training", X: steps, Y: []float64{1.1, 0.4, 0.2}},
		chart.Line{Name: "validation", X: steps, Y: []float64{1.2, 0.6, 0.5}})
	if err != nil {
		log.Fatal(err)
	}
	svg, err := chart.Encode(p, ".svg")
	fmt.Println(bytes.Contains(svg, []byte("validation")), err)
	// Output: true <nil>
}
