package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestTexts: a program's modules and Go have their licences in it, once, and twice the same bytes.
func TestTexts(t *testing.T) {
	program := filepath.Join(t.TempDir(), "proxy")
	if out, err := exec.Command("go", "build", "-o", program, "../proxy").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := texts([]string{program})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"(Go): LICENSE\n", "2009 The Go Authors", "\ngolang.org/x/mod@v", ": LICENSE\n"} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("%q is not in it", want)
		}
	}
	again, err := texts([]string{program, program})
	if err != nil || !bytes.Equal(got, again) {
		t.Errorf("of the program twice it is another, %v", err)
	}
	if _, err := texts([]string{filepath.Join("..", "release.sh")}); err == nil {
		t.Error("a script has licences")
	}
}

// TestNoLicence: a module without one is no part of a release.
func TestNoLicence(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "license.go"), []byte("package license"), 0o666); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := add(&b, "example.com/none@v1.0.0", dir); err == nil || b.Len() > 0 {
		t.Errorf("%v, %q", err, &b)
	}
}
