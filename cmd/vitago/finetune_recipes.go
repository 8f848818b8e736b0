package main

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/internal/plural"
)

// A setting is a flag of a recipe, and what the recipe has for it.
type setting struct {
	flag  string
	value any
}

// settings returns the defaults of a recipe by their flags, in the order of [job.Overrides].
func settings(recipe string) (all []setting) {
	o, err := job.Defaults(recipe)
	if err != nil {
		panic(err) // it is one of the presets
	}
	v := reflect.ValueOf(o)
	for i := range v.NumField() {
		if v.Field(i).IsNil() {
			continue
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		value := v.Field(i)
		if value.Kind() == reflect.Pointer {
			value = value.Elem()
		}
		all = append(all, setting{flagOf("overrides." + name), value.Interface()})
	}
	return all
}

// text writes the value as the flag takes it.
func (s setting) text() string {
	if names, ok := s.value.([]string); ok {
		return strings.Join(names, ",")
	}
	return fmt.Sprint(s.value)
}

// recipeTable writes what the recipes have for every flag, a column each, "-" where a recipe has no use for it.
func recipeTable(w io.Writer) {
	var flags []string
	values := map[string]map[string]string{}
	for f := range reflect.TypeFor[job.Overrides]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		flags = append(flags, flagOf("overrides."+name))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range finetune.Recipes {
		values[r.Name] = map[string]string{}
		for _, s := range settings(r.Name) {
			values[r.Name][s.flag] = s.text()
		}
		fmt.Fprintf(t, "\t%s", r.Name)
	}
	fmt.Fprintln(t)
	for _, flag := range flags {
		fmt.Fprintf(t, "--%s", flag)
		for _, r := range finetune.Recipes {
			value, ok := values[r.Name][flag]
			if !ok {
				value = "-"
			}
			fmt.Fprintf(t, "\t%s", value)
		}
		fmt.Fprintln(t)
	}
	t.Flush() // w is a buffer
}

// learns says what of a model a recipe has learn.
func learns(r finetune.Recipe) string {
	var parts []string
	switch r.Tower {
	case finetune.LowRank:
		parts = append(parts, "corrections of the tower's weights by LoRA")
	case finetune.Last:
		parts = append(parts, "the tower's last "+plural.Phrase{One: "block and what follows it", Many: "blocks and what follows them"}.Of(r.Blocks))
	case finetune.Complete:
		parts = append(parts, "the tower")
	}
	if r.Captions {
		parts = append(parts, "the text tower")
	} else if r.Projector {
		parts = append(parts, "a projector")
	} else {
		parts = append(parts, "a head")
	}
	return strings.Join(parts, ", ")
}

// A recipeInfo is a recipe in JSON. Overrides are as a request of a task has them.
type recipeInfo struct {
	Name      string            `json:"name"`
	About     string            `json:"about"`
	Learns    string            `json:"learns"`
	Schedule  finetune.Schedule `json:"schedule"`
	Betas     [2]float64        `json:"betas"`
	Overrides job.Overrides     `json:"overrides"`
}

func newRecipes() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recipes [NAME]",
		Short: "List the recipes and what they have for every flag",
		Long: `Recipes lists what learns by each recipe of finetune, and the values that it has for flags that are
not given; "-" is a flag that would do nothing in it, which is an error. With NAME it is that recipe
alone. Those of probe are of --solver adamw: L-BFGS, which it has otherwise, goes to the optimum and
has none of them.`,
		Example: `  vitago finetune recipes
  vitago finetune recipes lora
  vitago finetune recipes --json`,
		Args: wantArgs(0, 1, "none, or the name of a recipe"),
	}
	var asJSON bool
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.ValidArgsFunction = cobra.FixedCompletions(recipeNames(), cobra.ShellCompDirectiveNoFileComp)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all := finetune.Recipes
		if len(args) == 1 {
			r, err := finetune.FindRecipe(args[0])
			if err != nil {
				return usagef("%s%s", plain(err), didYouMean(nearest(args[0], recipeNames())))
			}
			all = []finetune.Recipe{r}
		}
		if asJSON {
			infos := []recipeInfo{}
			for _, r := range all {
				o, err := job.Defaults(r.Name)
				if err != nil {
					return err
				}
				infos = append(infos, recipeInfo{r.Name, r.About, learns(r), r.Schedule, r.Betas, o})
			}
			return writeJSON(cmd.OutOrStdout(), infos)
		}
		var b bytes.Buffer
		if len(args) == 1 {
			table(&b, recipeLines(all[0]))
		} else {
			var rows [][2]string
			for _, r := range all {
				rows = append(rows, [2]string{r.Name, r.About})
			}
			table(&b, rows)
			b.WriteString("\n")
			recipeTable(&b)
		}
		_, err := cmd.OutOrStdout().Write(b.Bytes())
		return err
	}
	return cmd
}

// recipeLines are all that there is to say of a recipe.
func recipeLines(r finetune.Recipe) [][2]string {
	rows := [][2]string{{"recipe", r.Name + ": " + r.About}, {"learns", learns(r)}}
	for _, s := range settings(r.Name) {
		rows = append(rows, [2]string{"--" + s.flag, s.text()})
	}
	return append(rows,
		[2]string{"pictures a step", fmt.Sprint(r.Batch * r.Accumulate)},
		[2]string{"schedule", string(r.Schedule) + ", after the warm-up"},
		[2]string{"optimiser", fmt.Sprintf("AdamW, betas %v and %v", r.Betas[0], r.Betas[1])},
	)
}

// recipeNames returns the names of all recipes.
func recipeNames() (names []string) {
	for _, r := range finetune.Recipes {
		names = append(names, r.Name)
	}
	return names
}

// A flagGroup is a part of a command's flags in its help.
type flagGroup struct {
	title string
	flags []string
	about string // what stands below them
}

// finetuneGroups returns those of finetune.
func finetuneGroups() []flagGroup {
	var defaults strings.Builder
	recipeTable(&defaults)
	return []flagGroup{
		{title: "Required", flags: []string{"model", "data", "out", "recipe"}},
		{title: "Data", flags: []string{"val", "split", "augment-crop", "augment-flip", "augment-colour", "preprocess", "fit", "exif", "strict", "seed"}},
		{title: "Schedule", flags: []string{
			"epochs", "batch", "accumulate", "rate", "head-rate", "weight-decay", "layer-decay", "ema", "warmup", "clip", "steps", "val-every", "patience",
		}, about: "\n  The recipes' values of these and others that are not given:\n\n" + indent(defaults.String())},
		{title: "Recipe", flags: []string{"solver", "blocks", "rank", "alpha", "lora-targets", "fix-vit", "fix-sampler"}},
		{title: "Classes", flags: []string{"smoothing", "label-separator", "class-weights", "init-head"}},
		{title: "Captions", flags: []string{"captions", "vocab", "truncate", "lock", "text-rate", "scale-rate"}},
		{title: "Teacher, targets and projector", flags: []string{"teacher", "targets", "distance", "projector", "layout", "hd-num", "init-projector", "layer"}},
		{title: "Output", flags: []string{"dry-run", "json", "sweep", "resume", "checkpoint-every", "log-every", "tensorboard", "wise-ft", "dtype"}},
		{title: "Resources", flags: []string{"cache", "recompute", "memory", "activation", "help"}},
	}
}

// indent moves lines to the right.
func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}

// helpColumns is how wide the help of a command with groups is.
const helpColumns = 100

// groupedFlags writes the flags of a command in groups, and those that no group has last.
func groupedFlags(cmd *cobra.Command, groups []flagGroup) string {
	var b strings.Builder
	flags, seen := cmd.LocalNonPersistentFlags(), []string{}
	part := func(title string, names []string) {
		set := pflag.NewFlagSet(title, pflag.ContinueOnError)
		set.SortFlags = false
		for _, name := range names {
			if f := flags.Lookup(name); f != nil && !f.Hidden {
				set.AddFlag(f)
				seen = append(seen, name)
			}
		}
		if set.HasFlags() {
			fmt.Fprintf(&b, "\n%s:\n%s", title, set.FlagUsagesWrapped(helpColumns))
		}
	}
	for _, g := range groups {
		part(g.title, g.flags)
		b.WriteString(g.about)
	}
	var rest []string
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(seen, f.Name) {
			rest = append(rest, f.Name)
		}
	})
	part("Other", rest)
	return strings.TrimSpace(b.String())
}

// groupHelp has the help of a command show its flags in groups.
func groupHelp(cmd *cobra.Command, groups []flagGroup) {
	cmd.SetUsageFunc(func(c *cobra.Command) error {
		if c != cmd {
			return c.Root().UsageFunc()(c) // which is cobra's
		}
		var b strings.Builder
		c.InitDefaultHelpFlag()
		fmt.Fprintf(&b, "Usage:\n  %s\n", c.UseLine())
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %s %-20s %s\n", c.CommandPath(), sub.Use, sub.Short)
			}
		}
		fmt.Fprintf(&b, "\nExamples:\n%s\n\nFlags:\n\n%s\n\nGlobal Flags:\n%s%s", c.Example, groupedFlags(c, groups), c.InheritedFlags().FlagUsagesWrapped(helpColumns), settingsHelp(c))
		_, err := io.WriteString(c.OutOrStderr(), b.String())
		return err
	})
}
