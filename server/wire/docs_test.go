package wire

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/server/engine"
)

// TestDocs runs the commands of the section on wire formats, and looks for the vectors in what they write.
func TestDocs(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil || runtime.GOOS != "linux" {
		t.Skip("wants curl and the tools of Linux: ", err)
	}
	page, err := os.ReadFile("../../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Wire formats\n")
	section, _, _ = strings.Cut(section, "\n## ")
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pictures, err := search.NewSource("../../demo/pictures")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	index := filepath.Join(dir, "index")
	if _, err := search.Update(t.Context(), m, index, []search.Source{pictures}, search.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(t.Context(), engine.Config{Models: []engine.Model{{Name: "demo", Aliases: []string{"ViT-B-32__openai"}, Path: demo.Name, Index: index}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(t.Context()) })
	base := serve(t, Options{Engine: e})
	if err := os.WriteFile(filepath.Join(dir, "red-circle.png"), picture(t, "red-circle.png"), 0o600); err != nil {
		t.Fatal(err)
	}

	patches, err := m.Features(t.Context(), clipvit.Features{Kind: clipvit.Patches, Layer: -2}, clip.Bytes("a", picture(t, "red-circle.png")))
	if err != nil {
		t.Fatal(err)
	}
	width := len(patches[0]) / 64
	clip.Normalize(patches[0][:width])
	begin := map[string]string{}
	for what, v := range map[string][]float32{
		"image": reference(t, "image", "red-circle.png", ""), "text": reference(t, "text", "a red circle", ""), "patches": patches[0][:width],
	} {
		clip.Normalize(v)
		begin[what] = strings.TrimSuffix(string(appendFloats(nil, v[:8])), "]")
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) < 9 {
		t.Fatalf("%d blocks of commands", len(blocks))
	}
	for _, b := range blocks {
		for _, command := range strings.Split(strings.ReplaceAll(strings.TrimSpace(b[1]), "|\n", "| "), "\n") {
			c := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(strings.ReplaceAll(command, "curl -s", "curl -sS --fail-with-body"), "localhost:8080", base))
			c.Dir, c.Stderr = dir, os.Stderr
			out, err := c.Output()
			if err != nil || !json.Valid(out) {
				t.Errorf("%s: %v: %s", command, err, out)
				continue
			}
			wants := []string{}
			if strings.Contains(command, "a red circle") && !strings.Contains(command, "knn-service") {
				wants = append(wants, begin["text"])
			}
			if strings.Contains(command, "features=patches") {
				wants = append(wants, begin["patches"], `"shape":[64,`)
			} else if strings.Contains(command, "red-circle.png") {
				wants = append(wants, begin["image"])
			}
			if strings.Contains(command, "knn-service") {
				wants = append(wants, "red-circle.png")
			}
			for _, want := range wants {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s: got %.300s, want %s", command, out, want)
				}
			}
		}
	}
}
