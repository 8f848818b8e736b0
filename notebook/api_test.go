package notebook_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// The interpreter of gophernotes knows no type parameters: what is exported has none, and is made of no generic type, iterator or
// channel.
func TestConcrete(t *testing.T) {
	files := token.NewFileSet()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := 0
	check := func(name string, n ast.Node) {
		names++
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncType:
				if n.TypeParams != nil {
					t.Errorf("%s has type parameters", name)
				}
			case *ast.IndexExpr, *ast.IndexListExpr:
				t.Errorf("%s: %v: a generic type", name, files.Position(n.Pos()))
			case *ast.ChanType:
				t.Errorf("%s: %v: a channel", name, files.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "iter" {
					t.Errorf("%s: %v: an iterator", name, files.Position(n.Pos()))
				}
			case *ast.StructType: // fields that are not exported are nobody's matter
				for _, f := range n.Fields.List {
					for _, id := range f.Names {
						if id.IsExported() {
							ast.Inspect(f.Type, func(n ast.Node) bool {
								if _, generic := n.(*ast.IndexExpr); generic {
									t.Errorf("%s.%s: a generic type", name, id.Name)
								}
								return true
							})
						}
					}
				}
				return false
			case *ast.BlockStmt:
				return false
			}
			return true
		})
	}
	for _, path := range paths {
		if !strings.HasSuffix(path, "_test.go") {
			f, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Name.IsExported() {
						check(d.Name.Name, d.Type)
					}
				case *ast.GenDecl:
					for _, s := range d.Specs {
						if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() {
							if s.TypeParams != nil {
								t.Errorf("%s has type parameters", s.Name.Name)
							}
							check(s.Name.Name, s.Type)
						}
					}
				}
			}
		}
	}
	if names < 40 {
		t.Errorf("%d exported names were looked at, want all of them", names)
	}
}
