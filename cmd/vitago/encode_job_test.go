//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/vitago/vitago/shard"
	"github.com/vitago/vitago/shard/shardtest"
)

// An indexedJob is what of deploy/kubernetes/encode-job.yaml its stand-in for Kubernetes reads.
type indexedJob struct {
	Kind string
	Spec struct {
		Completions          int
		Parallelism          int
		BackoffLimitPerIndex int              `yaml:"backoffLimitPerIndex"`
		MaxFailedIndexes     int              `yaml:"maxFailedIndexes"`
		PodFailurePolicy     podFailurePolicy `yaml:"podFailurePolicy"`
		Template             struct {
			Spec struct {
				Containers []struct {
					Name string
					Args []string
				}
			}
		}
	}
}

type podFailurePolicy struct {
	Rules []struct {
		Action      string
		OnExitCodes *struct {
			Operator string
			Values   []int
		} `yaml:"onExitCodes"`
		OnPodConditions []struct{ Type, Status string } `yaml:"onPodConditions"`
	}
}

// readJob reads the manifest.
func readJob(t *testing.T) indexedJob {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("..", "..", "deploy", "kubernetes", "encode-job.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for d := yaml.NewDecoder(bytes.NewReader(file)); ; {
		var j indexedJob
		if err := d.Decode(&j); errors.Is(err, io.EOF) {
			t.Fatal("no Job")
		} else if err != nil {
			t.Fatal(err)
		}
		if j.Kind == "Job" {
			return j
		}
	}
}

// action returns what the first rule that fits says of a pod: Count if none does. Source: kubernetes.io/docs/concepts/workloads/controllers/job.
func (p podFailurePolicy) action(status int, disrupted bool) string {
	for _, r := range p.Rules {
		if e := r.OnExitCodes; e != nil && status != 0 && slices.Contains(e.Values, status) == (e.Operator == "In") {
			return r.Action
		}
		for _, c := range r.OnPodConditions {
			if c.Type == "DisruptionTarget" && c.Status == "True" && disrupted {
				return r.Action
			}
		}
	}
	return "Count"
}

// A controller decides as that of Jobs does.
type controller struct {
	job      indexedJob
	failures []int
	actions  map[string]int
}

func (c *controller) after(e shardtest.Exit) shardtest.Next {
	if e.Status == 0 {
		return shardtest.Finished
	}
	action := c.job.Spec.PodFailurePolicy.action(e.Status, e.Killed)
	c.actions[action]++
	switch action {
	case "FailIndex", "FailJob":
		return shardtest.Failed
	case "Count":
		if c.failures[e.Worker]++; c.failures[e.Worker] > c.job.Spec.BackoffLimitPerIndex {
			return shardtest.Failed
		}
	}
	return shardtest.Again
}

// pod returns the container's process of an index: the command of the manifest, with other places and fewer indexes.
func (c *controller) pod(t *testing.T, index int, replace map[string]string) *exec.Cmd {
	t.Helper()
	container := c.job.Spec.Template.Spec.Containers[0]
	args := slices.Clone(container.Args)
	for i, a := range args {
		a = strings.ReplaceAll(a, "$(JOB_COMPLETION_INDEX)", strconv.Itoa(index)) // as the kubelet does, which has the variable from the controller
		if with, ok := replace[a]; ok {
			a = with
		}
		args[i] = strings.TrimSuffix(a, "/"+strconv.Itoa(c.job.Spec.Completions))
		if args[i] != a {
			args[i] += "/" + strconv.Itoa(len(c.failures))
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "JOB_COMPLETION_INDEX="+strconv.Itoa(index), "GOMAXPROCS=1")
	return cmd
}

// What runs in a cluster, in the place of one: the command of the manifest for each index, whose pods are killed, paused and started twice, and
// are tried again by the manifest's policy. One shard is of damaged input: its index fails for good, and all other shards are done.
func TestEncodeJob(t *testing.T) {
	p, indexes, faults := shardtest.Pictures{Shards: 16, PerShard: 4}, 4, 3
	if os.Getenv("VITAGO_SHARDS_FULL") != "" {
		p, indexes, faults = shardtest.Pictures{Shards: 200, PerShard: 12}, 8, 30
	}
	in, out := t.TempDir(), t.TempDir()
	tars := shardtest.Tars(t, in, p)
	o := shardtest.Options("", tars)
	o.MaxErrors = 0.5
	want := shardtest.Reference(t, o)
	c := &controller{job: readJob(t), failures: make([]int, indexes), actions: map[string]int{}}
	replace := map[string]string{"ViT-B/32": "builtin:demo", "s3://BUCKET/embeddings": out, "s3://BUCKET/pictures": in}
	f := shardtest.Fleet{
		Workers: indexes, AtOnce: 3, Shards: p.Shards, Seed: 5, Kills: faults, Pauses: faults, Twins: faults / 2, After: c.after,
		Start: func(i int) *exec.Cmd {
			cmd := c.pod(t, i, replace)
			cmd.Args = append(cmd.Args, "--max-errors", "0.5")
			return cmd
		},
		Done: func(ctx context.Context) (int, error) { return shardtest.Records(ctx, out) },
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	got, err := f.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d killed, %d paused, %d doubled; %v", got.Kills, got.Pauses, got.Twins, c.actions)
	if len(got.Failed) > 0 || len(got.Ended) > 0 || got.Kills == 0 || len(c.actions) > 1 {
		t.Errorf("%+v, actions %v, want pods that were killed, and no other ends", got, c.actions)
	}
	shardtest.Whole(t, out, want)
}

// A damaged tar fails its index for good and at once; the other shards, of its index too, are done.
func TestEncodeJobBadInput(t *testing.T) {
	const shards, damaged = 8, 5
	in, out := t.TempDir(), t.TempDir()
	tars := shardtest.Tars(t, in, shardtest.Pictures{Shards: shards, PerShard: 2, Broken: 1000})
	if err := os.Truncate(tars[damaged], 700); err != nil {
		t.Fatal(err)
	}
	c := &controller{job: readJob(t), failures: make([]int, 4), actions: map[string]int{}}
	replace := map[string]string{"ViT-B/32": "builtin:demo", "s3://BUCKET/embeddings": out, "s3://BUCKET/pictures": in}
	f := shardtest.Fleet{
		Workers: 4, AtOnce: 2, Shards: shards, After: c.after,
		Start: func(i int) *exec.Cmd { return c.pod(t, i, replace) },
		Done:  func(ctx context.Context) (int, error) { return shardtest.Records(ctx, out) },
	}
	got, err := f.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Failed) != 1 || got.Failed[0].Worker != 2 || got.Failed[0].Status != exitNever || c.actions["FailIndex"] != 1 || len(c.actions) != 1 {
		t.Errorf("%+v, actions %v, want index 2, of shards 4 and 5, to fail with %d", got.Failed, c.actions, exitNever)
	}
	if s, err := shard.ReadStatus(t.Context(), out); err != nil || s.Done != shards-1 || s.Failed != 1 || s.Each[damaged].State != shard.StateFailed || !s.Each[damaged].Useless {
		t.Errorf("%+v, error %v, want all but shard %d done", s, err, damaged)
	}
}

// The policy of the manifest: disruptions are ignored, 2 and 42 are for good, and what else happens counts, up to the limit.
func TestPodFailurePolicy(t *testing.T) {
	c := &controller{job: readJob(t), failures: make([]int, 1), actions: map[string]int{}}
	for range 100 {
		if c.after(shardtest.Exit{Status: -1, Killed: true}) != shardtest.Again {
			t.Fatal("a disruption ends an index")
		}
	}
	for _, status := range []int{exitUsage, exitNever} {
		if c.after(shardtest.Exit{Status: status}) != shardtest.Failed {
			t.Errorf("status %d is tried again", status)
		}
	}
	for i, status := range []int{exitFailed, 137, exitInterrupted, exitFailed, exitFailed, exitFailed} {
		want := shardtest.Again
		if i == c.job.Spec.BackoffLimitPerIndex {
			want = shardtest.Failed
		}
		if got := c.after(shardtest.Exit{Status: status}); got != want {
			t.Errorf("failure %d, with status %d: %v, want %v", i+1, status, got, want)
		}
	}
	if fmt.Sprint(c.actions) != "map[Count:6 FailIndex:2 Ignore:100]" {
		t.Errorf("actions %v", c.actions)
	}
}
