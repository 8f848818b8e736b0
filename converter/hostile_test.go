package converter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// TestDamagedStorage: data that the checksum of the archive contradicts is an error before anything
// is used or written.
func TestDamagedStorage(t *testing.T) {
	b, err := os.ReadFile(golden.Path(t, "testdata/tiny/openai_torch1.7.1.pt"))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/3] ^= 1
	path := filepath.Join(t.TempDir(), "x.pt")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "out")
	_, convertErr := convertFile(t.Context(), path, dst, Options{})
	_, loadErr := Load(path)
	_, inspectErr := Inspect(t.Context(), path)
	for what, err := range map[string]error{"Convert": convertErr, "Load": loadErr, "Inspect": inspectErr} {
		if err == nil || !strings.Contains(err.Error(), "is damaged: its CRC-32 is") {
			t.Errorf("%s: %v, want that a storage is damaged", what, err)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(dst)); len(left) != 0 {
		t.Errorf("a failed conversion left %v", left)
	}
}

// TestMismatch: everything that is wrong is said, and at once.
func TestMismatch(t *testing.T) {
	whole := contents(t, golden.Path(t, "testdata/tiny/openai_torch1.13.1.pt"))
	find := func(all []named, name string) *named {
		for i := range all {
			if all[i].name == name {
				return &all[i]
			}
		}
		t.Fatalf("no tensor %s", name)
		return nil
	}
	without := func(all []named, names ...string) (left []named) {
		for _, x := range all {
			if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+x.name+" ") {
				left = append(left, x)
			}
		}
		return left
	}
	add := func(all []named, name string) []named {
		return append(all, named{name, F32, []int{1}, make([]byte, 4)})
	}
	for _, c := range []struct {
		name                        string
		edit                        func(all []named) []named
		missing, unexpected, shapes []string
	}{
		{"missing", func(a []named) []named { return without(a, "visual.proj", "ln_final.bias") }, []string{"visual.proj", "ln_final.bias"}, nil, nil},
		{"unexpected", func(a []named) []named { return add(add(a, "visual.extra"), "logits") }, nil, []string{"visual.extra", "logits"}, nil},
		{"shape", func(a []named) []named {
			x := find(a, "visual.transformer.resblocks.1.mlp.c_fc.weight")
			x.shape = []int{64, 256}
			return a
		}, nil, nil, []string{"visual.transformer.resblocks.1.mlp.c_fc.weight: shape [64 256], want [256 64]"}},
		{"flattened", func(a []named) []named { find(a, "visual.conv1.weight").shape = []int{64, 108}; return a }, nil, nil, []string{"visual.conv1.weight: shape [64 108], want [64 3 P P]"}},
		{"integers", func(a []named) []named { find(a, "visual.ln_pre.weight").dtype = "I32"; return a }, nil, nil, []string{"visual.ln_pre.weight: elements are I32, want floating point"}},
		{"block far away", func(a []named) []named { return add(a, "visual.transformer.resblocks.999999999.ln_1.weight") }, nil, []string{"visual.transformer.resblocks.999999999.ln_1.weight"}, nil},
		{"number with a zero", func(a []named) []named { return add(a, "visual.transformer.resblocks.01.ln_1.weight") }, nil, []string{"visual.transformer.resblocks.01.ln_1.weight"}, nil},
		{"all at once", func(a []named) []named {
			find(a, "text_projection").shape = []int{10, 64}
			return add(without(a, "visual.class_embedding"), "x")
		}, []string{"visual.class_embedding"}, []string{"x"}, []string{"text_projection: shape [10 64], want [64 10]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := append([]named(nil), whole...)
			path, dst := filepath.Join(t.TempDir(), "x"), filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(path, asSafetensors(t, c.edit(all)), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := convertFile(t.Context(), path, dst, Options{})
			var wrong *MismatchError
			if !errors.As(err, &wrong) {
				t.Fatalf("error is %v, want a MismatchError", err)
			}
			if fmt.Sprint(wrong.Missing, wrong.Unexpected, wrong.Shapes) != fmt.Sprint(c.missing, c.unexpected, c.shapes) {
				t.Errorf("got %q %q %q, want %q %q %q", wrong.Missing, wrong.Unexpected, wrong.Shapes, c.missing, c.unexpected, c.shapes)
			}
			for _, l := range [][]string{c.missing, c.unexpected, c.shapes} {
				for _, w := range l {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("error is %q, want %q in it", err, w)
					}
				}
			}
			if _, err := os.Stat(dst); err == nil {
				t.Error("something was written")
			}
			if _, err := Load(path); !errors.As(err, &wrong) {
				t.Errorf("Load: %v, want a MismatchError", err)
			}
		})
	}
	t.Run("no CLIP", func(t *testing.T) {
		if _, err := openBytes(noCLIP(t)); err == nil || !strings.Contains(err.Error(), "none of 1 tensors has a name of CLIP's (w") {
			t.Errorf("error is %v", err)
		}
	})
}
