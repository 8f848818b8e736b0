package finetune

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/projector"
)

// grey writes pictures of one shade each, two classes of them.
func grey(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 12 {
		class := filepath.Join(dir, []string{"dark", "light"}[i/6])
		os.MkdirAll(class, 0o777)
		img := image.NewGray(image.Rect(0, 0, 8, 8))
		for p := range 64 {
			img.Set(p%8, p/8, color.Gray{uint8(20*i + p%7)})
		}
		f, err := os.Create(filepath.Join(class, fmt.Sprint(i)+".png"))
		if err != nil {
			t.Fatal(err)
		}
		png.Encode(f, img)
		f.Close()
	}
	return dir
}

// TestCache: a run learns the same from the cache as from the tower, which is then not asked; but it is where
// pictures are varied.
func TestCache(t *testing.T) {
	pictures := grey(t)
	cache, err := probe.OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	type given struct {
		cache   *probe.Cache
		spoil   bool // the tower, once the run has been prepared
		augment data.Augment
	}
	for _, f := range []clipvit.Features{{}, {Kind: clipvit.Patches, Layer: -2}} {
		history := func(g given) []history.Event {
			m, _ := tinyTower(t, "quickgelu")
			d, err := data.Folder(pictures)
			if err != nil {
				t.Fatal(err)
			}
			c := Config{
				Tower: m, Features: f, Head: NewClassifier(m.Config.EmbedDim, d.Classes), Objective: Classification{}, Cache: g.cache,
				Train:      &data.Loader{Data: d, Config: m.Config, BatchSize: 5, Shuffle: true, Augment: g.augment},
				Validation: &data.Loader{Data: d, Config: m.Config, BatchSize: 5},
			}
			c.Recipe, _ = FindRecipe("probe")
			c.Recipe.Epochs = 3
			if f.Kind == clipvit.Patches {
				p, err := projector.New(projector.Config{Type: "linear", In: m.Config.Width, Out: 2})
				if err != nil {
					t.Fatal(err)
				}
				c.Head = p
				target := make([]float32, 2*m.Config.Patches())
				target[1] = 1
				c.Objective = &Regression{Distance: SquareDistance, Target: func(int) ([]float32, error) { return target, nil }, What: "a constant"}
			}
			tr, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			if g.spoil {
				mat.Data[float32](m.PreNorm.B)[0] += 3
			}
			r, err := tr.Run(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return curve(r.History)
		}
		without := history(given{})
		for _, c := range []struct {
			name string
			given
			same bool
		}{
			{"filling the cache", given{cache: cache}, true},
			{"from the cache", given{cache: cache, spoil: true}, true},
			{"without a cache", given{spoil: true}, false},
			{"varied", given{cache: cache, augment: data.Augment{Brightness: 0.5}}, false},
		} {
			if got := history(c.given); reflect.DeepEqual(got, without) != c.same {
				t.Errorf("%+v, %s: the same history as without the cache: %v, want %v", f, c.name, !c.same, c.same)
			}
		}
	}
}
