package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/builtin"
	"github.com/vitago/vitago/internal/hub"
)

// noModel says how to come by a model.
const noModel = verbatim(`no model: give --model DIR, a directory that "vitago convert" wrote, or any checkpoint.
OpenAI's ViT-B/32, 354 MB:
  vitago download ViT-B/32
  vitago encode --model ViT-B/32 photo.jpg
"vitago models" lists the models that are known to work.
Without a download: --model builtin:demo, the small model in this program`)

// modelsEnv is the environment variable that names the folder of models, and modelsDir is that folder without it.
const (
	modelsEnv = "VITAGO_MODELS"
	modelsDir = "models"
)

// modelFolder returns the folder that models are downloaded to, and looked for in.
func modelFolder() string { return cmp.Or(os.Getenv(modelsEnv), modelsDir) }

// A spot is where a model lies that has been downloaded by its name.
type spot struct {
	name      string // that download takes, without a revision
	path      string // of the archive or the directory
	converted string // where download says that its conversion may go
}

// placeOf says where in a folder download puts the model of a name, and whether the name is one of a model.
func placeOf(dir, name string) (spot, bool) {
	if f, ok := hub.New().Archive(name); ok {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(f.Name), ".pt"), "px")
		return spot{name, filepath.Join(dir, f.Name), filepath.Join(dir, base)}, true
	}
	id, _, _ := strings.Cut(name, "@")
	if !hub.IsID(id) || hub.IsArchiveLike(id) {
		return spot{}, false
	}
	path := filepath.Join(dir, filepath.FromSlash(id))
	to := filepath.Join(dir, filepath.Base(path))
	if to == path {
		to += "-converted"
	}
	return spot{id, path, to}, true
}

// hubName returns a name as download takes it: without what timm, open_clip and browsers put before the ids of the hub, and in
// the place of other libraries' names that of the hub.
func hubName(name string) string {
	for _, before := range []string{"hf-hub:", "hf_hub:", "hf://", "https://huggingface.co/"} {
		name = strings.TrimPrefix(name, before)
	}
	if k, ok := knownModel(name); ok {
		return k.Name
	}
	return name
}

// findModel returns the path of the model that a name of the command line stands for, and whether it is another than the name:
// a path that exists is meant as it is; any other name is looked for in the folder of models.
//
// The output of a run of finetuning, which is no model, stands for the model in it.
func findModel(name string) (path string, found bool) {
	if name != "" && !isBuiltin(name) && isThere(name, filepath.Join(history.ModelFolder, "config.json")) && !isThere(name, "config.json") {
		return filepath.Join(name, history.ModelFolder), true
	}
	if _, err := os.Stat(name); err == nil || errors.Is(err, fs.ErrPermission) || name == "" || isBuiltin(name) {
		return name, false
	}
	dir := modelFolder()
	var paths []string
	if p, ok := placeOf(dir, hubName(name)); ok {
		paths = append(paths, p.path, p.converted)
	}
	if local := filepath.FromSlash(name); filepath.IsLocal(local) {
		paths = append(paths, filepath.Join(dir, local))
	}
	for _, path := range paths {
		if holdsModel(path) {
			return path, true
		}
	}
	return name, false
}

// holdsModel says whether a path is a file, or a directory with files that are all there.
func holdsModel(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return err == nil && info.Mode().IsRegular()
	}
	entries, err := os.ReadDir(path)
	return err == nil && !hub.Unfinished(path) && slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return !e.IsDir() && !strings.HasPrefix(e.Name(), ".") || e.Name() == "projector" // xtuner's directories have directories alone
	})
}

// locate puts the path of a model into the place of its name, and says so on standard error.
func locate(cmd *cobra.Command, names ...*string) {
	for _, name := range names {
		if path, found := findModel(*name); found {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: taking %s\n", oneLine(*name), path)
			*name = path
		}
	}
}

// checkModel puts the path of the flag --model into the place of its name, and returns an error if it cannot be that of a
// model.
func checkModel(cmd *cobra.Command, model *string) error {
	if *model == "" {
		return usageError{noModel}
	}
	if isBuiltin(*model) {
		return nil
	}
	if strings.HasPrefix(*model, builtin.Prefix) {
		return usagef("--model %s: this program has no such model, want %s", *model, demo.Name)
	}
	locate(cmd, model)
	path := *model
	if isImageFile(path) {
		return usagef("--model %s is an image, want a model directory or a checkpoint; images stand at the end", path)
	}
	_, err := os.Stat(path)
	if err != nil && filepath.Base(path) == history.ModelFolder {
		if last, e := finetune.LastCheckpoint(filepath.Dir(path)); e == nil && last != "" {
			return fmt.Errorf("no model %s: the run there has not ended; \"vitago finetune --resume\" goes on with it", path)
		}
	}
	if err != nil {
		return fmt.Errorf("--model: %w", converter.NotFound(path, err))
	}
	if last, err := finetune.LastCheckpoint(path); err == nil && last != "" && !isThere(path, "config.json") {
		return fmt.Errorf("%s is the output of a run that has not ended and has no model yet; \"vitago finetune --resume\" goes on with it", path)
	}
	return nil
}

// isThere reports whether a folder has something of a name.
func isThere(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// bring says how to come by the model of a name, which is no path and not in the folder of models. It is "" if the name can
// be that of none.
func bring(name string) string {
	if u, ok := unsupported(name); ok {
		return fmt.Sprintf("; %s not supported: %s; \"vitago models\" lists what is", u.are(), u.Why)
	}
	if name == "demo" {
		return fmt.Sprintf("; \"vitago demo --dir %s\" makes one", filepath.Join(modelFolder(), name))
	}
	dir, meant := modelFolder(), hubName(name)
	p, ok := placeOf(dir, meant)
	_, known := knownModel(meant)
	also := ofArchitecture(name)
	near := nearest(name, knownNames())
	switch {
	case ok && hub.Unfinished(p.path):
		return fmt.Sprintf("; its download to %s has not ended, and \"vitago download %s\" goes on with it", p.path, meant)
	case known:
		near = ""
	case also == nil && near == "" && strings.HasPrefix(strings.ToLower(name), "vit-"):
		return fmt.Sprintf("; OpenAI's models are %s, and \"vitago models\" lists more", strings.Join(hub.ArchiveNames(), ", "))
	case also != nil:
		return fmt.Sprintf("; models of that form are %s", strings.Join(also, ", "))
	}
	text := ""
	if near != "" {
		text = fmt.Sprintf("; did you mean %q?", near)
	}
	if ok {
		text += fmt.Sprintf("; if a model of that name is meant, \"vitago download %s\" brings it, to %s", meant, p.path)
	}
	if text != "" {
		text = fmt.Sprintf(", and none of that name in %s%s", dir, text)
	}
	return strings.ReplaceAll(text, "?;", "?")
}

// nearest returns the one of some words of which a word is most likely a slip, or the beginning. It is "" if the word is
// like none of them.
func nearest(word string, of []string) string {
	const most, beginning = 2, 3 // letters
	best, least := "", most+1
	word = strings.ToLower(word)
	for _, w := range of {
		lower := strings.ToLower(w)
		n := distance(word, lower)
		if len(word) >= beginning && strings.HasPrefix(lower, word) {
			n = min(n, 1)
		}
		if n <= max(1, len(word)/3) && n < least {
			best, least = w, n
		}
	}
	return best
}

// distance returns how many letters have to be put in, left out, changed or exchanged with the next, to make b of a.
//
// Source: Damerau, "A technique for computer detection and correction of spelling errors", 1964, as optimal string alignment.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1) // of the first i of x and the first j of y
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := range x {
		for j := range y {
			change := 1
			if x[i] == y[j] {
				change = 0
			}
			d := min(rows[i][j+1]+1, rows[i+1][j]+1, rows[i][j]+change)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				d = min(d, rows[i-1][j-1]+1)
			}
			rows[i+1][j+1] = d
		}
	}
	return rows[len(x)][len(y)]
}
