package tasks_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/tasks"
)

// Counting is a task: a package of its own defines it, and other packages do it.
type Counting interface{ Count() int }

type files int

func (n files) Count() int { return int(n) }

// A package that does a task registers itself from its init function.
func ExampleRegister() {
	tasks.Register("files", tasks.Provider[Counting]{
		Files: []tasks.File{{Names: []string{"model.safetensors", "pytorch_model.bin"}}},
		Load: func(dir string) (Counting, error) {
			entries, err := os.ReadDir(dir)
			return files(len(entries)), err
		},
	})

	dir, err := os.MkdirTemp("", "models")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type": "files"}`), 0o666); err != nil {
		log.Fatal(err)
	}

	task, err := tasks.Load[Counting](&tasks.Config{ModelsDir: dir, DownloadPolicy: tasks.DownloadNever})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(task.Count(), "file")
	// Output: 1 file
}
