package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/peft"
)

// adapters are those of a flag --adapter that may be given several times.
type adapters struct {
	cmd   *cobra.Command
	given []string
}

func newAdapters(cmd *cobra.Command) *adapters { return &adapters{cmd: cmd} }

// flag declares the flag.
func (a *adapters) flag() {
	a.cmd.Flags().StringArrayVar(&a.given, "adapter", nil,
		"`DIR[=WEIGHT]` of an adapter that peft wrote, which is merged; may be given several times: they are added up")
}

// options returns what opens a model with the adapters, combined so.
func (a *adapters) options(how peft.Combination) ([]converter.OpenOption, error) {
	var all []converter.Weighted
	for _, text := range a.given {
		if text == "" || text[0] == '=' {
			return nil, usagef("--adapter is %q, want DIR or DIR=WEIGHT", text)
		}
		w, err := weightedAdapter(text)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(o converter.Weighted) bool { return filepath.Clean(o.Dir) == filepath.Clean(w.Dir) }) {
			return nil, usagef("--adapter %s stands twice; --adapter DIR=2 counts it twice", w.Dir)
		}
		all = append(all, w)
	}
	if all == nil {
		return nil, nil
	}
	return []converter.OpenOption{converter.Combine(how, all...)}, nil
}

// weightedAdapter reads DIR or DIR=WEIGHT. A directory may have a "=" in its name.
func weightedAdapter(text string) (converter.Weighted, error) {
	w := converter.Weighted{Dir: text, Weight: 1}
	i := strings.LastIndex(text, "=")
	if _, err := os.Stat(text); i < 0 || err == nil {
		return w, nil
	}
	weight, err := strconv.ParseFloat(text[i+1:], 64)
	if err != nil || weight-weight != 0 || weight == 0 {
		return w, usagef("--adapter is %q: the weight is %q, want a number other than 0", text, text[i+1:])
	}
	return converter.Weighted{Dir: text[:i], Weight: weight}, nil
}
