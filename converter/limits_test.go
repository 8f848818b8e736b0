package converter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/golden"
)

// A hollow is a file of safetensors with a language model of any size, which is nowhere: reading from
// it is an error.
type hollow struct {
	head, tail []byte
	gap        int64 // bytes between them

	mu   sync.Mutex
	read int64 // bytes
}

var errLanguage = errors.New("the language model was read")

func (h *hollow) size() int64 { return int64(len(h.head)) + h.gap + int64(len(h.tail)) }

// ReadAt implements io.ReaderAt.
func (h *hollow) ReadAt(p []byte, off int64) (int, error) {
	h.mu.Lock()
	h.read += int64(len(p))
	h.mu.Unlock()
	if off+int64(len(p)) <= int64(len(h.head)) {
		return copy(p, h.head[off:]), nil
	}
	begin := int64(len(h.head)) + h.gap
	if off < begin {
		return 0, errLanguage
	}
	return bytes.NewReader(h.tail).ReadAt(p, off-begin)
}

// hollowed returns the fixture of a family as a file in which the language model has gap bytes more.
func hollowed(t *testing.T, fixture string, gap int64) *hollow {
	t.Helper()
	all := contents(t, family(t, fixture))
	var (
		entries []checkpoint.Entry
		h       = &hollow{gap: gap}
	)
	half := len(all) / 2
	for i, x := range all {
		if i == half {
			entries = append(entries, checkpoint.Entry{Name: "model.layers.99.feed_forward.w1.weight", DType: F16, Shape: []int{int(gap / 2)}})
		}
		entries = append(entries, checkpoint.Entry{Name: x.name, DType: x.dtype, Shape: x.shape})
		if i < half {
			h.head = append(h.head, x.data...)
		} else {
			h.tail = append(h.tail, x.data...)
		}
	}
	header, err := checkpoint.SafetensorsHeader(map[string]string{"format": "pt"}, entries, 0)
	if err != nil {
		t.Fatal(err)
	}
	h.head = append(header, h.head...)
	return h
}

// TestLanguageModelIsNotRead converts and loads a checkpoint whose language model is as large as a file
// can be: it must be neither read nor held, and nothing but the tower and the projector is.
func TestLanguageModelIsNotRead(t *testing.T) {
	const gap = math.MaxInt / 64 &^ 1 // so that its elements can be counted
	h := hollowed(t, "xcomposer2-hd", gap)
	c, err := OpenReader(h, h.size(), "hollow")
	if err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(t.TempDir(), "out")
	var r *Report
	n := allocated(func() { r, err = c.Convert(t.Context(), dst, Options{}) })
	if err != nil {
		t.Fatal(err)
	}
	// Buffers of some chunks each, whatever the size of the source.
	if limit := uint64(16 << 20); n > limit {
		t.Errorf("%d bytes were allocated, want at most %d", n, limit)
	}
	if r.LanguageModel != 9 || r.SHA256 != "" {
		t.Errorf("report is %+v, want 9 tensors left and no checksum", r)
	}
	if limit := 2 * (h.size() - gap); h.read > limit {
		t.Errorf("%d bytes were read, want at most %d", h.read, limit)
	}
	m, err := c.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Projector(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkFamily(t, golden.Load(t, "testdata/families/xcomposer2-hd.npz"), m, p, -1)
	if _, err := c.Info(t.Context()); !errors.Is(err, errLanguage) {
		t.Errorf("error is %v: the test does not notice that the language model is read", err)
	}
}

// A tap is a file that hears what is read from it.
type tap struct {
	r  io.ReaderAt
	mu sync.Mutex
	at [][2]int64 // from, to
}

// ReadAt implements io.ReaderAt.
func (t *tap) ReadAt(p []byte, off int64) (int, error) {
	t.mu.Lock()
	t.at = append(t.at, [2]int64{off, off + int64(len(p))})
	t.mu.Unlock()
	return t.r.ReadAt(p, off)
}

// TestLanguageModelIsNotReadTorch: the same of an archive of torch.save, whose checksums of what is
// read are verified, and of nothing else.
func TestLanguageModelIsNotReadTorch(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(family(t, "llava-hf-nested"), torchFile))
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(family(t, "llava-hf-nested"), configFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range []string{"", "model.language_model.norm.weight", "model.multi_modal_projector.linear_1.bias", "model.vision_tower.vision_model.pre_layrnorm.weight"} {
		file := &tap{r: bytes.NewReader(raw)}
		// from returns the model of a file with the configuration beside it.
		from := func(r io.ReaderAt) *Model {
			f, err := checkpoint.OpenReader(r, int64(len(raw)), "x.bin")
			if err != nil {
				t.Fatal(err)
			}
			s := newSource(f, nil)
			s.beside.config = config
			m, err := s.model()
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		c := from(file)
		// place returns where the elements of a tensor lie, from where reading them leads.
		place := func(x *checkpoint.Tensor) (off, n int64) {
			before := file.at
			defer func() { file.at = before }()
			file.at = nil
			if _, err := io.Copy(io.Discard, x.Reader()); err != nil {
				t.Fatal(err)
			}
			off, end := file.at[0][0], file.at[0][1]
			for _, r := range file.at {
				off, end = min(off, r[0]), max(end, r[1])
			}
			return off, end - off
		}
		file.at = nil // the directory at the end of so small a file is read with what lies before it
		_, loadErr := c.Vision(t.Context())
		_, projectorErr := c.Projector(t.Context())
		_, convertErr := c.Convert(t.Context(), filepath.Join(t.TempDir(), "out"), Options{})
		read := 0
		for _, x := range c.file.Tensors() {
			off, n := place(x)
			touched := slices.ContainsFunc(file.at, func(r [2]int64) bool { return r[0] < off+n && off < r[1] })
			if language := hfLLaVA.isLanguage(strings.TrimPrefix(x.Name, "model.")); touched == language {
				t.Errorf("%s: read %v, language model %v", x.Name, touched, language)
			}
			if touched {
				read++
			}
		}
		if damaged == "" && read != 59 {
			t.Errorf("%d tensors were read, want 59", read)
		}
		if damaged == "" && (loadErr != nil || projectorErr != nil || convertErr != nil) {
			t.Errorf("errors are %v, %v, %v", loadErr, projectorErr, convertErr)
		}
		if damaged == "" {
			continue
		}
		// Once more, from a file in which the tensor is damaged.
		x, _ := c.file.Tensor(damaged)
		off, _ := place(x)
		spoiled := bytes.Clone(raw)
		spoiled[off] ^= 1
		c = from(bytes.NewReader(spoiled))
		_, loadErr = c.Vision(t.Context())
		_, projectorErr = c.Projector(t.Context())
		_, convertErr = c.Convert(t.Context(), filepath.Join(t.TempDir(), "out"), Options{})
		for what, k := range map[string]struct {
			err  error
			want bool
		}{
			"Load":          {loadErr, strings.Contains(damaged, "vision_tower")},
			"LoadProjector": {projectorErr, strings.Contains(damaged, "projector")},
			"Convert":       {convertErr, !strings.Contains(damaged, "language")},
		} {
			if (k.err != nil) != k.want || k.want && !strings.Contains(k.err.Error(), "is damaged: its CRC-32 is") {
				t.Errorf("%s damaged: %s says %v, want an error: %v", damaged, what, k.err, k.want)
			}
		}
	}
}

// TestSharedStorageIsVerifiedOnce: tensors that share a storage do not have it read again and again.
func TestSharedStorageIsVerifiedOnce(t *testing.T) {
	raw, err := os.ReadFile(tiny(t, "shared_torch1.8.1.pt"))
	if err != nil {
		t.Fatal(err)
	}
	file := &tap{r: bytes.NewReader(raw)}
	c, err := OpenReader(file, int64(len(raw)), "x.pt")
	if err != nil {
		t.Fatal(err)
	}
	file.at = nil
	if _, err := c.Vision(t.Context()); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, r := range file.at {
		total += r[1] - r[0]
	}
	if limit := 2 * int64(len(raw)); total > limit { // once to verify, once for the values
		t.Errorf("%d bytes were read of a file of %d, want at most %d", total, len(raw), limit)
	}
}

// TestIndexes opens directories whose index leads astray.
func TestIndexes(t *testing.T) {
	const index, some = "pytorch_model.bin.index.json", "vision_proj.0.weight"
	for _, c := range []struct {
		name string
		edit func(t *testing.T, dir string, files map[string]any)
		want string // in the error; "" if it loads
	}{
		{"as it is", func(*testing.T, string, map[string]any) {}, ""},
		{"above", func(_ *testing.T, _ string, f map[string]any) { f[some] = "../pytorch_model-00001-of-00002.bin" }, "want a file of the same directory"},
		{"above, in the middle", func(_ *testing.T, _ string, f map[string]any) {
			f[some] = "x/../../pytorch_model-00001-of-00002.bin"
		}, "want a file of the same directory"},
		{"absolute", func(_ *testing.T, _ string, f map[string]any) { f[some] = "/etc/passwd" }, "want a file of the same directory"},
		{"below", func(_ *testing.T, _ string, f map[string]any) { f[some] = "x/y.bin" }, "want a file of the same directory"},
		{"the directory", func(_ *testing.T, _ string, f map[string]any) { f[some] = "." }, "not a file"},
		{"above it", func(_ *testing.T, _ string, f map[string]any) { f[some] = ".." }, "want a file of the same directory"},
		{"nothing", func(_ *testing.T, _ string, f map[string]any) { f[some] = "" }, "want a file of the same directory"},
		{"itself", func(_ *testing.T, _ string, f map[string]any) { f[some] = index }, "the index says"},
		{"a number", func(_ *testing.T, _ string, f map[string]any) { f[some] = 7 }, "cannot unmarshal number"},
		{"a missing file for the tower", func(_ *testing.T, _ string, f map[string]any) { f[some] = "pytorch_model-00003-of-00002.bin" }, "pytorch_model-00003-of-00002.bin"},
		{"a name that cannot be shown", func(_ *testing.T, _ string, f map[string]any) {
			f["model.layers.\x1b[2J"] = "pytorch_model-00003-of-00002.bin"
		}, "cannot be shown"},
		{"a missing file for every tensor of the language model", func(_ *testing.T, _ string, f map[string]any) {
			for i := range 20000 {
				f[fmt.Sprintf("model.layers.0.%d", i)] = fmt.Sprintf("%d.bin", i)
			}
		}, ""},
		{"a device", func(t *testing.T, dir string, f map[string]any) {
			link(t, os.DevNull, filepath.Join(dir, "null.bin"))
			f[some] = "null.bin"
		}, "not a file"},
		{"a directory", func(t *testing.T, dir string, f map[string]any) {
			os.Mkdir(filepath.Join(dir, "a"), 0o777)
			f[some] = "a"
		}, "not a file"},
		{"a loop", func(t *testing.T, dir string, f map[string]any) {
			link(t, "loop.bin", filepath.Join(dir, "loop.bin"))
			f[some] = "loop.bin"
		}, "loop.bin"},
		{"the directory by a link", func(t *testing.T, dir string, f map[string]any) {
			link(t, dir, filepath.Join(dir, "a.bin"))
			f[some] = "a.bin"
		}, "not a file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "x")
			if err := os.CopyFS(dir, os.DirFS(family(t, "xcomposer2-vl"))); err != nil {
				t.Fatal(err)
			}
			v := readJSON(t, filepath.Join(dir, index))
			c.edit(t, dir, v["weight_map"].(map[string]any))
			raw, _ := json.Marshal(v)
			os.WriteFile(filepath.Join(dir, index), raw, 0o666)
			_, err := Load(dir)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
		})
	}
}

// link makes a symbolic link, or skips the test where the system makes none.
func link(t *testing.T, old, new string) {
	t.Helper()
	if err := os.Symlink(old, new); err != nil {
		t.Skip("this system makes no links: ", err)
	}
}

// TestHubCache opens a model where Hugging Face's hub library keeps it: links into a directory of blobs
// that are called by their checksums.
//
// Source: huggingface/huggingface_hub, docs, "Understand caching".
func TestHubCache(t *testing.T) {
	for _, name := range []string{"xcomposer2-vl", "llava-hf", "hf-vision"} {
		root := t.TempDir()
		snapshot, blobs := filepath.Join(root, "snapshots", "0123abcd"), filepath.Join(root, "blobs")
		for _, d := range []string{snapshot, blobs} {
			if err := os.MkdirAll(d, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		entries, err := os.ReadDir(family(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			b, err := os.ReadFile(filepath.Join(family(t, name), e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			blob := fmt.Sprintf("%064x", i)
			os.WriteFile(filepath.Join(blobs, blob), b, 0o666)
			link(t, filepath.Join("..", "..", "blobs", blob), filepath.Join(snapshot, e.Name()))
		}
		m, err := Load(snapshot)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkFamily(t, golden.Load(t, "testdata/families/"+name+".npz"), m, nil, 0)
	}
}

// TestJSON: what programs read has one kind of name.
func TestJSON(t *testing.T) {
	info, err := Inspect(t.Context(), family(t, "xcomposer2-hd"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := convertFile(t.Context(), family(t, "openclip-text"), filepath.Join(t.TempDir(), "out"), Options{VisionOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if !report.TextLeft {
		t.Error("the report does not say that the text tower was left out")
	}
	both, err := Inspect(t.Context(), tiny(t, "huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{info, report, both} {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := json.Unmarshal(raw, &object); err != nil {
			t.Fatal(err)
		}
		delete(object, "dtypes") // whose members are called F16, …
		members(object, func(name string) {
			if name != strings.ToLower(name) {
				t.Errorf("%T: a member is called %s", v, name)
			}
		})
	}
	var back Info
	raw, _ := json.Marshal(both)
	if err := json.Unmarshal(raw, &back); err != nil || *back.Config.Text != *both.Config.Text || back.Config.Vision != both.Config.Vision {
		t.Errorf("%+v becomes %+v: %v", both.Config, back.Config, err)
	}
}

// members calls visit with the names of all members below v.
func members(v any, visit func(name string)) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			visit(name)
			members(v[name], visit)
		}
	case []any:
		for _, e := range v {
			members(e, visit)
		}
	}
}

// TestVisionOnlyWithoutText: what was never there is not reported as left out.
func TestVisionOnlyWithoutText(t *testing.T) {
	r, err := convertFile(t.Context(), tiny(t, "huggingface-vision"), filepath.Join(t.TempDir(), "out"), Options{VisionOnly: true})
	if err != nil || r.TextLeft {
		t.Errorf("report is %+v, %v", r, err)
	}
}

// TestManyNames: recognising a dialect takes a moment, however many names there are.
func TestManyNames(t *testing.T) {
	list := make([]string, 1<<17) // as many as a checkpoint may have
	for i := range list {
		list[i] = fmt.Sprintf("model.model.1.2.3.4.5.layers.%d.x", i)
	}
	if _, _, err := recognise("x", list, func(a, b string) bool { return a == b }); err == nil || !strings.Contains(err.Error(), "none of 131072 tensors") {
		t.Errorf("error is %v", err)
	}
}
