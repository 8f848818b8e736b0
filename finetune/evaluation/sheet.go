package evaluation

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/internal/sheet"
)

// sheetShown is how many wrong pictures a contact sheet has: ten rows.
const sheetShown = 60

// Two colours that the colour-blind tell apart. Source: Okabe and Ito, "Color Universal Design", 2008.
var (
	vermilion = color.RGBA{213, 94, 0, 255}
	blue      = color.RGBA{0, 114, 178, 255}
)

// WriteSheet writes a contact sheet of the wrong pictures, the surest first, as JPEG: at most 60 of them, each with its
// number in [Result.WriteWrong], the class that it got, and the one that it has. d is what was judged. Pictures lie as the
// tower sees them, without a turn by EXIF unless that is asked for. One is held at a time. It is an error if no picture is
// wrong.
func (r *Result) WriteSheet(ctx context.Context, w io.Writer, d *data.Dataset, exif bool) error {
	t := clipvit.Transform{EXIF: exif}
	var cells []sheet.Cell
	for i, k := range r.Wrong[:min(len(r.Wrong), sheetShown)] {
		cells = append(cells, sheet.Cell{
			Picture: func() (image.Image, error) {
				f, err := d.Open(k.Index)
				if err != nil {
					return nil, err
				}
				defer f.Close()
				img, err := clipvit.DecodeImage(f)
				if err != nil {
					return nil, err
				}
				return t.Prepared(img)
			},
			Lines: []sheet.Line{
				{Text: strings.TrimSpace(fmt.Sprintf("%d  %.1f %%  %s", i+1, 100*k.Probability, k.Label))},
				{Text: "got: " + cmp.Or(k.Got, none), Colour: vermilion},
				{Text: "wanted: " + cmp.Or(k.Wanted, none), Colour: blue},
			},
		})
	}
	if err := sheet.Write(ctx, w, cells); err != nil {
		return fmt.Errorf("evaluation: %w", pillow.Bare(err, "sheet"))
	}
	return nil
}

// The files of an evaluation.
const (
	classesFile   = "classes.csv"
	confusionFile = "confusion.csv"
	wrongFile     = "wrong.csv"
	sheetFile     = "wrong.jpg"
)

// Files returns the names of the files that [Result.Write] writes.
func (r *Result) Files() Files {
	f := Files{Classes: classesFile}
	if !r.Multi {
		f.Confusion = confusionFile
	}
	if len(r.Wrong) > 0 {
		f.Wrong, f.Sheet = wrongFile, sheetFile
	}
	return f
}

// Write writes the tables into the directory dir, as CSV, and the contact sheet where pictures are wrong. Each file appears
// whole or not at all. d is what was judged.
func (r *Result) Write(ctx context.Context, dir string, d *data.Dataset, exif bool) error {
	names := r.Files()
	for _, f := range []struct {
		name  string // "" of one that there is not
		write func(w io.Writer) error
	}{
		{names.Classes, r.WriteClasses}, {names.Confusion, r.WriteConfusion}, {names.Wrong, r.WriteWrong},
		{names.Sheet, func(w io.Writer) error { return r.WriteSheet(ctx, w, d, exif) }},
	} {
		if f.name == "" {
			continue
		}
		if err := folder.Prefix("evaluation", folder.WriteFile(filepath.Join(dir, f.name), func(out *os.File) error { return f.write(out) })); err != nil {
			return err
		}
	}
	return nil
}
