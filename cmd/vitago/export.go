package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/pyjson"
)

func newExport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export SRC OUT --to FORM",
		Short: "Write a checkpoint that other software loads",
		Long: `Export reads the checkpoint SRC, a model directory or anything else that convert reads, and writes
OUT under the names that other software has for the tensors:

  openai       a file for clip.load of openai-clip; with --format torch a state dict, which
               clip.load cannot read but build_model(torch.load(OUT)) of the same package
  huggingface  a directory for transformers, as convert writes it
  openclip     a directory for open_clip.create_model("local-dir:OUT")
  llava        a file with the tower and the projector under the names of LLaVA; with
               --projector-only what LLaVA calls mm_projector.bin
  llava-hf     the same under the names of transformers' LlavaForConditionalGeneration
  xcomposer    the same under the names of InternLM-XComposer 2 and 2.5
  gguf         a file for llama.cpp's --mmproj: tower and projector of LLaVA 1.5's kind
  head-csv     the classifier alone, that a run has trained or the checkpoint has: a line for each
               class, with the columns class, bias, w0, w1, …; logits are x·wᵀ + bias
  head-npz     the same for numpy.load: coef [K,D] and intercept [K] as scikit-learn calls them,
               classes [K]; features, what it reads; multi, whether a picture may have several

The files of llava, llava-hf and xcomposer hold no language model: their tensors have the names
that they have in the files of the original, and take their place there.
OUT appears complete or not at all; folders above it are made.`,
		Example: `  vitago export models/tuned tuned.pt --to openai
  vitago export models/tuned tuned-openclip --to openclip --format torch
  vitago export models/llava mm_projector.bin --to llava --projector-only
  vitago export models/llava mmproj-f16.gguf --to gguf
  vitago export tuned/model head.csv --to head-csv`,
		Args: wantArgs(2, 2, "SRC and OUT"),
	}
	var o converter.ExportOptions
	forms := append(converter.ExportForms(), slices.Sorted(maps.Keys(headForms))...)
	to := choiceFlag(cmd, "to", "", "whose checkpoint to write (required)", forms...)
	format := choiceFlag(cmd, "format", "", "of the weights (default: by the extension of OUT, else what the software prefers)", "safetensors", "torch", "torchscript")
	dtype := choiceFlag(cmd, "dtype", "", "precision of the output (default: f16 for gguf, else source)", "source", "f16", "bf16", "f32")
	activation := choiceFlag(cmd, "activation", "", "activation of a source that does not say it", activations()...)
	cmd.Flags().BoolVar(&o.ProjectorOnly, "projector-only", false, "leave the tower out")
	cmd.Flags().BoolVar(&o.Overwrite, "overwrite", false, "replace a checkpoint that exists")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if to.value == "" {
			return usagef("--to is missing, want %s", strings.Join(forms, ", "))
		}
		if headForms[to.value] != nil {
			locate(cmd, &args[0])
			return exportHead(cmd.Context(), cmd, args[0], args[1], to.value, o.Overwrite, *asJSON)
		}
		o.To, o.Format, o.DType = to.value, format.value, dtype.value
		if err := o.Check(args[1]); err != nil {
			return usageError{err}
		}
		locate(cmd, &args[0])
		c, err := converter.Open(args[0], converter.Assume(transformer.Activation(activation.value)))
		if err != nil {
			return err
		}
		defer c.Close()
		p := startProgress(cmd.ErrOrStderr(), "exporting "+args[0], megabytes)
		o.Progress = p.set
		r, err := c.Export(cmd.Context(), args[1], o)
		elapsed := p.stop()
		if err != nil {
			return err
		}
		if *asJSON {
			err = writeJSON(cmd.OutOrStdout(), exported{o.To, pyjson.Name(args[1]), reportJSON(r)})
		} else {
			_, err = cmd.OutOrStdout().Write(exportText(r, o.To, args[1]))
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "exported in %s\n", seconds(elapsed))
		return nil
	}
	return cmd
}

// exported is what an export says in JSON.
type exported struct {
	Form    string      `json:"form"`
	Written pyjson.Name `json:"written"`
	namedReport
}

// exportText describes what was written to out.
func exportText(r *converter.Report, to, out string) []byte {
	rows := sourceLines(r)
	written := out
	if r.Dir == out { // a directory
		written += ": " + strings.Join(r.Files, ", ")
	}
	rows = append(rows, [][2]string{
		{"form", to},
		{"written", written},
		{"parameters", grouped(r.Parameters)},
		{"tensors", fmt.Sprintf("%d: %s", r.Tensors, dtypes(r.DTypes))},
		{"bytes", grouped(r.Bytes)},
	}...)
	if r.Tokenizer != "" {
		rows = append(rows, [2]string{"tokenizer", r.Tokenizer})
	}
	// Who reads that a tower was left out knows that its last norm was.
	left := slices.DeleteFunc(slices.Clone(r.Left), func(part string) bool {
		return slices.ContainsFunc(r.Left, func(whole string) bool { return strings.HasPrefix(part, whole+"'s ") })
	})
	if len(left) > 0 {
		rows = append(rows, [2]string{"left out", strings.Join(left, ", ")})
	}
	var b bytes.Buffer
	table(&b, rows)
	return b.Bytes()
}
