package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/vitago/vitago/internal/plural"
)

// A start is the way of a worker from nothing to its first embedding.
type start struct {
	Contender string  `json:"contender"`
	Threads   int     `json:"threads"`
	Cold      bool    `json:"cold"`   // whether the model had to come from the disk
	Loaded    float64 `json:"loaded"` // seconds since the process was started
	First     float64 `json:"first"`  // embedding, seconds since the process was started
	Memory    int64   `json:"memory"` // bytes, peak resident then
}

// begin starts a worker and has it load, and encode one image or text.
func (c *comparison) begin(ctx context.Context, o options, t contender, threads int) (*process, start, error) {
	s := start{Contender: t.name, Threads: threads}
	argv, err := o.worker(t, threads)
	if err != nil {
		return nil, s, err
	}
	progress("%s, %s: start", t.name, plural.Of(threads, "thread"))
	tokens := o.config.tokens
	if o.config.blocks {
		tokens = o.tokens[0] // not 1: after it, OpenVINO 2026.4.1 computes wrong values of more
	}
	begun := time.Now()
	p, err := launch(ctx, argv, threads)
	if err != nil {
		return nil, s, err
	}
	r, err := p.ask(request{Cmd: "load", Dir: o.dir, Tokens: tokens, Blocks: o.config.blocks})
	if err == nil {
		c.Versions[t.name] = r.Version
		s.Loaded = time.Since(begun).Seconds()
		_, err = p.ask(request{Cmd: "encode", Batch: 1, Tokens: tokens, Blocks: o.config.blocks})
		s.First = time.Since(begun).Seconds()
	}
	if err != nil {
		p.stop()
		return nil, s, err
	}
	s.Memory = p.memory("VmHWM")
	return p, s, nil
}

// measureStarts measures a start after the files of the model have been dropped from memory, and then
// one with them in it. Where they cannot be dropped there is only the second.
func (c *comparison) measureStarts(ctx context.Context, o options, t contender, threads int) {
	cold := true
	for _, f := range t.files {
		if gone, err := drop(filepath.Join(o.dir, f)); err != nil || !gone {
			progress("%s stays in memory: no cold start of %s (%v)", f, t.name, err)
			cold = false
		}
	}
	for range 2 {
		p, s, err := c.begin(ctx, o, t, threads)
		if err != nil {
			progress("%s: no start: %v", t.name, err)
			return
		}
		p.stop()
		s.Cold = cold
		c.Starts = append(c.Starts, s)
		if !cold {
			return
		}
		cold = false
	}
}
