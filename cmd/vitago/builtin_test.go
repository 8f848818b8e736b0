package main

import (
	"strings"
	"testing"
)

// TestBuiltin: the model in the program is opened by its name wherever a model is named; classify takes it where none is, and says so.
func TestBuiltin(t *testing.T) {
	want := vitago("classify", "--model", "builtin:demo", "--labels", "a circle,a star", "testdata/demo/cat.png")
	want.want(t, exitDone, []string{"a circle"}, []string{""})
	got := vitago("classify", "--labels", "a circle,a star", "testdata/demo/cat.png")
	got.want(t, exitDone, []string{want.out}, []string{builtinNote})
	if strings.Contains(want.err, builtinNote) {
		t.Errorf("standard error is %q, although a model is named", want.err)
	}
	for _, args := range [][]string{{"encode", "--model", "builtin:demo", "testdata/demo/cat.png"}, {"inspect", "builtin:demo"}, {"convert", "builtin:demo", t.TempDir() + "/model"}} {
		if got := vitago(args...); got.status != exitDone {
			t.Errorf("%q: status %d, standard error %q", args, got.status, got.err)
		}
	}
	vitago("encode", "testdata/demo/cat.png").want(t, exitUsage, nil, []string{"no model: give --model DIR"})
}
