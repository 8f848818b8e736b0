package shard

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/shard/input"
)

// killEnv names the environment variable with the output of the process that TestKill kills.
const killEnv = "VITAGO_TEST_KILL_SHARDS"

// TestKill: whenever workers are killed, and however often, the dataset has the same bytes in the end, and nothing lies about. Shards whose
// workers have died are taken over at once: the lease is an hour.
func TestKill(t *testing.T) {
	const shards = 12
	if out := os.Getenv(killEnv); out != "" {
		m, err := demo.Open()
		if err == nil {
			var j *Job
			if j, err = Open(t.Context(), m, Options{Output: out, Resume: true}); err == nil {
				fmt.Println("begun")
				var s Source
				if s, _, err = j.Claims(t.Context(), ClaimOptions{Lease: time.Hour}); err == nil {
					_, err = j.Work(t.Context(), s)
				}
			}
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	in, whole, out := photos(t, 3*shards, nil), t.TempDir(), t.TempDir()
	o := Options{Output: whole, Inputs: []string{in}, Input: input.Options{PerShard: 3}}
	all(t, open(t, o))
	o.Output = out
	open(t, o)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1)) // other moments every time
	killed, done := 0, false
	for range 12 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), killEnv+"="+out)
		said, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(said).ReadString('\n'); line != "begun\n" {
			t.Fatal(line, err)
		}
		time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
		cmd.Process.Kill()
		if err := cmd.Wait(); err == nil {
			done = true
			break
		} else if cmd.ProcessState.ExitCode() == 3 {
			t.Fatal("it failed")
		}
		killed++
	}
	if !done {
		all(t, open(t, Options{Output: out, Resume: true}))
	}
	t.Logf("killed %d times", killed)
	if !maps.Equal(tree(t, out), tree(t, whole)) {
		t.Error("the files are not those of a worker that lived")
	}
	v, err := Verify(t.Context(), out, func(err error) { t.Error(err) })
	if err != nil || v.Rows != 3*shards {
		t.Errorf("%+v, error %v", v, err)
	}
	if left, _ := filepath.Glob(filepath.Join(out, "vitago", "tmp", "*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}
