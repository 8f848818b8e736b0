package job

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/projector"
)

// Request says what is to be learnt, and how. Model, Data, Recipe and Output must be set; a task sets Model itself.
type Request struct {
	// Model is the directory or checkpoint to begin with.
	Model string `json:"-"`
	// Activation is that of towers whose files do not say it: "quick_gelu" or "gelu".
	Activation transformer.Activation `json:"activation,omitempty"`

	// Preprocess is the name of a preset of clipvit by whose rules pictures are prepared; "" is Model's own library's. Fit is
	// how they become squares; "" is what Model's files say. The model that is written records both.
	Preprocess string      `json:"preprocess,omitempty"`
	Fit        clipvit.Fit `json:"fit,omitempty"`
	// EXIF turns pictures as their EXIF data say. It is no matter of the model, which does not record it.
	EXIF bool `json:"exif,omitempty"`

	// Data is where the pictures are: a folder with a folder for each class; a table of paths and labels or captions
	// (.csv, .tsv, .jsonl); or shards of WebDataset (.tar, which may be a pattern).
	Data string `json:"data"`
	// Validation is where those to validate on are. If it is empty, they are a part of Data.
	Validation string `json:"validation,omitempty"`
	// Split is the share of each class of Data that is set aside for that; 0 is none, but where a head is fitted by "lbfgs"
	// and this is not set it is a fifth: its penalty is chosen by them.
	Split float64 `json:"split,omitempty"`

	// LabelSeparator is that of the labels in one field of a .csv or .tsv, where these do not exclude each other; in a .jsonl they
	// are lists. Each class is then learnt by itself, and the score is the mean average precision.
	LabelSeparator string `json:"label_separator,omitempty"`
	// ClassWeights says how much pictures of the classes count, in the loss and in the score: "balanced", by which each class
	// counts as much as another; "CLASS=WEIGHT,...", other classes 1; or a .csv with the columns class and weight. "" is 1 for all.
	// Where labels do not exclude each other, pictures of a class count so in the loss of that class; by "balanced" they count
	// as much there as all others.
	ClassWeights string `json:"class_weights,omitempty"`
	// InitHead begins with a new head, where the model has one that the run would begin with: one of which some classes are
	// learnt here, too.
	InitHead bool `json:"init_head,omitempty"`
	// Objective returns a loss of one's own for the classes of the pictures to train on, in the place of classification; nil is
	// that. It gets logits [B,K] of a classifier.
	Objective func(train *data.Dataset) (finetune.Objective, error) `json:"-"`

	// Captions has captions learnt by a recipe that has a tower learn; the recipe "contrastive" always does. Each is to be
	// told from those of the other pictures of a step.
	Captions bool `json:"captions,omitempty"`
	// Truncate cuts captions that are too long for the text tower. Otherwise they are an error.
	Truncate bool `json:"truncate,omitempty"`
	// Vocab is a list of merges as OpenAI's, a tokenizer.json, or a folder with a tokenizer; "" is the model's, or OpenAI's if it has none.
	Vocab string `json:"vocab,omitempty"`
	// Lock is the tower that does not learn from captions: "images" or "texts"; "" is none.
	Lock string `json:"lock,omitempty"`

	// Teacher is a model directory or checkpoint whose embeddings are learnt in the place of labels, or its tokens of a
	// language model: if it and the model have a projector, or the recipe trains one.
	Teacher string `json:"teacher,omitempty"`
	// Targets is a safetensors file whose vectors are learnt in the place of labels: one tensor [N,E] by the embeddings of N
	// pictures in the order of Data, or [N,G²,W] by a projector of their patches; or tokens, a tensor [T,W] for each
	// picture under its path, by a projector.
	Targets string `json:"targets,omitempty"`
	// Distance is that from Teacher or Targets: "cosine" or "mse"; "" is mse of tokens, cosine of others.
	Distance finetune.Distance `json:"distance,omitempty"`

	// Projector is the type of a new projector where the model has none; "" is the teacher's, or "mlp2x_gelu".
	Projector string `json:"projector,omitempty"`
	// InitProjector begins with a projector and separators as they are before any training, not with the model's.
	InitProjector bool `json:"init_projector,omitempty"`
	// Layout is how a picture becomes the views whose tokens are learnt, a name of projector.Layouts; "" is that of the
	// model's family.
	Layout string `json:"layout,omitempty"`
	// HDNum is the most tiles of a picture; 0 is the layout's.
	HDNum int `json:"hd_num,omitempty"`
	// Layer is that whose patches a projector gets; nil is what the model says, or -2.
	Layer *int `json:"layer,omitempty"`

	// Recipe is the name of a preset of package finetune: "probe", "lora", "last-n", "full"; "contrastive" of captions;
	// "projector" and "xcomposer" with Teacher or Targets.
	Recipe string `json:"recipe"`
	// FixViT and FixSampler freeze the tower, or the projector, of "xcomposer".
	FixViT     bool `json:"fix_vit,omitempty"`
	FixSampler bool `json:"fix_sampler,omitempty"`
	// Solver is that of "probe": "lbfgs", which goes to the optimum of a head for classes and is what "" is for these, see
	// [OpenProbe]; or "adamw", which goes by steps.
	Solver string `json:"solver,omitempty"`

	Overrides Overrides `json:"overrides,omitzero"`  // of the preset
	Augment   Augment   `json:"augment,omitzero"`    // of the pictures that are trained on
	Seed      uint64    `json:"seed,omitempty"`      // of all that is random
	MaxSteps  int       `json:"max_steps,omitempty"` // ends the run before its epochs do; 0 is never
	Patience  int       `json:"patience,omitempty"`  // ends it after so many validations without a better score; 0 is never

	// Sweep is of several runs, one for each combination of these values; see the function [Sweep].
	Sweep []Axis `json:"sweep,omitempty"`

	// Output is the directory for all that is written. It holds one run, or one sweep.
	Output string `json:"output"`
	// Resume goes on from the last checkpoint in Output, if there is one. Without it such an Output is refused. What is to
	// be learnt, and from what, must be what it was. Overrides.Epochs may be another number, by which a run that was stopped or
	// has ended becomes longer or shorter: the rates are those of the new length from there on, and patience begins anew.
	// MaxSteps as many as are made ends a run that was stopped, with a model. Without either it is as long as it was before.
	Resume          bool  `json:"resume,omitempty"`
	CheckpointEvery int   `json:"checkpoint_every,omitempty"` // steps; 0 is an epoch
	ValidateEvery   int   `json:"validate_every,omitempty"`   // steps; 0 is an epoch
	MemoryLimit     int64 `json:"memory_limit,omitempty"`     // bytes; 0 is what the machine has, a negative number any
	// Recompute keeps next to nothing of the blocks for the gradients: slower, and in less memory. It is done in any case
	// where the run would not fit otherwise.
	Recompute bool `json:"recompute,omitempty"`
	// Cache is a directory where what a tower that does not learn gives for a picture is kept from epoch to epoch, and from
	// run to run; "" computes it every time, and of "lbfgs" is a folder in Output.
	Cache string `json:"cache,omitempty"`
	// Strict makes a picture that cannot be read an error. Otherwise it is skipped, counted and named.
	Strict bool `json:"strict,omitempty"`
	// WiseFT is the share of the tuned weights in what is written, from 0 to 1; the rest is of the original ones; nil is 1.
	WiseFT *float64 `json:"wise_ft,omitempty"`
	// DType is the precision of what is written: "f16", "bf16", "f32", or "source", which "" is.
	DType string `json:"dtype,omitempty"`
	// TensorBoard writes event files into the folder tensorboard of Output, too.
	TensorBoard bool `json:"tensorboard,omitempty"`

	// Within is the folder below which all pictures have to lie, those that tables name among them; "" is any. It is absolute, as Data and
	// Validation are then.
	Within string `json:"-"`
	// DryRun puts the run together, and writes nothing.
	DryRun bool `json:"-"`
	// Given says which fields were asked for, by their names in JSON; nil is those that are not zero. It is for flags, which
	// may be given the value that they have anyway. Of a request in JSON it is those that stand there.
	Given func(field string) bool `json:"-"`
}

// UnmarshalJSON reads a request in JSON. A field that there is not is an error: it would do nothing.
func (r *Request) UnmarshalJSON(text []byte) error {
	type plain Request // without this method
	var p plain
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return fmt.Errorf("job: %w", pyjson.Explain(err))
	}
	p.Model, p.DryRun, p.Given, p.Objective = r.Model, r.DryRun, nil, r.Objective
	*r = Request(p)
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	var zeros []string // that stand there with the value that they have anyway
	for name, v := range fields {
		if !r.given(name) && string(v) != "null" {
			zeros = append(zeros, name)
		}
	}
	if set := *r; zeros != nil {
		r.Given = func(field string) bool { return slices.Contains(zeros, field) || set.given(field) }
	}
	return nil
}

// Overrides are what is to be other than in a preset: Epochs: new(3). A nil field changes nothing.
type Overrides struct {
	Epochs     *int `json:"epochs,omitempty"`     // times that every picture is learnt
	Batch      *int `json:"batch,omitempty"`      // images that go through the model together
	Accumulate *int `json:"accumulate,omitempty"` // batches that make a step

	Rate        *float64 `json:"rate,omitempty"`         // of the model's last layers
	HeadRate    *float64 `json:"head_rate,omitempty"`    // of the classifier, or the projector
	TextRate    *float64 `json:"text_rate,omitempty"`    // of the text tower, of captions; 0 locks it
	ScaleRate   *float64 `json:"scale_rate,omitempty"`   // of the scale of the cosines, of captions; 0 leaves it what it is
	WeightDecay *float64 `json:"weight_decay,omitempty"` // of weights; norms, biases and embeddings have none
	LayerDecay  *float64 `json:"layer_decay,omitempty"`  // a layer's rate in terms of the next one's
	EMA         *float64 `json:"ema,omitempty"`          // decay of an average of the weights; 0 is none
	Warmup      *float64 `json:"warmup,omitempty"`       // share of the steps in which the rates rise
	Clip        *float64 `json:"clip,omitempty"`         // largest norm of the gradients; 0 is any
	Smoothing   *float64 `json:"smoothing,omitempty"`    // of the labels

	Blocks  *int     `json:"blocks,omitempty"` // of "last-n": how many learn
	Rank    *int     `json:"rank,omitempty"`   // of "lora"
	Alpha   *float64 `json:"alpha,omitempty"`  // of "lora"
	Targets []string `json:"targets,omitzero"` // of "lora": which products are corrected
}

// Augment says how pictures are varied. The zero value is not at all.
type Augment struct {
	Crop   float64 `json:"crop,omitempty"`   // least share of a picture that is cut out; 0 is the middle square
	Flip   float64 `json:"flip,omitempty"`   // probability to exchange left and right
	Colour float64 `json:"colour,omitempty"` // brightness, contrast and saturation vary by at most this
}

func (a Augment) data() data.Augment {
	d := data.Augment{Flip: a.Flip, Brightness: a.Colour, Contrast: a.Colour, Saturation: a.Colour}
	if a.Crop != 0 {
		d.Area = [2]float64{a.Crop, 1}
	}
	return d
}

// The values of Request.Solver.
const (
	AdamW = "adamw" // of a [Job]
	LBFGS = "lbfgs" // of a [Probe]
)

// Values of Lock and DType.
const (
	lockImages = "images"
	lockTexts  = "texts"

	sourceDType = "source"
)

// Validate returns nil, or a *[RequestError] with everything that is wrong with r by itself, whatever the recipe.
func (r Request) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, bad(format, args...)) }
	for _, f := range []struct{ name, v string }{{"data", r.Data}, {"recipe", r.Recipe}, {"output", r.Output}} {
		if f.v == "" {
			add("no {" + f.name + "}")
		}
	}
	for _, f := range []struct{ name, v string }{{"label_separator", r.LabelSeparator}, {"class_weights", r.ClassWeights}} {
		if f.v == "" && r.given(f.name) {
			add("{" + f.name + "} is empty")
		}
	}
	if !(r.Split >= 0 && r.Split < 1) {
		add("{split} is %v, want 0 to below 1", r.Split)
	}
	if r.Split > 0 && r.Validation != "" {
		add("{split} is %v and {validation} %q, want one of them", r.Split, r.Validation)
	}
	if r.Split == 0 && r.Validation != "" && r.given("split") {
		add("{split} is 0 and {validation} %q, want one of them", r.Validation)
	}
	if r.Teacher != "" && r.Targets != "" {
		add("{teacher} %q and {targets} %q, want one of them", r.Teacher, r.Targets)
	}
	for _, f := range []struct {
		name, v string
		of      []string
	}{
		{"distance", string(r.Distance), []string{string(finetune.CosineDistance), string(finetune.SquareDistance)}},
		{"lock", r.Lock, []string{lockImages, lockTexts}}, {"solver", r.Solver, []string{AdamW, LBFGS}},
		{"dtype", r.DType, []string{sourceDType, "f16", "bf16", "f32"}}, {"layout", r.Layout, layouts()},
	} {
		if f.v != "" && !slices.Contains(f.of, f.v) {
			add("{"+f.name+"} is %.40q, want %s", f.v, strings.Join(f.of, " or "))
		}
	}
	for _, c := range []struct {
		field string
		clipvit.Choice
	}{{"preprocess", clipvit.Choice{Preset: r.Preprocess}}, {"fit", clipvit.Choice{Fit: r.Fit}}} {
		if err := c.Validate(); err != nil {
			add("{"+c.field+"}: %v", err)
		}
	}
	if r.Activation != "" && !r.Activation.Valid() {
		add("{activation} is %.40q, want one of %q", r.Activation, transformer.Activations())
	}
	if r.Projector != "" && (projector.Config{Type: r.Projector}).Layers() < 0 {
		add("{projector} is %.40q, want %s, %s or mlpNx_gelu with N from 1 to 9", r.Projector, projector.Linear, projector.Identity)
	}
	for _, f := range []struct {
		name string
		v    int
	}{{"max_steps", r.MaxSteps}, {"patience", r.Patience}, {"checkpoint_every", r.CheckpointEvery}, {"validate_every", r.ValidateEvery}, {"hd_num", r.HDNum}} {
		if f.v < 0 {
			add("{"+f.name+"} is %d, want 0 or more", f.v)
		}
	}
	if c := r.Augment.Crop; !(c >= 0 && c <= 1) {
		add("{augment.crop} is %v, want 0 to 1", c)
	}
	if f := r.Augment.Flip; !(f >= 0 && f <= 1) {
		add("{augment.flip}: probability of a flip is %v, want 0 to 1", f)
	}
	if c := r.Augment.Colour; !(c >= 0 && c <= math.MaxFloat32) {
		add("{augment.colour} is %v, want 0 or more", c)
	}
	if w := r.WiseFT; w != nil && !(*w >= 0 && *w <= 1) {
		add("{wise_ft} is %v, want 0 to 1", *w)
	}
	for _, f := range []struct{ name, v string }{{"output", r.Output}, {"cache", r.Cache}} {
		if r.Data != "" && f.v != "" && folder.Inside(f.v, r.Data) {
			add("{"+f.name+"} %s lies in the data %s, where it would be taken for a class", f.v, r.Data)
		}
	}
	return join(errs...)
}

// choice is how pictures are prepared for the model.
func (r Request) choice() clipvit.Choice {
	return clipvit.Choice{Preset: r.Preprocess, Fit: r.Fit, EXIF: r.EXIF}
}

// layouts returns the names that a layout may have.
func layouts() (names []string) {
	for _, l := range projector.Layouts {
		names = append(names, l.Name)
	}
	return names
}

// Check returns nil, or what is wrong with r, its recipe and its output, whatever the model and the data.
func (r Request) Check() error {
	if r.Sweep != nil {
		_, _, err := r.Runs()
		return err
	}
	_, err := r.plan()
	return err
}

// A plan is what a request comes to.
type plan struct {
	recipe finetune.Recipe
	lbfgs  bool
}

// plan decides all that can be decided without the model and the data.
func (r Request) plan() (plan, error) {
	if err := r.Validate(); err != nil {
		return plan{}, err
	}
	if r.Sweep != nil {
		return plan{}, bad("{sweep} is of several runs, and this is one")
	}
	if r.Teacher == "" && r.Targets == "" {
		if err := r.withoutEncoder(); err != nil {
			return plan{}, err
		}
	}
	recipe, err := r.recipe()
	if err != nil {
		return plan{}, err
	}
	lbfgs, err := r.ByLBFGS()
	if err != nil {
		return plan{}, err
	}
	if err := cmp.Or(r.idle(recipe, lbfgs), r.unvalidated(lbfgs)); err != nil {
		return plan{}, err
	}
	if recipe.Projector && r.Teacher == "" && r.Targets == "" {
		return plan{}, bad("recipe %s trains a projector: give {targets} or {teacher}", recipe.Name)
	}
	return plan{recipe, lbfgs}, of(ErrRefused, r.checkOutput(lbfgs))
}

// withoutEncoder returns an error if r asks for something of what turns pictures into tokens.
func (r Request) withoutEncoder() error {
	if r.Layout != "" || r.HDNum > 0 || r.InitProjector {
		return bad("{layout}, {hd_num} and {init_projector} are of models with a projector, or the recipe projector, and tokens from {teacher} or {targets}")
	}
	return nil
}

// ByLBFGS says whether it is a [Probe] that fits the head, or a [Job] that trains.
func (r Request) ByLBFGS() (bool, error) {
	preset, err := finetune.FindRecipe(r.Recipe)
	vectors := r.Teacher != "" || r.Targets != "" // are learnt, not classes
	switch {
	case err != nil:
		return false, of(ErrRequest, err)
	case !preset.HeadOnly() && r.Solver != "":
		return false, bad("{solver} is of the recipe probe")
	case r.Objective != nil && r.Solver == LBFGS:
		return false, bad("{solver} lbfgs fits a head for classes by their probabilities, and there is a loss of one's own")
	case r.Objective != nil:
		return false, nil
	case vectors && r.Solver == LBFGS:
		return false, bad("{solver} lbfgs fits a head for classes, and it is what {teacher} or {targets} say that is learnt")
	case !preset.HeadOnly() || vectors || r.Solver == AdamW:
		return false, nil
	case r.Augment != (Augment{}):
		return false, bad("{" + r.augmented() + "}: varied pictures want {solver} adamw: L-BFGS sees each picture once")
	}
	return true, nil
}

// augmented returns the name of a field that varies pictures.
func (r Request) augmented() string {
	switch {
	case r.Augment.Crop != 0:
		return "augment.crop"
	case r.Augment.Flip != 0:
		return "augment.flip"
	}
	return "augment.colour"
}

// recipe returns the preset with what r says otherwise.
func (r Request) recipe() (finetune.Recipe, error) {
	recipe, err := finetune.FindRecipe(r.Recipe)
	if err != nil {
		return recipe, of(ErrRequest, err)
	}
	if r.FixViT || r.FixSampler {
		if !recipe.Projector || recipe.Tower == finetune.None { // with nothing to choose
			return recipe, bad("{fix_vit} and {fix_sampler} are of the recipe xcomposer")
		}
		recipe = finetune.XComposer(r.FixViT, r.FixSampler)
	}
	o := r.Overrides
	set(&recipe.Epochs, o.Epochs)
	set(&recipe.Batch, o.Batch)
	set(&recipe.Accumulate, o.Accumulate)
	set(&recipe.Rate, o.Rate)
	set(&recipe.HeadRate, o.HeadRate)
	set(&recipe.WeightDecay, o.WeightDecay)
	set(&recipe.LayerDecay, o.LayerDecay)
	set(&recipe.EMA, o.EMA)
	set(&recipe.Warmup, o.Warmup)
	set(&recipe.Clip, o.Clip)
	set(&recipe.Smoothing, o.Smoothing)
	set(&recipe.Blocks, o.Blocks)
	set(&recipe.LoRA.Rank, o.Rank)
	set(&recipe.LoRA.Alpha, o.Alpha)
	if o.Targets != nil {
		recipe.LoRA.Targets = o.Targets
	}
	if err := r.captions(&recipe); err != nil {
		return recipe, err
	}
	return recipe, of(ErrRequest, cmp.Or(overridden(recipe.Validate()), recipe.Validate(), r.Augment.data().Validate()))
}

// overridden returns what is wrong with fields of a recipe in the names of the overrides, or nil.
func overridden(err error) error {
	var all []error
	add := func(field, text string) {
		if f, ok := reflect.TypeFor[Overrides]().FieldByName(field); ok {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			all = append(all, bad("{overrides."+name+"}: %s", text))
		}
	}
	var walk func(err error)
	walk = func(err error) {
		switch e := err.(type) { //nolint:errorlint // all of them are wanted
		case *finetune.FieldError:
			add(e.Field, e.Text)
		case *adapter.FieldError:
			add(e.Field, e.Text)
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err)
			}
		}
	}
	walk(err)
	return join(all...)
}

// set sets a field to an override that there is.
func set[T any](field, override *T) {
	if override != nil {
		*field = *override
	}
}

// captions says in a recipe what r says of captions, or what is wrong with that.
func (r Request) captions(recipe *finetune.Recipe) error {
	if recipe.Captions && r.given("captions") {
		return bad("{captions} is of other recipes than contrastive, which learns from captions always")
	}
	if r.Captions && !recipe.Captions {
		if recipe.Tower == finetune.None || recipe.Projector { // heads are what these train
			return bad("{captions} goes with the recipes contrastive, lora, last-n and full")
		}
		recipe.Captions = true
	}
	if !recipe.Captions {
		for _, name := range []string{"vocab", "truncate", "lock", "overrides.text_rate", "overrides.scale_rate"} {
			if r.given(name) {
				return bad("{" + name + "} goes with captions: {recipe} contrastive, or {captions}")
			}
		}
		return nil
	}
	if r.Captions && (r.Teacher != "" || r.Targets != "") {
		return bad("{captions} has captions learnt, so there can be no {teacher} and no {targets}")
	}
	if r.Teacher != "" || r.Targets != "" {
		return bad("captions are learnt, so there can be no {teacher} and no {targets}")
	}
	set(&recipe.TextRate, r.Overrides.TextRate)
	set(&recipe.ScaleRate, r.Overrides.ScaleRate)
	switch r.Lock {
	case lockImages:
		recipe.Tower, recipe.Rate = finetune.None, 0
	case lockTexts:
		recipe.TextRate = 0
	}
	return nil
}

// given reports whether a field was asked for.
func (r Request) given(name string) bool {
	if r.Given != nil {
		return r.Given(name)
	}
	v := reflect.ValueOf(r)
	for part := range strings.SplitSeq(name, ".") {
		i := slices.IndexFunc(reflect.VisibleFields(v.Type()), func(f reflect.StructField) bool {
			tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			return tag == part
		})
		if i < 0 {
			return false
		}
		v = v.Field(i)
	}
	return !v.IsZero()
}

// AdapterFolder is the folder in the output of a run, beside [history.ModelFolder], of a recipe with corrections by LoRA.
const AdapterFolder = "adapter"

// Other folders there.
const (
	tensorBoardFolder = "tensorboard" // see [Request.TensorBoard]
	featuresFolder    = "features"    // the cache of a [Probe]
)

// checkOutput returns an error if the run would overwrite what is not its own.
func (r Request) checkOutput(lbfgs bool) error {
	if r.DryRun {
		return nil
	}
	err := r.checkModel()
	last, e := finetune.LastCheckpoint(r.Output)
	if lbfgs && e == nil && last != "" {
		return fmt.Errorf("job: the checkpoints in %s are %w: choose another directory", r.Output, finetune.ErrOtherRun)
	}
	if lbfgs && r.Resume && errors.Is(err, ErrOverwrite) && probe.HasHead(filepath.Join(r.Output, history.ModelFolder)) {
		return nil // a probe has no checkpoints: its features are what it goes on with
	}
	return err
}

// checkModel returns an error if the run would overwrite what it learns from, or the model of another: if that is not to
// be resumed, or there is no checkpoint that it could be resumed from.
func (r Request) checkModel() error {
	for _, path := range []string{r.Model, r.Teacher} {
		if path != "" && folder.Inside(path, r.Output) {
			return fmt.Errorf("job: %s %w, %s: choose another directory", r.Output, ErrSource, path)
		}
	}
	if _, err := os.Lstat(filepath.Join(r.Output, sweepFile)); err == nil {
		return fmt.Errorf("job: the sweep in %s %w, and this is one run: choose another directory", r.Output, ErrOverwrite)
	}
	model := filepath.Join(r.Output, history.ModelFolder)
	if _, err := os.Lstat(model); err != nil {
		return nil
	}
	last := ""
	if r.Resume {
		var err error
		if last, err = finetune.LastCheckpoint(r.Output); err != nil {
			return err
		}
	}
	if last == "" {
		return fmt.Errorf("job: %s %w: choose another directory, or resume the run that wrote it", model, ErrOverwrite)
	}
	return nil
}
