package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/internal/plural"
)

func newConvert() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "convert SRC DST",
		Short: "Turn any checkpoint into a model directory",
		Long: `Convert reads the checkpoint SRC, an archive of OpenAI, a file of torch.save or safetensors or a
model directory, and writes the directory DST, which Hugging Face's transformers loads as it is:
config.json, preprocessor_config.json, model.safetensors and the tokenizer: that of --vocab, that which
lies beside the source, or OpenAI's. Of a
vision-language model (LLaVA, XComposer, xtuner) it takes the tower and the projector, which it
writes as projector.safetensors and projector_config.json, and does not read the language model.
DST appears complete or not at all.

An adapter of peft's, LoRA or DoRA, is merged with SRC by --adapter. The directory of an adapter whose
base model lies where its adapter_config.json says is a SRC, and a --model of other verbs, by itself.
Several adapters are added up, each with the weight behind its "=". That is what peft's
add_weighted_adapter calls combination_type "cat", the exact one; --combination-type linear is peft's
"linear", which adds up the factors and so has products of one adapter with the other, too.

The same names of tensors stand for towers with quick_gelu, OpenAI's, and with gelu. Where neither
the archive nor a config.json or open_clip_config.json beside it says which, --activation must.`,
		Example: `  vitago convert ViT-L-14-336px.pt models/vit-l-14-336
  vitago convert --dtype f32 --vision-only pytorch_model.bin models/tower
  vitago convert --adapter tuned/adapter models/vit-l-14-336 models/merged
  vitago convert --adapter A=0.7 --adapter B=0.3 models/vit-l-14-336 models/both`,
		Args: wantArgs(2, 2, "SRC and DST"),
	}
	var o converter.Options
	adapters := newAdapters(cmd)
	dtype := choiceFlag(cmd, "dtype", "source", "precision of the output", "source", "f16", "bf16", "f32")
	activation := activationFlag(cmd)
	cmd.Flags().BoolVar(&o.VisionOnly, "vision-only", false, "leave the text tower out")
	cmd.Flags().StringVar(&o.Vocab, "vocab", "", "write the tokenizer of `FILE`: merges as OpenAI's bpe_simple_vocab_16e6.txt.gz, a tokenizer.json, or a folder (default: the source's, or OpenAI's)")
	adapters.flag()
	combination := choiceFlag(cmd, "combination-type", string(peft.Cat), "how several adapters become one, as peft calls it", string(peft.Cat), string(peft.Linear))
	cmd.Flags().BoolVar(&o.Overwrite, "overwrite", false, "replace a model directory that exists")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.VisionOnly && cmd.Flags().Changed("vocab") {
			return usagef("--vocab is of the text tower, and --vision-only leaves that out")
		}
		o.DType = dtype.value
		options := []converter.OpenOption{converter.Assume(transformer.Activation(activation.value))}
		merged, err := adapters.options(peft.Combination(combination.value))
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("combination-type") && len(adapters.given) < 2 {
			return usagef("--combination-type is of several adapters, and there are %d: give --adapter again", len(adapters.given))
		}
		options = append(options, merged...)
		locate(cmd, &args[0])
		c, err := converter.Open(args[0], options...)
		if err != nil {
			return err
		}
		defer c.Close()
		p := startProgress(cmd.ErrOrStderr(), "converting "+args[0], megabytes)
		o.Progress = p.set
		r, err := c.Convert(cmd.Context(), args[1], o)
		elapsed := p.stop()
		if err != nil {
			return err
		}
		if *asJSON {
			err = writeJSON(cmd.OutOrStdout(), reportJSON(r))
		} else {
			_, err = cmd.OutOrStdout().Write(convertText(r))
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "converted in %s\n", seconds(elapsed))
		return nil
	}
	return cmd
}

// sourceLines say what was converted or exported.
func sourceLines(r *converter.Report) [][2]string {
	rows := [][2]string{
		{"source", r.Source},
		{"container", r.Container},
		{"dialect", r.Dialect},
	}
	for _, dir := range r.Adapters {
		rows = append(rows, [2]string{"adapter", dir})
	}
	if r.SHA256 != "" { // a language model is not read
		rows = append(rows, [2]string{"sha256", r.SHA256})
	}
	return rows
}

func convertText(r *converter.Report) []byte {
	rows := sourceLines(r)
	rows = append(rows, configLines(r.Config)...)
	rows = append(rows, projectorLines(r.Projector)...)
	rows = append(rows, [][2]string{
		{"written", fmt.Sprintf("%s: %s", r.Dir, strings.Join(r.Files, ", "))},
		{"parameters", grouped(r.Parameters)},
		{"tensors", fmt.Sprintf("%d: %s", r.Tensors, dtypes(r.DTypes))},
		{"bytes", grouped(r.Bytes)},
	}...)
	if r.Tokenizer != "" {
		rows = append(rows, [2]string{"tokenizer", r.Tokenizer})
	}
	left := append(slices.Clone(r.Excused), r.Left...)
	if r.LanguageModel > 0 {
		left = append([]string{plural.Of(r.LanguageModel, "tensor") + " of the language model"}, left...)
	}
	if r.TextLeft {
		left = append([]string{"the text tower"}, left...)
	}
	if left != nil {
		rows = append(rows, [2]string{"left out", strings.Join(left, ", ")})
	}
	var b bytes.Buffer
	table(&b, rows)
	return b.Bytes()
}
