package transformer

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
)

// Hash writes the parameters of a tower that uses permits to h, with all that its blocks compute with besides. What h gets
// does not depend on the precision in which weights are kept, but on whether they are rounded to int8 or
// bfloat16.
func Hash(h io.Writer, m nn.Model, blocks Blocks, uses func(path string) bool) {
	for i, b := range blocks {
		for _, l := range slices.Concat(b.Attn.QKVLoRA, b.Attn.OutLoRA, b.MLP.UpLoRA, b.MLP.DownLoRA) {
			fmt.Fprintf(h, "\n%d %v %d", i, l.Scale, l.At) // which are no parameters
		}
	}
	chunk := make([]byte, 0, 1<<16)
	params.Walk(m, func(path string, p *nn.Param) {
		if !uses(path) {
			return
		}
		rounded := strconv.FormatBool(op.Quantized(p))
		if op.RoundedBF16(p) {
			rounded = "bf16"
		}
		fmt.Fprintf(h, "\n%s %v %s\n", path, p.Shape(), rounded)
		for part := range slices.Chunk(mat.Data[float32](p.Value().(mat.Matrix)), cap(chunk)/4) {
			chunk = chunk[:0]
			for _, v := range part {
				chunk = binary.LittleEndian.AppendUint32(chunk, math.Float32bits(v))
			}
			_, _ = h.Write(chunk)
		}
	})
}
