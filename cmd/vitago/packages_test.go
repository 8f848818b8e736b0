package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var writePackages = flag.Bool("packages", false, "write the list of packages, as go generate does")

// TestPackages: the list has the packages of this module that the command is made of and that put their names in
// front of errors.
func TestPackages(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Name,Dir,GoFiles,Module", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Name, Dir string
			GoFiles   []string
			Module    *struct{ Main bool }
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module == nil || !p.Module.Main {
			continue
		}
		for _, name := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(source, []byte(`"`+p.Name+`: `)) || bytes.Contains(source, []byte(`Prefix("`+p.Name+`"`)) || bytes.Contains(source, []byte(`gate.New("`+p.Name+`"`)) {
				names = append(names, p.Name)
				break
			}
		}
	}
	slices.Sort(names)
	text := strings.Join(slices.Compact(names), "\n") + "\n"
	if *writePackages {
		if err := os.WriteFile("packages.txt", []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if text != packages {
		t.Errorf("packages.txt is\n%s\nand should be\n%s\nrun go generate ./cmd/vitago", packages, text)
	}
}
