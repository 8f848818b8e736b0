package clipvit

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/op"
)

// The zero values are the towers that there are; others count their tokens, and are refused so far.
func TestPool(t *testing.T) {
	c := ViTL14336
	if c.ClassTokens() != 1 || c.Tokens() != 577 {
		t.Errorf("%d class tokens of %d, want 1 of 577", c.ClassTokens(), c.Tokens())
	}
	text, err := json.Marshal(c)
	if err != nil || strings.Contains(string(text), "pool") || strings.Contains(string(text), "no_") {
		t.Errorf("%s, %v", text, err)
	}
	for want, change := range map[string]func(c *Config){
		`pool is "gap", want ""`:  func(c *Config) { c.Pool = PoolMean },
		`pool is "map", want ""`:  func(c *Config) { c.Pool = PoolAttention },
		`pool is "last", want ""`: func(c *Config) { c.Pool = "last" },
		"no class token":          func(c *Config) { c.NoClassToken = true },
		"no norm before":          func(c *Config) { c.NoPreNorm = true },
	} {
		c := ViTL14336
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error is %v, want one with %q", c, err, want)
		}
	}
	if err := (Features{Kind: ClassToken, Layer: -1}).Validate(c); err != nil {
		t.Error(err)
	}
	if c.NoClassToken = true; c.ClassTokens() != 0 || c.Tokens() != 576 {
		t.Errorf("%d class tokens of %d, want 0 of 576", c.ClassTokens(), c.Tokens())
	}
	if err := (Features{Kind: ClassToken, Layer: -1}).Validate(c); err == nil || !strings.Contains(err.Error(), "no class token and so no cls: take mean, patches or all") {
		t.Errorf("error is %v, want that there is no class token", err)
	}
}

// The rows of the class tokens and those of the patches are all tokens.
func TestRows(t *testing.T) {
	c := Config{ImageSize: 4, PatchSize: 2, Width: 2}
	x := make([]float32, 2*5*2) // two images
	for i := range x {
		x[i] = float32(i)
	}
	tokens := matrix(x, []int{2 * 5, 2})
	for name, w := range map[string]struct {
		got  []float32
		want []float32
	}{
		"class":   {pools[PoolClass](c, tokens).Value().Data().F32(), []float32{0, 1, 10, 11}},
		"patches": {c.PatchRows(tokens).Value().Data().F32(), slices.Concat(x[2:10], x[12:])},
		"means":   {patchMeans(x, c).Data().F32(), []float32{5, 6, 15, 16}},
	} {
		if !slices.Equal(w.got, w.want) {
			t.Errorf("%s: got %v, want %v", name, w.got, w.want)
		}
	}
	c.NoClassToken = true
	if got := c.PatchRows(tokens); got != tokens {
		t.Error("without a class token, all tokens are patches")
	}
	if got, want := patchMeans(x[:16], c).Data().F32(), []float32{3, 4, 11, 12}; !slices.Equal(got, want) {
		t.Errorf("means are %v, want %v", got, want)
	}
}

// Stem, blocks and head are all of a tower, once each and in its order.
func TestStemAndHead(t *testing.T) {
	for _, change := range []func(c *Config){func(*Config) {}, func(c *Config) { c.EmbedDim = 0 }, func(c *Config) { c.EmbedDim, c.NoPostNorm = 0, true }} {
		c := Config{ImageSize: 4, PatchSize: 2, Width: 8, Heads: 2, Layers: 2, MLPWidth: 12, EmbedDim: 4, Activation: "gelu", NormEps: 1e-5}
		change(&c)
		m, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		got := m.Stem()
		for _, b := range m.Blocks {
			nn.ForEachParam(b, func(p *nn.Param) { got = append(got, p) })
		}
		got = append(got, m.Head()...)
		var want []*nn.Param
		nn.ForEachParam(m, func(p *nn.Param) { want = append(want, p) })
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %d parameters, want %d", c, len(got), len(want))
		}
	}
}

// Features of the whole tower are of the row that its pool makes: of a tower with another pool than the class token, the norm of the
// means is the post-norm's, and the embedding is that of Probe. Kinds of a layer do not ask the pool.
func TestFeaturesPool(t *testing.T) {
	m, f := tinyTower(t, "quick_gelu")
	m.Freeze()
	patches := matrix(f.Float32("patches"), f.Shape("patches"))
	of := func(f Features) []float32 {
		t.Helper()
		x, err := f.Of(m, patches)
		if err != nil {
			t.Fatal(err)
		}
		return x.Value().Data().F32()
	}
	class, means := of(Features{Kind: ClassToken, Layer: -1}), of(Features{Kind: PatchMean, Layer: -1})
	pools[PoolMean] = func(c Config, tokens mat.Tensor) mat.Tensor {
		return patchMeans(op.CopyRows(tokens).Value().Data().F32(), c)
	}
	defer delete(pools, PoolMean)
	m.Config.Pool = PoolMean
	want := op.LayerNorm(matrix(means, []int{len(means) / m.Config.Width, m.Config.Width}), m.PostNorm).Value().Data().F32()
	if got := of(Features{Kind: PostNorm}); !slices.Equal(got, want) {
		t.Errorf("post-norm of the means: got %v, want %v", got, want)
	}
	if got, want := of(Features{Kind: Embedding}), m.Probe(patches, func(string, mat.Tensor) {}).Value().Data().F32(); !slices.Equal(got, want) {
		t.Errorf("embedding: got %v, want %v", got, want)
	}
	if got := of(Features{Kind: ClassToken, Layer: -1}); !slices.Equal(got, class) {
		t.Errorf("class token: got %v, want %v", got, class)
	}
}
