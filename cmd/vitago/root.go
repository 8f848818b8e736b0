package main

import (
	"cmp"
	"context"
	_ "embed" // the names of packages
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/embeddings"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/hub"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/shard"
)

// The exit statuses.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNever       = 42  // failed, and would again: what an Indexed Job of Kubernetes does not try once more
	exitInterrupted = 130 // what shells report of a program that Ctrl-C ended
)

// A usageError is a command line that asks for nothing we can do.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

// A verbatim error is one of several lines that are shown as they are.
type verbatim string

func (v verbatim) Error() string { return string(v) }

// run executes the command line args and returns the exit status. Results go to out, everything
// else to errw. When ctx ends, so does it.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	if err := kernel.CheckEnv(); err != nil {
		fmt.Fprintln(errw, "vitago: "+plain(err))
		return exitUsage
	}
	root := newRoot(in, out, errw)
	root.SetArgs(args)
	if len(args) > 0 && slices.Contains([]string{cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, args[0]) {
		completions(root)
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError(cmd, args, err) })
	started := false // the command line was right, as far as cobra can tell
	restore := func() {}
	var elsewhere origins // what flags are from the environment or a file
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) (err error) {
		if elsewhere, err = applySettings(cmd, args); err != nil {
			started = !errors.As(err, new(usageError)) // a file that cannot be read is no fault of the command line
			return err
		}
		if restore, err = setGlobals(cmd, args); err == nil {
			started = true
		}
		return err
	}

	cmd, err := root.ExecuteContextC(context.WithValue(ctx, failuresKey{}, errw))
	restore()
	said := func(end string) string {
		text := plain(err, append(elsewhere.values(), args...)...)
		if v := verbatim(""); errors.As(err, &v) {
			return text
		}
		return text + end + elsewhere.note(text)
	}
	switch {
	case err == nil:
		return exitDone
	case !started || errors.As(err, new(usageError)):
		fmt.Fprintf(errw, "%s: %s\nRun '%[1]s --help' for usage.\n", cmd.CommandPath(), said(""))
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(errw, "vitago: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(errw, "vitago: "+said(hint(cmd, err)))
	if errors.As(err, new(neverAgain)) {
		return exitNever
	}
	return exitFailed
}

// packages are the names of the packages that the command is made of and that errors begin with, a line each.
//
//go:generate go test -run ^TestPackages$ . -args -packages
//go:embed packages.txt
var packages string

// prefixes are names of packages at the beginning of errors, one before the other: they help who programs with the
// packages, and tell a user of the command nothing.
var prefixes = regexp.MustCompile(`(?m)(^|: |; )(?:(?:` + strings.Join(strings.Fields(packages), "|") + `): )+`)

// calls are names of calls of the system, which tell a user of the command nothing either.
var calls = regexp.MustCompile(`(?m)(^|: |; )l?stat `)

// mergeAdapter says how an adapter becomes a model.
const mergeAdapter = `"vitago convert --adapter ADAPTER BASE DST" merges an adapter with its base model`

// hints name the flag that would permit what was refused, or that asks for too much.
var hints = []struct {
	flag, text string
	errs       []error
}{
	{"overwrite", "give --overwrite", []error{converter.ErrExists, hub.ErrOther, embeddings.ErrExists}},
	{"overwrite", "--resume goes on with it, --overwrite begins again", []error{embeddings.ErrUnfinished}},
	{"overwrite", "--overwrite begins again", []error{embeddings.ErrDamaged, embeddings.ErrOther}},
	{"activation", "--activation says it", []error{converter.ErrActivation}},
	{"layout", "--layout chooses it", []error{converter.ErrLayout}},
	{"projector-only", "--projector-only writes it", []error{converter.ErrProjectorAlone}},
	{"resume", "--resume does", []error{finetune.ErrExists}},
	{"shards", "--resume goes on with it", []error{shard.ErrExists}},
	{"model", mergeAdapter, []error{converter.ErrAdapter}},
	{"adapter", mergeAdapter, []error{converter.ErrAdapter}},
	{"val", "give more of them, or others to validate on by --val", []error{data.ErrFew}},
	{"forget", "--forget deletes them", []error{search.ErrEmptied}},
	{"truncate", "--truncate cuts them", []error{finetune.ErrCaptions}},
}

// hint returns what the flags of a command can do about err, or another verb, "" if nothing.
func hint(cmd *cobra.Command, err error) string {
	if e := (*converter.NotFoundError)(nil); errors.As(err, &e) {
		return bring(e.Path)
	}
	if e := (*search.SpaceError)(nil); errors.As(err, &e) && e.Was.Preprocessing != e.Now.Preprocessing && cmd.Flags().Lookup("preprocess") != nil {
		return "; --preprocess, --fit and --exif say how pictures are prepared"
	}
	for _, h := range hints {
		if cmd.Flags().Lookup(h.flag) != nil && slices.ContainsFunc(h.errs, func(target error) bool { return errors.Is(err, target) }) {
			return "; " + h.text
		}
	}
	return ""
}

// plain returns the text of an error without the names of packages, in one line unless it is verbatim. A name that is among the args of
// the command line and that of a file or folder stays, once.
func plain(err error, args ...string) string {
	if v := verbatim(""); errors.As(err, &v) {
		return string(v)
	}
	text := prefixes.ReplaceAllStringFunc(err.Error(), func(all string) string {
		kept := prefixes.FindStringSubmatch(all)[1]
		names := strings.Split(strings.TrimPrefix(all, kept), ": ")
		for i, name := range names[:len(names)-1] { // the last is empty
			if names[i+1] != name && isPath(name, args) {
				kept += name + ": "
			}
		}
		return kept
	})
	return strings.ReplaceAll(calls.ReplaceAllString(text, "$1"), "\n", "; ")
}

// isPath says whether a name is an argument of a command line, or the value of a flag, and a file or folder has it.
func isPath(name string, args []string) bool {
	_, err := os.Lstat(name)
	return err == nil && slices.ContainsFunc(args, func(a string) bool {
		if flag, value, ok := strings.Cut(a, "="); ok && strings.HasPrefix(flag, "-") {
			a = value
		}
		return filepath.Clean(a) == name
	})
}

func newRoot(in io.Reader, out, errw io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "vitago",
		Short: "CLIP in pure Go",
		Long: `Vitago encodes images and texts with CLIP's towers, in pure Go: from the archives
that OpenAI released, or any other checkpoint of the same form, and a photograph to the embedding
that OpenAI's own code computes. It names pictures, learns from them, and judges what it learnt.

Results go to standard output, everything else to standard error, and with --quiet errors alone.
It computes on the CPU alone, with as many threads as there are cores; --threads or the environment
variable GOMAXPROCS says how many. "vitago models" lists the models that are known to work.

A flag that the command line does not have may stand in the environment, as VITAGO_ENCODE_BATCH for
--batch of encode, or else in the file that --config or VITAGO_CONFIG names, in a section for each
verb: "encode: {batch: 32}".

Exit status: 0 done, 1 failed, 2 wrong usage, 42 failed and would again (encode --shards),
130 interrupted.`,
		Example: `  vitago demo
  vitago download ViT-B/32
  vitago encode --model ViT-B/32 photo.jpg
  vitago classify --model ViT-B/32 --labels cat,dog,bird photo.jpg
  vitago finetune --model ViT-B/32 --data pictures/train --out tuned --recipe probe
  vitago eval --model tuned/model pictures/test`,
		Version:                    readVersion().Version,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s\n\n%s\n", cmd.Long, cmd.UsageString())
				return usagef("no verb")
			}
			return unknownVerb(cmd, args[0])
		},
		Args: cobra.ArbitraryArgs,
	}
	root.AddCommand(newDemo(), newDownload(), newConvert(), newExport(), newInspect(), newCompare(), newEncode(), newStatus(), newVerifyShards(), newMerge(), newTokens(), newIndex(), newSearch(), newClassify(), newExplain(), newEval(), newVerify(), newFinetune(), newServe(), newModels(), newMan(), newVersion())
	globalFlags(root)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", helpColumns)) + "{{settings .}}")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd("completion") // remembers where to write to
	for _, c := range root.Commands() {
		c.Flags().SortFlags = false
		c.Long = wrapped(c.Long, helpColumns)
		c.SuggestFor = otherVerbs[c.Name()]
		switch c.Name() { // cobra's own take any word
		case "completion":
			c.RunE = func(*cobra.Command, []string) error { return usagef("want bash, zsh, fish or powershell") }
		case "help":
			c.RunE = func(_ *cobra.Command, args []string) error {
				about, rest, err := root.Find(args)
				if err != nil || len(rest) > 0 {
					return unknownVerb(root, args[len(args)-max(len(rest), 1)])
				}
				return about.Help()
			}
		}
	}
	return root
}

// otherVerbs are what other programs call a verb.
var otherVerbs = map[string][]string{
	"encode": {"embed", "embedding", "embeddings", "features", "extract", "vectorize"}, "tokens": {"tokenize"},
	"classify": {"predict", "zeroshot", "zero-shot", "label"}, "explain": {"saliency", "attention", "heatmap", "gradcam", "attribute"}, "finetune": {"train", "tune", "fine-tune", "fit"},
	"download": {"pull", "fetch", "get", "install"}, "inspect": {"info", "show", "describe"}, "models": {"list", "ls", "zoo"},
	"compare": {"diff"}, "verify": {"check", "selftest", "self-test", "doctor"}, "export": {"save"}, "convert": {"import"}, "eval": {"evaluate", "test", "validate", "score"},
	"serve": {"server", "api", "http", "listen", "daemon", "start"},
}

// wantArgs checks the number of arguments; what names them.
func wantArgs(least, most int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("got %s, want %s", plural.Of(len(args), "argument"), what)
		}
		return nil
	}
}

// A choice is a flag with a few possible values.
type choice struct {
	value string
	of    []string
	kind  string // how the help calls the values, in place of all of them
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return cmp.Or(c.kind, strings.Join(c.of, "|")) }

func (c *choice) Set(s string) error {
	for _, v := range c.of {
		if s == v {
			c.value = s
			return nil
		}
	}
	return errors.New("want " + strings.Join(c.of, ", ") + didYouMean(nearest(s, c.of)))
}

// longChoice is of how many bytes the values of a flag are too many for the column of flags.
const longChoice = 40

// choiceFlag declares a flag with a few possible values, which the shell completes.
func choiceFlag(cmd *cobra.Command, name, value, usage string, of ...string) *choice {
	c := &choice{value: value, of: of}
	if len(c.Type()) > longChoice {
		c.kind, usage = "NAME", usage+": "+strings.Join(of, ", ")
	}
	cmd.Flags().Var(c, name, usage)
	return c
}

// activationFlag declares the flag that says what a checkpoint may leave open.
func activationFlag(cmd *cobra.Command) *choice {
	return choiceFlag(cmd, "activation", "", "activation of a tower for which no file says it", activations()...)
}

// activations returns the names of all activations.
func activations() (names []string) {
	for _, a := range transformer.Activations() {
		names = append(names, string(a))
	}
	return names
}

// await returns what f returns, or an error as soon as ctx ends. Then f goes on alone, so it must
// leave nothing behind if the process ends.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
