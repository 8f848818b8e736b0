package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/finetune/report"
)

// cacheFolder is where the features of pictures are kept in the output, unless they are kept elsewhere.
const cacheFolder = "features"

// varied says whether pictures are to be varied.
func (f *finetuneFlags) varied() bool {
	return f.crop != 0 || f.colour != 0 || f.augment != data.Augment{}
}

// fitsHead says whether the head is to be fitted by L-BFGS.
func (f *finetuneFlags) fitsHead(recipe, solver string) (bool, error) {
	switch {
	case recipe != "probe" && solver != "":
		return false, usagef("--solver is of the recipe probe")
	case recipe != "probe" || solver == "adamw" || f.teacher != "" || f.targets != "":
		return false, nil
	case f.varied():
		return false, usagef("varied pictures want --solver adamw: L-BFGS sees each picture once")
	}
	return true, nil
}

// fitHead finds the head that fits the features of a frozen tower best, with the sweep of the CLIP paper.
func (f *finetuneFlags) fitHead(ctx context.Context, out, errw io.Writer, activation transformer.Activation, o converter.Options) error {
	like, err := openModel(f.model, activation)
	if err != nil {
		return err
	}
	defer like.Close()
	train, validation, err := f.datasets(false)
	if err != nil {
		return err
	}
	if train.Classes == nil {
		return fmt.Errorf("finetune: %s: pictures without labels", f.data)
	}
	tower, err := converter.LoadCheckpoint(like)
	if err != nil {
		return err
	}
	fmt.Fprintf(errw, "%d classes, %d pictures; the tower is frozen, %d numbers learn\n", len(train.Classes), len(train.Samples), len(train.Classes)*(tower.Config.OutputDim()+1))
	if f.dryRun {
		return nil
	}
	if err := os.MkdirAll(f.out, 0o777); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	if f.cache == "" {
		f.cache = filepath.Join(f.out, cacheFolder)
	}
	cache, err := probe.OpenCache(f.cache)
	if err != nil {
		return err
	}
	p := startProgress(errw, "features", func(n int64) string { return fmt.Sprint(n) })
	r, err := probe.Run(ctx, probe.Config{
		Extractor: probe.Extractor{
			Model: tower, Cache: cache, Strict: f.strict,
			Progress: func(done, cached, total int) { p.skipped.Store(int64(cached)); p.set(int64(done), int64(total)) },
		},
		Train: train, Validation: validation, Seed: f.seed,
	})
	elapsed := p.stop()
	if err != nil {
		return err
	}
	model := filepath.Join(f.out, finetune.ModelFolder)
	if err := finetune.SaveBeside(ctx, model, like, o, r.Head.Save); err != nil {
		return err
	}
	rows := [][2]string{
		{"penalty", fmt.Sprintf("%.3g, of %d that were tried", r.Fit.Lambda, len(r.Trials))},
		{"best accuracy", fmt.Sprintf("%.4f", r.Validation.Accuracy())},
		{"on all pictures", fmt.Sprintf("%.4f", r.Train.Accuracy())},
	}
	page := report.Report{
		Title:  "Probe of " + filepath.Base(f.model),
		Facts:  append([][2]string{{"model", f.model}, {"recipe", "probe, by L-BFGS"}, {"data", f.data}, {"classes", fmt.Sprint(len(train.Classes))}}, rows...),
		Result: &finetune.Result{Skipped: map[string]string{}, Duration: elapsed},
	}
	var errs []error
	for _, s := range r.Skipped {
		errs = append(errs, s)
		page.Result.Skipped[s.Path] = s.Err.Error()
	}
	if len(errs) > 0 {
		rows = append(rows, [2]string{"skipped", fmt.Sprintf("%d pictures that cannot be read; see the report", len(errs))})
		fmt.Fprintln(errw, plain(errors.Join(errs...)))
	}
	if err := page.Write(f.out); err != nil {
		return err
	}
	rows = append(rows, [2]string{"model", model}, [2]string{"report", filepath.Join(f.out, report.PageFile)})
	var b bytes.Buffer
	table(&b, rows)
	if _, err := out.Write(b.Bytes()); err != nil {
		return err
	}
	fmt.Fprintf(errw, "trained in %s\n", seconds(elapsed))
	return nil
}
