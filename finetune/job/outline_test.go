package job

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/internal/golden"
)

func TestOutline(t *testing.T) {
	r := Request{Model: golden.Path(t, "testdata/tiny/huggingface"), Data: draw(t), Recipe: "lora", Output: filepath.Join(t.TempDir(), "out"), Split: 0.3, DryRun: true}
	r.Overrides = Overrides{Batch: new(2), Accumulate: new(1), Epochs: new(3)}
	j, err := Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	o, err := j.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	classes := []ClassCount{{"circle", 2, 1}, {"ring", 2, 1}}
	if o.Pictures != 4 || o.Validation != 2 || !slices.Equal(o.Classes, classes) || o.Steps != 6 || o.Epochs != 3 || o.PerEpoch != 2 || o.PerStep != 2 || o.Time <= 0 {
		t.Errorf("got %+v", o)
	}
	const want = "[[pictures 4 to train on, 2 to validate on] [classes 2, of 2 pictures; to train + validate on: circle 2+1, ring 2+1] [steps 6, of 2 pictures] [epochs 3, of 2 steps] [time about "
	if got := fmt.Sprint(o.Rows()); !strings.HasPrefix(got, want) || !strings.Contains(got, "measured over ") {
		t.Errorf("got %s, want %s", got, want)
	}

	r.Recipe, r.Overrides, r.Split = "probe", Overrides{}, 0
	p, err := OpenProbe(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if o, err = p.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o.Pictures != 4 || o.Validation != 2 || !slices.Equal(o.Classes, classes) || o.Time <= 0 || o.Basis == "" {
		t.Errorf("the probe: %+v", o)
	}
	for d, want := range map[time.Duration]string{time.Millisecond: "1 s", 99 * time.Second: "99 s", 101 * time.Second: "2 min", 3 * time.Hour: "3.0 h"} {
		if got := About(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}
