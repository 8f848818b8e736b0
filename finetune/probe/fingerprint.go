package probe

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
)

// vectorLen returns D if the features are one vector [D] a picture.
func vectorLen(f clipvit.Features, c clipvit.Config) (int, error) {
	shape, err := f.Shape(c)
	if err != nil {
		return 0, fmt.Errorf("probe: %w", err)
	}
	if len(shape) != 1 {
		return 0, fmt.Errorf("probe: %s are %d vectors a picture, want one: take %s, %s, %s or %s", f.Kind, shape[0],
			clipvit.Embedding, clipvit.PostNorm, clipvit.ClassToken, clipvit.PatchMean)
	}
	return shape[0], nil
}

func values(x mat.Tensor) []float32 { return mat.Data[float32](x.Value().(mat.Matrix)) }

// Fingerprint returns 64 hexadecimal digits that change with anything of the tower that the features
// depend on, and with nothing else: two towers whose first blocks are the same have the same for the tokens
// that leave those blocks. Which precision the weights are kept in does not matter, but what
// [clipvit.Model.Quantize] made of them does.
func Fingerprint(m *clipvit.Model, f clipvit.Features) (string, error) {
	if err := f.Validate(m.Config); err != nil {
		return "", fmt.Errorf("probe: %w", err)
	}
	c, n := m.Config, f.Blocks(m.Config)
	c.Transform = c.Transform.Canonical() // one name for one thing
	c.Layers = n
	if f.Kind != clipvit.Embedding {
		c.EmbedDim = 0
	}
	c.NoPostNorm = f.HasLayer()
	if c.NoPostNorm {
		c.EmbedDim = 0
	}
	config, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("probe: %w", err)
	}
	h := sha256.New()
	h.Write(config)
	for i, b := range m.Blocks[:n] {
		for _, l := range slices.Concat(b.Attn.QKVLoRA, b.Attn.OutLoRA, b.MLP.UpLoRA, b.MLP.DownLoRA) {
			fmt.Fprintf(h, "\n%d %v %d", i, l.Scale, l.At) // which are no parameters
		}
	}
	chunk := make([]byte, 0, 1<<16)
	params.Walk(m, func(path string, p *nn.Param) {
		if !uses(f, path, n) {
			return
		}
		fmt.Fprintf(h, "\n%s %v %t\n", path, p.Shape(), op.Quantized(p))
		for part := range slices.Chunk(values(p), cap(chunk)/4) {
			chunk = chunk[:0]
			for _, v := range part {
				chunk = binary.LittleEndian.AppendUint32(chunk, math.Float32bits(v))
			}
			h.Write(chunk)
		}
	})
	return hex.EncodeToString(h.Sum(nil)), nil
}

// uses says whether the features depend on a parameter, if they do on n blocks.
func uses(f clipvit.Features, path string, n int) bool {
	switch first, rest, _ := strings.Cut(path, "."); first {
	case "Blocks":
		number, _, _ := strings.Cut(rest, ".")
		i, err := strconv.Atoi(number)
		return err != nil || i < n
	case "PostNorm":
		return !f.HasLayer()
	case "Proj":
		return f.Kind == clipvit.Embedding
	}
	return true
}
