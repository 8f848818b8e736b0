package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/shapes"
)

var ctx = context.Background()

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
func must0(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	n := flag.Int("n", 200, "")
	test := flag.Int("test", 100, "")
	pre := flag.Int("pre", 10, "")
	epochs := flag.Int("epochs", 10, "")
	rate := flag.Float64("rate", 1e-3, "")
	patch := flag.Int("patch", 8, "")
	size := flag.Int("size", 32, "")
	width := flag.Int("width", 64, "")
	only := flag.String("only", "", "")
	digits := flag.String("digits", "", "")
	sets := flag.String("sets", "ehd", "")
	zero := flag.Bool("zero", false, "")
	verbose := flag.Bool("v", false, "")
	flag.Parse()
	small.ImageSize, small.PatchSize, small.Width, small.MLPWidth = *size, *patch, *width, 4**width
	dir := must(os.MkdirTemp("", ""))
	defer os.RemoveAll(dir)
	must0(shapes.WriteColours(dir+"/c/train", 0, *n, small.ImageSize, 1))
	must0(shapes.WriteColours(dir+"/c/test", *n, *test, small.ImageSize, 1))
	for i, k := range []string{"easy", "hard"} {
		must0(shapes.Write(filepath.Join(dir, k, "train"), 0, *n, small.ImageSize, i == 1, 1))
		must0(shapes.Write(filepath.Join(dir, k, "test"), *n, *test, small.ImageSize, i == 1, 1))
	}
	tower := must(random(small, rand.New(rand.NewPCG(1, 1))))
	full := must(finetune.FindRecipe("full"))
	full.Rate, full.Epochs, full.Batch, full.Accumulate, full.LayerDecay = *rate, *pre, 32, 1, 1
	open := func(d string) (tr, te *data.Dataset) {
		tr, te = must(data.Folder(filepath.Join(d, "train"))), must(data.Folder(filepath.Join(d, "test")))
		must0(data.Align(tr, te))
		return
	}
	run := func(m *clipvit.Model, h *finetune.Classifier, r finetune.Recipe, tr, te *data.Dataset) {
		start := time.Now()
		c := finetune.Config{Tower: m, Head: h, Objective: finetune.Classification{Smoothing: r.Smoothing}, Recipe: r,
			Train: &data.Loader{Data: tr, Config: m.Config, BatchSize: r.Batch, Shuffle: true, Seed: 1},
		}
		if *verbose {
			c.Validation = &data.Loader{Data: te, Config: m.Config, BatchSize: 50}
			c.Sinks = []finetune.Sink{finetune.NewLines(os.Stderr, 1000, "acc")}
		}
		t := must(finetune.New(c))
		l := &data.Loader{Data: te, Config: m.Config, BatchSize: 50}
		_, before, _ := t.Evaluate(ctx, l)
		res, err := t.Run(ctx)
		if err != nil {
			fmt.Println(r.Name, err)
			return
		}
		_, train, _ := t.Evaluate(ctx, c.Train)
		_, after, _ := t.Evaluate(ctx, l)
		fmt.Printf("  %-20s %.3f -> %.3f  (train %.3f)  %d steps %.0f/s %v\n", r.Name, before, after, train, res.Steps, float64(res.Steps*r.Batch*r.Accumulate)/res.Duration.Seconds(), time.Since(start).Round(time.Millisecond*100))
	}
	tr, te := open(dir + "/c")
	full.Name = "pretrain"
	run(tower, finetune.NewClassifier(small.OutputDim(), tr.Classes), full, tr, te)
	tower.Freeze()
	for _, d := range []string{dir + "/easy", dir + "/hard", *digits} {
		if d == "" || (d == dir+"/easy" && (*sets)[0] == '-') || (d == dir+"/hard" && (*sets)[1] == '-') {
			continue
		}
		tr, te := open(d)
		s := time.Now()
		p := must(probe.Run(ctx, probe.Config{Extractor: probe.Extractor{Model: tower, Batch: 50}, Train: tr, Test: te}))
		fmt.Printf("%s probe %.3f lambda %.3g train %.3f %v\n", filepath.Base(d), p.Test.Accuracy(), p.Fit.Lambda, p.Train.Accuracy(), time.Since(s))
		hd := filepath.Join(dir, "head"+filepath.Base(d))
		must0(p.Head.Save(hd))
		for _, r := range finetune.Recipes {
			if r.Name == "probe" || r.Name == "projector" || *only != "" && r.Name != *only {
				continue
			}
			r.Batch, r.Accumulate, r.Epochs = 32, 1, *epochs
			r.Rate = *rate
			if r.Name == "lora" {
				r.Rate *= 5
				r.LoRA.Targets = finetune.AllLinear
			}
			if r.Name == "last-n" {
				r.Blocks = 2
			}
			if r.HeadRate < 1e-3 {
				r.HeadRate = 1e-3
			}
			h := must(finetune.LoadClassifier(hd))
			if *zero {
				h = finetune.NewClassifier(small.OutputDim(), tr.Classes)
			}
			run(must(clone(tower)), h, r, tr, te)
		}
	}
}
