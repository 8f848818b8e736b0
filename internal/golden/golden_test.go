package golden

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recorder takes the place of a test, to see whether a helper fails it.
type recorder struct {
	testing.TB
	message string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
}
func (r *recorder) Skipf(format string, args ...any) { r.Fatalf(format, args...) }
func (r *recorder) Fatalf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
	panic(r)
}

func TestCompare(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	negZero := float32(math.Copysign(0, -1))
	for _, c := range []struct {
		name      string
		got, want []float32
		tol       float64
		ok        bool
	}{
		{"equal", []float32{1, 2}, []float32{1, 2}, 0, true},
		{"signs of zero", []float32{0}, []float32{negZero}, 0, true},
		{"within", []float32{1, 100.5}, []float32{1, 100}, 0.006, true},
		{"relative to the largest", []float32{1.5, 100}, []float32{1, 100}, 0.006, true},
		{"beyond", []float32{1, 101}, []float32{1, 100}, 0.006, false},
		{"negative", []float32{-101}, []float32{-100}, 0.006, false},
		{"want zero", []float32{1e-3}, []float32{0}, 1e-4, false},
		{"nan both", []float32{nan, 1}, []float32{nan, 1}, 0, true},
		{"got nan", []float32{nan, 1}, []float32{2, 1}, 1e9, false},
		{"want nan", []float32{2, 1}, []float32{nan, 1}, 1e9, false},
		{"inf both", []float32{inf, 1}, []float32{inf, 1}, 0, true},
		{"other inf", []float32{-inf, 1}, []float32{inf, 1}, 1e9, false},
		{"got inf", []float32{inf, 1}, []float32{1, 1}, 1e9, false},
		{"finite beside inf", []float32{inf, 2}, []float32{inf, 1}, 0.5, false},
		{"lengths", []float32{1}, []float32{1, 2}, 1e9, false},
		{"empty", nil, nil, 1e9, false},
	} {
		r := &recorder{}
		if ok := Compare(r, c.name, c.got, c.want, c.tol); ok != c.ok || ok != (r.message == "") {
			t.Errorf("%s: got %v (%q), want %v", c.name, ok, r.message, c.ok)
		}
		if !c.ok && !strings.HasPrefix(r.message, c.name+": ") {
			t.Errorf("%s: message %q does not begin with the name", c.name, r.message)
		}
	}
}

func TestDiff(t *testing.T) {
	d, err := Diff([]float32{3, 4, 0}, []float32{3, 0, 4})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Difference{Relative: 1, Index: 1, Got: 4, Want: 0, Cosine: 0.36}); math.Abs(d.Cosine-want.Cosine) > 1e-12 {
		t.Errorf("got %v, want %v", d, want)
	} else if d.Cosine = want.Cosine; d != want {
		t.Errorf("got %v, want %v", d, want)
	}
}

// TestLoad reads what numpy wrote: names, shapes, values and every dtype.
func TestLoad(t *testing.T) {
	f := Load(t, "testdata/tiny/clip_expected.npz")
	if got := f.Shape("pixels"); !slices.Equal(got, []int{3, 3, 24, 24}) {
		t.Errorf("pixels: shape %v, want [3 3 24 24]", got)
	}
	if got := f.Shape("state/logit_scale"); len(got) != 0 {
		t.Errorf("a scalar's shape is %v, want none", got)
	}
	// openai/CLIP, clip/model.py: the temperature begins at ln(1/0.07)
	if got := f.Float32("state/logit_scale"); len(got) != 1 || got[0] != float32(math.Log(1/0.07)) {
		t.Errorf("logit_scale %v, want [2.6592]", got)
	}
	if got := f.Int64("state/input_resolution"); !slices.Equal(got, []int64{24}) {
		t.Errorf("input_resolution %v, want [24]", got)
	}
	if f.Has("nothing") || !f.Has("embedding_openai") || !slices.Contains(f.Names(), "text") {
		t.Errorf("names are %q", f.Names())
	}
	Compare(t, "transformers against OpenAI's code", f.Float32("embedding_transformers"), f.Float32("embedding_openai"), 2e-6)
	if got := Load(t, "testdata/demo/expected.npz").Uint8("pixels/gradient.png"); len(got) != 64*64*3 {
		t.Errorf("%d pixel values, want %d", len(got), 64*64*3)
	}
}

// TestPatches holds the layout of patches to its definition: row (b,gy,gx), column (channel,y,x).
func TestPatches(t *testing.T) {
	for _, name := range []string{"quickgelu", "gelu"} {
		f := Load(t, "testdata/tiny/stages_"+name+".npz")
		text, err := os.ReadFile(Path(t, "testdata/tiny/stages_"+name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			ImageSize int `json:"image_size"`
			PatchSize int `json:"patch_size"`
			Batch     int
		}
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		s, p := c.ImageSize, c.PatchSize
		g := s / p
		pixels, patches := f.Float32("pixels"), f.Float32("patches")
		if len(pixels) != c.Batch*3*s*s || len(patches) != len(pixels) {
			t.Fatalf("%s: got %d pixel and %d patch values, want %d", name, len(pixels), len(patches), c.Batch*3*s*s)
		}
		for i, v := range pixels { // [B,3,S,S]
			x, y, ch, b := i%s, i/s%s, i/(s*s)%3, i/(3*s*s)
			row, col := (b*g+y/p)*g+x/p, (ch*p+y%p)*p+x%p
			if got := patches[row*3*p*p+col]; got != v {
				t.Fatalf("%s: patches[%d,%d] is %v, want %v", name, row, col, got, v)
			}
		}
	}
}

func TestSharedData(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(SharedEnv, dir)
	want := filepath.Join(dir, "images", "a.png")
	if err := os.Mkdir(filepath.Dir(want), 0o777); err != nil {
		t.Fatal(err)
	}
	if got := fatal(func(tb testing.TB) { SharedData(tb, "images/a.png") }); !strings.Contains(got, SharedEnv) {
		t.Errorf("an absent file: got %q, want a skip that names %s", got, SharedEnv)
	}
	if err := os.WriteFile(want, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := SharedData(t, "images/a.png"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoadFails(t *testing.T) {
	npy := func(head string, data string) string {
		return "\x93NUMPY\x01\x00" + string([]byte{byte(len(head)), byte(len(head) >> 8)}) + head + data
	}
	for _, c := range []struct{ name, record, content, want string }{
		{"not npy", "a.txt", "", "not a .npy"},
		{"empty", "a.npy", "", "EOF"},
		{"magic", "a.npy", "\x93NUMPX\x01\x00\x00\x00", "magic"},
		{"version 2", "a.npy", "\x93NUMPY\x02\x00\x00\x00", "version"},
		{"Fortran order", "a.npy", npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }\n", "1234"), "C order"},
		{"dtype", "a.npy", npy("{'descr': '<f2', 'fortran_order': False, 'shape': (1,), }\n", "12"), "dtype"},
		{"short", "a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", "1234"), "2 values"},
	} {
		path := filepath.Join(t.TempDir(), "x.npz")
		w, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		z := zip.NewWriter(w)
		r, err := z.Create(c.record)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(r, c.content)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := fatal(func(tb testing.TB) { LoadFile(tb, path) }); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want it to contain %q", c.name, got, c.want)
		}
	}
	if got := fatal(func(tb testing.TB) { LoadFile(tb, filepath.Join(t.TempDir(), "absent.npz")) }); got == "" {
		t.Error("a file that is absent loads")
	}
	f := Load(t, "testdata/tiny/clip_expected.npz")
	for name, use := range map[string]func(){
		"absent":      func() { f.Float32("nothing") },
		"other dtype": func() { f.Float32("text") },
	} {
		if got := fatal(func(tb testing.TB) { f.t = tb; use() }); !strings.HasPrefix(got, "golden: ") {
			t.Errorf("%s: got %q, want a failure", name, got)
		}
	}
}

// fatal returns what f reports as fatal, if anything.
func fatal(f func(testing.TB)) (message string) {
	r := &recorder{}
	defer func() {
		if p := recover(); p != nil && p != any(r) {
			panic(p)
		}
		message = r.message
	}()
	f(r)
	return
}
