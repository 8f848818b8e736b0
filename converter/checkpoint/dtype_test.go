package checkpoint

import (
	"math"
	"testing"

	"github.com/vitago/vitago/internal/kernel"
)

// TestHalf compares with what the standard says, by arithmetic, for all halves.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		sign, e, m := 1.0, h>>10&31, float64(h&1023)
		if h&0x8000 != 0 {
			sign = -1
		}
		var want float64
		switch {
		case e == 31 && m == 0:
			want = math.Inf(int(sign))
		case e == 31:
			want = math.NaN()
		case e == 0:
			want = sign * m * 0x1p-24
		default:
			want = sign * (1024 + m) * math.Ldexp(1, e-25)
		}
		got := kernel.FromHalf(uint16(h))
		if float64(got) != want && !(math.IsNaN(want) && got != got) || math.Signbit(float64(got)) != (h&0x8000 != 0) {
			t.Fatalf("half %#04x is %v, want %v", h, got, want)
		}
		var read [1]float32
		decode(read[:], []byte{byte(h), byte(h >> 8)}, F16)
		if math.Float32bits(read[0]) != math.Float32bits(got) {
			t.Fatalf("%#04x is read as %v, want %v", h, read[0], got)
		}
		if back := kernel.ToHalf(got); want == want && back != uint16(h) {
			t.Fatalf("half %#04x becomes %#04x", h, back)
		} else if want != want && back&0x7c00 != 0x7c00 || want != want && back&0x3ff == 0 {
			t.Fatalf("NaN %#04x becomes %#04x", h, back)
		}
	}
}

// TestRounding checks float32 to half and bfloat16 at, and one step to both sides of, every
// boundary between two values.
func TestRounding(t *testing.T) {
	up := func(f float32) float32 { return math.Nextafter32(f, float32(math.Inf(1))) }
	down := func(f float32) float32 { return math.Nextafter32(f, 0) }
	for h := range uint16(0x7bff) { // the largest finite is 0x7bff
		lo, hi := kernel.FromHalf(h), kernel.FromHalf(h+1)
		mid := (lo + hi) / 2 // exact: one more bit
		even := h + h&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{{mid, even}, {up(mid), h + 1}, {down(mid), h}, {-mid, even | 0x8000}, {up(lo), h}, {down(hi), h + 1}} {
			if got := kernel.ToHalf(c.f); got != c.want {
				t.Fatalf("%v (between halves %#04x and %#04x) becomes %#04x, want %#04x", c.f, h, h+1, got, c.want)
			}
		}
	}
	for _, c := range []struct {
		f    float32
		want uint16
	}{{65504, 0x7bff}, {65519.996, 0x7bff}, {65520, 0x7c00}, {1e30, 0x7c00}, {float32(math.Inf(-1)), 0xfc00}, {0x1p-25, 0}, {up(0x1p-25), 1}, {1e-30, 0}} {
		if got := kernel.ToHalf(c.f); got != c.want {
			t.Errorf("%v becomes %#04x, want %#04x", c.f, got, c.want)
		}
	}
	for h := range uint16(0x7f7f) {
		lo, mid := math.Float32frombits(uint32(h)<<16), math.Float32frombits(uint32(h)<<16|0x8000)
		even := h + h&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{{lo, h}, {mid, even}, {up(mid), h + 1}, {down(mid), h}, {-mid, even | 0x8000}} {
			if got := floatToBFloat(c.f); got != c.want {
				t.Fatalf("%v becomes bfloat16 %#04x, want %#04x", c.f, got, c.want)
			}
		}
	}
	if got := floatToBFloat(math.Float32frombits(0x7f800001)); got&0x7f80 != 0x7f80 || got&0x7f == 0 {
		t.Errorf("NaN becomes bfloat16 %#04x", got)
	}
}

func BenchmarkDecode(b *testing.B) {
	dst := make([]float32, chunkSize/2)
	src := make([]byte, chunkSize)
	for i := range src {
		src[i] = byte(i * 7)
	}
	for _, d := range []DType{F16, BF16} {
		b.Run(string(d), func(b *testing.B) {
			b.SetBytes(chunkSize)
			for b.Loop() {
				decode(dst, src, d)
			}
		})
	}
}
