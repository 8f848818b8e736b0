package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/vitago/vitago/"

// layers are the folders of the module, those that import first. A package belongs to the longest folder
// that it is in, and may import those of its own layer and of later ones.
var layers = [][]string{
	{"cmd", "examples", "bench", "notebook"},
	{"server"},
	{"tasks"},
	{"finetune/job"},
	{"finetune"},
	{"finetune/adapter"},
	{"zeroshot", "embeddings", "search", "explain", "demo", "finetune/data", "shard"},
	{"clip"},
	{"converter/compare"},
	{"converter"},
	{"clipvit", "cliptext", "projector"},
	{"clipvit/transformer"},
	{"internal/op", "internal/tiny"},
	{"converter/checkpoint"}, // so that it can know nothing of a model
	{"internal/webdataset", "internal/pictures", "internal/sheet", "internal/scan"},
	{"internal/kernel", "internal/params", "internal/pillow", "internal/golden", "internal/hub", "internal/shapes", "internal/folder", "internal/pyjson", "internal/pycsv", "internal/ftfy", "internal/builtin", "internal/journal", "internal/scenes", "internal/pages", "internal/plural", "internal/softmax"},
}

// apart are packages that keep to themselves: they import no other of the module.
var apart = []string{"internal/kernel", "internal/params", "internal/pillow", "internal/golden", "internal/hub", "internal/shapes", "internal/folder", "internal/pyjson", "internal/pycsv", "internal/ftfy", "internal/builtin", "internal/journal", "internal/scenes", "internal/pages", "internal/plural", "internal/softmax"}

// unreachable says which packages must not be among the dependencies, direct or not, of a folder.
var unreachable = []struct{ folders, packages []string }{
	{
		[]string{"clipvit", "cliptext", "projector", "internal"},
		[]string{"github.com/nlpodyssey/cybertron", "github.com/nlpodyssey/gopickle", "google.golang.org/grpc"},
	},
	{ // What needs no more than towers and their weights, and the programs that use no task.
		[]string{
			"converter", "clip", "embeddings", "zeroshot", "finetune", "examples/encode", "examples/similarity", "examples/finetune", "examples/customhead",
			"examples/text", "examples/folder", "examples/search", "examples/zeroshot", "examples/classify", "examples/serve",
		},
		[]string{"github.com/nlpodyssey/cybertron", "google.golang.org/grpc"},
	},
}

// reserved says which folders alone may import a package.
var reserved = []struct {
	pkg     string
	folders []string
}{
	{"github.com/nlpodyssey/gopickle", []string{"converter"}},
	// examples/bert is about cybertron's text models, and has to name their interface; examples/cybertronserver is about its server.
	{"github.com/nlpodyssey/cybertron", []string{"tasks", "server", "cmd", "examples/bert", "examples/cybertronserver"}},
	// Buckets are for programs that import them.
	{"github.com/aws/aws-sdk-go-v2", []string{"shard/store/s3"}},
	{module + "shard/store/s3", []string{"cmd", "examples/bucket"}},
	// These help tests, whose imports do not count here.
	{module + "internal/golden", []string{"internal/tiny"}},
	{module + "internal/tiny", nil},
}

// kernelMay is what the kernel may depend on besides itself and the standard library.
const kernelMay = "golang.org/x/sys/cpu"

// A listed package is one that go list knows.
type listed struct {
	ImportPath    string
	Standard      bool
	Imports, Deps []string
}

// under says whether a package is one of the folders or below one.
func under(pkg string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return pkg == f || strings.HasPrefix(pkg, f+"/") })
}

// layer returns which of layers a package belongs to, or -1.
func layer(pkg string) int {
	found, longest := -1, ""
	for i, folders := range layers {
		for _, f := range folders {
			if under(pkg, f) && len(f) > len(longest) {
				found, longest = i, f
			}
		}
	}
	return found
}

// violations returns what in the packages of a build is against the rules, a line each.
func violations(pkgs []listed) (wrong []string) {
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	standard := map[string]bool{"C": true, "unsafe": true}
	for _, p := range pkgs {
		standard[p.ImportPath] = p.Standard
	}
	for _, p := range pkgs {
		pkg, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours || pkg == "internal" { // that is this test
			continue
		}
		if layer(pkg) < 0 {
			add("%s is in no layer: give it a place in this test", pkg)
		}
		for _, path := range p.Imports {
			imported, ours := strings.CutPrefix(path, module)
			switch {
			case ours && layer(imported) < layer(pkg):
				add("%s imports %s, against the direction", pkg, imported)
			case ours && under(pkg, apart...) && imported != pkg:
				add("%s imports %s, and should keep to itself", pkg, imported)
			}
			for _, r := range reserved {
				if under(path, r.pkg) && !under(pkg, r.folders...) {
					add("%s imports %s, which is for %v", pkg, path, r.folders)
				}
			}
		}
		for _, path := range p.Deps {
			for _, r := range unreachable {
				if under(pkg, r.folders...) && under(path, r.packages...) {
					add("%s depends on %s", pkg, path)
				}
			}
			if under(pkg, "internal/kernel") && !standard[path] && path != kernelMay && !under(path, module+"internal/kernel") {
				add("%s depends on %s, which is neither of the standard library nor %s", pkg, path, kernelMay)
			}
		}
	}
	return wrong
}

// list returns the packages of a build and all that they depend on.
func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Standard,Imports,Deps"}, append(args, "./...")...)...)
	cmd.Dir = ".." // the root of the module
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	var pkgs []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestImports(t *testing.T) {
	for _, args := range [][]string{nil, {"-tags", "purego"}} {
		pkgs := list(t, args...)
		for _, want := range []string{"internal/kernel", "clipvit", "clipvit/transformer", "converter", "tasks"} { // or nothing was tested
			if !slices.ContainsFunc(pkgs, func(p listed) bool { return p.ImportPath == module+want && len(p.Deps) > 0 }) {
				t.Errorf("%v: go list does not list %s", args, want)
			}
		}
		for _, v := range violations(pkgs) {
			t.Errorf("%v: %s", args, v)
		}
	}
}

// The rules catch what they are for.
func TestViolations(t *testing.T) {
	const cybertron, gopickle, grpc = "github.com/nlpodyssey/cybertron/pkg/tasks", "github.com/nlpodyssey/gopickle/pickle", "google.golang.org/grpc"
	for _, c := range []struct {
		pkg           string
		imports, deps []string
		want          string // a violation, or "" if it is fine
	}{
		{"clipvit", []string{module + "internal/op"}, []string{module + "internal/op", module + "internal/kernel", "fmt"}, ""},
		{"cmd/vitago", []string{cybertron, module + "server"}, []string{cybertron, grpc, gopickle}, ""},
		{"tasks/imageencoding/clip", []string{module + "tasks", module + "converter"}, []string{cybertron, gopickle}, ""},
		{"converter", []string{gopickle, module + "clipvit"}, []string{gopickle}, ""},
		{"converter/checkpoint", []string{gopickle, module + "internal/kernel"}, []string{gopickle}, ""},
		{"internal/kernel", []string{kernelMay}, []string{kernelMay, "fmt"}, ""},
		{"examples/bert", []string{cybertron}, []string{cybertron}, ""},

		{"clipvit", []string{module + "clipvit/transformer"}, nil, ""},
		{"clipvit/transformer", []string{module + "internal/op"}, nil, ""},

		{"clipvit/transformer", []string{module + "clipvit"}, nil, "clipvit/transformer imports clipvit, against the direction"},
		{"internal/op", []string{module + "clipvit/transformer"}, nil, "internal/op imports clipvit/transformer, against the direction"},
		{"clipvit", []string{module + "converter"}, nil, "clipvit imports converter, against the direction"},
		{"converter/checkpoint", []string{module + "clipvit"}, nil, "converter/checkpoint imports clipvit, against the direction"},
		{"converter/checkpoint", []string{module + "converter"}, nil, "converter/checkpoint imports converter, against the direction"},
		{"internal/op", []string{module + "clipvit"}, nil, "internal/op imports clipvit, against the direction"},
		{"tasks/imageencoding", []string{module + "server"}, nil, "tasks/imageencoding imports server, against the direction"},
		{"internal/pillow", []string{module + "internal/kernel"}, nil, "internal/pillow imports internal/kernel, and should keep to itself"},
		{"clipvit", nil, []string{gopickle}, "clipvit depends on " + gopickle},
		{"projector", nil, []string{cybertron}, "projector depends on " + cybertron},
		{"cliptext", nil, []string{grpc + "/codes"}, "cliptext depends on google.golang.org/grpc/codes"},
		{"internal/op", nil, []string{grpc}, "internal/op depends on google.golang.org/grpc"},
		{"converter", nil, []string{cybertron}, "converter depends on " + cybertron},
		{"examples/encode", nil, []string{grpc}, "examples/encode depends on google.golang.org/grpc"},
		{"tasks", []string{gopickle}, nil, "tasks imports " + gopickle + ", which is for [converter]"},
		{"examples/task", []string{cybertron}, nil, "examples/task imports " + cybertron + ", which is for [tasks server cmd examples/bert examples/cybertronserver]"},
		{"internal/kernel", nil, []string{"golang.org/x/sys/unix"}, "internal/kernel depends on golang.org/x/sys/unix, which is neither of the standard library nor golang.org/x/sys/cpu"},
		{"clipvit", []string{module + "internal/tiny"}, nil, "clipvit imports " + module + "internal/tiny, which is for []"},
		{"converters", nil, nil, "converters is in no layer: give it a place in this test"},
	} {
		pkgs := []listed{{ImportPath: "fmt", Standard: true}, {ImportPath: module + c.pkg, Imports: c.imports, Deps: c.deps}}
		if got := strings.Join(violations(pkgs), "\n"); got != c.want {
			t.Errorf("%s imports %q, depends on %q: got %q, want %q", c.pkg, c.imports, c.deps, got, c.want)
		}
	}
}
