package transformer

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
)

// Hash writes the parameters of a tower that uses permits to h, with all that its blocks compute with besides. What h gets
// does not depend on the precision in which weights are kept, but on whether they are rounded to int8 or
// bfloat16. Of each parameter it gets path, shape and the SHA-256 of its values, which all cores compute.
func Hash(h io.Writer, m nn.Model, blocks Blocks, uses func(path string) bool) {
	for i, b := range blocks {
		for _, l := range slices.Concat(b.Attn.QKVLoRA, b.Attn.OutLoRA, b.MLP.UpLoRA, b.MLP.DownLoRA) {
			fmt.Fprintf(h, "\n%d %v %d", i, l.Scale, l.At) // which are no parameters
		}
	}
	var paths []string
	var all []*nn.Param
	params.Walk(m, func(path string, p *nn.Param) {
		if uses(path) {
			paths, all = append(paths, path), append(all, p)
		}
	})
	sums := make([][sha256.Size]byte, len(all))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), hashers, len(all)) {
		workers.Go(func() {
			v := newValueHash()
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				op.UseWeights(all[i], func(values []float32) { sums[i] = v.sum(values) })
			}
		})
	}
	workers.Wait()
	for i, p := range all {
		rounded := strconv.FormatBool(op.Quantized(p))
		if op.RoundedBF16(p) {
			rounded = "bf16"
		}
		fmt.Fprintf(h, "\n%s %v %s %x", paths[i], p.Shape(), rounded, sums[i])
	}
}

// hashers is how many parameters are hashed at a time at most: each takes memory for its values.
const hashers = 8

// A valueHash hashes the values of parameters, one parameter after the other.
type valueHash struct {
	h      hash.Hash
	halves []uint16
	bytes  []byte
}

// hashPart is how many values are hashed in one form: as halves if all of them are, else as float32.
const hashPart = 1 << 14

func newValueHash() *valueHash {
	return &valueHash{h: sha256.New(), halves: make([]uint16, hashPart), bytes: make([]byte, 1+4*hashPart)}
}

// sum returns the SHA-256 of values: of every [hashPart] of them the number of bytes that a value has, then all, little-endian. Values
// that half precision has take 2 bytes, which halves the time; others 4.
func (v *valueHash) sum(values []float32) (sum [sha256.Size]byte) {
	v.h.Reset()
	for part := range slices.Chunk(values, hashPart) {
		b := v.bytes[1:]
		if halves := v.halves[:len(part)]; kernel.Narrow(halves, part) {
			v.bytes[0] = 2
			for i, x := range halves {
				binary.LittleEndian.PutUint16(b[2*i:], x)
			}
		} else {
			v.bytes[0] = 4
			for i, x := range part {
				binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
			}
		}
		_, _ = v.h.Write(v.bytes[:1+int(v.bytes[0])*len(part)])
	}
	v.h.Sum(sum[:0])
	return sum
}
