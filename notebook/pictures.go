package notebook

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/shapes"
	"github.com/vitago/vitago/internal/sheet"
)

// A Picture is a picture with a name. It is decoded when it is used.
type Picture struct {
	of    clip.Picture
	shown string // what stands below it; "" is the last part of its name
}

// Pictures are several.
type Pictures []Picture

// Demo returns the pictures that are part of the program.
func Demo() Pictures { return wrap(demo.Pictures()) }

// Folder returns the pictures in a folder and the folders in it.
func Folder(dir string) (all Pictures) {
	call("listing "+dir, func(context.Context, *progress) error {
		list, notes, err := clip.Folder(dir)
		if err != nil {
			return err
		}
		for _, n := range notes {
			fmt.Fprintln(os.Stderr, n)
		}
		if len(list) == 0 {
			failf("%s has no pictures", dir)
		}
		all = wrap(list)
		for i := range all {
			if path, err := filepath.Rel(dir, all[i].Name()); err == nil {
				all[i].shown = filepath.ToSlash(path)
			}
		}
		return nil
	})
	return all
}

// File returns the picture of a file.
func File(path string) Picture {
	if _, err := os.Stat(path); err != nil {
		panic(&Error{Sentence: fmt.Sprintf("no picture %s: %v", path, err), Cause: err})
	}
	return Picture{of: clip.File(path)}
}

// FromImage returns the picture of an image in memory.
func FromImage(name string, img image.Image) Picture { return Picture{of: clip.Image(name, img)} }

// Temp returns a path for tries, in the system's folder for temporary files. It is the same each time.
func Temp(name string) string { return filepath.Join(os.TempDir(), "vitago-notebook", name) }

// Shapes draws pictures to learn from into a folder that is new or was written so before: perClass of each of the classes circle, square and
// so on, with a folder for each. They are the same for the same seed.
func Shapes(dir string, perClass int, seed uint64) string {
	call("drawing into "+dir, func(context.Context, *progress) error {
		mark := fmt.Sprintf("%d pictures of each class, seed %d\n", perClass, seed)
		note := filepath.Join(dir, ".shapes")
		if was, err := os.ReadFile(note); err == nil && string(was) == mark {
			return nil
		}
		if err := shapes.Write(dir, 0, perClass, 64, false, seed); err != nil {
			return err
		}
		return folder.WriteBytes(note, []byte(mark))
	})
	return dir
}

func wrap(list []clip.Picture) (all Pictures) {
	for _, p := range list {
		all = append(all, Picture{of: p})
	}
	return all
}

// Name returns the name of the picture: of a file its path.
func (p Picture) Name() string { return p.of.Name() }

// short is the name as it is shown.
func (p Picture) short() string { return cmp.Or(p.shown, filepath.Base(p.Name())) }

// String returns the name.
func (p Picture) String() string { return p.Name() }

// Image decodes the picture.
func (p Picture) Image() (img image.Image) {
	call("reading "+p.Name(), func(context.Context, *progress) (err error) {
		img, err = p.of.Decode()
		return err
	})
	return img
}

// Size returns width and height in pixels.
func (p Picture) Size() (width, height int) {
	size := p.Image().Bounds().Size()
	return size.X, size.Y
}

// SimpleRender shows the picture in gophernotes.
func (p Picture) SimpleRender() map[string]any { return render(p) }

func (p Picture) bundle() (bundle, error) {
	img, err := p.of.Decode()
	if err != nil {
		return nil, err
	}
	return photoBundle(img, fmt.Sprintf("%s, %d×%d pixels", p.short(), img.Bounds().Dx(), img.Bounds().Dy()))
}

// Named returns the pictures in whose names all of the words are.
func (p Pictures) Named(words ...string) (some Pictures) {
	for _, picture := range p {
		all := true
		for _, w := range words {
			all = all && strings.Contains(picture.Name(), w)
		}
		if all {
			some = append(some, picture)
		}
	}
	if len(some) == 0 {
		failf("none of %d pictures has %q in its name", len(p), words)
	}
	return some
}

// First returns the first n pictures, or all if there are fewer.
func (p Pictures) First(n int) Pictures { return p[:min(max(n, 0), len(p))] }

// Names returns the names.
func (p Pictures) Names() (names []string) {
	for _, picture := range p {
		names = append(names, picture.Name())
	}
	return names
}

// String returns the names as they are shown, a line each: from Folder on, or the last part.
func (p Pictures) String() string {
	var names []string
	for _, picture := range p {
		names = append(names, picture.short())
	}
	return strings.Join(names, "\n")
}

// SimpleRender shows a contact sheet in gophernotes.
func (p Pictures) SimpleRender() map[string]any { return render(p) }

func (p Pictures) bundle() (bundle, error) {
	return sheetBundle(p, func(int) []sheet.Line { return nil }, p.String())
}

// OnOne returns one large picture with all of them side by side, enlarged.
func (p Pictures) OnOne(name string) (one Picture) {
	call("drawing "+name, func(ctx context.Context, _ *progress) error {
		var cells []sheet.Cell
		for _, picture := range p {
			cells = append(cells, sheet.Cell{Picture: picture.of.Decode})
		}
		img, err := sheet.Draw(ctx, cells)
		if err != nil {
			return err
		}
		one = FromImage(name, img)
		return nil
	})
	return one
}

// Save writes the pictures into a folder as PNG, by the last part of their names, and returns the folder. Those that are there already,
// with the same bytes, stay as they are.
func (p Pictures) Save(dir string) string {
	call("writing "+dir, func(ctx context.Context, told *progress) error {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		for i, picture := range p {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			img, err := picture.of.Decode()
			if err != nil {
				return err
			}
			var file bytes.Buffer
			if err := png.Encode(&file, img); err != nil {
				return err
			}
			base := filepath.Base(picture.Name())
			path := filepath.Join(dir, strings.TrimSuffix(base, filepath.Ext(base))+".png")
			switch was, err := os.ReadFile(path); {
			case err == nil && bytes.Equal(was, file.Bytes()):
			case err == nil:
				failf("%s is there, and is another picture", path)
			default:
				if err := folder.WriteBytes(path, file.Bytes()); err != nil {
					return err
				}
			}
			told.set(i+1, len(p))
		}
		return nil
	})
	return dir
}

// clips are the pictures as package clip has them.
func (p Pictures) clips() (list []clip.Picture) {
	for _, picture := range p {
		list = append(list, picture.of)
	}
	return list
}

// sheetBundle shows pictures with lines below.
func sheetBundle(p Pictures, lines func(i int) []sheet.Line, text string) (bundle, error) {
	if len(p) == 0 {
		return bundle{mimeText: "no pictures"}, nil
	}
	var cells []sheet.Cell
	for i, picture := range p {
		name := picture.short()
		cells = append(cells, sheet.Cell{Picture: picture.of.Decode, Lines: append([]sheet.Line{{Text: strings.TrimSuffix(name, filepath.Ext(name))}}, lines(i)...)})
	}
	img, err := sheet.Draw(context.Background(), cells)
	if err != nil {
		return nil, err
	}
	return photoBundle(img, text)
}
