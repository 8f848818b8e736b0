package shard

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/shard/input"
)

// seeds are what a worker writes.
func seeds(f *testing.F, name string) {
	in, out := photos(f, 2, func(i int) bool { return i == 1 }), f.TempDir()
	all(f, open(f, Options{Output: out, Inputs: []string{in}, Input: input.Options{PerShard: 2}, MaxErrors: 1}))
	text, err := os.ReadFile(filepath.Join(out, "vitago", name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(bytes.ReplaceAll(text, []byte("1"), []byte("-1")))
	f.Add(text[:len(text)/2])
}

// again fails if a value that was read is another when it is written and read again.
func again[T any](t *testing.T, v *T, read func(text []byte) (*T, error)) {
	t.Helper()
	text := folder.MustJSON(v)
	w, err := read(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if other := folder.MustJSON(w); !bytes.Equal(other, text) {
		t.Errorf("%s, and then %s", text, other)
	}
}

func FuzzPlan(f *testing.F) {
	seeds(f, "plan.json")
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := parsePlan(text); err == nil {
			again(t, p, parsePlan)
		}
	})
}

func FuzzRecord(f *testing.F) {
	seeds(f, "shards/0.json")
	read := func(text []byte) (*Record, error) { return parseRecord(text, 0, 0) }
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, err := read(text); err == nil {
			again(t, r, read)
		}
	})
}

func FuzzClaim(f *testing.F) {
	f.Add([]byte(`{"version":1,"shard":3,"worker":"host-1-abc","lease":60,"beat":2,"rows":100,"since":"2026-11-30T20:00:00Z"}`))
	f.Add([]byte(`{"version":1,"shard":3,"worker":"../..","lease":-1}`))
	read := func(text []byte) (*Claim, error) { return parseClaim(text, 3) }
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := read(text); err == nil {
			again(t, c, read)
		}
	})
}

func FuzzFailure(f *testing.F) {
	f.Add([]byte(`{"version":1,"shard":3,"reason":"cut off","useless":true,"worker":"host-1-abc","time":"2026-11-30T20:00:00Z"}`))
	f.Add([]byte(`{"version":2}`))
	read := func(text []byte) (*Failure, error) { return parseFailure(text, 3) }
	f.Fuzz(func(t *testing.T, text []byte) {
		if x, err := read(text); err == nil {
			again(t, x, read)
		}
	})
}

// FuzzEnds: where the lines of parts end is in order and of parts that have a size, or an error.
func FuzzEnds(f *testing.F) {
	f.Add(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 10), 25), 2)
	f.Add(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, 10), 1<<63), 2)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if n < 0 || n > 1<<20 {
			return
		}
		ends, err := parseEnds(b, n)
		if err != nil {
			return
		}
		before := int64(0)
		for _, e := range ends {
			if e <= before || e-before > maxPart {
				t.Fatalf("ends %v", ends)
			}
			before = e
		}
	})
}
