package embeddings

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/vitago/vitago/clip"
)

// A tower is one of a model's: how it is loaded, and how its parameters are called.
type tower struct {
	mine   func(path string) bool                    // whether a parameter is of it
	config func(ctx context.Context) (any, error)    // all but the parameters that its vectors depend on; it loads the tower
	slow   func(ctx context.Context) (string, error) // the fingerprint of one that comes from no file
}

func vision(m *clip.Model) tower {
	return tower{
		func(path string) bool {
			return !strings.HasPrefix(path, "Text.") && !strings.HasPrefix(path, "Projector.") && path != "LogitScale"
		},
		func(ctx context.Context) (any, error) {
			v, err := m.Vision(ctx)
			if err != nil {
				return nil, err
			}
			c := v.Config
			c.Transform = c.Transform.Canonical() // one name for one thing
			r := v.Blocks.Rounding()
			if r == "bf16" {
				return []any{c, false, r}, nil
			}
			return []any{c, r == "int8"}, nil
		},
		m.VisionFingerprint,
	}
}

func text(m *clip.Model) tower {
	return tower{
		func(path string) bool { return strings.HasPrefix(path, "Text.") && path != "Text.LogitScale" },
		func(ctx context.Context) (any, error) {
			k, _, err := m.Tokenizer()
			if err != nil {
				return nil, err
			}
			t, err := m.Text(ctx)
			if err != nil {
				return nil, err
			}
			if r := t.Blocks.Rounding(); r != "f32" {
				return []any{t.Config, k.Fingerprint(), r}, nil
			}
			return []any{t.Config, k.Fingerprint()}, nil
		},
		m.TextFingerprint,
	}
}

// fingerprint returns 64 hexadecimal digits that change with the model, and loads the tower meanwhile. Those of package clip
// hash the weights as they are computed with, which takes longer than loading them; these are for a file that is there, and take
// no time beside that.
func (t tower) fingerprint(ctx context.Context, m *clip.Model) (string, error) {
	c := m.Checkpoint()
	if c == nil {
		return t.slow(ctx)
	}
	type result struct {
		sums string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var all strings.Builder
		scratch := make([]byte, 1<<18)
		for _, p := range c.Parameters() {
			if !t.mine(p.Path) {
				continue
			}
			sum, err := p.Checksum(scratch)
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				done <- result{err: err}
				return
			}
			fmt.Fprintf(&all, "%s %v %s %08x\n", p.Path, p.Shape(), p.DType(), sum)
		}
		done <- result{sums: all.String()}
	}()
	config, err := t.config(ctx)
	r := <-done // whatever comes of it: who has the model may close it then
	if err != nil {
		return "", err
	}
	if r.err != nil {
		return "", r.err
	}
	says, err := json.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("embeddings: %w", err)
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%s\n%s", says, r.sums))
	return hex.EncodeToString(h[:]), nil
}
