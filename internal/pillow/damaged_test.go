package pillow

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
)

// TestDamagedJPEG: files whose headers claim more than they hold, and those with a marker among their data, are what Pillow 13.0.0
// with libjpeg-turbo makes of them: the CRC of its pixels, or its refusal.
func TestDamagedJPEG(t *testing.T) {
	files := readZip(t, "files.zip")
	tall := func(file []byte, frame int) []byte { file[frame+5] |= 0x40; return file }
	wide := func(file []byte, frame int) []byte { file[frame+7] |= 0x20; return file }
	// scan puts a scan's marker, or its begin, 30 bytes into the data.
	scan := func(segment string, rest bool) func([]byte, int) []byte {
		return func(file []byte, _ int) []byte {
			at := bytes.LastIndex(file, []byte{0xff, jpegSOS})
			at += 2 + int(file[at+3]) + 30
			out := append(slices.Clone(file[:at]), segment...)
			if rest {
				out = append(out, file[at:]...)
			}
			return out
		}
	}
	bad, cut := scan("\xff\xda\x99\x8e\x12", true), scan("\xff\xda\x00\x0c\x03\x01\x00\x02", false)
	for _, c := range []struct {
		name, way string
		damage    func(file []byte, frame int) []byte
		want      string // empty for a refusal
	}{
		{"grey-2x2.jpg", "tall", tall, "L 27x16406 631243cb"},
		{"grey-2x2.jpg", "wide", wide, "L 8219x22 60c23c16"},
		{"wide-tables.jpg", "tall", tall, "RGB 27x16406 46808ec8"},
		{"wide-tables.jpg", "wide", wide, "RGB 8219x22 92b7d36e"},
		{"ycck.jpg", "tall", tall, "CMYK 27x16406 e29165a6"},
		{"ycck.jpg", "wide", wide, "CMYK 8219x22 205398c2"},
		{"420-progressive.jpg", "tall", tall, "RGB 37x16413 34177cd8"},
		{"420-progressive.jpg", "wide", wide, "RGB 8229x29 9553c4e6"},
		{"422-progressive.jpg", "tall", tall, "RGB 37x16413 8d1005e3"},
		{"440-2x3.jpg", "tall", tall, "RGB 2x16387 b2c0a4fb"},
		{"440-2x3.jpg", "wide", wide, "RGB 8194x3 a53b822c"},
		{"wide-tables.jpg", "bad scan", bad, ""},
		{"ycck.jpg", "bad scan", bad, ""},
		{"grey-2x2.jpg", "bad scan", bad, ""},
		{"wide-tables.jpg", "cut scan", cut, "RGB 27x22 d55b3990"},
		{"ycck.jpg", "cut scan", cut, "CMYK 27x22 768d7194"},
		{"grey-2x2.jpg", "cut scan", cut, "L 27x22 7a84544f"},
		{"420-progressive.jpg", "cut scan", cut, ""},
	} {
		t.Run(c.name+" "+c.way, func(t *testing.T) {
			file := slices.Clone(files[c.name])
			frame := 0
			for _, marker := range []byte{jpegSOF0, jpegSOF1, jpegSOF2} {
				frame = max(frame, bytes.Index(file, []byte{0xff, marker}))
			}
			got := ""
			m, err := Decode(bytes.NewReader(c.damage(file, frame)))
			if err == nil {
				got = fmt.Sprintf("%s %dx%d %08x", m.Mode, m.Width, m.Height, crc32.ChecksumIEEE(m.Pix))
			}
			if got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}
