package converter

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vitago/vitago/cliptext"
)

// tokenizer returns the files of the tokenizer that is written: what [Options.Vocab] gives, or else that of
// the source, if it has one.
func (o *output) tokenizer() ([]cliptext.File, error) {
	from := cmp.Or(o.vocab, o.model.name)
	info, err := os.Stat(from)
	switch {
	case o.vocab == "" && (err != nil || !info.IsDir()):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("converter: %w", err)
	case info.IsDir():
		return o.copyTokenizer(from)
	}
	k, err := cliptext.ReadTokenizer(o.vocab)
	if err != nil {
		return nil, fmt.Errorf("converter: %w", err)
	}
	if n := k.Len(); n != o.model.config.Text.Vocab {
		return nil, fmt.Errorf("converter: %s has %d words, the text tower has %d", o.vocab, n, o.model.config.Text.Vocab)
	}
	return k.Files(o.model.config.Text.Context), nil
}

// copyTokenizer returns the files of the tokenizer in a directory as they are. If it has none, that is an error
// only if it was named.
func (o *output) copyTokenizer(dir string) ([]cliptext.File, error) {
	files, err := cliptext.ReadFiles(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.vocab == "":
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("converter: %w", err)
	}
	k, err := cliptext.ReadTokenizer(dir)
	if err != nil {
		return nil, fmt.Errorf("converter: %w", err)
	}
	if t := o.model.config.Text; k.Len() > t.Vocab || k.End() != t.EOS {
		return nil, fmt.Errorf("converter: %s has %d words, the last of a text %d; the text tower has %d, the last %d", dir, k.Len(), k.End(), t.Vocab, t.EOS)
	}
	return files, nil
}
