package kernel

import (
	"encoding/binary"
	"math"
	"testing"
)

// FuzzMatMul compares every implementation with the generic one on bytes taken as floats: NaN,
// infinities and subnormal numbers among them.
func FuzzMatMul(f *testing.F) {
	f.Add([]byte("any bytes make a matrix"), uint8(7), uint8(17), uint8(9))
	f.Add([]byte("a matrix that is large enough for the tiles of AMX"), uint8(37), uint8(70), uint8(39))
	f.Add([]byte{0, 0, 0x80, 0x7f, 0, 0, 0xc0, 0x7f, 1, 0, 0, 0}, uint8(15), uint8(33), uint8(3)) // Inf, NaN, 1e-45
	f.Fuzz(func(t *testing.T, raw []byte, m8, n8, k8 uint8) {
		m, n, k := int(m8)%40, int(n8)%80, int(k8)%40
		if len(raw) < 4 {
			return
		}
		value := floatsOf(raw)
		a, b := newGuarded(m*k), newGuarded(n*k)
		for i := range a.data {
			a.data[i] = value(i)
		}
		for i := range b.data {
			b.data[i] = value(i + 3)
		}
		defer Use("")
		results := map[string][]float32{}
		for _, name := range Available() {
			Use(name)
			c := newGuarded(m * n)
			MatMulNT(c.data, a.data, b.data, m, n, k, Epilogue{})
			c.check(t, name)
			results[name] = c.data
		}
		for name, c := range results {
			for i, got := range c {
				// The bound of the sum's error, and of overflow on the way by another order.
				var abs float64
				for p := range k {
					abs += math.Abs(float64(a.data[i/n*k+p])) * math.Abs(float64(b.data[i%n*k+p]))
				}
				if abs > math.MaxFloat32/4 && !math.IsInf(abs, 0) {
					continue
				}
				want := results["generic"][i]
				if !math.IsInf(abs, 0) && !math.IsNaN(abs) {
					tol := 2 * float64(k+1) * (unit*abs + 1e-45)
					if name == "amx" { // what is below 2⁻¹²⁶, a part of a number or a product, is 0
						const least = 0x1p-125
						for p := range k {
							tol += least * (3 + math.Abs(float64(a.data[i/n*k+p])) + math.Abs(float64(b.data[i%n*k+p])))
						}
					}
					near(t, name, got, float64(want), tol)
				} else if finite(got) != finite(want) {
					t.Fatalf("%s: c[%d] is %v, generic says %v", name, i, got, want)
				}
			}
		}
	})
}

func finite(x float32) bool { return x-x == 0 }

// floatsOf returns the numbers that some bytes are, four for each, from any byte on and around again.
func floatsOf(raw []byte) func(i int) float32 {
	return func(i int) float32 {
		i = i * 4 % (len(raw) - 3)
		return math.Float32frombits(binary.LittleEndian.Uint32(raw[i:]))
	}
}

// mustPanic reports the calls that do not panic.
func mustPanic(t *testing.T, calls map[string]func()) {
	t.Helper()
	for name, call := range calls {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}
