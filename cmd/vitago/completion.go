package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/hub"
)

// What the shell completes beside verbs and flags: choices, models by name, and files and folders by what takes them.

// extensions are those of the files that flags take.
var extensions = map[string][]string{
	"config": {"yaml", "yml", "json"}, "plot": {"png", "svg", "pdf"}, "sheet": {"html"}, "map": {"npy"}, "vector": {"npy"}, "metadata": {"csv"}, "from": {"npy", "jsonl", "safetensors"},
	"tls-cert": {"pem"}, "tls-key": {"pem"}, "client-ca": {"pem"}, "prompts": {"tsv", "txt", "csv", "jsonl"}, "labels-file": {"txt", "tsv"}, "templates-file": {"txt"}, "text-file": {"txt"},
	"targets": {"safetensors"}, "answers": {"json"},
}

// folders are the flags that take a folder.
var folders = []string{"dir", "out", "cache", "index", "runs", "adapter"}

// modelFlags are the flags that take a model.
var modelFlags = []string{"model", "teacher"}

// completions gives the flags and arguments of all verbs what they complete. cobra keeps such functions by their flags until the process ends, and so
// all that a flag's value belongs to: only a shell that asks has them.
func completions(root *cobra.Command) {
	for _, cmd := range append([]*cobra.Command{root}, everyVerb(root)...) {
		flags := cmd.LocalNonPersistentFlags()
		if cmd == root {
			flags = root.PersistentFlags()
		}
		flags.VisitAll(func(f *pflag.Flag) {
			choices, chosen := f.Value.(*choice)
			var complete cobra.CompletionFunc
			switch exts := extensions[f.Name]; {
			case chosen:
				complete = cobra.FixedCompletions(choices.of, cobra.ShellCompDirectiveNoFileComp)
			case f.Value.Type() == "bool":
				return
			case slices.Contains(modelFlags, f.Name):
				complete = completeModels
			case slices.Contains(folders, f.Name):
				complete = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
			case exts != nil:
				complete = cobra.FixedCompletions(exts, cobra.ShellCompDirectiveFilterFileExt)
			case !slices.Contains([]string{"string", "stringArray"}, f.Value.Type()):
				complete = cobra.NoFileCompletions // numbers and times
			default:
				return // any file
			}
			// The error is that of a flag that does not exist.
			_ = cmd.RegisterFlagCompletionFunc(f.Name, complete)
		})
		switch cmd.Name() {
		case "download", "models":
			cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
				if len(args) > 0 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return append(hub.ArchiveNames(), knownNames()...), cobra.ShellCompDirectiveNoFileComp
			}
		case "demo", "version", "verify", "serve":
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		case "man", "status", "verify-shards":
			cmd.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
		case "inspect", "compare", "convert", "export":
			cmd.ValidArgsFunction = completeModels
		}
	}
}

// completeModels completes the names of the models that are there, that of the small one, and files. serve's have a name before them.
func completeModels(cmd *cobra.Command, _ []string, word string) (names []cobra.Completion, directive cobra.ShellCompDirective) {
	before := ""
	if i := strings.LastIndex(word, "="); cmd.Name() == "serve" && i >= 0 {
		before = word[:i+1]
	}
	names = append(names, before+demo.Name)
	for _, m := range knownModels().here().Models {
		if m.Path != "" {
			names = append(names, before+m.Name)
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, word) }), cobra.ShellCompDirectiveDefault
}
