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
				op.UseRows(all[i], hashRows, v.add)
				sums[i] = v.sum()
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

// hashers is how many parameters are hashed at a time at most, and hashRows of about how many values rows are unpacked at a time: each
// hasher takes memory for them.
const (
	hashers  = 8
	hashRows = 1 << 17
)

// A valueHash hashes the values of parameters, one parameter after the other.
type valueHash struct {
	h      hash.Hash
	rest   []float32 // of those added, less than hashPart
	halves []uint16
	bytes  []byte
}

// hashPart is how many values are hashed in one form: as halves if all of them are, else as float32.
const hashPart = 1 << 14

func newValueHash() *valueHash {
	return &valueHash{h: sha256.New(), rest: make([]float32, 0, hashPart), halves: make([]uint16, hashPart), bytes: make([]byte, 1+4*hashPart)}
}

// add adds values of a parameter.
func (v *valueHash) add(values []float32) {
	for len(values) > 0 {
		n := min(len(values), hashPart-len(v.rest))
		if n == hashPart {
			v.write(values[:n])
		} else if v.rest = append(v.rest, values[:n]...); len(v.rest) == hashPart {
			v.write(v.rest)
			v.rest = v.rest[:0]
		}
		values = values[n:]
	}
}

// sum returns the SHA-256 of the values that were added since the last call: of every [hashPart] of them the number of bytes that a value has,
// then all, little-endian. Values that half precision has take 2 bytes, which halves the time; others 4.
func (v *valueHash) sum() (sum [sha256.Size]byte) {
	if len(v.rest) > 0 {
		v.write(v.rest)
	}
	v.h.Sum(sum[:0])
	v.h.Reset()
	v.rest = v.rest[:0]
	return sum
}

// write hashes a part of at most hashPart values.
func (v *valueHash) write(part []float32) {
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
