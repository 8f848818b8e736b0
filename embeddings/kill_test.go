package embeddings

import (
	"bufio"
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

// killEnv names the environment variable with the file that the process writes that TestKill kills.
const killEnv = "VITAGO_TEST_KILL"

// many is what TestKill writes: some rows fail.
func many(format string) Spec {
	s := sample(format)
	s.Names = nil
	for i := range 400 {
		s.Names = append(s.Names, fmt.Sprintf("%d.png", i))
		if i%50 == 7 {
			s.Names = append(s.Names, bad)
		}
	}
	return s
}

// TestKill: whenever a process is killed, and however often, the end is the same, and nothing lies about.
func TestKill(t *testing.T) {
	if path := os.Getenv(killEnv); path != "" {
		w, err := Create(path, many(""), Options{Resume: true})
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		fmt.Println("begun")
		for w.Done() < len(w.spec.Names) {
			if err := writeRows(w, w.Done()+1); err != nil {
				fmt.Println(err)
				os.Exit(3)
			}
			time.Sleep(20 * time.Microsecond)
		}
		if err := errors.Join(w.Commit(), w.Close()); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1)) // other moments every time
	for _, format := range Formats() {
		whole, dir := t.TempDir(), t.TempDir()
		written(t, filepath.Join(whole, "x."+format), many(format), Options{}, 1<<30)
		killed, rows := 0, map[int]bool{}
		for n := 0; n < 200; n++ {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
			cmd.Env = append(os.Environ(), killEnv+"="+filepath.Join(dir, "x."+format))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if n%4 > 0 { // or it is killed before
				if line, err := bufio.NewReader(out).ReadString('\n'); line != "begun\n" {
					t.Fatal(line, err)
				}
			}
			time.Sleep(time.Duration(rng.IntN(4000)) * time.Microsecond)
			cmd.Process.Kill()
			if err := cmd.Wait(); err == nil && killed < 2 { // it was faster than the clock of a busy machine
				dir, killed = t.TempDir(), 0
				continue
			} else if err == nil {
				break // it was done
			} else if cmd.ProcessState.Exited() && cmd.ProcessState.ExitCode() == 3 {
				t.Fatal("it failed")
			}
			killed++
			if done, err := begun(filepath.Join(dir, "x."+format)); err != nil {
				t.Fatal(err)
			} else {
				rows[done] = true
			}
		}
		t.Logf("%s: killed %d times, at rows %v", format, killed, slices.Sorted(maps.Keys(rows)))
		if killed < 2 {
			t.Error("it was hardly killed")
		}
		written(t, filepath.Join(dir, "x."+format), many(format), Options{Resume: true}, 1<<30)
		if got, want := contents(t, dir), contents(t, whole); !maps.Equal(got, want) {
			t.Errorf("%s: got %s, want %s; or others", format, strings.Join(slices.Sorted(maps.Keys(got)), " "), strings.Join(slices.Sorted(maps.Keys(want)), " "))
		}
	}
}
