//go:build unix

package shardtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/shard"
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

// Workers claim shards by files in a folder, or have parts assigned, and are killed, paused and doubled meanwhile.
func TestFleet(t *testing.T) {
	for _, assigned := range []bool{false, true} {
		t.Run("assigned="+strconv.FormatBool(assigned), func(t *testing.T) {
			p, workers, faults := size()
			out := t.TempDir()
			want := begin(t, t.TempDir(), out, p)
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
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			got, err := f.Run(ctx)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d killed, %d paused, %d doubled", got.Kills, got.Pauses, got.Twins)
			if len(got.Ended) > 0 || got.Kills == 0 || got.Pauses == 0 {
				t.Errorf("%+v, want workers that end well, and some that were killed and paused", got)
			}
			Whole(t, out, want)
		})
	}
}
