package finetune

import (
	"errors"
	"fmt"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/op"
)

// Features says what of a tower a head gets. The zero value is the embedding [B,E].
type Features struct {
	Patches bool // the tokens of the patches [B·G²,C] that leave Layer, without the class token
	Layer   int  // as for [clipvit.Model.Features]
}

// Validate returns nil if m has such features.
func (f Features) Validate(m *clipvit.Model) error {
	switch n := len(m.Blocks); {
	case !f.Patches && m.PostNorm == nil:
		return errors.New("finetune: the tower has no post-norm, and so no embedding; want patches of a layer")
	case f.Patches && (f.Layer < -(n+1) || f.Layer > n):
		return fmt.Errorf("finetune: layer is %d, want %d to %d", f.Layer, -(n + 1), n)
	}
	return nil
}

// blocks returns how many blocks of m are used.
func (f Features) blocks(m *clipvit.Model) int {
	switch n := len(m.Blocks); {
	case !f.Patches:
		return n
	case f.Layer < 0:
		return f.Layer + n + 1
	default:
		return f.Layer
	}
}

// rows returns how many rows a batch has.
func (f Features) rows(c clipvit.Config, batch int) int64 {
	if f.Patches {
		return int64(batch) * int64(c.Patches())
	}
	return int64(batch)
}

// width returns the columns of the features.
func (f Features) width(c clipvit.Config) int {
	if f.Patches {
		return c.Width
	}
	return c.OutputDim()
}

// probe returns the same features as package probe has them.
func (f Features) probe() probe.Features {
	if f.Patches {
		return probe.Features{Kind: probe.Patches, Layer: f.Layer}
	}
	return probe.Features{Kind: probe.Embedding}
}

// of computes the features of patches [B·G²,3P²].
func (f Features) of(m *clipvit.Model, patches mat.Tensor) mat.Tensor {
	if !f.Patches {
		return m.Embedding(patches) // [B,E]
	}
	x, err := m.Features(patches, f.Layer) // [B·T,C]
	if err != nil {
		panic(err) // Validate knows the layers
	}
	return op.Release(op.PatchRows(x, m.Config.Tokens()), x) // [B·G²,C]
}
