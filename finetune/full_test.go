//go:build linux || darwin

package finetune

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
)

// limitFiles, which other systems have with other types, makes writing more than n bytes to a file fail until the function is called that it returns:
// what a full disk does, in the middle of a file.
func limitFiles(t *testing.T, n uint64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ) // or it would end the process
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	low := was
	low.Cur = n
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &low); err != nil {
		t.Fatal(err)
	}
	lift = func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(lift)
	return lift
}

// alone runs the test in a process of its own, and reports whether this is the one: a limit is of the whole process, in
// which go test keeps a log, of a file's size as well, and fails if it cannot.
func alone(t *testing.T) bool {
	t.Helper()
	const is = "VITAGO_TEST_ALONE"
	if os.Getenv(is) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), is+"="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v:\n%s", err, out)
	}
	return false
}

// clean fails the test if something unfinished is left in a directory.
func clean(t *testing.T, dir string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(path, ".partial-") || err != nil {
			t.Errorf("left: %s (%v)", path, err)
		}
		return nil
	})
}

// TestFullDisk: whichever file cannot be written, the error names it and why, the checkpoint before stays, and
// the run goes on from it to the same bits when there is room.
func TestFullDisk(t *testing.T) {
	if !alone(t) {
		return
	}
	config := func(dir string) Config {
		c, _ := goldenConfig(t, 4)
		_, c.Validation, _ = task(t, 4)
		c.Dir, c.Resume, c.CheckpointEvery, c.ValidateEvery = dir, true, 4, 4
		return c
	}
	straight, _ := run(t, config(t.TempDir()))
	size := func(file string) uint64 { // of a file in a checkpoint
		all, _ := numbered(straight.Dir, checkpointPrefix)
		info, err := os.Stat(filepath.Join(all[0].path, file))
		if err != nil {
			t.Fatal(err)
		}
		return uint64(info.Size())
	}
	if size(learningFile) >= size(optimizerFile) {
		t.Fatal("the limits below are of no use")
	}
	for _, c := range []struct {
		name  string
		bytes uint64
		want  string // the file
	}{
		{"optimiser", size(optimizerFile) - 1, filepath.Join("checkpoint-00000008", optimizerFile)},
		{"best weights", size(learningFile) - 1, filepath.Join("best-00000008", learningFile)},
		{"journal", 1000, metricsFile},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			now := config(dir)
			lift := func() {}
			now.Sinks = []history.Sink{history.SinkFunc(func(e history.Event) error {
				if e.Kind == history.TrainEvent && e.Step == 6 {
					lift = limitFiles(t, c.bytes)
				}
				return nil
			})}
			tr, err := New(now)
			if err != nil {
				t.Fatal(err)
			}
			tr.state.Best = -1 // so that the second validation is better than the first for sure
			_, err = tr.Run(context.Background())
			lift()
			if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), filepath.Join(dir, c.want)+": ") || strings.Contains(err.Error(), ".partial-") {
				t.Errorf("error is %v, want %q of %s", err, syscall.EFBIG, c.want)
			}
			if last, err := LastCheckpoint(dir); filepath.Base(last) != "checkpoint-00000004" {
				t.Errorf("last checkpoint is %s: %v", last, err)
			}
			clean(t, dir)
			again, _ := run(t, config(dir))
			sameBits(t, "resumed", weightsOf(again), weightsOf(straight))
		})
	}

	// Who stops a run is told that its last steps are not kept.
	c := config(t.TempDir())
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	lift := func() {}
	c.Train.(*memorySource).yielded = func(b *data.Batch) {
		if b.Epoch == 1 {
			lift = limitFiles(t, size(optimizerFile)-1)
			cancel(stop)
		}
	}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tr.Run(ctx)
	lift()
	if !errors.Is(err, stop) || !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), optimizerFile) {
		t.Errorf("error is %v, want %q and %q", err, stop, syscall.EFBIG)
	}
	clean(t, c.Dir)
}

// TestSaveFullDisk: a model that cannot be written leaves the one before.
func TestSaveFullDisk(t *testing.T) {
	if !alone(t) {
		return
	}
	c, _ := goldenConfig(t, 4)
	c.MaxSteps = 1
	tr, _ := run(t, c)
	dir := t.TempDir()
	dst := filepath.Join(dir, "model")
	if err := tr.Save(t.Context(), dst, nil, converter.Options{}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dst, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	lift := limitFiles(t, 4000)
	err = tr.Save(t.Context(), dst, nil, converter.Options{})
	lift()
	if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), filepath.Join(dst, "model.safetensors")) || strings.Contains(err.Error(), ".partial-") {
		t.Errorf("error is %v, want %q of the file in %s", err, syscall.EFBIG, dst)
	}
	if after, err := os.ReadFile(filepath.Join(dst, "model.safetensors")); err != nil || string(after) != string(before) {
		t.Errorf("the model before is gone: %v", err)
	}
	clean(t, dir)
}
