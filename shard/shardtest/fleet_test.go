//go:build unix

package shardtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/shard"
	_ "github.com/vitago/vitago/shard/store/s3" // buckets
	"github.com/vitago/vitago/shard/store/storetest"
)

// environment variables of the processes that work, which are this test's binary
const (
	workerEnv = "VITAGO_SHARDTEST_WORKER" // its output
	partEnv   = "VITAGO_SHARDTEST_PART"   // I/N, or nothing for claims
)

func TestMain(m *testing.M) {
	if out := os.Getenv(workerEnv); out != "" {
		os.Exit(work(out, os.Getenv(partEnv)))
	}
	os.Exit(m.Run())
}

// work is a worker: the plan is there.
func work(out, part string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		if shard.Useless(err) {
			return 42
		}
		return 1
	}
	ctx := context.Background()
	m, err := demo.Open()
	if err != nil {
		return fail(err)
	}
	j, err := shard.Open(ctx, m, Options(out, nil))
	if err != nil {
		return fail(err)
	}
	var s shard.Source
	if part != "" {
		var i, of int
		if _, err := fmt.Sscanf(part, "%d/%d", &i, &of); err != nil {
			return fail(err)
		}
		s, err = j.Assigned(i, of)
	} else {
		var end func()
		s, end, err = j.Claims(ctx, shard.ClaimOptions{Lease: lease})
		if err == nil {
			defer end()
		}
	}
	if err != nil {
		return fail(err)
	}
	r, err := j.Work(ctx, s)
	switch {
	case err != nil:
		return fail(err)
	case r.Failed > 0:
		return fail(r.First)
	}
	return 0
}

// lease is short, so that shards of paused workers are taken over.
const lease = 300 * time.Millisecond

// size is how much is done: as much as a test may take, or, with -full, what .ci/long does.
func size() (p Pictures, workers, faults int) {
	if *full {
		return Pictures{Shards: 200, PerShard: 12}, 4, 30
	}
	return Pictures{Shards: 20, PerShard: 4}, 3, 3
}

// begin makes a plan and returns what it has to come to.
func begin(t *testing.T, in, out string, p Pictures) Dataset {
	t.Helper()
	tars := Tars(t, in, p)
	want := Reference(t, Options("", tars))
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := shard.Open(t.Context(), m, Options(out, tars)); err != nil {
		t.Fatal(err)
	}
	return want
}

// self returns this binary as a worker.
func self(t *testing.T, out, part string, env ...string) *exec.Cmd {
	t.Helper()
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(me)
	c.Env = append(append(os.Environ(), workerEnv+"="+out, partEnv+"="+part, "GOMAXPROCS=1"), env...)
	return c
}

// Workers claim shards by files, or have parts assigned, and are killed, paused and doubled meanwhile: in a folder, and in a bucket of a server that
// answers 500 and 503, cuts bodies, closes connections, and loses answers.
func TestFleet(t *testing.T) {
	for _, bucket := range []bool{false, true} {
		for _, assigned := range []bool{false, true} {
			name := "folder"
			if bucket {
				name = "bucket"
			}
			if bucket && assigned && !*full {
				continue // as in a folder
			}
			t.Run(fmt.Sprintf("%s, assigned %v", name, assigned), func(t *testing.T) { fleet(t, bucket, assigned) })
		}
	}
}

func fleet(t *testing.T, bucket, assigned bool) {
	p, workers, faults := size()
	in, out := t.TempDir(), t.TempDir()
	var server *storetest.Server
	if bucket {
		server = storetest.NewServer(t)
		server.Setenv(t)
		t.Setenv("AWS_MAX_ATTEMPTS", "20")
		in, out = server.Location+"/in", server.Location+"/out"
	}
	want := begin(t, in, out, p)
	if bucket {
		server.Fail(storetest.Random(7, 0.05, storetest.Error500, storetest.Error503, storetest.Cut, storetest.Reset, storetest.LostAnswer))
	}
	f := Fleet{
		Workers: workers, Shards: p.Shards, Seed: 1, Kills: faults, Pauses: faults, Twins: faults / 2,
		Start: func(i int) *exec.Cmd {
			part := ""
			if assigned {
				part = fmt.Sprintf("%d/%d", i, workers)
			}
			return self(t, out, part)
		},
		Done: func(ctx context.Context) (int, error) { return Records(ctx, out) },
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	got, err := f.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if bucket {
		requests, faults := server.Counts()
		t.Logf("%d requests, %d of them with a fault", requests, faults)
		server.Fail(nil)
	}
	t.Logf("%d killed, %d paused, %d doubled, %d ended by themselves", got.Kills, got.Pauses, got.Twins, len(got.Ended))
	if len(got.Ended) > 0 && !bucket || len(got.Failed) > 0 || got.Kills == 0 || got.Pauses == 0 {
		t.Errorf("%+v, want workers that end well, and some that were killed and paused", got)
	}
	Whole(t, out, want)
}
