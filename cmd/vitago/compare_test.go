package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter/compare"
)

// tuned writes the tiny CLIP in float32 with a factor on every second value of the tensors whose names
// contain a text, and returns its directory.
func tuned(t *testing.T, text string, factor float32) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tuned")
	if r := vitago("convert", "--dtype", "f32", tinyArchive, dir); r.status != exitDone {
		t.Fatal(r.err)
	}
	path := filepath.Join(dir, "model.safetensors")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 8 + binary.LittleEndian.Uint64(file)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(file[8:n], &header); err != nil {
		t.Fatal(err)
	}
	for name, raw := range header {
		if !strings.Contains(name, text) {
			continue
		}
		var x struct {
			At [2]uint64 `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &x); err != nil {
			t.Fatal(err)
		}
		for data := file[n+x.At[0] : n+x.At[1]]; len(data) > 0; data = data[min(8, len(data)):] {
			binary.LittleEndian.PutUint32(data, math.Float32bits(factor*math.Float32frombits(binary.LittleEndian.Uint32(data))))
		}
	}
	if err := os.WriteFile(path, file, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCompare(t *testing.T) {
	vitago("compare", tinyArchive, tinyModel).want(t, exitDone, []string{
		"A  " + tinyArchive + ": TorchScript archive, names of OpenAI, 163,457 parameters, tensors 27 F16, 23 F32",
		"block 1    identical  0            0          0    0        1.000000",
		"\nThe vision tower is identical. The text tower is identical.\n",
	}, []string{"compared in "})

	b := tuned(t, "vision_model.encoder.layers.1.mlp", 1.125)
	r := vitago("compare", tinyArchive, b)
	r.want(t, exitDone, []string{
		"part       verdict    relative L2  attention  MLP",
		"Of the 2 blocks of the vision tower, 1 is identical (0) and 1 was initialised from A and tuned (1); the largest change is in block 1's MLP (relative L2 0.08",
	}, []string{"compared in "})
	// Half of the values are an eighth longer.
	if i := strings.Index(r.out, "block 1    tuned"); i < 0 || !strings.Contains(strings.SplitN(r.out[i:], "\n", 2)[0], "  0          0.08") {
		t.Errorf("block 1's attention is not 0 or its MLP not 0.08…:\n%s", r.out)
	}
	vitago("compare", "--all", tinyArchive, b).want(t, exitDone, []string{
		"visual.transformer.resblocks.1.mlp.c_fc.weight       [256,64]", "F16  F32  tuned", "visual.proj                                          [10,64]",
	}, []string{"compared in "})

	vitago("compare", "--all", b, tinyArchive).want(t, exitDone, []string{"vision_model.encoder.layers.1.self_attn.{q,k,v}_proj.weight"}, []string{"compared in "})

	r = vitago("compare", "--json", tinyArchive, b)
	r.want(t, exitDone, []string{`"relative_l2": `, `"dtype_a": "F16"`, `"block": 1`}, nil)
	var got compare.Comparison
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	want, err := compareFiles(context.Background(), tinyArchive, b, compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Summary != want.Summary || got.Verdict != compare.Tuned || len(got.Tensors) != len(want.Tensors) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	// A tower that one side lacks has no table.
	r = vitago("compare", tinyArchive, "../../testdata/tiny/huggingface-vision")
	r.want(t, exitDone, []string{"The vision tower is identical. Only A has a text tower.\n"}, []string{"compared in "})
	if strings.Contains(r.out, "\ntext\n") {
		t.Errorf("a table of the text tower:\n%s", r.out)
	}

	vitago("compare", "absent.pt", tinyModel).want(t, exitFailed, nil, []string{"vitago: no model absent.pt: "})
	vitago("compare", tinyModel, "testdata/demo/cat.png").want(t, exitFailed, nil, []string{"vitago: testdata/demo/cat.png: not a TorchScript archive"})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	vitagoContext(ctx, nil, "compare", tinyModel, tinyModel).want(t, exitInterrupted, nil, []string{"vitago: interrupted\n"})
}

func TestComparePlot(t *testing.T) {
	b := tuned(t, "vision_model.encoder.layers.1.mlp", 1.125)
	dir := t.TempDir()
	draw := func(name string) []byte {
		t.Helper()
		path := filepath.Join(dir, name)
		vitago("compare", "--plot", path, tinyArchive, b).want(t, exitDone, []string{"The text tower is identical."}, []string{path + ": the drift of the blocks\n"})
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	img, err := png.Decode(bytes.NewReader(draw("drift.PNG")))
	if err != nil {
		t.Fatal(err)
	}
	if size := img.Bounds().Size(); size.X != 1209 || size.Y != 756 { // 16 by 10 cm, 192 pixels an inch
		t.Errorf("plot has %v pixels, want 1209 by 756", size)
	}
	pixels := map[color.Color]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			pixels[color.RGBAModel.Convert(img.At(x, y))]++
		}
	}
	for name, c := range map[string]color.RGBA{"blue": {0, 114, 178, 255}, "orange": {213, 94, 0, 255}, "white": {255, 255, 255, 255}} {
		if pixels[c] < 1000 {
			t.Errorf("%d pixels are %s, want a line of them", pixels[c], name)
		}
	}
	svg := string(draw("drift.svg"))
	for _, w := range []string{"<svg", "tuned compared with openai_torch1.7.1.pt", "block, from input to output", "relative L2 distance", "vision, attention", "vision, MLP"} {
		if !strings.Contains(svg, w) {
			t.Errorf("the SVG lacks %q", w)
		}
	}
	if pdf := draw("drift.pdf"); !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		t.Errorf("the PDF begins with %.10q", pdf)
	}
	draw(filepath.Join("sub", "drift.png"))
	if err := os.RemoveAll(filepath.Join(dir, "sub")); err != nil {
		t.Fatal(err)
	}
	// Nothing is left of a plot that cannot be written.
	vitago("compare", "--plot", filepath.Join(dir, "drift.svg", "x.png"), tinyModel, tinyModel).want(t, exitFailed, nil, []string{"drift.svg"})
	if got := files(t, dir); len(got) != 3 {
		t.Errorf("there are %q, want three plots", got)
	}
}
