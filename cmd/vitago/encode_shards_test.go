package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// TestEncodeHelp: every flag of encode stands in one group, and 100 columns are enough for them.
func TestEncodeHelp(t *testing.T) {
	r := vitago("help", "encode")
	r.want(t, exitDone, []string{"\nShards:\n      --shards  "}, nil)
	_, flags, _ := strings.Cut(r.out, "\nFlags:\n")
	for line := range strings.Lines(flags + shardsHelp) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > helpColumns {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	groups := map[string]int{}
	for _, g := range encodeGroups() {
		for _, name := range g.flags {
			groups[name]++
		}
	}
	newEncode().Flags().VisitAll(func(f *pflag.Flag) {
		if groups[f.Name] != 1 {
			t.Errorf("--%s stands in %d groups, want 1", f.Name, groups[f.Name])
		}
	})
}

// TestLeftOut: files of tars that are no samples are said, of a few shards each by each.
func TestLeftOut(t *testing.T) {
	t.Chdir(t.TempDir())
	picture := read(t, filepath.Join(colours(t, 1), "red"), "00.png")
	for i := range 4 {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, m := range []struct{ name, text string }{{"a.png", picture}, {"README.md", "x"}} {
			if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o666, Size: int64(len(m.text))}); err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, m.text)
		}
		if err := errors.Join(w.Close(), os.WriteFile(fmt.Sprintf("%d.tar", i), b.Bytes(), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	vitago("encode", "--model", "builtin:demo", "--shards", "-o", "out", "0.tar", "1.tar", "2.tar", "3.tar").want(t, exitDone, nil,
		[]string{"out: 4 shards of 4, 4 rows in ", "note: shard ", ": left out 1 ", "README.md\n", "note: 4 shards left files out; left_out in out/vitago/shards says which\n"})
}

// TestEncodeShards: two parts make what one worker makes, merge and verify-shards agree, and status says what was done.
func TestEncodeShards(t *testing.T) {
	t.Chdir(t.TempDir())
	const pictures = "pictures"
	if err := os.CopyFS(pictures, os.DirFS(filepath.Join(colours(t, 3), "red"))); err != nil {
		t.Fatal(err)
	}
	encode := []string{"encode", "--model", "builtin:demo", "--shards", "--per-shard", "2", "--resume"}
	vitago(append(slices.Clone(encode), "-o", "one", pictures)...).want(t, exitDone, nil, []string{"one: 2 shards of 2, 3 rows in "})
	vitago(append(slices.Clone(encode), "-o", "two", "--part", "1/2", pictures)...).want(t, exitDone, nil, []string{"two: 1 shard of 2, 1 row in "})
	vitago("status", "two").want(t, exitDone, []string{"shards   1 of 2 done, 0 failed, 0 claimed, 1 open\n", "rows     1; failed 0, not downloaded 0\n", "1 worker, kernel "}, nil)
	vitago("verify-shards", "two").want(t, exitFailed, nil, []string{"shard 0: it is not done\n", "two: 1 fault, and 1 of 2 shards without\n"})
	vitago("merge", "-o", "all", "two").want(t, exitFailed, nil, []string{"two: shard 0 is not done"})
	vitago(append(slices.Clone(encode), "-o", "two", "--part", "0/2", pictures)...).want(t, exitDone, nil, []string{"two: 1 shard of 2, 2 rows in "})
	for _, name := range []string{"img_emb/img_emb_0.npy", "img_emb/img_emb_1.npy", "metadata/metadata_0.parquet", "metadata/metadata_1.parquet"} {
		if read(t, "one", name) != read(t, "two", name) {
			t.Errorf("%s differs", name)
		}
	}
	vitago("verify-shards", "two").want(t, exitDone, []string{"two: complete: 2 shards with 3 rows in "}, nil)
	vitago("merge", "-o", "all", "one", "two").want(t, exitDone, []string{"all: 4 shards with 6 rows\n"}, nil)
	vitago("merge", "-o", "all", "one", "two").want(t, exitDone, []string{"all: 4 shards with 6 rows; 4 there before\n"}, nil)
	vitago("verify-shards", "all").want(t, exitDone, []string{"all: complete: 4 shards with 6 rows in "}, nil)
	vitago("status", "--plot", "x.svg", "--all", "all").want(t, exitDone, []string{"shards   4 of 4 done", "  reason\n", "\n3      done   1     0 "}, []string{"x.svg: rows over time"})
	if svg := read(t, "x.svg"); !strings.Contains(svg, "4 of 4 shards, 6 rows") {
		t.Errorf("the plot has no title: %.200s", svg)
	}
	vitago("encode", "--model", "builtin:demo", "--shards", "--resume", "-o", "all").want(t, exitNever, nil, []string{"all: made in another way: by merging"})
}
