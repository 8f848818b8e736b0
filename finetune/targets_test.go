package finetune

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/projector"
)

// A projector that the checkpoint has becomes the head. One that cannot be read is an error, and not a new projector.
func TestSetTargetsProjector(t *testing.T) {
	like, err := converter.Open(golden.Path(t, "testdata/families/llava"))
	if err != nil {
		t.Fatal(err)
	}
	defer like.Close()
	tower, err := like.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := like.ProjectorConfig().Out
	path, rows := filepath.Join(t.TempDir(), "targets.safetensors"), tower.Config.Patches()
	if err := checkpoint.WriteTensors(path, nil, []checkpoint.Values{{Name: "targets", Shape: []int{2, rows, out}, Data: make([]float32, 2*rows*out)}}); err != nil {
		t.Fatal(err)
	}
	vectors, err := data.OpenVectors(path, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer vectors.Close()
	c := &Config{Tower: tower}
	if err := c.SetTargets(t.Context(), vectors, SquareDistance, like, "", nil); err != nil {
		t.Fatal(err)
	}
	want, err := like.Projector(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if hashOf(c.Head.(*projector.Model)) != hashOf(want.Model) {
		t.Error("the head is not the checkpoint's projector")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Head = nil
	if err := c.SetTargets(ctx, vectors, SquareDistance, like, "", nil); !errors.Is(err, context.Canceled) || c.Head != nil {
		t.Errorf("error is %v, head %v, want that the projector could not be read", err, c.Head)
	}
}
