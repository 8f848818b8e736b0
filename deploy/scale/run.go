package main

import (
	_ "embed"
	"fmt"

	"sigs.k8s.io/yaml"
)

//go:embed run.yaml
var measured []byte

// A Run is what was measured, by processes on one machine, and what the simulation says of it.
type Run struct {
	Date    string  `json:"date"`
	Machine string  `json:"machine"`
	Command string  `json:"command"` // how to do it again
	Cases   []aCase `json:"cases"`
}

// An aCase is one run. Rate, Start and Shard are of other runs: of one process, with few and with many shards.
type aCase struct {
	Name      string  `json:"name"`
	Pictures  int     `json:"pictures"`
	PerShard  int     `json:"per_shard"`
	Processes int     `json:"processes"`
	Assigned  bool    `json:"assigned"`
	Rate      float64 `json:"rate"`  // images/s of a process
	Start     float64 `json:"start"` // seconds
	Shard     float64 `json:"shard"` // seconds of a shard that are not encoding
	Measured  float64 `json:"measured"`
}

func readRuns(file []byte) (r Run, err error) {
	if err := yaml.UnmarshalStrict(file, &r); err != nil {
		return r, fmt.Errorf("runs: %w", err)
	}
	for _, c := range r.Cases {
		if c.Pictures < 1 || c.PerShard < 1 || c.Processes < 1 || !(c.Rate > 0) || !(c.Measured > 0) {
			return r, fmt.Errorf("runs: %+v, want all above 0", c)
		}
	}
	return r, nil
}

// predicted simulates the case.
func (c aCase) predicted() float64 {
	var shards []float64
	for n := c.Pictures; n > 0; n -= c.PerShard {
		shards = append(shards, float64(min(n, c.PerShard))/c.Rate+c.Shard)
	}
	return Simulation{Shards: shards, Pods: c.Processes, Assigned: c.Assigned, Lease: 60, Start: c.Start}.Run(0).End
}

func (r Run) table() string {
	t := &table{head: []string{"run", "images/s of a process", "start, s", "a shard besides, s", "predicted, s", "measured, s", "predicted to measured"}}
	for _, c := range r.Cases {
		t.add(c.Name, number(c.Rate), number(c.Start), number(c.Shard), number(c.predicted()), number(c.Measured), fmt.Sprintf("%.2f", c.predicted()/c.Measured))
	}
	return t.String()
}
