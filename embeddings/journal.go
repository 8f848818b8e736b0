package embeddings

import (
	"cmp"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/pyjson"
)

// version is that of the journal, and of what lies beside a file.
const version = 1

const module = "github.com/vitago/vitago"

// A record says what the rows of a file are.
type record struct {
	Version  int               `json:"version"`
	Format   string            `json:"format"`
	Kind     string            `json:"kind"`
	Feature  string            `json:"feature"`
	Shape    []int             `json:"shape"` // of one row
	Model    string            `json:"model"`
	Settings map[string]string `json:"settings"`
	Rows     int               `json:"rows"`
	Names    string            `json:"names_sha256"` // of what writeNames writes
	Vitago   string            `json:"vitago"`       // the version, "" if it is not known
	Kernel   string            `json:"kernel"`       // the implementation of the products

	Replace bool `json:"replace,omitempty"` // a file, in the end; of what has been begun

	Print string      `json:"fingerprint,omitempty"` // of Space, if its vision tower is known
	Space *clip.Space `json:"space,omitempty"`

	Bytes  int64     `json:"bytes,omitempty"` // of what is complete
	CRC    uint32    `json:"crc32c,omitempty"`
	Failed []failure `json:"failed,omitzero"`
}

// A failure is why there is no row.
type failure struct {
	Row   int         `json:"row"` // from 0
	Name  pyjson.Name `json:"name"`
	Error pyjson.Name `json:"error"`
}

// maxAbout is how many bytes may lie beside a file that say what it is about.
const maxAbout = 1 << 30

// What a [MismatchError] says of names.
const (
	rowsSetting  = "the number of rows"
	namesSetting = "names with the SHA-256"
)

// newRecord returns the record of what s says.
func newRecord(s *Spec) (r record, err error) {
	r = record{Version: version, Format: s.Format, Kind: s.Kind, Feature: s.Feature, Shape: s.Shape, Model: s.Model, Settings: s.Settings, Rows: len(s.Names), Kernel: kernel.Name()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == module {
				r.Vitago = m.Version
			}
		}
	}
	r.isOf(s.Space)
	r.Names, err = hashNames(s.Names)
	return r, err
}

// isOf says of which space the rows are.
func (r *record) isOf(s *clip.Space) {
	if r.Space = s; s != nil && s.Vision != "" {
		r.Print = s.Fingerprint()
	}
}

// compare returns a [MismatchError] if another run has made, or begun, what r is about.
func (r *record) compare(path string, now *record) error {
	differ := func(what, was, is string) error {
		if was == is {
			return nil
		}
		return &MismatchError{path, what, cmp.Or(was, "none"), cmp.Or(is, "none")}
	}
	err := cmp.Or(
		differ("format", r.Format, now.Format),
		differ("rows of a", r.Kind, now.Kind),
		differ("feature", r.Feature, now.Feature),
	)
	both := maps.Clone(r.Settings)
	if both == nil {
		both = map[string]string{}
	}
	maps.Copy(both, now.Settings)
	for _, k := range slices.Sorted(maps.Keys(both)) {
		err = cmp.Or(err, differ(k, r.Settings[k], now.Settings[k]))
	}
	return cmp.Or(err, // a setting, which a user knows, stands before what it changes
		differ("model", short(r.Model), short(now.Model)),
		differ("shape of a row", fmt.Sprint(r.Shape), fmt.Sprint(now.Shape)),
		differ(rowsSetting, fmt.Sprint(r.Rows), fmt.Sprint(now.Rows)),
		differ(namesSetting, short(r.Names), short(now.Names)))
}

// short returns the first digits of a hash.
func short(s string) string { return s[:min(len(s), 16)] }

// A point is a line of a journal: that a row is there, or, in the end, that all are and the file gets its name.
type point struct {
	Name  pyjson.Name `json:"name,omitempty"`
	End   int64       `json:"end,omitempty"`    // of the row in the file
	CRC   uint32      `json:"crc32c,omitempty"` // of the file up to there
	Error pyjson.Name `json:"error,omitempty"`  // why there is no row
	Whole bool        `json:"whole,omitempty"`
	Space *clip.Space `json:"space,omitempty"` // of all rows, when they are there
}
