package clip_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/tiny"
)

// towers returns tiny towers, whose text tower has OpenAI's vocabulary.
func towers(t testing.TB, seed uint64) (*clipvit.Model, *cliptext.Model) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	next := func() float32 { return float32(rng.IntN(256)-128) / 512 } // that half precision has
	v := tiny.New(t, clipvit.New, clipvit.Config{ImageSize: 8, PatchSize: 4, Width: 64, Heads: 1, Layers: 1, MLPWidth: 256, EmbedDim: 8, Activation: "quick_gelu", NormEps: 1e-5})
	w := tiny.New(t, cliptext.New, cliptext.Config{Vocab: 49408, Context: 77, Width: 64, Heads: 1, Layers: 1, MLPWidth: 256, EmbedDim: 8, Activation: "quick_gelu", NormEps: 1e-5, End: 49407})
	tiny.Fill(v, next)
	tiny.Fill(w, next)
	v.Freeze()
	w.Freeze()
	return v, w
}

// TestFingerprint: an archive of OpenAI's form, its conversion and the exports of both are one model; int8, other rules for
// texts or pictures, and another value are not.
func TestFingerprint(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads CLIP's vocabulary twenty times, in one goroutine")
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	v, w := towers(t, 1)
	otherV, otherW := towers(t, 2)
	if _, err := converter.Save(t.Context(), converter.Models{Vision: v, Text: w}, nil, at("saved"), converter.Options{}); err != nil {
		t.Fatal(err)
	}
	export := func(src, dst, to string, o converter.ExportOptions) {
		t.Helper()
		m, err := converter.Open(at(src))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		o.To = to
		if _, err := m.Export(t.Context(), at(dst), o); err != nil {
			t.Fatal(err)
		}
	}
	convert := func(src, dst string, o converter.Options) {
		t.Helper()
		m, err := converter.Open(at(src))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if _, err := m.Convert(t.Context(), at(dst), o); err != nil {
			t.Fatal(err)
		}
	}
	export("saved", "archive.pt", "openai", converter.ExportOptions{})
	convert("archive.pt", "converted", converter.Options{})
	convert("archive.pt", "half", converter.Options{DType: "f16"})
	export("converted", "again.pt", "openai", converter.ExportOptions{})
	export("converted", "huggingface", "huggingface", converter.ExportOptions{})
	export("archive.pt", "openclip", "openclip", converter.ExportOptions{})
	print := func(m *clip.Model) (vision, text string) {
		t.Helper()
		vision, err := m.VisionFingerprint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if text, err = m.TextFingerprint(t.Context()); err != nil || len(vision) != 64 || len(text) != 64 {
			t.Fatal(vision, text, err)
		}
		return vision, text
	}
	vision, text := print(open(t, at("archive.pt")))
	if vision == text {
		t.Error("both towers have one fingerprint")
	}
	for _, c := range []struct {
		name                 string
		m                    *clip.Model
		sameVision, sameText bool
	}{
		{"converted", open(t, at("converted")), true, true},
		{"half", open(t, at("half")), true, true},
		{"again", open(t, at("again.pt")), true, true},
		{"huggingface", open(t, at("huggingface")), true, true},
		{"memory", clip.New(v, w, cliptext.NewOpenAI(cliptext.OpenAI)), true, true},
		{"vocabulary", open(t, at("archive.pt"), clip.Vocabulary("../cliptext/bpe_simple_vocab_16e6.txt.gz")), true, true},
		{"rules", clip.New(v, w, cliptext.NewOpenAI(cliptext.Transformers)), true, false},
		{"openclip", open(t, at("openclip")), true, false}, // whose tokenizer writes <end_of_text>
		{"other", clip.New(otherV, otherW, cliptext.NewOpenAI(cliptext.OpenAI)), false, false},
		{"int8", open(t, at("archive.pt"), clip.Int8()), false, false},
		{"bf16", open(t, at("archive.pt"), clip.BF16()), false, false},
		{"prepared", open(t, at("archive.pt"), clip.Checkpoint(converter.Prepare(clipvit.Choice{Fit: clipvit.FitSquash}))), false, true},
	} {
		gotVision, gotText := print(c.m)
		if (gotVision == vision) != c.sameVision || (gotText == text) != c.sameText {
			t.Errorf("%s: %.12s and %.12s, that of the archive %.12s and %.12s; want the same %v, %v", c.name, gotVision, gotText, vision, text, c.sameVision, c.sameText)
		}
	}
}
