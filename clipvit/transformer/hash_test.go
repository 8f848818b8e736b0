package transformer

import (
	"crypto/sha256"
	"math"
	"slices"
	"testing"

	"github.com/vitago/vitago/internal/kernel"
)

// TestValueHash: values that halves hold are hashed as halves, part by part, others as float32.
func TestValueHash(t *testing.T) {
	half := make([]float32, hashPart+1)
	var want []byte
	want = append(want, 2)
	for i := range half {
		half[i] = kernel.FromHalf(uint16(i % 0x7c00))
		if i == hashPart {
			want = append(want, 2)
		}
		want = append(want, byte(i%0x7c00), byte(i%0x7c00>>8))
	}
	v := newValueHash()
	sum := func(values []float32) [sha256.Size]byte {
		v.add(values)
		return v.sum()
	}
	if got := sum(half); got != sha256.Sum256(want) {
		t.Errorf("halves: %x, want %x", got, sha256.Sum256(want))
	}
	half[hashPart] = math.Pi // 0x40490fdb
	want = append(want[:1+2*hashPart], 4, 0xdb, 0x0f, 0x49, 0x40)
	if got := sum(half); got != sha256.Sum256(want) {
		t.Errorf("halves and a float32: %x, want %x", got, sha256.Sum256(want))
	}
	for _, each := range []int{1, 1000, hashPart - 1, hashPart, hashPart + 1} { // however many come at a time
		for part := range slices.Chunk(half, each) {
			v.add(part)
		}
		if got := v.sum(); got != sha256.Sum256(want) {
			t.Errorf("%d at a time: %x, want %x", each, got, sha256.Sum256(want))
		}
	}
	if got := sum(nil); got != sha256.Sum256(nil) {
		t.Errorf("nothing: %x", got)
	}
}
