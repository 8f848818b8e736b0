package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// TestExportHead: the head of a run and that of a checkpoint are written alone.
func TestExportHead(t *testing.T) {
	out, pictures := filepath.Join(t.TempDir(), "out"), colours(t, 4)
	vitago("finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", "probe", "--split", "0.5").want(t, exitDone, []string{"model"}, []string{""})
	file := filepath.Join(t.TempDir(), "sub", "head.csv")
	for _, src := range []string{filepath.Join(out, "model"), golden.Path(t, "testdata/peft/0.21.2/classifier")} {
		vitago("export", src, file, "--to", "head-csv", "--overwrite").want(t, exitDone, []string{"classes  3\n", "reads    "}, nil)
		lines := strings.Split(strings.TrimSpace(read(t, file)), "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[0], "class,bias,w0,w1,") {
			t.Errorf("%s: %d lines, %.40s", src, len(lines), lines[0])
		}
	}
	vitago("export", filepath.Join(out, "model"), file, "--to", "head-npz").want(t, exitFailed, nil, []string{"exists; give --overwrite"})
	vitago("export", filepath.Join(out, "model"), filepath.Dir(file), "--to", "head-npz").want(t, exitFailed, nil, []string{"is a directory, want a file"})
	vitago("export", tinyModel, filepath.Join(t.TempDir(), "x"), "--to", "head-npz").want(t, exitFailed, nil, []string{"no head that a run has trained"})
	npz := filepath.Join(t.TempDir(), "head.npz")
	vitago("export", filepath.Join(out, "model"), npz, "--to", "head-npz").want(t, exitDone, []string{"form     head-npz\n"}, nil)
	if info, err := os.Stat(npz); err != nil || info.Size() < 500 {
		t.Errorf("%v: %v", info, err)
	}
}
