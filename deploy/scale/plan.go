package main

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"sigs.k8s.io/yaml"
)

//go:embed scale.yaml
var defaults []byte

// A Value is a number with what it is of, who says so, and when.
type Value struct {
	Value  float64 `json:"value"`
	Of     string  `json:"of"`
	Source string  `json:"source"`
	Date   string  `json:"date"` // as 2026-11-30
}

// A Rate is how many images a second one core, or one GPU, encodes.
type Rate struct {
	Model     string `json:"model"`
	Precision string `json:"precision"`
	Value
}

// A Model is what of one counts here.
type Model struct {
	Name   string  `json:"name"`
	Dim    int     `json:"dim"`    // numbers in an embedding
	File   float64 `json:"file"`   // GB that a pod reads before its first image
	Memory float64 `json:"memory"` // GB of a process on two cores, resident, the most
}

// Parameters are scale.yaml.
type Parameters struct {
	Prices struct {
		Core, Spot, GPU, Get, Put, Storage Value
	} `json:"prices"`
	Models []Model `json:"models"`
	Cores  []Rate  `json:"cores"`
	GPUs   []Rate  `json:"gpus"`
	Data   struct {
		Picture, Row, PerShard, Start, Shard, Gets, Puts, Renew, Kills Value
	} `json:"data"`
	Limits struct {
		Get, Put, Indexes, Pods, Memory Value
	} `json:"limits"`
}

// read decodes parameters and says all that is wrong with them.
func read(file []byte) (p Parameters, err error) {
	if err := yaml.UnmarshalStrict(file, &p); err != nil {
		return p, fmt.Errorf("parameters: %w", err)
	}
	var wrong []error
	values := map[string]Value{
		"prices.core": p.Prices.Core, "prices.spot": p.Prices.Spot, "prices.gpu": p.Prices.GPU, "prices.get": p.Prices.Get,
		"prices.put": p.Prices.Put, "prices.storage": p.Prices.Storage, "data.picture": p.Data.Picture, "data.row": p.Data.Row,
		"data.pershard": p.Data.PerShard, "data.start": p.Data.Start, "data.shard": p.Data.Shard, "data.gets": p.Data.Gets,
		"data.puts": p.Data.Puts, "data.renew": p.Data.Renew, "data.kills": p.Data.Kills, "limits.get": p.Limits.Get, "limits.put": p.Limits.Put,
		"limits.indexes": p.Limits.Indexes, "limits.pods": p.Limits.Pods, "limits.memory": p.Limits.Memory,
	}
	for _, r := range p.Cores {
		values["cores "+r.Model+" "+r.Precision] = r.Value
	}
	for _, r := range p.GPUs {
		values["gpus "+r.Model+" "+r.Precision] = r.Value
	}
	for name, v := range values {
		if !(v.Value > 0) || math.IsInf(v.Value, 0) {
			wrong = append(wrong, fmt.Errorf("%s is %v, want a number above 0", name, v.Value))
		}
		if v.Of == "" || v.Source == "" {
			wrong = append(wrong, fmt.Errorf("%s has of %q and source %q, want both", name, v.Of, v.Source))
		}
		if _, err := time.Parse(time.DateOnly, v.Date); err != nil {
			wrong = append(wrong, fmt.Errorf("%s has date %q, want one as 2026-11-30", name, v.Date))
		}
	}
	for _, m := range p.Models {
		if m.Dim < 1 || !(m.File > 0) || !(m.Memory > 0) {
			wrong = append(wrong, fmt.Errorf("model %+v: want dim, file and memory above 0", m))
		}
	}
	slices.SortFunc(wrong, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	if err := errors.Join(wrong...); err != nil {
		return p, fmt.Errorf("parameters: %w", err)
	}
	return p, nil
}

// model returns what is known of a model, and what a core does with it.
func (p Parameters) model(name, precision string) (Model, Rate, error) {
	i := slices.IndexFunc(p.Models, func(m Model) bool { return m.Name == name })
	j := slices.IndexFunc(p.Cores, func(r Rate) bool { return r.Model == name && r.Precision == precision })
	if i < 0 || j < 0 {
		return Model{}, Rate{}, fmt.Errorf("model %q in %q is not among the parameters, which have %s", name, precision, p.kinds())
	}
	return p.Models[i], p.Cores[j], nil
}

func (p Parameters) kinds() (all string) {
	for i, r := range p.Cores {
		if i > 0 {
			all += ", "
		}
		all += r.Model + " " + r.Precision
	}
	return all
}

// A Job is what is asked for.
type Job struct {
	Images           float64
	Model, Precision string
	Pods, Cores      int     // pods at the same time; whole cores of each
	PerShard         float64 // images; 0: as the parameters say
	Picture          float64 // bytes; 0: as the parameters say
	Single           bool    // pictures are objects of their own, not members of tars
	Claimed          bool    // shards are claimed by files, and claims are renewed; otherwise each pod has a share assigned
}

// A Plan is what a job takes when nothing goes wrong.
type Plan struct {
	Job
	Shards                   float64
	ShardSeconds             float64 // of a full shard
	Hours                    float64 // from the first pod's start to the last shard
	CoreHours                float64 // of all pods, each until its last shard is done
	OnDemand, Spot           float64 // USD of the cores
	Repeated                 float64 // share of the work that interruptions of spot cores make pods do again
	Memory                   float64 // GB of a pod
	Read, Written            float64 // TB of pictures; TB of vectors and metadata
	Gbits                    float64 // Gbit/s into all pods while they run
	Gets, Puts               float64 // requests
	Requests, Storage        float64 // USD; USD a month for what was written
	GPU                      float64 // images/s of one, 0 if nobody has published them
	GPUHours, GPUPrice, Even float64 // hours of one GPU and USD for the images; images/s from which on a GPU is cheaper than cores on demand
}

const hour, gigabyte, terabyte = 3600, 1e9, 1e12

// MakePlan computes a job.
//
// Each pod has a share of consecutive shards, as [assigned] says. So the last pod is done after start + ⌈S/P⌉·(n/r + o) seconds for S
// shards of n images, r images/s of a pod, and o seconds of a shard that are not encoding.
func (p Parameters) MakePlan(j Job) (Plan, error) {
	m, rate, err := p.model(j.Model, j.Precision)
	if err != nil {
		return Plan{}, err
	}
	j.PerShard = cmp.Or(j.PerShard, p.Data.PerShard.Value)
	j.Picture = cmp.Or(j.Picture, p.Data.Picture.Value)
	if !(j.Images >= 1) || !(j.PerShard >= 1) || !(j.Picture > 0) || j.Pods < 1 || j.Cores < 1 {
		return Plan{}, fmt.Errorf("%v images in shards of %v, %v bytes each, %d pods of %d cores: want all above 0", j.Images, j.PerShard, j.Picture, j.Pods, j.Cores)
	}
	var seconds, last float64
	work := p.shards(j, rate.Value.Value)
	for i := range j.Pods {
		from, to := assigned(i, j.Pods, len(work))
		if from == to { // it has no shard, and is not started
			continue
		}
		mine := p.Data.Start.Value
		for _, s := range work[from:to] {
			mine += s
		}
		seconds += mine
		last = max(last, mine)
	}
	l := Plan{Job: j, Shards: float64(len(work)), ShardSeconds: work[0], Hours: last / hour, CoreHours: seconds / hour * float64(j.Cores)}
	l.OnDemand = l.CoreHours * p.Prices.Core.Value
	l.Repeated = repeated(p.Data.Kills.Value/hour, l.ShardSeconds)
	l.Spot = l.OnDemand * p.Prices.Spot.Value * (1 + l.Repeated)
	l.Memory = m.Memory
	l.Read, l.Written = j.Images*j.Picture/terabyte, j.Images*(2*float64(m.Dim)+p.Data.Row.Value)/terabyte
	pods := float64(min(j.Pods, len(work)))
	l.Gbits = 8 * (l.Read*terabyte + pods*m.File*gigabyte) / (l.Hours * hour) / 1e9
	l.Gets, l.Puts = l.Shards*p.Data.Gets.Value, l.Shards*p.Data.Puts.Value
	if j.Single {
		l.Gets += j.Images
	}
	if j.Claimed {
		l.Puts += l.Shards * math.Floor(l.ShardSeconds/p.Data.Renew.Value)
	}
	l.Requests = l.Gets/1e6*p.Prices.Get.Value + l.Puts/1e6*p.Prices.Put.Value
	l.Storage = l.Written * terabyte / gigabyte * p.Prices.Storage.Value
	l.Even = rate.Value.Value * p.Prices.GPU.Value / p.Prices.Core.Value
	if i := slices.IndexFunc(p.GPUs, func(r Rate) bool { return r.Model == j.Model }); i >= 0 {
		l.GPU = p.GPUs[i].Value.Value
		l.GPUHours = j.Images / l.GPU / hour
		l.GPUPrice = l.GPUHours * p.Prices.GPU.Value
	}
	return l, nil
}

// assigned returns the shards from and to, without the latter, that pod i of so many has of n: shard.Job.Assigned.
func assigned(i, of, n int) (from, to int) { return i * n / of, (i + 1) * n / of }

// shards returns the seconds that each shard of a job takes a pod.
func (p Parameters) shards(j Job, rate float64) []float64 {
	work := make([]float64, int(math.Ceil(j.Images/j.PerShard)))
	for i := range work {
		images := min(j.PerShard, j.Images-float64(i)*j.PerShard)
		work[i] = images/(rate*float64(j.Cores)) + p.Data.Shard.Value
	}
	return work
}

// repeated is the share of the work that is lost, and done again, when pods are killed at a rate a second and a shard takes so
// many seconds: a shard is begun until one attempt is not killed, which takes (e^λτ-1)/λ seconds of work in the mean, and not τ.
func repeated(rate, seconds float64) float64 {
	if rate == 0 {
		return 0
	}
	return math.Expm1(rate*seconds)/(rate*seconds) - 1
}

// A Limit is a bound that somebody else sets, and how much of it a plan takes.
type Limit struct {
	Name       string
	Takes, Has float64
	Source     string
}

// limits returns them, that first which breaks first.
func (p Parameters) limits(l Plan) []Limit {
	m, _, _ := p.model(l.Model, l.Precision)
	seconds := l.Hours * hour
	all := []Limit{
		{"GET/s from one prefix", l.Gets / seconds, p.Limits.Get.Value, p.Limits.Get.Source},
		{"PUT/s into one prefix", l.Puts / seconds, p.Limits.Put.Value, p.Limits.Put.Source},
		{"indexes of one Job that run at once", float64(l.Pods), p.Limits.Indexes.Value, p.Limits.Indexes.Source},
		{"pods of a cluster", float64(l.Pods), p.Limits.Pods.Value, p.Limits.Pods.Source},
		{"GB of memory to search all vectors in float16", l.Images * 2 * float64(m.Dim) / gigabyte, p.Limits.Memory.Value, p.Limits.Memory.Source},
	}
	slices.SortStableFunc(all, func(a, b Limit) int { return cmp.Compare(b.Takes/b.Has, a.Takes/a.Has) })
	return all
}
