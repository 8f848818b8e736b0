package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/internal/builtin"
	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/search"
)

// Defaults of a [Config] and its [Limits].
const (
	DefaultQueueItems = 1024
	DefaultQueueBytes = 256 << 20
	DefaultMaxWait    = 20 * time.Millisecond
	DefaultImageBytes = 20 << 20
	DefaultPixels     = pillow.MaxPixels / 2 // 89,478,485, at which Pillow warns
	DefaultItems      = 256
	DefaultTextBytes  = 64 << 10
	DefaultValues     = 1 << 24 // 64 MiB, and three times that as JSON; all tokens of 28 pictures of ViT-L/14-336
)

// maxBatch bounds what goes through a tower together; more is not faster.
const maxBatch = 1 << 10

// withDefaults returns the configuration with what its zero fields stand for.
func (c Config) withDefaults() Config {
	fill := func(to *int64, n int64) {
		if *to == 0 {
			*to = n
		}
	}
	count := func(to *int, n int) {
		if *to == 0 {
			*to = n
		}
	}
	count(&c.QueueItems, DefaultQueueItems)
	fill(&c.QueueBytes, DefaultQueueBytes)
	fill(&c.Limits.ImageBytes, min(DefaultImageBytes, max(c.QueueBytes, 1)))
	fill(&c.Limits.Pixels, DefaultPixels)
	count(&c.Limits.Items, min(DefaultItems, max(c.QueueItems, 1)))
	count(&c.Limits.TextBytes, DefaultTextBytes)
	count(&c.Limits.Values, DefaultValues)
	if c.MaxWait == 0 && c.MaxBatch != 1 {
		c.MaxWait = DefaultMaxWait
	}
	return c
}

// Check returns everything that is wrong with a configuration for which [New] would return an error before it loads a model. It opens
// models and indexes, and reads no weights.
func Check(c Config) error {
	_, err := c.withDefaults().entries()
	return err
}

// check returns everything that is wrong with a configuration without looking at models.
func (c Config) check() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("engine: "+format, args...)) }
	if len(c.Models) == 0 {
		add("no models, want at least one")
	}
	names := map[string]string{} // whose each name is
	for i, m := range c.Models {
		who := fmt.Sprintf("model %d", i+1)
		if m.Name != "" {
			who = fmt.Sprintf("model %q", m.Name)
		}
		for _, n := range append([]string{m.Name}, m.Aliases...) {
			switch of, twice := names[n]; {
			case strings.TrimSpace(n) == "" || strings.ContainsFunc(n, func(r rune) bool { return r < ' ' || r == 0x7f }):
				add("%s: name is %q, want one with letters, and without control characters", who, n)
			case twice:
				add("%s: the name %q is that of %s", who, n, of)
			default:
				names[n] = who
			}
		}
		if m.Path == "" {
			add("%s: no path, want a directory, a checkpoint or builtin:demo", who)
		}
		if !slices.Contains(precisions, m.Precision) {
			add("%s: precision is %.40q, want f32, bf16 or int8", who, m.Precision)
		}
		if err := m.Prepare.Validate(); err != nil {
			add("%s: %w", who, pillow.Bare(err, "clipvit"))
		}
		if slices.Contains(m.Adapters, "") {
			add("%s: an adapter without a path", who)
		}
	}
	least := func(what string, n, least int64) {
		if n < least {
			add("%s is %d, want %d or more", what, n, least)
		}
	}
	least("memory", c.Memory, 0)
	least("idle time", int64(c.Idle), 0)
	least("queue's number of items", int64(c.QueueItems), 1)
	least("queue's number of bytes", c.QueueBytes, 1)
	least("limit of an image's bytes", c.Limits.ImageBytes, 1)
	least("limit of pixels", c.Limits.Pixels, 1)
	least("limit of items", int64(c.Limits.Items), 1)
	least("limit of a text's bytes", int64(c.Limits.TextBytes), 1)
	least("limit of an answer's values", int64(c.Limits.Values), 1)
	if c.MaxBatch < 0 || c.MaxBatch > maxBatch {
		add("batch is %d, want 1 to %d, or 0 for what fits the tower", c.MaxBatch, maxBatch)
	}
	if c.MaxBatch == 1 && c.MaxWait > 0 {
		add("a batch of 1 is never waited for: the longest wait %v does nothing", c.MaxWait)
	}
	if c.Limits.Items > c.QueueItems {
		add("a request may have %d items, and the queue has room for %d: such a one would never be taken", c.Limits.Items, c.QueueItems)
	}
	if c.Limits.ImageBytes > c.QueueBytes {
		add("an image may have %d bytes, and the queue has room for %d: such a one would never be taken", c.Limits.ImageBytes, c.QueueBytes)
	}
	if c.Limits.ImageBytes > pillow.MaxBytes {
		add("limit of an image's bytes is %d, want at most %d, which the decoder takes", c.Limits.ImageBytes, int64(pillow.MaxBytes))
	}
	if c.Limits.Pixels > pillow.MaxPixels {
		add("limit of pixels is %d, want at most %d, which the decoder takes", c.Limits.Pixels, int64(pillow.MaxPixels))
	}
	return errors.Join(errs...)
}

// precisions are what a [Model] may have its weights in.
var precisions = []string{"", "f32", "bf16", "int8"}

// options returns how a model is opened.
func (m *Model) options() []clip.Option {
	open := []converter.OpenOption{converter.Prepare(m.Prepare)}
	for _, a := range m.Adapters {
		open = append(open, converter.Adapter(a))
	}
	all := []clip.Option{clip.Checkpoint(open...)}
	if m.Vocab != "" {
		all = append(all, clip.Vocabulary(m.Vocab))
	}
	switch m.Precision {
	case "bf16":
		all = append(all, clip.BF16())
	case "int8":
		all = append(all, clip.Int8())
	}
	return all
}

// open opens a model, with its classifier if it has one. No weights are read.
func (m *Model) open() (*clip.Model, *finetune.Tuned, error) {
	t, err := finetune.Open(context.Background(), m.Path, m.options()...)
	switch {
	case err == nil:
		return t.Model(), t, nil
	case errors.Is(err, finetune.ErrNoHead):
		c, err := clip.Open(m.Path, m.options()...)
		return c, nil, err
	}
	return nil, nil, err
}

// look returns what is known of a model without reading its weights, or all that is wrong with it.
func look(m Model) (*entry, error) {
	wrong := func(err error) error {
		return fmt.Errorf("engine: model %q: %w", m.Name, pillow.Bare(err, "clip", "converter", "finetune", "search", "engine"))
	}
	e := &entry{Model: m, stamp: stampOf(m)}
	c, tuned, err := m.open()
	if err != nil {
		return nil, wrong(err)
	}
	defer c.Close()
	at := c.Checkpoint()
	stated := at.Stated()
	e.info = Info{Name: m.Name, Aliases: slices.Clone(m.Aliases), Created: modified(m.Path)}
	var errs []error
	if stated.Vision.Width == 0 {
		errs = append(errs, errors.New("has no vision tower"))
	} else {
		e.vision = !stated.Vision.NoPostNorm
		e.info.Dim, e.info.ImageSize = stated.Vision.OutputDim(), stated.Vision.ImageSize
		e.info.Tasks = append(e.info.Tasks, "imageencoding")
	}
	if stated.Text != nil {
		e.info.Context = stated.Text.Context
		e.info.Tasks = append(e.info.Tasks, "textencoding", "imagetextsimilarity")
	} else if m.Vocab != "" {
		errs = append(errs, errors.New("has no text tower, and a vocabulary would do nothing"))
	}
	if e.head = tuned != nil; e.head || stated.Text != nil {
		e.info.Tasks = append(e.info.Tasks, "imageclassification")
	}
	if e.projector = at.ProjectorConfig() != nil; e.projector {
		e.info.Tasks = append(e.info.Tasks, "visualtokens")
	}
	if m.Index != "" {
		x, err := search.Open(m.Index)
		switch {
		case err != nil:
			errs = append(errs, err)
		case x.Dim() != e.info.Dim:
			errs = append(errs, fmt.Errorf("index %s has vectors of %d values, want the model's %d", m.Index, x.Dim(), e.info.Dim))
		}
		if err == nil {
			errs = append(errs, x.Close())
		}
		e.info.Tasks = append(e.info.Tasks, "imagesearch")
	}
	if stated.Vision.Width > 0 && !stated.Vision.NoClassToken {
		e.info.Tasks = append(e.info.Tasks, "explain")
	}
	slices.Sort(e.info.Tasks)
	e.bytes = estimate(at, m.Precision)
	if err := errors.Join(errs...); err != nil {
		return nil, wrong(err)
	}
	return e, nil
}

// estimate returns how many bytes the weights of a checkpoint take in memory, when all of them are loaded.
func estimate(m *converter.Model, precision string) (n int64) {
	for _, p := range m.Parameters() {
		elements := int64(1)
		for _, d := range p.Shape() {
			elements *= int64(d)
		}
		size := int64(4)
		if product := len(p.Shape()) > 1 && !strings.HasSuffix(p.Path, "Position") && !strings.HasSuffix(p.Path, "Token"); product {
			switch in := strings.Contains(p.Path, "Blocks."); {
			case in && precision == "int8":
				size = 1
			case in && precision == "bf16", p.DType() == checkpoint.F16:
				size = 2 // halves are kept as they are
			}
		}
		n += elements * size
	}
	return n
}

// modified returns when a model was last written, zero if that is not known.
func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// stampOf returns what changes when the files of a model do: their names, sizes and times.
func stampOf(m Model) string {
	var b strings.Builder
	for _, path := range append([]string{m.Path, m.Vocab}, m.Adapters...) {
		if _, ok := builtin.Find(path); ok || path == "" {
			continue
		}
		_ = filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
			if err != nil {
				return nil // who opens it says what is wrong
			}
			if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() { // also behind a link
				fmt.Fprintf(&b, "%s %d %d\n", p, info.Size(), info.ModTime().UnixNano())
			}
			return nil
		})
	}
	return b.String()
}

// same says whether a model that is open serves for another configuration of it.
func (en *entry) same(as *entry) bool {
	a, b := en.Model, as.Model
	a.Aliases, b.Aliases, a.Preload, b.Preload = nil, nil, false, false // which are nothing of the model
	if len(a.Adapters) == 0 {
		a.Adapters = b.Adapters[:len(b.Adapters):len(b.Adapters)]
		if len(b.Adapters) > 0 {
			return false
		}
	}
	return reflect.DeepEqual(a, b) && en.stamp == as.stamp
}
