package sheet

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"regexp"
	"strings"
	"testing"
)

// TestPage: what is written is escaped, pictures are in the page, and nothing is loaded.
func TestPage(t *testing.T) {
	red := image.NewRGBA(image.Rect(0, 0, 384, 192))
	for i := range 384 * 192 {
		red.Set(i%384, i/384, color.RGBA{200, 0, 0, 255})
	}
	p := Page{Title: `<script>alert("title")</script>`, Note: "a & b", Sections: []Section{
		{Heading: "<b>one</b>", Figures: []Figure{
			{Picture: func() (image.Image, error) { return red, nil }, Alt: `"><img src=x onerror=alert(1)>`, Lines: []string{"0.5", "</div><script src=//evil>", "a\u202egpj.exe\xff\x00"}},
			{Picture: func() (image.Image, error) { return nil, errors.New("<i>no picture</i>") }, Alt: "javascript:alert(1)"},
		}},
		{},
	}}
	var b bytes.Buffer
	if err := p.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	html := b.String()
	for _, tag := range regexp.MustCompile(`<[^>]*>`).FindAllString(html, -1) {
		if name := regexp.MustCompile(`^</?[a-zA-Z0-9]+|^<!DOCTYPE`).FindString(tag); !strings.Contains(" <!DOCTYPE <html <head <meta <title </title <style </style </head <body <h1 </h1 <p </p <section <h2 </h2 <figure <div <img </div <figcaption </figcaption </figure </section </body </html ", " "+name+" ") {
			t.Errorf("tag %s", tag)
		}
	}
	if n := strings.Count(html, "<img"); n != 1 {
		t.Errorf("%d pictures, want 1", n)
	}
	for _, want := range []string{
		`<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;`,
		`<title>&lt;script&gt;`, "<p>a &amp; b</p>", "&lt;i&gt;no picture&lt;/i&gt;", "a\uFFFDgpj.exe\uFFFD\uFFFD", "<h2>&lt;b&gt;one",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("no %s in\n%s", want, html)
		}
	}
	for _, none := range []string{"//evil>", "http:", "https:", "onerror=alert(1)>\"", "\u202e"} {
		if strings.Contains(html, none) {
			t.Errorf("%q in\n%s", none, html)
		}
	}
	alt := regexp.MustCompile(`alt="([^"]*)"`).FindStringSubmatch(html)
	if alt == nil || alt[1] != "&#34;&gt;&lt;img src=x onerror=alert(1)&gt;" {
		t.Errorf("alt is %q", alt)
	}
	source := regexp.MustCompile(`src="data:image/jpeg;base64,([^"]*)"`).FindStringSubmatch(html)
	if source == nil {
		t.Fatalf("no picture in\n%s", html)
	}
	data, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(source[1], "&#43;", "+"))
	if err != nil {
		t.Fatal(err)
	}
	small, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil || small.Bounds() != image.Rect(0, 0, side, side/2) {
		t.Fatalf("%v, %v", small, err)
	}
	if r, g, _, _ := small.At(90, 50).RGBA(); r>>8 < 190 || g>>8 > 10 {
		t.Errorf("the colour is %v", small.At(90, 50))
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := p.Write(ctx, &b); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	if err := p.Write(t.Context(), broken{}); err == nil {
		t.Error("no error of a writer that fails")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("full") }
