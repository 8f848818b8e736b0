package converter

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/params"
)

func TestExpand(t *testing.T) {
	got := table{
		{"a.#.{q,k}_proj.{weight,bias}", "A.#.QK[{0,1}/2].{W,B}", asIs},
		{"n{1,2}", "Norm{One,Two}", transposed},
		{"c", "C", flat},
	}.expand()
	want := []rule{
		{"a.#.q_proj.weight", "A.#.QK.W", 0, 2, asIs},
		{"a.#.q_proj.bias", "A.#.QK.B", 0, 2, asIs},
		{"a.#.k_proj.weight", "A.#.QK.W", 1, 2, asIs},
		{"a.#.k_proj.bias", "A.#.QK.B", 1, 2, asIs},
		{"n1", "NormOne", 0, 1, transposed},
		{"n2", "NormTwo", 0, 1, transposed},
		{"c", "C", 0, 1, flat},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestExpandPanics(t *testing.T) {
	for _, bad := range []table{
		{{"a{b,c}", "d", asIs}},
		{{"a{b,c}", "{d,e,f}", asIs}},
		{{"a{b", "c{d", asIs}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v expands", bad)
				}
			}()
			bad.expand()
		}()
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		name  string
		to    string // "" for no match
		block int
	}{
		{"visual.conv1.weight", "Embed.Patch", -1},
		{"visual.transformer.resblocks.17.mlp.c_proj.bias", "Blocks.#.MLP.Down.B", 17},
		{"transformer.resblocks.0.attn.in_proj_weight", "Text.Blocks.#.Attn.QKV.W", 0},
		{"visual.transformer.resblocks.017.mlp.c_proj.bias", "", 0},
		{"visual.transformer.resblocks.-1.mlp.c_proj.bias", "", 0},
		{"visual.transformer.resblocks.+1.mlp.c_proj.bias", "", 0},
		{"visual.transformer.resblocks.99999999999999999999.mlp.c_proj.bias", "", 0},
		{"visual.transformer.resblocks.#.mlp.c_proj.bias", "Blocks.#.MLP.Down.B", -1}, // block is checked by resolve
		{"visual.transformer.resblocks.mlp.c_proj.bias", "", 0},
		{"1.2.3.4.5.6.7", "", 0},
		{"", "", 0},
		{".", "", 0},
	} {
		r, block := openAI.match(c.name)
		switch {
		case r == nil && c.to != "":
			t.Errorf("%s: no match, want %s", c.name, c.to)
		case r != nil && (r.to != c.to || block != c.block):
			t.Errorf("%s: %s in block %d, want %s in block %d", c.name, r.to, block, c.to, c.block)
		}
	}
}

// TestBijection: the canonical parameters are those of the model, by name, order and size, and
// every dialect has each of them exactly once.
func TestBijection(t *testing.T) {
	for _, embed := range []int{0, 10} {
		c := clipvit.Config{ImageSize: 24, PatchSize: 6, Width: 64, Heads: 2, Layers: 3, MLPWidth: 96, EmbedDim: embed, Activation: transformer.QuickGELU, NormEps: 1e-5}
		m, err := clipvit.New(c)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		params.Walk(m, func(path string, p *nn.Param) { want = append(want, fmt.Sprint(path, " ", len(mat.Data[float32](p)))) })

		s := sizes{"C": c.Width, "P": c.PatchSize, "T": c.Tokens(), "F": c.MLPWidth, "E": embed, "L": c.Layers}
		for _, d := range dialects {
			var got []string
			names := map[string]bool{}
			elements := map[string]int{}
			has := inventory{vision: true, extra: map[string]bool{"PostNorm.W": true, "PostNorm.B": true, "Proj": embed > 0}}
			want := want
			if embed > 0 && d.byTo["Proj"] == nil {
				want = want[:len(want)-1] // a language model's tower
			}
			for _, slot := range d.slots(s, has) {
				if names[slot.name] {
					t.Errorf("%s: two slots are called %s", d.name, slot.name)
				}
				names[slot.name] = true
				n := 1
				for _, x := range slot.shape {
					n *= x
				}
				if elements[slot.path] += n; slot.rule.band == slot.rule.bands-1 {
					got = append(got, fmt.Sprint(slot.path, " ", elements[slot.path]))
				}
				if r, _ := d.match(slot.name); r != slot.rule {
					t.Errorf("%s: %s is written by another rule than it is read by", d.name, slot.name)
				}
			}
			if d == openAI && !slices.Equal(got, want) {
				t.Errorf("%s: parameters\n got %v\nwant %v", d.name, got, want)
			}
			slices.Sort(got)
			sorted := slices.Sorted(slices.Values(want))
			if !slices.Equal(got, sorted) {
				t.Errorf("%s: parameters\n got %v\nwant %v", d.name, got, sorted)
			}
		}
	}
}

// TestDialectsNameTheSame: every row leads to a parameter, and all dialects have them all.
func TestDialectsNameTheSame(t *testing.T) {
	for _, d := range dialects {
		for _, r := range d.rules {
			if _, ok := specOf[r.to]; !ok {
				t.Errorf("%s: %s leads to %s, which is no parameter", d.name, r.from, r.to)
			}
			if strings.Contains(r.from, "#") != strings.Contains(r.to, "#") {
				t.Errorf("%s: %s has a block where %s has none", d.name, r.from, r.to)
			}
		}
		for path := range specOf {
			text, projector := isText(path) || path == "Proj", strings.HasPrefix(path, "Projector.")
			if text && d.language != nil || isText(path) && (d == timm || d == openAITower) || projector && d.language == nil && d.name != huggingFace.name {
				if d.byTo[path] != nil {
					t.Errorf("%s: rules for %s, want none", d.name, path)
				}
				continue
			}
			if projector && d.byTo[path] == nil {
				continue // families have two layers or more, and vectors of their own
			}
			rules := d.byTo[path]
			if len(rules) == 0 || len(rules) != rules[0].bands {
				t.Errorf("%s: %d rules for %s, want all bands", d.name, len(rules), path)
			}
		}
	}
}

func TestCounts(t *testing.T) {
	// ViT-L/14-336, as OpenAI's archive has it: 446 parameters; Hugging Face's 590.
	s := sizes{"C": 1024, "P": 14, "T": 577, "F": 4096, "E": 768, "L": 24, "v": 49408, "n": 77, "c": 768, "f": 3072, "l": 12}
	for _, c := range []struct {
		d             *dialect
		text          bool
		tensors, size int
	}{
		{openAI, true, 446, 427944193},
		{huggingFace, true, 590, 427944193},
		{huggingFace, false, 392, 304293888},
	} {
		n := 0
		slots := c.d.slots(s, inventory{vision: true, text: c.text, extra: map[string]bool{"PostNorm.W": true, "PostNorm.B": true, "Proj": true}})
		for _, slot := range slots {
			k := 1
			for _, x := range slot.shape {
				k *= x
			}
			n += k
		}
		if len(slots) != c.tensors || n != c.size {
			t.Errorf("%s, text %v: %d tensors and %d parameters, want %d and %d", c.d.name, c.text, len(slots), n, c.tensors, c.size)
		}
	}
}

func TestBandsOfParts(t *testing.T) {
	a, b := &checkpoint.Tensor{DType: F16}, &checkpoint.Tensor{DType: F32}
	p := param{{a, 0, 4}, {b, 10, 8}}
	for _, c := range []struct {
		i, n int
		want param
	}{
		{0, 1, p},
		{0, 2, param{{a, 0, 4}, {b, 10, 2}}},
		{1, 2, param{{b, 12, 6}}},
		{0, 3, param{{a, 0, 4}}},
		{2, 3, param{{b, 14, 4}}},
	} {
		if got := p.band(c.i, c.n); !slices.Equal(got, c.want) {
			t.Errorf("band %d of %d is %v, want %v", c.i, c.n, got, c.want)
		}
	}
	if p.dtype() != F32 || p.band(0, 3).dtype() != F16 {
		t.Error("mixed parts are float32, equal ones what they are")
	}
}
