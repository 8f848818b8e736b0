package pillow

import (
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"bytes"
)

// What testdata/gen/transforms.py writes, as far as it concerns this package.
type transformTable struct {
	Orientations, Resizes [][]any
}

func readTransforms(t testing.TB) transformTable {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldens, "transforms.json"))
	if err != nil {
		t.Fatal(err)
	}
	var table transformTable
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	return table
}

// Lanczos and Hamming in every mode, to the bit of Pillow 13.0.0.
func TestResizeSinc(t *testing.T) {
	pictures := sources(t)
	names := map[string]Filter{"lanczos": Lanczos, "hamming": Hamming}
	for _, row := range readTransforms(t).Resizes {
		m := pictures[Mode(row[0].(string))]
		out, err := m.Resize(int(row[1].(float64)), int(row[2].(float64)), names[row[3].(string)])
		if err != nil {
			t.Fatalf("%v: %v", row, err)
		}
		if got := crc32.ChecksumIEEE(out.Pix); float64(got) != row[4].(float64) {
			t.Errorf("%v: checksum %d", row, got)
		}
	}
}

// Upright is ImageOps.exif_transpose of Pillow 13.0.0, wherever a file says its orientation.
func TestUpright(t *testing.T) {
	files := readZip(t, "transforms.zip")
	for _, row := range readTransforms(t).Orientations {
		name := row[0].(string)
		m, err := Decode(bytes.NewReader(files["orientation/"+name]))
		if err == nil {
			m, err = m.Upright()
		}
		if err == nil {
			m, err = m.RGB()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		size := row[1].([]any)
		if crc := crc32.ChecksumIEEE(m.Pix); float64(m.Width) != size[0] || float64(m.Height) != size[1] || float64(crc) != row[2] {
			t.Errorf("%s: %d×%d, checksum %d, want %v", name, m.Width, m.Height, crc, row[1:])
		}
	}
}

// FuzzOrientation looks for panics in what reads EXIF and XMP data, and what is transparent.
func FuzzOrientation(f *testing.F) {
	for name, data := range readZip(f, "transforms.zip") {
		if len(data) < 4000 {
			f.Add(filepath.Ext(name), data)
		}
	}
	f.Fuzz(func(t *testing.T, ext string, data []byte) {
		format := map[string]string{".jpg": "JPEG", ".png": "PNG", ".webp": "WebP", ".gif": "GIF"}[ext]
		m := newImage(RGB, 3, 2)
		if format == "GIF" {
			m = newImage(Indexed, 3, 2)
			m.Palette = newPalette(nil)
		}
		m.describe(format, data)
		if _, err := m.Upright(); err != nil {
			t.Error(err)
		}
		if _, err := m.OnWhite(); err != nil {
			t.Error(err)
		}
	})
}
