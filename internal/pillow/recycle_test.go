package pillow

import (
	"bytes"
	"testing"
)

// TestRecycled: what stood in memory before shows in no picture.
func TestRecycled(t *testing.T) {
	for name, data := range readZip(t, "files.zip") {
		if f, ok := FormatOf(data); !ok || f.Name != "JPEG" {
			continue
		}
		whole := func(fill byte) (*Image, error) {
			for n := 1 << 8; n <= 1<<20; n *= 2 {
				put(bytes.Repeat([]byte{fill}, n))
			}
			m, err := Decode(bytes.NewReader(data))
			if err != nil {
				return nil, err
			}
			put(bytes.Repeat([]byte{fill}, len(m.Pix)))
			small, err := m.Resize(7, 5, Bicubic)
			if err != nil {
				return nil, err
			}
			m.Pix = append(m.Pix, small.Pix...)
			return m, nil
		}
		a, errA := whole(0)
		b, errB := whole(0xff)
		if (errA == nil) != (errB == nil) {
			t.Fatalf("%s: %v and %v", name, errA, errB)
		}
		if errA == nil && !bytes.Equal(a.Pix, b.Pix) {
			t.Errorf("%s: the pixels depend on what stood in memory", name)
		}
	}
}
