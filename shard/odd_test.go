package shard

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// edit replaces a text in a file.
func edit(t *testing.T, path, from, to string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), from) {
		t.Fatalf("%s has no %q: %v", path, from, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), from, to, 1)), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestMadeAgain: a shard whose record or files are not what was written is encoded again by a worker with claims, to what verify finds complete.
func TestMadeAgain(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, out string){
		"record cut off": func(t *testing.T, out string) { os.Truncate(out+"/vitago/shards/1.json", 20) },
		"record empty":   func(t *testing.T, out string) { os.Truncate(out+"/vitago/shards/1.json", 0) },
		"later record":   func(t *testing.T, out string) { edit(t, out+"/vitago/shards/1.json", `"version": 1`, `"version": 2`) },
		"file cut off":   func(t *testing.T, out string) { os.Truncate(out+"/img_emb/img_emb_1.npy", 10) },
		"file longer": func(t *testing.T, out string) {
			f, err := os.OpenFile(out+"/metadata/metadata_1.parquet", os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.Write([]byte("x"))
			f.Close()
		},
		"a name that is no record's": func(t *testing.T, out string) {
			os.WriteFile(out+"/vitago/shards/1.9223372036854775807.json", nil, 0o666)
			os.WriteFile(out+"/vitago/claims/1.9223372036854775807.json", nil, 0o666)
			os.Remove(out + "/img_emb/img_emb_1.npy")
		},
	} {
		t.Run(name, func(t *testing.T) {
			out := made(t, 6, Options{})
			want, err := os.ReadFile(out + "/img_emb/img_emb_1.npy")
			if err != nil {
				t.Fatal(err)
			}
			harm(t, out)
			j := open(t, Options{Output: out, Resume: true})
			source, end, err := j.Claims(t.Context(), ClaimOptions{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := j.Work(t.Context(), source)
			end()
			if err != nil || r.Done != 1 {
				t.Errorf("%+v, %v, want one shard done", r, err)
			}
			if got, err := os.ReadFile(out + "/img_emb/img_emb_1.npy"); err != nil || string(got) != string(want) {
				t.Errorf("other bytes than before, %v", err)
			}
			v, err := Verify(t.Context(), out, func(err error) { t.Error(err) })
			if err != nil || v.Done != 3 {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

// TestDamagedPlan: what is damaged is named by its file, and is no reason to try again.
func TestDamagedPlan(t *testing.T) {
	glob := func(t *testing.T, pattern string) string {
		all, err := filepath.Glob(pattern)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %q, %v", pattern, all, err)
		}
		return all[0]
	}
	for name, c := range map[string]struct {
		harm func(t *testing.T, out string)
		want string // in the error of a worker
		read bool   // status and verify have it too
	}{
		"empty": {func(t *testing.T, out string) { os.Truncate(out+"/vitago/plan.json", 0) }, "plan.json", true},
		"later": {func(t *testing.T, out string) { edit(t, out+"/vitago/plan.json", `"version": 1`, `"version": 2`) }, "version 2, want 1", true},
		"many shards": {func(t *testing.T, out string) {
			edit(t, out+"/vitago/plan.json", `"shards": 3`, `"shards": 10000000`)
			edit(t, out+"/vitago/plan.json", `"digits": 1`, `"digits": 7`)
		}, ".ends", true},
		"more shards than can be": {func(t *testing.T, out string) {
			edit(t, out+"/vitago/plan.json", `"shards": 3`, `"shards": 1000000000`)
		}, "want 1 to 10000000", true},
		"ends":   {func(t *testing.T, out string) { os.Truncate(glob(t, out+"/vitago/parts/*.ends"), 3) }, ".ends", true},
		"parts":  {func(t *testing.T, out string) { os.Truncate(glob(t, out+"/vitago/parts/*.jsonl"), 3) }, ".jsonl: part 0: damaged: 3 bytes, want", false},
		"a part": {func(t *testing.T, out string) { edit(t, glob(t, out+"/vitago/parts/*.jsonl"), `{`, `[`) }, ".jsonl: part 0", false},
	} {
		t.Run(name, func(t *testing.T) {
			out := made(t, 6, Options{})
			os.Remove(out + "/img_emb/img_emb_0.npy")
			c.harm(t, out)
			j, err := Open(t.Context(), model(), Options{Output: out, Resume: true})
			if err == nil {
				_, err = j.Shard(t.Context(), 0)
			}
			if !errors.Is(err, ErrDamaged) || !Useless(err) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), out) {
				t.Errorf("error %v, want %v of %s with %q", err, ErrDamaged, out, c.want)
			}
			if _, err := ReadStatus(t.Context(), out); c.read != errors.Is(err, ErrDamaged) {
				t.Errorf("status: %v", err)
			}
			if _, err := Verify(t.Context(), out, func(error) {}); c.read != errors.Is(err, ErrDamaged) {
				t.Errorf("verify: %v", err)
			}
		})
	}
	if _, err := Open(t.Context(), model(), Options{Output: t.TempDir(), Inputs: []string{t.TempDir()}, MaxErrors: math.NaN()}); err == nil || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("errors of at most NaN: %v", err)
	}
}

// TestLeftOut: what of a tar is no sample stands in the record of its shard.
func TestLeftOut(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	writeTar(t, filepath.Join(in, "x.tar"), []string{"a", "b"})
	plain, err := os.ReadFile(filepath.Join(in, "x.tar"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "link.png", Linkname: "000.png", Typeflag: tar.TypeSymlink}), w.Flush()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(in, "x.tar"), append(b.Bytes(), plain...), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := open(t, Options{Output: out, Inputs: []string{in}}).Shard(t.Context(), 0)
	if err != nil || r.Rows != 2 || len(r.LeftOut) != 1 || !strings.HasPrefix(r.LeftOut[0], "left out 1 ") || !strings.HasSuffix(r.LeftOut[0], ": link.png") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestFirstReason: the error of a shard with too many failures has the reason of the first one, whatever failed, and names its picture once.
func TestFirstReason(t *testing.T) {
	in := photos(t, 3, nil)
	twice := filepath.Join(t.TempDir(), "list.txt")
	at := filepath.Join(in, "001.png")
	if err := os.WriteFile(twice, []byte(at+"\n"+at+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	gone := photos(t, 1, nil)
	for name, c := range map[string]struct{ input, want string }{
		"row":   {twice, "1 of 2, want at most 0 of them; the first: " + at + ": output: "},
		"file":  {gone, "1 of 1, want at most 0 of them; the first: " + filepath.Join(gone, "000.png") + ": no such file"},
		"empty": {photos(t, 1, nil), "000.png: empty file"},
	} {
		t.Run(name, func(t *testing.T) {
			j := open(t, Options{Output: t.TempDir(), Inputs: []string{c.input}})
			switch name {
			case "file":
				os.Remove(filepath.Join(c.input, "000.png"))
			case "empty":
				j = open(t, Options{Output: t.TempDir(), Inputs: []string{emptied(t, c.input)}})
			}
			_, err := j.Shard(t.Context(), 0)
			if !errors.Is(err, ErrThreshold) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// emptied makes the first picture of a folder an empty file.
func emptied(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Truncate(filepath.Join(dir, "000.png"), 0); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPlaces: a dataset is not merged with itself under another name, nor into itself, and an output holds no input.
func TestPlaces(t *testing.T) {
	a := made(t, 2, Options{})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(a, link); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		out  string
		from []string
		want string
	}{
		{t.TempDir(), []string{a, link}, "is named twice"},
		{t.TempDir(), []string{a, a + "/../" + filepath.Base(a)}, "is named twice"},
		{link, []string{a}, "is named twice"},
		{a + "/more", []string{link}, "one lies in the other"},
		{filepath.Dir(a), []string{a}, "one lies in the other"},
	} {
		if _, err := Merge(t.Context(), c.out, c.from, MergeOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s from %q: error %v, want %q", c.out, c.from, err, c.want)
		}
	}
	b := made(t, 2, Options{Format: "jsonl"})
	_, err := Merge(t.Context(), t.TempDir(), []string{a, b}, MergeOptions{})
	e := (*MismatchError)(nil)
	if !errors.As(err, &e) || e.Output != b || e.Other != a || !strings.Contains(e.Was, "jsonl") || !strings.Contains(e.Now, "npy") || !Useless(err) {
		t.Errorf("error %v of %+v, want jsonl of the second and npy of the first", err, e)
	}
	for _, c := range []struct{ a, b string }{{"s3://b/x/", "S3://b/x"}, {"s3://b", "s3://b/"}} {
		if !same(c.a, c.b) {
			t.Errorf("%s and %s are not one", c.a, c.b)
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{{"s3://b/x/y", "s3://b/x", true}, {"s3://b/xy", "s3://b/x", false}, {"s3://b/x", "s3://b/x/y", false}, {"s3://bb", "s3://b", false}, {"/x", "/", true}} {
		if within(c.a, c.b) != c.want {
			t.Errorf("%s in %s: %v, want %v", c.a, c.b, !c.want, c.want)
		}
	}
	in := photos(t, 2, nil)
	for _, out := range []string{in, filepath.Dir(in)} {
		if _, err := Open(t.Context(), model(), Options{Output: out, Inputs: []string{in}}); err == nil || !strings.Contains(err.Error(), "the input "+in+" lies in it") {
			t.Errorf("%s: error %v", out, err)
		}
	}
	open(t, Options{Output: in + "/out", Inputs: []string{in}})
}

// TestFolderNames: the name of a folder may have any bytes that the system permits.
func TestFolderNames(t *testing.T) {
	for _, name := range []string{"a\xffb", "a b,\"c'", "a\nb", "[x]*?", "100%25", "ä"} {
		in, dir := photos(t, 2, nil), filepath.Join(t.TempDir(), name)
		err := os.CopyFS(dir, os.DirFS(in))
		if err == nil {
			writeTar(t, filepath.Join(dir, "x.tar"), []string{"a", "b"})
			err = os.WriteFile(filepath.Join(dir, "list.txt"), []byte("000.png\n"), 0o666)
		}
		if err != nil {
			t.Logf("%q: %v", name, err) // of file systems that do not permit it
			continue
		}
		out := filepath.Join(t.TempDir(), name)
		j := open(t, Options{Output: out, Inputs: []string{dir, filepath.Join(dir, "list.txt")}, Resume: true})
		if r := all(t, j); r.Rows != 5 || r.Done != 3 {
			t.Errorf("%q: %+v, want 5 rows of 3 shards", name, r)
		}
		if v, err := Verify(t.Context(), out, func(err error) { t.Error(err) }); err != nil || v.Rows != 5 {
			t.Errorf("%q: %+v, %v", name, v, err)
		}
		if left, err := os.ReadDir(filepath.Join(out, "vitago", "tmp")); err == nil && len(left) > 0 {
			t.Errorf("%q: %v is left", name, left)
		}
	}
}

// Names that are no UTF-8 keep their bytes in the JSON of a status, as Python's os.fsdecode writes them.
func TestStatusJSON(t *testing.T) {
	b, err := json.Marshal(&Status{Output: "caf\xe9", Model: "m\xff", Shards: 1, Each: []ShardStatus{{State: StateFailed, Reason: "no \xe9"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"output":"caf\udce9"`, `"model":"m\udcff"`, `"reason":"no \udce9"`, `"state":"failed"`, `"shards":1`} {
		if n := strings.Count(string(b), want); n != 1 {
			t.Errorf("%d times %s in %s", n, want, b)
		}
	}
	for _, name := range []string{`"output"`, `"model"`, `"each"`, `"reason"`} {
		if n := strings.Count(string(b), name); n != 1 {
			t.Errorf("%d times %s in %s", n, name, b)
		}
	}
}
