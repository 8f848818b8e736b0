package finetune

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/history"
)

// An identity says what a checkpoint is of.
type identity struct {
	Tower string `json:"tower"` // SHA-256 of the weights that the run began with
	Head  string `json:"head"`  // its type, and the shapes of its parameters
	// HeadStart is the SHA-256 of the weights that a [Classifier] began with, "" for zeros and other heads; nil in checkpoints of
	// before, which did not record it.
	HeadStart *string `json:"head_start,omitempty"`
	// Preprocessing of the pictures; nil in checkpoints of before 30 November 2026, which did not record it.
	Preprocessing *clipvit.Transform `json:"preprocessing,omitempty"`
	Recipe        Recipe             `json:"recipe"`
	Features      clipvit.Features   `json:"features"`
	Objective     string             `json:"objective"`
	Data          string             `json:"data"` // fingerprint and order of the training data
	Seed          uint64             `json:"seed"`
}

// UnmarshalJSON reads an identity, the features in the form of version 64c7bcd as well: whether they are patches,
// or else the embedding, and their layer.
func (i *identity) UnmarshalJSON(text []byte) error {
	type plain identity // without this method
	if err := json.Unmarshal(text, (*plain)(i)); err != nil || i.Features.Kind != "" {
		return err
	}
	var old struct{ Features struct{ Patches bool } }
	if err := json.Unmarshal(text, &old); err != nil {
		return err
	}
	if i.Features.Kind = clipvit.Patches; !old.Features.Patches {
		i.Features = clipvit.Features{Kind: clipvit.Embedding} // the layer meant nothing
	}
	return nil
}

// differs says in what the run of a checkpoint is not this one.
func (i identity) differs(now identity) (all []history.Difference) {
	differ := func(name string, was, now any) {
		if !reflect.DeepEqual(was, now) {
			all = append(all, history.Difference{Setting: name, Was: cmp.Or(fmt.Sprint(was), "none"), Now: cmp.Or(fmt.Sprint(now), "none")})
		}
	}
	const digits = 12 // of 64: enough to tell two sums apart
	if i.Tower != now.Tower {
		differ("weights of the tower", fmt.Sprintf("%.*s…", digits, i.Tower), fmt.Sprintf("%.*s…", digits, now.Tower))
	}
	if i.Recipe.Name != now.Recipe.Name {
		differ("recipe", i.Recipe.Name, now.Recipe.Name)
		return all // of which all else follows
	}
	was, is := reflect.ValueOf(i.Recipe), reflect.ValueOf(now.Recipe)
	for f := range was.NumField() {
		if name := was.Type().Field(f).Name; name != "LoRA" {
			differ("recipe: "+name, was.Field(f).Interface(), is.Field(f).Interface())
		}
	}
	differ("recipe: Rank", i.Recipe.LoRA.Rank, now.Recipe.LoRA.Rank)
	differ("recipe: Alpha", i.Recipe.LoRA.Alpha, now.Recipe.LoRA.Alpha)
	differ("recipe: Targets", strings.Join(i.Recipe.LoRA.Targets, ", "), strings.Join(now.Recipe.LoRA.Targets, ", "))
	differ("head", inWords(i.Head), inWords(now.Head))
	if i.Head == now.Head && i.HeadStart != nil && now.HeadStart != nil && *i.HeadStart != *now.HeadStart {
		short := func(s string) string { // as of the tower
			if s == "" {
				return "zeros"
			}
			return fmt.Sprintf("%.*s…", digits, s)
		}
		differ("weights of the head at first", short(*i.HeadStart), short(*now.HeadStart))
	}
	if i.Preprocessing != nil && now.Preprocessing != nil {
		a, b := reflect.ValueOf(i.Preprocessing.Resolved()), reflect.ValueOf(now.Preprocessing.Resolved())
		for f := range a.NumField() {
			differ("preprocessing: "+a.Type().Field(f).Name, a.Field(f).Interface(), b.Field(f).Interface())
		}
	}
	differ("features", i.Features.String(), now.Features.String())
	differ("objective", i.Objective, now.Objective)
	differ("seed", i.Seed, now.Seed)
	for _, d := range dataDiffers(i.Data, now.Data) {
		if d.Setting != "seed" || i.Seed == now.Seed { // by which the data are in another order
			differ(d.Setting, d.Was, d.Now)
		}
	}
	return all
}

// classifierHead is the form of [headName] of a classifier.
var classifierHead = regexp.MustCompile(`^\*finetune\.Classifier Linear\.W\[(\d+) (\d+)\]`)

// inWords says what a head of an identity is.
func inWords(head string) string {
	if m := classifierHead.FindStringSubmatch(head); m != nil {
		return fmt.Sprintf("a classifier of %s classes by %s numbers", m[1], m[2])
	}
	// A layout, and the features of an encoder.
	var l map[string]any
	d := json.NewDecoder(strings.NewReader(head))
	if d.Decode(&l) != nil {
		return strings.TrimPrefix(head, "*")
	}
	var set []string
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if v := l[name]; name != "Name" && name != "Fit" && v != nil && v != false && v != 0.0 && v != "" {
			set = append(set, fmt.Sprintf("%s %v", name, v))
		}
	}
	text := fmt.Sprintf("tokens by layout %v", l["Name"])
	if set != nil {
		text += " (" + strings.Join(set, ", ") + ")"
	}
	return text + ", " + head[d.InputOffset():]
}

// loaderName is the form of [sourceName] of a loader, and augmentation that of what it does to pictures.
var (
	loaderName   = regexp.MustCompile(`^(\d+) batches of (\d+), shuffled (\w+), seed (\d+), short batches (\w+), \{(.*)\}, ([0-9a-f]+)$`)
	augmentation = regexp.MustCompile(`(\w+):(\[[^\]]*\]|[^ ]+)`)
)

// dataDiffers says in what one source of data is not the other.
func dataDiffers(was, now string) (all []history.Difference) {
	a, b := loaderName.FindStringSubmatch(was), loaderName.FindStringSubmatch(now)
	if a == nil || b == nil {
		return []history.Difference{{Setting: "data", Was: was, Now: now}}
	}
	for i, name := range []string{2: "pictures of a batch", 3: "shuffled", 4: "seed", 5: "short batches"} {
		if name != "" && a[i] != b[i] {
			all = append(all, history.Difference{Setting: name, Was: a[i], Now: b[i]})
		}
	}
	x, y := augmentation.FindAllStringSubmatch(a[6], -1), augmentation.FindAllStringSubmatch(b[6], -1)
	for i := range min(len(x), len(y)) {
		if x[i][2] != y[i][2] {
			all = append(all, history.Difference{Setting: "augmentation: " + x[i][1], Was: x[i][2], Now: y[i][2]})
		}
	}
	if a[7] != b[7] {
		all = append(all, history.Difference{Setting: "pictures, or their labels", Was: a[1] + " batches", Now: b[1] + " batches of others, or in another order"})
	}
	if len(all) == 0 && was != now {
		all = append(all, history.Difference{Setting: "batches", Was: a[1], Now: b[1]})
	}
	return all
}
