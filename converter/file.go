package converter

import (
	"io"
	"os"
)

// A file is a checkpoint's file on disk. It is read, not mapped into memory: what a map has shown stays
// resident beside the model that was made from it, 0.6 GB of ViT-L/14, and a file that shrinks under
// a map ends the process.
type file struct {
	io.ReaderAt
	io.Closer
	size int64
}

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
	return &file{f, f, info.Size()}, nil
}
