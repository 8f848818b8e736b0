package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/projector"
)

// directTokens computes the tokens of an image by a call of the encoder, [N,O].
func directTokens(t *testing.T, model, layout string, hdNum int, path string) (x []float32, shape []int) {
	t.Helper()
	source, err := converter.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	e, err := source.Encoder(t.Context(), layout)
	if err != nil {
		t.Fatal(err)
	}
	if hdNum > 0 {
		e.Layout.HDNum = hdNum
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := clipvit.DecodeImage(f)
	if err != nil {
		t.Fatal(err)
	}
	y, err := e.Tokens(img)
	if err != nil {
		t.Fatal(err)
	}
	return y.Data().F32(), y.Shape()
}

// A matrix is what was written of an image.
type matrix struct {
	shape []int
	x     []float32
}

// readTokens reads what tokens wrote with readers that share no code with the writers.
func readTokens(t *testing.T, format string, data []byte) (all map[string]matrix, metadata map[string]string) {
	t.Helper()
	all = map[string]matrix{}
	switch format {
	case "jsonl":
		for line := range bytes.Lines(data) {
			var v struct {
				Image  string
				Tokens [][]float32
			}
			if err := json.Unmarshal(line, &v); err != nil {
				t.Fatal(err)
			}
			if v.Tokens != nil {
				all[v.Image] = matrix{[]int{len(v.Tokens), len(v.Tokens[0])}, slices.Concat(v.Tokens...)}
			}
		}
	case "npy":
		shape, x, _ := readOutput(t, "npy", "", data)
		all[""] = matrix{shape, x}
	case "npz":
		path := filepath.Join(t.TempDir(), "x.npz")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		f := golden.LoadFile(t, path)
		for _, name := range f.Names() {
			all[name] = matrix{f.Shape(name), f.Float32(name)}
		}
	case "safetensors":
		c, err := checkpoint.OpenReader(bytes.NewReader(data), int64(len(data)), "x")
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range c.Tensors() {
			x := make([]float32, v.Len())
			if err := v.Float32s(x); err != nil {
				t.Fatal(err)
			}
			all[v.Name] = matrix{v.Shape, x}
		}
		var header struct {
			Metadata map[string]string `json:"__metadata__"`
		}
		if err := json.Unmarshal(data[8:8+binary.LittleEndian.Uint64(data)], &header); err != nil {
			t.Fatal(err)
		}
		metadata = header.Metadata
	}
	return all, metadata
}

// ratios makes pictures of several ratios.
func ratios(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for _, wh := range [][2]int{{60, 20}, {20, 61}, {33, 32}} {
		path := filepath.Join(dir, fmt.Sprintf("%dx%d.png", wh[0], wh[1]))
		img := image.NewRGBA(image.Rect(0, 0, wh[0], wh[1]))
		for i := range img.Pix {
			img.Pix[i] = byte(i * i / 7)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(png.Encode(f, img), f.Close()); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestTokens(t *testing.T) {
	pictures := append(ratios(t), "testdata/demo/cat.jpg")
	for _, c := range []struct {
		family, layout, used string
		hdNum                int
	}{
		{"llava", "", "pad", 0},
		{"llava-hf", "clip-transformers", "clip-transformers", 0},
		{"xcomposer2-vl", "", "squash", 0},
		{"xcomposer2-hd", "xcomposer2.5", "xcomposer2.5", 0},
		{"xcomposer2-hd", "xcomposer2-4khd", "xcomposer2-4khd", 7},
	} {
		args := []string{"tokens", "--model", families + c.family}
		if c.layout != "" {
			args = append(args, "--layout", c.layout)
		}
		if c.hdNum > 0 {
			args = append(args, "--hd-num", fmt.Sprint(c.hdNum))
		}
		counted := vitago(append(args, append([]string{"--count"}, pictures...)...)...)
		counted.want(t, exitDone, []string{"\t" + pictures[0] + "\n"}, nil)
		lines := strings.Split(counted.out, "\n")
		for _, format := range tokenFormatNames {
			t.Run(c.family+" "+c.used+" "+format, func(t *testing.T) {
				pictures := pictures
				if format == "npy" {
					pictures = pictures[1:2]
				}
				path := filepath.Join(t.TempDir(), "sub", "x."+format)
				vitago(append(args, append([]string{"--batch", "2", "-o", path}, pictures...)...)...).want(t, exitDone, nil, []string{path + ": ", fmt.Sprintf(" tokens of width 12 of %s in ", plural.Of(len(pictures), "image"))})
				inFile, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if got := files(t, filepath.Dir(path)); len(got) != 1 {
					t.Errorf("found %q, want the output", got)
				}
				r := vitago(append(args, append([]string{"--format", format}, pictures...)...)...)
				r.want(t, exitDone, []string{""}, nil)
				piped, _ := readTokens(t, format, []byte(r.out))
				all, metadata := readTokens(t, format, inFile)
				if len(all) != len(pictures) || len(piped) != len(pictures) {
					t.Fatalf("%d and %d images, want %d", len(all), len(piped), len(pictures))
				}
				for i, name := range pictures {
					want, shape := directTokens(t, families+c.family, c.layout, c.hdNum, name)
					key := name
					if format == "npy" {
						i, key = 1, ""
					}
					for _, got := range []matrix{all[key], piped[key]} {
						if !slices.Equal(got.x, want) || !slices.Equal(got.shape, shape) {
							t.Errorf("%s: %v, want %v; values equal: %v", name, got.shape, shape, slices.Equal(got.x, want))
						}
					}
					if n := fmt.Sprintf("%d\t", shape[0]); !strings.HasPrefix(lines[i], n) {
						t.Errorf("%s: counted %q, want %s", name, lines[i], n)
					}
				}
				if format == "safetensors" {
					checkTokenMetadata(t, metadata, c.used, c.hdNum, pictures, all)
				}
			})
		}
	}
}

func checkTokenMetadata(t *testing.T, metadata map[string]string, layout string, hdNum int, pictures []string, all map[string]matrix) {
	t.Helper()
	if metadata["layout"] != layout || metadata["feature"] != "patch" || metadata["layer"] == "" || !strings.Contains(metadata["model"], "families/") || metadata["skipped"] != "[]" {
		t.Errorf("metadata is %q", metadata)
	}
	if _, ok := metadata["model_sha256"]; ok {
		t.Error("a language model was read for a SHA-256")
	}
	if l, err := projector.FindLayout(layout); err != nil || (l.Fit == projector.Tile) != (metadata["hd_num"] != "") || hdNum > 0 && metadata["hd_num"] != fmt.Sprint(hdNum) {
		t.Errorf("hd_num is %q (%v)", metadata["hd_num"], err)
	}
	var list []imageTokens
	if err := json.Unmarshal([]byte(metadata["images"]), &list); err != nil || len(list) != len(pictures) {
		t.Fatalf("%v: images are %s", err, metadata["images"])
	}
	for i, m := range list {
		f, err := os.Open(pictures[i])
		if err != nil {
			t.Fatal(err)
		}
		img, err := clipvit.DecodeImage(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if size := img.Bounds().Size(); m.Name != pictures[i] || m.Width != size.X || m.Height != size.Y || m.Tokens != all[m.Name].shape[0] {
			t.Errorf("image %d is %+v, want %s of %v, %d tokens", i, m, pictures[i], size, all[m.Name].shape[0])
		}
		if tiles := strings.HasPrefix(layout, "xcomposer2-4khd") || layout == "xcomposer2.5"; tiles != (m.Rows > 0 && m.Cols > 0) {
			t.Errorf("%s: %d×%d tiles with layout %s", m.Name, m.Rows, m.Cols, layout)
		}
	}
}

// TestTokensConverted: what a conversion wrote has no language model, and so a SHA-256, that of inspect.
func TestTokensConverted(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "model")
	vitago("convert", families+"llava", dst).want(t, exitDone, []string{""}, []string{""})
	info, err := converter.Inspect(t.Context(), dst)
	if err != nil {
		t.Fatal(err)
	}
	r := vitago("tokens", "--model", dst, "--format", "safetensors", "testdata/demo/cat.png")
	all, metadata := readTokens(t, "safetensors", []byte(r.out))
	want, _ := directTokens(t, families+"llava", "", 0, "testdata/demo/cat.png")
	if metadata["model_sha256"] != info.SHA256 || len(info.SHA256) != 64 || !slices.Equal(all["testdata/demo/cat.png"].x, want) {
		t.Errorf("SHA-256 is %q, want %q; %s", metadata["model_sha256"], info.SHA256, r.err)
	}
}

func TestTokensUsage(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args   []string
		status int
		err    string
	}{
		{[]string{"testdata/demo/cat.png"}, exitUsage, "no model: give --model DIR"},
		{[]string{"--model", families + "llava"}, exitUsage, "want at least one IMAGE"},
		{[]string{"--model", families + "llava", "--layout", "hd", "testdata/demo/cat.png"}, exitUsage, "want processor, clip, clip-transformers, squash, pad, llava-1.6, xcomposer2-4khd"},
		{[]string{"--model", families + "llava", "--hd-num", "9", "testdata/demo/cat.png"}, exitUsage, "layout pad has no tiles"},
		{[]string{"--model", families + "xcomposer2-hd", "--layout", "xcomposer2.5", "--hd-num", "5000", "testdata/demo/cat.png"}, exitUsage, "at most 5000 tiles, want 1 to 1024"},
		{[]string{"--model", families + "llava", "--hd-num", "0", "testdata/demo/cat.png"}, exitUsage, "--hd-num is 0"},
		{[]string{"--model", families + "llava", "--batch", "0", "testdata/demo/cat.png"}, exitUsage, "--batch is 0, want 1 to 64"},
		{[]string{"--model", families + "llava", "--batch", "65", "testdata/demo/cat.png"}, exitUsage, "--batch is 65"},
		{[]string{"--model", families + "llava", "-o", filepath.Join(dir, "x.npy"), "testdata/demo"}, exitUsage, "npy holds the tokens of one image, and there are 6; give --format npz"},
		{[]string{"--model", families + "llava", "-o", filepath.Join(dir, "x.txt"), "testdata/demo"}, exitUsage, `no format has the extension ".txt"`},
		{[]string{"--model", families + "llava", "-o", filepath.Join(dir, "x.npz"), "testdata/demo/cat.png", "testdata/demo"}, exitUsage, "testdata/demo/cat.png: a second image of that name"},
		{[]string{"--model", families + "llava", "-o", filepath.Join(dir, "x.npz"), "caf\xe9.png"}, exitFailed, "caf\xe9.png"},
		{[]string{"--model", families + "llava", "--skip-errors", "-o", filepath.Join(dir, "x.npz"), "caf\xe9.png"}, exitUsage, `"caf\xe9.png" is not UTF-8, which names in npz are; rename the file, or give --format jsonl`},
		{[]string{"--model", families + "llava", "--count", "--format", "npz", "testdata/demo"}, exitUsage, "--count writes lines of text"},
		{[]string{"--model", tinyModel, "testdata/demo/cat.png"}, exitFailed, "has a vision tower and no projector"},
		{[]string{"--model", tinyModel, "--count", "testdata/demo/cat.png"}, exitFailed, "has a vision tower and no projector"},
		{[]string{"--model", families + "llava-projector", "testdata/demo/cat.png"}, exitFailed, "has a projector and no vision tower"},
		{[]string{"--model", families + "llava", "--layout", "xcomposer2-4khd", "testdata/demo/cat.png"}, exitFailed, `projector takes 64 columns, and layout "xcomposer2-4khd" makes 256`},
		{[]string{"--model", families + "xcomposer2-hd", "testdata/demo/cat.png"}, exitFailed, `"xcomposer2-4khd" or "xcomposer2.5"; --layout chooses it`},
		{[]string{"--model", families + "llava", "-o", filepath.Join(dir, "x.npz"), "tokens.go"}, exitFailed, "tokens.go: not an image"},
		{[]string{"--model", families + "llava", "--count", "tokens.go"}, exitFailed, "tokens.go: not an image"},
		{[]string{"--model", families + "llava", "--count", "absent.png"}, exitFailed, "absent.png"},
	} {
		vitago(append([]string{"tokens"}, c.args...)...).want(t, c.status, nil, []string{c.err})
	}
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("failures left %q", got)
	}
	if _, err := os.Stat("/dev/full"); err == nil {
		vitago("tokens", "--model", families+"llava", "--format", "safetensors", "-o", "/dev/full", "testdata/demo/cat.png").want(t, exitFailed, nil, []string{"no space left"})
	}
}

func TestTokensSkipErrors(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.jpg")
	jpeg, err := os.ReadFile("testdata/demo/cat.jpg")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, jpeg[:len(jpeg)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	pictures := []string{"absent.png", "testdata/demo/cat.png", broken, "tokens.go", "-"}
	messages := []string{"skipped: " + broken + ": ", "skipped: tokens.go: not an image", "vitago: 3 of 5 images could not be read\n"}
	want, _ := directTokens(t, families+"llava", "", 0, "testdata/demo/cat.jpg")
	for _, format := range []string{"jsonl", "npz", "safetensors"} {
		for _, out := range []string{"", filepath.Join(t.TempDir(), "x."+format)} {
			args := append([]string{"tokens", "--model", families + "llava", "--skip-errors", "--format", format, "-o", cmp.Or(out, "-")}, pictures...)
			r := vitagoContext(t.Context(), bytes.NewReader(jpeg), args...)
			data := []byte(r.out)
			if out == "" {
				r.want(t, exitFailed, []string{""}, messages)
			} else {
				r.want(t, exitFailed, nil, messages)
				if data, err = os.ReadFile(out); err != nil {
					t.Fatal(err)
				}
			}
			all, metadata := readTokens(t, format, data)
			if len(all) != 2 || !slices.Equal(all["-"].x, want) || len(all["testdata/demo/cat.png"].x) != len(want) {
				t.Errorf("%s: %d images, want the two that can be read", format, len(all))
			}
			var skipped []string
			if format == "safetensors" {
				if err := json.Unmarshal([]byte(metadata["skipped"]), &skipped); err != nil || !slices.Equal(skipped, []string{"absent.png", broken, "tokens.go"}) {
					t.Errorf("skipped are %s, %v", metadata["skipped"], err)
				}
			}
			if format == "jsonl" && (!strings.Contains(string(data), `{"image":"tokens.go","error":"tokens.go: not an image`) || bytes.Count(data, []byte("\n")) != 5) {
				t.Errorf("got %s, want a line for every image", data)
			}
		}
	}
	// All are skipped: an array of nothing is none.
	out := filepath.Join(t.TempDir(), "x.npy")
	vitago("tokens", "--model", families+"llava", "--skip-errors", "-o", out, broken).want(t, exitFailed, nil, []string{broken + ": "})
	if _, err := os.Stat(out); err == nil {
		t.Error("npy without an image was written")
	}
	vitago("tokens", "--model", families+"llava", "--skip-errors", "--count", "absent.png", "tokens.go", "testdata/demo/cat.png").want(t, exitFailed, []string{"16\t128x96\ttestdata/demo/cat.png\n"},
		[]string{"skipped: tokens.go", "vitago: 2 of 3 images could not be read\n"})
}

func TestTokensInterrupted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	for _, out := range []string{"", filepath.Join(dir, "x.safetensors")} {
		ctx, cancel := context.WithCancel(t.Context())
		r := vitagoContext(ctx, interrupting{cancel}, "tokens", "--model", families+"llava", "--format", "safetensors", "-o", cmp.Or(out, "-"), "testdata/demo/cat.png", "-", "testdata/demo/cat.jpg")
		r.want(t, exitInterrupted, nil, []string{"vitago: interrupted\n"})
		if got := files(t, dir); len(got) > 0 {
			t.Errorf("Ctrl-C left %q", got)
		}
	}
	vitago("tokens", "--model", families+"llava", "--format", "safetensors", "testdata/demo/cat.png").want(t, exitDone, []string{"testdata/demo/cat.png"}, nil)
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("a pipe left %q", got)
	}
}

// TestTokenRoom: the room that is left for the header is enough for the largest numbers, and for names that JSON
// makes longer, read or not.
func TestTokenRoom(t *testing.T) {
	names := []string{`a"\.png`, "b&<.png", "ü.png", strings.Repeat(`"`, 200)}
	spec := tokenSpec{images: names, width: 1, metadata: map[string]string{"layout": "pad"}, sum: func() (string, error) { return strings.Repeat("0", 64), nil }}
	for skipped := range names {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		f, err := folder.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newTokenTensors(f, spec)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			if i < skipped {
				err = errors.Join(err, s.fail(name, io.EOF))
			} else {
				err = errors.Join(err, s.write(imageTokens{Name: name, Tokens: 2, Width: 1 << 30, Height: 1 << 30, Rows: 1000, Cols: 1000, x: []float32{float32(i), 1}}))
			}
		}
		if err := errors.Join(err, s.finish(), f.Commit()); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all, metadata := readTokens(t, "safetensors", data)
		for i, name := range names {
			if m, ok := all[name]; ok != (i >= skipped) || ok && m.x[0] != float32(i) {
				t.Errorf("%d skipped: %q is %v", skipped, name, m)
			}
		}
		if len(metadata["model_sha256"]) != 64 {
			t.Errorf("metadata is %q", metadata)
		}
	}
}

// TestTokensMemory: what is held does not grow with the images before.
func TestTokensMemory(t *testing.T) {
	source, err := converter.Open(families + "llava")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	e, err := source.Encoder(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	held := func(n int) uint64 {
		images := slices.Repeat([]string{"testdata/demo/gradient.png"}, n)
		out, err := tokenFormats["npz"](io.Discard, tokenSpec{images: images, width: e.Projector.Config.Out})
		if err != nil {
			t.Fatal(err)
		}
		var most uint64
		if _, _, err := (&tokenizing{}).encode(t.Context(), e, images, nil, out, func(done int) {
			if done == n {
				var mem runtime.MemStats
				runtime.GC()
				runtime.GC() // what is in a pool survives the first
				runtime.ReadMemStats(&mem)
				most = mem.HeapAlloc
			}
		}); err != nil {
			t.Fatal(err)
		}
		return most
	}
	few, many := held(8), held(400)
	// A zip file's directory takes some 300 bytes an image until it is written; the tokens would take 768, patches 37 kB.
	if grown := int64(many) - int64(few); grown > 392*700 {
		t.Errorf("%d bytes more are held after 400 images than after 8", grown)
	}
}
