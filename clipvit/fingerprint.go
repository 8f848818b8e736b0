package clipvit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/vitago/vitago/clipvit/transformer"
)

// Fingerprint returns 64 hexadecimal digits that change with anything of the tower that the features
// depend on, and with nothing else: two towers whose first blocks are the same have the same for the tokens
// that leave those blocks. Which precision the weights are kept in does not matter, but what
// [Model.Quantize] or [Model.ToBF16] made of them does.
func (f Features) Fingerprint(m *Model) (string, error) {
	if err := f.Validate(m.Config); err != nil {
		return "", err
	}
	c, n := m.Config, f.Blocks(m.Config)
	c.Transform = c.Transform.Canonical() // one name for one thing
	c.Layers = n
	if f.Kind != Embedding {
		c.EmbedDim = 0
	}
	c.NoPostNorm = f.HasLayer()
	if c.NoPostNorm {
		c.EmbedDim = 0
	}
	config, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("clipvit: %w", err)
	}
	h := sha256.New()
	h.Write(config)
	transformer.Hash(h, m, m.Blocks[:n], func(path string) bool { return uses(f, path, n) })
	return hex.EncodeToString(h.Sum(nil)), nil
}

// uses says whether the features depend on a parameter, if they do on n blocks.
func uses(f Features, path string, n int) bool {
	switch first, rest, _ := strings.Cut(path, "."); first {
	case "Blocks":
		number, _, _ := strings.Cut(rest, ".")
		i, err := strconv.Atoi(number)
		return err != nil || i < n
	case "PostNorm":
		return !f.HasLayer()
	case "Proj":
		return f.Kind == Embedding
	}
	return true
}
