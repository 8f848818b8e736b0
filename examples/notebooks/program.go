package main

import (
	"bytes"
	"fmt"
	"go/format"
	"regexp"
	"slices"
	"strings"
)

var (
	imported = regexp.MustCompile(`(?m)^import (".*")$`)
	variable = regexp.MustCompile(`(?m)^var (\w+)`)
)

// program makes one program of the cells of all notebooks, for whom has no kernel: it runs the notebook that its first argument names, and
// writes what the cell number N of code shows to N.pipe in the folder of the second, as GoNB would read it, and what it prints to N.txt.
func program(notebooks map[string][]part, names []string) ([]byte, error) {
	imports := map[string]bool{`"fmt"`: true, `"os"`: true, `"path/filepath"`: true}
	var body bytes.Buffer
	for i, name := range names {
		fmt.Fprintf(&body, "\n// %s\nfunc notebook%d() {\n", name, i)
		number := 0
		for _, p := range notebooks[name] {
			if !p.code {
				continue
			}
			for _, m := range imported.FindAllStringSubmatch(p.declarations, -1) {
				imports[m[1]] = true
			}
			fmt.Fprintf(&body, "begin(%d)\n%s\n", number, imported.ReplaceAllString(p.declarations, ""))
			for _, m := range variable.FindAllStringSubmatch(p.declarations, -1) {
				fmt.Fprintf(&body, "_ = %s\n", m[1])
			}
			fmt.Fprintf(&body, "func() {\n%s\n}()\nend()\n", p.statements)
			number++
		}
		body.WriteString("}\n")
	}
	var b bytes.Buffer
	b.WriteString("package main\n\nimport (\n")
	var all []string
	for i := range imports {
		all = append(all, i)
	}
	slices.Sort(all)
	b.WriteString(strings.Join(all, "\n") + "\n)\n\nvar stdout = os.Stdout\n")
	b.WriteString(`
func begin(cell int) {
	pipe, err := os.Create(filepath.Join(os.Args[2], fmt.Sprintf("%d.pipe", cell)))
	if err == nil {
		err = pipe.Close()
	}
	if err == nil {
		os.Stdout, err = os.Create(filepath.Join(os.Args[2], fmt.Sprintf("%d.txt", cell)))
	}
	if err != nil {
		panic(err)
	}
	os.Setenv("GONB_PIPE", pipe.Name())
}

func end() {
	os.Stdout.Close()
	os.Stdout = stdout
}

func main() {
	map[string]func(){
`)
	for i, name := range names {
		fmt.Fprintf(&b, "%q: notebook%d,\n", name, i)
	}
	b.WriteString("}[os.Args[1]]()\n}\n")
	b.Write(body.Bytes())
	return format.Source(b.Bytes())
}
