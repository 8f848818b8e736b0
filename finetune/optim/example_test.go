package optim_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/losses"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/finetune/optim"
)

// A layer of spago's own learns which of two numbers is larger.
func Example() {
	head := linear.New[float32](2, 2)
	rng := rand.New(rand.NewPCG(1, 2))
	groups := []optim.Group{{Name: "head", Rate: 0.1, WeightDecay: 0.01, Params: optim.Collect(head)}}
	optimizer, err := optim.NewAdamW(groups, optim.DefaultAdamW)
	if err != nil {
		fmt.Println(err)
		return
	}
	const steps, batch = 100, 4
	schedule := optim.Cosine(5, steps, 0)
	right := 0
	for step := range steps {
		for range batch {
			x := []float32{rng.Float32(), rng.Float32()}
			label := 0
			if x[1] > x[0] {
				label = 1
			}
			y := head.Forward(mat.NewDense[float32](mat.WithBacking(x)))[0] // [2,1]
			if v := mat.Data[float32](y.Value()); step >= steps/2 && v[label] > v[1-label] {
				right++
			}
			if err := ag.Backward(losses.CrossEntropy(y, label)); err != nil {
				fmt.Println(err)
				return
			}
		}
		optim.ScaleGradients(groups, 1./batch)
		optim.ClipGradNorm(groups, 1)
		if err := optimizer.Step(schedule(step)); err != nil {
			fmt.Println(err)
			return
		}
		optimizer.ZeroGrad()
	}
	fmt.Println("right in the second half:", right > 90*(steps/2)*batch/100)
	// Output: right in the second half: true
}

// A weight goes down the slope of its square by gradient descent with momentum, and the average of its values follows.
func ExampleNewSGD() {
	w := nn.NewParam(mat.Scalar[float32](1))
	params := []optim.Named{{Path: "w", Param: w}}
	optimizer, err := optim.NewSGD([]optim.Group{{Name: "w", Rate: 0.1, Params: params}}, optim.SGDConfig{Momentum: 0.9})
	if err != nil {
		fmt.Println(err)
		return
	}
	average := optim.NewEMA(params)
	schedule := optim.Linear(0, 3)
	for step := range 3 {
		if err := ag.Backward(ag.Square(w)); err != nil {
			fmt.Println(err)
			return
		}
		if err := optimizer.Step(schedule(step)); err != nil {
			fmt.Println(err)
			return
		}
		optimizer.ZeroGrad()
		average.Update(0.5)
		fmt.Printf("%.3f\n", w.Value().Item().F64())
	}
	average.Swap() // to judge, or to save
	fmt.Printf("average %.3f\n", w.Value().Item().F64())
	// Output:
	// 0.800
	// 0.573
	// 0.433
	// average 0.585
}

// The same average, kept beside any optimizer.
func ExampleNewEMA() {
	w := nn.NewParam(mat.Scalar[float32](1))
	average := optim.NewEMA([]optim.Named{{Path: "w", Param: w}}) // begins with 1
	mat.SetData[float32](w.Value().(mat.Matrix), []float32{3})
	average.Update(0.75)
	average.Swap()
	fmt.Println(w.Value().Item().F64())
	// Output: 1.5
}
