package main

import (
	"io"
	"path/filepath"

	"bytes"
	"math"
	"os"
	"strings"
	"testing"
)

func parameters(t *testing.T) Parameters {
	t.Helper()
	p, err := read(defaults)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// round is a set of parameters whose results can be computed in the head.
func round() (p Parameters) {
	v := func(x float64) Value { return Value{Value: x, Of: "test", Source: "test", Date: "2026-11-30"} }
	p.Prices.Core, p.Prices.Spot, p.Prices.GPU, p.Prices.Get, p.Prices.Put, p.Prices.Storage = v(0.1), v(0.5), v(2), v(1), v(10), v(0.02)
	p.Models = []Model{{Name: "M", Dim: 500, File: 1, Memory: 2}}
	p.Cores = []Rate{{Model: "M", Precision: "float32", Value: v(10)}}
	p.GPUs = []Rate{{Model: "M", Precision: "float16", Value: v(1000)}}
	d := &p.Data
	d.Picture, d.Row, d.PerShard, d.Start, d.Shard, d.Gets, d.Puts, d.Renew, d.Kills = v(1e5), v(24), v(1000), v(100), v(10), v(3), v(5), v(20), v(1e-9)
	l := &p.Limits
	l.Get, l.Put, l.Indexes, l.Pods, l.Memory = v(100), v(50), v(1000), v(1e4), v(10)
	return p
}

func TestMakePlan(t *testing.T) {
	p := round()
	// 1,000 shards of 1,000 images on 100 pods of 2 cores: 20 images/s, 50 s and 10 s a shard, 10 shards a pod, 100 s of start.
	l, err := p.MakePlan(Job{Images: 1e6, Model: "M", Precision: "float32", Pods: 100, Cores: 2})
	if err != nil {
		t.Fatal(err)
	}
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6*want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	near("shards", l.Shards, 1000)
	near("seconds of a shard", l.ShardSeconds, 60)
	near("hours", l.Hours, 700.0/3600)
	near("core-hours", l.CoreHours, 700.0/3600*200)
	near("USD", l.OnDemand, 700.0/3600*200*0.1)
	near("USD spot", l.Spot, 700.0/3600*200*0.1*0.5)
	near("TB read", l.Read, 0.1)
	near("Gbit/s", l.Gbits, 8*(1e11+100*1e9)/700/1e9)
	near("TB written", l.Written, 1e6*1024/1e12)
	near("USD a month", l.Storage, 1.024*0.02)
	near("GET", l.Gets, 3000)
	near("PUT", l.Puts, 5000)
	near("USD of requests", l.Requests, 3000/1e6+5000*10/1e6)
	near("hours of a GPU", l.GPUHours, 1000.0/3600)
	near("USD of a GPU", l.GPUPrice, 2000.0/3600)
	near("images/s of a GPU as dear as cores", l.Even, 200) // 10 images/s for 0.1 USD are 200 for 2
	for _, b := range p.limits(l) {
		switch {
		case strings.HasPrefix(b.Name, "GET"):
			near(b.Name, b.Takes, 3000.0/700)
		case strings.HasPrefix(b.Name, "PUT"):
			near(b.Name, b.Takes, 5000.0/700)
		case strings.HasPrefix(b.Name, "GB"):
			near(b.Name, b.Takes, 1)
		}
	}
	if first := p.limits(l)[0]; !strings.HasPrefix(first.Name, "PUT") { // 0.143 of what there is; memory 0.1, indexes 0.1, GET 0.043
		t.Errorf("what breaks first is %+v, want PUT", first)
	}

	// A shard that is not full, more pods than shards, pictures as objects.
	l, err = p.MakePlan(Job{Images: 2500, Model: "M", Precision: "float32", Pods: 5, Cores: 1, Single: true})
	if err != nil {
		t.Fatal(err)
	}
	near("shards", l.Shards, 3)
	near("hours", l.Hours, 210.0/3600)
	near("core-hours", l.CoreHours, (210+210+160)/3600.0)
	near("GET", l.Gets, 2500+9)

	l, err = p.MakePlan(Job{Images: 1e6, Model: "M", Precision: "float32", Pods: 100, Cores: 2, Claimed: true})
	if err != nil {
		t.Fatal(err)
	}
	near("PUT with three renewals a shard", l.Puts, 5000+3000)

	for _, wrong := range []Job{{}, {Images: 1, Model: "N", Precision: "float32", Pods: 1, Cores: 1}, {Images: 1, Model: "M", Precision: "int4", Pods: 1, Cores: 1}, {Images: math.NaN(), Model: "M", Precision: "float32", Pods: 1, Cores: 1}, {Images: 1, Model: "M", Precision: "float32", Pods: 0, Cores: 1}} {
		if _, err := p.MakePlan(wrong); err == nil {
			t.Errorf("%+v is planned", wrong)
		}
	}
}

// Every number has a source and a date, and a mistake is named.
func TestRead(t *testing.T) {
	p := parameters(t)
	for _, r := range p.Cores {
		if _, _, err := p.model(r.Model, r.Precision); err != nil {
			t.Error(err)
		}
	}
	for old, c := range map[string][2]string{
		"value: 0.05389":     {"value: -1", "prices.core is -1"},
		"date: 2022-04-01":   {"date: then", `has date "then"`},
		"value: 5500, ":      {"", "limits.get is 0"},
		"source: assumption": {`source: ""`, `source ""`},
		"prices:":            {"prizes:", "prizes"},
		"dim: 512":           {"dim: 0", "Dim:0"},
	} {
		changed := bytes.Replace(defaults, []byte(old), []byte(c[0]), 1)
		if _, err := read(changed); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s → %s: %v, want %s", old, c[0], err, c[1])
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.05389: "0.0539", 1: "1", 1.25: "1.25", 99.94: "99.9", 123.4: "123", 1234567: "1,230,000", -12.5: "-12.5", 1e9: "1,000,000,000"} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

// The page's tables are the program's.
func TestPage(t *testing.T) {
	const name = "../../docs/scale.md"
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := readRuns(measured)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := parts(parameters(t), runs)
	if err != nil {
		t.Fatal(err)
	}
	want, err := fill(string(page), texts)
	if err != nil {
		t.Fatal(err)
	}
	if want != string(page) {
		t.Error("docs/scale.md is not what the program writes: go run ./scale -page ../docs/scale.md")
	}
	for _, wrong := range []string{"", "<!-- scale costs -->\n", "<!-- scale other -->\n<!-- /scale -->", string(page) + "<!-- scale costs -->\n<!-- /scale -->"} {
		if _, err := fill(wrong, texts); err == nil {
			t.Errorf("a page %.40q is filled", wrong)
		}
	}
}

// The simulation predicts the runs that were measured.
func TestRuns(t *testing.T) {
	runs, err := readRuns(measured)
	if err != nil {
		t.Fatal(err)
	}
	if len(runs.Cases) == 0 {
		t.Error("no runs")
	}
	for _, c := range runs.Cases {
		if r := c.predicted() / c.Measured; r < 0.9 || r > 1.1 {
			t.Errorf("%s: predicted %.1f s, measured %.1f s", c.Name, c.predicted(), c.Measured)
		}
	}
}

func TestCommand(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-images", "1e8", "-model", "ViT-B/32", "-precision", "int8", "-simulate", "-slow", "0.05"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"10,000 of 10,000 images", "core-hours", "breaks first", "simulated"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	for _, wrong := range [][]string{{"-model", "x"}, {"x"}, {"-parameters", "no such file"}, {"-simulate", "-slow", "2"}, {"-page", "no such file"}} {
		if err := run(wrong, &out); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

// TestCommandsOfPages runs this program's commands of docs/scale.md and deploy/README.md, on copies of the files that they name.
func TestCommandsOfPages(t *testing.T) {
	dir, found := t.TempDir(), 0
	for _, name := range []string{"docs/scale.md", "deploy/README.md"} {
		page, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(page)) {
			line, _, _ = strings.Cut(line, " #")
			rest, ok := strings.CutPrefix(line, "go run ./scale ")
			if !ok {
				continue
			}
			found++
			args := strings.Fields(rest)
			for i, w := range args {
				if from := map[string]string{"mine.yaml": "deploy/scale/scale.yaml", "../docs/scale.md": "docs/scale.md"}[w]; from != "" {
					file, err := os.ReadFile(filepath.Join("../..", from))
					if err != nil {
						t.Fatal(err)
					}
					args[i] = filepath.Join(dir, filepath.Base(w))
					if err := os.WriteFile(args[i], file, 0o666); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := run(args, io.Discard); err != nil {
				t.Errorf("%s: %s: %v", name, line, err)
			}
		}
	}
	if found < 5 {
		t.Errorf("%d commands were found, want 5 or more", found)
	}
}
