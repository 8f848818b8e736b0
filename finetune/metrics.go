package finetune

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/vitago/vitago/finetune/history"
)

// A journal is a file of events, one JSON object a line.
type journal struct{ f *os.File }

// openJournal opens the file for more, after dropping what is later than a state: a run that was killed has
// written of steps that are about to be made again. It returns what stays.
func openJournal(path string, s state) (*journal, []history.Event, error) {
	kept, events, err := readJournal(path, s)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, nil, fmt.Errorf("finetune: %w", err)
	}
	if err := errors.Join(f.Truncate(kept), seekEnd(f)); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("finetune: %w", err)
	}
	return &journal{f}, events, nil
}

func seekEnd(f *os.File) error {
	_, err := f.Seek(0, io.SeekEnd)
	return err
}

// readJournal returns the events up to a state, and the bytes that they take. What is after the first line
// that is none is the end of a run that was killed.
func readJournal(path string, s state) (bytesKept int64, events []history.Event, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("finetune: %w", err)
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		text, err := r.ReadBytes('\n')
		var e history.Event
		if err != nil || json.Unmarshal(bytes.TrimSpace(text), &e) != nil || e.Step > s.Step || e.Kind == history.ValidationEvent && e.Step > s.Validated {
			return bytesKept, events, nil
		}
		bytesKept += int64(len(text))
		events = append(events, e)
	}
}

// Write implements [history.Sink].
func (j *journal) Write(e history.Event) error {
	b, err := json.Marshal(e)
	if err == nil {
		_, err = j.f.Write(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return nil
}

// sync returns when all that was written lies on the disk.
func (j *journal) sync() error {
	if j == nil {
		return nil
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.f.Close()
}
