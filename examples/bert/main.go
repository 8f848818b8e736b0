// Bert encodes a text with a BERT of cybertron's, through the same registry of tasks as CLIP: what is registered with nobody
// goes to cybertron. The first time it downloads the model from Hugging Face.
//
//	go run ./examples/bert -models tasks/testdata -model bert "hello"   # a small one in this repository
//	go run ./examples/bert "hello"
//
// Cybertron converts a model where it lies. This happens in the user's cache, into which a model of DIR is copied.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nlpodyssey/cybertron/pkg/models/bert"
	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"
	"github.com/rs/zerolog"

	"github.com/vitago/vitago/tasks"
)

func main() {
	models := flag.String("models", "", "`directory` with models as they were published; none are downloaded then")
	model := flag.String("model", textencoding.DefaultModel, "`name` of the model")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: bert [-models DIR] [-model NAME] TEXT")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	vector, err := encode(*models, *model, flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(vector)
}

// encode returns what the model says of a text: the mean over its tokens.
func encode(models, model, text string) ([]float32, error) {
	conf := &tasks.Config{ModelName: model}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	conf.ModelsDir = filepath.Join(cache, "vitago", "cybertron")
	if models != "" {
		conf.DownloadPolicy = tasks.DownloadNever
		if conf.ModelsDir, err = copyOf(filepath.Join(models, filepath.FromSlash(model)), conf.ModelsDir); err != nil {
			return nil, err
		}
		conf.ModelName = "model"
	}
	encoder, err := quietly(func() (textencoding.Interface, error) { return tasks.Load[textencoding.Interface](conf) })
	if err != nil {
		return nil, err
	}
	response, err := encoder.Encode(context.Background(), text, int(bert.MeanPooling))
	if err != nil {
		return nil, err
	}
	return response.Vector.Data().F32(), nil
}

// copyOf copies the files of a folder to CACHE/SUM/model, unless that has been done, and returns CACHE/SUM. Once a file is
// another, so is the sum.
func copyOf(folder, cache string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%q\n", folder)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%q %d %d\n", e.Name(), info.Size(), info.ModTime().UnixNano())
	}
	dir := filepath.Join(cache, fmt.Sprintf("%x", sum.Sum(nil)[:8]))
	if _, err := os.Stat(filepath.Join(dir, "model")); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	partial, err := os.MkdirTemp(dir, "partial")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(partial)
	if err := os.CopyFS(partial, os.DirFS(folder)); err != nil {
		return "", err
	}
	return dir, os.Rename(partial, filepath.Join(dir, "model"))
}

// quietly returns what f does. Cybertron writes of its work to the log and, in the middle of the results, to standard output.
func quietly[T any](f func() (T, error)) (T, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	stdout := os.Stdout
	defer func() { os.Stdout = stdout }()
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		defer null.Close()
		os.Stdout = null
	}
	return f()
}
