package pillow

import (
	"bytes"
	"strings"
	"testing"
)

// TestSize compares with the size of every picture that Pillow loads, of the whole file and of what there is of it.
func TestSize(t *testing.T) {
	table, files := readTable(t), readZip(t, "files.zip")
	for name, want := range table.Files {
		width, height, err := Size(bytes.NewReader(files[name]))
		if err != nil || width != want.Size[0] || height != want.Size[1] {
			t.Errorf("%s: %dx%d, %v, want %dx%d", name, width, height, err, want.Size[0], want.Size[1])
		}
	}
	headers := 0
	for name, data := range files {
		for _, f := range formats {
			if !f.Decodes || !f.is(data) {
				continue
			}
			for n := range min(len(data), 2000) {
				width, height, err := f.size(data[:n:n]) // which must not read on
				if want := table.Files[name].Size; err == nil && want[0] != 0 && (width != want[0] || height != want[1]) {
					t.Fatalf("%s: %dx%d by the first %d bytes, want %dx%d or an error", name, width, height, n, want[0], want[1])
				} else if err == nil {
					headers++
				}
			}
		}
	}
	if headers < 1000 {
		t.Errorf("%d beginnings are enough, want 1000: a header is shorter than its file", headers)
	}
	for data, want := range map[string]string{
		"":                         "empty file",
		"text":                     "not an image",
		"\xff\xd8\xff\xd9":         "no frame header",
		"\xff\xd8\xff\xc3\x00\x08": "lossless",
		"\xff\xd8\xff\xc0\x00\x01": "length 1",
		"\x89PNG\r\n\x1a\n":        "cut short",
		"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\xff\xff\xff\xff\x00\x00\x00\x01": "pixels",
		"GIF89a\x01\x00\x01\x00\x00\x00\x00;":                                   "before the trailer",
	} {
		if _, _, err := Size(strings.NewReader(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %q in it", data, err, want)
		}
	}
}
