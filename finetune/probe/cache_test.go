package probe

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/golden"
)

// tower returns the tiny tower of the demonstration.
func tower(t testing.TB) *clipvit.Model {
	t.Helper()
	m, err := converter.Load(golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func openSpace(t *testing.T, dir string, m *clipvit.Model, f clipvit.Features) *Space {
	t.Helper()
	c, err := OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Space(m, f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCache(t *testing.T) {
	m, dir := tower(t), t.TempDir()
	s := openSpace(t, dir, m, clipvit.Features{Kind: clipvit.Embedding})
	x := make([]float32, s.Len())
	for i := range x {
		x[i] = float32(i) - 0.5
	}
	k := KeyOf([]byte("a picture"))
	if got, err := s.Get(k); got != nil || err != nil {
		t.Errorf("an empty cache has %v, %v", got, err)
	}
	if err := s.Put(k, x[1:]); err == nil {
		t.Error("too few features are no error")
	}
	if err := s.Put(k, x); err != nil {
		t.Fatal(err)
	}
	if got, err := openSpace(t, dir, m, clipvit.Features{Kind: clipvit.Embedding}).Get(k); !slices.Equal(got, x) || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, x)
	}
	if got, err := s.Get(KeyOf([]byte("another"))); got != nil || err != nil {
		t.Errorf("another picture has %v, %v", got, err)
	}
	// Damage of any kind is absence, and is written over.
	whole, err := os.ReadFile(s.path(k))
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(whole)
	flipped[5] ^= 1
	for name, content := range map[string][]byte{
		"empty": {}, "short": whole[:len(whole)-1], "long": append(slices.Clone(whole), 0), "flipped": flipped,
	} {
		if err := os.WriteFile(s.path(k), content, 0o666); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(k); got != nil || err != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if err := s.Put(k, x); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(k); !slices.Equal(got, x) || err != nil {
		t.Errorf("after damage: got %v, %v, want %v", got, err, x)
	}
	if files, err := filepath.Glob(filepath.Join(s.dir, "*", ".*")); err != nil || len(files) > 0 {
		t.Errorf("left behind: %q, %v", files, err)
	}
}

// Any number may write and read the same features: what is read is whole or not there.
func TestCacheConcurrently(t *testing.T) {
	m, dir := tower(t), t.TempDir()
	k := KeyOf([]byte("a picture"))
	var wg sync.WaitGroup
	for range 8 {
		s := openSpace(t, dir, m, clipvit.Features{Kind: clipvit.AllTokens, Layer: -1})
		x := slices.Repeat([]float32{1.5}, s.Len())
		wg.Go(func() {
			for range 50 {
				if err := s.Put(k, x); err != nil {
					t.Error(err)
				}
				if got, err := s.Get(k); !slices.Equal(got, x) || err != nil {
					t.Errorf("got %d features, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
}

// Each space holds what a tower, its input and a kind of features decide.
func TestSpaces(t *testing.T) {
	dir := t.TempDir()
	m := tower(t)
	last := m.Config.Layers
	seen := map[string]string{}
	for name, change := range map[string]func() (*clipvit.Model, clipvit.Features){
		"embedding": func() (*clipvit.Model, clipvit.Features) { return m, clipvit.Features{Kind: clipvit.Embedding} },
		"post-norm": func() (*clipvit.Model, clipvit.Features) { return m, clipvit.Features{Kind: clipvit.PostNorm} },
		"class": func() (*clipvit.Model, clipvit.Features) {
			return m, clipvit.Features{Kind: clipvit.ClassToken, Layer: -1}
		},
		"mean": func() (*clipvit.Model, clipvit.Features) {
			return m, clipvit.Features{Kind: clipvit.PatchMean, Layer: -1}
		},
		"layer": func() (*clipvit.Model, clipvit.Features) {
			return m, clipvit.Features{Kind: clipvit.ClassToken, Layer: -2}
		},
		"projection": func() (*clipvit.Model, clipvit.Features) {
			m := tower(t)
			m.Unfreeze()
			m.Proj.Data().F32()[3]++
			return m, clipvit.Features{Kind: clipvit.Embedding}
		},
		"int8": func() (*clipvit.Model, clipvit.Features) {
			m := tower(t)
			m.Quantize()
			return m, clipvit.Features{Kind: clipvit.Embedding}
		},
		"rounded, computed in float32": func() (*clipvit.Model, clipvit.Features) {
			m := tower(t)
			m.Quantize()
			m.Unfreeze()
			return m, clipvit.Features{Kind: clipvit.Embedding}
		},
		"norm": func() (*clipvit.Model, clipvit.Features) {
			m := tower(t)
			m.Config.NormEps *= 2
			return m, clipvit.Features{Kind: clipvit.Embedding}
		},
		"transform": func() (*clipvit.Model, clipvit.Features) {
			m := tower(t)
			m.Config.Transform.Std, m.Config.Transform.Mean = [3]float64{0.5, 0.5, 0.5}, [3]float64{0.5, 0.5, 0.5}
			return m, clipvit.Features{Kind: clipvit.Embedding}
		},
		"filter": func() (*clipvit.Model, clipvit.Features) {
			m := tower(t)
			m.Config.Transform.Filter = "bilinear"
			return m, clipvit.Features{Kind: clipvit.Embedding}
		},
		"LoRA": func() (*clipvit.Model, clipvit.Features) {
			m := tower(t)
			m.Blocks[0].Attn.OutLoRA = append(m.Blocks[0].Attn.OutLoRA, transformer.NewLoRA(1, m.Config.Width, 0, m.Config.Width, 2))
			return m, clipvit.Features{Kind: clipvit.Embedding}
		},
	} {
		model, f := change()
		s := openSpace(t, dir, model, f)
		if twin := seen[s.dir]; twin != "" {
			t.Errorf("%s is where %s is", name, twin)
		}
		seen[s.dir] = name
	}
	for name, same := range map[string]func() (*clipvit.Model, clipvit.Features, string){
		"unfrozen": func() (*clipvit.Model, clipvit.Features, string) {
			m := tower(t)
			m.Unfreeze()
			return m, clipvit.Features{Kind: clipvit.Embedding}, "embedding"
		},
		"the transform written out": func() (*clipvit.Model, clipvit.Features, string) {
			m := tower(t)
			m.Config.Transform = m.Config.Transform.Resolved()
			return m, clipvit.Features{Kind: clipvit.Embedding}, "embedding"
		},
		"counted from the front": func() (*clipvit.Model, clipvit.Features, string) {
			return m, clipvit.Features{Kind: clipvit.ClassToken, Layer: last}, "class"
		},
		"a later block was tuned": func() (*clipvit.Model, clipvit.Features, string) {
			m := tower(t)
			m.Unfreeze()
			m.Blocks[last-1].MLP.Up.W.Data().F32()[0]++
			m.PostNorm.W.Data().F32()[0]++
			m.Proj.Data().F32()[0]++
			return m, clipvit.Features{Kind: clipvit.ClassToken, Layer: -2}, "layer"
		},
	} {
		model, f, want := same()
		if got := seen[openSpace(t, dir, model, f).dir]; got != want {
			t.Errorf("%s: where %q is, want %q", name, got, want)
		}
	}
	about, err := os.ReadFile(filepath.Join(openSpace(t, dir, m, clipvit.Features{Kind: clipvit.ClassToken, Layer: -1}).dir, "about.json"))
	if err != nil || !strings.Contains(string(about), `"kind": "cls"`) {
		t.Errorf("about.json is %s, %v", about, err)
	}
}

func TestFeatureErrors(t *testing.T) {
	m := tower(t)
	bare := *m
	bare.Config.NoPostNorm, bare.Config.EmbedDim, bare.PostNorm, bare.Proj = true, 0, nil, nil
	for _, c := range []struct {
		m    *clipvit.Model
		f    clipvit.Features
		want string
	}{
		{m, clipvit.Features{}, `features are "", want embedding`},
		{m, clipvit.Features{Kind: clipvit.Embedding, Layer: 1}, "layer is 1, but embedding has none"},
		{m, clipvit.Features{Kind: clipvit.ClassToken, Layer: 99}, "layer is 99, want"},
		{m, clipvit.Features{Kind: clipvit.ClassToken, Layer: -99}, "layer is -99, want"},
		{&bare, clipvit.Features{Kind: clipvit.PostNorm}, "no post-norm and so no post_norm"},
	} {
		if _, err := c.f.Shape(c.m.Config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want one with %q", c.f, err, c.want)
		}
		if _, err := c.f.Fingerprint(c.m); err == nil {
			t.Errorf("%v has a fingerprint", c.f)
		}
	}
	if _, err := vectorLen(clipvit.Features{Kind: clipvit.Patches, Layer: -1}, m.Config); err == nil || !strings.Contains(err.Error(), "vectors a picture, want one") {
		t.Errorf("patches: error %v", err)
	}
	if _, err := OpenCache(filepath.Join(golden.Path(t, "go.mod"), "x")); err == nil {
		t.Error("a cache below a file is no error")
	}
}
