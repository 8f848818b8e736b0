package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPage: the program writes what docs/tasks.md shows of it, behind the command that it shows.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/tasks.md")
	if err != nil {
		t.Fatal(err)
	}
	const command = "go -C examples/owntask run . ../../demo/pictures/red-circle.png"
	_, rest, found := strings.Cut(string(page), command)
	_, rest, shown := strings.Cut(rest, "\n```\nbrightness ")
	want, _, _ := strings.Cut(rest, "```")
	if !found || !shown {
		t.Fatalf("docs/tasks.md lacks %q, or what it writes", command)
	}
	words := strings.Fields(strings.Replace(command, "go -C examples/owntask ", "go ", 1))
	got, err := exec.CommandContext(t.Context(), words[0], words[1:]...).Output()
	if err != nil || string(got) != "brightness "+want {
		t.Errorf("got %q, %v, want %q", got, err, "brightness "+want)
	}
}
