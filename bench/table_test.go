package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The page has the ratio to the fastest peer, bold where that is faster, and says what was aimed at and not reached.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := fake()
	c.Encoding = nil
	for _, s := range []struct {
		name    string
		batch   int
		seconds float64
	}{
		{"vitago, K", 1, 0.2}, {"PyTorch, eager", 1, 0.4}, {"ONNX Runtime", 1, 0.3}, // 1 GFLOP at 10 GFLOP/s: half of the peak
		{"vitago, K", 8, 0.9}, {"PyTorch, eager", 8, 0.8}, {"ONNX Runtime", 8, 1.8},
		{"vitago, K", 32, 3.4}, {"ONNX Runtime", 32, 3.5},
	} {
		c.Encoding = append(c.Encoding, sample{Contender: s.name, Threads: 2, Batch: s.batch, Seconds: s.seconds, Peaks: map[string]float64{"k": 10e9}, Cosine: 1, Memory: 1e9})
	}
	paths := []string{
		write("c.json", c), write("f.json", &fileRace{Files: 10, Runs: []fileRun{{Contender: "vitago encode", Files: 10, Threads: 2, Round: 1, Seconds: 2}}}),
		write("g.json", &growth{Points: []point{}, Grid: &grid{Width: 128, MLP: 512, comparison: comparison{Encoding: []sample{
			{Contender: "vitago, K", Threads: 2, Tokens: 50, Batch: 1, Seconds: 1, Peaks: map[string]float64{"k": 1e9}},
		}}}}),
	}
	page, plot := filepath.Join(dir, "speed.md"), filepath.Join(dir, "speed.svg")
	if err := run(t.Context(), append([]string{"page", "-o", page, "-plot", plot}, paths...)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ONNX Runtime: onnxruntime 9.", "](speed.svg)",
		"| vit-l-14-336 | 2 | 1 | 200 | 300 | ONNX Runtime | 1.50 | 0.50 | 1.00 | 1.00 |",
		"| vit-l-14-336 | 2 | 8 | 112 | 100 | PyTorch, eager | **0.89** | 0.89 |",
		"2 of 3 rows reach it", "- vit-l-14-336, 2 threads, 8 at once: 0.89× PyTorch, eager, and 0.89 of the peak",
		"## Tokens and batch", "| 50 | 0.04 |", "### From 10 JPEG files", "`run`",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	if b, err := os.ReadFile(plot); err != nil || !strings.HasPrefix(string(b), "<?xml") {
		t.Errorf("plot: %.10q, %v", b, err)
	}
	if err := run(t.Context(), []string{"page", write("x.json", []int{1})}); err == nil {
		t.Error("a list as figures: no error")
	}
}

func TestPrecision(t *testing.T) {
	for kind, want := range map[string][2]string{"avx2": {"", "avx2"}, "int8": {"int8", ""}, "int8-avx2": {"int8", "avx2"}, "bf16": {"bf16", ""}, "machine": {}} {
		if name, implementation := precision(kind); [2]string{name, implementation} != want {
			t.Errorf("%s: %q by %q, want %q", kind, name, implementation, want)
		}
	}
	if got := floatOf("vitago, int8"); !isFloat(got) && got != "" {
		t.Errorf("int8 is compared with %q", got)
	}
}

// Rows of one tower from several files are in the order of threads and images; a peak that was measured low counts for nothing; a
// file without embeddings is named.
func TestPageOfSlices(t *testing.T) {
	at := func(threads, batch int, peaks ...float64) *comparison {
		c := fake()
		c.Encoding = nil
		for _, p := range peaks {
			for _, name := range []string{"vitago, K", "ONNX Runtime"} {
				c.Encoding = append(c.Encoding, sample{Contender: name, Threads: threads, Batch: batch, Seconds: 0.2 * float64(batch), Peaks: map[string]float64{"k": p}})
			}
		}
		return c
	}
	dir := t.TempDir()
	var paths []string
	for i, c := range []*comparison{at(2, 8, 10e9), at(1, 8, 10e9), at(2, 1, 7e9, 10e9, 6e9)} {
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Join(dir, fmt.Sprint(i, ".json")))
		if err := os.WriteFile(paths[i], b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := readPage(paths)
	if err != nil {
		t.Fatal(err)
	}
	var got [][3]float64
	for _, r := range p.rows() {
		got = append(got, [3]float64{float64(r.threads), float64(r.batch), r.peak})
	}
	if want := [][3]float64{{1, 8, 0.5}, {2, 1, 0.5}, {2, 8, 0.5}}; !slices.Equal(got, want) { // 1 GFLOP in 0.2 s, at 10 GFLOP/s
		t.Errorf("threads, images and fractions of the peak %v, want %v", got, want)
	}
	empty := filepath.Join(dir, "empty.json")
	if err := os.WriteFile(empty, []byte(`{"encoding": [], "config": "vit-b-32"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readPage(append(paths, empty)); err == nil || !strings.Contains(err.Error(), "empty.json: no embedding") {
		t.Errorf("no embeddings: %v", err)
	}
}

func TestCPUOf(t *testing.T) {
	for info, want := range map[string]string{
		"processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel\t\t: 18\n": "AMD EPYC (family 25, model 17)",
		"model name: V\n": "V",
		"":                "unknown processor",
	} {
		if got := cpuOf(info); got != want {
			t.Errorf("%q: %q, want %q", info, got, want)
		}
	}
}
