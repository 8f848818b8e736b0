package converter

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/projector"
)

// small and wide are the towers of testdata/gen/families.py.
var (
	small = clipvit.Config{ImageSize: 12, PatchSize: 4, Width: 16, Heads: 2, Layers: 3, MLPWidth: 24, EmbedDim: 10, Activation: transformer.QuickGELU, NormEps: 1e-5}
	wide  = clipvit.Config{ImageSize: 16, PatchSize: 4, Width: 64, Heads: 1, Layers: 2, MLPWidth: 20, Activation: transformer.QuickGELU, NormEps: 1e-5}
)

// like returns a configuration with a change.
func like(c clipvit.Config, edit func(c *clipvit.Config)) clipvit.Config {
	edit(&c)
	return c
}

func bare(c *clipvit.Config) { c.EmbedDim = 0 }
func gelu(c *clipvit.Config) { c.Activation = transformer.GELU }

// rgb is of timm, whose data sets make an image RGB before all else.
func rgb(c *clipvit.Config) { c.Transform.Alpha = clipvit.AlphaDropFirst }

// families are the fixtures, and what must be found in them.
var families = []struct {
	path, dialect string
	vision        clipvit.Config // zero without a tower
	text          bool
	projector     ProjectorConfig // zero without one; SelectLayer is layer
	layer         int
	language      int
	dtypes        string // of what is written
}{
	{path: "openclip-gelu", dialect: "OpenAI", vision: like(small, gelu), text: true, dtypes: "map[F32:78]"},
	{path: "openclip-text", dialect: "OpenCLIP", vision: small, text: true, dtypes: "map[F16:78]"},
	{path: "hf-clip-bin", dialect: "Hugging Face", vision: small, text: true, dtypes: "map[F16:78]"},
	{path: "hf-vision", dialect: "Hugging Face", vision: like(like(small, gelu), bare), dtypes: "map[BF16:55]"},
	{path: "llava-hf", dialect: "Hugging Face LLaVA", vision: like(like(small, gelu), bare), language: 12, dtypes: "map[F16:59]",
		projector: ProjectorConfig{Type: "mlp2x_gelu", In: 16, Out: 12, Family: "llava-1.5", SelectFeature: "patch", ImageSize: 12, Layout: "processor"}, layer: -2},
	{path: "llava-hf-nested", dialect: "Hugging Face LLaVA", vision: like(like(small, gelu), bare), language: 12, dtypes: "map[F16:59]",
		projector: ProjectorConfig{Type: "mlp2x_gelu", In: 16, Out: 12, Family: "llava-1.5", SelectFeature: "patch", ImageSize: 12, Layout: "processor"}, layer: -2},
	{path: "llava", dialect: "LLaVA", vision: wide, language: 6, dtypes: "map[F16:43]",
		projector: ProjectorConfig{Type: "mlp2x_gelu", In: 64, Out: 12, Family: "llava-1.5", SelectFeature: "patch", ImageSize: 16, Layout: "pad"}, layer: -2},
	{path: "llava-projector", dialect: "LLaVA", dtypes: "map[BF16:4]",
		projector: ProjectorConfig{Type: "mlp2x_gelu", In: 16, Out: 12, Family: "llava-1.5", SelectFeature: "patch"}, layer: -2},
	{path: "llava-linear", dialect: "LLaVA", dtypes: "map[F32:2]",
		projector: ProjectorConfig{Type: "linear", In: 16, Out: 12, Family: "llava-1.5", SelectFeature: "patch"}, layer: -2},
	{path: "xcomposer2-vl", dialect: "XComposer", vision: like(wide, func(c *clipvit.Config) { c.NoPostNorm = true }), language: 8, dtypes: "map[F16:41]",
		projector: ProjectorConfig{Type: "mlp2x_gelu", In: 64, Out: 12, Family: "xcomposer2-vl", SelectFeature: "patch", ImageSize: 16}, layer: -1},
	{path: "xcomposer2-hd", dialect: "XComposer", vision: like(wide, func(c *clipvit.Config) { c.NoPostNorm = true }), language: 8, dtypes: "map[BF16:43]",
		projector: ProjectorConfig{Type: "mlp2x_gelu", In: 256, Out: 12, Family: "xcomposer2-hd", SelectFeature: "patch", ImageSize: 16}, layer: -1},
	{path: "xtuner", dialect: "xtuner", vision: like(small, bare), dtypes: "map[F16:59]",
		projector: ProjectorConfig{Type: "mlp2x_gelu", In: 16, Out: 12, Family: "xtuner", SelectFeature: "patch", ImageSize: 12}, layer: -2},
	{path: "xtuner-pth", dialect: "xtuner", language: 2, dtypes: "map[F32:4]",
		projector: ProjectorConfig{Type: "mlp2x_gelu", In: 16, Out: 12, Family: "xtuner", SelectFeature: "patch"}, layer: -2},

	// Of testdata/gen/families_new.py: as the newest libraries save them.
	{path: "hf5-clip", dialect: "Hugging Face", vision: small, text: true, dtypes: "map[F32:78]"},
	{path: "hf5-vision", dialect: "Hugging Face", vision: like(like(small, gelu), bare), dtypes: "map[BF16:55]"},
	{path: "hf5-classifier", dialect: "Hugging Face", vision: like(small, bare), dtypes: "map[F32:55]"},
	{path: "hf5-variant", dialect: "Hugging Face", vision: small, dtypes: "map[F16:56]"},
	{path: "hf5-variant-shards", dialect: "Hugging Face", vision: small, dtypes: "map[F16:56]"},
	{path: "hf5-llava", dialect: "Hugging Face LLaVA", vision: like(small, bare), language: 12, dtypes: "map[F16:59]",
		projector: ProjectorConfig{Type: "mlp2x_gelu", In: 16, Out: 12, Family: "llava-1.5", SelectFeature: "patch", ImageSize: 12, Layout: "processor"}, layer: -2},
	{path: "hf5-llava-next", dialect: "Hugging Face LLaVA", vision: like(small, bare), language: 12, dtypes: "map[F16:60]",
		projector: ProjectorConfig{Type: "mlp2x_gelu", In: 16, Out: 12, Family: "llava-1.6", SelectFeature: "patch", ImageSize: 12, Grids: &[][2]int{{1, 2}, {2, 1}, {2, 2}}}, layer: -2},
	{path: "openclip-pth", dialect: "OpenAI", vision: small, text: true, dtypes: "map[F32:78]"},
	{path: "timm", dialect: "timm", vision: like(small, rgb), dtypes: "map[F32:56]"},
	{path: "timm-classifier", dialect: "timm", vision: like(like(like(small, gelu), bare), rgb), dtypes: "map[F32:55]"},
	{path: "timm-dual", dialect: "OpenAI", vision: small, text: true, dtypes: "map[F32:78]"},
	{path: "st-root", dialect: "Hugging Face", vision: small, text: true, dtypes: "map[F32:78]"},
	{path: "st-folder", dialect: "Hugging Face", vision: small, text: true, dtypes: "map[F32:78]"},
	{path: "longclip-hf", dialect: "Hugging Face", vision: small, text: true, dtypes: "map[F32:78]"},
}

// rulesOf returns the preprocessing of the library whose names the tensors in path have: OpenAI's, or that of transformers,
// on a version of which before 5.21 LLaVA's and XComposer's own code stands, as xtuner's does. Without a file of an image
// processor a tower alone has OpenAI's.
func rulesOf(path, dialect string) clipvit.Transform {
	switch dialect {
	case "Hugging Face":
		found := false
		for _, pattern := range []string{preprocessorFile, processorFile, "0_CLIPModel/" + processorFile} {
			_, err := os.Stat(filepath.Join(path, pattern))
			found = found || err == nil
		}
		if !found {
			return clipvit.Transform{}
		}
		fallthrough
	case "Hugging Face LLaVA":
		return clipvit.Transform{Rounding: clipvit.RoundTransformers, Alpha: clipvit.AlphaWhite}
	case "timm":
		return clipvit.Transform{Alpha: clipvit.AlphaDropFirst}
	case "LLaVA", "XComposer", "xtuner":
		return clipvit.Transform{Rounding: clipvit.RoundTransformers, Alpha: clipvit.AlphaDropFirst}
	}
	return clipvit.Transform{}
}

func family(t testing.TB, name string) string { return golden.Path(t, "testdata/families/"+name) }

// familyTolerance is relative to the largest value; the goldens are PyTorch's float64. Each layer sums
// in another order than PyTorch; see the stages of package clipvit.
const familyTolerance = 2e-6

// TestFamilies: every form of checkpoint, loaded as it is and after a conversion, computes what the
// library computes that it is of: the tokens of every layer, the embedding, and the projection.
func TestFamilies(t *testing.T) {
	for _, f := range families {
		t.Run(f.path, func(t *testing.T) {
			if f.vision != (clipvit.Config{}) {
				f.vision.Transform = rulesOf(family(t, f.path), f.dialect)
			}
			want := golden.Load(t, "testdata/families/"+f.path+".npz")
			dst := filepath.Join(t.TempDir(), "out")
			r, err := convertFile(t.Context(), family(t, f.path), dst, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Dialect != f.dialect || r.Config.Vision != f.vision || (r.Config.Text != nil) != f.text || r.LanguageModel != f.language || fmt.Sprint(r.DTypes) != f.dtypes || r.TextLeft {
				t.Errorf("report is %+v, want %+v", r, f)
			}
			if (r.SHA256 == "") != (f.language > 0) {
				t.Errorf("SHA-256 is %q with %d tensors of a language model", r.SHA256, f.language)
			}
			sameConfig(t, r.Projector, f.projector, f.layer)
			info, err := Inspect(t.Context(), family(t, f.path))
			if err != nil || info.Problem != "" || info.Dialect != f.dialect || info.LanguageModel != f.language || info.Config.Vision != f.vision {
				t.Errorf("info is %+v, %v", info, err)
			}
			sameConfig(t, info.Projector, f.projector, f.layer)

			for _, path := range []string{family(t, f.path), dst} {
				m, err := Load(path)
				if f.vision == (clipvit.Config{}) {
					if err == nil || !strings.Contains(err.Error(), "no vision tower") {
						t.Errorf("%s: error is %v, want that there is no tower", path, err)
					}
				} else if err != nil {
					t.Fatal(err)
				}
				p, err := loadProjector(path)
				if f.projector == (ProjectorConfig{}) {
					if err == nil || !strings.Contains(err.Error(), "no projector") {
						t.Errorf("%s: error is %v, want that there is no projector", path, err)
					}
				} else if err != nil {
					t.Fatal(err)
				}
				t.Logf("largest relative difference from the library: %.1e", checkFamily(t, want, m, p, f.layer))
				checkRest(t, path, path == dst, want)
			}
			// A second conversion has nothing to add.
			again := filepath.Join(t.TempDir(), "again")
			if _, err := convertFile(t.Context(), dst, again, Options{}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{configFile, projectorFile} {
				a, _ := os.ReadFile(filepath.Join(dst, name))
				b, _ := os.ReadFile(filepath.Join(again, name))
				if string(a) != string(b) {
					t.Errorf("%s becomes %s", a, b)
				}
			}
		})
	}
}

func sameConfig(t *testing.T, got *ProjectorConfig, want ProjectorConfig, layer int) {
	t.Helper()
	if want == (ProjectorConfig{}) {
		if got != nil {
			t.Errorf("projector is %+v, want none", got)
		}
		return
	}
	want.SelectLayer = &layer
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		t.Errorf("projector is %s, want %s", g, w)
	}
}

// checkFamily compares what a tower and a projector, nil if there is none, compute, and returns the
// largest difference.
func checkFamily(t *testing.T, want *golden.File, m *clipvit.Model, p *Projector, layer int) (worst float64) {
	t.Helper()
	compare := func(name string, got mat.Tensor, want []float32) {
		t.Helper()
		golden.Compare(t, name, got.Value().Data().F32(), want, familyTolerance)
		if d, err := golden.Diff(got.Value().Data().F32(), want); err == nil {
			worst = max(worst, d.Relative)
		}
	}
	matrix := func(data []float32, rows int) mat.Tensor {
		return mat.NewDense[float32](mat.WithShape(rows, len(data)/rows), mat.WithBacking(slices.Clone(data)))
	}
	if m != nil {
		c := m.Config
		patches := matrix(want.Float32("patches"), want.Shape("patches")[0])
		hidden := want.Float32("hidden_states") // [1+L,B·T,C]
		n := len(hidden) / (1 + c.Layers)
		for i := range 1 + c.Layers {
			x, err := m.Features(patches, i)
			if err != nil {
				t.Fatal(err)
			}
			compare(fmt.Sprintf("layer %d", i), x, hidden[i*n:(i+1)*n])
		}
		if want.Has("embedding") {
			compare("embedding", m.Embedding(patches), want.Float32("embedding"))
		}
		if p != nil && p.Config.In == c.Width {
			x, err := m.Features(patches, *p.Config.SelectLayer)
			if err != nil {
				t.Fatal(err)
			}
			var rows []float32
			for image := range slices.Chunk(x.Value().Data().F32(), c.Tokens()*c.Width) {
				rows = append(rows, image[c.Width:]...)
			}
			compare("projected features", p.Model.Forward(matrix(rows, len(rows)/c.Width)), want.Float32("projected"))
		}
	}
	if p == nil {
		return worst
	}
	if *p.Config.SelectLayer != layer {
		t.Errorf("layer is %d, want %d", *p.Config.SelectLayer, layer)
	}
	in := matrix(want.Float32("projector_in"), want.Shape("projector_in")[0])
	compare("projected", p.Model.Forward(in), want.Float32("projected"))
	for name, got := range map[string][]float32{"plora_glb_GN": p.GlobalSeparator, "plora_sub_GN": p.RowSeparator, "image_newline": p.Newline} {
		switch {
		case want.Has(name):
			golden.Compare(t, name, got, want.Float32(name), 0)
		case got != nil:
			t.Errorf("%s is there", name)
		}
	}
	return worst
}

// checkRest compares what a text tower and a classifier compute, if the library has said it.
func checkRest(t *testing.T, path string, converted bool, want *golden.File) {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if want.Has("text_embedding") {
		tower, err := m.Text(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := tower.Config.Context
		var texts [][]int
		for row := range slices.Chunk(want.Int64("tokens"), n) {
			ids := make([]int, n)
			for i, id := range row {
				ids[i] = int(id)
			}
			texts = append(texts, ids)
		}
		x, err := tower.Forward(texts)
		if err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, "text embedding", x.Value().Data().F32(), want.Float32("text_embedding"), familyTolerance)
	}
	c, err := m.Classifier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if (c != nil) != (want.Has("logits") && !converted) {
		t.Fatalf("%s: the classifier is %+v", path, c)
	}
	if c == nil {
		return
	}
	tower, err := m.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	patches := mat.NewDense[float32](mat.WithShape(want.Shape("patches")...), mat.WithBacking(want.Float32("patches")))
	x, err := c.Features.Of(tower, patches)
	if err != nil {
		t.Fatal(err)
	}
	w := mat.NewDense[float32](mat.WithShape(len(c.Bias), len(c.Weight)/len(c.Bias)), mat.WithBacking(c.Weight))
	logits := slices.Clone(x.Value().(mat.Matrix).Mul(w.T()).Data().F32())
	for i := range logits {
		logits[i] += c.Bias[i%len(c.Bias)]
	}
	golden.Compare(t, "logits", logits, want.Float32("logits"), familyTolerance)
}

// TestConvertedProjector reads the files of a converted family as another program would.
func TestConvertedProjector(t *testing.T) {
	for _, c := range []struct {
		path  string
		files []string
		names []string // in projector.safetensors
	}{
		{"xcomposer2-hd", []string{configFile, weightsFile, preprocessorFile, projectorWeights, projectorFile}, []string{"0.bias", "0.weight", "2.bias", "2.weight", "plora_glb_GN", "plora_sub_GN"}},
		{"llava-projector", []string{projectorWeights, projectorFile}, []string{"0.bias", "0.weight", "2.bias", "2.weight"}},
		{"llava-linear", []string{projectorWeights, projectorFile}, []string{"bias", "weight"}},
	} {
		dst := filepath.Join(t.TempDir(), "out")
		r, err := convertFile(t.Context(), family(t, c.path), dst, Options{})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(c.files)
		if got := slices.Sorted(slices.Values(r.Files)); !slices.Equal(got, c.files) {
			t.Errorf("%s: files are %v, want %v", c.path, got, c.files)
		}
		var names []string
		for _, x := range contents(t, filepath.Join(dst, projectorWeights)) {
			names = append(names, x.name)
		}
		slices.Sort(names)
		if !slices.Equal(names, c.names) {
			t.Errorf("%s: projector.safetensors has %v, want %v", c.path, names, c.names)
		}
		if _, err := convertFile(t.Context(), family(t, c.path), dst, Options{Overwrite: true}); err != nil {
			t.Error(err)
		}
	}
}

// TestNoPostNorm: a tower without post-norm says so in its directory, and without that word its
// absence is an error there.
func TestNoPostNorm(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "out")
	if _, err := convertFile(t.Context(), family(t, "xcomposer2-vl"), dst, Options{}); err != nil {
		t.Fatal(err)
	}
	config := readJSON(t, filepath.Join(dst, configFile))
	if config["no_post_layernorm"] != true {
		t.Errorf("config.json is %v", config)
	}
	delete(config, "no_post_layernorm")
	raw, _ := json.Marshal(config)
	os.WriteFile(filepath.Join(dst, configFile), raw, 0o666)
	var wrong *MismatchError
	if _, err := Load(dst); !errors.As(err, &wrong) || len(wrong.Missing) != 2 || !strings.Contains(wrong.Missing[0], "post_layernorm") {
		t.Errorf("error is %v, want that the post-norm is missing", err)
	}
}

// TestFamilyOf: XComposer's families differ in the size of their input.
func TestFamilyOf(t *testing.T) {
	hd := map[string]bool{"Projector.GlobalSeparator": true, "Projector.RowSeparator": true}
	for _, c := range []struct {
		d     *dialect
		size  int
		extra map[string]bool
		want  string
	}{
		{xComposer, 490, nil, "xcomposer2-vl"}, {xComposer, 224, nil, "xcomposer2-vl"},
		{xComposer, 336, hd, "xcomposer2-4khd"}, {xComposer, 560, hd, "xcomposer2.5"},
		{llava, 336, nil, "llava-1.5"}, {llava, 336, map[string]bool{"Projector.Newline": true}, "llava-1.6"},
		{hfLLaVA, 336, nil, "llava-1.5"}, {xtuner, 336, nil, "xtuner"}, {huggingFace, 336, nil, ""},
	} {
		m := &Model{dialect: c.d, projector: &ProjectorConfig{}, has: inventory{extra: c.extra}}
		m.config.Vision.ImageSize = c.size
		if m.family(); m.projector.Family != c.want {
			t.Errorf("%s of %d pixels, %v: family %q, want %q", c.d.name, c.size, c.extra, m.projector.Family, c.want)
		}
	}
}

// TestWithout: what a dialect has no names for, a model lacks. It needs no such tensors, counts its tokens without a class
// token, and is not written under names that want one. Where one of an optional part is, all of it must be.
func TestWithout(t *testing.T) {
	all := dialects
	defer func() { dialects = all }()
	rename := strings.NewReplacer("vision_model.", "bare.")
	var rows table
	for _, row := range hfVision {
		if !strings.Contains(row.To, "Class") {
			row.From = strings.Replace(rename.Replace(row.From), "{pre_layrnorm,post_layernorm}", "post_layernorm", 1)
			row.To = strings.Replace(row.To, "{Pre,Post}", "Post", 1)
			rows = append(rows, row)
		}
	}
	dialects = append(slices.Clone(all), newDialect("Bare", rows))
	bare := func(keep func(name string) bool) []byte {
		var tensors []named
		for _, x := range contents(t, family(t, "hf-vision")) {
			x.name = rename.Replace(x.name)
			if strings.Contains(x.name, "position_embedding") { // without the class token's
				n := len(x.data) / x.shape[0]
				x.data, x.shape = x.data[n:], []int{x.shape[0] - 1, x.shape[1]}
			}
			if keep(x.name) {
				tensors = append(tensors, x)
			}
		}
		return asSafetensors(t, tensors)
	}
	whole := func(name string) bool {
		return !strings.Contains(name, "class_") && !strings.Contains(name, "pre_layrnorm") && !strings.Contains(name, "position_ids")
	}
	m, err := openBytes(bare(whole))
	if err != nil {
		t.Fatal(err)
	}
	if v := m.config.Vision; !v.NoClassToken || !v.NoPreNorm || v.ImageSize != small.ImageSize {
		t.Errorf("configuration is %+v", v)
	}
	for _, d := range []*dialect{huggingFace, openAI} {
		if err := d.fits(m.sizes, m.has); err == nil || err.Error() != "it lacks Embed.Class" {
			t.Errorf("%s: error is %v, want that it lacks a class token", d.name, err)
		}
	}
	if err := m.dialect.fits(m.sizes, m.has); err != nil {
		t.Error(err)
	}
	var wrong *MismatchError
	if _, err := openBytes(bare(func(name string) bool { return whole(name) && name != "bare.post_layernorm.bias" })); !errors.As(err, &wrong) || !slices.Equal(wrong.Missing, []string{"bare.post_layernorm.bias"}) {
		t.Errorf("error is %v, want that half of the post-norm is missing", err)
	}
}

// edited copies a fixture with a change to a JSON file of it.
func edited(t *testing.T, fixture, file string, edit func(v map[string]any)) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.CopyFS(dir, os.DirFS(family(t, fixture))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.FromSlash(file))
	v := readJSON(t, path)
	edit(v)
	raw, _ := json.Marshal(v)
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestConfigsOfFamilies: what a configuration says that the tensors or this program do not do is an
// error that says so.
func TestConfigsOfFamilies(t *testing.T) {
	sub := func(v map[string]any, path ...string) map[string]any {
		for _, p := range path {
			v = v[p].(map[string]any)
		}
		return v
	}
	const vision, text = "vision_cfg", "text_cfg"
	for _, c := range []struct {
		fixture, file string
		edit          func(v map[string]any)
		want          string // in the error; "" if it loads
	}{
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", vision)["patch_dropout"] = 0.5 }, ""},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", vision)["image_size"] = []int{12, 12} }, ""},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", vision)["timm_model_name"] = nil }, ""},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", vision)["timm_model_name"] = "vit" }, "vision_cfg.timm_model_name is vit, which is not supported"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", vision)["image_size"] = []int{12, 24} }, "[12,24], want a number"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", vision)["pool_type"] = "avg" }, "vision_cfg.pool_type is avg, want tok"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) {
			sub(v, "model_cfg", vision)["act_kwargs"] = map[string]any{"approximate": "tanh"}
		}, "vision_cfg.act_kwargs"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", vision)["no_ln_pre"] = true }, "vision_cfg.no_ln_pre is true"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", vision)["head_width"] = 5 }, "head_width is 5, which does not divide the width 16"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", vision)["layers"] = []int{3, 4, 6, 3} }, "[3,4,6,3], want a number"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", vision)["width"] = 32 }, "vision width is 32, the tensors say 16"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", text)["heads"] = 3 }, "width 16 and 3 heads"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", text)["no_causal_mask"] = true }, "text_cfg.no_causal_mask is true"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg")["multimodal_cfg"] = map[string]any{"width": 8} }, "model_cfg.multimodal_cfg"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "preprocess_cfg")["mean"] = []any{0.5, 0.5, 0.5} }, ""},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "preprocess_cfg")["mean"] = []any{0.5, 0.5} }, "preprocess_cfg.mean is [0.5 0.5], want"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "preprocess_cfg")["resize_mode"] = "squash" }, ""},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "preprocess_cfg")["resize_mode"] = "crop" }, "preprocess_cfg.resize_mode is crop, want shortest"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { delete(sub(v, "model_cfg"), text) }, "no vision_cfg or no text_cfg"},
		{"openclip-gelu", openCLIPConfig, func(v map[string]any) { sub(v, "model_cfg", text)["hf_tokenizer_name"] = "facebook/xlm-v-base" }, "this is MetaCLIP 2 (worldwide)"},
		{"llava-hf", configFile, func(v map[string]any) { v["projector_hidden_act"] = "relu" }, `projector_hidden_act is "relu"`},
		{"llava-hf", configFile, func(v map[string]any) { v["vision_feature_layer"] = []int{-2, -5} }, "vision_feature_layer is [-2,-5], want one layer"},
		{"llava-hf", configFile, func(v map[string]any) { v["vision_feature_select_strategy"] = "none" }, `vision_feature_select_strategy is "none"`},
		{"llava-hf", configFile, func(v map[string]any) { sub(v, "vision_config")["model_type"] = "siglip_vision_model" }, `vision model_type is "siglip_vision_model"`},
		{"llava-hf", configFile, func(v map[string]any) { delete(v, "vision_config") }, "vision hidden_size is 1024, the tensors say 16"},
		{"llava", configFile, func(v map[string]any) { v["mm_projector_type"] = "linear" }, `mm_projector_type is "linear", the tensors say "mlp2x_gelu"`},
		{"llava", configFile, func(v map[string]any) { v["mm_vision_select_layer"] = -4 }, "fed with layer -4, want -3 to 2"},
		{"llava", configFile, func(v map[string]any) { v["mm_hidden_size"] = 65 }, "mm_hidden_size is 65, the tensors say 64"},
		{"llava", configFile, func(v map[string]any) { v["mm_vision_select_feature"] = "all" }, `mm_vision_select_feature is "all"`},
		{"llava", configFile, func(v map[string]any) { v["mm_vision_tower"] = "laion/CLIP-ViT-L-14-laion2B-s32B-b82K" }, ErrActivation.Error()},
		{"llava", configFile, func(v map[string]any) { v["mm_vision_tower"] = "./checkpoints/clip-vit-large-patch14/" }, ""},
		{"xtuner", "projector/config.json", func(v map[string]any) { v["hidden_act"] = "silu" }, `hidden_act is "silu", want "gelu"`},
		{"xtuner", "projector/config.json", func(v map[string]any) { v["llm_hidden_size"] = 13 }, "llm_hidden_size is 13, the tensors say 12"},
		{"xtuner", "visual_encoder/config.json", func(v map[string]any) { v["hidden_size"] = 17 }, "hidden_size is 17, the tensors say 16"},
		{"xcomposer2-vl", configFile, func(v map[string]any) { v["architectures"] = []string{"Qwen2VLForConditionalGeneration"} }, `model_type is "internlm2"`},
	} {
		_, err := Load(edited(t, c.fixture, c.file, c.edit))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error is %v, want %q in it", c.fixture, err, c.want)
		}
	}
}

// TestActivation: embeddings are never computed with a guess.
func TestActivation(t *testing.T) {
	file := filepath.Join(family(t, "openclip-gelu"), "open_clip_model.safetensors")
	alone := tiny(t, "state_torch2.9.1.pt")
	for _, c := range []struct {
		path string
		says transformer.Activation
		want transformer.Activation // "" for ErrActivation
		err  string
	}{
		{alone, "", "", ErrActivation.Error()},
		{alone, transformer.GELU, transformer.GELU, ""},
		{alone, transformer.QuickGELU, transformer.QuickGELU, ""},
		{file, "", transformer.GELU, ""}, // a configuration lies beside it
		{filepath.Dir(file), "", transformer.GELU, ""},
		{filepath.Dir(file), transformer.QuickGELU, "", `the activation is "gelu", and "quick_gelu" was asked for`},
		{tiny(t, "openai_torch1.7.1.pt"), "", transformer.QuickGELU, ""},
		{tiny(t, "openai_torch1.7.1.pt"), transformer.GELU, "", `the activation is "quick_gelu", and "gelu" was asked for`},
	} {
		k, err := Open(c.path, Assume(c.says))
		if err != nil {
			t.Fatal(err)
		}
		m, err := k.Vision(t.Context())
		k.Close()
		switch {
		case c.want != "" && (err != nil || m.Config.Activation != c.want):
			t.Errorf("%s: got %v, %v, want %s", c.path, m, err, c.want)
		case c.want == "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error is %v, want %s", c.path, err, c.err)
		}
	}
	said, err := Open(alone, Assume(transformer.GELU))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	r, err := said.Convert(t.Context(), filepath.Join(t.TempDir(), "out"), Options{})
	if err != nil || r.Config.Vision.Activation != transformer.GELU {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := convertFile(t.Context(), alone, filepath.Join(t.TempDir(), "out"), Options{}); !errors.Is(err, ErrActivation) {
		t.Errorf("error is %v", err)
	}
	info, err := Inspect(t.Context(), alone)
	if err != nil || !strings.Contains(info.Problem, "quick_gelu") || info.Config == nil || info.Config.Vision.Activation != "" {
		t.Errorf("got %+v, %v", info, err)
	}
}

// TestMissingShards: files of the language model alone need not be there; others must.
func TestMissingShards(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	os.CopyFS(dir, os.DirFS(family(t, "xcomposer2-vl")))
	index := readJSON(t, filepath.Join(dir, "pytorch_model.bin.index.json"))
	files := index["weight_map"].(map[string]any)
	for i := range 3 {
		files[fmt.Sprintf("model.layers.%d.attention.wo.weight", i+1)] = "pytorch_model-00003-of-00003.bin"
	}
	raw, _ := json.Marshal(index)
	os.WriteFile(filepath.Join(dir, "pytorch_model.bin.index.json"), raw, 0o666)
	info, err := Inspect(t.Context(), dir)
	if err != nil || info.LanguageModel != 11 || info.Problem != "" {
		t.Fatalf("got %+v, %v, want 11 tensors of the language model", info, err)
	}
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
	os.Remove(filepath.Join(dir, "pytorch_model-00001-of-00002.bin"))
	if _, err := Open(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v, want that a file does not exist", err)
	}
}

// TestXtunerAdapter: a LoRA of the tower is not left out silently.
func TestXtunerAdapter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	os.CopyFS(dir, os.DirFS(family(t, "xtuner")))
	os.Rename(filepath.Join(dir, xtunerTower), filepath.Join(dir, xtunerAdapter))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "merge") {
		t.Errorf("error is %v, want that the LoRA has to be merged", err)
	}
	os.RemoveAll(filepath.Join(dir, xtunerAdapter))
	if p, err := loadProjector(dir); err != nil || p.Config.Family != familyXtuner {
		t.Errorf("got %+v, %v, want the projector alone", p, err)
	}
}

// TestLinearNames: every number of layers has its names in the dialects that have it.
func TestLinearNames(t *testing.T) {
	extra := map[string]bool{}
	for _, c := range []struct {
		d    *dialect
		has  inventory
		want []string
	}{
		{llava, inventory{layers: 1, alone: true, extra: extra}, []string{"model.mm_projector.bias", "model.mm_projector.weight"}},
		{llava, inventory{layers: 1, extra: extra}, []string{"model.mm_projector.0.bias", "model.mm_projector.0.weight"}},
		{huggingFace, inventory{layers: 1, alone: true, extra: extra}, []string{"projector.bias", "projector.weight"}},
		{xtuner, inventory{layers: 1, alone: true, extra: extra}, []string{"projector.model.0.bias", "projector.model.0.weight"}},
		{hfLLaVA, inventory{layers: 3, extra: extra}, []string{"multi_modal_projector.linear_1.bias", "multi_modal_projector.linear_1.weight", "multi_modal_projector.linear_2.bias", "multi_modal_projector.linear_2.weight"}},
	} {
		got := map[string]bool{}
		for _, s := range c.d.slots(sizes{"M": 2, "O": 3}, c.has) {
			got[s.name] = true
		}
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, c.want) {
			t.Errorf("%s: %v, want %v", c.d.name, names, c.want)
		}
	}
	if got := hfLLaVA.lacks(sizes{}, inventory{layers: 3, extra: extra}); !slices.Equal(got, []string{"Projector.Layers.2.W", "Projector.Layers.2.B"}) {
		t.Errorf("lacks %v", got)
	}
	if n := (projector.Config{Type: "mlp4x_gelu"}).Layers(); n != 4 {
		t.Errorf("%d layers", n)
	}
}
