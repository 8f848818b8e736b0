package converter

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pyjson"
)

// libraryKey is a member of preprocessor_config.json beside those of transformers: the name of the preset in
// [clipvit.Presets] whose rules hold, since the form has no place for them. Without it they are those of transformers.
const libraryKey = "vitago_library"

// The presets of the dialects' libraries.
const (
	byOpenAI        = "openai"
	byOpenCLIP      = "open_clip"
	byTransformers  = "transformers"
	byTimm          = "timm"
	byTransformers4 = "transformers-5.20" // what LLaVA's and XComposer's own code is built on
)

// byLibrary returns the transform of a preset, and stops the program if there is none.
func byLibrary(name string) clipvit.Transform {
	p, err := clipvit.FindPreset(name)
	if err != nil {
		panic(err)
	}
	return p.Transform
}

// A processor is a class of transformers that prepares images, by what it does where a file says nothing.
type processor struct {
	filter clipvit.Filter
	mean   [3]float64
	std    [3]float64
	square bool // size is a square, to which images are squashed
	plain  bool // a plain number as size is a square, too
	crop   bool
	pad    bool // do_pad makes a square before all else
	pct    bool // crop_pct says how much is cut off
}

var (
	clipMean, clipStd = clipvit.Transform{}.Resolved().Mean, clipvit.Transform{}.Resolved().Std
	half              = [3]float64{0.5, 0.5, 0.5}
)

// processors are the classes without what says that it is fast or Pillow's. Those that make several views of an image, as
// LlavaNextImageProcessor, are what a layout is; a tower sees an image as the others have it.
//
// Source: huggingface/transformers 5.24.0, models/*/image_processing_pil_*.py and image_processing_backends.py, PilBackend.
var processors = map[string]processor{
	"CLIPImageProcessor":      {filter: clipvit.FilterBicubic, mean: clipMean, std: clipStd, crop: true},
	"BitImageProcessor":       {filter: clipvit.FilterBicubic, mean: clipMean, std: clipStd, crop: true},
	"LlavaImageProcessor":     {filter: clipvit.FilterBicubic, mean: clipMean, std: clipStd, crop: true, pad: true},
	"LlavaNextImageProcessor": {filter: clipvit.FilterBicubic, mean: clipMean, std: clipStd, crop: true},
	"SiglipImageProcessor":    {filter: clipvit.FilterBicubic, mean: half, std: half, square: true},
	"ViTImageProcessor":       {filter: clipvit.FilterBilinear, mean: half, std: half, square: true, plain: true},
	"DeiTImageProcessor":      {filter: clipvit.FilterBicubic, mean: half, std: half, square: true, plain: true, crop: true},
	"ConvNextImageProcessor":  {filter: clipvit.FilterBicubic, mean: half, std: half, pct: true},
}

// A reading is a JSON object of an image processor while it is read, with everything that is wrong with it.
type reading struct {
	object map[string]any
	errs   []error
}

// wrong notes that a member is not as it should be.
func (r *reading) wrong(name, want string) {
	r.errs = append(r.errs, fmt.Errorf("%s is %.80v, want %s", name, r.object[name], want))
}

// flag returns a member that is true, false, null, which is false, or not there.
func (r *reading) flag(name string, otherwise bool) bool {
	raw, there := r.object[name]
	if !there {
		return otherwise
	}
	v, ok := raw.(bool)
	if !ok && raw != nil {
		r.wrong(name, "true or false")
		return otherwise
	}
	return v
}

// pixelCount returns a value that is a whole number of pixels.
func pixelCount(v any) (int, bool) {
	f, ok := v.(float64)
	return int(f), ok && f == math.Trunc(f) && f >= 1 && f <= 1<<14
}

// side returns the number of pixels in a member that is a square: a number, two equal ones, or height and width.
func (r *reading) side(name string, size int) int {
	switch v := r.object[name].(type) {
	case nil:
		return size
	case []any:
		if len(v) == 2 {
			a, ok := pixelCount(v[0])
			if b, okB := pixelCount(v[1]); ok && okB && a == b {
				return a
			}
		}
	case map[string]any:
		a, ok := pixelCount(v["height"])
		if b, okB := pixelCount(v["width"]); ok && okB && a == b && onlyMembers(v, "height", "width") {
			return a
		}
	default:
		if n, ok := pixelCount(v); ok {
			return n
		}
	}
	r.wrong(name, fmt.Sprintf("%d, a square", size))
	return size
}

// onlyMembers says whether an object has no members but the given ones and null.
func onlyMembers(object map[string]any, names ...string) bool {
	for name, v := range object {
		if v != nil && !slices.Contains(names, name) {
			return false
		}
	}
	return true
}

// triple returns a member of three numbers, or of one for all.
func (r *reading) triple(name string, otherwise [3]float64) (t [3]float64) {
	v := r.object[name]
	if n, ok := v.(float64); ok {
		v = []any{n, n, n}
	}
	values, ok := v.([]any)
	if v == nil {
		return otherwise
	}
	if ok = ok && len(values) == len(t); ok {
		for i, v := range values {
			n, number := v.(float64)
			ok = ok && number && !math.IsNaN(n) && !math.IsInf(n, 0)
			t[i] = n
		}
	}
	if !ok {
		r.wrong(name, fmt.Sprint(otherwise))
		return otherwise
	}
	if equalJSON(v, channels(otherwise)) {
		return otherwise // but for rounding
	}
	return t
}

// className returns the name of a class without what is only a way to compute the same, and as it is named today.
func className(name string) string {
	name = strings.TrimSuffix(strings.TrimSuffix(name, "Fast"), "Pil")
	if base, ok := strings.CutSuffix(name, "FeatureExtractor"); ok {
		return base + "ImageProcessor"
	}
	return name
}

// readPreprocessor returns the transform that the JSON object of an image processor of transformers asks for, in a
// preprocessor_config.json or within a processor_config.json, by the rules of the given preset unless it names its own; the
// name of the preset; and an error with everything in it that cannot be done, or not for a tower c. What it leaves out
// is as in its class, with the tower's size; null is, too, but for what is true or false.
//
// Source: huggingface/transformers 5.24.0, image_processing_backends.py and image_processing_utils.py.
func readPreprocessor(object map[string]any, c clipvit.Config, library string) (clipvit.Transform, string, error) {
	r := &reading{object: object}
	size := c.ImageSize
	class := "CLIPImageProcessor"
	for _, name := range []string{"feature_extractor_type", "image_processor_type"} { // the latter decides
		switch v := object[name].(type) {
		case nil:
		case string:
			class = className(v)
			if _, ok := processors[class]; !ok {
				r.wrong(name, strings.Join(slices.Sorted(maps.Keys(processors)), ", "))
			}
		default:
			r.wrong(name, "a text")
		}
	}
	p, ok := processors[class]
	if !ok {
		p = processors["CLIPImageProcessor"]
	}
	switch v := object[libraryKey].(type) {
	case nil:
	case string:
		if _, err := clipvit.FindPreset(v); err != nil {
			r.errs = append(r.errs, fmt.Errorf("%s: %w", libraryKey, err))
		} else {
			library = v
		}
	default:
		r.wrong(libraryKey, "a text")
	}
	t := byLibrary(library)
	t.Filter = p.filter
	if v := object["resample"]; v != nil {
		number, _ := v.(float64)
		filter, known := pillowFilters[number]
		if _, ok := v.(float64); !ok || !known {
			r.wrong("resample", fmt.Sprintf("%v, or another number of Pillow's from 0 to 5", pillowFilter(p.filter)))
		} else {
			t.Filter = filter
		}
	}
	t.Mean, t.Std = r.triple("image_mean", p.mean), r.triple("image_std", p.std)
	if !r.flag("do_normalize", true) {
		t.Mean, t.Std = [3]float64{}, [3]float64{1, 1, 1}
	}
	r.fit(&t, p, size)
	for _, name := range []string{"do_resize", "do_rescale"} {
		if !r.flag(name, true) {
			r.wrong(name, "true")
		}
	}
	if object["do_convert_rgb"] != nil && !r.flag("do_convert_rgb", true) { // null changes no picture that the class takes
		r.wrong("do_convert_rgb", "true")
	}
	if v := object["rescale_factor"]; v != nil && !equalJSON(v, 1.0/255) {
		r.wrong("rescale_factor", fmt.Sprint(1.0/255))
	}
	if v := object["data_format"]; v != nil && v != "channels_first" {
		r.wrong("data_format", "channels_first")
	}
	if v := object["auto_map"]; v != nil {
		if m, ok := v.(map[string]any); !ok || m["AutoImageProcessor"] != nil {
			r.wrong("auto_map", "none: what code of its own does is not known")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if strings.HasPrefix(name, "do_") && !slices.Contains(flags, name) && object[name] != nil && object[name] != false {
			r.wrong(name, "false: it is not supported")
		}
	}
	t = t.Canonical()
	if r.errs == nil {
		if err := t.Validate(); err != nil {
			r.errs = append(r.errs, err)
		}
	}
	return t, library, errors.Join(r.errs...)
}

// flags are the members whose names begin with do_ that are understood.
var flags = []string{"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_pad"}

// fit reads what is said of sizes, and sets what follows of t.
func (r *reading) fit(t *clipvit.Transform, p processor, size int) {
	name := "size"
	square, n := p.square, size
	switch v := r.object["size"].(type) {
	case nil:
	case map[string]any:
		edge, ok := pixelCount(v["shortest_edge"])
		switch {
		case ok && onlyMembers(v, "shortest_edge"):
			square, n = false, edge
		case v["height"] != nil && v["width"] != nil:
			square, n = true, r.side("size", size)
		default:
			r.wrong("size", fmt.Sprintf("%d, as shortest_edge or as height and width", size))
			return
		}
	default:
		if _, number := v.(float64); number {
			square = r.flag("default_to_square", p.plain)
		} else {
			square = true
		}
		n = r.side("size", size)
	}
	if r.flag("use_square_size", false) {
		square = true
	}
	crop := r.flag("do_center_crop", p.crop)
	var cut int
	switch {
	case p.pct && !square:
		pct, _ := r.object["crop_pct"].(float64)
		if r.object["crop_pct"] == nil {
			pct = 224. / 256
		}
		if !(pct > 0 && pct <= 1) {
			r.wrong("crop_pct", "more than 0, at most 1")
			return
		}
		if cut = n; n >= 384 {
			square = true // there it squashes
		} else {
			n = int(float64(n) / pct)
		}
		name = "size"
	case crop:
		name, cut = "crop_size", r.side("crop_size", size)
	case square:
		cut = n
	default:
		r.errs = append(r.errs, fmt.Errorf("do_center_crop is %v, want true, or a size with height and width in the place of %v: a tower needs a square", crop, r.object["size"]))
		return
	}
	if cut != size {
		r.wrong(name, fmt.Sprintf("%d, the tower's", size))
		return
	}
	if n < size {
		r.wrong("size", fmt.Sprintf("%d, the tower's, or more", size))
		return
	}
	if n > size {
		t.Resize = n
	}
	if square {
		t.Fit = clipvit.FitSquash
	}
	if r.flag("do_pad", false) {
		switch {
		case p.pad:
			t.Fit = clipvit.FitPad
			t.Fill = t.MeanColour()
		case r.side("pad_size", size) != size:
			r.wrong("pad_size", fmt.Sprintf("%d, the tower's", size))
		}
	}
}

// preprocessorJSON returns what preprocessor_config.json says for a tower of configuration c that came from a library, and
// an error if it has no place for what is done.
//
// Source: huggingface/transformers 5.24.0, models/clip/image_processing_clip.py, CLIPImageProcessor; models/llava/
// image_processing_llava.py, LlavaImageProcessor.
func preprocessorJSON(c clipvit.Config, library string) (map[string]any, error) {
	t := c.Transform.Resolved()
	t.EXIF = false // is of how files are read
	size := max(t.Resize, c.ImageSize)
	square := func(n int) map[string]int { return map[string]int{"height": n, "width": n} }
	v := map[string]any{
		"image_processor_type": "CLIPImageProcessor", "feature_extractor_type": "CLIPFeatureExtractor",
		"do_resize": true, "size": map[string]int{"shortest_edge": size}, "resample": pillowFilter(t.Filter),
		"do_center_crop": true, "crop_size": square(c.ImageSize),
		"do_convert_rgb": true, "do_rescale": true, "rescale_factor": 1.0 / 255,
		"do_normalize": true, "image_mean": t.Mean, "image_std": t.Std,
	}
	switch t.Fit {
	case clipvit.FitSquash:
		v["size"], v["do_center_crop"] = square(size), size > c.ImageSize
	case clipvit.FitPad:
		if t.Fill != t.MeanColour() {
			return nil, fmt.Errorf("images become square by %s with colour %v, and transformers has that with the mean colour %v only", t.Fit, t.Fill, t.MeanColour())
		}
		delete(v, "feature_extractor_type")
		v["image_processor_type"], v["do_pad"] = "LlavaImageProcessor", true
	case clipvit.FitLongest:
		return nil, fmt.Errorf("images become square by %[1]s (resize_mode \"%[1]s\" of OpenCLIP, crop_mode \"border\" of timm), and transformers has no image processor that does it: use the model as it is", t.Fit)
	}
	follows := func(p clipvit.Preset) bool { return t.Follows(p) }
	if i := slices.IndexFunc(clipvit.Presets, func(p clipvit.Preset) bool { return p.Name == library && follows(p) }); i >= 0 {
		v[libraryKey] = library
		return v, nil
	}
	i := slices.IndexFunc(clipvit.Presets, follows)
	if i < 0 {
		return nil, fmt.Errorf("rounding %s with alpha %s is no library's, and the form names libraries", t.Rounding, t.Alpha)
	}
	v[libraryKey] = clipvit.Presets[i].Name
	return v, nil
}

// A stated transform is what a file says, and the rules by which.
type stated struct {
	file    string // path
	t       clipvit.Transform
	library string
}

// contradiction returns an error if two files say different things of the same model. Whose rules hold is no matter of
// the model's.
func contradiction(a, b stated) error {
	p, err := clipvit.FindPreset(a.library)
	if err != nil || a.t.Canonical() == b.t.Follow(p).Canonical() {
		return nil
	}
	x, y := reflect.ValueOf(a.t.Resolved()), reflect.ValueOf(b.t.Follow(p).Resolved())
	var differ []string
	for i := range x.NumField() {
		if l, r := x.Field(i).Interface(), y.Field(i).Interface(); l != r {
			differ = append(differ, fmt.Sprintf("%s %v and %v", strings.ToLower(x.Type().Field(i).Name), l, r))
		}
	}
	return fmt.Errorf("converter: %s and %s contradict each other: %s", a.file, b.file, strings.Join(differ, ", "))
}

// readTransform finds how images are prepared for the tower: as the files say that lie beside the tensors, by the rules of
// the library whose names these have. Files that contradict each other are an error.
//
// Source: huggingface/transformers 5.24.0, image_processing_base.py, get_image_processor_dict.
func (m *Model) readTransform() error {
	v := &m.config.Vision
	m.library = cmp.Or(m.dialect.library, byTransformers)
	own := v.Transform // of open_clip_config.json or timm's config.json, which have been read
	var said []stated
	if m.native() && m.beside.openCLIP != nil {
		m.library = byOpenCLIP
		said = append(said, stated{filepath.Join(m.name, openCLIPConfig), own, m.library})
	} else {
		v.Transform = own.Follow(clipvit.Preset{Transform: byLibrary(m.library)}).Canonical()
	}
	for _, f := range []struct {
		name   string
		raw    []byte
		nested bool
	}{{processorFile, m.beside.processor, true}, {preprocessorFile, m.beside.preprocessor, false}} {
		if f.raw == nil {
			continue
		}
		path := filepath.Join(m.name, f.name)
		object, err := readObject(f.raw, path)
		if err != nil {
			return err
		}
		if f.nested {
			inner, ok := object["image_processor"]
			if !ok {
				continue // it says other things, or is of before 5.0
			}
			if object, ok = inner.(map[string]any); !ok {
				return fmt.Errorf("converter: %s: image_processor is %.40v, want an object", path, inner)
			}
		}
		t, library, err := readPreprocessor(object, *v, m.library)
		if err != nil {
			return fmt.Errorf("converter: %s is not preprocessing that can be done: %w", path, err)
		}
		said = append(said, stated{path, t, library})
	}
	if !m.native() && m.beside.openCLIP != nil {
		s, err := m.openCLIPBeside()
		if err != nil {
			return err
		}
		if s != nil {
			said = append(said, *s)
		}
	}
	for i := range said {
		if i > 0 {
			if err := contradiction(said[0], said[i]); err != nil {
				return err
			}
		}
	}
	switch {
	case said != nil:
		v.Transform, m.library = said[0].t, said[0].library
	case m.dialect.library == "" && m.dialect.language == nil: // transformers itself prepares no image without a file
		v.Transform, m.library = own, byOpenAI
	}
	if err := m.choice.Validate(); err != nil {
		return err
	}
	if t := m.transform; t != nil {
		size := v.ImageSize
		switch err := t.Validate(); {
		case err != nil:
			return fmt.Errorf("converter: %s: %w", m.name, err)
		case m.choice != (clipvit.Choice{}):
			return fmt.Errorf("converter: %s: a whole transform was declared, and %+v beside it: want one of them", m.name, m.choice)
		case t.Resize > 0 && t.Resize < size:
			return fmt.Errorf("converter: %s: a transform was declared that makes images of %d pixels, and the tower takes %d", m.name, t.Resize, size)
		}
		v.Transform = t.Canonical()
		return nil
	}
	c := m.choice
	if c.Fit != "" { // of a square nothing is cut off, so that its transform does not say how
		c.Preset = cmp.Or(c.Preset, m.library)
	}
	v.Transform, m.library = c.Apply(v.Transform), cmp.Or(c.Preset, m.library)
	return nil
}

// openCLIPBeside returns what an open_clip_config.json says that lies beside tensors of another form of the same model, as in
// apple/DFN5B-CLIP-ViT-H-14-378; nil if it says nothing of images.
func (m *Model) openCLIPBeside() (*stated, error) {
	path := filepath.Join(m.name, openCLIPConfig)
	object, err := readObject(m.beside.openCLIP, path)
	if err != nil {
		return nil, err
	}
	cfg, ok := object["preprocess_cfg"].(map[string]any)
	if !ok {
		return nil, nil
	}
	t, errs := readPreprocess(cfg, m.config.Vision)
	if errs != nil {
		return nil, fmt.Errorf("converter: %s: %w", path, errors.Join(errs...))
	}
	return &stated{path, t, byOpenCLIP}, nil
}

// readObject returns a JSON object that a file holds.
func readObject(raw []byte, path string) (map[string]any, error) {
	var object map[string]any
	if err := pyjson.Unmarshal(raw, &object); err != nil {
		what := "not JSON"
		if errors.As(err, new(*json.UnmarshalTypeError)) {
			what = "no JSON object"
		}
		return nil, fmt.Errorf("converter: %s is %s: %w", path, what, err)
	}
	return object, nil
}

// A field is a member of a JSON object, with all the values it may have. Numbers are float64.
type field struct {
	name string
	want []any
}

// possible returns t or, if it cannot be computed, what can, so that errors say what would be right.
func possible(t clipvit.Transform) clipvit.Transform {
	if t.Validate() != nil {
		return clipvit.Transform{}
	}
	return t
}

// pillowFilters are Pillow's numbers of the filters, as JSON has them.
//
// Source: python-pillow/Pillow, src/PIL/Image.py, class Resampling.
var pillowFilters = map[float64]clipvit.Filter{
	0.0: clipvit.FilterNearest, 1.0: clipvit.FilterLanczos, 2.0: clipvit.FilterBilinear,
	3.0: clipvit.FilterBicubic, 4.0: clipvit.FilterBox, 5.0: clipvit.FilterHamming,
}

// pillowFilter returns Pillow's number of a filter that can be computed.
func pillowFilter(f clipvit.Filter) any {
	for n, name := range pillowFilters {
		if name == f {
			return n
		}
	}
	return nil
}

// withChannels returns t with the mean and deviation of a JSON file, each if it is three numbers and other than
// OpenAI's, but for rounding.
func withChannels(t clipvit.Transform, mean, std any) clipvit.Transform {
	t = t.Resolved()
	for _, c := range []struct {
		from any
		to   *[3]float64
	}{{mean, &t.Mean}, {std, &t.Std}} {
		values, _ := c.from.([]any)
		if len(values) != len(c.to) || equalJSON(c.from, channels(*c.to)) {
			continue
		}
		for i, v := range values {
			if v, ok := v.(float64); ok {
				c.to[i] = v
			}
		}
	}
	return t.Canonical()
}

// channels returns a value for each channel as JSON has them.
func channels(c [3]float64) any { return []any{c[0], c[1], c[2]} }

// equalJSON says whether two values of a JSON file are equal, numbers but for the rounding of float32.
func equalJSON(got, want any) bool {
	switch want := want.(type) {
	case float64:
		got, ok := got.(float64)
		return ok && math.Abs(got-want) <= 1e-6*math.Abs(want)
	case []any:
		got, ok := got.([]any)
		ok = ok && len(got) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = equalJSON(got[i], want[i])
		}
		return ok
	case map[string]any:
		got, ok := got.(map[string]any)
		for name, v := range got {
			ok = ok && (v == nil || equalJSON(v, want[name])) // a name that is not wanted is not nil
		}
		for name := range want {
			ok = ok && got[name] != nil
		}
		return ok
	}
	return got == want // bool, string, or nil where nothing is wanted
}
