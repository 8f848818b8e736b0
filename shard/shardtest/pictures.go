package shardtest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/png"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/shard"
	"github.com/vitago/vitago/shard/store"
)

// Pictures say what [Tars] writes.
type Pictures struct {
	Shards   int // tars
	PerShard int // samples of a tar
	Broken   int // every so manieth sample is no picture; 0: the 23rd
}

// Tars writes tars of small pictures, each another one, always the same, and returns their locations. A store may have any scheme that is registered.
func Tars(t testing.TB, location string, p Pictures) (tars []string) {
	t.Helper()
	s, err := store.Open(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(18, 0))
	for n := range p.Shards {
		var file bytes.Buffer
		w := tar.NewWriter(&file)
		for i := range p.PerShard {
			content := []byte("no picture")
			if (n*p.PerShard+i+1)%cmp.Or(p.Broken, 23) != 0 {
				content = picture(t, rng)
			}
			if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%05d%04d.png", n, i), Mode: 0o644, Size: int64(len(content))}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%05d.tar", n)
		if err := store.Write(t.Context(), s, name, file.Bytes(), store.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		tars = append(tars, strings.TrimSuffix(location, "/")+"/"+name)
	}
	return tars
}

// picture returns the file of a picture of noise.
func picture(t testing.TB, rng *rand.Rand) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 12, 12))
	for i := range m.Pix {
		m.Pix[i] = byte(rng.Uint32())
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Options are those of the jobs here, whose errors are the broken pictures.
func Options(output string, inputs []string) shard.Options {
	return shard.Options{Output: output, Inputs: inputs, Resume: true, MaxErrors: 0.5}
}

// A Dataset is what a run has to come to.
type Dataset struct {
	Shards, Rows int               // that must have records, and rows of all together
	Files        map[string]string // SHA-256 by the names in the dataset
}

// Reference encodes tars by the embedded model, in one process and without faults.
func Reference(t testing.TB, o shard.Options) Dataset {
	t.Helper()
	o.Output = t.TempDir()
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	j, err := shard.Open(t.Context(), m, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := j.Assigned(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := j.Work(t.Context(), s)
	if err != nil || r.Done != j.Shards() {
		t.Fatalf("%+v, error %v, want %d shards", r, err, j.Shards())
	}
	all, err := files(t.Context(), o.Output)
	if err != nil {
		t.Fatal(err)
	}
	return Dataset{Shards: j.Shards(), Rows: r.Rows, Files: all}
}

// files returns the SHA-256 of all files of a dataset, and of those with its errors.
func files(ctx context.Context, location string) (map[string]string, error) {
	s, err := store.Open(ctx, location)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for i, err := range s.List(ctx, "") {
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(i.Name, "vitago/") && !strings.HasPrefix(i.Name, "vitago/errors/") {
			continue
		}
		content, _, err := store.Read(ctx, s, i.Name, 1<<30)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		all[i.Name] = hex.EncodeToString(sum[:])
	}
	return all, nil
}

// Compare returns in what a dataset is not the one that is wanted: [shard.Verify] finds no fault, every shard is done once, and all files have the
// same bytes, those of the errors too.
func Compare(ctx context.Context, location string, want Dataset) error {
	var wrong []error
	v, err := shard.Verify(ctx, location, func(err error) { wrong = append(wrong, err) })
	if err != nil || v.Done != want.Shards || v.Shards != want.Shards || v.Rows != want.Rows {
		wrong = append(wrong, fmt.Errorf("verified %+v, error %v, want %d shards with %d rows", v, err, want.Shards, want.Rows)) //nolint:errorlint // err may be nil, which %w does not write
	}
	got, err := files(ctx, location)
	if err != nil {
		return errors.Join(append(wrong, err)...)
	}
	for _, name := range slices.Sorted(maps.Keys(want.Files)) {
		if got[name] != want.Files[name] {
			wrong = append(wrong, fmt.Errorf("%s has SHA-256 %.12q, want %.12q", name, got[name], want.Files[name]))
		}
		delete(got, name)
	}
	if len(got) > 0 {
		wrong = append(wrong, fmt.Errorf("other files are there: %v", slices.Sorted(maps.Keys(got))))
	}
	return errors.Join(wrong...)
}

// Whole fails the test unless [Compare] finds no difference.
func Whole(t testing.TB, location string, want Dataset) {
	t.Helper()
	if err := Compare(t.Context(), location, want); err != nil {
		t.Errorf("%s: %v", location, err)
	}
}

// Records returns how many records a dataset has: how far the work is.
func Records(ctx context.Context, location string) (n int, err error) {
	s, err := store.Open(ctx, location)
	if err != nil {
		return 0, err
	}
	for _, err := range s.List(ctx, "vitago/shards/") {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
