package runs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"

	"github.com/vitago/vitago/tasks/finetuning"
)

// progressFile has what was told of a run, in its folder.
const progressFile = "progress.jsonl"

// A log is what was told of a run. It is in a file, of which those who watch read each for itself, so that none of it is in memory.
type log struct {
	path string
	last *finetuning.Progress // when it was opened

	mu    sync.Mutex
	lines int           // that are whole
	bytes int64         // that these take
	live  bool          // there may be more
	more  chan struct{} // closed when there is more, or the end
}

// open makes the file of a log, or finds how much of it is whole: a program that was killed may have left half a line, which is dropped.
func (l *log) open(path string) error {
	l.path, l.more = path, make(chan struct{})
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		var p finetuning.Progress
		if err != nil || json.Unmarshal(bytes.TrimSpace(line), &p) != nil {
			break
		}
		l.lines++
		l.bytes += int64(len(line))
		l.last = &p
	}
	return errors.Join(f.Truncate(l.bytes), f.Close())
}

// begin says that there may be more, and end that there is none.
func (l *log) begin() { l.change(func() { l.live = true }) }
func (l *log) end()   { l.change(func() { l.live = false }) }

// change changes the log, and tells those who wait.
func (l *log) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.more)
	l.more = make(chan struct{})
}

// write adds an event.
func (l *log) write(p finetuning.Progress) error {
	line, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	line = append(line, '\n')
	f, err := os.OpenFile(l.path, os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	_, err = f.WriteAt(line, l.bytes) // over half a line that could not be written before
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	l.change(func() { l.lines, l.bytes = l.lines+1, l.bytes+int64(len(line)) })
	return nil
}

// state returns how much there is, whether there may be more, and what is closed when that changes.
func (l *log) state() (lines int, live bool, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines, l.live, l.more
}

// An Event is what was told of a run.
type Event struct {
	Seq int `json:"seq"` // from 0 on, over all its turns
	finetuning.Progress
}

// Watch yields what was told of a run from an event on, and then what comes, until the run has ended: [Runs.Get] says how. Whoever comes
// late gets all that was before, and who is slow keeps nobody waiting. A run that is resumed goes on with its numbers, and tells some
// steps again. An error, such as [ErrRun] or the cause of ctx's end, ends the sequence.
func (r *Runs) Watch(ctx context.Context, id string, from int) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		r.mu.Lock()
		x, err := r.run(id)
		r.mu.Unlock()
		if err == nil && from < 0 {
			err = refuse("from is %d, want 0 or more", from)
		}
		if err == nil {
			err = x.log.watch(ctx, from, func(e Event) bool { return yield(e, nil) })
		}
		if err != nil {
			yield(Event{}, err)
		}
	}
}

// watch yields events from one on until the end, an error, or the end of ctx.
func (l *log) watch(ctx context.Context, from int, yield func(Event) bool) error {
	if l.path == "" { // of a run that is damaged
		return nil
	}
	f, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("runs: %w", err)
	}
	defer f.Close()
	r, at := bufio.NewReader(f), 0
	for {
		lines, live, more := l.state()
		for ; at < lines; at++ {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			line, err := r.ReadBytes('\n')
			if err != nil {
				return fmt.Errorf("runs: event %d: %w", at, noEOF(err))
			}
			if at < from {
				continue
			}
			e := Event{Seq: at}
			if err := json.Unmarshal(line, &e.Progress); err != nil {
				return fmt.Errorf("runs: event %d: %w", at, err)
			}
			if !yield(e) {
				return nil
			}
		}
		if !live {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// noEOF returns an error that is no end of what should be there.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
