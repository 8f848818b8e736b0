package tasks_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nlpodyssey/cybertron/pkg/tasks/textclassification"
	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/tasks/imageencoding"
	"github.com/vitago/vitago/tasks/imagesearch"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
	"github.com/vitago/vitago/tasks/visualtokens"
)

// Who has forgotten an import reads which, and who loads a model for a task that it does not do, reads that.
func TestForgottenImports(t *testing.T) {
	dir := golden.Path(t, "testdata/families/hf5-clip")
	conf := &tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir), DownloadPolicy: tasks.DownloadNever}
	for want, load := range map[string]func() error{
		`tasks: nothing is registered for imageencoding.Interface: import _ "github.com/vitago/vitago/tasks/imageencoding/clip"`: func() error {
			_, err := tasks.Load[imageencoding.Interface](conf)
			return err
		},
		`tasks: nothing is registered for imageclassification.Interface: import _ "github.com/vitago/vitago/tasks/imageclassification/clip"`: func() error {
			_, err := tasks.Load[imageclassification.Interface](conf)
			return err
		},
		`tasks: nothing is registered for imagetextsimilarity.Interface: import _ "github.com/vitago/vitago/tasks/imagetextsimilarity/clip"`: func() error {
			_, err := tasks.Load[imagetextsimilarity.Interface](conf)
			return err
		},
		`tasks: nothing is registered for imagesearch.Interface: import _ "github.com/vitago/vitago/tasks/imagesearch/clip"`: func() error {
			_, err := tasks.Load[imagesearch.Interface](conf)
			return err
		},
		`tasks: nothing is registered for visualtokens.Interface: import _ "github.com/vitago/vitago/tasks/visualtokens/projected"`: func() error {
			_, err := tasks.Load[visualtokens.Interface](conf)
			return err
		},
		`tasks: nothing is registered for finetuning.Interface: import _ "github.com/vitago/vitago/tasks/finetuning/clip"`: func() error {
			_, err := tasks.Load[finetuning.Interface](conf)
			return err
		},
		`tasks: nothing is registered for textencoding.Interface: import _ "github.com/vitago/vitago/tasks/textencoding/clip"`: func() error {
			_, err := tasks.Load[textencoding.Interface](conf)
			return err
		},
		`tasks: ` + dir + ` has model_type "clip", for which nothing is registered as textclassification.Interface, and cybertron says: `: func() error {
			_, err := tasks.Load[textclassification.Interface](conf)
			return err
		},
	} {
		err := load()
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "nil") || strings.Contains(err.Error(), "[]") {
			t.Errorf("error is\n%v, want\n%s", err, want)
		}
		if _, pkg, ok := strings.Cut(want, `import _ "github.com/vitago/vitago/`); ok { // there is such a package, and it registers itself
			source, err := filepath.Glob(filepath.Join(golden.Path(t, strings.TrimSuffix(pkg, `"`)), "*.go"))
			registers := false
			for _, file := range source {
				text, err := os.ReadFile(file)
				registers = registers || err == nil && !strings.HasSuffix(file, "_test.go") && strings.Contains(string(text), "tasks.Register(")
			}
			if err != nil || !registers {
				t.Errorf("%s does not register itself", pkg)
			}
		}
	}
}
