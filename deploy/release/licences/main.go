// Licences writes the texts of the licences of all that programs of Go are made of: their own, that of Go, and of each module that is compiled in.
//
//	go run ./release/licences OUT PROGRAM...
package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: licences OUT PROGRAM...")
		os.Exit(2)
	}
	text, err := texts(os.Args[2:])
	if err == nil {
		err = os.WriteFile(os.Args[1], text, 0o644)
	}
	if err != nil {
		log.Fatal("licences: ", err)
	}
}

// legal are the names of files that a licence wants to be passed on.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|copyright|authors)([-.].*)?$`)

// licence are those of them that have the licence itself.
var licence = regexp.MustCompile(`(?i)^(licen[cs]e|copying)([-.].*)?$`)

// texts returns the texts, module after module by their paths.
func texts(programs []string) ([]byte, error) {
	modules := map[string]string{} // their versions
	for _, p := range programs {
		info, err := buildinfo.ReadFile(p)
		if err != nil {
			return nil, err
		}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			if v := modules[m.Path]; v != "" && v != m.Version {
				return nil, fmt.Errorf("%s: has %s of %s, and another program %s", p, m.Version, m.Path, v)
			}
			modules[m.Path] = m.Version
		}
	}
	names := []string{}
	for path, version := range modules {
		names = append(names, path+"@"+version)
	}
	slices.Sort(names)
	var b bytes.Buffer
	fmt.Fprintf(&b, "The program has been compiled with the Go standard library and the modules below. Their licences follow, and what goes with them.\n\n%s (Go)\n", runtime.Version())
	for _, n := range names {
		fmt.Fprintln(&b, n)
	}
	goroot, err := output("go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	if err := add(&b, runtime.Version()+" (Go)", strings.TrimSpace(goroot)); err != nil {
		return nil, err
	}
	all, err := output("go", append([]string{"mod", "download", "-json"}, names...)...)
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(all)); d.More(); {
		var m struct{ Path, Version, Dir, Error string }
		if err := d.Decode(&m); err != nil {
			return nil, err
		}
		if m.Error != "" {
			return nil, errors.New(m.Error)
		}
		dirs[m.Path+"@"+m.Version] = m.Dir
	}
	for _, n := range names {
		if dirs[n] == "" {
			return nil, fmt.Errorf("%s: no such module was found", n)
		}
		if err := add(&b, n, dirs[n]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// add adds the files of a module that a licence wants, those of code from elsewhere below it, too. A module without a licence is an error.
func add(b *bytes.Buffer, name, dir string) error {
	found, top := 0, strings.HasSuffix(name, "(Go)") // of Go that at the top alone: the rest is tests and tools
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); path != dir && (top || base == "testdata" || strings.HasPrefix(base, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		inside, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if !legal.MatchString(d.Name()) || filepath.Ext(path) == ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if licence.MatchString(inside) {
			found++
		}
		fmt.Fprintf(b, "\n%[1]s\n%s: %s\n%[1]s\n\n%[4]s\n", strings.Repeat("-", 80), name, filepath.ToSlash(inside), bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))))
		return nil
	})
	if err == nil && found == 0 {
		err = fmt.Errorf("%s: no file of a licence at the top of the module", name)
	}
	return err
}

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	out, err := cmd.Output()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		return "", fmt.Errorf("%s: %w: %s", name, err, e.Stderr)
	}
	return string(out), err
}
