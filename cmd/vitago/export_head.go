package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

// headForms are the forms of export that are of the classifier alone, and what writes it.
var headForms = map[string]func(h *probe.Head, w io.Writer) error{
	"head-csv": (*probe.Head).WriteCSV,
	"head-npz": (*probe.Head).WriteNPZ,
}

// exportedHead is what an export of a classifier says in JSON.
type exportedHead struct {
	Form    string      `json:"form"`
	Written pyjson.Name `json:"written"`
	Source  pyjson.Name `json:"source"`
	Classes []string    `json:"classes"`
	Numbers int         `json:"numbers"` // of each class, beside the bias
	Reads   string      `json:"reads"`   // features of the tower
	Bytes   int64       `json:"bytes"`
}

// exportHead writes the classifier of the model src to the file dst.
func exportHead(ctx context.Context, cmd *cobra.Command, src, dst, form string, overwrite, asJSON bool) error {
	for _, name := range []string{"format", "dtype", "activation", "projector-only"} {
		if cmd.Flags().Changed(name) {
			return usagef("--%s goes without --to %s, which writes the head alone, in float32", name, form)
		}
	}
	t, err := finetune.Open(ctx, src)
	if err != nil {
		return err
	}
	defer t.Close()
	switch info, err := os.Stat(dst); {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory, want a file", dst)
	case err == nil && !overwrite:
		return fmt.Errorf("%s exists; give --overwrite", dst)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	var file bytes.Buffer
	if err := headForms[form](t.Head(), &file); err != nil {
		return err
	}
	if err := folder.WithParents(dst, func() error { return folder.WriteBytes(dst, file.Bytes()) }); err != nil {
		return err
	}
	h := t.Head()
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), exportedHead{form, pyjson.Name(dst), pyjson.Name(t.Model().Name()), h.Classes, h.Dim(), h.Features.String(), int64(file.Len())})
	}
	var b bytes.Buffer
	table(&b, [][2]string{
		{"source", t.Model().Name()}, {"form", form}, {"written", dst}, {"classes", fmt.Sprint(len(h.Classes))},
		{"numbers", fmt.Sprintf("%d of each class, and a bias", h.Dim())}, {"reads", h.Features.String()}, {"bytes", grouped(int64(file.Len()))},
	})
	_, err = cmd.OutOrStdout().Write(b.Bytes())
	return err
}
