package clip_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/tiny"
)

// BenchmarkEncodeText encodes short captions with the text tower of ViT-B/32, and reports how fast that is beside the tower
// alone: [cliptext.Model.Forward] of the same token ids, sorted by their length, in parts that are as long as the tower
// takes together. Both are measured by turns in the same run.
func BenchmarkEncodeText(b *testing.B) {
	m := tiny.New(b, cliptext.New, cliptext.ViTB32)
	rng := rand.New(rand.NewPCG(1, 1))
	tiny.Fill(m, func() float32 { return (rng.Float32() - 0.5) / 20 })
	m.Freeze()
	k := cliptext.NewOpenAI(cliptext.OpenAI)
	words := strings.Fields("a an the man woman dog cat red blue small large photograph riding standing near on with of tree street umbrella kitchen table giraffe skateboard snowy")
	texts := make([]string, 2000)
	for i := range texts {
		for range 5 + rng.IntN(10) {
			texts[i] += words[rng.IntN(len(words))] + " "
		}
	}
	ids, err := k.Tokenize(texts, cliptext.ViTB32.Context, false)
	if err != nil {
		b.Fatal(err)
	}
	slices.SortFunc(ids, func(x, y []int) int { return len(x) - len(y) })
	alone := func() {
		for rest := ids; len(rest) > 0; {
			n := 1
			for n < len(rest) && n+1 <= transformer.Part(len(rest[n])) {
				n++
			}
			if _, err := m.Forward(rest[:n]); err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
	}
	whole := clip.New(nil, m, k)
	var tower, all time.Duration
	for b.Loop() {
		start := time.Now()
		alone()
		middle := time.Now()
		if _, err := whole.EncodeText(b.Context(), texts); err != nil {
			b.Fatal(err)
		}
		tower, all = tower+middle.Sub(start), all+time.Since(middle)
	}
	b.ReportMetric(float64(tower)/float64(all), "of-the-tower")
	b.ReportMetric(float64(b.N*len(texts))/all.Seconds(), "texts/s")
}
