package tasks

import (
	"context"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nlpodyssey/cybertron/pkg/models/bert"
	cybertron "github.com/nlpodyssey/cybertron/pkg/tasks"
	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"

	"github.com/vitago/vitago/internal/golden"
)

// exported returns the exported names of the package in a directory, methods not among them.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		var idents []*ast.Ident
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					idents = append(idents, d.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						idents = append(idents, s.Name)
					case *ast.ValueSpec:
						idents = append(idents, s.Names...)
					}
				}
			}
		}
		for _, id := range idents {
			if id.IsExported() {
				names[id.Name] = true
			}
		}
	}
	return names
}

// All that a program of cybertron may name in its package of tasks is here, and is of the same types: another import is all that it
// needs.
func TestCybertronNames(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/nlpodyssey/cybertron/pkg/tasks").Output()
	if err != nil {
		t.Skipf("go list: %v", err)
	}
	theirs, ours := exported(t, strings.TrimSpace(string(out))), exported(t, ".")
	if len(theirs) < 15 {
		t.Fatalf("cybertron has %d names: %v", len(theirs), theirs)
	}
	for name := range theirs {
		if !ours[name] {
			t.Errorf("cybertron's tasks.%s is not here", name)
		}
	}
	for _, same := range []struct{ theirs, ours any }{
		{cybertron.LoadModelForQuestionAnswering, LoadModelForQuestionAnswering}, {cybertron.LoadModelForTextClassification, LoadModelForTextClassification},
		{cybertron.LoadModelForTextEncoding, LoadModelForTextEncoding}, {cybertron.LoadModelForTextGeneration, LoadModelForTextGeneration},
		{cybertron.LoadModelForTokenClassification, LoadModelForTokenClassification},
		{cybertron.LoadModelForZeroShotTextClassification, LoadModelForZeroShotTextClassification},
		{cybertron.LoadModelLanguageModeling, LoadModelLanguageModeling}, {cybertron.ParseDownloadPolicy, ParseDownloadPolicy},
		{cybertron.ParseConversionPolicy, ParseConversionPolicy}, {cybertron.ParseFloatPrecision, ParseFloatPrecision},
		{cybertron.Load[textencoding.Interface], Load[textencoding.Interface]}, {new(cybertron.Config), new(Config)},
	} {
		if reflect.TypeOf(same.theirs) != reflect.TypeOf(same.ours) {
			t.Errorf("%T, cybertron has %T", same.ours, same.theirs)
		}
	}
	if p, err := ParseDownloadPolicy("never"); err != nil || p != DownloadNever {
		t.Errorf("a policy: %v, %v", p, err)
	}
	if p, err := ParseConversionPolicy("always"); err != nil || p != ConvertAlways {
		t.Errorf("a policy: %v, %v", p, err)
	}
	if p, err := ParseFloatPrecision("32"); err != nil || p != F32 {
		t.Errorf("a precision: %v, %v", p, err)
	}
}

// The same configuration loads the same model by either package, converts it into the same files beside it, and what one has converted
// the other takes.
func TestCybertronFiles(t *testing.T) {
	load := map[string]func(*Config) (textencoding.Interface, error){"cybertron": cybertron.LoadModelForTextEncoding, "ours": LoadModelForTextEncoding}
	vectors, files := map[string][]float32{}, map[string]string{}
	for name, load := range load {
		parent := t.TempDir()
		if err := os.CopyFS(filepath.Join(parent, "bert"), os.DirFS(golden.Path(t, "tasks/testdata/bert"))); err != nil {
			t.Fatal(err)
		}
		conf := &Config{ModelsDir: parent, ModelName: "bert", DownloadPolicy: DownloadNever}
		encode := func(load func(*Config) (textencoding.Interface, error)) []float32 {
			t.Helper()
			m, err := load(conf)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Encode(context.Background(), "a cat", int(bert.MeanPooling))
			if err != nil {
				t.Fatal(err)
			}
			return got.Vector.Data().F32()
		}
		vectors[name] = encode(load)
		entries, err := os.ReadDir(filepath.Join(parent, "bert"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			files[name] += e.Name() + " "
		}
		conf.ConversionPolicy = ConvertNever
		for other, load := range map[string]func(*Config) (textencoding.Interface, error){"cybertron": cybertron.LoadModelForTextEncoding, "ours": LoadModelForTextEncoding} {
			golden.Compare(t, other+" of what "+name+" has converted", encode(load), vectors[name], 0)
		}
	}
	golden.Compare(t, "vectors", vectors["ours"], vectors["cybertron"], 0)
	if files["ours"] != files["cybertron"] || !strings.Contains(files["ours"], "spago") {
		t.Errorf("files are %q, cybertron writes %q", files["ours"], files["cybertron"])
	}
}
