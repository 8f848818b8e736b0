package converter

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

// modulesFile says of what a model of sentence-transformers is made.
//
// Source: UKPLab/sentence-transformers, sentence_transformers/base/model.py.
const modulesFile = "modules.json"

// sentenceFile has the settings of the whole of it.
const sentenceFile = "config_sentence_transformers.json"

// A module is one of them; they are applied in their order.
type module struct {
	Path string `json:"path"`
	Type string `json:"type"`
}

// Folder returns the folder of a checkpoint: the path itself, or in a folder of sentence-transformers that of its CLIP, which
// may be a folder in it. Other modules than that are an error, but for one that makes embeddings of length 1, since cosines
// stay what they are. Of an adapter whose base model is here it is that of the base.
func Folder(dir string) (string, error) {
	for range maxAdapters {
		inner, err := folderOf(dir)
		if err != nil || !peft.In(inner) {
			return inner, err
		}
		base, err := adapterBase(inner)
		if err != nil {
			return inner, nil //nolint:nilerr // it is said where it is opened
		}
		dir = base
	}
	return dir, nil
}

// folderOf is [Folder], but of an adapter it is the adapter's.
func folderOf(dir string) (string, error) {
	raw, err := folder.ReadSmall(filepath.Join(dir, modulesFile), maxJSON)
	if err != nil {
		return dir, nil // a file, or a folder of others; what is wrong with it is said where it is opened
	}
	name := filepath.Join(dir, modulesFile)
	var modules []module
	if err := pyjson.Unmarshal(raw, &modules); err != nil {
		return "", fmt.Errorf("converter: %s: %w", name, err)
	}
	kind := func(m module) string { return m.Type[strings.LastIndex(m.Type, ".")+1:] }
	if len(modules) == 0 || !slices.Contains([]string{"CLIPModel", "Transformer"}, kind(modules[0])) {
		return "", fmt.Errorf("converter: %s: the first of %d modules is no CLIPModel", name, len(modules))
	}
	for _, m := range modules[1:] {
		if kind(m) != "Normalize" {
			return "", fmt.Errorf("converter: %s: a module of type %.80q stands on the model, want a CLIP alone", name, m.Type)
		}
	}
	if err := wholeEmbedding(filepath.Join(dir, sentenceFile)); err != nil {
		return "", fmt.Errorf("converter: %w", err)
	}
	inner := filepath.FromSlash(cmp.Or(modules[0].Path, "."))
	if !filepath.IsLocal(inner) {
		return "", fmt.Errorf("converter: %s: path is %.80q, want a folder in this one", name, modules[0].Path)
	}
	if inner == "." {
		return dir, nil
	}
	return filepath.Join(dir, inner), nil
}

// wholeEmbedding returns an error if the settings in a file, which need not be there, cut embeddings short.
func wholeEmbedding(name string) error {
	raw, err := folder.ReadSmall(name, maxJSON)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var c struct {
		Dim any `json:"truncate_dim"`
	}
	if err = cmp.Or(err, pyjson.Unmarshal(raw, &c)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if c.Dim != nil {
		return fmt.Errorf("%s: truncate_dim is %.40v, want null: an embedding has all its numbers here", name, c.Dim)
	}
	return nil
}
