package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/plural"
)

func newInspect() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect PATH [--json]",
		Short: "Say what a checkpoint holds",
		Long: `Inspect says what a checkpoint holds: container, dialect, configuration, tensors and SHA-256.
PATH is a model directory, an archive of OpenAI, or a file of torch.save or safetensors.
All of it is read, so damage is found. The exit status is 1 if it is sound but cannot be loaded as
a tower or a projector; what it holds is printed all the same.

The table shows equal tensors of several blocks once, with # for the number of the block;
--json lists them all.`,
		Example: `  vitago inspect models/vit-b-32
  vitago inspect --json ViT-B-32.pt`,
		Args: wantArgs(1, 1, "PATH"),
	}
	activation := activationFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		locate(cmd, &args[0])
		p := startProgress(cmd.ErrOrStderr(), "reading "+args[0], megabytes)
		info, err := await(cmd.Context(), func() (*converter.Info, error) {
			return inspect(cmd.Context(), args[0], transformer.Activation(activation.value))
		})
		p.stop()
		if err != nil {
			return err
		}
		if *asJSON {
			err = writeJSON(cmd.OutOrStdout(), infoJSON(info))
		} else {
			_, err = cmd.OutOrStdout().Write(inspectText(info))
		}
		switch {
		case err != nil || info.Problem == "":
		case info.Problem == converter.ErrActivation.Error(): // with the flag that says it
			err = converter.ErrActivation
		default:
			err = errors.New(info.Problem)
		}
		return err
	}
	return cmd
}

func inspect(ctx context.Context, path string, a transformer.Activation) (*converter.Info, error) {
	return converter.Inspect(ctx, path, converter.Assume(a))
}

func inspectText(info *converter.Info) []byte {
	rows := [][2]string{{"path", info.Path}, {"container", info.Container}}
	for _, dir := range info.Adapters {
		rows = append(rows, [2]string{"adapter", dir + ", which is merged when the model is loaded; what follows is of its base model"})
	}
	if info.Dialect != "" {
		rows = append(rows, [2]string{"dialect", info.Dialect})
	}
	if info.Config != nil {
		rows = append(rows, configLines(*info.Config)...)
	}
	rows = append(rows, projectorLines(info.Projector, info.Extras...)...)
	if info.LanguageModel > 0 {
		rows = append(rows, [2]string{"language", plural.Phrase{One: "tensor, which a conversion leaves where it is", Many: "tensors, which a conversion leaves where they are"}.Of(info.LanguageModel)})
	}
	if info.Problem != "" {
		rows = append(rows, [2]string{"problem", plain(errors.New(info.Problem))})
	}
	rows = append(rows, [][2]string{
		{"parameters", grouped(info.Parameters)},
		{"tensors", fmt.Sprintf("%d: %s", len(info.Tensors), dtypes(info.DTypes))},
		{"bytes", grouped(info.Bytes)},
		{"sha256", info.SHA256},
	}...)
	var b bytes.Buffer
	table(&b, rows)
	b.WriteByte('\n')
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "count\tdtype\tshape\ttensor")
	for _, g := range groupTensors(info.Tensors) {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", g.n, g.DType, shape(g.Shape), g.Name)
	}
	t.Flush()
	return b.Bytes()
}

// A tensorGroup is a number of tensors that differ in the numbers in their names only.
type tensorGroup struct {
	converter.TensorInfo
	n int
}

// groupTensors puts like tensors together, in the order of the first of each.
func groupTensors(all []converter.TensorInfo) []*tensorGroup {
	var groups []*tensorGroup
	known := map[string]*tensorGroup{}
	for _, t := range all {
		parts := strings.Split(t.Name, ".")
		for i, p := range parts {
			if _, err := strconv.ParseUint(p, 10, 32); err == nil {
				parts[i] = "#"
			}
		}
		pattern := strings.Join(parts, ".")
		key := fmt.Sprint(pattern, t.DType, t.Shape)
		if g := known[key]; g != nil {
			g.n++
			g.Name = pattern
			continue
		}
		known[key] = &tensorGroup{t, 1}
		groups = append(groups, known[key])
	}
	return groups
}
