package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// What flags are where the command line does not say it: as the environment has it, and else a file. All verbs read both here.
//
// No library does it: those of YAML in koanf, viper and ff decode it to numbers and lists before flags are asked, which makes 8 of 010 and loses
// the line, and none knows which of two flags that exclude each other stands nearer. One would replace the reading of YAML and of the
// environment, the shortest part of what stands here.

const (
	envPrefix = "VITAGO_"            // of names in the environment that stand for flags
	configEnv = envPrefix + "CONFIG" // names the file, as --config does
)

// linked are what Kubernetes adds to the name of a service, for all containers beside it: a service of ours may be called vitago-serve.
// Source: Kubernetes, concepts, services-networking, service, "Environment variables".
var linked = regexp.MustCompile(`^(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_.*)?)$`)

// verbName is a verb by its words, without that of the program.
func verbName(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// envName is the name in the environment of words: of a verb, its flag, or both.
func envName(words ...string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer("-", "_", " ", "_").Replace(strings.Join(words, "_")))
}

// isSettable says whether a flag may stand elsewhere than on the command line.
func isSettable(f *pflag.Flag) bool {
	return f.Name != "config" && f.Name != "check" && f.Name != "help" && !f.Hidden
}

// settableNames are the names of such flags.
func settableNames(f *pflag.FlagSet) (names []string) {
	f.VisitAll(func(f *pflag.Flag) {
		if isSettable(f) {
			names = append(names, f.Name)
		}
	})
	return names
}

// setFlag gives a flag the values that it has elsewhere.
func setFlag(flags *pflag.FlagSet, f *pflag.Flag, from string, values []string) error {
	for _, v := range values {
		if err := flags.Set(f.Name, v); err != nil {
			if e := (*pflag.InvalidValueError)(nil); errors.As(err, &e) {
				err = badValue(e)
			}
			return usagef("%s: %w", from, err)
		}
	}
	return nil
}

// envValues returns what the environment has of a flag. A variable that is empty is none. Of a flag that is given several times each value is
// a line; where no value has blanks they may stand between them.
func envValues(name string, f *pflag.Flag, blanks bool) (values []string, ok bool) {
	v := os.Getenv(name)
	if v == "" {
		return nil, false
	}
	switch {
	case f.Value.Type() != "stringArray":
		return []string{v}, true
	case blanks:
		return strings.Fields(v), true
	}
	for line := range strings.Lines(v) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			values = append(values, line)
		}
	}
	return values, true
}

// checkEnv returns the error about a variable that is named as those of a verb are, and stands for none of its flags.
func checkEnv(cmd *cobra.Command, flags *pflag.FlagSet) error {
	prefix, names := envName(verbName(cmd))+"_", []string{}
	for _, f := range settableNames(flags) {
		names = append(names, prefix+envName(f)[len(envPrefix):])
	}
	var others []string // verbs whose names go on where that of this one ends
	for _, c := range everyVerb(cmd.Root()) {
		if other := envName(verbName(c)) + "_"; other != prefix && strings.HasPrefix(other, prefix) {
			others = append(others, other)
		}
	}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || value == "" || slices.Contains(names, name) || linked.MatchString(rest) || slices.ContainsFunc(others, func(o string) bool { return strings.HasPrefix(name, o) }) || name == serveConfigEnv {
			continue
		}
		var general []string
		for _, f := range append(settableNames(cmd.Root().PersistentFlags()), "config") {
			general = append(general, envName(f))
		}
		if of := envPrefix + rest; slices.Contains(general, of) {
			return usagef("%s is in the environment, and stands for no flag; that of all verbs is %s", name, of)
		}
		return usagef("%s is in the environment, and %s has no flag of that name that may stand there%s", name, verbName(cmd), didYouMean(nearest(name, names)))
	}
	return nil
}

// everyVerb returns a command's verbs, and theirs.
func everyVerb(cmd *cobra.Command) (all []*cobra.Command) {
	for _, c := range cmd.Commands() {
		all = append(append(all, c), everyVerb(c)...)
	}
	return all
}

// A configFile is a file of flags: for all verbs at its top, and those of a verb in a section of its name.
type configFile struct {
	Serve *serveFile         `yaml:"serve,omitempty"`
	Rest  map[string]literal `yaml:",inline"`
}

// readConfig reads the file for all verbs, and checks the names in it. path may be "", for none.
func readConfig(path string, root *cobra.Command) (file configFile, err error) {
	if path == "" {
		return file, nil
	}
	b, err := readSettings(path)
	if err != nil {
		return file, err
	}
	if file, err = parseConfig(b); err != nil {
		return file, usagef("%s: %w", path, err)
	}
	return file, file.check(path, root)
}

// mostSettings is how many bytes a file of flags may have. One of all labels of ImageNet-21k has less than one mebibyte.
const mostSettings = 16 * mebibyte

// readSettings reads a file of flags, not for ever where it is a device.
func readSettings(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, mostSettings+1))
	if err == nil && len(b) > mostSettings {
		err = usagef("%s has more than %d MiB, want a file of flags", path, mostSettings/mebibyte)
	}
	return b, err
}

// parseConfig reads the text of the file for all verbs.
func parseConfig(b []byte) (file configFile, err error) { return file, parseYAML(b, &file) }

// check returns the error about a name that is neither a verb nor a flag.
func (c configFile) check(path string, root *cobra.Command) error {
	top := append(settableNames(root.PersistentFlags()), sectionsOf(root)...)
	for _, key := range slices.Sorted(maps.Keys(c.Rest)) {
		if root.PersistentFlags().Lookup(key) != nil && key != "config" {
			continue
		}
		cmd := verbOf(root, key)
		if cmd == nil {
			hint := didYouMean(nearest(key, top))
			if s := newServe().Flags().Lookup(key); hint == "" && s != nil || key == "models" {
				hint = "; flags of serve stand below serve, or in a file of serve's own --config"
			}
			return usagef("%s: unknown key %q, want a verb, or a flag of all verbs: %s%s", path, key, strings.Join(settableNames(root.PersistentFlags()), ", "), hint)
		}
		if err := checkSection(path, cmd, c.Rest[key].value); err != nil {
			return err
		}
	}
	if c.Serve != nil {
		return c.Serve.check(path, "in serve: ")
	}
	return nil
}

// checkSection returns the error about a section of a verb, or of one below it, that has names of no flags.
func checkSection(path string, cmd *cobra.Command, section any) error {
	all, ok := section.(map[string]any)
	if section == nil { // whose lines are comments, say
		return nil
	}
	if !ok {
		return usagef("%s: %s is %v, want flags of the verb and their values", path, verbName(cmd), section)
	}
	names := append(settableNames(cmd.LocalNonPersistentFlags()), sectionsOf(cmd)...)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(names, key) {
			return usagef("%s: %s has no flag %q that may stand in a file%s", path, verbName(cmd), key, didYouMean(nearest(key, names)))
		}
		if below := verbOf(cmd, key); below != nil {
			if err := checkSection(path, below, all[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

// sectionsOf are the names of the verbs below cmd.
func sectionsOf(cmd *cobra.Command) (names []string) {
	for _, c := range cmd.Commands() {
		if c.Name() != "help" && c.Name() != "completion" {
			names = append(names, c.Name())
		}
	}
	return names
}

// verbOf returns the verb of a name that is below cmd, nil if there is none.
func verbOf(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == name && slices.Contains(sectionsOf(cmd), name) {
			return c
		}
	}
	return nil
}

// of returns the section of a verb.
func (c configFile) of(cmd *cobra.Command) map[string]any {
	section := valuesOf(c.Rest)
	for _, word := range strings.Fields(verbName(cmd)) {
		section, _ = section[word].(map[string]any)
	}
	return section
}

// An origin is where the value of a flag is from, if not from the command line.
type origin struct {
	flag, from string
	values     []string
}

// origins of the values of one command line.
type origins []origin

// values are the values.
func (all origins) values() (values []string) {
	for _, o := range all {
		values = append(values, o.values...)
	}
	return values
}

// note is the end of an error in which a flag is named, or its value: where that is from.
func (all origins) note(text string) (note string) {
	for _, o := range all {
		named := regexp.MustCompile(`--` + regexp.QuoteMeta(o.flag) + `([^\w-]|$)`).MatchString(text)
		if (named || slices.ContainsFunc(o.values, func(v string) bool { return len(v) > 2 && strings.Contains(text, v) })) && !strings.Contains(text, o.from) {
			note += fmt.Sprintf("; --%s is from %s", o.flag, o.from)
		}
	}
	return note
}

// takesSettings says whether the flags of a verb may stand elsewhere: it is not cobra's own.
func takesSettings(cmd *cobra.Command) bool {
	first, _, _ := strings.Cut(verbName(cmd), " ")
	return !slices.Contains([]string{"help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, first)
}

// arguments stands among rivals for what is no flag.
const arguments = ""

// rivals are flags of which a command line has those of one side alone: both say the same, or one leaves nothing for the other to do. The verbs
// refuse the two together. What stands nearer displaces a rival: that of the command line one of the environment, and that one of the file.
var rivals = []struct {
	verbs []string // nil for all that have such flags
	sides [2][]string
}{
	{[]string{"classify"}, [2][]string{{"json"}, {"format"}}},
	{nil, [2][]string{{"labels"}, {"labels-file", "prompts"}}},
	{nil, [2][]string{{"labels-file"}, {"prompts"}}},
	{nil, [2][]string{{"template"}, {"templates-file"}}},
	{[]string{"compare", "status"}, [2][]string{{"json"}, {"all"}}},
	{[]string{"encode"}, [2][]string{{"resume"}, {"overwrite"}}},
	{[]string{"encode"}, [2][]string{{"part"}, {"lease"}}},
	{[]string{"eval"}, [2][]string{{"bias"}, {"fit-bias"}}},
	{[]string{"eval"}, [2][]string{{"multi-label"}, {"top", "min-probability", "min-cosine"}}},
	{[]string{"explain"}, [2][]string{{"text"}, {"class"}}},
	{[]string{"finetune"}, [2][]string{{"teacher"}, {"targets"}}},
	{[]string{"search"}, [2][]string{{"duplicates"}, {arguments, "image", "vector", "not", "not-image", "top", "threshold", "weights"}}},
	{[]string{"tokens"}, [2][]string{{"count"}, {"batch", "format", "output"}}},
}

// displaced returns the flags that have rivals among those that are set: a flag that is true or false is one of these only if it is true.
func displaced(cmd *cobra.Command, args []string) (names []string) {
	isSet := func(name string) bool {
		if name == arguments {
			return len(args) > 0
		}
		f := cmd.Flags().Lookup(name)
		return f != nil && f.Changed && !(f.Value.Type() == "bool" && f.Value.String() == "false")
	}
	for _, r := range rivals {
		if r.verbs != nil && !slices.Contains(r.verbs, verbName(cmd)) {
			continue
		}
		for i, side := range r.sides {
			if slices.ContainsFunc(side, isSet) {
				names = append(names, r.sides[1-i]...)
			}
		}
	}
	return names
}

// applySettings gives the flags of cmd that the command line, whose arguments are args, does not have the values of the environment, and else of the
// file, but for the [rivals] of others. serve does that for its own flags, since it does so again.
func applySettings(cmd *cobra.Command, args []string) (all origins, err error) {
	root, verb := cmd.Root(), verbName(cmd)
	if cmd == root || !takesSettings(cmd) {
		return nil, nil
	}
	general, path := root.PersistentFlags(), ""
	if c := general.Lookup("config"); c.Changed {
		path = c.Value.String()
	}
	if path == "" {
		path = os.Getenv(configEnv)
	}
	file, err := readConfig(path, root)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", map[bool]string{true: "--config", false: configEnv}[general.Lookup("config").Changed], err)
	}
	own := cmd.LocalNonPersistentFlags()
	if err := checkEnv(cmd, own); err != nil {
		return nil, err
	}
	section := file.of(cmd)
	isGeneral := func(f *pflag.Flag) bool { return general.Lookup(f.Name) == f }
	fromEnv := func(f *pflag.Flag) (o origin, ok bool, err error) {
		o = origin{flag: f.Name, from: envName(verb, f.Name)}
		if isGeneral(f) {
			o.from = envName(f.Name)
		}
		o.values, ok = envValues(o.from, f, false)
		return o, ok, nil
	}
	fromFile := func(f *pflag.Flag) (o origin, ok bool, err error) {
		values, of := section, verb+" "
		if isGeneral(f) {
			values, of = valuesOf(file.Rest), ""
		}
		v, ok := values[f.Name]
		if !ok {
			return o, false, nil
		}
		o = origin{flag: f.Name, from: path}
		if o.values, err = fileValues(f, v); err != nil {
			err = usagef("%s: %s--%s %w", path, of, f.Name, err)
		}
		return o, true, err
	}
	for _, from := range []func(*pflag.Flag) (origin, bool, error){fromEnv, fromFile} {
		others := displaced(cmd, args)
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if err != nil || f.Changed || !isSettable(f) || !isGeneral(f) && verb == "serve" || isGeneral(f) && f.Name == "threads" && slices.Contains(idle, cmd.Name()) || slices.Contains(others, f.Name) {
				return
			}
			o, ok, e := from(f)
			if err = e; ok && err == nil {
				all = append(all, o)
				err = setFlag(cmd.Flags(), f, o.from, o.values)
			}
		})
	}
	return all, err
}

func init() { cobra.AddTemplateFunc("settings", settingsHelp) } // of cobra's templates there is one set

// settingsHelp is the end of a verb's help: where its flags may stand besides.
func settingsHelp(cmd *cobra.Command) string {
	names := settableNames(cmd.LocalNonPersistentFlags())
	if len(names) == 0 || cmd == cmd.Root() || !takesSettings(cmd) {
		return ""
	}
	name := names[0]
	if slices.Contains(names, "model") {
		name = "model"
	}
	in := strings.ReplaceAll(verbName(cmd), " ", ": ") + ":"
	if verbName(cmd) == "serve" {
		return fmt.Sprintf("\n%s in the environment stands for --%s, and so for every flag.\n", envName("serve", name), name)
	}
	return fmt.Sprintf("\n%s in the environment stands for --%s, and so for every flag.\nIn the file of --config they stand below %q.\n", envName(verbName(cmd), name), name, in)
}

// parseYAML reads one document, of which all names have to be known where they are a structure's.
func parseYAML(b []byte, to any) error {
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(to); err != nil && !errors.Is(err, io.EOF) {
		text := strings.NewReplacer("\n ", "", "in type main.modelRow", "in the row of a model", "unmarshal errors: ", "", "yaml: ", "", "into main.modelRow", "as the row of a model", "into []main.modelRow", "as a list of models",
			"into main.serveFile", "as flags of serve", "into main.configFile", "as sections of verbs").Replace(err.Error())
		return errors.New(text)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("more than one document, want one")
	}
	return nil
}

// A literal is what stands in YAML, as the text that it has there: the label 1.10 is no 1.1.
type literal struct{ value any } // nil, a string, or a []any or map[string]any of these

// UnmarshalYAML reads by the decoder of the whole document, which knows values that contain themselves.
func (l *literal) UnmarshalYAML(unmarshal func(any) error) error {
	var text string // of any number, time or truth, too
	if unmarshal(&text) == nil {
		l.value = text
		return nil
	}
	var list []*literal // nil where nothing stands, which is left out of other lists
	if unmarshal(&list) == nil {
		values := make([]any, len(list))
		for i, v := range list {
			if v != nil {
				values[i] = v.value
			}
		}
		l.value = values
		return nil
	}
	var all map[string]literal
	err := unmarshal(&all)
	l.value = valuesOf(all)
	return err
}

// MarshalYAML writes the value.
func (l literal) MarshalYAML() (any, error) { return l.value, nil }

// valuesOf returns the values of names.
func valuesOf(all map[string]literal) map[string]any {
	values := make(map[string]any, len(all))
	for name, v := range all {
		values[name] = v.value
	}
	return values
}
