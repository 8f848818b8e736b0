package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitago/vitago/shard"
	"github.com/vitago/vitago/shard/nats"
	"github.com/vitago/vitago/shard/shardtest"
)

// A buffer takes what a command writes, from any goroutine.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// execute runs a command line, and fails the test unless it ends with a status.
func execute(t *testing.T, status int, args ...string) (out, errw string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var o, e buffer
	if got := run(ctx, args, &o, &e); got != status {
		t.Fatalf("%v: status %d, want %d: %s", args, got, status, e.String())
	}
	return o.String(), e.String()
}

// freePort returns an address of this machine that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// quiet keeps the environment of who tests out of it.
func quiet(t *testing.T) {
	for _, name := range []string{"NATS_URL", "NATS_CONTEXT", "NATS_USER", "NATS_PASSWORD", "NATS_CREDS", "NATS_NKEY", "NATS_CERT", "NATS_KEY", "NATS_CA"} {
		t.Setenv(name, "")
	}
}

// TestRun: one process makes what shard.Work makes; a second time there is nothing to do; a shard that fails is 42, and is tried again
// when that is asked for.
func TestRun(t *testing.T) {
	quiet(t)
	in, out, dir := t.TempDir(), t.TempDir(), t.TempDir()
	tars := shardtest.Tars(t, in, shardtest.Pictures{Shards: 4, PerShard: 5})
	want := shardtest.Reference(t, shardtest.Options("", tars))
	args := func(more ...string) []string {
		return append(append([]string{"run", "--model", "builtin:demo", "-o", out, "--dir", dir, "--max-errors", "0.5"}, more...), tars...)
	}
	text, _ := execute(t, exitDone, args()...)
	if !strings.HasPrefix(text, "4 of 4 shards are done, 20 rows; 4 put into the queue\n") {
		t.Errorf("got %q", text)
	}
	shardtest.Whole(t, out, want)
	if _, e := execute(t, exitFailed, args()...); !strings.Contains(e, "has been begun") {
		t.Errorf("without --resume: %q", e)
	}
	text, _ = execute(t, exitDone, args("--resume", "--json")...)
	var sum struct {
		Status shard.Status `json:"status"`
		Queue  nats.Summary `json:"queue"`
	}
	if err := json.Unmarshal([]byte(text), &sum); err != nil || sum.Status.Done != 4 || sum.Queue.Published != 0 {
		t.Errorf("got %+v, %v, want 4 done and nothing published", sum, err)
	}

	// The files of a shard are lost, and its tar is damaged.
	whole, err := os.ReadFile(tars[2])
	if err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(tars[2])
	os.Remove(filepath.Join(out, "img_emb", "img_emb_2.npy"))
	if err := os.WriteFile(tars[2], whole[:1000], 0o666); err != nil {
		t.Fatal(err)
	}
	text, e := execute(t, exitUseless, args("--resume")...)
	if !strings.Contains(text, "3 of 4 shards are done, 15 rows; 1 put into the queue\n") || !strings.Contains(text, "shard 2 is given up: ") || !strings.Contains(e, "1 of 4; --resume --retry-failed") {
		t.Errorf("got %q and %q", text, e)
	}
	if err := os.WriteFile(tars[2], whole, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(tars[2], info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	execute(t, exitUseless, args("--resume")...)
	execute(t, exitDone, args("--resume", "--retry-failed")...)
	shardtest.Whole(t, out, want)
}

// TestWork: a worker elsewhere needs the URL of the broker alone: it takes the model from there.
func TestWork(t *testing.T) {
	quiet(t)
	out, cache := t.TempDir(), t.TempDir()
	tars := shardtest.Tars(t, t.TempDir(), shardtest.Pictures{Shards: 3, PerShard: 4})
	at := freePort(t)
	var all sync.WaitGroup
	all.Go(func() {
		execute(t, exitDone, append([]string{"drive", "--model", "../../../../testdata/tiny/huggingface", "-o", out, "--dir", t.TempDir(), "--listen", at, "--max-errors", "0.5", "--job", "tiny"}, tars...)...)
	})
	var text string
	all.Go(func() {
		text, _ = execute(t, exitDone, "work", "--nats", "nats://"+at, "--cache", cache, "--job", "tiny")
	})
	all.Wait()
	if !strings.HasPrefix(text, "3 shards encoded, 12 rows; ") {
		t.Errorf("the worker says %q", text)
	}
	if v, err := shard.Verify(t.Context(), out, func(err error) { t.Error(err) }); err != nil || v.Done != 3 {
		t.Errorf("%+v, %v", v, err)
	}
	if models, _ := filepath.Glob(filepath.Join(cache, "*", "model", "model.safetensors")); len(models) != 1 {
		t.Errorf("the cache has %v, want one model", models)
	}
}

// TestUsage: what cannot be meant ends with 2 and says what was wanted, and what the world lacks with 1.
func TestUsage(t *testing.T) {
	quiet(t)
	dir := t.TempDir()
	begin := "--model builtin:demo -o " + filepath.Join(dir, "out") + " --dir " + filepath.Join(dir, "js")
	for _, c := range []struct {
		status     int
		line, want string
	}{
		{exitUsage, "run", "at least one INPUT"}, {exitUsage, "drive x", "no model"}, {exitUsage, "drive --model builtin:demo x", "no output"},
		{exitUsage, "frobnicate", "unknown command"}, {exitUsage, "work", "no broker: give --nats URL"}, {exitUsage, "remove", "no broker"}, {exitUsage, "work x", "x"},
		{exitUsage, "run " + begin + " --precision f64 x", `--precision is "f64"`}, {exitUsage, "run " + begin + " --per-shard 0 x", "--per-shard is 0"},
		{exitUsage, "run " + begin + " --max-errors 2 x", "--max-errors is 2"}, {exitUsage, "run " + begin + " --batch -1 x", "--batch is -1"},
		{exitUsage, "run " + begin + " --retry-failed x", "goes with --resume"}, {exitFailed, "run " + begin + " nowhere", "nowhere"},
		{exitFailed, "work --wait 10ms --nats nats://127.0.0.1:1", "127.0.0.1:1"}, {exitUsage, "work --nats nats://127.0.0.1:1 --batch -1", "--batch is -1"},
		{exitFailed, "work --nats nats://127.0.0.1:1 --context x", "the one or the other"}, {exitFailed, "work --context nothing-of-this-name", "nothing-of-this-name"},
	} {
		if _, e := execute(t, c.status, strings.Fields(c.line)...); !strings.Contains(e, c.want) {
			t.Errorf("%s: got %q, want %q", c.line, e, c.want)
		}
	}
	tars := shardtest.Tars(t, t.TempDir(), shardtest.Pictures{Shards: 1, PerShard: 2})
	for _, c := range []struct {
		status      int
		flags, want string
	}{
		{exitUsage, "--creds x", "--creds is of a broker that is there already"}, {exitUsage, "--replicas 3", "--replicas go with --nats"}, {exitUsage, "--nats nats://127.0.0.1:1", "--dir is of an embedded server"},
		{exitFailed, "--listen 0.0.0.0:0", "anybody could connect"}, {exitFailed, "--job a.b", `job is "a.b"`}, {exitFailed, "--lease 1ms", "lease is 1ms"},
	} {
		line := "run " + begin + " --resume " + c.flags + " " + tars[0]
		if _, e := execute(t, c.status, strings.Fields(line)...); !strings.Contains(e, c.want) {
			t.Errorf("%s: got %q, want %q", line, e, c.want)
		}
	}
}

// TestPage: the commands of docs/shards.md and of the help are verbs and flags that there are.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/shards.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(newRoot().Example + "\n" + string(page)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "vitago-nats" {
			continue
		}
		found++
		root := newRoot()
		cmd, rest, err := root.Find(words[1:])
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err != nil || cmd == root {
			t.Errorf("%s: %v", line, err)
		}
	}
	if found < 8 {
		t.Errorf("found %d commands, want 8 or more", found)
	}
}
