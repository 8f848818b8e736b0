package converter

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/exp/mmap"
)

// A file is a checkpoint's file on disk, memory-mapped or not.
type file struct {
	io.ReaderAt
	io.Closer
	size int64
}

// openFile opens a file, through a memory map if its container wants one and the system can.
func openFile(path string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	head := make([]byte, min(info.Size(), headSize))
	if _, err := f.ReadAt(head, 0); err != nil {
		f.Close()
		return nil, err
	}
	if k := sniff(head); k != nil && k.mapped {
		// A map may be too large for a 32-bit system, and a file may be on what cannot be mapped.
		if m, err := mmap.Open(path); err == nil {
			f.Close()
			return &file{mapping{m}, m, int64(m.Len())}, nil
		}
	}
	return &file{f, f, info.Size()}, nil
}

// A mapping is a memory map whose file may shrink under it: then reading is an error, where the
// bare map would end the process.
type mapping struct{ *mmap.ReaderAt }

func (m mapping) ReadAt(p []byte, off int64) (n int, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			n, err = 0, fmt.Errorf("the file shrank while it was read: %v", r)
		}
	}()
	return m.ReaderAt.ReadAt(p, off)
}
