package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"gonum.org/v1/plot"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/compare"
	"github.com/vitago/vitago/converter/compare/chart"
	"github.com/vitago/vitago/internal/folder"
)

func newCompare() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Say whether B was made from A, and how far it was tuned",
		Long: `Compare aligns two checkpoints, whatever software wrote them and in whatever precision, and says of
every block and, with --all or --json, of every tensor, by its name in A, whether B's is identical to A's, rounded to
another precision, resized (the position embedding), tuned, or unrelated:

  relative L2  |a-b| / |a|: how far B is from A, as a part of A's length
  max abs      the largest |a-b|
  cosine       a·b / |a||b|

Tuned and unrelated are told apart by the correlation, which --json has too: the cosine after the mean
is taken off, since weights of norms are all near 1. A block's attention and MLP are taken with
the norms before them. Numbers cannot tell which of two tuned towers came first.

A and B are model directories, archives of OpenAI, or files of torch.save or safetensors. Of a
vision-language model the tower and the projector are compared; its language model is not read.
--all shows shapes with the outputs first, even where OpenAI's projections have them last.`,
		Example: `  vitago compare ViT-L-14-336px.pt models/tuned
  vitago compare ViT-L-14-336px.pt internlm-xcomposer2-vl-7b --plot drift.png
  vitago compare --json a.safetensors b.safetensors`,
		Args: wantArgs(2, 2, "A and B"),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	all := cmd.Flags().Bool("all", false, "print a row for every tensor")
	plotFile := cmd.Flags().String("plot", "", "draw how far every block is from A's into `FILE`, by its extension .png, .svg or .pdf")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *asJSON && cmd.Flags().Changed("all") {
			return usagef("--all goes without --json, which has every tensor")
		}
		if cmd.Flags().Changed("plot") {
			if err := checkPlot(*plotFile); err != nil {
				return err
			}
		}
		locate(cmd, &args[0], &args[1])
		p := startProgress(cmd.ErrOrStderr(), "comparing", megabytes)
		r, err := await(cmd.Context(), func() (*compare.Comparison, error) {
			return compareFiles(cmd.Context(), args[0], args[1], compare.Options{Progress: p.set})
		})
		elapsed := p.stop()
		if err != nil {
			return err
		}
		if *plotFile != "" {
			if err := writePlot(*plotFile, r); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: the drift of the blocks\n", *plotFile)
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), comparisonJSON(r))
		}
		if _, err := cmd.OutOrStdout().Write(compareText(r, *all)); err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "compared in %s\n", seconds(elapsed))
		return nil
	}
	return cmd
}

func compareFiles(ctx context.Context, a, b string, o compare.Options) (*compare.Comparison, error) {
	ma, err := converter.Open(a)
	if err != nil {
		return nil, err
	}
	defer ma.Close()
	mb, err := converter.Open(b)
	if err != nil {
		return nil, err
	}
	defer mb.Close()
	return compare.Models(ctx, ma, mb, o)
}

func compareText(r *compare.Comparison, all bool) []byte {
	var b bytes.Buffer
	table(&b, [][2]string{{"A", sideText(r.A)}, {"B", sideText(r.B)}})
	if all {
		tensorTable(&b, r)
	} else {
		groupTable(&b, r)
	}
	fmt.Fprintf(&b, "\n%s\n", r.Summary)
	return b.Bytes()
}

// sideText describes one side in a line.
func sideText(c compare.Side) string {
	path := strings.Join(append([]string{c.Path}, c.Adapters...), " + ")
	return fmt.Sprintf("%s: %s, names of %s, %s parameters, tensors %s", path, c.Container, c.Dialect, grouped(c.Parameters), dtypes(c.DTypes))
}

// groupTable writes a table for every tower that both have, with a row for every block, and for what is
// before and after the blocks.
func groupTable(w io.Writer, r *compare.Comparison) {
	for _, tower := range r.Towers {
		if tower.Elements+tower.NotFinite == 0 {
			continue // the summary says who has it
		}
		groups := slices.DeleteFunc(slices.Clone(r.Groups), func(g compare.GroupDrift) bool { return g.Tower != tower.Tower })
		blocks := slices.ContainsFunc(groups, func(g compare.GroupDrift) bool { return g.Block >= 0 })
		halves := ""
		if blocks {
			halves = "attention\tMLP\t"
		}
		fmt.Fprintf(w, "\n%s\n", tower.Tower)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(t, "part\tverdict\trelative L2\t%smax abs\tcosine\n", halves)
		for _, g := range groups {
			name := strings.ReplaceAll(g.Part, "_", " ")
			if g.Block >= 0 {
				name = fmt.Sprintf("block %d", g.Block)
			}
			if blocks {
				halves = half(g.Attention) + "\t" + half(g.MLP) + "\t"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s%s\t%s\n", name, verdict(g.Drift), short(g.RelativeL2), halves, short(g.MaxAbs), cosineText(g.Cosine))
		}
		t.Flush()
	}
}

// tensorTable writes a row for every tensor.
func tensorTable(w io.Writer, r *compare.Comparison) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\ntensor\tshape\tA\tB\tverdict\trelative L2\tmax abs\tcosine")
	for _, d := range r.Tensors {
		shapes := shape(d.Shape)
		if d.ShapeB != nil {
			shapes += " " + shape(d.ShapeB)
		}
		v := verdict(d.Drift)
		if d.Filter != "" {
			v += ", " + string(d.Filter)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Tensor, shapes, dash(string(d.DTypeA)), dash(string(d.DTypeB)), v,
			short(d.RelativeL2), short(d.MaxAbs), cosineText(d.Cosine))
	}
	t.Flush()
}

// verdict says a verdict, and in which checkpoint rounding or resizing was done.
func verdict(d compare.Drift) string {
	if d.Derived != "" {
		return string(d.Verdict) + " in " + d.Derived
	}
	return string(d.Verdict)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func half(d *compare.Drift) string {
	if d == nil {
		return "-"
	}
	return short(d.RelativeL2)
}

// short writes a measure with the digits that a person compares.
func short(m compare.Measure) string {
	if !m.Defined() {
		return "-"
	}
	return fmt.Sprintf("%.3g", float64(m))
}

func cosineText(m compare.Measure) string {
	if !m.Defined() {
		return "-"
	}
	return fmt.Sprintf("%.6f", float64(m))
}

// checkPlot returns an error if a file of that name cannot be drawn.
func checkPlot(path string) error {
	if ext := filepath.Ext(path); !slices.Contains(chart.Extensions, strings.ToLower(ext)) {
		return usagef("no plot has the extension %q, want .pdf, .png or .svg", ext)
	}
	return nil
}

// writePlot draws a comparison into a file.
func writePlot(path string, r *compare.Comparison) error {
	p, err := chart.Drift(r)
	if err != nil {
		return err
	}
	return drawPlot(path, p)
}

// drawPlot draws into a file, which appears complete or not at all.
func drawPlot(path string, p *plot.Plot) error {
	file, err := chart.Encode(p, strings.ToLower(filepath.Ext(path)))
	if err != nil {
		return err
	}
	return folder.WithParents(path, func() error { return folder.WriteBytes(path, file) })
}
