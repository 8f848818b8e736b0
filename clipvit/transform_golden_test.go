package clipvit

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"hash/crc32"
	"io"
	"os"
	"testing"

	"github.com/vitago/vitago/internal/pillow"
)

// transformTable is what testdata/gen/transforms.py writes.
type transformTable struct {
	Transforms []transformRow
	Levels     [][3]json.RawMessage
}

type transformRow struct {
	file string
	t    Transform
	size int
	crc  *uint32 // nil if the library raises an exception
}

func (r *transformRow) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&r.file, &r.t, &r.size, &r.crc})
}

func readTransformGoldens(t *testing.T) (table transformTable, files map[string][]byte) {
	t.Helper()
	text, err := os.ReadFile("../testdata/pillow/transforms.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader("../testdata/pillow/transforms.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files = map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return table, files
}

// Every transform gives the pixels of the library whose rules it has: open_clip 3.3.0, transformers 5.24.0 and before
// 5.21, immich and LLaVA, on Pillow 13.0.0, in every mode and shape.
func TestTransformPixels(t *testing.T) {
	table, files := readTransformGoldens(t)
	if len(table.Transforms) < 3000 {
		t.Fatalf("%d rows", len(table.Transforms))
	}
	pictures := map[string]*pillow.Image{}
	for _, row := range table.Transforms {
		if pictures[row.file] == nil {
			m, err := pillow.Decode(bytes.NewReader(files[row.file]))
			if err != nil {
				t.Fatalf("%s: %v", row.file, err)
			}
			pictures[row.file] = m
		}
		if err := row.t.Validate(); err != nil {
			t.Fatalf("%+v: %v", row.t, err)
		}
		for _, tr := range []Transform{row.t, row.t.Resolved(), row.t.Canonical()} {
			m, err := tr.square(pictures[row.file], row.size)
			if (err == nil) != (row.crc != nil) {
				t.Fatalf("%s to %d by %+v: error is %v", row.file, row.size, tr, err)
			}
			if err != nil {
				continue
			}
			if m.Mode != pillow.RGB || m.Width != row.size || m.Height != row.size || crc32.ChecksumIEEE(m.Pix) != *row.crc {
				t.Errorf("%s to %d by %+v: %s, %d×%d, checksum %d, want %d", row.file, row.size, tr, m.Mode, m.Width, m.Height, crc32.ChecksumIEEE(m.Pix), *row.crc)
			}
		}
	}
}

// Levels are torchvision's to the bit, whatever the mean and the deviation.
func TestTransformLevels(t *testing.T) {
	table, _ := readTransformGoldens(t)
	for _, row := range table.Levels {
		var tr Transform
		var want [3][256]float64
		for i, to := range []any{&tr.Mean, &tr.Std, &want} {
			if err := json.Unmarshal(row[i], to); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.Validate(); err != nil {
			t.Fatal(err)
		}
		levels := tr.Levels()
		for ch := range want {
			for v := range want[ch] {
				if float64(levels[ch][v]) != want[ch][v] {
					t.Fatalf("mean %v, std %v, channel %d, level %d: %v, want %v", tr.Mean, tr.Std, ch, v, levels[ch][v], want[ch][v])
				}
			}
		}
	}
}
