package kernel

import "fmt"

// An Activation is the nonlinearity that the epilogue of a product applies. Its values are the names that
// Hugging Face's config.json has for it, which configurations and saved models hold.
type Activation string

const (
	// None leaves the product as it is.
	None Activation = ""
	// QuickGELU is x·σ(1.702·x): what OpenAI trained with.
	QuickGELU Activation = "quick_gelu"
	// GELU is x·Φ(x) with the exact error function.
	GELU Activation = "gelu"
)

// An activation is how an Activation is computed.
type activation struct {
	name Activation
	bias func(y, x, bias []float32) // y = f(x + bias)
	grad func(gx, gy, x []float32)  // gx = gy·f'(x)
}

// activations are all that there are but None.
var activations = []activation{
	{QuickGELU, quickGELUBias, quickGELUGrad},
	{GELU, geluBias, geluGrad},
}

// Activations returns the names of all activations but None.
func Activations() (names []Activation) {
	for _, a := range activations {
		names = append(names, a.name)
	}
	return names
}

// Valid reports whether f is one of [Activations].
func (f Activation) Valid() bool {
	for i := range activations {
		if activations[i].name == f {
			return true
		}
	}
	return false
}

// of returns how f is computed, or nil for None. Configurations are validated long before.
func (f Activation) of() *activation {
	if f == None {
		return nil
	}
	for i := range activations {
		if activations[i].name == f {
			return &activations[i]
		}
	}
	panic(fmt.Sprintf("kernel: activation is %q, want one of %q", string(f), Activations()))
}
