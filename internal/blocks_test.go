package internal_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	read "github.com/vitago/vitago/internal/pages"
)

// A runner is what executes blocks of pages, or commands in them.
type runner struct {
	pages    string         // a pattern of pages
	language string         // of the block
	text     *regexp.Regexp // of the block, or of a command of one in sh or console
	test     string         // a function in file, or a step of .ci/long, as ".ci/long python"
	file     string         // what reads the page: it names it, or reads all by package pages
	has      string         // in the place of that: the part of the command that stands in file as well
}

// ofShell is the language of blocks with commands.
const ofShell = "sh"

// runners are asked in this order: the first that fits a command is the one that runs it.
var runners = []runner{
	{"README.zh-CN.md", "*", nil, "TestTranslation", "internal/docs_test.go", ""},
	{"docs/quickstart.zh-CN.md", "*", nil, "TestQuickstartTranslation", "cmd/vitago/quickstart_test.go", ""},
	{"docs/quickstart.md", "", nil, "TestQuickstart", "cmd/vitago/quickstart_test.go", ""}, // what commands print
	{"docs/quickstart.md", ofShell, regexp.MustCompile(`^go run \./examples/shapes `), "TestQuickstart", "cmd/vitago/quickstart_test.go", ""},
	{"docs/migration.md", "python", nil, ".ci/long python", "testdata/gen/migration.py", ""},
	{"docs/migration.md", ofShell, nil, ".ci/long python", "testdata/gen/migration.py", ""},
	{"docs/embeddings.md", "python", nil, ".ci/long python", "testdata/gen/pages.py", ""},
	{"docs/search.md", "python", nil, ".ci/long python", "testdata/gen/index_readers.py", ""},
	{"docs/serving.md", "python", nil, ".ci/long clients", "server/wire/testdata/clients/clients.py", ""},
	{"*", "go", nil, "TestPagesRun", "cmd/vitago/pages_run_test.go", ""},
	{"docs/*", "go *", nil, "TestQuotedFiles", "internal/docs_test.go", ""},
	{"docs/serving.md", "yaml", nil, "TestPagesRun", "cmd/vitago/pages_run_test.go", ""},
	{"docs/cli.md", "yaml", nil, "TestPagesRun", "cmd/vitago/pages_run_test.go", ""},
	{"docs/serving.md", "", regexp.MustCompile(`^# NAME TOKEN`), "TestPagesRun", "cmd/vitago/pages_run_test.go", ""},
	{"docs/verify.md", "json", nil, "TestPagesRun", "cmd/vitago/pages_run_test.go", ""},
	{"docs/shards.md", "", regexp.MustCompile(`^shards `), "TestPagesRun", "cmd/vitago/pages_run_test.go", ""},
	{"docs/tasks.md", "", regexp.MustCompile(`^brightness `), "TestPage", "examples/owntask/page_test.go", ""},
	{"docs/architecture.md", "", nil, "TestLayersAreDrawn", "internal/docs_test.go", ""},
	{"docs/kernels.md", "", regexp.MustCompile(`[│─▶·]`), "TestEveryBlock", "internal/blocks_test.go", ""}, // drawings, which nothing can run

	{"*", ofShell, regexp.MustCompile(`^(vitago|go run \./cmd/vitago) `), "TestPagesRun", "cmd/vitago/pages_run_test.go", ""},
	{"*", ofShell, regexp.MustCompile(`^(curl|printf) .*localhost:8080`), "TestPagesRun", "cmd/vitago/pages_run_test.go", ""},
	{"*", ofShell, regexp.MustCompile(`^go run \./bench `), "TestPages", "bench/pages_test.go", ""},
	{"*", ofShell, regexp.MustCompile(`^go run \./scale `), "TestCommandsOfPages", "deploy/scale/scale_test.go", ""},
	{"*", ofShell, regexp.MustCompile(`^go run \./image `), "TestCommandsOfPages", "deploy/image/pages_test.go", ""},
	{"docs/shards.md", ofShell, regexp.MustCompile(`^vitago-nats `), "TestPage", "shard/nats/cmd/vitago-nats/command_test.go", ""},
	{"*", ofShell, regexp.MustCompile(`^bench/setup\.sh$`), ".ci/long bench", ".ci/long", "bench/setup.sh"},
	{"*", ofShell, regexp.MustCompile(`^testdata/gen/setup\.sh$`), ".ci/long fullsize", ".ci/long", "testdata/gen/setup.sh"},
	{"docs/[nq]*.md", ofShell, regexp.MustCompile(`^go install tool$`), ".ci/long notebooks", "examples/notebooks/run.sh", "install tool"},
	{"docs/[nq]*.md", ofShell, regexp.MustCompile(`^gonb --install --force_deps$`), ".ci/long notebooks", "examples/notebooks/run.sh", "gonb --install --force_deps"},
	{"docs/notebooks.md", ofShell, regexp.MustCompile(`gophernotes\.sh$`), ".ci/long notebooks", ".ci/long", "examples/notebooks/gophernotes.sh"},
	{"deploy/README.md", ofShell, regexp.MustCompile(`^deploy/release/release\.sh `), ".ci/long release", ".ci/long", "deploy/release/release.sh"},
	{"deploy/README.md", ofShell, regexp.MustCompile(`^deploy/release/proxy\.sh$`), ".ci/long release", ".ci/long", "deploy/release/proxy.sh"},
	{"*", ofShell, regexp.MustCompile(`fullsize\.py openclip `), ".ci/long fullsize", ".ci/long", "fullsize.py openclip ViT-H-14"},
	{"*", ofShell, regexp.MustCompile(`fullsize\.py archive `), ".ci/long fullsize", ".ci/long", "fullsize.py archive"},
	{"*", ofShell, regexp.MustCompile(`fullsize\.py (expect|--help)`), ".ci/long fullsize", ".ci/long", "fullsize.py "},
	{"*", ofShell, regexp.MustCompile(`xcomposer_full\.py /`), ".ci/long fullsize", ".ci/long", "xcomposer_full.py"},
	{"*", ofShell, regexp.MustCompile(`^testdata/gen/sums\.sh --check$`), ".ci/long python", ".ci/long", "testdata/gen/sums.sh --check"},
	{"*", ofShell, regexp.MustCompile(`^go test -run FullSize`), ".ci/long fullsize", ".ci/long", "-run FullSize"},
	{"*", ofShell, regexp.MustCompile(`^(go (-C \S+ )?(build|test|generate|install)|\.ci/(run|long))( |$)`), "TestCommandsOfGo", "internal/blocks_test.go", ""},
}

// wanted are the marks that a block may have. A new one needs a reason why nothing can run the block.
var wanted = map[string]string{
	"released weights": "nothing is downloaded by a test",
	"a cluster":        "of Kubernetes",
	"Docker":           "its daemon",
	"an afternoon":     "hours of one machine",
	"hugot, and both towers exported to ONNX": "another library, and files that Python writes",
}

// pageName is that of a page, or a pattern of some, in a test or a script.
var pageName = regexp.MustCompile(`[A-Za-z0-9_./*-]+\.md`)

// reads says whether the text of a test or script names a page, or reads all of them.
func reads(text, page string) bool {
	if strings.Contains(text, ".All(") && strings.Contains(text, ".Blocks(") {
		return true
	}
	for _, name := range pageName.FindAllString(text, -1) {
		for strings.HasPrefix(name, "../") {
			name = name[3:]
		}
		if ok, err := path.Match(name, page); ok && err == nil || name == path.Base(page) {
			return true
		}
	}
	return false
}

// check says what is wrong with a runner, for a page that it is to run; what runs it, and what reads the page, has to be there.
func (r runner) check(page string, words string) error {
	b, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(r.file)))
	if err != nil {
		return err
	}
	text := string(b)
	if step, ok := strings.CutPrefix(r.test, ".ci/long "); ok {
		long, err := os.ReadFile("../.ci/long")
		if err != nil {
			return err
		}
		_, body, ok := strings.Cut(string(long), "\n"+step+"() {")
		body, _, _ = strings.Cut(body, "\n}")
		// A script is run by the step itself, or by the one of the same folder and name that the step runs.
		if base := strings.TrimSuffix(path.Base(r.file), path.Ext(r.file)); !ok || r.file != ".ci/long" && !strings.Contains(body, base) && !strings.Contains(body, path.Dir(r.file)+"/run.sh") {
			return fmt.Errorf(".ci/long has no step %s that runs %s", step, r.file)
		}
		if r.file == ".ci/long" {
			text = body
		}
	} else if !strings.Contains(text, "\nfunc "+r.test+"(t *testing.T)") {
		return fmt.Errorf("%s has no %s", r.file, r.test)
	}
	switch {
	case r.has != "" && !strings.Contains(text, r.has):
		return fmt.Errorf("%s lacks %q", r.file, r.has)
	case r.has != "" && !strings.Contains(words, r.has) && !strings.Contains(r.has, words):
		return fmt.Errorf("%q is not what %s runs, %q", words, r.file, r.has)
	case r.has == "" && !reads(text, page):
		return fmt.Errorf("%s does not read %s", r.file, page)
	}
	return nil
}

func (r runner) fits(page, language, text string) bool {
	ofPage, _ := path.Match(r.pages, page)
	ofLanguage, _ := path.Match(r.language, language)
	if r.language == "go *" { // with the name of a file
		ofLanguage = strings.HasPrefix(language, "go ")
	}
	return (ofPage || r.pages == "*") && ofLanguage && (r.text == nil || r.text.MatchString(text))
}

// TestEveryBlock: each block of each page, and each command of one for the shell, is run by a test or by a step of .ci/long that reads the page, or
// says beside it what it wants that tests do not have (see Block.Mark of package pages). A runner that runs nothing any more is none.
func TestEveryBlock(t *testing.T) {
	all, err := read.All("..")
	if err != nil {
		t.Fatal(err)
	}
	used, marked := map[string]int{}, map[string]bool{}
	judge := func(b read.Block, language, text, mark string) {
		where := fmt.Sprintf("%s, line %d: %.60q", b.Page, b.Line, text)
		i := slices.IndexFunc(runners, func(r runner) bool { return r.fits(b.Page, language, text) })
		if i >= 0 && mark == "" {
			used[fmt.Sprint(runners[i])]++
			if err := runners[i].check(b.Page, text); err != nil {
				t.Errorf("%s: %v", where, err)
			}
			return
		}
		switch {
		case mark == "":
			t.Errorf("%s is run by nothing, and is not marked as *Wants …*", where)
		case wanted[mark] == "":
			t.Errorf("%s is marked as *Wants %s.*, which is none of %q", where, mark, slices.Sorted(maps.Keys(wanted)))
		}
		marked[mark] = true
	}
	blocks := 0
	for _, page := range all {
		text, err := read.Read("..", page)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range read.Blocks(page, text) {
			blocks++
			if b.Language != "sh" && b.Language != "console" {
				judge(b, b.Language, b.Text, b.Mark)
				continue
			}
			for _, c := range b.Commands() {
				judge(b, ofShell, c.Text, c.Mark)
			}
		}
	}
	if blocks < 90 {
		t.Errorf("%d blocks were found, want 90 or more", blocks)
	}
	for mark := range wanted {
		if !marked[mark] {
			t.Errorf("no block is marked as *Wants %s.*", mark)
		}
	}
	for _, r := range runners {
		if used[fmt.Sprint(r)] == 0 {
			t.Errorf("%+v runs no block", r)
		}
	}
}

// functions returns the tests, benchmarks and fuzz targets of packages, by their patterns as the go command takes them, from dir.
func functions(t *testing.T, dir string, patterns []string) (names []string) {
	t.Helper()
	for _, p := range patterns {
		from, deep := strings.CutSuffix(filepath.FromSlash(p), string(filepath.Separator)+"...")
		from, sources := filepath.Join(dir, from), 0
		err := filepath.WalkDir(from, func(file string, d os.DirEntry, err error) error {
			switch name := filepath.Base(file); {
			case err != nil:
				return err
			case d.IsDir() && file != from && (!deep || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata"):
				return filepath.SkipDir
			case strings.HasSuffix(name, ".go"):
				sources++
				if !strings.HasSuffix(name, "_test.go") || p == "./..." { // of which nothing has to be there by name
					return nil
				}
				parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
				if err != nil {
					return err
				}
				for _, d := range parsed.Decls {
					if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
						names = append(names, f.Name.Name)
					}
				}
			}
			return nil
		})
		if err != nil || sources == 0 {
			t.Errorf("%s in %s has %d files of Go: %v", p, dir, sources, err)
		}
	}
	return names
}

// goShort is what makes a command of the go command short, when it is run: everything is compiled, and one of each measured.
var goShort = []string{"-benchtime", "1x", "-fuzztime", "5s"}

// TestCommandsOfGo: of the commands "go test", "go build" and so on of all pages the packages are there, and functions of the names that they ask for; of
// .ci/long, its steps. Those that VITAGO_PAGES matches, a regular expression, run in their shortest form.
func TestCommandsOfGo(t *testing.T) {
	all, err := read.All("..")
	if err != nil {
		t.Fatal(err)
	}
	long, err := os.ReadFile("../.ci/long")
	if err != nil {
		t.Fatal(err)
	}
	core, err := os.ReadFile("../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	pattern := os.Getenv("VITAGO_PAGES")
	really, err := regexp.Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	out, found := t.TempDir(), 0
	for _, page := range all {
		text, err := read.Read("..", page)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range read.Blocks(page, text) {
			for _, c := range b.Commands() {
				words, dir := c.Words(), filepath.Join("..", filepath.FromSlash(c.Dir))
				if words[0] == ".ci/long" || words[0] == ".ci/run" {
					found++
					if info, err := os.Stat(filepath.Join("..", words[0])); err != nil || info.IsDir() {
						t.Errorf("%s: %v", c.Where(), err)
					}
					for _, step := range words[1:] {
						if !strings.Contains(string(long), "\n"+step+"() {") {
							t.Errorf("%s: .ci/long has no step %s", c.Where(), step)
						}
					}
					continue
				}
				if words[0] != "go" || len(words) < 2 || c.Mark != "" {
					continue
				}
				if words[1] == "-C" {
					dir = filepath.Join(dir, filepath.FromSlash(words[2]))
					words = append([]string{"go"}, words[3:]...)
				}
				verb := words[1]
				if !slices.Contains([]string{"build", "test", "generate", "install"}, verb) || slices.Contains(words, "tool") {
					continue
				}
				found++
				var patterns []string
				wants := map[string]string{}
				for i := 2; i < len(words); i++ {
					switch w := words[i]; {
					case strings.HasPrefix(w, "."):
						patterns = append(patterns, w)
					case slices.Contains([]string{"-run", "-bench", "-fuzz"}, w):
						wants[w] = words[i+1]
						i++
					case slices.Contains([]string{"-tags", "-benchtime", "-o"}, w):
						i++
					case w != "-v":
						t.Errorf("%s: what is %s?", c.Where(), w)
					}
				}
				names := functions(t, dir, patterns)
				for flag, prefix := range map[string]string{"-run": "Test", "-bench": "Benchmark", "-fuzz": "Fuzz"} {
					want, ok := wants[flag]
					if first, _, _ := strings.Cut(want, "/"); ok && want != "^$" {
						re, err := regexp.Compile(first)
						if err != nil || !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, prefix) && re.MatchString(n) }) {
							t.Errorf("%s: no function of these packages fits %s %s", c.Where(), flag, want)
						}
					}
				}
				if pattern == "" || !really.MatchString(c.Text) || wants["-run"] != "" && wants["-run"] != "^$" { // that of models at full size is a step of its own
					continue
				}
				args := slices.Clone(words[1:])
				switch {
				case verb == "test" && (slices.Contains(patterns, "./...") || strings.Contains(string(core), "\n"+c.Text+" ")): // .ci/run has this
					args = append([]string{"test", "-run", "^$"}, args[1:]...)
				case verb == "test" && wants["-bench"] != "":
					args = append([]string{"test", "-timeout", "30m"}, append(slices.DeleteFunc(args[1:], func(w string) bool { return w == "-benchtime" || w == "3x" }), goShort[:2]...)...)
				case verb == "test" && wants["-fuzz"] != "":
					args = append([]string{"test"}, append(args[1:], goShort[2:]...)...)
				case verb == "install":
					args = append([]string{"build", "-o", filepath.Join(out, "installed")}, args[1:]...)
				case slices.Contains(args, "-o"):
					args[slices.Index(args, "-o")+1] = filepath.Join(out, "built")
				}
				run := exec.CommandContext(t.Context(), "go", args...)
				run.Dir, run.Env = dir, append(os.Environ(), c.Env...)
				t.Logf("go %q in %s", args, dir)
				if text, err := run.CombinedOutput(); err != nil {
					t.Errorf("%s: %v\n%s", c.Where(), err, text)
				}
			}
		}
	}
	if found < 15 {
		t.Errorf("%d commands were found, want 15 or more", found)
	}
}
