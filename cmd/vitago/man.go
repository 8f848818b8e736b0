package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/vitago/vitago/internal/folder"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of all verbs",
		Long: `Man writes a manual page for each verb into a new folder DIR, as vitago-encode.1: what --help says, for man(1)
and for who packages the program. "vitago completion" has what shells complete.`,
		Example: `  vitago man man1
  man ./man1/vitago-encode.1`,
		Args: wantArgs(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Lstat(args[0]); err == nil {
				return fmt.Errorf("%s is there already: choose another folder", args[0])
			}
			root, header := cmd.Root(), manHeader()
			root.DisableAutoGenTag = true // no page of the day it was made
			return folder.WithParents(args[0], func() error {
				return folder.WriteDir(args[0], false, func(dir string) error { return doc.GenManTree(root, header, dir) })
			})
		},
	}
}

// manHeader says of what source the pages are: the same source makes the same pages.
func manHeader() *doc.GenManHeader {
	date := time.Unix(0, 0).UTC() // of a source that no commit is known of
	version := readVersion().Version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				date = t
			}
		}
	}
	return &doc.GenManHeader{Title: "VITAGO", Section: "1", Date: &date, Source: fmt.Sprintf("vitago %s", version), Manual: "Vitago"}
}
