package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/builtin"
)

// builtinNote says what the model is that is taken where none was given.
const builtinNote = "no --model: taking " + demo.Name + ", the small model in this program"

// defaultModel puts the small model in this program into the place of a model that was not given, and says so on standard error. It is
// for verbs that answer a question; those that keep what they write want a model to be named.
func defaultModel(cmd *cobra.Command, model *string) {
	if *model == "" && !cmd.Flags().Changed("model") {
		*model = demo.Name
		fmt.Fprintln(cmd.ErrOrStderr(), builtinNote)
	}
}

// isBuiltin says whether a name is that of a model in this program.
func isBuiltin(name string) bool {
	_, ok := builtin.Find(name)
	return ok
}
