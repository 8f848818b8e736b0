//go:build linux || darwin

package finetune

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/folder/fulldisk"
)

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
	if !fulldisk.Alone(t) {
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
					lift = fulldisk.Limit(t, c.bytes)
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
			lift = fulldisk.Limit(t, size(optimizerFile)-1)
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
	if !fulldisk.Alone(t) {
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
	lift := fulldisk.Limit(t, 4000)
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
