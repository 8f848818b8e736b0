package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Pictures are the same every time, and those of a folder are taken by turns; the worker reads them.
func TestPictures(t *testing.T) {
	dir := t.TempDir()
	made := filepath.Join(dir, "made")
	size, err := writePictures(made, "", 2)
	if err != nil || size < 20e3 || size > 300e3 {
		t.Fatalf("2 pictures of %d bytes, %v", size, err)
	}
	if again, err := writePictures(made, "", 2); err != nil || again != size {
		t.Errorf("again %d bytes, %v, want %d", again, err, size)
	}
	taken := filepath.Join(dir, "taken")
	if _, err := writePictures(taken, made, 5); err != nil {
		t.Fatal(err)
	}
	if _, err := writePictures(taken, made, 3); err != nil {
		t.Fatal(err)
	}
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	list, err := os.ReadDir(taken)
	if err != nil || len(list) != 3 || read(filepath.Join(taken, "000002.jpg")) != read(filepath.Join(made, "000000.jpg")) {
		t.Errorf("%d pictures of 2 taken three times, %v", len(list), err)
	}
	if _, err := writePictures(taken, dir, 1); err == nil {
		t.Error("a folder without pictures: no error")
	}
	few := filepath.Join(dir, "few")
	if err := link(taken, few, 2); err != nil {
		t.Fatal(err)
	}
	p := start1(t, "encode")
	r, err := p.ask(request{Cmd: "pictures", Dir: few, Size: 56})
	if err != nil || len(r.Values) != 2 || r.Values[0] == r.Values[1] {
		t.Errorf("pictures: %+v, %v", r, err)
	}
}

func TestReadNPY(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npy")
	header := "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }"
	for text, want := range map[string]string{
		"\x93NUMPY\x01\x00" + string(rune(len(header))) + "\x00" + header + "\x00\x00\x80\x3f\x00\x00\x00\xc0": "", "": "want version 1", "\x93NUMPY\x01\x00\x80\x00{}": "want version 1",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		x, columns, err := readNPY(path)
		if want == "" && (err != nil || columns != 1 || len(x) != 2 || x[0] != 1 || x[1] != -2) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, %d columns, %v, want %q", text, x, columns, err, want)
		}
	}
}

// What few files take is the start, which no rate has in it.
func TestFileTables(t *testing.T) {
	f := &fileRace{Files: 100, Bytes: 5e6, Batch: 10, Workers: 2, Failed: map[string]string{"OpenVINO": "gone"}}
	for i, name := range []string{"vitago encode", "Pillow, ONNX Runtime, Pool"} {
		for round := range 2 {
			for _, n := range []int{10, 100} {
				f.Runs = append(f.Runs, fileRun{
					Contender: name, Round: round, Threads: 2, Files: n, Seconds: float64(i+1) * float64(1+n/10), CPU: 3, Memory: int64(i+1) * 2e8, Peaks: 3e8, Processes: 1 + 2*i, Cosine: 1,
				})
			}
		}
	}
	f.Pictures = []pictureRun{{"vitago", 224, 0.2, true}, {"Pillow", 224, 0.4, false}}
	text := f.markdown()
	for _, want := range []string{
		"100 files of 50 KB in the mean", "Not measured: OpenVINO (gone).",
		"| vitago encode | 10.0 | 9.1 | 11.0 | 2.0 | 3.0 | 0.20 | 0.30 | 1 | 1.00 | 1.00 |",
		"| Pillow, ONNX Runtime, Pool | 5.0 | 4.5 | 22.0 | 4.0 | 3.0 | 0.40 | 0.30 | 3 | 2.00 | 2.00 |",
		"| vitago, 224 | 2.00 | 1.00 | yes |", "| Pillow, 224 | 4.00 | 0.50 | no |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if err := f.wrong(); err == nil || !strings.Contains(err.Error(), "Pillow, 224 pixels") {
		t.Errorf("other pixels: %v", err)
	}
}
