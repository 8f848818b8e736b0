package transformer

import (
	"fmt"

	"github.com/vitago/vitago/internal/kernel"
)

// An Activation is the nonlinearity of the MLP: a string, which is its name in the config.json of Hugging Face. Its
// method Valid reports whether it is one of [Activations].
type Activation = kernel.Activation

const (
	// QuickGELU, "quick_gelu", is x·σ(1.702·x): what OpenAI trained with.
	QuickGELU = kernel.QuickGELU
	// GELU, "gelu", is x·Φ(x) with the exact error function.
	GELU = kernel.GELU
)

// Activations returns all activations that a tower may have.
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

// MaxDim bounds every size, so that no Config asks for more memory than a machine has. Real towers are far below.
const MaxDim = 1 << 20

// Check returns everything that is wrong with c, as errors of the package whose tower is made of it.
func (c Config) Check(pkg string) (errs []error) {
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(pkg+": "+format, args...)) }
	for _, f := range []struct {
		name string
		v    int
	}{{"width", c.Width}, {"heads", c.Heads}, {"layers", c.Layers}, {"MLP width", c.MLPWidth}} {
		if f.v < 1 || f.v > MaxDim {
			add("%s is %d, want 1 to %d", f.name, f.v, MaxDim)
		}
	}
	if len(errs) == 0 && c.Width%c.Heads != 0 {
		add("width %d is not a multiple of the %d heads", c.Width, c.Heads)
	}
	if !c.Activation.Valid() {
		add("activation is %q, want one of %q", c.Activation, Activations())
	}
	if !(c.NormEps > 0 && c.NormEps < 1) {
		add("norm epsilon is %v, want above 0 and below 1", c.NormEps)
	}
	return errs
}
