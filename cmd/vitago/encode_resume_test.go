package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/embeddings"
	"github.com/vitago/vitago/internal/kernel"
)

// manyPictures makes a folder of small pictures, of which some are none.
func manyPictures(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		b, err := os.ReadFile(filepath.Join("testdata", "demo", demoNames[i%len(demoNames)]))
		if err != nil {
			t.Fatal(err)
		}
		if i%17 == 5 {
			b = b[:20]
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d%s", i, filepath.Ext(demoNames[i%len(demoNames)]))), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// bytesIn returns what lies in a folder.
func bytesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range files(t, dir) {
		all[name] = read(t, dir, name)
	}
	return all
}

// TestEncodeKilled: whenever and however often it is killed, --resume comes to the same bytes.
func TestEncodeKilled(t *testing.T) {
	pictures := manyPictures(t, 250)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2)) // other moments every time
	for _, format := range embeddings.Formats() {
		straight, killed := t.TempDir(), t.TempDir()
		args := func(dir string) []string {
			return []string{"encode", "--model", tinyModel, "--skip-errors", "--normalize", "--resume", "-o", filepath.Join(dir, "x."+format), pictures}
		}
		const bad = "15 of 250 images could not be read"
		vitago(args(straight)...).want(t, exitFailed, nil, []string{"embedding [250,10] of 235 of 250 images in ", bad})
		had, rows, journal := 0, map[int]bool{}, filepath.Join(killed, "x."+format+".partial.journal")
		kept := func() int { return max(0, strings.Count(readIfThere(journal), "\n")-1) }
		for n := range 12 {
			cmd, errw := program(t, args(killed)...)
			over := make(chan error, 1)
			go func() { over <- cmd.Wait() }()
			// Some are killed whenever that is, the others some rows on, which takes as long as the machine likes.
			var ended error
			waiting := true
			for goal, pause := kept()+1+rng.IntN(40), time.After(time.Duration(rng.IntN(80))*time.Millisecond); waiting; {
				select {
				case ended = <-over:
					waiting = false
				case <-pause:
					waiting = n%4 > 0
				case <-time.After(time.Millisecond):
					waiting = kept() < goal
				}
			}
			if ended == nil && cmd.Process.Kill() == nil {
				ended = <-over
			}
			if strings.Contains(errw.String(), bad) {
				break // it was done
			} else if ended == nil || cmd.ProcessState.Exited() && runtime.GOOS != "windows" {
				t.Fatalf("it ended by itself: %v\n%s", ended, errw)
			}
			if k := kept(); k > 0 {
				had++
				rows[k] = true
			}
		}
		t.Logf("%s: killed %d times, at rows %v", format, had, slices.Sorted(maps.Keys(rows)))
		if had < 2 {
			t.Error("it was hardly killed")
		}
		vitago(args(killed)...).want(t, exitFailed, nil, []string{bad})
		if got, want := bytesIn(t, killed), bytesIn(t, straight); !maps.Equal(got, want) {
			t.Errorf("%s: %q, want %q; or other bytes", format, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
		vitago(args(killed)...).want(t, exitFailed, nil, []string{"is complete: embedding [250,10] of 235 of 250 images; nothing was left to do\n", bad})
	}
}

// TestEncodeResume: what is there already, in whole or in part, and what does not fit it.
func TestEncodeResume(t *testing.T) {
	dir, pictures := t.TempDir(), t.TempDir()
	out := filepath.Join(dir, "x.npy")
	for _, name := range demoNames {
		b := read(t, "testdata", "demo", name)
		if name == "gradient.png" {
			b = "no picture"
		}
		if err := os.WriteFile(filepath.Join(pictures, name), []byte(b), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	encode := func(args ...string) ran {
		return vitago(append([]string{"encode", "--model", tinyModel, "-o", out, pictures}, args...)...)
	}
	kept := "gradient.png: not an image"
	encode("--resume").want(t, exitFailed, nil, []string{kept, "; 3 of 6 images are kept, and --resume goes on behind them\n"})
	before := bytesIn(t, dir)
	type refusal struct {
		args   []string
		status int
		want   string
	}
	bf16 := refusal{[]string{"--resume", "--precision", "bf16"}, exitFailed, "was begun with precision f32, which is now bf16; --overwrite begins again\n"}
	if kernel.BF16Name() == "generic" {
		bf16.status, bf16.want = exitUsage, "has no instruction for bfloat16"
	}
	for _, c := range []refusal{
		{nil, exitFailed, out + " has been begun, with 3 rows, and neither resuming nor overwriting was asked for; --resume goes on with it, --overwrite begins again\n"},
		{[]string{"--resume"}, exitFailed, kept},
		{[]string{"--resume", "--normalize"}, exitFailed, out + ": was begun with normalized false, which is now true; --overwrite begins again\n"},
		{[]string{"--resume", "--features", "post_norm"}, exitFailed, "was begun with feature embedding, which is now post_norm"},
		{[]string{"--resume", "--precision", "int8"}, exitFailed, "was begun with precision f32, which is now int8; --overwrite begins again\n"},
		bf16,
		{[]string{"--resume", "--fit", "squash"}, exitFailed, ", by other weights, or another --activation, --adapter, --preprocess, --fit or --exif; --overwrite begins again\n"},
		{[]string{"--resume", "testdata/demo/cat.png"}, exitFailed, "was begun with the number of rows 6, which is now 7"},
		{[]string{"--resume", "--overwrite"}, exitUsage, "give one of them"},
	} {
		encode(c.args...).want(t, c.status, nil, []string{c.want})
		if got := bytesIn(t, dir); !maps.Equal(got, before) {
			t.Fatalf("%v: changed what is kept", c.args)
		}
	}
	vitago("encode", "--model", tinyModel, "-o", out, "--resume", "testdata/demo").want(t, exitFailed, nil, []string{"was begun with image 1 " + filepath.Join(pictures, demoNames[0]) + ", which is now " + filepath.Join("testdata", "demo", demoNames[0])})

	// Two at once.
	w, err := embeddings.Create(filepath.Join(dir, "y.npy"), embeddings.Spec{Shape: []int{10}}, embeddings.Options{})
	if err != nil {
		t.Fatal(err)
	}
	vitago("encode", "--model", tinyModel, "-o", filepath.Join(dir, "y.npy"), "testdata/demo").want(t, exitFailed, nil, []string{"y.npy: another process is writing it\n"})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	// Damage is found, and what was damaged is made again.
	rows := before["x.npy.partial"]
	if err := os.WriteFile(out+".partial", []byte(rows[:len(rows)-1]+"x"), 0o666); err != nil {
		t.Fatal(err)
	}
	r := encode("--resume", "--skip-errors")
	r.want(t, exitFailed, nil, []string{"note: " + out + ": rows from number 3 on were damaged, and are made again\n", "skipped: ", kept, ": embedding [6,10] of 5 of 6 images, 2 of them from before, in ", "vitago: 1 of 6 images could not be read\n"})
	if got := files(t, dir); !slices.Equal(got, []string{"x.npy", "x.npy.about.json", "x.npy.names.jsonl"}) {
		t.Errorf("found %q", got)
	}
	straight := filepath.Join(t.TempDir(), "x.npy")
	vitago("encode", "--model", tinyModel, "-o", straight, pictures, "--skip-errors").want(t, exitFailed, nil, []string{kept})
	if got, want := bytesIn(t, dir), bytesIn(t, filepath.Dir(straight)); !maps.Equal(got, want) {
		t.Error("it is another than without a break")
	}
	set, err := embeddings.Read(out)
	if err != nil || len(set.Names) != 6 || set.Names[5] != filepath.Join(pictures, demoNames[5]) || set.Vectors[3] != nil || !slices.Equal(set.Vectors[5], direct(t, filepath.Join("testdata", "demo", demoNames[5]), "embedding", -1)) {
		t.Errorf("read %v, %v", set, err)
	}

	// What is complete stays, unless it is to be replaced.
	encode("--resume", "--skip-errors").want(t, exitFailed, nil, []string{out + ": is complete: embedding [6,10] of 5 of 6 images; nothing was left to do\n", "1 of 6 images could not be read"})
	encode("--skip-errors").want(t, exitFailed, nil, []string{out + " exists, and overwriting was not asked for; give --overwrite\n"})
	encode("--resume", "--normalize").want(t, exitFailed, nil, []string{"was begun with normalized false, which is now true"})
	if err := os.Remove(filepath.Join(pictures, "gradient.png")); err != nil {
		t.Fatal(err)
	}
	encode("--overwrite").want(t, exitDone, nil, []string{"[5,10] of 5 images in "})
	encode("--resume").want(t, exitDone, nil, []string{"is complete: embedding [5,10] of 5 images; nothing was left to do\n"})
}

// Texts that were begun in another precision are not gone on with, and the message names both.
func TestEncodeTextsPrecisionDiffers(t *testing.T) {
	for _, c := range [][2]string{{"f32", "int8"}, {"int8", "f32"}} {
		out := filepath.Join(t.TempDir(), "texts.npy")
		encode := func(precision string) ran {
			return vitago("encode", "--model", "../../testdata/families/hf5-clip", "-o", out, "--resume", "--precision", precision, "--text", "a cat", "photo")
		}
		encode(c[0]).want(t, exitDone, nil, []string{"embedding [2,10] of 2 texts in "})
		encode(c[1]).want(t, exitFailed, nil, []string{"was begun with precision " + c[0] + ", which is now " + c[1]})
	}
}

// TestEncodeFull: a disk that is full ends it, and what was written is kept.
func TestEncodeFull(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no limit of a shell")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "x.npy")
	args := []string{"encode", "--model", tinyModel, "--features", "all", "--batch", "1", "--resume", "-o", out, "testdata/demo"} // 4352 bytes an image
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `trap "" XFSZ; ulimit -f 18; exec "$0" "$@"`, self}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	said, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.Contains(string(said), "x.npy: file too large; ") || !strings.Contains(string(said), " of 6 images are kept, and --resume goes on behind them\n") {
		t.Fatalf("%v: %s", err, said)
	}
	vitago(args...).want(t, exitDone, nil, []string{"all [6,17,64] of 6 images, ", " of them from before, in "})
	var want []float32
	for _, name := range demoNames {
		want = append(want, direct(t, filepath.Join("testdata", "demo", name), "all", -1)...)
	}
	if _, got, _ := readOutput(t, "npy", "all", []byte(read(t, out))); !slices.Equal(got, want) {
		t.Error("other values")
	}
}

// TestEncodeText: texts as arguments, in a file and on standard input are the same rows.
func TestEncodeText(t *testing.T) {
	const model = "../../testdata/families/hf5-clip" // of few words
	dir := t.TempDir()
	file := filepath.Join(dir, "texts.txt")
	if err := os.WriteFile(file, []byte("\ufeffa cat\r\n\r\nphoto of a cat\r\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	args := func(more ...string) []string { return append([]string{"encode", "--model", model}, more...) }
	r := vitago(args("--text-file", file)...)
	r.want(t, exitDone, []string{`{"text":"a cat","embedding":[`, `{"text":"","embedding":[`, `{"text":"photo of a cat","embedding":[`}, nil)
	for what, other := range map[string]ran{
		"standard input": vitagoContext(t.Context(), strings.NewReader("a cat\n\nphoto of a cat"), args("--text", "-")...),
		"both":           vitagoContext(t.Context(), strings.NewReader("\nphoto of a cat"), args("--text", "a cat", "-")...),
		"its file":       vitagoContext(t.Context(), strings.NewReader("a cat\n\nphoto of a cat\n"), args("--text-file", "-")...),
		"arguments":      vitago(args("--text", "a cat", "", "photo of a cat")...),
		"batches":        vitago(args("--batch", "1", "--text-file", file)...),
	} {
		if other.out != r.out || other.status != exitDone {
			t.Errorf("%s: %s%s, want %s", what, other.out, other.err, r.out)
		}
	}
	for _, format := range embeddings.Formats() {
		out := filepath.Join(dir, "x."+format)
		vitago(args("--text-file", file, "--normalize", "-o", out)...).want(t, exitDone, nil, []string{out + ": embedding [3,10] of 3 texts in "})
		set, err := embeddings.Read(out)
		if err != nil || !slices.Equal(set.Names, []string{"a cat", "", "photo of a cat"}) {
			t.Fatal(set, err)
		}
		var sum float64
		for _, v := range set.Vectors[2] {
			sum += float64(v) * float64(v)
		}
		if sum < 0.999999 || sum > 1.000001 {
			t.Errorf("%s: length² %v, want 1", format, sum)
		}
		vitago(args("--text-file", file, "--normalize", "--resume", "-o", out)...).want(t, exitDone, nil, []string{"is complete: embedding [3,10] of 3 texts; nothing was left to do\n"})
		vitago(args("--text", "--normalize", "--resume", "-o", out, "a cat")...).want(t, exitFailed, nil, []string{"was begun with the number of rows 3, which is now 1"})
	}
	vitago(args("--text", "a cat", "zebra")...).want(t, exitFailed, []string{`{"text":"a cat","embedding":[`}, []string{`the vocabulary of 25 tokens lacks "zebra"`})
	r = vitago(args("--text", "--skip-errors", "zebra", "a cat")...)
	r.want(t, exitFailed, []string{`{"text":"zebra","error":"`, `{"text":"a cat","embedding":[`}, []string{"1 of 2 texts could not be encoded\n"})
	vitago("encode", "--model", "../../testdata/families/llava", "--text", "a cat").want(t, exitFailed, nil, []string{"has no text tower, which --text wants"})
	var b bytes.Buffer
	if status := run(t.Context(), args("--text", "--quiet", "-o", filepath.Join(dir, "q.npy"), "a cat"), nil, &b, &b); status != exitDone || b.Len() > 0 {
		t.Errorf("status %d, %s", status, &b)
	}
}
