package pages

import (
	"fmt"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	const line = `curl -s "a b" | vitago classify --labels "x,\"y, z\"" '{} #'  "" # a "comment`
	want := [][]string{{"curl", "-s", "a b"}, {"vitago", "classify", "--labels", `x,"y, z"`, "{} #", ""}}
	if got := Split(line); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBlocks(t *testing.T) {
	const page = "# A\n\n```sh\ncd deploy && A=1 go run ./x \\\n  -y # wants\nb '#' |\n  c\ndownload # released weights, 1 GB\n```\n\nText.\n\n```go a/b.go\npackage b\n```\n\n*Wants a cluster.* More.\n\n```sh\nkubectl\n```\n"
	blocks := Blocks("docs/a.md", page)
	if len(blocks) != 3 {
		t.Fatalf("%+v", blocks)
	}
	if b := blocks[1]; b.Language != "go a/b.go" || b.Text != "package b\n" || b.Line != 13 || b.Mark != "" || b.Commands() != nil {
		t.Errorf("%+v", b)
	}
	if b := blocks[2]; b.Mark != "a cluster" {
		t.Errorf("%+v", b)
	}
	var got []string
	for _, c := range blocks[0].Commands() {
		got = append(got, fmt.Sprintf("%s %q %q %q %q", c.Where(), c.Pipe, c.Env, c.Dir, c.Mark))
	}
	want := []string{
		`docs/a.md: go run ./x  -y [["go" "run" "./x" "-y"]] ["A=1"] "deploy" ""`,
		`docs/a.md: b '#' | c [["b" "#"] ["c"]] [] "deploy" ""`,
		`docs/a.md: download [["download"]] [] "deploy" "released weights"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAll(t *testing.T) {
	all, err := All("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"README.md", "docs/serving.md", "deploy/README.md"} {
		if text, err := Read("../..", p); err != nil || !strings.HasPrefix(text, "# ") || !strings.Contains(" "+strings.Join(all, " ")+" ", " "+p+" ") {
			t.Errorf("%s is none of %q, or cannot be read: %v", p, all, err)
		}
	}
}
