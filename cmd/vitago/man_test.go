package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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

// TestStatusPages: the manual's exit statuses are those of docs/cli.md, word for word, and the help of vitago and docs/architecture.md have the same numbers.
func TestStatusPages(t *testing.T) {
	_, table, _ := strings.Cut(page(t, "docs/cli.md"), "| exit status | means |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var rows []string
	var numbers []string
	for _, s := range statuses {
		numbers = append(numbers, strconv.Itoa(s.status))
		rows = append(rows, fmt.Sprintf("| %d | %s |", s.status, s.means))
	}
	if got, want := strings.ReplaceAll(table, "`", ""), strings.Join(rows, "\n"); got != want {
		t.Errorf("docs/cli.md has\n%s\nwant\n%s", got, want)
	}
	_, help, _ := strings.Cut(newRoot(nil, nil, nil).Long, "Exit status: ")
	_, architecture, _ := strings.Cut(page(t, "docs/architecture.md"), "\nThe command ends with ")
	architecture, _, _ = strings.Cut(architecture, ". ")
	for where, text := range map[string]string{"the help": help, "docs/architecture.md": architecture} {
		if got := regexp.MustCompile(`\d+`).FindAllString(text, -1); !slices.Equal(got, numbers) {
			t.Errorf("%s has the statuses %q, want %q", where, got, numbers)
		}
	}
}
