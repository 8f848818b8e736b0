package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pictures"
	"github.com/vitago/vitago/projector"
)

// stdinName is the argument that means the image on standard input.
const stdinName = "-"

// isImageName says whether a file in a folder is taken for an image. Files that are named one by
// one are always tried.
func isImageName(name string) bool {
	ending, ok := strings.CutPrefix(filepath.Ext(name), ".")
	return ok && pictures.Ending(strings.ToLower(ending)) && !strings.HasPrefix(name, ".")
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
// A file that is not there is an error unless absent says that this is found out later. What was left out of folders and may
// have been wanted is said on log.
func expandImages(log io.Writer, args []string, absent bool) ([]string, error) {
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
				if arg == "true" || arg == "false" {
					return nil, usagef("no image: %w; the value of a flag that is on or off stands behind a =: --normalize=%s", err, arg)
				}
				return nil, fmt.Errorf("no image: %w", err)
			case !info.IsDir():
				names = append(names, path)
			default:
				found, err := imagesIn(log, path)
				if err != nil {
					return nil, err
				}
				names = append(names, found...)
			}
		}
	}
	return names, nil
}

// imagesIn returns the images in a folder and the folders in it, as [pictures.List] has them, and says on log what is left out.
func imagesIn(log io.Writer, dir string) (names []string, err error) {
	names, left, err := pictures.List(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	notes := left.Notes()
	if len(names) == 0 {
		return nil, errors.New(strings.Join(append([]string{dir + ": no images in this folder"}, notes...), "; "))
	}
	note(log, notes)
	return names, nil
}

// note says what was left out.
func note(log io.Writer, notes []string) {
	for _, n := range notes {
		fmt.Fprintf(log, "note: %s\n", n)
	}
}

// oneLine returns a name as it stands in lines of text: quoted if it has a control character, such as a line break.
func oneLine(name string) string {
	if strings.ContainsFunc(name, unicode.IsControl) {
		return strconv.Quote(name)
	}
	return name
}

// A picture is what became of an image: its tiles, or an error.
type picture struct {
	name string
	of   *projector.Tiles
	err  error
}

// prepare decodes images and cuts them into tiles in the background, one ahead of use, and yields them in their order. If
// ctx ends, it yields its cause, and does not wait for an image that may never come.
func prepare(ctx context.Context, names []string, stdin io.Reader, of func(image.Image) (*projector.Tiles, error)) iter.Seq2[*picture, error] {
	return pictures.InOrder(ctx, pictures.Work[*picture]{
		Items: len(names), Ahead: 1, Workers: pictures.Decoders(), Abandon: true,
		Begin: func(i int) (*picture, int) { return &picture{name: names[i]}, 1 },
		Do: func(p *picture, _ int) {
			p.err = withImage(p.name, stdin, func(r io.Reader) error {
				img, err := clipvit.DecodeImage(r)
				if err == nil {
					p.of, err = of(img)
				}
				return err
			})
		},
	})
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
