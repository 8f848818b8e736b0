package notebook

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"image"
	"image/jpeg"
	"image/png"
	"maps"
	"os"
	"strings"
)

// MIME types of what is shown.
const (
	mimePNG  = "image/png"
	mimeJPEG = "image/jpeg"
	mimeHTML = "text/html"
	mimeText = "text/plain"
)

// A bundle is one output of a cell: the same thing by MIME types, pictures as []byte and others as string. There is always text.
type bundle map[string]any

// A shower is what shows itself.
type shower interface{ bundle() (bundle, error) }

// Shown is what [Show] has shown, for kernels that show the value of the last line.
type Shown struct{ all []bundle }

// SimpleRender returns what was shown by MIME types; gophernotes calls it. In GoNB it has been shown already.
func (s *Shown) SimpleRender() map[string]any { return joined(s.all) }

// String returns it in words.
func (s *Shown) String() string {
	text, _ := joined(s.all)[mimeText].(string)
	return text
}

// Show shows things below the cell, one after the other: what this package returns, any image.Image, and of all else the words of
// fmt.Print. In gophernotes it has to be the last line of the cell; in a program it prints the words.
func Show(things ...any) *Shown {
	s := &Shown{}
	for _, t := range things {
		b, err := bundleOf(t)
		if err != nil {
			panic(&Error{Sentence: sentence(err), Cause: err})
		}
		s.all = append(s.all, b)
	}
	switch pipe := os.Getenv(gonbPipe); {
	case pipe != "":
		if err := kernel.display(pipe, s.all); err != nil {
			panic(&Error{Sentence: fmt.Sprintf("GoNB does not take what is shown: %v", err), Cause: err})
		}
	case !interpreted():
		fmt.Println(s)
	}
	return s
}

// bundleOf returns what is shown of anything.
func bundleOf(thing any) (b bundle, err error) {
	err = guarded(func() (err error) {
		switch t := thing.(type) {
		case shower:
			b, err = t.bundle()
		case image.Image:
			b, err = photoBundle(t, fmt.Sprintf("a picture of %d×%d pixels", t.Bounds().Dx(), t.Bounds().Dy()))
		default:
			b = bundle{mimeText: fmt.Sprint(t)}
		}
		return err
	})
	return b, err
}

// render is SimpleRender of a shower. gophernotes calls it where a panic would end the kernel, so an error becomes its sentence.
func render(s shower) map[string]any {
	b, err := bundleOf(s)
	if err != nil {
		return bundle{mimeText: sentence(err)}
	}
	return b
}

// Above so many pixels a picture is shown as JPEG: notebooks keep what was shown, and a photograph as PNG has megabytes.
const (
	mostPNG = 256 * 256
	quality = 80
)

// plotDPI makes a plot 693 pixels wide: a column of a notebook has some 800.
const plotDPI = 110

// photoBundle shows an image that may be a photograph.
func photoBundle(img image.Image, text string) (bundle, error) {
	if size := img.Bounds().Size(); size.X*size.Y <= mostPNG {
		return pictureBundle(img, text)
	}
	var w bytes.Buffer
	if err := jpeg.Encode(&w, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, err
	}
	return bundle{mimeJPEG: w.Bytes(), mimeText: text}, nil
}

// pictureBundle shows an image that was drawn, to the bit.
func pictureBundle(img image.Image, text string) (bundle, error) {
	var w bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&w, img); err != nil {
		return nil, err
	}
	return bundle{mimePNG: w.Bytes(), mimeText: text}, nil
}

// joined makes one output of several: HTML, if one of them is more than words.
func joined(all []bundle) bundle {
	if len(all) == 1 {
		return maps.Clone(all[0])
	}
	var texts []string
	var page strings.Builder
	rich := false
	for _, b := range all {
		text, _ := b[mimeText].(string)
		texts = append(texts, text)
		file := func(mime string) bool {
			file, ok := b[mime].([]byte)
			if ok {
				fmt.Fprintf(&page, `<div><img src="data:%s;base64,%s" alt="%s"></div>`+"\n", mime, base64.StdEncoding.EncodeToString(file), html.EscapeString(text))
			}
			return ok
		}
		switch {
		case file(mimePNG) || file(mimeJPEG):
			rich = true
		case b[mimeHTML] != nil:
			fmt.Fprintf(&page, "<div>%s</div>\n", b[mimeHTML])
			rich = true
		default:
			fmt.Fprintf(&page, "<pre>%s</pre>\n", html.EscapeString(text))
		}
	}
	b := bundle{mimeText: strings.Join(texts, "\n")}
	if rich {
		b[mimeHTML] = page.String()
	}
	return b
}
