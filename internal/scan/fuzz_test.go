package scan

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/vitago/vitago/internal/kernel"
)

// FuzzSearch: of any rows and vectors, from halves and from codes, it finds what sorting all products in float64 finds, or names a row that
// is damaged.
func FuzzSearch(f *testing.F) {
	f.Add(uint8(3), uint8(2), []byte{0, 0x3c, 0, 0x3c, 0, 0xbc, 1, 0, 0, 0x3c, 2, 0x80}, []byte{0, 0, 128, 63, 0, 0, 0, 64, 1, 0, 0, 0})
	f.Add(uint8(1), uint8(7), []byte{0, 0x7c, 0xff, 0x7b, 1, 0}, []byte{0xff, 0xff, 0x7f, 0x7f})
	f.Add(uint8(5), uint8(1), slices.Repeat([]byte{1, 0x3c, 7, 0x20, 0xff, 0xbb}, 50), slices.Repeat([]byte{205, 204, 76, 62}, 10))
	f.Fuzz(func(t *testing.T, wide, k uint8, halves, floats []byte) {
		width, all := 1+int(wide%80), &Matrix{}
		rows := make([]uint16, len(halves)/2/width*width)
		bad := -1
		for i := range rows {
			rows[i] = binary.LittleEndian.Uint16(halves[2*i:])
			if rows[i]&0x7c00 == 0x7c00 && bad < 0 {
				bad = i / width
			}
		}
		vectors := make([][]float32, min(len(floats)/4/width, 12))
		for i := range vectors {
			vectors[i] = make([]float32, width)
			for j := range width {
				v := math.Float32frombits(binary.LittleEndian.Uint32(floats[4*(i*width+j):]))
				if !(math.Abs(float64(v)) <= 1e15) || v != 0 && math.Abs(float64(v)) < 1e-30 { // or products leave float32, whose bounds these are
					v = float32(i - j)
				}
				vectors[i][j] = v
			}
		}
		if bad >= 0 { // a row that is found to be damaged is named, and is the first
			all = New(width, []Shard{{Halves: rows}})
			for _, v := range vectors {
				if _, err := all.Search(t.Context(), [][]float32{v}, Options{K: 1}); err == nil || err.(*DamagedError).Row != bad { //nolint:errorlint // there is no other
					t.Fatalf("error %v, want one of row %d", err, bad)
				}
			}
			return
		}
		cut := len(rows) / width / 2 * width
		all = New(width, []Shard{coded(rows[:cut], width), coded(rows[cut:], width)})
		o := Options{K: 1 + int(k%20), Has: k >= 128, Least: 0.5}
		for _, o.Codes = range []bool{false, true} {
			got, err := all.Search(t.Context(), vectors, o)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range vectors {
				if want := chosen(ranked(rows, width, v), o); !slices.Equal(got[i], want) {
					t.Fatalf("%d rows of %d, %+v: got %v, want %v", len(rows)/width, width, o, got[i], want)
				}
			}
		}
		if scale := Quantise(make([]int8, len(rows)), rows); len(rows) > 0 && !(scale >= 0 && scale <= kernel.FromHalf(0x7bff)) {
			t.Errorf("scale %v", scale)
		}
	})
}
