package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
)

// How numbers are shown to people.

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// fewSeconds is seconds of what may take much less than one.
func fewSeconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.2g s", d.Seconds())
	}
	return seconds(d)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func count(n int64) string { return strconv.FormatInt(n, 10) }

// grouped writes 427944193 as 427,944,193.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// shape writes the dimensions of a tensor as package clipvit does.
func shape(dims []int) string { return strings.ReplaceAll(fmt.Sprint(dims), " ", ",") }

// towers are the vision transformers that have a name.
// Source: openai/CLIP, clip/clip.py, _MODELS.
var towers = map[clipvit.Config]string{
	clipvit.ViTB32: "ViT-B/32", clipvit.ViTB16: "ViT-B/16", clipvit.ViTL14: "ViT-L/14", clipvit.ViTL14336: "ViT-L/14@336px",
}

// configLines are the rows of a table about a CLIP.
func configLines(c converter.Config) [][2]string {
	v := c.Vision
	if v == (clipvit.Config{}) {
		return [][2]string{{"vision", "none"}}
	}
	name := ""
	plain := v
	plain.Transform = clipvit.Transform{} // which is no matter of the name
	if n, ok := towers[plain]; ok {
		name = n + ": "
	}
	embed := "no projection"
	switch {
	case v.EmbedDim > 0:
		embed = fmt.Sprintf("embedding %d", v.EmbedDim)
	case v.NoPostNorm:
		embed = "no post-norm"
	}
	act := func(a transformer.Activation) transformer.Activation { return cmp.Or(a, "activation unknown") }
	lines := [][2]string{{"vision", fmt.Sprintf("%simage %d, patch %d, width %d, heads %d, layers %d, MLP %d, %s, %s",
		name, v.ImageSize, v.PatchSize, v.Width, v.Heads, v.Layers, v.MLPWidth, embed, act(v.Activation))}}
	lines = append(lines, [2]string{"pictures", pictureLine(v.Transform)})
	if t := c.Text; t != nil {
		lines = append(lines, [2]string{"text", fmt.Sprintf("vocabulary %d, context %d, width %d, heads %d, layers %d, MLP %d, embedding %d, %s",
			t.Vocab, t.Context, t.Width, t.Heads, t.Layers, t.MLPWidth, t.EmbedDim, act(t.Activation))})
	} else {
		lines = append(lines, [2]string{"text", "none"})
	}
	return lines
}

// pictureLine says how pictures are prepared.
func pictureLine(t clipvit.Transform) string {
	r := t.Resolved()
	fit := r.Fit
	if fit == clipvit.FitShortest {
		fit = "crop" // as --fit calls it
	}
	line := fmt.Sprintf("%s, %s", fit, r.Filter)
	if r.Resize != 0 {
		line += fmt.Sprintf(", scaled to %d", r.Resize)
	}
	if r.Fit == clipvit.FitPad || r.Fit == clipvit.FitLongest {
		line += fmt.Sprintf(", filled with %v", r.Fill)
	}
	if plain := (clipvit.Transform{}).Resolved(); r.Mean != plain.Mean || r.Std != plain.Std {
		line += fmt.Sprintf(", mean %v, deviation %v", r.Mean, r.Std)
	}
	for _, p := range clipvit.Presets {
		if t.Follows(p) {
			return fmt.Sprintf("%s; by the rules of %s", line, p.Name)
		}
	}
	return fmt.Sprintf("%s; rounded as by %s, alpha %s", line, r.Rounding, r.Alpha)
}

// projectorLines are the rows of a table about a projector, none if there is none.
func projectorLines(p *converter.ProjectorConfig, extras ...string) [][2]string {
	if p == nil {
		return nil
	}
	parts := []string{p.Type, fmt.Sprintf("%d to %d", p.In, p.Out)}
	if p.SelectLayer != nil {
		parts = append(parts, fmt.Sprintf("layer %d", *p.SelectLayer))
	}
	if p.SelectFeature != "" {
		parts = append(parts, p.SelectFeature)
	}
	for _, e := range extras {
		parts = append(parts, strings.TrimPrefix(e, "Projector."))
	}
	lines := [][2]string{{"projector", strings.Join(parts, ", ")}}
	if p.Family != "" {
		lines = append([][2]string{{"family", p.Family}}, lines...)
	}
	return lines
}

// dtypes writes how many tensors have which type.
func dtypes(n map[string]int) string {
	var parts []string
	for _, d := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%d %s", n[d], d))
	}
	return strings.Join(parts, ", ")
}

// table writes rows of a name and a value to w.
func table(w io.Writer, rows [][2]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\n", r[0], r[1])
	}
	t.Flush() // w is a buffer
}

// jsonFlag declares the flag of verbs that say in JSON what they say otherwise in a table.
func jsonFlag(cmd *cobra.Command) *bool { return cmd.Flags().Bool("json", false, "print JSON") }
