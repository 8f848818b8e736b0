package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// When progress is shown again.
const (
	progressFrame = 100 * time.Millisecond // of a bar on a terminal
	progressLine  = 10 * time.Second       // between plain lines elsewhere
)

// progressAfter is when it is first shown. Below two seconds nobody wonders.
var progressAfter = 2 * time.Second

// A progress shows how far something is that takes over two seconds: a bar on a terminal, plain
// lines elsewhere. Libraries for it would bring an HTTP server or tables of Unicode with them.
type progress struct {
	w           io.Writer
	label       string
	unit        func(n int64) string // formats the count
	width       int                  // of the terminal; 0 elsewhere
	start       time.Time
	done, total atomic.Int64 // total is 0 while nobody knows
	skipped     atomic.Int64 // of done, what took no time
	note        atomic.Value // string: what else is known
	left        atomic.Int64 // a time.Duration, where another knows it better than the counts; 0 otherwise
	mu          sync.Mutex   // of w and what follows
	shown       int          // characters on the terminal's line
	lines       int          // that were shown
	finished    bool         // the last said 100%
	stopped     chan struct{}
	wg          sync.WaitGroup
}

// startProgress begins to measure time; stop must be called before anything else is written to w, but by Write.
func startProgress(w io.Writer, label string, unit func(n int64) string) *progress {
	p := &progress{w: w, label: label, unit: unit, start: time.Now(), stopped: make(chan struct{})}
	frame := progressLine
	if f, ok := terminal(w); ok && os.Getenv("TERM") != "dumb" {
		p.width, frame = 80, progressFrame
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			p.width = width
		}
	}
	p.wg.Go(func() {
		for wait := progressAfter; ; wait = frame {
			select {
			case <-p.stopped:
				return
			case <-time.After(wait):
				p.show(time.Since(p.start))
			}
		}
	})
	return p
}

// set says how far it is. Any goroutine may call it.
func (p *progress) set(done, total int64) {
	p.total.Store(total)
	p.done.Store(done)
}

// stop ends the display, wipes it from a terminal, and returns the time since the start.
func (p *progress) stop() time.Duration {
	close(p.stopped)
	p.wg.Wait()
	// The last line is not one that says that something is left.
	if p.lines > 0 && p.all() && !p.finished {
		p.show(time.Since(p.start))
	}
	p.wipe()
	return time.Since(p.start)
}

// wipe takes the line off a terminal.
func (p *progress) wipe() {
	if p.shown > 0 {
		fmt.Fprintf(p.w, "\r%*s\r", p.shown, "")
		p.shown = 0
	}
}

// Write writes whole lines, above the bar if there is one.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	return p.w.Write(b)
}

func (p *progress) show(elapsed time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished = p.all()
	p.lines++
	line := p.line(elapsed)
	if p.width == 0 {
		fmt.Fprintln(p.w, line)
		return
	}
	if len(line) >= p.width { // the last column would wrap
		line = line[:p.width-1]
	}
	// Spaces over what was longer: not every terminal knows escape sequences.
	fmt.Fprintf(p.w, "\r%-*s", p.shown, line)
	p.shown = len(line)
}

// rate writes how many there are in a second.
func (p *progress) rate(perSecond float64) string {
	if perSecond >= 100 || perSecond == float64(int64(perSecond)) || p.unit(1e9) != count(1e9) {
		return p.unit(int64(perSecond)) + "/s"
	}
	return fmt.Sprintf("%.3g/s", perSecond)
}

// all says whether all is done.
func (p *progress) all() bool {
	total := p.total.Load()
	return total > 0 && p.done.Load() >= total
}

// line says what is known after some time, in ASCII.
func (p *progress) line(elapsed time.Duration) string {
	done, total := p.done.Load(), p.total.Load()
	if total <= 0 {
		return fmt.Sprintf("%s  %s", p.label, seconds(elapsed))
	}
	bar := ""
	note, _ := p.note.Load().(string)
	cells := 30
	if note != "" {
		cells = 12
	}
	if p.width > 2*cells {
		n := int(done * int64(cells) / total)
		bar = "[" + strings.Repeat("=", n) + strings.Repeat(" ", cells-n) + "]  "
	}
	line := fmt.Sprintf("%s  %s%3d%%  %s of %s", p.label, bar, done*100/total, p.unit(done), p.unit(total))
	left := time.Duration(p.left.Load())
	if worked := done - p.skipped.Load(); left == 0 && worked > 0 && elapsed > 0 {
		left = time.Duration(float64(elapsed) * float64(total-done) / float64(worked))
		if done < total && note == "" { // a note has its own
			line += "  " + p.rate(float64(worked)/elapsed.Seconds())
		}
	}
	if left > 0 && done < total {
		line += fmt.Sprintf("  %s left", (left + time.Second).Truncate(time.Second))
	}
	if note != "" {
		line += "  " + note
	}
	return line
}

// terminal returns the terminal that w writes to, if it does.
func terminal(w any) (*os.File, bool) {
	f, ok := w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}
