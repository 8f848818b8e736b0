package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMan: every verb has a page with its flags, and a second run makes the same bytes.
func TestMan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "above", "man1")
	vitago("man", dir).want(t, exitDone, nil, nil)
	vitago("man", dir).want(t, exitFailed, nil, []string{"man1 is there already"})
	again := dir + "-again"
	vitago("man", again).want(t, exitDone, nil, nil)
	for _, verb := range verbs(newRoot(strings.NewReader(""), nil, nil)) {
		name := strings.ReplaceAll(verb.CommandPath(), " ", "-") + ".1"
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if other, err := os.ReadFile(filepath.Join(again, name)); err != nil || string(other) != string(page) {
			t.Errorf("%s is another the second time, %v", name, err)
		}
		text := strings.ReplaceAll(string(page), `\-`, "-")
		for _, want := range []string{".TH", "SYNOPSIS", verb.Name(), ".SH EXAMPLES", ".SH EXIT STATUS", ".SH ENVIRONMENT", "VITAGO_CONFIG"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %q", name, want)
			}
		}
		if strings.Contains(text, "Auto generated") {
			t.Errorf("%s says when it was made", name)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "vitago-encode.1"))
	if text := strings.ReplaceAll(string(page), `\-`, "-"); err != nil || !strings.Contains(text, "--normalize") || !strings.Contains(text, "--threads") || !strings.Contains(text, "VITAGO_ENCODE_SKIP_ERRORS") || !strings.Contains(text, "42") {
		t.Errorf("the page of encode lacks flags: %v", err)
	}
}
