package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/internal/plural"
)

// Unlabelled is the Label of a sample without one.
const Unlabelled = -1

// A Sample is a picture and what is known of it.
type Sample struct {
	Path  string // of the file; of a picture in a shard SHARD.tar/NAME
	Label int    // into Dataset.Classes, or Unlabelled, as all are of a Dataset that is Multi
	// LabelSet are the labels of a sample of a Dataset that is Multi, into Dataset.Classes, rising; it may have none.
	LabelSet []int
	Caption  string // empty if there is none

	part *part // where in a shard the picture is; nil if Path is a file of its own
}

// A Dataset is a list of samples that have all a label, or all a list of labels, or all a caption, or none of them either.
// Those that have labels can have captions too.
type Dataset struct {
	Samples []Sample // in the order of the source
	Classes []string // names of the labels; nil if the samples have none
	Multi   bool     // labels do not exclude each other: each sample has any number of them, in its LabelSet
	Notes   []string // what was left out of the source and may have been wanted, a sentence each

	root   string // the folder that Fingerprint takes the paths from
	within string // the folder that pictures are read below; "" is any
}

// ending returns what follows the last dot of a file's name, in lower case.
func ending(name string) string {
	return strings.ToLower(strings.TrimPrefix(path.Ext(filepath.ToSlash(name)), "."))
}

// How many classes there have to be: to learn from, and to judge by.
const (
	toLearn = 2
	toJudge = 1
)

// A labelled is a sample whose label is still a name.
type labelled struct {
	Sample
	label string // empty if there is none
	where string // what to call it in an error: "line 7"
	list         // in the place of label
}

// A list is labels that do not exclude each other, as a row of a source has them.
type list struct {
	labels []string
	listed bool // there is such a list, which may be empty
}

// build makes a Dataset of what a source found; name is the source's, for errors, and root its folder.
// Some samples with a label and some without are an error, and so are fewer classes than a source of labels has to have, and a picture
// that is listed twice. If bare is false, samples with neither label nor caption are an error too.
func build(name, root string, found []labelled, bare bool, least int) (*Dataset, error) {
	if len(found) == 0 {
		return nil, fmt.Errorf("data: %s: %w", name, ErrEmpty)
	}
	var labels, captions int
	multi := slices.ContainsFunc(found, func(s labelled) bool { return s.listed })
	for _, s := range found {
		if s.label != "" || len(s.labels) > 0 {
			labels++
		}
		if s.Caption != "" {
			captions++
		}
	}
	if labels == 0 && captions == 0 && !bare {
		return nil, of(ErrUnlabelled, fmt.Errorf("data: %s: %s, and none has a label or a caption", name, plural.Of(len(found), "picture")))
	}
	d := &Dataset{Samples: make([]Sample, len(found)), Multi: multi, root: root}
	classes := map[string]int{}
	if labels > 0 {
		for _, s := range found {
			if s.label != "" {
				classes[s.label] = 0
			}
			for _, l := range s.labels {
				classes[l] = 0
			}
		}
		for c := range classes {
			d.Classes = append(d.Classes, c)
		}
		sortClasses(d.Classes)
		for i, c := range d.Classes {
			classes[c] = i
		}
	}
	var unlabelled, unlisted, uncaptioned, twice problems
	first := make(map[string]string, len(found)) // where a path stands first
	for i, s := range found {
		s.Label = Unlabelled
		switch {
		case multi && !s.listed:
			unlisted.add(s.where)
		case multi:
			for _, l := range s.labels {
				s.LabelSet = append(s.LabelSet, classes[l])
			}
			slices.Sort(s.LabelSet)
		case s.label != "":
			s.Label = classes[s.label]
		case labels > 0:
			unlabelled.add(s.where)
		}
		if s.Caption == "" && captions > 0 && labels == 0 {
			uncaptioned.add(s.where)
		}
		if at, seen := first[s.Path]; seen {
			twice.add(fmt.Sprintf("%s (%s and %s)", filepath.Base(s.Path), at, s.where))
		} else {
			first[s.Path] = s.where
		}
		d.Samples[i] = s.Sample
	}
	errs := []error{
		of(ErrUnlabelled, unlabelled.err(name, plural.Phrase{One: "of %d pictures has no label", Many: "of %d pictures have no label"}, len(found))),
		of(ErrUnlabelled, unlisted.err(name, plural.Phrase{One: "of %d pictures has no list of labels, as others have; want [] where there are none", Many: "of %d pictures have no list of labels, as others have; want [] where there are none"}, len(found))),
		uncaptioned.err(name, plural.Phrase{One: "of %d pictures has no caption", Many: "of %d pictures have no caption"}, len(found)),
		twice.err(name, plural.Phrase{One: "of %d pictures is listed twice", Many: "of %d pictures are listed twice"}, len(found)),
	}
	if len(d.Classes) == 1 && least > 1 && !multi { // or the class may be there or not
		errs = append(errs, fmt.Errorf("data: %s: %s, all of one class, %q; %w", name, plural.Of(labels, "picture"), d.Classes[0], ErrOneClass))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return d, nil
}

// sortClasses sorts names by value if all are integers as strconv writes them, so that the labels
// 0 to N-1 keep their numbers, and by their bytes otherwise.
func sortClasses(names []string) {
	number := make(map[string]int, len(names))
	for _, s := range names {
		if n, err := strconv.Atoi(s); err == nil && strconv.Itoa(n) == s {
			number[s] = n
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(number) == len(names) {
			return cmp.Compare(number[a], number[b])
		}
		return strings.Compare(a, b)
	})
}

// problems is a list of the same fault in several places, of which an error names the first few.
type problems struct {
	n     int
	first []string
}

// shown is how many places an error names: enough to see what they have in common, few enough to read.
const shown = 5

func (p *problems) add(where string) {
	if p.n++; len(p.first) < shown {
		p.first = append(p.first, where)
	}
}

// err returns nil if there are none, and otherwise "data: NAME: N WHAT: first, second, …". What says one or many, each with the same args.
func (p *problems) err(name string, what plural.Phrase, args ...any) error {
	if p.n == 0 {
		return nil
	}
	list := strings.Join(p.first, ", ")
	if p.n > len(p.first) {
		list += fmt.Sprintf(" and %d more", p.n-len(p.first))
	}
	return fmt.Errorf("data: %s: %s: %s", name, fmt.Sprintf(what.Of(p.n), args...), list)
}

// Open returns the bytes of picture i as they are in its file. It fails if that is no regular file.
func (d *Dataset) Open(i int) (io.ReadCloser, error) {
	s := d.Samples[i]
	if s.part != nil {
		return s.part.open()
	}
	stat, open, path := os.Stat, os.Open, s.Path
	if d.within != "" {
		root, err := os.OpenRoot(d.within)
		if err != nil {
			return nil, err
		}
		defer root.Close() // what it has opened stays open
		stat, open = root.Stat, root.Open
		if path, err = inside(d.within, s.Path); err != nil {
			return nil, err
		}
	}
	// Before it is opened: that of a pipe would wait for a writer.
	if info, err := stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file but %v", s.Path, info.Mode())
	}
	return open(path)
}

// inside returns a path relative to a folder below which it lies by its name.
func inside(folder, path string) (string, error) {
	rel, err := filepath.Rel(folder, path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%s: %w", path, ErrOutside)
	}
	return rel, nil
}

// keep lets pictures be read below a folder alone.
func (d *Dataset) keep(name, folder string) error {
	d.within = folder
	if folder == "" {
		return nil
	}
	var outside problems
	for _, s := range d.Samples {
		if _, err := inside(folder, s.Path); err != nil {
			outside.add(s.Path)
		}
	}
	return of(ErrOutside, outside.err(name, plural.Phrase{One: "of %d pictures lies outside of the folder of data", Many: "of %d pictures lie outside of the folder of data"}, len(d.Samples)))
}

// Counts returns how many samples each class has; nil if there are no labels. Of a Dataset that is Multi a sample counts for each
// of its labels.
func (d *Dataset) Counts() []int {
	if d.Classes == nil {
		return nil
	}
	counts := make([]int, len(d.Classes))
	for _, s := range d.Samples {
		if !d.Multi {
			counts[s.Label]++
		}
		for _, l := range s.LabelSet {
			counts[l]++
		}
	}
	return counts
}

// Fingerprint returns 64 hexadecimal digits that change if a sample's place in the order, its path
// below the data's folder, its label, its caption or the classes do: a run goes on only with the
// data that it began with. The pictures themselves are not read.
func (d *Dataset) Fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", d.Classes)
	for i, s := range d.Samples {
		fmt.Fprintf(h, "%q %d %q\n", d.Name(i), s.Label, s.Caption)
		if d.Multi {
			fmt.Fprintf(h, "%d\n", s.LabelSet)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Name returns the path of picture i below the data's folder, with slashes on every system.
func (d *Dataset) Name(i int) string {
	name := d.Samples[i].Path
	if rel, err := filepath.Rel(d.root, name); err == nil {
		name = rel
	}
	return filepath.ToSlash(name)
}

// Split sets part of the samples aside for validation: of each class the given fraction, rounded, but
// at least one, and at least one stays. Both parts keep the order of d, and all of its classes.
// Which samples go is decided by the seed and the number and order of samples in a class, so a class
// that grows does not disturb the others. It returns an error if the fraction is not between 0 and 1
// or a class has fewer than two samples.
//
// Where labels do not exclude each other, samples with the rarest label go first, so that each label has about the fraction,
// as far as the others permit: iterative stratification. Source: Sechidis, Tsoumakas, Vlahavas, "On the stratification of
// multi-label data", ECML PKDD 2011, section 3.
func (d *Dataset) Split(fraction float64, seed uint64) (train, validation *Dataset, err error) {
	if !(fraction > 0 && fraction < 1) {
		return nil, nil, fmt.Errorf("data: split of %v, want a fraction between 0 and 1", fraction)
	}
	if d.Multi {
		return d.splitMulti(fraction, seed)
	}
	members := map[int][]int{} // of each label
	for i, s := range d.Samples {
		members[s.Label] = append(members[s.Label], i)
	}
	aside := make([]bool, len(d.Samples))
	var lonely problems
	for label := Unlabelled; label < len(d.Classes); label++ {
		name := "pictures without label"
		if label >= 0 {
			name = d.Classes[label]
		}
		is := members[label]
		switch {
		case len(is) == 0 && label >= 0 || len(is) == 1:
			lonely.add(fmt.Sprintf("%q (%d)", name, len(is)))
			continue
		case len(is) == 0:
			continue
		}
		h := fnv.New64a()
		io.WriteString(h, name) //nolint:errcheck // a hash takes everything
		newStream(seed, splitStream, h.Sum64()).shuffle(is)
		n := int(math.Round(fraction * float64(len(is))))
		for _, i := range is[:min(max(n, 1), len(is)-1)] {
			aside[i] = true
		}
	}
	if err := of(ErrFew, lonely.err("split", plural.Phrase{One: "of %d classes has fewer than 2 pictures", Many: "of %d classes have fewer than 2 pictures"}, max(len(d.Classes), 1))); err != nil {
		return nil, nil, err
	}
	train, validation = d.part(aside)
	return train, validation, nil
}

// part returns the samples that are not set aside, and those that are.
func (d *Dataset) part(aside []bool) (train, validation *Dataset) {
	train = &Dataset{Classes: d.Classes, Multi: d.Multi, Notes: d.Notes, root: d.root, within: d.within}
	validation = &Dataset{Classes: d.Classes, Multi: d.Multi, root: d.root, within: d.within}
	for i, s := range d.Samples {
		if aside[i] {
			validation.Samples = append(validation.Samples, s)
		} else {
			train.Samples = append(train.Samples, s)
		}
	}
	return train, validation
}

// splitMulti is Split where labels do not exclude each other.
func (d *Dataset) splitMulti(fraction float64, seed uint64) (train, validation *Dataset, err error) {
	members := make([][]int, len(d.Classes)+1) // of each label, and of none
	for i, s := range d.Samples {
		for _, l := range s.LabelSet {
			members[l] = append(members[l], i)
		}
		if len(s.LabelSet) == 0 {
			members[len(d.Classes)] = append(members[len(d.Classes)], i)
		}
	}
	var lonely problems
	order := make([]int, len(members)) // of labels, the rarest first
	for l, is := range members {
		order[l] = l
		if l < len(d.Classes) && len(is) < 2 {
			lonely.add(fmt.Sprintf("%q (%d)", d.Classes[l], len(is)))
		}
	}
	if err := of(ErrFew, lonely.err("split", plural.Phrase{One: "of %d classes has fewer than 2 pictures", Many: "of %d classes have fewer than 2 pictures"}, len(d.Classes))); err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(members[a]), len(members[b])) })
	aside, decided := make([]bool, len(d.Samples)), make([]bool, len(d.Samples))
	for _, l := range order {
		name := "pictures without label"
		if l < len(d.Classes) {
			name = d.Classes[l]
		}
		is := slices.Clone(members[l])
		h := fnv.New64a()
		io.WriteString(h, name) //nolint:errcheck // a hash takes everything
		newStream(seed, splitStream, h.Sum64()).shuffle(is)
		want := int(math.Round(fraction * float64(len(is))))
		if l < len(d.Classes) { // pictures of none may all be on one side
			want = min(max(want, 1), len(is)-1)
		}
		for _, i := range is {
			if aside[i] {
				want--
			}
		}
		for _, i := range is {
			if !decided[i] {
				aside[i], decided[i] = want > 0, true
				want--
			}
		}
	}
	if n := len(d.Samples); !slices.Contains(aside, true) || !slices.Contains(aside, false) {
		return nil, nil, fmt.Errorf("data: split of %v leaves %s on one side, want more of them", fraction, plural.Of(n, "picture"))
	}
	train, validation = d.part(aside)
	return train, validation, nil
}

// Align gives validation data of another source the classes of the training data: their labels are
// changed to mean the same names. Classes that only the training data have are allowed. It returns
// an error, and changes nothing, if the validation data have classes of their own, if only one of the
// two has labels, or if a picture is in both.
func Align(train, validation *Dataset) error {
	if (train.Classes == nil) != (validation.Classes == nil) {
		return of(ErrClasses, fmt.Errorf("data: %d classes to train on, %d to validate on: want both or neither labelled", len(train.Classes), len(validation.Classes)))
	}
	if train.Multi != validation.Multi {
		kinds := map[bool]string{false: "one label", true: "a list of labels"}
		return of(ErrClasses, fmt.Errorf("data: pictures to train on have %s each, those to validate on %s: want the same", kinds[train.Multi], kinds[validation.Multi]))
	}
	index := make(map[string]int, len(train.Classes))
	for i, c := range train.Classes {
		index[c] = i
	}
	counts := validation.Counts()
	var strange, shared problems
	for i, c := range validation.Classes {
		if _, ok := index[c]; !ok && counts[i] > 0 {
			strange.add(fmt.Sprintf("%q (%d)", c, counts[i]))
		}
	}
	seen := make(map[string]bool, len(train.Samples))
	for _, s := range train.Samples {
		seen[absolute(s.Path)] = true
	}
	for _, s := range validation.Samples {
		if seen[absolute(s.Path)] {
			shared.add(s.Path)
		}
	}
	if err := errors.Join(
		of(ErrClasses, strange.err("validation", plural.Phrase{One: "class is not among the %d of the training data (%s)", Many: "classes are not among the %d of the training data (%s)"}, len(train.Classes), few(train.Classes))),
		shared.err("validation", plural.Phrase{One: "picture is training data too", Many: "pictures are training data too"}),
	); err != nil {
		return err
	}
	if train.Classes == nil {
		return nil
	}
	for i, s := range validation.Samples {
		if !train.Multi {
			validation.Samples[i].Label = index[validation.Classes[s.Label]]
		}
		for j, l := range s.LabelSet {
			s.LabelSet[j] = index[validation.Classes[l]]
		}
		slices.Sort(s.LabelSet)
	}
	validation.Classes = train.Classes
	return nil
}

// absolute returns a path that can be compared.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}

// few returns the first names of a list.
func few(names []string) string {
	if len(names) > shown {
		return fmt.Sprintf("%.80q …", names[:shown])
	}
	return fmt.Sprintf("%.80q", names)
}

// BalancedWeights returns weights of classes by which each of K weighs as much as another, N/(K·n) for a class of n of N images. Where
// labels do not exclude each other it is (N-n)/n: the n images of a class then weigh as much as the others.
//
// Source: scikit-learn/scikit-learn, sklearn/utils/class_weight.py, compute_class_weight("balanced"); pytorch/pytorch,
// torch/nn/modules/loss.py, BCEWithLogitsLoss, pos_weight.
func (d *Dataset) BalancedWeights() ([]float64, error) {
	all, counts := len(d.Samples), d.Counts()
	weights := make([]float64, len(counts))
	for k, n := range counts {
		switch {
		case n == 0:
			return nil, fmt.Errorf("data: class %q has no pictures, and so no balanced weight", d.Classes[k])
		case d.Multi && n == all:
			return nil, fmt.Errorf("data: %s, all of class %q, which so has no balanced weight", plural.Of(n, "picture"), d.Classes[k])
		case d.Multi:
			weights[k] = float64(all-n) / float64(n)
		default:
			weights[k] = float64(all) / (float64(len(counts)) * float64(n))
		}
	}
	return weights, nil
}
