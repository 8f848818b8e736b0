package main

import (
	"fmt"
	"slices"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
)

// What --lock may name.
const (
	lockImages = "images"
	lockTexts  = "texts"
)

// captionRecipes are those that --captions goes with, besides contrastive; the others train heads.
var captionRecipes = []string{"lora", "last-n", "full"}

// learnsCaptions says in r what the flags about captions do, or what is wrong with them.
func (f *finetuneFlags) learnsCaptions(r *finetune.Recipe) error {
	if f.captions && !r.Captions {
		if !slices.Contains(captionRecipes, r.Name) {
			return usagef("--captions goes with the recipes contrastive, lora, last-n and full")
		}
		r.Captions = true
	}
	f.captions = r.Captions
	if !f.captions {
		for _, name := range []string{"vocab", "truncate", "lock", "text-rate", "scale-rate"} {
			if f.changed(name) {
				return usagef("--%s goes with captions: --recipe contrastive, or --captions", name)
			}
		}
		return nil
	}
	if f.teacher != "" || f.targets != "" {
		return usagef("captions are learnt, so there can be no --teacher and no --targets")
	}
	set(f.changed, "text-rate", &r.TextRate, f.textRate)
	set(f.changed, "scale-rate", &r.ScaleRate, f.scaleRate)
	switch f.lock {
	case lockImages:
		r.Tower, r.Rate = finetune.None, 0
	case lockTexts:
		r.TextRate = 0
	}
	return nil
}

// bare takes the labels away, by which pictures would be set aside class by class.
func bare(d *data.Dataset) *data.Dataset {
	d.Classes = nil
	for i := range d.Samples {
		d.Samples[i].Label = data.Unlabelled
	}
	return d
}

// contrast makes it learn from captions.
func (s *session) contrast(train *data.Dataset) error {
	text, err := converter.LoadTextCheckpoint(s.like)
	if err != nil {
		return err
	}
	tokenizer, err := readTokenizer(s.model, s.vocab)
	if err != nil {
		return err
	}
	s.config.Objective = &finetune.Contrastive{Text: text, Tokenizer: tokenizer, Truncate: s.truncate}
	s.facts = append(s.facts, [2]string{"learns", fmt.Sprintf("%d pictures and their captions, %d pairs a step", len(train.Samples), s.config.Recipe.Batch*s.config.Recipe.Accumulate)})
	return nil
}

// interpolateText does for a text tower that has learnt what --wise-ft says.
func (s *session) interpolateText() error {
	o, ok := s.config.Objective.(*finetune.Contrastive)
	if !ok || s.config.Recipe.TextRate == 0 && s.config.Recipe.ScaleRate == 0 {
		return nil
	}
	original, err := converter.LoadTextCheckpoint(s.like)
	if err != nil {
		return err
	}
	return finetune.InterpolateText(o.Text, original, s.wise)
}
