package projector_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/tiny"
	"github.com/vitago/vitago/projector"
)

// TestFullSize compares XComposer2-4KHD, XComposer2-VL and LLaVA-1.5 of full width and random weights with
// PyTorch's float32, from picture to tokens.
func TestFullSize(t *testing.T) {
	dir := os.Getenv("VITAGO_FULLSIZE")
	path := filepath.Join(dir, "xcomposer_expected.npz")
	if _, err := os.Stat(path); dir == "" || err != nil {
		t.Skip("VITAGO_FULLSIZE does not name a folder that testdata/gen/xcomposer_full.py wrote to")
	}
	f := golden.LoadFile(t, path)
	source, err := converter.Open(filepath.Join(dir, "xcomposer2-4khd"))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	hd, err := source.Encoder(context.Background(), "xcomposer2-4khd")
	if err != nil {
		t.Fatal(err)
	}
	hd.Layout.HDNum = 2 // as many as two processors bear
	compareFull(t, f, "hd", hd)

	flat := tiny.New(t, projector.New, projector.Config{Type: "mlp2x_gelu", In: hd.Tower.Config.Width, Out: hd.Projector.Config.Out})
	tiny.Load(flat, f, "flat/")
	flat.Freeze()
	e := &projector.Encoder{Tower: hd.Tower, Projector: flat, Select: clipvit.Features{Kind: clipvit.Patches, Layer: -2}, Layout: layout(t, "pad")}
	compareFull(t, f, "llava", e)

	if err := e.Tower.Resize(490, clipvit.BicubicTorch); err != nil {
		t.Fatal(err)
	}
	e.Select.Layer, e.Layout = -1, layout(t, "squash")
	compareFull(t, f, "vl", e)
}

func layout(t *testing.T, name string) projector.Layout {
	t.Helper()
	l, err := projector.FindLayout(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func compareFull(t *testing.T, f *golden.File, family string, e *projector.Encoder) {
	t.Helper()
	sizes, n := f.Int64("pictures"), 0
	for _, name := range f.Names() {
		if !strings.HasPrefix(name, family+"/") {
			continue
		}
		n++
		var i int
		if _, err := fmt.Sscanf(name, family+"/%d/tokens", &i); err != nil {
			t.Fatal(err)
		}
		got, err := e.Tokens(projector.Picture(int(sizes[2*i]), int(sizes[2*i+1])))
		if err != nil {
			t.Fatal(err)
		}
		want := f.Float32(name)
		if shape := got.Shape(); shape[0] != f.Shape(name)[0] || shape[1] != f.Shape(name)[1] {
			t.Errorf("%s: tokens %v, want %v", name, shape, f.Shape(name))
			continue
		}
		d, err := golden.Diff(got.Data().F32(), want)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", name, d)
		// Both are float32, in another order through 24 blocks. The bounds are 1e-3 and 0.99999.
		if !(d.Relative <= 1e-4) || !(d.Cosine >= 0.999999) {
			t.Errorf("%s: %v, want 1e-4 and cosine 0.999999", name, d)
		}
	}
	if n == 0 {
		t.Errorf("no tokens of %s to compare with", family)
	}
}
