package sheet

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Page is a contact sheet in HTML that is one file: the pictures are in it, and nothing is loaded from anywhere else.
type Page struct {
	Title    string
	Note     string // a line below the title, "" for none
	Sections []Section
}

// A Section is some pictures with a heading, "" for none.
type Section struct {
	Heading string
	Figures []Figure
}

// A Figure is a picture and what stands below it.
type Figure struct {
	Picture func() (image.Image, error) // as of a [Cell]
	Alt     string                      // the words in the place of the picture, and its tooltip
	Lines   []string
}

// The policy forbids scripts, and everything that is not in the page.
var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body{font:14px/1.4 sans-serif;margin:16px;color:#111;background:#fff}
section{display:flex;flex-wrap:wrap;gap:12px;margin:12px 0}
h2{flex-basis:100%;font-size:16px;margin:8px 0 0}
figure{margin:0;width:{{.Side}}px}
.picture{width:{{.Side}}px;height:{{.Side}}px;display:flex;align-items:center;justify-content:center;background:#eee;overflow:hidden;font-size:12px;color:#555}
img{max-width:100%;max-height:100%}
figcaption div{overflow-wrap:anywhere}
</style>
</head>
<body>
<h1>{{.Title}}</h1>
{{if .Note}}<p>{{.Note}}</p>
{{end}}`))

var figure = template.Must(template.New("figure").Parse(`<figure title="{{.Alt}}"><div class="picture">{{if .Source}}<img alt="{{.Alt}}" src="{{.Source}}">{{else}}{{.Alt}}: {{.Error}}{{end}}</div><figcaption>{{range .Lines}}<div>{{.}}</div>{{end}}</figcaption></figure>
`))

var heading = template.Must(template.New("heading").Parse(`<section>
{{if .}}<h2>{{.}}</h2>
{{end}}`))

// Write writes the page, a picture after the other. A picture that cannot be read has the error in its place. It ends early if
// ctx does.
func (p *Page) Write(ctx context.Context, w io.Writer) error {
	write := func(t *template.Template, data any) error {
		if err := t.Execute(w, data); err != nil {
			return fmt.Errorf("sheet: %w", err)
		}
		return nil
	}
	if err := write(page, map[string]any{"Title": shown(p.Title), "Note": shown(p.Note), "Side": side}); err != nil {
		return err
	}
	for _, s := range p.Sections {
		if err := write(heading, shown(s.Heading)); err != nil {
			return err
		}
		for _, f := range s.Figures {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			lines := make([]string, len(f.Lines))
			for i, l := range f.Lines {
				lines[i] = shown(l)
			}
			data := map[string]any{"Alt": shown(f.Alt), "Lines": lines}
			if source, err := f.source(); err != nil {
				data["Error"] = shown(err.Error())
			} else {
				data["Source"] = source
			}
			if err := write(figure, data); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, "</section>\n"); err != nil {
			return fmt.Errorf("sheet: %w", err)
		}
	}
	if _, err := io.WriteString(w, "</body>\n</html>\n"); err != nil {
		return fmt.Errorf("sheet: %w", err)
	}
	return nil
}

// source returns the picture, small, in a URL.
func (f *Figure) source() (template.URL, error) {
	img, err := f.Picture()
	if err != nil {
		return "", err
	}
	small, err := thumbnail(img)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, small, &jpeg.Options{Quality: quality}); err != nil {
		return "", err
	}
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// shown returns a text as a page can show it: names of files may have bytes that are no letters, and letters that turn the
// direction of what follows.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '\uFFFD'
		}
		return r
	}, text)
}
