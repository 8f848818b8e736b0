package shardtest

import (
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/vitago/vitago/shard"
	_ "github.com/vitago/vitago/shard/store/s3" // buckets
	"github.com/vitago/vitago/shard/store/storetest"
)

// What a shard asks of a bucket is what deploy/scale/scale.yaml has. LIST costs as much as PUT; DELETE is free.
func TestRequests(t *testing.T) {
	server := storetest.NewServer(t)
	server.Setenv(t)
	var reads, lists, writes, deletes atomic.Int64
	server.Fail(func(r *http.Request) storetest.Fault {
		switch {
		case r.Method == http.MethodGet && r.URL.Query().Has("list-type"):
			lists.Add(1)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			reads.Add(1)
		case r.Method == http.MethodDelete:
			deletes.Add(1)
		default:
			writes.Add(1)
		}
		return storetest.None
	})
	const shards = 10
	tars := Tars(t, server.Location+"/in", Pictures{Shards: shards, PerShard: 3, Broken: 1000})
	if _, err := shard.Open(t.Context(), model(), Options(server.Location+"/out", tars)); err != nil { // the plan
		t.Fatal(err)
	}
	count := func() [4]int64 { return [4]int64{reads.Load(), lists.Load(), writes.Load(), deletes.Load()} }
	before := count()
	if r, err := inProcess(t.Context(), Options(server.Location+"/out", tars), time.Minute); err != nil || r.Done != shards {
		t.Fatalf("%+v, error %v", r, err)
	}
	after := count()
	each := func(i int) float64 { return float64(after[i]-before[i]) / shards }
	t.Logf("a shard: %.1f GET and HEAD, %.1f LIST, %.1f PUT and COPY, %.1f DELETE", each(0), each(1), each(2), each(3))

	file, err := os.ReadFile(filepath.Join("..", "..", "deploy", "scale", "scale.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var has struct {
		Data struct{ Gets, Puts struct{ Value float64 } }
	}
	if err := yaml.Unmarshal(file, &has); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][2]float64{"gets": {each(0), has.Data.Gets.Value}, "puts": {each(1) + each(2), has.Data.Puts.Value}} {
		if c[0] > c[1] || c[0] < c[1]-3 {
			t.Errorf("%s are %.1f a shard, and the calculator has %v", name, c[0], c[1])
		}
	}
}
