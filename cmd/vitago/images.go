package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
)

// stdinName is the argument that means the image on standard input.
const stdinName = "-"

// isImageName says whether a file in a folder is taken for an image. Files that are named one by
// one are always tried.
func isImageName(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff":
		return !strings.HasPrefix(name, ".")
	}
	return false
}

// isImageFile says whether path is a file with the name of an image.
func isImageFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && isImageName(filepath.Base(path))
}

// address is what begins as the address of something that is not on this machine.
var address = regexp.MustCompile(`(?i)^(https?|ftp|s3|gs)://`)

// expandImages returns the images that the arguments name, in their order: files as they are, the
// images in folders and all folders in them, sorted, and the files that match a pattern, sorted.
// A file that is not there is an error unless absent says that this is found out later.
func expandImages(args []string, absent bool) ([]string, error) {
	var names []string
	stdin := false
	for _, arg := range args {
		if arg == stdinName {
			if stdin {
				return nil, usagef("standard input is named twice")
			}
			stdin = true
			names = append(names, arg)
			continue
		}
		paths := []string{arg}
		info, err := os.Stat(arg)
		if err != nil && address.MatchString(arg) {
			return nil, usagef("%s: addresses are not read; download it before, or pipe it to -: curl -sL URL | vitago encode --model DIR -", arg)
		}
		if err != nil && strings.ContainsAny(arg, "*?[") {
			if paths, err = filepath.Glob(arg); err != nil {
				return nil, usagef("%s: %v", arg, err)
			}
			// As in a shell, * does not begin with a dot.
			paths = slices.DeleteFunc(paths, func(p string) bool {
				return strings.HasPrefix(filepath.Base(p), ".") && !strings.HasPrefix(filepath.Base(arg), ".")
			})
			if len(paths) == 0 {
				return nil, fmt.Errorf("%s: no file matches", arg)
			}
			slices.Sort(paths)
		} else if err == nil && !info.IsDir() || errors.Is(err, fs.ErrNotExist) && absent {
			names = append(names, arg)
			continue
		}
		for _, path := range paths {
			info, err := os.Stat(path)
			switch {
			case err != nil && absent:
				names = append(names, path)
			case err != nil:
				return nil, err
			case !info.IsDir():
				names = append(names, path)
			default:
				found, err := imagesIn(path)
				if err != nil {
					return nil, err
				}
				names = append(names, found...)
			}
		}
	}
	return names, nil
}

// imagesIn returns the images in a folder and the folders in it, but for hidden ones.
func imagesIn(dir string) (names []string, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.IsDir() && isImageName(d.Name()):
			names = append(names, filepath.Join(dir, filepath.FromSlash(path)))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: no images in this folder", dir)
	}
	return names, nil
}

// A picture is what became of an image: what was made of it, or an error.
type picture[T any] struct {
	name string
	of   T
	err  error
}

// patches are what a tower sees of an image, [G²,3P²].
type patches = *mat.Dense[float32]

// maxDecoders is how many images are decoded at a time. A photograph takes tens of megabytes; the
// largest that Pillow permits takes two gigabytes if it is a progressive JPEG.
const maxDecoders = 4

// prepare decodes images and makes something of them in the background, at most so many ahead, and sends
// that in their order until ctx ends.
func prepare[T any](ctx context.Context, names []string, stdin io.Reader, of func(image.Image) (T, error), ahead int) <-chan chan picture[T] {
	pictures := make(chan chan picture[T], ahead)
	decoders := make(chan struct{}, min(maxDecoders, runtime.GOMAXPROCS(0)))
	go func() {
		defer close(pictures)
		for _, name := range names {
			next := make(chan picture[T], 1)
			select {
			case pictures <- next:
			case <-ctx.Done():
				return
			}
			select {
			case decoders <- struct{}{}:
			case <-ctx.Done():
				return
			}
			go func() {
				next <- readPicture(name, stdin, of)
				<-decoders
			}()
		}
	}()
	return pictures
}

func readPicture[T any](name string, stdin io.Reader, of func(image.Image) (T, error)) picture[T] {
	p := picture[T]{name: name}
	p.err = withImage(name, stdin, func(r io.Reader) error {
		img, err := clipvit.DecodeImage(r)
		if err == nil {
			p.of, err = of(img)
		}
		return err
	})
	return p
}

// withImage gives the file of that name, or standard input, to a function, and its errors the name.
func withImage(name string, stdin io.Reader, f func(io.Reader) error) error {
	r := stdin
	if name != stdinName {
		file, err := os.Open(name)
		if err != nil {
			return err // names the file
		}
		defer file.Close()
		r = file
	}
	if err := f(r); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// preprocess makes of an image what a tower of configuration c sees of it.
func preprocess(c clipvit.Config) func(image.Image) (patches, error) {
	return func(img image.Image) (patches, error) { return clipvit.Preprocess(img, c) }
}
