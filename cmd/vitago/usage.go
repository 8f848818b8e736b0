package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// mostThreads bounds --threads: more are a slip.
const mostThreads = 1024

// globalFlags declares the flags of all verbs.
func globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.Int("threads", 0, "compute with `N` threads; features are the same to the bit with any number (default: GOMAXPROCS, or as many as there are cores)")
	f.Bool("quiet", false, "leave standard error to errors: no progress and no notes")
	f.String("config", "", "`FILE` of flags for all verbs, in YAML or JSON, with a section for each verb (default: that of "+configEnv+")")
}

// wrapped fills the paragraphs of a text that have lines of more columns than that. What is indented stays as it is.
func wrapped(text string, columns int) string {
	var out, paragraph []string
	end := func() {
		long := slices.ContainsFunc(paragraph, func(l string) bool { return utf8.RuneCountInString(l) > columns })
		if !long {
			out, paragraph = append(out, paragraph...), nil
			return
		}
		line := ""
		for _, word := range strings.Fields(strings.Join(paragraph, " ")) {
			if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns {
				out, line = append(out, line), ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		out, paragraph = append(out, line), nil
	}
	for _, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == ' ' {
			end()
			out = append(out, line)
			continue
		}
		paragraph = append(paragraph, line)
	}
	end()
	return strings.Join(out, "\n")
}

// idle are the verbs that compute nothing.
var idle = []string{"download", "models", "status", "merge", "recipes", "help", "completion", "bash", "zsh", "fish", "powershell"}

// setGlobals does what the flags of all verbs say. What it returns takes that back.
func setGlobals(cmd *cobra.Command, args []string) (restore func(), err error) {
	restore = func() {}
	if cmd.Name() == cobra.ShellCompRequestCmd || cmd.Name() == cobra.ShellCompNoDescRequestCmd { // of a line that is not written yet
		return restore, nil
	}
	if text := cmd.Flag("text"); slices.Contains(args, "") && !(text != nil && text.Changed) { // a text may have no words
		return restore, usagef("argument %d of %d is empty, as of a variable of the shell that is not set", 1+slices.Index(args, ""), len(args))
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && f.Name != "output" && err == nil { // an output may be none: standard output
			err = usagef("--%s is empty, want --%[1]s %s", f.Name, strings.ToUpper(valueName(f)))
		}
		if all, ok := f.Value.(pflag.SliceValue); ok && f.Value.Type() == "stringArray" && slices.Contains(all.GetSlice(), "") && !slices.Contains([]string{"TEXT", "CAPTION"}, valueName(f)) && err == nil { // of texts the verbs judge
			err = usagef("--%s is empty, want --%[1]s %s", f.Name, strings.ToUpper(valueName(f)))
		}
	})
	if err != nil {
		return restore, err
	}
	if threads := cmd.Flag("threads"); threads.Changed {
		n, err := strconv.Atoi(threads.Value.String())
		switch {
		case err != nil || n < 1 || n > mostThreads:
			return restore, usagef("--threads is %v, want 1 to %d", threads.Value, mostThreads)
		case slices.Contains(idle, cmd.Name()):
			return restore, usagef("--threads is of verbs that compute, and %s does not", cmd.Name())
		}
		before := runtime.GOMAXPROCS(n)
		restore = func() { runtime.GOMAXPROCS(before) }
	}
	if cmd.Flag("quiet").Value.String() == "true" {
		cmd.Root().SetErr(io.Discard)
	}
	return restore, nil
}

// failuresKey is that of a context's standard error.
type failuresKey struct{}

// failures returns where it is said what went wrong with one input of many, or before an interruption. --quiet leaves that; it is w
// of a context without.
func failures(ctx context.Context, w io.Writer) io.Writer {
	if errw, ok := ctx.Value(failuresKey{}).(io.Writer); ok {
		return errw
	}
	return w
}

// didYouMean is the end of an error about a word, "" if nothing is like it.
func didYouMean(near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
}

// unknownVerb returns the error about a verb that there is not, with what may have been meant.
func unknownVerb(root *cobra.Command, verb string) error {
	return usagef("unknown verb %q%s", verb, didYouMean(likeVerb(root, verb)))
}

// likeVerb returns the verb that a word is meant for, "" if it is like none.
func likeVerb(root *cobra.Command, word string) string {
	var verbs []string
	for _, c := range root.Commands() {
		if slices.Contains(c.SuggestFor, strings.ToLower(word)) {
			return c.Name()
		}
		verbs = append(verbs, c.Name())
	}
	return nearest(word, verbs)
}

// flagError says what is wrong with a flag of cmd in the command line args. An unknown flag of no verb is often one of a verb that
// is mistyped.
func flagError(cmd *cobra.Command, args []string, err error) error {
	if e := (*pflag.InvalidValueError)(nil); errors.As(err, &e) {
		return badValue(e)
	}
	if e := (*pflag.ValueRequiredError)(nil); errors.As(err, &e) {
		return usagef("--%s has no value, want --%[1]s %s", e.GetFlag().Name, valueName(e.GetFlag()))
	}
	e := (*pflag.NotExistError)(nil)
	if !errors.As(err, &e) {
		return usageError{err}
	}
	root := cmd.Root()
	name := e.GetSpecifiedName()
	if short := e.GetSpecifiedShortnames(); len(short) > 1 { // -model, as other programs have it
		name, _, _ = strings.Cut(short, "=")
		if cmd.Flag(name) != nil {
			return usagef("unknown flag: -%s; did you mean \"--%[1]s\"?", name)
		}
	}
	near := otherFlag(cmd, name)
	if near == "" {
		near = nearest(name, flagNamesOf(cmd))
	}
	if near == "" && slices.Contains([]string{"device", "cuda", "gpu"}, name) {
		return usagef("%w; vitago computes on the CPU alone", err)
	}
	if cmd == root && near == "" {
		if verb, known := meantVerb(root, args); known {
			return usagef("%w; the flags of a verb stand after it: vitago %s ...", err, verb)
		} else if verb != "" {
			return unknownVerb(root, verb)
		}
	}
	if near != "" {
		return usagef("%w; did you mean \"--%s\"?", err, near)
	}
	// Or it is one of another verb, rightly written before it is mistyped.
	for _, is := range []func(c *cobra.Command) string{
		func(c *cobra.Command) string {
			if f := c.LocalFlags().Lookup(name); f != nil {
				return "it is a flag of "
			} else if len(name) == 1 && c.LocalFlags().ShorthandLookup(name) != nil {
				return "it is a flag of "
			}
			return ""
		},
		func(c *cobra.Command) string {
			if near := nearest(name, flagNamesOf(c)); near != "" {
				return fmt.Sprintf("did you mean \"--%s\", a flag of ", near)
			}
			return ""
		},
	} {
		text, of := "", []string{}
		for _, c := range root.Commands() {
			if t := is(c); t != "" && (text == "" || t == text) {
				text, of = t, append(of, c.Name())
			}
		}
		if text != "" {
			text += strings.Join(of, ", ")
			if strings.HasPrefix(text, "did") {
				text += "?"
			}
			return usagef("%w; %s", err, text)
		}
	}
	return usageError{err}
}

// otherFlags are what other programs call a flag.
var otherFlags = map[string][]string{
	"rate": {"lr", "learning-rate", "learning_rate"}, "batch": {"batch-size", "batch_size", "bs"}, "threads": {"workers", "num-workers", "jobs"},
	"out": {"output-dir", "output_dir", "outdir", "output"}, "output": {"out"}, "model": {"checkpoint", "pretrained", "weights", "ckpt"},
	"data": {"train", "dataset", "train-data", "data-dir"}, "val": {"validation", "val-data", "test"}, "rank": {"lora-rank", "lora-r"},
	"alpha": {"lora-alpha"}, "accumulate": {"accum-freq", "gradient-accumulation-steps"}, "weight-decay": {"wd", "decay"}, "clip": {"grad-clip", "max-grad-norm"},
	"labels": {"classes", "candidate-labels", "names"}, "template": {"prompt", "prompts", "hypothesis-template"}, "top": {"topk", "top-k", "k"},
	"text": {"texts", "prompt", "caption", "captions", "sentence"}, "precision": {"dtype", "int8"}, "overwrite": {"force", "overwrite-output-dir"},
	"skip-errors": {"ignore-errors", "skip"}, "label-separator": {"separator"}, "quiet": {"silent", "q"}, "vocab": {"tokenizer"},
}

// otherFlag returns the flag of cmd that other programs call by a name, "" if there is none.
func otherFlag(cmd *cobra.Command, name string) string {
	for _, f := range flagNamesOf(cmd) {
		if slices.Contains(otherFlags[f], name) {
			return f
		}
	}
	return ""
}

// flagNamesOf returns the names of the flags of a verb, and of all.
func flagNamesOf(cmd *cobra.Command) (names []string) {
	add := func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			names = append(names, f.Name)
		}
	}
	cmd.LocalFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return names
}

// meantVerb returns the word of a command line that stands where the verb does, and whether it is one. It is the first that is no
// flag and no flag's value; if flags stand before it and it is like no verb, a verb that stands behind a flag was meant.
func meantVerb(root *cobra.Command, args []string) (verb string, known bool) {
	var verbs []string
	for _, c := range root.Commands() {
		verbs = append(verbs, c.Name())
	}
	value := false
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return args[0], slices.Contains(verbs, args[0])
	}
	for _, a := range args {
		switch {
		case a == "--":
		case strings.HasPrefix(a, "-") && a != "-":
			flag := root.PersistentFlags().Lookup(strings.TrimLeft(a, "-"))
			value = !strings.Contains(a, "=") && (flag == nil || flag.NoOptDefVal == "")
		case !value && verb == "":
			verb = a
		default:
			value = false
		}
	}
	if likeVerb(root, verb) == "" {
		for _, a := range args {
			if slices.Contains(verbs, a) {
				return a, true
			}
		}
	}
	return verb, slices.Contains(verbs, verb)
}

// valueName is how the help calls the value of a flag.
func valueName(f *pflag.Flag) string {
	name, _ := pflag.UnquoteUsage(f)
	return name
}

// badValue says what a flag wants in the place of a value that it cannot have.
func badValue(e *pflag.InvalidValueError) error {
	f, want := e.GetFlag(), e.Unwrap().Error()
	switch f.Value.Type() {
	case "bool":
		want = "want true or false"
	case "int", "int32", "int64":
		want = "want a whole number"
	case "uint", "uint32", "uint64":
		want = "want a whole number, 0 or more"
	case "float32", "float64":
		want = "want a number"
	case "float64Slice":
		want = "want numbers, with commas between them"
	case "duration":
		want = "want a time, such as 1m30s"
	}
	if errors.Is(e, strconv.ErrRange) {
		want += " that is not so large"
	}
	return usagef("--%s is %q: %s", f.Name, e.GetValue(), want)
}
