package beam

import (
	"context"
	"os"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/passert"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/shard"
	"github.com/vitago/vitago/shard/shardtest"
)

func TestMain(m *testing.M) { os.Exit(ptest.MainRet(m)) }

// TestEncode: a pipeline on Prism makes the dataset that one process makes; a shard whose tar is damaged is a result with a reason.
func TestEncode(t *testing.T) {
	tars := shardtest.Tars(t, t.TempDir(), shardtest.Pictures{Shards: 4, PerShard: 5})
	want := shardtest.Reference(t, shardtest.Options("", tars))
	out := t.TempDir()
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	job, err := shard.Open(context.Background(), m, shardtest.Options(out, tars))
	if err != nil {
		t.Fatal(err)
	}
	todo, err := job.Todo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time all are there
		p, s := beam.NewPipelineWithRoot()
		results := Encode(s, EncodeFn{Model: demo.Name, Output: out, MaxErrors: 0.5}, todo)
		passert.Count(s, results, "shards", 4)
		ptest.RunAndValidate(t, p)
		shardtest.Whole(t, out, want)
	}
}

// TestUseless: a tar that has changed since the plan is a result with a reason, and does not end the pipeline.
func TestUseless(t *testing.T) {
	tars := shardtest.Tars(t, t.TempDir(), shardtest.Pictures{Shards: 2, PerShard: 5})
	out := t.TempDir()
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := shard.Open(context.Background(), m, shardtest.Options(out, tars)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(tars[1], 1024); err != nil {
		t.Fatal(err)
	}
	p, s := beam.NewPipelineWithRoot()
	results := Encode(s, EncodeFn{Model: demo.Name, Output: out, MaxErrors: 0.5}, []int{0, 1})
	failed := beam.ParDo(s, hasReason, results)
	passert.Equals(s, failed, false, true)
	ptest.RunAndValidate(t, p)
}

func init() { register.Function1x1(hasReason) }

func hasReason(r Result) bool { return r.Failed != "" }
