// Package compare says how two checkpoints are related: identical, rounded, resized, tuned or trained apart;
// in a sentence, by tower, by block and by tensor.
//
// Parameters are compared under their canonical names: an archive of OpenAI's and a directory of Hugging
// Face's are compared as the models that they are. [Models] returns a [Comparison]; each part of it has
// a [Verdict] and, where numbers were compared, the measures of a [Drift].
//
//	r, err := compare.Models(ctx, a, b, compare.Options{})
//	fmt.Println(r.Summary) // The vision tower is identical up to rounding to float16 (in B).
package compare

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
)

// Options are the choices of a comparison.
type Options struct {
	// Progress, if it is not nil, hears how many bytes of how many have been read. It is called by
	// one goroutine at a time.
	Progress func(done, total int64)
}

// A Verdict says in words how a part of B is related to the same part of A. Which of two came first
// numbers cannot tell: what is [Tuned] may be B from A, A from B, or both from a third.
type Verdict string

// The verdicts. All are about values: the types that they are stored in do not matter.
const (
	Identical    Verdict = "identical"
	RoundedF32   Verdict = "rounded to float32"
	RoundedF16   Verdict = "rounded to float16"
	RoundedBF16  Verdict = "rounded to bfloat16"
	Resized      Verdict = "resized"           // a position embedding, resampled for another grid
	ResizedTuned Verdict = "resized and tuned" // and then trained on
	Tuned        Verdict = "tuned"
	Changed      Verdict = "changed"   // not equal, and too few values or too uniform to say more
	Unrelated    Verdict = "unrelated" // no more alike than two towers trained apart
	Mixed        Verdict = "mixed"     // of a group: parts are related and parts are not
	OtherShape   Verdict = "other shape"
	OnlyInA      Verdict = "only in A"
	OnlyInB      Verdict = "only in B"
)

// A Measure is a number that may be undefined. Then it is NaN, in JSON null.
type Measure float64

// MarshalJSON implements json.Marshaler.
func (m Measure) MarshalJSON() ([]byte, error) {
	if m.Defined() {
		return json.Marshal(float64(m))
	}
	return []byte("null"), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Measure) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*m = Measure(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(m))
}

// Defined says whether m is a number.
func (m Measure) Defined() bool { return !math.IsNaN(float64(m)) && !math.IsInf(float64(m), 0) }

// A Drift is how far elements of B are from the same elements of A. Sums are in float64, over the
// elements that are finite in both.
type Drift struct {
	Verdict Verdict `json:"verdict"` // how they are related, in a word
	// Derived is the side, "A" or "B", that was made from the other by rounding or resizing. It is
	// empty with other verdicts.
	Derived     string  `json:"derived,omitempty"`
	Elements    int64   `json:"elements"`             // that were compared
	MaxAbs      Measure `json:"max_abs"`              // largest |a-b|
	RelativeL2  Measure `json:"relative_l2"`          // |a-b| / |a|
	Cosine      Measure `json:"cosine"`               // a·b / |a||b|
	Correlation Measure `json:"correlation"`          // cosine after every tensor's mean has been taken off
	NotFinite   int64   `json:"not_finite,omitempty"` // elements that are NaN or infinite in A or B
}

// A TensorDrift compares a parameter of two checkpoints.
type TensorDrift struct {
	Name   string           `json:"name"`              // canonical: [converter.Parameter.Path]
	Tensor string           `json:"tensor"`            // in A, or in B if only B has it; {q,k,v} stands for several
	Tower  string           `json:"tower"`             // as in [GroupDrift]
	Part   string           `json:"part"`              // as there; in a block "attention" or "mlp"
	Block  int              `json:"block"`             // -1 outside the blocks
	Shape  []int            `json:"shape"`             // in A, or in B if only B has it
	ShapeB []int            `json:"shape_b,omitempty"` // if it differs
	DTypeA checkpoint.DType `json:"dtype_a,omitempty"` // of the elements in A's file; "" if only B has it
	DTypeB checkpoint.DType `json:"dtype_b,omitempty"` // of those in B's; "" if only A has it
	// Filter is the one that a resized position embedding was made with; of one that was tuned since,
	// the one that comes nearer.
	Filter clipvit.Bicubic `json:"filter,omitempty"`
	Drift
}

// A GroupDrift compares a part of a tower: a block, or what is before and after the blocks.
type GroupDrift struct {
	Tower   string `json:"tower"`   // "vision", "text" or "projector"
	Part    string `json:"part"`    // "embed", "pre_norm", "block", "post_norm", "proj", …
	Block   int    `json:"block"`   // -1 outside the blocks
	Tensors int    `json:"tensors"` // parameters in it
	Drift
	Attention *Drift `json:"attention,omitempty"` // of a block: with the norm before it
	MLP       *Drift `json:"mlp,omitempty"`       // of a block: with the norm before it
}

// A TowerDrift compares two towers.
type TowerDrift struct {
	Tower   string `json:"tower"`   // "vision", "text" or "projector"
	Tensors int    `json:"tensors"` // parameters in it
	Drift
}

// A Side says what one side of a comparison is.
type Side struct {
	Path      string           `json:"path"`               // as it was given
	Adapters  []string         `json:"adapters,omitempty"` // directories of those that have been merged with it
	Container string           `json:"container"`          // of the file: "safetensors", "TorchScript", …
	Dialect   string           `json:"dialect"`            // whose names the tensors have: "OpenAI", "Hugging Face", …
	Config    converter.Config `json:"config"`             // sizes of the towers
	// Projector is nil if there is none.
	Projector  *converter.ProjectorConfig `json:"projector,omitempty"`
	Parameters int64                      `json:"parameters"` // elements
	DTypes     map[string]int             `json:"dtypes"`     // how many parameters of each
}

// A Comparison says how far B is from A: in a sentence, by tower, by block and by tensor.
type Comparison struct {
	A       Side          `json:"a"`       // the first checkpoint
	B       Side          `json:"b"`       // the second
	Verdict Verdict       `json:"verdict"` // of all tensors together
	Summary string        `json:"summary"` // the verdict in a sentence or a few
	Towers  []TowerDrift  `json:"towers"`  // "vision", "text" and "projector", as far as A or B has them
	Groups  []GroupDrift  `json:"groups"`  // parts and blocks, in the order in which data pass them
	Tensors []TensorDrift `json:"tensors"` // every parameter of A or B, in the same order
}

// Models measures how far b is from a. Parameters are aligned by their canonical names, whatever
// containers, dialects and precisions are. What only one of them has is listed and not measured; to have
// nothing in common is an error. It reads both band by band, so that memory does not grow with their size.
func Models(ctx context.Context, a, b *converter.Model, o Options) (*Comparison, error) {
	k := &comparer{ctx: ctx, a: newSide(a), b: newSide(b), progress: o.Progress}
	return k.run()
}

// A side is a model that is compared, with its parameters by path.
type side struct {
	model  *converter.Model
	config converter.Config
	params map[string]*converter.Parameter
}

func newSide(m *converter.Model) side {
	s := side{m, m.Stated(), map[string]*converter.Parameter{}}
	for _, p := range m.Parameters() {
		s.params[p.Path] = &p
	}
	return s
}

// A region says where in the model a parameter is, or all those of a prefix that ends with a dot. # is
// the number of a block.
type region struct{ prefix, tower, part string }

// regions has all parameters, in the order in which data passes them. The norm before a half of a block
// belongs to that half.
var regions = []region{
	{"Embed.Patch", "vision", "embed"},
	{"Embed.Class", "vision", "embed"},
	{positionPath, "vision", "embed"},
	{"PreNorm.", "vision", "pre_norm"},
	{"Blocks.#.Norm1.", "vision", "attention"},
	{"Blocks.#.Attn.QKV.", "vision", "attention"},
	{"Blocks.#.Attn.Out.", "vision", "attention"},
	{"Blocks.#.Norm2.", "vision", "mlp"},
	{"Blocks.#.MLP.Up.", "vision", "mlp"},
	{"Blocks.#.MLP.Down.", "vision", "mlp"},
	{"PostNorm.", "vision", "post_norm"},
	{"Proj", "vision", "proj"},
	{"Text.Token", "text", "embed"},
	{"Text.Position", "text", "embed"},
	{"Text.Blocks.#.Norm1.", "text", "attention"},
	{"Text.Blocks.#.Attn.QKV.", "text", "attention"},
	{"Text.Blocks.#.Attn.Out.", "text", "attention"},
	{"Text.Blocks.#.Norm2.", "text", "mlp"},
	{"Text.Blocks.#.MLP.Up.", "text", "mlp"},
	{"Text.Blocks.#.MLP.Down.", "text", "mlp"},
	{"Text.FinalNorm.", "text", "final_norm"},
	{"Text.Proj", "text", "proj"},
	{"LogitScale", "text", "logit_scale"},
	{"Projector.Layers.", "projector", "layers"},
	{"", "projector", "tokens"}, // separators of rows and tiles
}

// positionPath is the parameter that has a row for every place of the grid.
const positionPath = "Embed.Position"

// regionOf returns the region of a path, its rank in regions, and the block, -1 outside of blocks.
func regionOf(path string) (at region, rank, block int) {
	pattern, block := path, -1
	if before, after, ok := strings.Cut(path, "Blocks."); ok {
		index, rest, _ := strings.Cut(after, ".")
		if n, err := strconv.Atoi(index); err == nil {
			pattern, block = before+"Blocks.#."+rest, n
		}
	}
	rank = slices.IndexFunc(regions, func(r region) bool {
		return r.prefix == pattern || r.prefix == "" || strings.HasSuffix(r.prefix, ".") && strings.HasPrefix(pattern, r.prefix)
	})
	return regions[rank], rank, block
}

// inOrder sorts paths by regions, the blocks of a tower by their numbers, and a weight W before its
// bias B.
func inOrder(paths []string) {
	firstOf := func(rank int) int { // of the regions of all blocks of a tower
		for strings.Contains(regions[rank].prefix, "#") {
			rank--
		}
		return rank
	}
	slices.SortFunc(paths, func(p, q string) int {
		_, i, blockP := regionOf(p)
		_, j, blockQ := regionOf(q)
		moduleP, moduleQ := p[:strings.LastIndexByte(p, '.')+1], q[:strings.LastIndexByte(q, '.')+1]
		return cmp.Or(
			cmp.Compare(firstOf(i), firstOf(j)), cmp.Compare(blockP, blockQ), cmp.Compare(i, j),
			cmp.Compare(moduleP, moduleQ), cmp.Compare(q, p),
		)
	})
}

// alike says whether two shapes hold the same elements in the same order: a patch may be written as
// [3,P,P] or [3P²], a number as [] or [1].
func alike(a, b []int) bool {
	count := func(s []int) int { return checkpoint.Entry{Shape: s}.Len() }
	return count(a) == count(b) && (count(a) <= 1 || a[0] == b[0])
}

// compareBand is how many elements of each side are compared at a time: 256 kB in float64, so that
// both fit the second-level cache.
const compareBand = 1 << 15

// A comparer compares two checkpoints.
type comparer struct {
	ctx         context.Context
	a, b        side
	progress    func(done, total int64)
	mu          sync.Mutex
	done, total int64
	bands       []*bandBuffer // one for every goroutine
}

// A bandBuffer is what a goroutine compares in.
type bandBuffer struct {
	x, y    []float64
	scratch checkpoint.Scratch
}

func (k *comparer) run() (*Comparison, error) {
	r := &Comparison{A: k.a.compared(), B: k.b.compared()}
	all := maps.Clone(k.a.params)
	maps.Copy(all, k.b.params)
	paths := slices.Collect(maps.Keys(all))
	inOrder(paths)
	for _, path := range paths {
		if a, b := k.a.params[path], k.b.params[path]; a != nil && b != nil {
			k.total += a.Bytes() + b.Bytes()
		}
	}
	if k.total == 0 {
		return nil, fmt.Errorf("compare: %s and %s have no parameter in common: one is a tower and the other a projector", k.a.model.Path(), k.b.model.Path())
	}
	for range runtime.GOMAXPROCS(0) {
		k.bands = append(k.bands, &bandBuffer{
			x: make([]float64, compareBand), y: make([]float64, compareBand),
		})
	}
	var sums []moments
	for _, path := range paths {
		at, _, block := regionOf(path)
		d := TensorDrift{Name: path, Tower: at.tower, Part: at.part, Block: block}
		m, err := k.tensor(&d)
		if err != nil {
			return nil, err
		}
		r.Tensors = append(r.Tensors, d)
		sums = append(sums, m)
	}
	group(r, sums)
	r.Summary = r.describe()
	return r, nil
}

// compared says what a side is.
func (s side) compared() Side {
	c := Side{
		Path: s.model.Path(), Adapters: s.model.Adapters(), Container: s.model.Container(), Dialect: s.model.Dialect(), Config: s.config,
		Projector: s.model.ProjectorConfig(), DTypes: map[string]int{},
	}
	for _, p := range s.params {
		c.Parameters += int64(elements(p))
		c.DTypes[string(p.DType())]++
	}
	return c
}

// elements returns how many elements a parameter has.
func elements(p *converter.Parameter) int { return checkpoint.Entry{Shape: p.Shape()}.Len() }

// tensor compares the parameter d.Name and completes d.
func (k *comparer) tensor(d *TensorDrift) (moments, error) {
	a, b := k.a.params[d.Name], k.b.params[d.Name]
	if a != nil {
		d.Tensor, d.Shape, d.DTypeA = a.Tensors(), a.Shape(), a.DType()
	}
	if b != nil {
		d.DTypeB = b.DType()
		if s := b.Shape(); d.Shape == nil {
			d.Tensor, d.Shape = b.Tensors(), s
		} else if !slices.Equal(d.Shape, s) {
			d.ShapeB = s
		}
	}
	var m moments
	switch {
	case b == nil:
		d.Drift = m.drift(OnlyInA)
	case a == nil:
		d.Drift = m.drift(OnlyInB)
	case d.ShapeB == nil || alike(d.Shape, d.ShapeB):
		m, roundings, err := k.bandwise(a, b)
		if err := cmp.Or(err, k.verify(a, b)); err != nil {
			return m, err
		}
		verdict, derived := m.judge(), ""
		switch {
		case m.different == 0:
			verdict = Identical
		case roundings != nil:
			verdict, derived = roundings[0].verdict, roundings[0].derived
		}
		d.Drift = m.drift(verdict)
		d.Derived = derived
		return m, nil
	case d.Name == positionPath && len(d.Shape) == 2 && len(d.ShapeB) == 2 && d.Shape[1] == d.ShapeB[1]:
		return k.position(d, a, b)
	default:
		d.Drift = m.drift(OtherShape)
		k.count(a.Bytes() + b.Bytes())
	}
	return m, nil
}

// verify returns an error if what was read has other checksums in its container.
func (k *comparer) verify(a, b *converter.Parameter) error {
	return cmp.Or(a.Verify(k.ctx), b.Verify(k.ctx))
}

// count says that n more bytes are done.
func (k *comparer) count(n int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done += n
	if k.progress != nil {
		k.progress(k.done, k.total)
	}
}

// bandwise compares two parameters of the same number of elements with all processors. It also returns
// which roundings turn one into the other.
func (k *comparer) bandwise(a, b *converter.Parameter) (moments, []rounding, error) {
	n := elements(a)
	bands := (n + compareBand - 1) / compareBand
	bytes := func(n0 int) int64 { return int64(n0) * (a.Bytes() + b.Bytes()) / int64(n) } // of the first n0 pairs
	workers := min(len(k.bands), bands)
	if a.Serial() || b.Serial() {
		workers = min(workers, 1)
	}
	candidates := roundingsBetween(a.DType(), b.DType())
	var possible atomic.Uint32 // bit i: candidates[i] holds so far
	possible.Store(1<<len(candidates) - 1)
	var (
		wg   sync.WaitGroup
		sums = make([]moments, bands)
		errs = make([]error, workers)
	)
	for w := range workers {
		wg.Go(func() {
			buf := k.bands[w]
			for i := w; i < bands; i += workers {
				lo := i * compareBand
				x, y := buf.x[:min(compareBand, n-lo)], buf.y[:min(compareBand, n-lo)]
				errs[w] = cmp.Or(k.ctx.Err(), a.Float64s(x, lo, &buf.scratch), b.Float64s(y, lo, &buf.scratch))
				if errs[w] != nil {
					return
				}
				for j, c := range candidates {
					if possible.Load()&(1<<j) != 0 && !c.holds(x, y) {
						possible.And(^uint32(1 << j))
					}
				}
				sums[i] = momentsOf(x, y)
				k.count(bytes(lo+len(x)) - bytes(lo)) // together exactly all
			}
		})
	}
	wg.Wait()
	var all moments
	for _, s := range sums { // always in the same order, so that the sums are always the same
		all = all.merge(s)
	}
	var hold []rounding
	for j, c := range candidates {
		if possible.Load()&(1<<j) != 0 {
			hold = append(hold, c)
		}
	}
	return all, hold, errors.Join(errs...)
}

// position compares position embeddings of different grids: one, resampled for the grid of the other
// by either bicubic, with the other.
func (k *comparer) position(d *TensorDrift, a, b *converter.Parameter) (best moments, err error) {
	var (
		values  [2][]float64
		configs = [2]clipvit.Config{k.a.config.Vision, k.b.config.Vision}
	)
	for i, p := range []*converter.Parameter{a, b} {
		configs[i].Activation, configs[i].Heads = transformer.QuickGELU, 1 // which may be unknown, and do not matter
		values[i] = make([]float64, elements(p))
		for lo := 0; lo < len(values[i]); lo += compareBand {
			if err := p.Float64s(values[i][lo:min(lo+compareBand, len(values[i]))], lo, &k.bands[0].scratch); err != nil {
				return best, err
			}
		}
		k.count(p.Bytes())
	}
	for from, derived := range []string{"B", "A"} {
		for _, filter := range []clipvit.Bicubic{clipvit.BicubicTorch, clipvit.BicubicAntialias} {
			resized, err := resizePosition(values[from], configs[from], configs[1-from].Grid(), filter)
			if err != nil {
				return best, fmt.Errorf("compare: %s: %w", d.Name, err)
			}
			x, y := resized, slices.Clone(values[1])
			if derived == "A" {
				x, y = slices.Clone(values[0]), resized
			}
			m := momentsOf(x, y)
			if best.n == 0 || m.relative() < best.relative() {
				best, d.Filter, d.Derived = m, filter, derived
			}
		}
	}
	if err := k.verify(a, b); err != nil {
		return best, err
	}
	derived, verdict := d.Derived, ResizedTuned
	switch {
	case best.relative() <= resizeTolerance(a.DType(), b.DType()):
		verdict = Resized
	case best.judge() == Unrelated:
		verdict, derived, d.Filter = Unrelated, "", ""
	}
	d.Drift = best.drift(verdict)
	d.Derived = derived
	return best, nil
}

// resizeTolerance is how far, in relative L2, a position embedding may be from one that we resize: two
// units in the last place of the coarser type, one that was lost before and one after; in float32
// other orders of the 16 terms' sum come on top.
func resizeTolerance(types ...checkpoint.DType) float64 {
	tol := 0x1p-21
	for _, t := range types {
		switch t {
		case checkpoint.F16:
			tol = max(tol, 0x1p-10)
		case checkpoint.BF16:
			tol = max(tol, 0x1p-7)
		}
	}
	return tol
}

// resizePosition returns a position embedding [T,C] for another grid, as [clipvit.Model.Resize] makes
// it, from a tower that has nothing else.
func resizePosition(x []float64, c clipvit.Config, grid int, filter clipvit.Bicubic) ([]float64, error) {
	data := make([]float32, len(x))
	for i, v := range x {
		data[i] = float32(v)
	}
	c.Activation, c.Heads = transformer.QuickGELU, 1 // they may not be known, and do not matter
	position := nn.NewParam(mat.NewDense[float32](mat.WithShape(c.Tokens(), c.Width), mat.WithBacking(data)))
	m := &clipvit.Model{Config: c, Embed: &clipvit.Embed{Position: position}}
	if err := m.Resize(grid*c.PatchSize, filter); err != nil {
		return nil, err
	}
	var y []float64
	for _, v := range mat.Data[float32](m.Embed.Position) {
		y = append(y, float64(v))
	}
	return y, nil
}
