package transformer

import "github.com/vitago/vitago/internal/kernel"

// An Activation is the nonlinearity of the MLP.
type Activation = kernel.Activation

const (
	// QuickGELU is x·σ(1.702·x): what OpenAI trained with.
	QuickGELU = kernel.QuickGELU
	// GELU is x·Φ(x) with the exact error function.
	GELU = kernel.GELU
)

// Activations returns all that there are.
func Activations() []Activation { return kernel.Activations() }

// Config says which transformer a tower is made of. The letters are those of package clipvit's legend.
type Config struct {
	Width      int        // C
	Heads      int        // H
	Layers     int        // L
	MLPWidth   int        // F
	Activation Activation // of the MLP
	NormEps    float64    // added to the variance by every layer norm
	Causal     bool       // a token sees itself and those before it, as in a text
}
