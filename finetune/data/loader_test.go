package data

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/pictures"
)

// folder makes n pictures in two classes, of sizes that differ, and opens them.
func folder(t testing.TB, n int) *Dataset {
	t.Helper()
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("%c/%03d.png", 'a'+i%2, i)] = picture(t, i, 20+i%17, 40-i%13)
	}
	d, err := Folder(write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// all returns the batches of an epoch.
func all(t testing.TB, l *Loader, epoch, from int) []*Batch {
	t.Helper()
	var batches []*Batch
	for b, err := range l.Batches(context.Background(), epoch, from) {
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, b)
	}
	return batches
}

// sum returns all that is in a batch, pictures as a checksum.
func (b *Batch) sum() string {
	h := crc32.NewIEEE()
	if b.Patches != nil {
		for _, v := range b.Patches.Data().F32() {
			u := math.Float32bits(v)
			h.Write([]byte{byte(u), byte(u >> 8), byte(u >> 16), byte(u >> 24)})
		}
	}
	return fmt.Sprint(b.Epoch, b.Number, b.Labels, b.Captions, b.Index, b.Skipped, h.Sum32())
}

func sums(batches []*Batch) (s []string) {
	for _, b := range batches {
		s = append(s, b.sum())
	}
	return s
}

func TestBatches(t *testing.T) {
	d := folder(t, 11)
	d.Samples[3].Caption = "third"
	l := &Loader{Data: d, Config: tiny, BatchSize: 4}
	batches := all(t, l, 0, 0)
	if len(batches) != 3 || l.Len() != 3 {
		t.Fatalf("got %d batches, Len %d, want 3", len(batches), l.Len())
	}
	i := 0
	for n, b := range batches {
		want := []int{4, 4, 3}[n]
		if shape := b.Patches.Shape(); b.Number != n || b.Len() != want || shape[0] != want*tiny.Patches() || shape[1] != tiny.PatchLen() {
			t.Errorf("batch %d: number %d, %d samples, patches %v; want %d", n, b.Number, b.Len(), shape, want)
		}
		for row := range b.Index {
			r, err := d.Open(i)
			if err != nil {
				t.Fatal(err)
			}
			img, err := clipvit.DecodeImage(r)
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			x, err := clipvit.Preprocess(img, tiny)
			if err != nil {
				t.Fatal(err)
			}
			size := tiny.Patches() * tiny.PatchLen()
			golden.Compare(t, d.Samples[i].Path, b.Patches.Data().F32()[row*size:(row+1)*size], x.Data().F32(), 0)
			if s := d.Samples[i]; b.Index[row] != i || b.Labels[row] != s.Label || b.Captions[row] != s.Caption {
				t.Errorf("batch %d, row %d: sample %d, label %d, caption %q, want %d %+v", n, row, b.Index[row], b.Labels[row], b.Captions[row], i, s)
			}
			i++
		}
	}
}

// heavy uses everything that is random.
func heavy(d *Dataset) *Loader {
	return &Loader{Data: d, Config: tiny, BatchSize: 3, Shuffle: true, Seed: 42,
		Augment: Augment{Area: [2]float64{0.3, 1}, Flip: 0.5, Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1}}
}

// The same seed gives the same bytes, with any number of workers and from any batch on.
func TestBatchesDeterministic(t *testing.T) {
	d := folder(t, 20)
	want := sums(all(t, heavy(d), 1, 0))
	for _, workers := range []int{1, 2, 7, 50} {
		for _, prefetch := range []int{1, 3, 100} {
			l := heavy(d)
			l.Workers, l.Prefetch = workers, prefetch
			for from := range 8 {
				if got := sums(all(t, l, 1, from)); !slices.Equal(got, want[from:]) {
					t.Fatalf("%d workers, %d ahead, from batch %d:\n got %q\nwant %q", workers, prefetch, from, got, want[from:])
				}
			}
		}
	}
	other := sums(all(t, heavy(d), 2, 0))
	seed := heavy(d)
	seed.Seed++
	for _, got := range [][]string{other, sums(all(t, seed, 1, 0))} {
		for i := range want {
			if got[i][strings.Index(got[i], "["):] == want[i][strings.Index(want[i], "["):] {
				t.Errorf("batch %d of another epoch or seed is the same: %s", i, got[i])
			}
		}
	}
}

// A sample is augmented the same in any batch, and otherwise in another epoch.
func TestAugmentPerSample(t *testing.T) {
	d := folder(t, 9)
	size := tiny.Patches() * tiny.PatchLen()
	rows := func(epoch, batch int, shuffle bool) [][]float32 {
		l := heavy(d)
		l.BatchSize, l.Shuffle = batch, shuffle
		out := make([][]float32, len(d.Samples))
		for _, b := range all(t, l, epoch, 0) {
			for row, i := range b.Index {
				out[i] = b.Patches.Data().F32()[row*size : (row+1)*size]
			}
		}
		return out
	}
	a, b, c := rows(0, 2, true), rows(0, 9, false), rows(1, 2, true)
	for i := range a {
		if !slices.Equal(a[i], b[i]) {
			t.Errorf("sample %d depends on its batch", i)
		}
		if slices.Equal(a[i], c[i]) {
			t.Errorf("sample %d is the same in two epochs", i)
		}
	}
}

func TestOrder(t *testing.T) {
	l := &Loader{Data: made(5, 5), Shuffle: true, Seed: 3}
	// Runs that are to go on depend on it.
	if got, want := fmt.Sprint(l.Order(0), l.Order(1)), "[6 3 5 7 0 1 2 8 4 9] [4 6 2 3 1 7 9 5 0 8]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	l.Shuffle = false
	if got := fmt.Sprint(l.Order(1)); got != "[0 1 2 3 4 5 6 7 8 9]" {
		t.Errorf("not shuffled: got %s", got)
	}
	l.Shuffle = true
	var sum [10]int // of where each sample stands
	for epoch := range 1000 {
		for place, i := range l.Order(epoch) {
			sum[i] += place
		}
	}
	for i, s := range sum {
		// The mean of 1000 places from 0 to 9 has a deviation of 2.87/√1000.
		if mean := float64(s) / 1000; math.Abs(mean-4.5) > 6*2.87/math.Sqrt(1000) {
			t.Errorf("sample %d stands at %.2f in the mean, want 4.5", i, mean)
		}
	}
}

func TestDropLast(t *testing.T) {
	d := folder(t, 11)
	l := &Loader{Data: d, Config: tiny, BatchSize: 4, DropLast: true}
	if got := all(t, l, 0, 0); len(got) != 2 || l.Len() != 2 || got[1].Len() != 4 {
		t.Errorf("got %d batches, Len %d, want 2 of 4", len(got), l.Len())
	}
	if got := all(t, l, 0, 2); len(got) != 0 {
		t.Errorf("after the last batch: got %d", len(got))
	}
}

func TestBroken(t *testing.T) {
	d := folder(t, 10)
	whole := all(t, &Loader{Data: d, Config: tiny, BatchSize: 5}, 0, 0)
	text, err := os.ReadFile(d.Samples[1].Path)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range map[int]string{1: string(text[:len(text)/2]), 3: "no picture", 4: ""} {
		if err := os.WriteFile(d.Samples[i].Path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(d.Samples[0].Path); err != nil {
		t.Fatal(err)
	}
	l := &Loader{Data: d, Config: tiny, BatchSize: 5, Workers: 3}
	batches := all(t, l, 0, 0)
	b := batches[0]
	if !slices.Equal(b.Index, []int{2}) || !slices.Equal(b.Labels, []int{d.Samples[2].Label}) || b.Patches.Shape()[0] != tiny.Patches() {
		t.Errorf("got samples %v, labels %v, patches %v; want what is left, 2", b.Index, b.Labels, b.Patches.Shape())
	}
	size := tiny.Patches() * tiny.PatchLen()
	golden.Compare(t, "what is left", b.Patches.Data().F32(), whole[0].Patches.Data().F32()[2*size:3*size], 0)
	var skipped []string
	for _, s := range b.Skipped {
		if s.Path != d.Samples[s.Index].Path {
			t.Errorf("sample %d is %s, want %s", s.Index, s.Path, d.Samples[s.Index].Path)
		}
		skipped = append(skipped, fmt.Sprintf("%d: %v", s.Index, s.Err))
	}
	want := []string{"0: ", "1: clipvit: PNG: ", "3: clipvit: not an image: the file starts with \"no picture\"", "4: clipvit: empty file"}
	if !slices.EqualFunc(skipped, want, strings.HasPrefix) || !errors.Is(b.Skipped[0], os.ErrNotExist) || strings.Contains(b.Skipped[0].Err.Error(), ".png") {
		t.Errorf("skipped %q, want %q", skipped, want)
	}
	if batches[1].sum() != whole[1].sum() {
		t.Error("the other batch is not as it was")
	}

	// A batch of which nothing is left is still one.
	os.Remove(d.Samples[2].Path)
	if b := all(t, l, 0, 0)[0]; b.Len() != 0 || b.Patches != nil || len(b.Skipped) != 5 {
		t.Errorf("got %d samples, patches %v, %d skipped; want none, nil, 5", b.Len(), b.Patches, len(b.Skipped))
	}

	l.Strict = true
	n := 0
	for b, err := range l.Batches(context.Background(), 0, 0) {
		n++
		var broken Broken
		if b != nil || !errors.As(err, &broken) || broken.Index != 0 || !strings.HasPrefix(err.Error(), "data: "+d.Samples[0].Path+": ") {
			t.Errorf("strict: got %v, %v; want the first broken picture", b, err)
		}
	}
	if n != 1 {
		t.Errorf("strict: %d results, want an error and the end", n)
	}
}

// Leaving the loop, and the end of the context, end everything.
func TestBatchesEnd(t *testing.T) {
	d := folder(t, 30)
	before := runtime.NumGoroutine()
	l := heavy(d)
	l.Workers = 4
	for range l.Batches(context.Background(), 0, 0) {
		break
	}
	reason := errors.New("reason")
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	n := 0
	var last error
	for _, err := range l.Batches(ctx, 0, 0) {
		if n++; n == 2 {
			cancel(reason)
		}
		last = err
	}
	// What was ready when the context ended may still come.
	if !errors.Is(last, reason) || n < 3 || n > 3+l.Len() {
		t.Errorf("got %d results and %v, want the reason", n, last)
	}
	n = 0
	for _, err := range l.Batches(ctx, 0, 0) {
		if n++; err != nil && !errors.Is(err, reason) {
			t.Error(err)
		}
	}
	if n == 0 {
		t.Error("an ended context: no error")
	}
	for deadline := time.Now().Add(time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // a goroutine is there for a moment after its last statement
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines, %d before", now, before)
	}
}

// As much is made ahead as was asked for, and no more.
func TestPrefetchBound(t *testing.T) {
	d := folder(t, 40)
	l := &Loader{Data: d, Config: tiny, BatchSize: 2, Workers: 8, Prefetch: 3}
	w := l.work(0, 0)
	var begun atomic.Int64
	begin := w.Begin
	w.Begin = func(i int) (*pending, int) {
		begun.Add(1)
		return begin(i)
	}
	for range pictures.InOrder(context.Background(), w) {
		for deadline := time.Now().Add(time.Minute); int(begun.Load()) < 1+l.Prefetch && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Millisecond) // for one too many
		if n := int(begun.Load()); n != 1+l.Prefetch {
			t.Errorf("%d batches wait, want %d", n-1, l.Prefetch)
		}
		break
	}

	made := 0
	for b, err := range l.Batches(context.Background(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Number == 0 {
			time.Sleep(100 * time.Millisecond) // enough for all forty
			for _, s := range d.Samples {
				os.Remove(s.Path)
			}
		}
		if b.Len() > 0 {
			made++
		}
	}
	if made > 1+l.Prefetch {
		t.Errorf("%d batches were made when the first was in use, want at most %d", made, 1+l.Prefetch)
	}
}

func TestLoaderShards(t *testing.T) {
	var entries []entry
	files := map[string]string{}
	for i := range 7 {
		text, class := picture(t, i, 30, 31), string(rune('a'+i%2))
		name := fmt.Sprintf("%03d", i)
		files[class+"/"+name+".png"] = text
		entries = append(entries, entry{name + ".png", text}, entry{name + ".cls", class})
	}
	dir := write(t, map[string]string{"x.tar": shard(t, 0, entries...)})
	packed, err := Shards(filepath.Join(dir, "x.tar"))
	if err != nil {
		t.Fatal(err)
	}
	loose, err := Folder(write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(loose.Samples, func(a, b Sample) int { return strings.Compare(filepath.Base(a.Path), filepath.Base(b.Path)) })
	if got, want := sums(all(t, heavy(packed), 0, 0)), sums(all(t, heavy(loose), 0, 0)); !slices.Equal(got, want) {
		t.Errorf("a shard gives\n%q, a folder\n%q", got, want)
	}
}

func TestLoaderValidate(t *testing.T) {
	good := Loader{Data: made(3, 3), Config: tiny, BatchSize: 4}
	for _, c := range []struct {
		change      func(l *Loader)
		epoch, from int
		want        string
	}{
		{func(l *Loader) { l.Data = nil }, 0, 0, "data: no pictures"},
		{func(l *Loader) { l.BatchSize = 0 }, 0, 0, "data: batch of 0, want at least 1"},
		{func(l *Loader) { l.Workers = -1 }, 0, 0, "data: -1 workers and 0 batches ahead, want 0 or more"},
		{func(l *Loader) { l.Augment.Flip = 2 }, 0, 0, "data: probability of a flip is 2"},
		{func(l *Loader) { l.Config.PatchSize = 5 }, 0, 0, "clipvit: image size 28 is not a multiple of patch size 5"},
		{func(l *Loader) { l.BatchSize, l.DropLast = 7, true }, 0, 0, "data: 6 samples make no batch of 7, and shorter ones are left out"},
		{func(*Loader) {}, 0, 3, "data: batch 3 of epoch 0, want 0 to 2 of 0 or later"},
		{func(*Loader) {}, -1, 0, "data: batch 0 of epoch -1, want 0 to 2 of 0 or later"},
	} {
		l := good
		c.change(&l)
		var got []error
		for b, err := range l.Batches(context.Background(), c.epoch, c.from) {
			if b != nil {
				t.Errorf("%s: got a batch", c.want)
			}
			got = append(got, err)
		}
		if len(got) != 1 || got[0] == nil || !strings.HasPrefix(got[0].Error(), c.want) {
			t.Errorf("got %v, want %s", got, c.want)
		}
	}
}
