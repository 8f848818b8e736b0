package main

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// What is committed is what the sources make, small enough for the web, and has an output where something is shown.
func TestFresh(t *testing.T) {
	names, err := sources(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 6 {
		t.Errorf("%d notebooks, want 6", len(names))
	}
	for _, name := range names {
		parts := partsOf(t, name)
		for _, k := range kernels {
			path := filepath.Join(k.folder, name+".ipynb")
			got, err := read(path)
			if err != nil {
				t.Fatal(err)
			}
			if !same(got, k.notebook(parts)) {
				t.Errorf("%s is not what its source makes: go run ./examples/notebooks", path)
			}
			file, _ := os.ReadFile(path)
			if again, err := got.encoded(); err != nil || !bytes.Equal(again, file) {
				t.Errorf("%s is not written as go run ./examples/notebooks writes it (%v)", path, err)
			}
			if len(file) >= 200_000 {
				t.Errorf("%s has %d bytes, want less than 200,000", path, len(file))
			}
			for i, c := range got.Cells {
				if k.folder == "gonb" && c.Type == "code" && strings.Contains(string(c.Source), "notebook.Show(") && len(c.Outputs) == 0 {
					t.Errorf("%s, cell %d shows something, and has no output", path, i+1)
				}
				for _, o := range c.Outputs {
					if o.Type == "error" {
						t.Errorf("%s, cell %d: %s", path, i+1, o.EValue)
					}
				}
			}
		}
	}
}

func partsOf(t *testing.T, name string) []part {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("source", name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	parts, err := parse(string(source))
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// The cells are compiled and run as a program, which shows what is committed. GoNB itself runs them in .ci/long.
func TestCells(t *testing.T) {
	names, err := sources(".")
	if err != nil {
		t.Fatal(err)
	}
	notebooks := map[string][]part{}
	for _, name := range names {
		notebooks[name] = partsOf(t, name)
	}
	code, err := program(notebooks, names)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	if err := os.WriteFile(file, code, 0o666); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// The program is a package of this module that is not on disk.
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "cells", "main.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o666); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "cells")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if out, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", bin, "./cells").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, code)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			shown := t.TempDir()
			cmd := exec.Command(bin, name, shown)
			cmd.Dir = "gonb"
			cmd.Env = append(os.Environ(), "TMPDIR="+dir, "TMP="+dir, "HF_ENDPOINT=http://127.0.0.1:1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			want, err := read(filepath.Join("gonb", name+".ipynb"))
			if err != nil {
				t.Fatal(err)
			}
			want.dropSetup()
			number := 0
			for i, c := range want.Cells {
				if c.Type != "code" {
					continue
				}
				for _, d := range different(c.Outputs, outputsOf(t, shown, number), false) {
					t.Errorf("cell %d: %s", i+1, d)
				}
				number++
			}
		})
	}
}

// outputsOf reads what a cell of the program has shown and printed.
func outputsOf(t *testing.T, dir string, cell int) (all []output) {
	t.Helper()
	printed, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.txt", cell)))
	if err != nil {
		t.Fatal(err)
	}
	if len(printed) > 0 {
		all = append(all, output{Type: "stream", Name: "stdout", Text: text(printed)})
	}
	pipe, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.pipe", cell)))
	if err != nil {
		t.Fatal(err)
	}
	for d := gob.NewDecoder(bytes.NewReader(pipe)); ; {
		var shown struct{ Data map[string]any }
		switch err := d.Decode(&shown); {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF): // the last message is a description without a value
			return all
		case err != nil:
			t.Fatal(err)
		}
		data := map[string]text{}
		for mime, v := range shown.Data {
			if file, ok := v.([]byte); ok {
				v = base64.StdEncoding.EncodeToString(file)
			}
			data[mime] = text(v.(string))
		}
		all = append(all, output{Type: "display_data", Data: data})
	}
}

func TestParse(t *testing.T) {
	parts, err := parse("# Title\n\nText.\n\n```go\nimport \"x\"\n\nvar a = f(\n\t1,\n)\na.Do()\nvar b int\n```\n\n```go\nb()\n```\n\nEnd.\n")
	want := []part{
		{text: "# Title\n\nText."},
		{code: true, declarations: "import \"x\"\n\nvar a = f(\n\t1,\n)", statements: "a.Do()\nvar b int"},
		{code: true, statements: "b()"},
		{text: "End."},
	}
	if err != nil || !reflect.DeepEqual(parts, want) {
		t.Errorf("got %+v, %v", parts, err)
	}
	if _, err := parse("```go\n\n```\n"); err == nil {
		t.Error("an empty block is one")
	}
	n := kernels[0].notebook(parts)
	if got, want := string(n.Cells[2].Source), "import \"x\"\n\nvar a = f(\n\t1,\n)\n%%\na.Do()\nvar b int"; got != want || n.Cells[1].Source != gonbSetup {
		t.Errorf("a cell of GoNB is %q, want %q", got, want)
	}
	if got, want := string(n.Cells[3].Source), "%%\nb()"; got != want {
		t.Errorf("a cell of GoNB is %q, want %q", got, want)
	}
	if n := kernels[1].notebook(parts); len(n.Cells) != 4 || n.Cells[2].Source != "b()" {
		t.Errorf("cells of gophernotes are %+v", n.Cells)
	}
}

func TestDifferent(t *testing.T) {
	pngOf := func(v uint8) text {
		img := image.NewGray(image.Rect(0, 0, 2, 2))
		img.SetGray(0, 0, color.Gray{v})
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		return text(base64.StdEncoding.EncodeToString(b.Bytes()))
	}
	shown := func(words string, v uint8) output {
		return output{Type: "display_data", Data: map[string]text{"text/plain": text(words), "image/png": pngOf(v)}}
	}
	for _, c := range []struct {
		name      string
		want, got []output
		is        string // part of what is said; "" for nothing
	}{
		{"equal", []output{shown("a 100 %", 0)}, []output{shown("a 100 %", 0)}, ""},
		{"near", []output{shown("a  0.300\nb", 0)}, []output{shown("a 0.311\nb", 16)}, ""},
		{"a number", []output{shown("a 0.300", 0)}, []output{shown("a 0.400", 0)}, "got 0.400"},
		{"words", []output{shown("a red circle", 0)}, []output{shown("a blue circle", 0)}, "a blue circle"},
		{"a picture", []output{shown("a", 0)}, []output{shown("a", 255)}, "of 255 off"},
		{"none", []output{shown("a", 0)}, nil, "0 outputs, want 1"},
		{"no picture", []output{shown("a", 0)}, []output{{Type: "display_data", Data: map[string]text{"text/plain": "a"}}}, "shown as"},
		{"progress", nil, []output{{Type: "stream", Name: "stderr", Text: "1 of 2"}}, ""},
		{"an error", nil, []output{{Type: "error", EValue: "exit status 2"}}, "error: exit status 2"},
	} {
		got := strings.Join(different(c.want, c.got, false), "; ")
		if c.is == "" && got != "" || !strings.Contains(got, c.is) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.is)
		}
	}
	if d := different([]output{shown("a", 0), shown("b", 0)}, []output{{Type: "execute_result", Data: map[string]text{"text/plain": "a\nb"}}}, true); len(d) != 0 {
		t.Errorf("together: %q", d)
	}
}

func TestBindings(t *testing.T) {
	b, err := bindings("../../notebook")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"Open":`, "reflect.ValueOf(notebook.Open)", "reflect.TypeFor[notebook.Table]()"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
	if _, err := bindings(t.TempDir()); err == nil {
		t.Error("an empty folder has bindings")
	}
}
