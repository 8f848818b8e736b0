package pillow

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	shared "github.com/vitago/vitago/internal/golden"
)

// What testdata/gen/pillow.py writes.
const goldens = "../../testdata/pillow"

type golden struct {
	Mode Mode
	Size [2]int
	CRC  uint32
	RGB  uint32 // of convert("RGB"), mode "P" only
	CLIP uint32
}

type goldenTable struct {
	Files, Photos               map[string]golden
	Refused                     map[string]string // Pillow's reasons
	Resize, Clip, Crop, Formula [][]any
	RGB                         [][]any
}

func readTable(t testing.TB) goldenTable {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldens, "table.json"))
	if err != nil {
		t.Fatal(err)
	}
	var table goldenTable
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	return table
}

func readZip(t testing.TB, name string) map[string][]byte {
	t.Helper()
	z, err := zip.OpenReader(filepath.Join(goldens, name))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	return files
}

// sources returns a picture of each mode, 23x17.
func sources(t testing.TB) map[Mode]*Image {
	t.Helper()
	pixels := readZip(t, "pixels.zip")
	out := map[Mode]*Image{}
	for name, pix := range pixels {
		if mode, ok := strings.CutPrefix(name, "mode "); ok {
			m := &Image{Mode: Mode(mode), Width: 23, Height: 17, Pix: pix}
			if m.Mode == Indexed {
				m.Palette = newPalette(nil)
				for i, v := range pixels["palette"] {
					m.Palette[i/3*4+i%3] = v
				}
			}
			if err := m.check(); err != nil {
				t.Fatal(err)
			}
			out[m.Mode] = m
		}
	}
	if len(out) != len(modes) {
		t.Fatalf("sources of %d modes, want %d", len(out), len(modes))
	}
	return out
}

// TestDecode compares every fixture with what Pillow loads, to the bit.
func TestDecode(t *testing.T) {
	table, files, pixels := readTable(t), readZip(t, "files.zip"), readZip(t, "pixels.zip")
	if n := len(table.Files) + len(table.Refused); len(files) != n || n < 150 {
		t.Fatalf("%d files, %d in the table, want the same and at least 150", len(files), n)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		t.Run(name, func(t *testing.T) {
			want, ok := table.Files[name]
			m, err := Decode(bytes.NewReader(files[name]))
			if !ok {
				if err == nil {
					t.Errorf("no error; Pillow says %q", table.Refused[name])
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Mode != want.Mode || m.Width != want.Size[0] || m.Height != want.Size[1] {
				t.Fatalf("mode %q, size %dx%d, want %q, %dx%d", m.Mode, m.Width, m.Height, want.Mode, want.Size[0], want.Size[1])
			}
			if err := m.check(); err != nil {
				t.Fatal(err)
			}
			if pix, ok := pixels[name]; ok {
				compare(t, m, pix)
			}
			if got := crc32.ChecksumIEEE(m.Pix); got != want.CRC {
				t.Errorf("checksum of samples %#x, want %#x", got, want.CRC)
			}
			if m.Mode == Indexed {
				rgb, err := m.RGB()
				if err != nil {
					t.Fatal(err)
				}
				if got := crc32.ChecksumIEEE(rgb.Pix); got != want.RGB {
					t.Errorf("checksum of colours %#x, want %#x", got, want.RGB)
				}
			}
		})
	}
}

// compare says where m differs from want first and worst.
func compare(t *testing.T, m *Image, want []byte) {
	t.Helper()
	if len(m.Pix) != len(want) {
		t.Fatalf("%d bytes, want %d", len(m.Pix), len(want))
	}
	n, differ, worst, at := modes[m.Mode], 0, 0, 0
	first := -1
	for i, v := range want {
		if d := max(int(v)-int(m.Pix[i]), int(m.Pix[i])-int(v)); d > 0 {
			if differ++; first < 0 {
				first = i
			}
			if d > worst {
				worst, at = d, i
			}
		}
	}
	if differ > 0 {
		place := func(i int) [3]int { return [3]int{i / n % m.Width, i / n / m.Width, i % n} }
		t.Errorf("%d of %d samples differ, first at x,y,band %v, worst at %v: %d, want %d",
			differ, len(want), place(first), place(at), m.Pix[at], want[at])
	}
}

// TestPhotos decodes and preprocesses the photographs that lie beside the repository.
func TestPhotos(t *testing.T) {
	for name, want := range readTable(t).Photos {
		f, err := os.Open(shared.SharedData(t, "images/"+name))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := crc32.ChecksumIEEE(m.Pix); m.Mode != want.Mode || got != want.CRC {
			t.Errorf("%s: mode %q, checksum %#x, want %q, %#x", name, m.Mode, got, want.Mode, want.CRC)
		}
		square, err := m.CLIP(336)
		if err != nil {
			t.Fatal(err)
		}
		if got := crc32.ChecksumIEEE(square.Pix); got != want.CLIP {
			t.Errorf("%s: CLIP(336): checksum %#x, want %#x", name, got, want.CLIP)
		}
	}
}

var filters = map[string]Filter{"nearest": Nearest, "box": Box, "bilinear": Bilinear, "bicubic": Bicubic}

// TestResize compares every mode and filter with PIL.Image.resize, to the bit.
func TestResize(t *testing.T) {
	src, failed := sources(t), 0
	rows := readTable(t).Resize
	for _, row := range rows {
		mode, filter, w, h, want := Mode(row[0].(string)), row[1].(string), number(row[2]), number(row[3]), checksum(row[4])
		m, err := src[mode].Resize(w, h, filters[filter])
		if err != nil {
			t.Fatal(err)
		}
		if got := crc32.ChecksumIEEE(m.Pix); got != want || m.Mode != mode || m.Width != w || m.Height != h {
			if failed++; failed < 20 {
				t.Errorf("%q, %s to %dx%d: mode %q, %dx%d, checksum %#x, want %#x", mode, filter, w, h, m.Mode, m.Width, m.Height, got, want)
			}
		}
	}
	if failed > 0 || len(rows) < 500 {
		t.Errorf("%d of %d resizes differ", failed, len(rows))
	}
}

func number(v any) int { return int(v.(float64)) }

func checksum(v any) uint32 { return uint32(v.(float64)) }

// TestCLIP compares with torchvision's Resize and CenterCrop and Pillow's convert("RGB").
func TestCLIP(t *testing.T) {
	src, table := sources(t), readTable(t)
	check := func(name string, m *Image, size int, want uint32) {
		t.Helper()
		got, err := m.CLIP(size)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if c := crc32.ChecksumIEEE(got.Pix); c != want || got.Mode != RGB || got.Width != size || got.Height != size {
			t.Errorf("%s: CLIP(%d): %q, %dx%d, checksum %#x, want %#x", name, size, got.Mode, got.Width, got.Height, c, want)
		}
	}
	for _, row := range table.Clip {
		check(row[0].(string), src[Mode(row[0].(string))], number(row[1]), checksum(row[2]))
	}
	for _, row := range table.Formula {
		w, h, bands := number(row[0]), number(row[1]), number(row[2])
		m := formula(w, h, bands)
		check(string(m.Mode), m, number(row[3]), checksum(row[4]))
	}
	if len(table.Clip) < 40 || len(table.Formula) < 10 {
		t.Errorf("%d and %d rows", len(table.Clip), len(table.Formula))
	}
}

// formula is testdata/gen/pillow.py's function of that name.
func formula(w, h, bands int) *Image {
	m := newImage(map[int]Mode{1: Gray, 3: RGB}[bands], w, h)
	for i := range m.Pix {
		x, y, b := i/bands%w, i/bands/w, i%bands
		m.Pix[i] = byte(x*7 + y*13 + b*29 + x*x/16 + x*y)
	}
	return m
}

// TestCrop compares with PIL.Image.crop.
func TestCrop(t *testing.T) {
	src := sources(t)
	for _, row := range readTable(t).Crop {
		mode := Mode(row[0].(string))
		x0, y0, x1, y1 := number(row[1]), number(row[2]), number(row[3]), number(row[4])
		m := src[mode].Crop(x0, y0, x1-x0, y1-y0)
		if got, want := crc32.ChecksumIEEE(m.Pix), checksum(row[5]); got != want {
			t.Errorf("%q, crop %v: checksum %#x, want %#x", mode, row[1:5], got, want)
		}
	}
}

// TestRGB compares with PIL.Image.convert("RGB").
func TestRGB(t *testing.T) {
	src := sources(t)
	rows := readTable(t).RGB
	for _, row := range rows {
		m, err := src[Mode(row[0].(string))].RGB()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := crc32.ChecksumIEEE(m.Pix), checksum(row[1]); got != want || m.Mode != RGB {
			t.Errorf("%q: mode %q, checksum %#x, want %#x", row[0], m.Mode, got, want)
		}
	}
	if len(rows) < 12 {
		t.Errorf("%d modes", len(rows))
	}
}
