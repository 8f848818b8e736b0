package clipvit

import (
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/op"
)

// A Pool is how one row [C] is made of the tokens of an image. The values are those of big_vision's pool_type, but for
// the class token's, which is the zero value.
//
// Source: google-research/big_vision, models/vit.py, _Model.
type Pool string

const (
	// PoolClass takes the class token.
	PoolClass Pool = ""
	// PoolMean takes the mean of all tokens. [Config.Validate] refuses it so far.
	PoolMean Pool = "gap"
	// PoolAttention takes what a learnt query attends to. [Config.Validate] refuses it so far.
	PoolAttention Pool = "map"
)

// pools has those that a tower may have so far. They map tokens [B·T,C] to [B,C].
var pools = map[Pool]func(c Config, tokens mat.Tensor) mat.Tensor{
	PoolClass: Config.classRows,
}

// ClassTokens returns how many tokens stand before the patches: 1, or 0 if the tower has no class token.
func (c Config) ClassTokens() int {
	if c.NoClassToken {
		return 0
	}
	return 1
}

// Tokens returns T = 1+G²: the class token, if there is one, and the patches.
func (c Config) Tokens() int { return c.ClassTokens() + c.Patches() }

// classRows maps tokens [B·T,C] to the class tokens [B,C].
func (c Config) classRows(tokens mat.Tensor) mat.Tensor { return op.ClassRows(tokens, c.Tokens()) }

// classNumbers returns which of the tokens [B·T,C] are class tokens.
func (c Config) classNumbers(tokens mat.Tensor) []int {
	numbers := make([]int, tokens.Shape()[0]/c.Tokens())
	for i := range numbers {
		numbers[i] = i * c.Tokens()
	}
	return numbers
}

// PatchRows maps tokens [B·T,C] to those of the patches [B·G²,C], or to themselves if there are no others.
func (c Config) PatchRows(tokens mat.Tensor) mat.Tensor {
	if c.NoClassToken {
		return tokens
	}
	return op.PatchRows(tokens, c.Tokens())
}
