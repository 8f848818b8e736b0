package search

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// killEnv names the environment variable with the index that the process writes that TestKill kills.
const killEnv = "VITAGO_TEST_KILL"

// What TestKill writes: so many rows in shards of a few, of which every seventh is then deleted, and the rest compacted.
const (
	killRows  = 90
	killShard = 20
	killDim   = 8
)

func killed(i int) bool { return i%7 == 3 }

// numberOf returns the number of a record that [record] has made.
func numberOf(r *Record) (i int) {
	_, err := fmt.Sscanf(r.Name(), "%d.jpg", &i)
	if err != nil {
		panic(err)
	}
	return i
}

// writeAll writes what TestKill wants, behind what is there, and says how far it is.
func writeAll(dir string, say func(format string, args ...any)) error {
	last := -1
	s, o := space(killDim), WriterOptions{ShardRows: killShard, Columns: []string{"place"}}
	w, err := newWriter(dir, &s, o, func(_ int, r *Record, _ []uint16) { last = numberOf(r) })
	if err != nil {
		return err
	}
	defer w.Close()
	x, err := Open(dir)
	if err != nil {
		return err
	}
	defer x.Close()
	for r, err := range x.Records() {
		if err != nil {
			return err
		}
		last = max(last, numberOf(&r.Record))
	}
	say("begun %d\n", last)
	for i := last + 1; i < killRows; i++ {
		if err := w.Add(record(i), vector(i, killDim)); err != nil {
			return err
		}
		say("added %d\n", i)
	}
	if err := w.Commit(); err != nil {
		return err
	}
	y, err := Open(dir)
	if err != nil {
		return err
	}
	defer y.Close()
	for r, err := range y.Records() {
		if err != nil {
			return err
		}
		if killed(numberOf(&r.Record)) {
			w.Delete(r.Index)
		}
	}
	if err := w.Commit(); err != nil {
		return err
	}
	if w.changes.dead == 0 { // since it was compacted
		return w.Close()
	}
	return errors.Join(w.Close(), Compact(context.Background(), dir, WriterOptions{ShardRows: killShard}))
}

// files returns the contents of all files below a folder.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestKill: whenever a process is killed, and however often, no row is lost, readers see what was committed, and the end is the same.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		if err := writeAll(dir, func(format string, args ...any) { fmt.Printf(format, args...) }); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	whole := filepath.Join(t.TempDir(), "index")
	begun := time.Now()
	if err := writeAll(whole, func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
	takes := time.Since(begun)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1)) // other moments every time
	times, rounds := 0, 5
	if testing.Short() { // the race detector makes each of them long
		rounds = 1
	}
	for range rounds {
		times += killOften(t, whole, takes, rng)
	}
	if rounds > 1 && times < 2 { // one may come to the end at once
		t.Error("it was hardly killed")
	}
}

// killOften writes an index by processes that are killed at any moment of the time that one takes, until one comes to the end. What they
// leave has to be whole. It returns how often it killed.
func killOften(t *testing.T, whole string, takes time.Duration, rng *rand.Rand) (times int) {
	dir := filepath.Join(t.TempDir(), "index")
	last, kept := -1, map[int]bool{}
	for range 60 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), killEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		stop := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		for lines.Scan() {
			var i int
			if k, _ := fmt.Sscanf(lines.Text(), "begun %d", &i); k == 1 {
				if i < last {
					t.Errorf("begins behind row %d, and row %d had been added", i, last)
				}
				stop.Stop()
				stop = time.AfterFunc(time.Duration(rng.Int64N(int64(takes))), func() { cmd.Process.Kill() })
			}
			if k, _ := fmt.Sscanf(lines.Text(), "added %d", &i); k == 1 {
				last = i
			}
		}
		err = cmd.Wait()
		stop.Stop()
		if cmd.ProcessState.Exited() && cmd.ProcessState.ExitCode() == 3 {
			t.Fatal("it failed")
		}
		snapshot(t, dir, kept)
		if err == nil {
			break // it was done
		}
		times++
	}
	t.Logf("killed %d times; commits had %v rows", times, slices.Sorted(maps.Keys(kept)))
	if err := writeAll(dir, func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
	got, want := files(t, dir), files(t, whole)
	for _, all := range []map[string]string{got, want} {
		delete(all, "/"+manifestName) // has another generation
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q; or other contents", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	if err := opened(t, dir).Verify(t.Context()); err != nil {
		t.Error(err)
	}
	return times
}

// snapshot fails unless an index has the first rows, or all but those that are deleted, each with its vector.
func snapshot(t *testing.T, dir string, kept map[int]bool) {
	t.Helper()
	x, err := Open(dir)
	if errors.Is(err, ErrNoIndex) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	kept[x.Live()] = true
	want := upTo(0, x.Live())
	if some := slices.DeleteFunc(upTo(0, killRows), killed); x.Live() == len(some) { // which is no number of rows at another commit
		want = some
	}
	holds(t, x, want...)
}
