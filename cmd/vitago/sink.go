package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/folder"
)

// An output is a file that appears when it is complete, or standard output.
type output struct {
	w    io.Writer
	file *folder.File // nil for standard output
}

func createOutput(cmd *cobra.Command, path string) (output, error) {
	if path == "" {
		return output{w: cmd.OutOrStdout()}, nil
	}
	f, err := folder.Create(path)
	return output{f, f}, err
}

func (o output) commit() error {
	if o.file == nil {
		return nil
	}
	return o.file.Commit()
}

func (o output) discard() {
	if o.file != nil {
		o.file.Discard()
	}
}

// createNew is [createOutput] of a file that must not be there, unless it may be overwritten.
func createNew(cmd *cobra.Command, path string, overwrite bool) (output, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !overwrite { // others, such as pipes, lose nothing
		return output{}, fmt.Errorf("%s exists, and %w", path, converter.ErrExists)
	}
	return createOutput(cmd, path)
}
