// Learning shows that the recipes of package finetune teach: accuracy before and after each, on pictures that
// were not trained on, as a Markdown table.
//
//	go run ./bench/learning                      # with three seeds, a minute each on two cores
//	go run ./bench/learning -seeds 1 -digits DIR
//
// Weights of CLIP cannot be shipped, so the tower that all recipes start from is a small one of 0.2 million weights
// which is trained here first, to name the colour of drawn shapes of any kind. From there it goes on to
//
//   - easy: shapes each of which has a colour of its own. What the tower sees already is enough.
//   - hard: shapes of any colour, with blots about, of which only the outline tells. What the tower sees is not.
//   - digits: handwritten ones, in grey, of which testdata/gen/digits.py makes DIR.
//
// Before, the head is the best there is for the frozen tower, by package probe; every recipe starts from it. All is done
// with several seeds, and a cell has the mean of them, the least and the most. The same seeds give the same table with the
// same kernels (vitago version names them); others round otherwise, which is as another seed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/shapes"
	"github.com/vitago/vitago/projector"
)

// A task is pictures to learn, and others to be judged by.
type task struct {
	name        string
	train, test *data.Dataset
	epochs      int
}

// A plan says how much is learnt.
type plan struct {
	start, easy, hard, digits amount
	test                      int // pictures of a class to be judged by
	seed                      uint64
}

// An amount is pictures of a class, and how often each is seen.
type amount struct{ pictures, epochs int }

// whole is the plan of the table in README.
var whole = plan{start: amount{200, 5}, easy: amount{200, 3}, hard: amount{600, 6}, digits: amount{0, 6}, test: 100, seed: 1}

// A row of the table is a recipe, or a variant of one.
type row struct {
	name   string
	recipe finetune.Recipe
}

// rows are what is tried. The rates of the presets are for towers of a hundred million weights and more, which
// have learnt from as many pictures; ours takes 200 times theirs.
func rows() []row {
	preset := func(name string) finetune.Recipe {
		r, err := finetune.FindRecipe(name)
		if err != nil {
			panic(err) // a name below is wrong
		}
		return r
	}
	tiny := func(r finetune.Recipe, scale float64) finetune.Recipe {
		r.Rate *= scale
		r.Batch, r.Accumulate = 32, 1 // the same step
		r.Smoothing = 0               // a fitted head is surer than smooth labels are, and would be unlearnt first
		return r
	}
	const scale = 200
	lora := tiny(preset("lora"), 5) // peft's own rate
	lora.LoRA.Targets = adapter.Targets
	last := tiny(preset("last-n"), scale)
	last.Blocks = 2
	full := tiny(preset("full"), scale)
	fast := full
	fast.Rate, fast.LayerDecay, fast.EMA = 25*full.Rate, 1, 0
	rows := []row{
		{"lora", lora},
		{"last-n, 2 of 4 blocks", last},
		{"full", full},
		{"full, rate × 25, no layer decay, no averages", fast},
	}
	for _, s := range []struct {
		name               string
		fixViT, fixSampler bool
	}{{"xcomposer", false, false}, {"xcomposer, fix_vit", true, false}, {"xcomposer, fix_sampler", false, true}} {
		r := tiny(finetune.XComposer(s.fixViT, s.fixSampler), scale)
		r.HeadRate *= scale
		rows = append(rows, row{s.name, r})
	}
	return rows
}

// A result is a measure of the pictures to be judged by, before and after.
type result struct{ before, after float64 }

// A bench is where recipes are tried: the tower that all of them start from.
type bench struct {
	start *clipvit.Model // frozen
	seed  uint64
}

// loader returns the source of pictures, in a new order every epoch if they are trained on.
func (b *bench) loader(d *data.Dataset, training bool) *data.Loader {
	return &data.Loader{Data: d, Config: b.start.Config, BatchSize: 32, Shuffle: training, Strict: true, Seed: b.seed}
}

// learn follows a recipe and returns the score before and after, and the loss.
func (b *bench) learn(ctx context.Context, c finetune.Config, t task) (score, loss result, err error) {
	c.Recipe.Epochs = t.epochs
	c.Train, c.Seed = b.loader(t.train, true), b.seed
	trainer, err := finetune.New(c)
	if err != nil {
		return score, loss, err
	}
	test := b.loader(t.test, false)
	if loss.before, score.before, err = trainer.Evaluate(ctx, test); err != nil {
		return score, loss, err
	}
	if _, err = trainer.Run(ctx); err != nil {
		return score, loss, err
	}
	loss.after, score.after, err = trainer.Evaluate(ctx, test)
	return score, loss, err
}

// newBench teaches a tower of random weights the colours.
func newBench(ctx context.Context, p plan, dir string) (*bench, result, error) {
	tower, err := random(small, p.seed)
	if err != nil {
		return nil, result{}, err
	}
	b := &bench{tower, p.seed}
	for _, part := range []struct {
		name     string
		first, n int
	}{{"train", 0, p.start.pictures}, {"test", p.start.pictures, p.test}} {
		if err := shapes.WriteColours(filepath.Join(dir, part.name), part.first, part.n, small.ImageSize, p.seed); err != nil {
			return nil, result{}, err
		}
	}
	colours, err := open("colours", dir, p.start.epochs)
	if err != nil {
		return nil, result{}, err
	}
	recipe := finetune.Recipe{
		Name: "from scratch", Tower: finetune.Complete, Rate: 2e-3, HeadRate: 2e-3, WeightDecay: 0.05, LayerDecay: 1, Betas: [2]float64{0.9, 0.999},
		Schedule: finetune.Cosine, Warmup: 0.1, Clip: 1, Epochs: 1, Batch: 32, Accumulate: 1,
	}
	head := finetune.NewClassifier(small.OutputDim(), colours.train.Classes)
	score, _, err := b.learn(ctx, finetune.Config{Tower: tower, Head: head, Objective: finetune.Classification{}, Recipe: recipe}, colours)
	tower.Freeze()
	return b, score, err
}

// open opens the pictures in DIR/train and DIR/test.
func open(name, dir string, epochs int) (task, error) {
	train, err := data.Folder(filepath.Join(dir, "train"))
	if err != nil {
		return task{}, err
	}
	test, err := data.Folder(filepath.Join(dir, "test"))
	if err != nil {
		return task{}, err
	}
	return task{name, train, test, epochs}, data.Align(train, test)
}

// tasks returns the tasks of a plan, whose pictures are drawn in dir; those of the digits are there or "".
func (p plan) tasks(dir, digits string) (tasks []task, err error) {
	for _, s := range []struct {
		name string
		hard bool
		amount
	}{{"easy", false, p.easy}, {"hard", true, p.hard}} {
		if s.pictures == 0 {
			continue
		}
		err := errors.Join(
			shapes.Write(filepath.Join(dir, s.name, "train"), 0, s.pictures, small.ImageSize, s.hard, p.seed),
			shapes.Write(filepath.Join(dir, s.name, "test"), s.pictures, p.test, small.ImageSize, s.hard, p.seed),
		)
		if err != nil {
			return nil, err
		}
		t, err := open(s.name, filepath.Join(dir, s.name), s.epochs)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	if digits != "" {
		t, err := open("digits", digits, p.digits.epochs)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

// probe fits a head to the frozen tower. Before it there is one that knows nothing, and says the first class.
func (b *bench) probe(ctx context.Context, t task) (*probe.Head, result, error) {
	r, err := probe.Run(ctx, probe.Config{
		Extractor: probe.Extractor{Model: b.start, Batch: 32, Strict: true}, Train: t.train, Test: t.test, Seed: b.seed,
	})
	if err != nil {
		return nil, result{}, err
	}
	return r.Head, result{float64(t.test.Counts()[0]) / float64(r.Test.Pictures), r.Test.Accuracy()}, nil
}

// classify follows a recipe from the frozen tower and the head that was fitted to it, and returns the tower too.
func (b *bench) classify(ctx context.Context, r finetune.Recipe, fitted *probe.Head, t task) (*clipvit.Model, result, error) {
	tower, err := clone(b.start)
	if err != nil {
		return nil, result{}, err
	}
	head := finetune.NewClassifier(fitted.Dim(), fitted.Classes)
	copyOf(head.Linear.W, fitted.Linear.W)
	copyOf(head.Linear.B, fitted.Linear.B)
	score, _, err := b.learn(ctx, finetune.Config{
		Tower: tower, Head: head, Objective: finetune.Classification{Smoothing: r.Smoothing}, Recipe: r,
	}, t)
	tower.Freeze()
	return tower, score, err
}

// project learns a projector from the patches of the frozen tower to those of a tuned one, and returns the mean
// square of what remains: before for the mean of all patches, which is the best that does not look at a picture.
func (b *bench) project(ctx context.Context, tuned *clipvit.Model, t task) (result, error) {
	patches := clipvit.Features{Kind: clipvit.Patches, Layer: -1}
	width := b.start.Config.Width
	head, err := projector.New(projector.Config{Type: "mlp2x_gelu", In: width, Out: width})
	if err != nil {
		return result{}, err
	}
	head.Init(newRand(b.seed))
	recipe, err := finetune.FindRecipe("projector")
	if err != nil {
		return result{}, err
	}
	recipe.HeadRate *= 5
	_, loss, err := b.learn(ctx, finetune.Config{
		Tower: b.start, Features: patches, Head: head, Recipe: recipe,
		Objective: &finetune.Distillation{Distance: finetune.SquareDistance, Teacher: tuned, Features: patches, What: "the tuned tower"},
	}, t)
	if err != nil {
		return result{}, err
	}
	loss.before, err = b.variance(ctx, tuned, t.test)
	return loss, err
}

// variance returns how far the last patches of a tower are from their mean: the mean square.
func (b *bench) variance(ctx context.Context, tower *clipvit.Model, d *data.Dataset) (float64, error) {
	e := probe.Extractor{Model: tower, Features: clipvit.Features{Kind: clipvit.Patches, Layer: -1}, Batch: 32, Strict: true}
	width := tower.Config.Width
	sums, squares, n := make([]float64, width), 0.0, 0.0
	_, err := e.Each(ctx, d, func(_ int, x []float32) error { // [G²,C]
		for i, v := range x {
			sums[i%width] += float64(v)
			squares += float64(v) * float64(v)
		}
		n += float64(len(x) / width)
		return nil
	})
	for _, s := range sums {
		squares -= s * s / n
	}
	return squares / (n * float64(width)), err
}

// toProject is the row of the projector.
const toProject = "projector, mean square error"

// A table has a result for each row and task, by their names.
type table map[string]map[string]result

// add keeps a result.
func (t table) add(name, task string, r result) {
	if t[name] == nil {
		t[name] = map[string]result{}
	}
	t[name][task] = r
}

// run returns what the recipes learn of the tasks with one seed. Progress goes to say.
func (p plan) run(ctx context.Context, dir, digits string, say func(format string, args ...any)) (table, error) {
	tasks, err := p.tasks(dir, digits)
	if err != nil {
		return nil, err
	}
	b, start, err := newBench(ctx, p, filepath.Join(dir, "colours"))
	if err != nil {
		return nil, err
	}
	say("seed %d: the tower to start from, on colours: %s", p.seed, cell(toScore, start))
	all := table{}
	for _, t := range tasks {
		add := func(name string, r result) {
			all.add(name, t.name, r)
			say("seed %d: %s, %s: %s", p.seed, t.name, name, cell(name, r))
		}
		head, score, err := b.probe(ctx, t)
		if err != nil {
			return nil, err
		}
		add("probe", score)
		var tuned *clipvit.Model
		for _, r := range rows() {
			tower, score, err := b.classify(ctx, r.recipe, head, t)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", t.name, r.name, err)
			}
			add(r.name, score)
			if r.name == "full" {
				tuned = tower
			}
		}
		loss, err := b.project(ctx, tuned, t)
		if err != nil {
			return nil, err
		}
		add(toProject, loss)
	}
	return all, nil
}

// toScore is the name of any row but that of the projector.
const toScore = ""

// cell writes the results of a row, one for each seed: the means before and after, and in brackets the least and the most
// after.
func cell(name string, all ...result) string {
	format, unit, scale := "%.1f", " %%", 100.
	if name == toProject {
		format, unit, scale = "%.3f", "", 1
	}
	var before, after float64
	least, most := math.Inf(1), math.Inf(-1)
	for _, r := range all {
		before += scale * r.before / float64(len(all))
		after += scale * r.after / float64(len(all))
		least, most = min(least, scale*r.after), max(most, scale*r.after)
	}
	s := fmt.Sprintf(format+" → "+format+unit, before, after)
	if len(all) > 1 {
		s += fmt.Sprintf(" ("+format+" to "+format+")", least, most)
	}
	return s
}

// markdown writes the tables of several seeds as one.
func markdown(tables []table) string {
	names := []string{"probe"}
	for _, r := range rows() {
		names = append(names, r.name)
	}
	names = append(names, toProject)
	var tasks []string
	for _, t := range []string{"easy", "hard", "digits"} {
		if _, ok := tables[0]["probe"][t]; ok {
			tasks = append(tasks, t)
		}
	}
	var s strings.Builder
	fmt.Fprintf(&s, "| recipe | %s |\n|---|%s\n", strings.Join(tasks, " | "), strings.Repeat("---:|", len(tasks)))
	for _, name := range names {
		fmt.Fprintf(&s, "| %s |", name)
		for _, task := range tasks {
			var all []result
			for _, t := range tables {
				all = append(all, t[name][task])
			}
			fmt.Fprintf(&s, " %s |", cell(name, all...))
		}
		s.WriteString("\n")
	}
	return s.String()
}

func main() {
	p := whole
	digits := flag.String("digits", "", "what testdata/gen/digits.py wrote; none are learnt without it")
	flag.Uint64Var(&p.seed, "seed", p.seed, "the first seed: other pictures and first weights with another")
	seeds := flag.Int("seeds", 3, "how many seeds, each after the one before; one takes a minute on two cores")
	flag.Parse()
	if flag.NArg() > 0 || *seeds < 1 {
		fmt.Fprintln(os.Stderr, "usage: learning [flags], with 1 seed or more")
		flag.PrintDefaults()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := show(ctx, p, *seeds, *digits); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// show prints the table.
func show(ctx context.Context, p plan, seeds int, digits string) error {
	dir, err := os.MkdirTemp("", "learning")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var tables []table
	for range seeds {
		t, err := p.run(ctx, filepath.Join(dir, fmt.Sprint(p.seed)), digits, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
		if err != nil {
			return err
		}
		tables = append(tables, t)
		p.seed++
	}
	fmt.Print(markdown(tables))
	return nil
}
