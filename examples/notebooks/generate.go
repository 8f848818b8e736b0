// Notebooks is no example, but what writes the notebooks beside it, for both kernels from one source, and compares what a run of them shows with what is committed.
//
//	go run ./examples/notebooks                     # source/*.md → gonb/*.ipynb, gophernotes/*.ipynb; outputs stay where cells do
//	go run ./examples/notebooks -compare RUN        # the notebooks in RUN, which a kernel has run, against those in gonb
//	go run ./examples/notebooks -take RUN           # the outputs in RUN become those in gonb
//	go run ./examples/notebooks -bindings FILE.go   # what makes package notebook a part of gophernotes; gophernotes.sh does it
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	log.SetFlags(0)
	compare := flag.String("compare", "", "compare with the notebooks in `RUN`")
	take := flag.String("take", "", "take the outputs of the notebooks in `RUN`")
	dir := flag.String("dir", "examples/notebooks", "the `FOLDER` of the notebooks")
	bind := flag.String("bindings", "", "write the bindings of package notebook for gophernotes to `FILE`")
	kernel := flag.String("kernel", "gonb", "`KERNEL` by which RUN was made")
	flag.Parse()
	var err error
	switch {
	case flag.NArg() > 0 || *compare != "" && *take != "":
		flag.Usage()
		os.Exit(2)
	case *bind != "":
		err = writeBindings(filepath.Join(*dir, "../../notebook"), *bind)
	case *compare != "":
		err = compareRun(*dir, *compare, *kernel)
	case *take != "":
		err = generate(*dir, *take)
	default:
		err = generate(*dir, "")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// sources returns the names of the notebooks, without their extension, in order.
func sources(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "source", "*.md"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s has no source/*.md", dir)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".md")
	}
	return files, err
}

// generate writes all notebooks. Outputs are those of the folder run, or if it is "" those that are there, as far as cells are the same.
func generate(dir, run string) error {
	names, err := sources(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, "source", name+".md"))
		if err != nil {
			return err
		}
		parts, err := parse(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, k := range kernels {
			path := filepath.Join(dir, k.folder, name+".ipynb")
			n := k.notebook(parts)
			from := path
			if run != "" && k.folder == "gonb" {
				from = filepath.Join(run, name+".ipynb")
			}
			switch was, err := read(from); {
			case err == nil:
				n.takeOutputs(was)
			case run != "" || !errors.Is(err, os.ErrNotExist):
				return err
			}
			if err := n.write(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// compareRun says in what the notebooks that a kernel has run differ from those in gonb.
func compareRun(dir, run, by string) error {
	names, err := sources(dir)
	if err != nil {
		return err
	}
	var wrong []string
	cells := 0
	for _, name := range names {
		want, err := read(filepath.Join(dir, "gonb", name+".ipynb"))
		if err != nil {
			return err
		}
		got, err := read(filepath.Join(run, name+".ipynb"))
		if err != nil {
			return err
		}
		for _, n := range []*notebook{want, got} {
			n.dropSetup()
		}
		if len(want.Cells) != len(got.Cells) {
			wrong = append(wrong, fmt.Sprintf("%s: %d cells, want %d", name, len(got.Cells), len(want.Cells)))
			continue
		}
		for i, w := range want.Cells {
			if w.Type != "code" {
				continue
			}
			cells++
			together := by != "gonb" // gophernotes makes one output of all that a cell shows
			for _, e := range different(w.Outputs, got.Cells[i].Outputs, together) {
				wrong = append(wrong, fmt.Sprintf("%s, cell %d: %s", name, i+1, e))
			}
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	fmt.Printf("%d notebooks, %d cells: as committed\n", len(names), cells)
	return nil
}
