package clip

import (
	"bytes"
	"errors"
	"image"
	"io"
	"iter"
	"os"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pictures"
	"github.com/vitago/vitago/internal/pillow"
)

// A Picture is what becomes a vector: a file, bytes, a reader or an image. It is read when it is encoded.
type Picture struct {
	name string
	open func() (io.ReadCloser, error) // of a file of any kind
	img  image.Image
}

// File is the picture in a file.
func File(path string) Picture {
	return Picture{name: path, open: func() (io.ReadCloser, error) { return openFile(path) }}
}

func openFile(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, &failure{ErrRequest, "is a directory, want the file of a picture", nil}
	}
	return f, nil
}

// Bytes is the picture whose file has that content. The name stands in errors and results.
func Bytes(name string, file []byte) Picture {
	return Picture{name: name, open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file)), nil }}
}

// Opened is the picture whose file a function opens each time that the picture is encoded: one in an archive, or far away. What
// it returns is closed.
func Opened(name string, open func() (io.ReadCloser, error)) Picture {
	return Picture{name: name, open: open}
}

// Reader is the picture whose file r reads. It can be encoded once, and r is not closed.
func Reader(name string, r io.Reader) Picture {
	if r == nil {
		return Picture{name: name}
	}
	return Picture{name: name, open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}
}

// Image is a picture that has been decoded. Those that clipvit.DecodeImage decoded become what the Python libraries make
// of the file; those of the standard library may differ in a few levels.
func Image(name string, img image.Image) Picture { return Picture{name: name, img: img} }

// Name returns the name that the picture was given: of a file its path.
func (p Picture) Name() string { return p.name }

// Folder lists the pictures in a folder and the folders in it, sorted, without hidden ones. Notes says, a line for each kind,
// what was left out that may have been wanted, such as HEIC files.
func Folder(dir string) (all []Picture, notes []string, err error) {
	paths, left, err := pictures.List(dir)
	if err != nil {
		return nil, nil, because(nil, err, "")
	}
	for _, p := range paths {
		all = append(all, File(p))
	}
	return all, left.Notes(), nil
}

// Channel returns the pictures that come out of a channel, until it is closed.
func Channel(pictures <-chan Picture) iter.Seq[Picture] {
	return func(yield func(Picture) bool) {
		for p := range pictures {
			if !yield(p) {
				return
			}
		}
	}
}

// Decode returns the image of a picture, as clipvit.DecodeImage decodes it. Its errors are those of [Model.Encode].
func (p Picture) Decode() (image.Image, error) {
	switch {
	case p.img != nil:
		return p.img, nil
	case p.open == nil:
		return nil, p.none()
	}
	r, err := p.open()
	switch {
	case err != nil:
		return nil, p.unread(err)
	case r == nil:
		return nil, p.none()
	}
	defer r.Close()
	img, err := clipvit.DecodeImage(r)
	if read := (pillow.ReadError{}); errors.As(err, &read) {
		return nil, p.unread(read.Unwrap())
	}
	return img, because(nil, err, p.name)
}

func (p Picture) none() error {
	return because(ErrRequest, errors.New("no picture, want a file, bytes, a reader or an image"), p.name)
}

// unread returns the error of a file that could not be read.
func (p Picture) unread(err error) error {
	if at := (*os.PathError)(nil); errors.As(err, &at) && at.Path == p.name {
		return &failure{text: "clip: " + p.name + ": " + at.Err.Error(), cause: err} // the path stands there once
	}
	return because(nil, err, p.name)
}
