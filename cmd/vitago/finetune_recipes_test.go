package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/job"
)

// TestFinetuneHelp: every flag stands in one group, the recipes' values stand there, and 100 columns are enough.
func TestFinetuneHelp(t *testing.T) {
	r := vitago("help", "finetune")
	r.want(t, exitDone, []string{"Flags:\n\nRequired:\n", "Schedule:\n", "--layer-decay   -      -          1              0.75 ", "finetune recipes", "Global Flags:\n"}, nil)
	for line := range strings.Lines(r.out) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > helpColumns {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(r.out, "\nOther:") || strings.Contains(r.out, "the recipe's)") {
		t.Error("flags without a group, or defaults that are not said")
	}
	groups := map[string]int{"help": -1} // which cobra adds
	for _, g := range finetuneGroups() {
		for _, name := range g.flags {
			groups[name]++
		}
	}
	newFinetune().Flags().VisitAll(func(f *pflag.Flag) {
		if groups[f.Name] != 1 {
			t.Errorf("--%s stands in %d groups, want 1", f.Name, groups[f.Name])
		}
		delete(groups, f.Name)
	})
	if delete(groups, "help"); len(groups) > 0 {
		t.Errorf("there are no flags of these names: %v", groups)
	}
	if u := vitago("finetune", "--help"); u.status != exitDone || u.out != r.out {
		t.Error("--help says something else")
	}
}

// TestRecipes: what is said of a recipe is what it has.
func TestRecipes(t *testing.T) {
	vitago("finetune", "recipes").want(t, exitDone, []string{"lora         corrections of low rank, and a head\n", "--lora-targets  -      -          q_proj,v_proj"}, nil)
	vitago("finetune", "recipes", "full").want(t, exitDone, []string{"--ema            0.9998\n", "pictures a step  32\n", "learns           the tower, a head\n"}, nil)
	vitago("finetune", "recipes", "ful").want(t, exitUsage, nil, []string{`recipe is "ful", want one of probe, `, `did you mean "full"?`})
	vitago("finetune", "recipes", "full", "lora").want(t, exitUsage, nil, []string{"got 2 arguments"})
	r := vitago("finetune", "recipes", "--json")
	var infos []recipeInfo
	if err := json.Unmarshal([]byte(r.out), &infos); err != nil || len(infos) != len(finetune.Recipes) {
		t.Fatalf("%d recipes: %v", len(infos), err)
	}
	for i, p := range finetune.Recipes {
		want, err := job.Defaults(p.Name)
		if err != nil {
			t.Fatal(err)
		}
		if infos[i].Name != p.Name || !reflect.DeepEqual(infos[i].Overrides, want) {
			t.Errorf("%s: %+v", p.Name, infos[i])
		}
	}
}
