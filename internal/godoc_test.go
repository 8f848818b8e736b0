package internal_test

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A shown package is one that programs may import, as go doc and pkg.go.dev see it.
type shown struct {
	path  string // its folder below the root, with slashes
	files *token.FileSet
	doc   *doc.Package
}

// notShown are folders of which nobody imports anything: programs, what tests or generates, and what is not Go.
var notShown = map[string]bool{"internal": true, "testdata": true, "_gen": true, "_asm": true, "node_modules": true, ".venv": true, ".git": true}

// readShown reads the packages below a folder that programs may import, those of nested modules among them.
func readShown(root string) (pkgs []shown, err error) {
	err = filepath.WalkDir(root, func(folder string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case folder != root && notShown[d.Name()]:
			return filepath.SkipDir
		}
		names, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		var files []*ast.File
		name, generated := "", true
		for _, path := range names {
			if ok, err := build.Default.MatchFile(folder, filepath.Base(path)); err != nil {
				return err
			} else if !ok {
				continue
			}
			f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			if !strings.HasSuffix(path, "_test.go") {
				name = f.Name.Name
				generated = generated && ast.IsGenerated(f)
			}
			files = append(files, f)
		}
		if name == "" || name == "main" || generated {
			return nil
		}
		path, err := filepath.Rel(root, folder)
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		p, err := doc.NewFromFiles(set, files, module+path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		pkgs = append(pkgs, shown{path, set, p})
		return nil
	})
	return pkgs, err
}

// sentence is the end of one.
var sentence = regexp.MustCompile(`[.:?](\s|$)`)

// begins says whether a comment begins with a name, as go doc wants it: "Name …", or for a type "A Name …".
func begins(comment, name string, kind bool) bool {
	if kind {
		for _, article := range []string{"A ", "An ", "The "} {
			comment = strings.TrimPrefix(comment, article)
		}
	}
	rest, ok := strings.CutPrefix(comment, name)
	return ok && (rest == "" || !token.IsIdentifier(rest[:1]) && (rest[0] < '0' || rest[0] > '9'))
}

// undocumented returns what in a package has no comment, or one that begins otherwise, a line each.
func undocumented(p shown) (wrong []string) {
	add := func(format string, args ...any) { wrong = append(wrong, p.path+": "+fmt.Sprintf(format, args...)) }
	if n := len(sentence.FindAllString(p.doc.Doc, -1)); n < 3 && !strings.HasPrefix(p.path, "examples/") {
		add("the package's comment has %d sentences, want 3 or more: what it is for, and where to begin", n)
	}
	values := func(groups []*doc.Value) {
		for _, g := range groups {
			for _, spec := range g.Decl.Specs {
				s := spec.(*ast.ValueSpec)
				for _, n := range s.Names {
					switch {
					case !n.IsExported() || s.Doc != nil || s.Comment != nil:
					case g.Doc == "":
						add("%s has no comment", n.Name)
					case len(g.Decl.Specs) == 1 && !strings.Contains(g.Doc, n.Name):
						add("the comment of %s is %.30q", n.Name, g.Doc)
					}
				}
			}
		}
	}
	funcs := func(list []*doc.Func, of string) {
		for _, f := range list {
			if !begins(f.Doc, f.Name, false) {
				add("the comment of %s%s is %.30q", of, f.Name, f.Doc)
			}
		}
	}
	values(p.doc.Consts)
	values(p.doc.Vars)
	funcs(p.doc.Funcs, "")
	for _, t := range p.doc.Types {
		if !begins(t.Doc, t.Name, true) {
			add("the comment of %s is %.30q", t.Name, t.Doc)
		}
		values(t.Consts)
		values(t.Vars)
		funcs(t.Funcs, "")
		funcs(t.Methods, t.Name+".")
		for _, spec := range t.Decl.Specs {
			spec, ok := spec.(*ast.TypeSpec)
			if !ok || spec.Name.Name != t.Name {
				continue
			}
			ast.Inspect(spec.Type, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.StructType:
					fields(p.files, n.Fields, t.Name, add)
				case *ast.InterfaceType:
					fields(p.files, n.Methods, t.Name, add)
				case *ast.FuncType:
					return false
				}
				return true
			})
		}
	}
	return wrong
}

// fields adds the exported fields, or methods, that have no comment: neither above them, nor beside them, nor one above the lines
// that they stand in without a gap that names them. Embedded types say what they are themselves.
func fields(files *token.FileSet, list *ast.FieldList, of string, add func(string, ...any)) {
	group, last := "", 0
	for _, f := range list.List {
		line := files.Position(f.Pos()).Line
		switch {
		case f.Doc != nil:
			group = f.Doc.Text()
		case line != last+1:
			group = ""
		}
		last = files.Position(f.End()).Line
		for _, n := range f.Names {
			if n.IsExported() && f.Doc == nil && f.Comment == nil && !regexp.MustCompile(`\b`+n.Name+`\b`).MatchString(group) {
				add("%s.%s has no comment", of, n.Name)
			}
		}
	}
}

// TestGoDoc: every exported name has a comment, so that go doc of every package reads as a page.
func TestGoDoc(t *testing.T) {
	pkgs, err := readShown("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkgs {
		for _, w := range undocumented(p) {
			t.Error(w)
		}
	}
	if len(pkgs) < 60 {
		t.Errorf("%d packages were read, want 60 or more", len(pkgs))
	}
}

// The rules catch what they are for.
func TestUndocumented(t *testing.T) {
	const text = `// Package p does something. Begin with [New].
package p

// C is one.
const C = 1

const D = 2

// The sizes.
const (
	Small = 1
	Large = 2
)

// A T is of x.
type T struct {
	A int
	B int // of x
	// C and D are of y.
	C, D int
	E    int

	// F says how, G how often.
	F int
	G int

	H struct {
		I int
		hidden int
	}
}

// U of anything.
type U struct{}

// makes a T.
func New() *T { return nil }

func (t *T) M() {}

// Interface is one.
type Interface interface {
	// N is documented.
	N()
	O()
}
`
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "p.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	p, err := doc.NewFromFiles(set, []*ast.File{file}, module+"p")
	if err != nil {
		t.Fatal(err)
	}
	got := undocumented(shown{"p", set, p})
	slices.Sort(got)
	want := []string{
		"p: D has no comment",
		"p: Interface.O has no comment",
		"p: T.A has no comment",
		"p: T.E has no comment",
		"p: T.H has no comment",
		"p: T.I has no comment",
		`p: the comment of New is "makes a T.\n"`,
		`p: the comment of T.M is ""`,
		"p: the package's comment has 2 sentences, want 3 or more: what it is for, and where to begin",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
