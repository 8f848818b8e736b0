package main

import (
	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clipvit"
)

// preprocessFlags declares the flags that say how images are prepared, in the place of what a model's files say. The function
// returns what they have. Where a layout makes squares of images, there is no --fit.
func preprocessFlags(cmd *cobra.Command, fit bool) func() clipvit.Choice {
	var presets, fits []string
	for _, p := range clipvit.Presets {
		presets = append(presets, p.Name)
	}
	for _, f := range clipvit.FitChoices() {
		fits = append(fits, string(f))
	}
	preset := choiceFlag(cmd, "preprocess", "", "by whose rules images are rounded, cut and made opaque (default: the model's own library's)", presets...)
	square := &choice{}
	if fit {
		square = choiceFlag(cmd, "fit", "", "how an image becomes a square (default: as the model's files say)", fits...)
	}
	var c clipvit.Choice
	cmd.Flags().BoolVar(&c.EXIF, "exif", false, "turn photographs as their EXIF data say")
	return func() clipvit.Choice {
		c.Preset, c.Fit = preset.value, clipvit.Fit(square.value)
		return c
	}
}
