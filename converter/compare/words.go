package compare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
)

// A pool is tensors whose drifts make one.
type pool struct {
	tensors []*TensorDrift
	sums    moments
}

func (p *pool) add(t *TensorDrift, m moments) {
	p.tensors = append(p.tensors, t)
	p.sums = p.sums.pool(m)
}

// drift returns the pooled measures, with a verdict on all tensors together.
func (p *pool) drift() Drift {
	verdict, derived := p.verdict()
	d := p.sums.drift(verdict)
	d.Derived = derived
	return d
}

// measured says whether tensors of a verdict were compared number by number.
func (v Verdict) measured() bool { return v != OnlyInA && v != OnlyInB && v != OtherShape }

// copied are the verdicts on what was not trained on, in the order in which one explains the others:
// what is equal to a float16 is also as near as a bfloat16 is.
var copied = []Verdict{Resized, RoundedBF16, RoundedF16, RoundedF32, Identical}

// verdict judges a group by its tensors.
//
// Where there are matrices they alone make it unrelated: a bias that began near zero loses its
// direction when it is tuned, and a norm has few values. A vector beside related matrices was tuned
// with them.
func (p *pool) verdict() (v Verdict, derived string) {
	var all []*TensorDrift
	for _, t := range p.tensors {
		if t.Verdict.measured() {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		v = p.tensors[0].Verdict
		for _, t := range p.tensors {
			if t.Verdict != v {
				return OtherShape, ""
			}
		}
		return v, ""
	}
	matrix := func(t *TensorDrift) bool { return len(t.Shape) > 1 && t.Shape[0] > 1 }
	vectors := !slices.ContainsFunc(all, matrix)
	var unrelated, related, changed bool
	best, sides := len(copied), map[string]bool{}
	for _, t := range all {
		decides := vectors || matrix(t)
		switch i := slices.Index(copied, t.Verdict); {
		case i >= 0:
			best = min(best, i)
			if t.Derived != "" {
				sides[t.Derived], derived = true, t.Derived
			}
			related = related || decides
		case t.Verdict == Tuned || t.Verdict == ResizedTuned:
			changed, related = true, related || decides
		case t.Verdict == Unrelated && decides:
			unrelated = true
		default:
			changed = true
		}
	}
	switch {
	case unrelated && related:
		return Mixed, ""
	case unrelated:
		return Unrelated, ""
	case !related:
		return Changed, ""
	case changed && len(all) == 1:
		return all[0].Verdict, all[0].Derived
	case changed || len(sides) > 1:
		return Tuned, ""
	}
	return copied[best], derived
}

// half returns the drift of half a block, nil if there are no tensors.
func (p *pool) half() *Drift {
	if len(p.tensors) == 0 {
		return nil
	}
	d := p.drift()
	return &d
}

// group completes r with its groups, towers and verdict; sums are those of its tensors.
func group(r *Comparison, sums []moments) {
	var all pool
	for i := 0; i < len(r.Tensors); {
		tower := r.Tensors[i].Tower
		var whole pool
		for i < len(r.Tensors) && r.Tensors[i].Tower == tower {
			g := GroupDrift{Tower: tower, Part: r.Tensors[i].Part, Block: r.Tensors[i].Block}
			same := func(t *TensorDrift) bool { return t.Tower == tower && t.Block == g.Block && t.Part == g.Part }
			if g.Block >= 0 {
				g.Part = "block"
				same = func(t *TensorDrift) bool { return t.Tower == tower && t.Block == g.Block }
			}
			var members, attention, mlp pool
			for ; i < len(r.Tensors) && same(&r.Tensors[i]); i++ {
				t, m := &r.Tensors[i], sums[i]
				switch t.Part {
				case "attention":
					attention.add(t, m)
				case "mlp":
					mlp.add(t, m)
				}
				members.add(t, m)
				whole.add(t, m)
				all.add(t, m)
			}
			g.Tensors, g.Drift = len(members.tensors), members.drift()
			g.Attention, g.MLP = attention.half(), mlp.half()
			r.Groups = append(r.Groups, g)
		}
		r.Towers = append(r.Towers, TowerDrift{tower, len(whole.tensors), whole.drift()})
	}
	r.Verdict, _ = all.verdict()
}

// relation says a verdict as the end of a sentence about one thing or several.
func relation(v Verdict, derived string, several bool) string {
	is, was := "is", "was"
	if several {
		is, was = "are", "were"
	}
	other := map[string]string{"A": "B", "B": "A"}[derived]
	switch v {
	case RoundedF32, RoundedF16, RoundedBF16:
		return fmt.Sprintf("%s identical up to rounding to %s (in %s)", is, strings.TrimPrefix(string(v), "rounded to "), derived)
	case Resized, ResizedTuned:
		return fmt.Sprintf("%s %s's, %s", is, other, v)
	case Tuned:
		return was + " initialised from A and tuned"
	case Changed:
		return was + " changed"
	case Mixed:
		return is + " partly unrelated"
	case OtherShape:
		return map[bool]string{false: "has", true: "have"}[several] + " another shape"
	}
	return is + " " + string(v)
}

// partNames are what towers and parts are called in a sentence.
var partNames = map[string]string{
	"vision": "vision tower", "text": "text tower", "projector": "projector",
	"embed": "embedding", "pre_norm": "norm before the blocks", "post_norm": "norm after the blocks", "proj": "projection",
	"final_norm": "final norm", "logit_scale": "logit scale", "layers": "layers", "tokens": "separators",
}

// describe says the comparison in sentences, one for every tower.
func (r *Comparison) describe() string {
	var sentences []string
	for _, t := range r.Towers {
		s := r.sentence(t)
		sentences = append(sentences, strings.ToUpper(s[:1])+s[1:]+".")
	}
	if a, b := r.A.Config.Vision.Activation, r.B.Config.Vision.Activation; a != b && a != "" && b != "" {
		sentences = append(sentences, fmt.Sprintf("The activations differ: A has %s, B has %s.", a, b))
	}
	return strings.Join(sentences, " ")
}

// sentence says how two towers are related: their blocks, the largest change, what is before and after
// the blocks, and what only one has.
func (r *Comparison) sentence(t TowerDrift) string {
	name := partNames[t.Tower]
	if t.Verdict == OnlyInA || t.Verdict == OnlyInB {
		return fmt.Sprintf("only %s has a %s", t.Verdict.side(), name)
	}
	var groups, blocks, outside []GroupDrift // that both have
	only := map[Verdict]*missing{OnlyInA: {}, OnlyInB: {}}
	for _, g := range r.Groups {
		switch m := only[g.Verdict]; {
		case g.Tower != t.Tower:
			continue
		case m != nil && g.Block >= 0:
			m.blocks = append(m.blocks, g.Block)
			continue
		case m != nil:
			m.parts = append(m.parts, "the "+partNames[g.Part])
			continue
		case g.Block >= 0:
			blocks = append(blocks, g)
		default:
			outside = append(outside, g)
		}
		groups = append(groups, g)
	}
	var clauses []string
	add := func(format string, args ...any) { clauses = append(clauses, fmt.Sprintf(format, args...)) }

	said := t.Verdict // of all that is not named below
	switch n := len(blocks); {
	case t.Verdict == Unrelated && n > 0:
		add("the %ss are unrelated", name)
	case n == 0 || t.Verdict != Resized && slices.Contains(copied, t.Verdict):
		add("the %s %s", name, relation(t.Verdict, t.Derived, false))
		if t.Verdict == Tuned {
			clauses[0] += fmt.Sprintf(" (relative L2 %.2g)", t.RelativeL2)
		}
	default:
		var text string
		text, said = aboutBlocks(blocks, name)
		add("%s", text)
	}
	if where, d := largest(groups); where != "" {
		add("the largest change is in %s (relative L2 %.2g)", where, d.RelativeL2)
	}
	if len(blocks) > 0 {
		clauses = append(clauses, r.aboutOutside(outside, said)...)
	}
	if a, b := r.A.Projector, r.B.Projector; t.Tower == "projector" && a != nil && b != nil && (a.Type != b.Type || a.In != b.In || a.Out != b.Out) {
		add("A's is %s from %d to %d, B's %s from %d to %d", a.Type, a.In, a.Out, b.Type, b.In, b.Out)
	}
	for _, d := range r.Tensors {
		if d.Tower == t.Tower && d.Block < 0 && d.Verdict == OtherShape {
			add("%s has shape %v in A and %v in B", d.Tensor, d.Shape, d.ShapeB)
		}
	}
	for _, v := range []Verdict{OnlyInA, OnlyInB} {
		if parts := only[v].list(); len(parts) > 0 {
			add("only %s has %s", v.side(), enumeration(parts))
		}
	}
	if t.NotFinite > 0 {
		add("%d values are not finite and were left out", t.NotFinite)
	}
	return strings.Join(clauses, "; ")
}

// missing is what only one side has of a tower.
type missing struct {
	blocks []int
	parts  []string
}

func (m *missing) list() []string {
	switch len(m.blocks) {
	case 0:
		return m.parts
	case 1:
		return append([]string{"block " + ranges(m.blocks)}, m.parts...)
	}
	return append([]string{"blocks " + ranges(m.blocks)}, m.parts...)
}

// aboutBlocks says how the blocks of a tower are related, and which verdict they have in common, "" if
// none.
func aboutBlocks(blocks []GroupDrift, tower string) (text string, common Verdict) {
	numbers := map[Verdict][]int{}
	var kinds []GroupDrift // the first of each verdict
	for _, g := range blocks {
		if numbers[g.Verdict] == nil {
			kinds = append(kinds, g)
		}
		numbers[g.Verdict] = append(numbers[g.Verdict], g.Block)
	}
	n := len(blocks)
	if len(kinds) == 1 {
		all := fmt.Sprintf("all %d blocks", n)
		if n == 1 {
			all = "the block"
		}
		return fmt.Sprintf("%s of the %s %s", all, tower, relation(kinds[0].Verdict, kinds[0].Derived, n > 1)), kinds[0].Verdict
	}
	var parts []string
	for _, k := range kinds {
		these := numbers[k.Verdict]
		parts = append(parts, fmt.Sprintf("%d %s (%s)", len(these), relation(k.Verdict, k.Derived, len(these) > 1), ranges(these)))
	}
	return fmt.Sprintf("of the %d blocks of the %s, %s", n, tower, enumeration(parts)), ""
}

// side says of which checkpoint a verdict speaks.
func (v Verdict) side() string { return strings.TrimPrefix(string(v), "only in ") }

// aboutOutside says how the parts outside the blocks are related, but for those of the verdict that has
// been said, or are equal where that is of rounding, and those of another shape.
func (r *Comparison) aboutOutside(groups []GroupDrift, said Verdict) (clauses []string) {
	parts := map[string][]string{}
	var kinds []GroupDrift // the first of each relation
	for _, g := range groups {
		if text := r.resized(g.Tower); g.Part == "embed" && text != "" {
			clauses = append(clauses, text)
			continue
		}
		if g.Verdict == said || g.Verdict == OtherShape || g.Verdict == Identical && slices.Contains(copied, said) {
			continue
		}
		key := relation(g.Verdict, g.Derived, false)
		if parts[key] == nil {
			kinds = append(kinds, g)
		}
		parts[key] = append(parts[key], "the "+partNames[g.Part])
	}
	for _, k := range kinds {
		all := parts[relation(k.Verdict, k.Derived, false)]
		clauses = append(clauses, enumeration(all)+" "+relation(k.Verdict, k.Derived, len(all) > 1))
	}
	return clauses
}

// resized says how a position embedding was resized, "" if none was.
func (r *Comparison) resized(tower string) string {
	for _, t := range r.Tensors {
		if t.Tower != tower || t.Filter == "" {
			continue
		}
		from, to := r.A.Config.Vision.Grid(), r.B.Config.Vision.Grid()
		if t.Derived == "A" {
			from, to = to, from
		}
		how := map[clipvit.Bicubic]string{clipvit.BicubicTorch: "torch's bicubic", clipvit.BicubicAntialias: "antialiased bicubic"}[t.Filter]
		text := fmt.Sprintf("the position embedding %s from %d² to %d² places by %s", relation(Resized, t.Derived, false), from, to, how)
		if t.Verdict == ResizedTuned {
			text += fmt.Sprintf(" and tuned (relative L2 %.2g)", t.RelativeL2)
		}
		return text
	}
	return ""
}

// largest returns the half of a block that was tuned most, in words, "" if none was.
func largest(groups []GroupDrift) (where string, most Drift) {
	for _, g := range groups {
		for _, half := range []struct {
			name string
			d    *Drift
		}{{"attention", g.Attention}, {"MLP", g.MLP}} {
			if d := half.d; d != nil && d.Verdict == Tuned && (where == "" || d.RelativeL2 > most.RelativeL2) {
				where, most = fmt.Sprintf("block %d's %s", g.Block, half.name), *d
			}
		}
	}
	return where, most
}

// enumeration joins parts as a sentence does.
func enumeration(parts []string) string {
	n := len(parts) - 1
	if n == 0 {
		return parts[0]
	}
	return strings.Join(parts[:n], ", ") + " and " + parts[n]
}

// ranges writes ascending numbers as 0-3, 7.
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if j == i {
			parts = append(parts, fmt.Sprint(numbers[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", numbers[i], numbers[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ", ")
}
