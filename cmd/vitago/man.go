package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/kernel"
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
				return folder.WriteDir(args[0], false, func(dir string) error {
					for _, c := range append([]*cobra.Command{root}, everyVerb(root)...) {
						if !c.IsAvailableCommand() && c != root {
							continue
						}
						page, err := manPage(c, *header)
						if err != nil {
							return err
						}
						if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"), page, 0o666); err != nil {
							return err
						}
					}
					return nil
				})
			})
		},
	}
}

// statuses are the exit statuses, as the root's help and docs/cli.md have them.
var statuses = []struct {
	status int
	means  string
}{
	{exitDone, "done"},
	{exitFailed, "failed: a file, the network, a damaged model; another try may help"},
	{exitUsage, "wrong usage: another command line would mend it"},
	{exitNever, "of encode --shards: failed, and would again"},
	{exitInterrupted, "interrupted"},
}

// variables are those of the environment that all verbs have, beside those of flags.
var variables = [][2]string{
	{configEnv, "the file of flags that --config names"},
	{envName("threads"), "stands for --threads"},
	{envName("quiet"), "stands for --quiet"},
	{modelsEnv, "folder of models that are found by their names, in the place of " + modelsDir + "/"},
	{kernel.Env, "which kernels compute; the best for the processor without it (\"vitago version\" lists those that there are)"},
	{"GOMAXPROCS", "threads, where --threads does not say"},
	{"NO_COLOR", "no colours, if it is not empty; TERM=dumb is no progress bar besides"},
}

// manPage is the page of a verb. cobra knows neither the environment nor statuses.
func manPage(cmd *cobra.Command, header doc.GenManHeader) ([]byte, error) {
	var b bytes.Buffer
	header.Title = strings.ToUpper(strings.ReplaceAll(cmd.CommandPath(), " ", "-"))
	if err := doc.GenMan(cmd, &header, &b); err != nil {
		return nil, err
	}
	var more strings.Builder
	entry := func(name, text string) {
		fmt.Fprintf(&more, ".TP\n\\fB%s\\fP\n%s\n", roff(name), roff(text))
	}
	more.WriteString(".SH EXIT STATUS\n")
	for _, s := range statuses {
		if s.status != exitNever || cmd.Name() == "encode" || !cmd.HasParent() {
			entry(strconv.Itoa(s.status), s.means)
		}
	}
	more.WriteString("\n.SH ENVIRONMENT\n")
	if cmd.HasParent() && takesSettings(cmd) {
		for _, f := range settableNames(cmd.LocalNonPersistentFlags()) {
			entry(envName(verbName(cmd), f), "stands for --"+f)
		}
	}
	for _, v := range variables {
		entry(v[0], v[1])
	}
	page := strings.Replace(b.String(), ".SH EXAMPLE\n", ".SH EXAMPLES\n", 1)
	if before, after, ok := strings.Cut(page, ".SH SEE ALSO\n"); ok {
		return []byte(before + more.String() + "\n.SH SEE ALSO\n" + after), nil
	}
	return []byte(page + "\n" + more.String()), nil
}

// roff writes a text as it stands.
func roff(text string) string {
	return strings.NewReplacer(`\`, `\\`, "-", `\-`, "'", `\(aq`).Replace(text)
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
