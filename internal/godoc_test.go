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

// entries are the functions that one begins with: those that make a value of the package, a struct or an interface, and those that take a
// context, so that they can be ended. Words for choices, options and lists are none.
func entries(p *doc.Package) (names []string) {
	for _, f := range p.Funcs {
		if slices.ContainsFunc(f.Decl.Type.Params.List, func(a *ast.Field) bool {
			s, ok := a.Type.(*ast.SelectorExpr)
			return ok && s.Sel.Name == "Context"
		}) {
			names = append(names, f.Name)
		}
	}
	for _, t := range p.Types {
		for _, spec := range t.Decl.Specs {
			spec, ok := spec.(*ast.TypeSpec)
			if !ok || spec.Name.Name != t.Name {
				continue
			}
			switch spec.Type.(type) {
			case *ast.StructType, *ast.InterfaceType:
				for _, f := range t.Funcs {
					if _, list := f.Decl.Type.Results.List[0].Type.(*ast.ArrayType); !list {
						names = append(names, f.Name)
					}
				}
			}
		}
	}
	return names
}

// exampled returns how many Examples of a package are run, since they say what they print, and the names in all of them.
func exampled(p *doc.Package) (run int, names map[string]bool) {
	names = map[string]bool{}
	look := func(list []*doc.Example) {
		for _, e := range list {
			if e.Output != "" || e.EmptyOutput {
				run++
			}
			ast.Inspect(e.Code, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					names[id.Name] = true
				}
				return true
			})
		}
	}
	look(p.Examples)
	for _, f := range p.Funcs {
		look(f.Examples)
	}
	for _, t := range p.Types {
		look(t.Examples)
		for _, f := range slices.Concat(t.Funcs, t.Methods) {
			look(f.Examples)
		}
	}
	return run, names
}

// withoutExample are packages that have no Example to run, or functions that stand in none, and why.
var withoutExample = map[string]string{
	"search/milvus":   "wants a database",
	"search/pgvector": "wants a database",
	"shard/beam":      "wants a runner of Beam's",
	"shard/shardtest": "a helper of tests, which wants a *testing.T",
}

// TestGoDoc: every exported name has a comment, and every function that one begins with an Example, so that go doc of every package reads
// as a page.
func TestGoDoc(t *testing.T) {
	pkgs, err := readShown("..")
	if err != nil {
		t.Fatal(err)
	}
	excused := map[string]bool{}
	for _, p := range pkgs {
		for _, w := range undocumented(p) {
			t.Error(w)
		}
		if strings.HasPrefix(p.path, "examples/") {
			continue // they are examples
		}
		run, names := exampled(p.doc)
		if withoutExample[p.path] != "" {
			excused[p.path] = run == 0
			if run == 0 {
				continue
			}
		}
		if run == 0 {
			t.Errorf("%s has no Example that is run: no func Example… with an // Output:", p.path)
		}
		for _, n := range entries(p.doc) {
			switch at := p.path + "." + n; {
			case withoutExample[at] != "":
				excused[at] = !names[n]
			case !names[n]:
				t.Errorf("%s is in no Example of its package", at)
			}
		}
	}
	for at, why := range withoutExample {
		if !excused[at] {
			t.Errorf("%s is there no more, or has an Example: it needs no excuse, %q", at, why)
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
