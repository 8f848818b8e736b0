package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/kernel"
)

// precisionHelp is what verbs with --precision say of it.
const precisionHelp = `--precision bf16 rounds the weights of the blocks, and what enters a product, to bfloat16: the embedding then
has a cosine of 0.9999 and more with that of float32, and with AVX512-BF16 of AMD it takes six to seven tenths
of the time. int8 rounds them to 8 bits, or 16 where a tower needs it, which a few inputs show when it is loaded: a
cosine of 0.999 and more, of 0.9997 in most cases, and with AMX or VNNI a fraction of the time.
auto is bf16 where that is faster than float32, else f32, and says which. "vitago version" says which
instructions there are.`

// precisionFlag adds --precision of the weights and operands of a verb's products.
func precisionFlag(cmd *cobra.Command, of string) *choice {
	return choiceFlag(cmd, "precision", "f32", of, "f32", "bf16", "int8", "auto")
}

// choosePrecision returns the precision to compute in: what auto comes to, or what was asked for. It says on log what auto
// has chosen and why, and what is asked for in vain.
func choosePrecision(log io.Writer, asked string) (string, error) {
	name := kernel.BF16Name()
	switch {
	case asked == "bf16" && name == "generic":
		return "", usagef("--precision bf16: the kernel in use, %s, has no instruction for bfloat16, which is of AMX and AVX512-BF16: want f32, or auto, which chooses", kernel.Name())
	case asked == "bf16" && !clipvit.BF16Pays():
		fmt.Fprintf(log, "note: this processor is not faster with bf16 (%s) than with float32\n", name)
	case asked == "int8" && !clipvit.Int8Pays():
		fmt.Fprintln(log, "note: this processor is not faster with int8 than with float32")
	case asked != "auto":
	case clipvit.BF16Pays():
		fmt.Fprintf(log, "precision: bf16, since %s is faster here than float32\n", name)
		return "bf16", nil
	case name == "generic":
		fmt.Fprintf(log, "precision: f32, since the kernel in use, %s, has no instruction for bfloat16\n", kernel.Name())
		return "f32", nil
	default:
		fmt.Fprintf(log, "precision: f32, since %s is no faster here than float32\n", name)
		return "f32", nil
	}
	return asked, nil
}

// noteRounding says on log what of a tower, which is loaded, is not in int8, if anything.
func noteRounding(ctx context.Context, log io.Writer, m *clip.Model, text bool) {
	tower := func() (interface{ Precision() string }, error) { return m.Vision(ctx) }
	name := "the vision tower"
	if text {
		tower = func() (interface{ Precision() string }, error) { return m.Text(ctx) }
		name = "the text tower"
	}
	t, err := tower()
	if err != nil {
		return // said before
	}
	if p := t.Precision(); !strings.HasSuffix(p, "products in int8") {
		fmt.Fprintf(log, "note: 8 bits do not suffice %s: it computes %s\n", name, p)
	}
}

// precisionOptions has a model loaded in a precision that choosePrecision returned.
func precisionOptions(precision string) []clip.Option {
	switch precision {
	case "bf16":
		return []clip.Option{clip.BF16()}
	case "int8":
		return []clip.Option{clip.Int8()}
	}
	return nil
}
