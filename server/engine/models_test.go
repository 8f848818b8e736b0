package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/golden"
)

// A diary has what was loaded and let go, in order.
type diary struct {
	mu  sync.Mutex
	all []string
}

func (d *diary) hooks() Hooks {
	write := func(s string) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.all = append(d.all, s)
	}
	return Hooks{
		Load: func(m string, _ time.Duration, err error) {
			if err != nil {
				m += "!"
			}
			write("+" + m)
		},
		Unload: func(m string) { write("-" + m) },
	}
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}

// text is a small request.
func text(t testing.TB, e *Engine, model string) *Embeddings {
	t.Helper()
	got, err := e.Embed(t.Context(), EmbedRequest{Model: model, Items: []Item{{Text: "a red circle"}}})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestLoadOnce: however many ask for a model at once, it is loaded once, and found by all of its names.
func TestLoadOnce(t *testing.T) {
	var d diary
	e := start(t, Config{Models: []Model{{Name: "demo", Path: demo.Name, Aliases: []string{"text-embedding-3-small", "ViT-B-32__openai"}}}, Hooks: d.hooks()})
	if e.Models()[0].Loaded || e.Stats().Loaded != 0 {
		t.Error("it is loaded before anyone asks")
	}
	var clients sync.WaitGroup
	for i := range 32 {
		clients.Go(func() {
			name := []string{"", "demo", "text-embedding-3-small", "ViT-B-32__openai"}[i%4]
			if got, err := e.Embed(context.Background(), EmbedRequest{Model: name, Items: []Item{{Text: "a red circle"}}}); err != nil || got.Model != "demo" {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	clients.Wait()
	if got := d.read(); !slices.Equal(got, []string{"+demo"}) {
		t.Errorf("%v, want that it was loaded once", got)
	}
	if s := e.Stats(); s.Loaded != 1 || s.LoadedBytes < 1<<20 || s.Models[0].Name != "demo" || !e.Models()[0].Loaded {
		t.Errorf("%+v, want that it is loaded", s)
	}
}

// TestLoadFails: all who wait get the error, and the next who asks tries again.
func TestLoadFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(golden.Path(t, "testdata/families/hf5-clip"))); err != nil {
		t.Fatal(err)
	}
	var d diary
	e := start(t, Config{Models: []Model{{Name: "m", Path: dir}}, Hooks: d.hooks()})
	weights := filepath.Join(dir, "model.safetensors")
	away := weights + ".away"
	if err := os.Rename(weights, away); err != nil {
		t.Fatal(err)
	}
	request := EmbedRequest{Items: []Item{{Image: picture(t, "cat.png")}}}
	if _, err := e.Embed(t.Context(), request); err == nil {
		t.Fatal("no error without weights")
	}
	if s := e.Stats(); s.LoadedBytes != 0 || s.Loaded != 0 {
		t.Errorf("%+v, want nothing", s)
	}
	if err := os.Rename(away, weights); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Embed(t.Context(), request); err != nil {
		t.Error(err)
	}
	if got := d.read(); !slices.Equal(got, []string{"+m!", "+m"}) {
		t.Errorf("%v, want a failure, then the model", got)
	}
}

// TestMemory: a model that is wanted takes the place of the one that was not used longest, and never of one in use.
func TestMemory(t *testing.T) {
	models := []Model{{Name: "a", Path: demo.Name}, {Name: "b", Path: demo.Name}, {Name: "c", Path: demo.Name}}
	en, err := look(models[0])
	if err != nil {
		t.Fatal(err)
	}
	var d diary
	e := start(t, Config{Models: models, Memory: 2*en.bytes + en.bytes/2, Hooks: d.hooks()})
	text(t, e, "a")
	text(t, e, "b")
	text(t, e, "a")
	text(t, e, "c") // in the place of b
	until(t, "b is let go", func() bool { return len(d.read()) == 4 })
	if got := d.read(); slices.Index(got, "-b") < 2 || !slices.Contains(got, "+c") || e.Stats().LoadedBytes != 2*en.bytes {
		t.Errorf("%v, %+v, want b let go for c", got, e.Stats())
	}
	// Both are in use: b is loaded when one of them is free. Who asks for that meanwhile waits, and gets it loaded again.
	freeA := occupy(t, e, "a")
	in, freeC, err := e.acquire(t.Context(), "c", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = in
	answers := make(chan error, 2)
	ask := func(model string) {
		_, err := e.Embed(context.Background(), EmbedRequest{Model: model, Items: []Item{{Text: "a red circle"}}})
		answers <- err
	}
	go ask("b")
	until(t, "one is to leave", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for in := range e.loaded {
			if in.left {
				return true
			}
		}
		return false
	})
	if s := e.Stats(); s.Loaded != 2 || s.LoadedBytes > s.Memory {
		t.Errorf("%+v, want no more than fits", s)
	}
	go ask("a")
	freeC()
	freeA()
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if s := e.Stats(); s.LoadedBytes > s.Memory {
		t.Errorf("%+v, want no more than fits", s)
	}
	// Many ask for all of them, and nobody fails.
	var clients sync.WaitGroup
	for i := range 30 {
		clients.Go(func() {
			if _, err := e.Embed(context.Background(), EmbedRequest{Model: models[i%3].Name, Items: []Item{{Text: "a red circle"}}}); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	if s := e.Stats(); s.LoadedBytes > s.Memory {
		t.Errorf("%+v, want no more than fits", s)
	}
	// One who waits for room may go.
	ctx, cancel := context.WithCancel(t.Context())
	var free []func()
	for _, in := range e.Stats().Models {
		_, release, err := e.acquire(t.Context(), in.Name, nil)
		if err != nil {
			t.Fatal(err)
		}
		free = append(free, release)
	}
	loaded := e.Stats().Models
	other := slices.IndexFunc(models, func(m Model) bool {
		return !slices.ContainsFunc(loaded, func(l LoadedModel) bool { return l.Name == m.Name })
	})
	gone := make(chan error, 1)
	go func() {
		_, _, err := e.acquire(ctx, models[other].Name, nil)
		gone <- err
	}()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	for _, f := range free {
		f()
	}
}

// TestIdle: a model that nobody uses for so long is let go, and loaded again.
func TestIdle(t *testing.T) {
	var mu sync.Mutex
	var late []func()
	var d diary
	e, err := open(Config{Models: []Model{{Name: "demo", Path: demo.Name}}, MaxWait: -1, Idle: time.Minute, Hooks: d.hooks()}, func(after time.Duration, f func()) func() bool {
		mu.Lock()
		defer mu.Unlock()
		if after != time.Minute {
			t.Errorf("after %v, want a minute", after)
		}
		late = append(late, f)
		return func() bool { return true }
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	fire := func() {
		mu.Lock()
		all := late
		late = nil
		mu.Unlock()
		for _, f := range all {
			f()
		}
	}
	text(t, e, "")
	free := occupy(t, e, "demo")
	fire() // of the first use, which another has followed
	if got := d.read(); !slices.Equal(got, []string{"+demo"}) {
		t.Errorf("%v, want that it stays while it is used", got)
	}
	free()
	until(t, "nobody uses it", func() bool { return e.Stats().Models[0].Users == 0 })
	fire()
	until(t, "it is let go", func() bool { return len(d.read()) == 2 })
	if s := e.Stats(); s.Loaded != 0 || s.LoadedBytes != 0 {
		t.Errorf("%+v, want nothing", s)
	}
	text(t, e, "")
	if got := d.read(); !slices.Equal(got, []string{"+demo", "-demo", "+demo"}) {
		t.Errorf("%v, want that it is loaded again", got)
	}
}

// TestReload: what is under way ends with the model that it has, later requests get the new one, and nothing fails. What has not changed
// stays.
func TestReload(t *testing.T) {
	var d diary
	config := func(c clipvit.Choice, aliases ...string) Config {
		return Config{Models: []Model{{Name: "a", Path: demo.Name, Prepare: c, Aliases: aliases}, {Name: "b", Path: demo.Name}}, Hooks: d.hooks()}
	}
	squash := clipvit.Choice{Fit: clipvit.FitSquash}
	e := start(t, config(clipvit.Choice{}))
	before := text(t, e, "a").Fingerprint
	text(t, e, "b")
	free := occupy(t, e, "a")
	under := make(chan *Embeddings, 1)
	go func() {
		got, err := e.Embed(context.Background(), EmbedRequest{Model: "a", Items: []Item{{Text: "a red circle"}}})
		if err != nil {
			t.Error(err)
		}
		under <- got
	}()
	until(t, "it is ready", func() bool { return inside(e) == 1 })
	if err := e.Reload(t.Context(), Config{Models: []Model{{Name: "a", Path: "absent"}}}); err == nil {
		t.Error("no error of a wrong configuration")
	}
	if err := e.Reload(t.Context(), config(squash, "new")); err != nil {
		t.Fatal(err)
	}
	if m := e.Models(); len(m) != 2 || m[0].Loaded || !m[1].Loaded || !slices.Equal(m[0].Aliases, []string{"new"}) {
		t.Errorf("%+v, want a anew and b as it was", m)
	}
	free()
	if got := <-under; got.Fingerprint != before {
		t.Error("who was under way got the new model")
	}
	if got := text(t, e, "new").Fingerprint; got == before {
		t.Error("who came later got the old model")
	}
	until(t, "the old one is let go", func() bool { return slices.Contains(d.read(), "-a") })
	if got := d.read(); !slices.Equal(got, []string{"+a", "+b", "-a", "+a"}) && !slices.Equal(got, []string{"+a", "+b", "+a", "-a"}) {
		t.Errorf("%v, want a loaded twice and b once", got)
	}
	// Under load.
	var stop atomic.Bool
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for !stop.Load() {
				if _, err := e.Embed(context.Background(), EmbedRequest{Model: []string{"a", "b"}[i%2], Items: []Item{{Text: "a red circle"}}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 6 {
		c := config([]clipvit.Choice{{}, squash}[i%2])
		c.Models[0].Preload = true
		if err := e.Reload(t.Context(), c); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	clients.Wait()
	until(t, "the old ones are let go", func() bool { return e.Stats().Loaded == 2 })
}

// TestReloadFails: where a model that is to be preloaded cannot be, the old configuration is in force, whole.
func TestReloadFails(t *testing.T) {
	old := Config{Models: []Model{{Name: "a", Path: demo.Name, Aliases: []string{"x"}}, {Name: "b", Path: demo.Name}}, QueueItems: 300, Limits: Limits{TextBytes: 100}}
	e := start(t, old)
	before := text(t, e, "a").Fingerprint
	text(t, e, "b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := Config{Models: []Model{{Name: "b", Path: demo.Name, Aliases: []string{"y"}}, {Name: "a", Path: demo.Name, Prepare: clipvit.Choice{Fit: clipvit.FitSquash}},
		{Name: "c", Path: demo.Name, Preload: true}}}
	if err := e.Reload(ctx, c); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want that c is not loaded", err)
	}
	m := e.Models()
	if len(m) != 2 || m[0].Name != "a" || !slices.Equal(m[0].Aliases, []string{"x"}) || m[1].Name != "b" || len(m[1].Aliases) != 0 || !m[1].Loaded {
		t.Errorf("%+v, want the models of before, and b loaded all the time", m)
	}
	if l := e.Limits(); l.TextBytes != 100 || e.pool.maxItems != 300 {
		t.Errorf("limits %+v, %d items in the queue, want those of before", l, e.pool.maxItems)
	}
	if got := text(t, e, "x").Fingerprint; got != before {
		t.Error("the model is another")
	}
	if err := e.Reload(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if m := e.Models(); len(m) != 3 || !m[2].Loaded || text(t, e, "a").Fingerprint == before {
		t.Errorf("%+v, want the new models", m)
	}
}

// TestReloadFiles: weights that were replaced are read again.
func TestReloadFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(golden.Path(t, "testdata/families/hf5-clip"))); err != nil {
		t.Fatal(err)
	}
	var d diary
	c := Config{Models: []Model{{Name: "m", Path: dir, Preload: true}}, Hooks: d.hooks()}
	e := start(t, c)
	if err := e.Reload(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := d.read(); !slices.Equal(got, []string{"+m"}) {
		t.Fatalf("%v, want that nothing changes", got)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "model.safetensors"), later, later); err != nil {
		t.Fatal(err)
	}
	if err := e.Reload(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	until(t, "it is loaded again", func() bool { return len(d.read()) == 3 })
}

// TestEstimate: of a model in 8 bits less is reckoned with than of one in 16, and of that less than of one in 32.
func TestEstimate(t *testing.T) {
	var sizes []int64
	for _, p := range []string{"f32", "bf16", "int8"} {
		en, err := look(Model{Name: "m", Path: demo.Name, Precision: p})
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, en.bytes)
	}
	if !(sizes[0] >= sizes[1] && sizes[1] > sizes[2] && sizes[2] > 0) {
		t.Errorf("estimates are %v", sizes)
	}
}

// FuzzEmbed: whatever a picture or a text is, there is an answer of numbers or an error, and the engine goes on.
func FuzzEmbed(f *testing.F) {
	f.Add([]byte("a red circle"), false)
	f.Add([]byte("\xff\xfe\x00 "), false)
	f.Add(picture(f, "cat.png"), true)
	f.Add(picture(f, "cat.png")[:99], true)
	f.Add([]byte("\xff\xd8\xff\xe0"), true)
	f.Add([]byte{}, true)
	e := start(f, Config{Limits: Limits{ImageBytes: 1 << 16, Pixels: 1 << 16, TextBytes: 1 << 10}, Hooks: Hooks{Panic: func(v any, stack []byte) { panic(fmt.Sprintf("%v\n%s", v, stack)) }}})
	f.Fuzz(func(t *testing.T, data []byte, image bool) {
		item := Item{Text: string(data)}
		if image {
			item = Item{Image: data}
		}
		got, err := e.Embed(t.Context(), EmbedRequest{Items: []Item{item, {Text: "a circle"}}, Normalize: true})
		if err != nil {
			if at := (*ItemError)(nil); !errors.As(err, &at) {
				t.Errorf("%v is of no item", err)
			}
			return
		}
		for _, v := range got.Vectors {
			for _, x := range v {
				if !(x >= -1.001 && x <= 1.001) {
					t.Fatalf("a value of %v", x)
				}
			}
		}
	})
}
