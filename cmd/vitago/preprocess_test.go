package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/golden"
)

// transformPicture writes a picture of testdata/gen/transforms.py into a folder, and returns its path.
func transformPicture(t *testing.T, name string) string {
	t.Helper()
	z, err := zip.OpenReader(golden.Path(t, "testdata/pillow/transforms.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(name))
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// features returns the only vector that encode writes.
func features(t *testing.T, what string, args ...string) []float32 {
	t.Helper()
	r := vitago(append([]string{"encode"}, args...)...)
	if r.status != 0 {
		t.Fatalf("%q: %s", args, r.err)
	}
	var v map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatal(err)
	}
	var x []float32
	if err := json.Unmarshal(v[what], &x); err != nil {
		t.Fatalf("%q: no %s in %.200s: %v", args, what, r.out, err)
	}
	return x
}

// TestPreprocessFlags: encode prepares images as its flags say, which package clipvit holds against Python's libraries.
func TestPreprocessFlags(t *testing.T) {
	path := transformPicture(t, "rgba-101x33.png")
	turned := transformPicture(t, "orientation/exif6.jpg")
	model := golden.Path(t, "testdata/tiny/huggingface")
	for _, c := range []struct {
		args    []string
		picture string
		want    clipvit.Transform
	}{
		{nil, path, clipvit.Transform{Rounding: "transformers", Alpha: "white"}},
		{[]string{"--preprocess", "openai"}, path, clipvit.Transform{}},
		{[]string{"--preprocess", "open_clip", "--fit", "squash"}, path, clipvit.Transform{Fit: "squash"}},
		{[]string{"--preprocess", "immich"}, path, clipvit.Transform{Rounding: "immich", Alpha: "drop-first"}},
		{[]string{"--preprocess", "transformers-5.20"}, path, clipvit.Transform{Rounding: "transformers", Alpha: "drop-first"}},
		{[]string{"--fit", "pad"}, path, clipvit.Transform{Fit: "pad", Fill: [3]uint8{122, 116, 104}, Alpha: "white"}},
		{[]string{"--fit", "crop"}, path, clipvit.Transform{Rounding: "transformers", Alpha: "white"}},
		{[]string{"--fit", "longest"}, path, clipvit.Transform{Fit: "longest", Alpha: "white"}},
		{[]string{"--exif"}, turned, clipvit.Transform{Rounding: "transformers", Alpha: "white", EXIF: true}},
	} {
		m, err := converter.Load(model)
		if err != nil {
			t.Fatal(err)
		}
		m.Config.Transform = c.want
		raw, err := os.ReadFile(c.picture)
		if err != nil {
			t.Fatal(err)
		}
		img, err := clipvit.DecodeImage(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		want, err := m.Encode(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		got := features(t, "embedding", append([]string{"--model", model, c.picture}, c.args...)...)
		for i, v := range got {
			if v != want[0][i] {
				t.Errorf("%q: value %d is %v, want %v", c.args, i, v, want[0][i])
				break
			}
		}
	}
	straight := features(t, "embedding", "--model", model, turned)
	if upright := features(t, "embedding", "--model", model, "--exif", turned); straight[0] == upright[0] {
		t.Error("--exif turns nothing")
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"encode", "--model", model, "--preprocess", "keras", path}, "openai"},
		{[]string{"encode", "--model", model, "--fit", "stretch", path}, "squash"},
		{[]string{"tokens", "--model", golden.Path(t, "testdata/families/llava"), "--fit", "squash", path}, "fit"},
	} {
		if r := vitago(c.args...); r.status != 2 || !strings.Contains(r.err, c.want) {
			t.Errorf("%q: status %d, %s", c.args, r.status, r.err)
		}
	}
	// A photograph that is turned has the tokens of its upright size.
	llava := golden.Path(t, "testdata/families/hf5-llava-next")
	for flag, want := range map[string]string{"": "\t23x14\t", "--exif": "\t14x23\t"} {
		args := []string{"tokens", "--model", llava, "--count", turned}
		if flag != "" {
			args = append(args, flag)
		}
		if r := vitago(args...); r.status != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%q: status %d, %s%s, want %q", args, r.status, r.out, r.err, want)
		}
	}
}

// TestPostNormByName: what a tower without a projection gives has its name, in lines, in files and on standard error.
func TestPostNormByName(t *testing.T) {
	path := transformPicture(t, "rgb-57x41.png")
	model := golden.Path(t, "testdata/families/llava")
	x := features(t, "post_norm", "--model", model, path)
	if y := features(t, "post_norm", "--model", model, "--features", "post_norm", path); len(y) != len(x) || y[0] != x[0] {
		t.Errorf("by its name it is %v, want %v", y, x)
	}
	out := filepath.Join(t.TempDir(), "x.safetensors")
	r := vitago("encode", "--model", model, "-o", out, path)
	raw, err := os.ReadFile(out)
	if err != nil || r.status != 0 || !strings.Contains(r.err, "post_norm") || strings.Contains(r.err, "embedding") || !strings.Contains(string(raw), `"post_norm":{"dtype":"F32"`) {
		t.Errorf("status %d, %v: %s", r.status, err, r.err)
	}
	// A tower with a projection has both.
	hf := golden.Path(t, "testdata/tiny/huggingface")
	if e, p := features(t, "embedding", "--model", hf, path), features(t, "post_norm", "--model", hf, "--features", "post_norm", path); len(e) == len(p) {
		t.Errorf("both have %d numbers", len(e))
	}
}
