package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/pages"
)

// A goProgram is a block of Go of a page, with the folder in which it runs, and the server that the page has started.
type goProgram struct {
	block       pages.Block
	dir, server string
}

const ownModule = "github.com/vitago/vitago/"

// goImports are the packages that the blocks of Go in pages name, and goGiven the names that they do not define.
var (
	goImports = map[string]string{
		"clip": ownModule + "clip", "zeroshot": ownModule + "zeroshot", "explain": ownModule + "explain", "embeddings": ownModule + "embeddings", "converter": ownModule + "converter", "clipvit": ownModule + "clipvit",
		"finetune": ownModule + "finetune", "data": ownModule + "finetune/data", "evaluation": ownModule + "finetune/evaluation", "job": ownModule + "finetune/job",
		"search": ownModule + "search", "tasks": ownModule + "tasks", "imageencoding": ownModule + "tasks/imageencoding", "fmt": "fmt", "log": "log", "os": "os",
		"errors": "errors", "client": ownModule + "server/client", "notebook": ownModule + "notebook", "projector": ownModule + "projector", "demo": ownModule + "demo",
	}
	goGiven = map[string]string{"ctx": "context.Context", "img": "image.Image", "model": "*clip.Model"}
)

// goInstead is what of a block is written otherwise, since the models are small and the server's port is any.
func goInstead(p goProgram) map[string]string {
	return map[string]string{`"localhost:8080"`: fmt.Sprintf("%q", p.server), `model.Encoder(ctx, "")`: `model.Encoder(ctx, "xcomposer2-4khd")`}
}

// goFunction makes a file of a block, with all that the block leaves out: imports, what it takes as given, and the errors, which end it.
func goFunction(n int, text string) (string, error) {
	files := token.NewFileSet()
	const opened = "package main\n\nfunc block() error {\n"
	file, err := parser.ParseFile(files, "", opened+text+"\n}\n", 0)
	if err != nil {
		return "", err
	}
	imports, given, uses := map[string]bool{"context": true, "image": true, ownModule + "clip": true}, "", ""
	for _, u := range file.Unresolved {
		if path, ok := goImports[u.Name]; ok {
			imports[path] = true
		}
		if _, ok := goGiven[u.Name]; ok {
			given += "_ = " + u.Name + "\n"
		}
	}
	body := file.Decls[0].(*ast.FuncDecl).Body.List
	names := func(n ast.Node, name string) (found bool) {
		ast.Inspect(n, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			found = found || ok && id.Name == name
			return true
		})
		return found
	}
	var after []int // where an error is looked at
	for _, s := range body {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if slices.ContainsFunc(s.Lhs, func(e ast.Expr) bool { return names(e, "err") }) {
				after = append(after, files.Position(s.End()).Offset)
			}
		case *ast.IfStmt:
			if names(s.Cond, "err") && len(after) > 0 { // the block looks itself first
				after[len(after)-1] = files.Position(s.End()).Offset
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && a.Tok == token.DEFINE {
			for _, left := range a.Lhs {
				if id, ok := left.(*ast.Ident); ok && id.Name != "_" {
					uses += "_ = " + id.Name + "\n"
				}
			}
		}
		return true
	})
	slices.Reverse(after)
	for _, at := range after {
		at -= len(opened)
		line := strings.Count(text[:at], "\n") + 1
		text = text[:at] + fmt.Sprintf("; if err != nil { return fmt.Errorf(\"line %d: %%w\", err) }", line) + text[at:]
	}
	imports["fmt"] = true
	out := "package main\n\n"
	for _, path := range slices.Sorted(maps.Keys(imports)) {
		out += fmt.Sprintf("import %q\n", path)
	}
	return out + fmt.Sprintf("\nvar _ = fmt.Errorf\n\nfunc block%d(ctx context.Context, img image.Image, model *clip.Model) error {\n%s{\n%s\n%s}\nreturn nil\n}\n", n, given, text, uses), nil
}

// runGo makes one program of all blocks, and runs them one after the other, each in its folder. The Go of pages stands as gofmt writes it.
func runGo(t *testing.T, root string, programs []goProgram) {
	t.Helper()
	dir, replace := t.TempDir(), map[string]string{}
	write := func(name, text string) {
		real := filepath.Join(dir, name)
		if err := os.WriteFile(real, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, "cmd", "blocks", name)] = real // a folder that is not there
	}
	instead := map[string]bool{}
	calls := ""
	for i, p := range programs {
		name := fmt.Sprintf("%s, line %d", p.block.Page, p.block.Line)
		if f, err := format.Source([]byte(p.block.Text)); err == nil && string(f) != p.block.Text {
			t.Errorf("%s: gofmt makes of it\n%s", name, f)
		}
		text := p.block.Text
		for old, new := range goInstead(p) {
			if strings.Contains(text, old) {
				instead[old], text = true, strings.ReplaceAll(text, old, new)
			}
		}
		f, err := goFunction(i, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		write(fmt.Sprintf("block%d.go", i), f)
		model := "builtin:demo"
		if slices.Contains(inOneFolder, p.block.Page) {
			model = "models/vit-b-32"
		}
		calls += fmt.Sprintf("\trun(%q, %q, %q, block%d)\n", name, p.dir, model, i)
	}
	for old := range goInstead(goProgram{}) {
		if !instead[old] {
			t.Errorf("no block has %s, for which there is another text", old)
		}
	}
	if len(programs) < 9 {
		t.Errorf("%d blocks of Go were found, want 9 or more", len(programs))
	}
	write("main.go", `package main

import (
	"context"
	"fmt"
	"image"
	"os"

	"`+ownModule+`clip"
	_ "`+ownModule+`demo"
	_ "`+ownModule+`tasks/imageencoding/clip"
)

func run(name, dir, path string, block func(context.Context, image.Image, *clip.Model) error) {
	err := os.Chdir(dir)
	var model *clip.Model
	if err == nil {
		model, err = clip.Open(path)
	}
	if err == nil {
		err = block(context.Background(), image.NewRGBA(image.Rect(0, 0, 40, 30)), model)
		model.Close()
	}
	if err != nil {
		fmt.Printf("FAILED %s: %v\n", name, err)
		return
	}
	fmt.Println("ran", name)
}

func main() {
`+calls+"}\n")
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "blocks")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if err := os.WriteFile(list, overlay, 0o666); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-overlay", list, "-o", program, "./cmd/blocks")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		text := string(out)
		for i, p := range programs {
			text = strings.ReplaceAll(text, fmt.Sprintf("block%d.go:", i), fmt.Sprintf("block%d.go (%s, line %d):", i, p.block.Page, p.block.Line))
		}
		t.Fatalf("%v\n%s", err, text)
	}
	out, err := exec.CommandContext(t.Context(), program).CombinedOutput()
	if ran := strings.Count(string(out), "\nran ") + strings.Count(string(out[:min(4, len(out))]), "ran "); err != nil || ran != len(programs) {
		t.Errorf("%d of %d blocks of Go ran: %v\n%s", ran, len(programs), err, out)
	}
}
