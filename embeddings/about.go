package embeddings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/plural"
)

// About is what FILE.about.json says of a file that [Encode] has written.
type About struct {
	Kind     string            // of what the rows are: "image" or "text"
	Feature  string            // what a row is, such as "embedding"
	Shape    []int             // of a row
	Rows     int               // that the file has
	Model    string            // the fingerprint of the model's file
	Settings map[string]string // that the values depend on
	Space    *clip.Space       // of the vectors, nil if it was not known; of texts it has that of the text tower alone
}

// ReadAbout reads what lies beside a file, and the file itself with its names, to see whether they are what was written. A file that has been
// begun and is not complete is an [ErrPartial], one that has changed an [ErrDamaged], and one of which nothing says how it was made an
// [fs.ErrNotExist].
func ReadAbout(path string) (*About, error) {
	n, err := begun(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path + partialSuffix); err == nil {
		return nil, fmt.Errorf("embeddings: %s %w: it has %s so far", path, ErrPartial, plural.Of(n, "row"))
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("embeddings: %s: %w", path, reason(err))
	}
	r, err := readRecord(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("embeddings: %s: no %s says how it was made: %w", path, filepath.Base(path+aboutSuffix), fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	if err := r.check(path); err != nil {
		return nil, err
	}
	if r.Format == "npy" {
		if err := r.checkNames(path); err != nil {
			return nil, err
		}
	}
	if r.Space != nil && r.Space.Vision != "" && r.Space.Fingerprint() != r.Print {
		return nil, fmt.Errorf("embeddings: %s: %w: the fingerprint is %.16s, and that of the space %.16s", path+aboutSuffix, ErrDamaged, r.Print, r.Space.Fingerprint())
	}
	return &About{Kind: r.Kind, Feature: r.Feature, Shape: r.Shape, Rows: r.Rows, Model: r.Model, Settings: r.Settings, Space: r.Space}, nil
}

// checkNames returns an [ErrDamaged] if the names beside a file are not those of its rows.
func (r *record) checkNames(path string) error {
	text, err := folder.ReadSmall(NamesFile(path), maxAbout)
	if err != nil {
		return fmt.Errorf("embeddings: %s: %w", NamesFile(path), reason(err))
	}
	if got := hashOf(text); got != r.Names {
		return fmt.Errorf("embeddings: %s: %w: has the SHA-256 %.16s, want %.16s", NamesFile(path), ErrDamaged, got, r.Names)
	}
	return nil
}
