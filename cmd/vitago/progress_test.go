package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestProgressLine: how far, at what rate, and how long still; a bar where there is room for one.
func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		unit                 func(int64) string
		width                int
		done, skipped, total int64
		want                 string
	}{
		{count, 0, 0, 0, 40, "encoding    0%  0 of 40"},
		{count, 0, 10, 0, 40, "encoding   25%  10 of 40  2.5/s  13s left"},
		{count, 0, 2000, 0, 4000, "encoding   50%  2000 of 4000  500/s  5s left"},
		{count, 0, 10, 6, 40, "encoding   25%  10 of 40  1/s  31s left"}, // what was there before is no work
		{megabytes, 0, 8e6, 0, 16e6, "encoding   50%  8.0 MB of 16.0 MB  2.0 MB/s  5s left"},
		{count, 80, 20, 0, 40, "encoding  [===============               ]   50%  20 of 40  5/s  5s left"},
		{count, 0, 40, 0, 40, "encoding  100%  40 of 40"},
		{count, 0, 0, 0, 0, "encoding  4.0 s"},
	} {
		p := &progress{label: "encoding", unit: c.unit, width: c.width}
		p.set(c.done, c.total)
		p.skipped.Store(c.skipped)
		if got := p.line(4 * time.Second); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

// TestProgressPlain: what is no terminal gets whole lines, and neither colours nor returns.
func TestProgressPlain(t *testing.T) {
	var b bytes.Buffer
	p := startProgress(&b, "encoding", count)
	p.set(1, 2)
	p.show(time.Second)
	p.set(2, 2)
	p.show(2 * time.Second)
	p.stop()
	if got := b.String(); strings.ContainsAny(got, "\r\x1b") || strings.Count(got, "\n") != 2 {
		t.Errorf("got %q", got)
	}
}
