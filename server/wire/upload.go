package wire

import (
	"fmt"
	"io"
	"mime/multipart"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/server/status"
)

// file makes of a body that is a picture a request, whose settings are parameters of the URL.
func (u *union) file(rd *reader) error {
	for name, values := range rd.r.URL.Query() {
		if kindOf[name] == 0 {
			return refuse(clipped(name), "the URL has a parameter %q, want settings such as model, encoding_format, features or layer", clipped(name))
		}
		if len(values) > 1 {
			return refuse(name, "the URL has %s %d times, want it once", name, len(values))
		}
		if err := u.set(name, values[0]); err != nil {
			return err
		}
	}
	b, err := rd.file(rd.r.Body)
	if err != nil {
		return err
	}
	u.input = true
	return rd.add(&u.items, item{image: b})
}

// form makes of a form a request. Its files are pictures in their order, fields called input or text are texts, and all others settings.
func (u *union) form(rd *reader, boundary string) error {
	u.input = true
	given := map[string]bool{}
	return rd.form(boundary, func(p *multipart.Part) error {
		name := p.FormName()
		if p.FileName() != "" {
			b, err := rd.file(p)
			if err != nil {
				return err
			}
			return rd.add(&u.items, item{image: b})
		}
		text, err := rd.field(p)
		if err != nil {
			return err
		}
		switch {
		case name == "input":
			it := item{text: text, plain: true}
			if isDataURI([]byte(text)) {
				b, err := rd.dataURI([]byte(text))
				if err != nil {
					return err
				}
				it = item{image: b}
			}
			return rd.add(&u.items, it)
		case name == "text":
			return rd.add(&u.items, item{text: text})
		case kindOf[name] == 0:
			return refuse(clipped(name), "the form has a field %q without a file, want input, text, or settings such as model and features", clipped(name))
		case given[name]:
			return refuse(name, "the form has %s twice, want it once", name)
		}
		given[name] = true
		return u.set(name, text)
	})
}

// form calls a function for every part of a form.
func (r *reader) form(boundary string, each func(p *multipart.Part) error) error {
	if boundary == "" {
		return refuse("", "the form has no boundary in its Content-Type")
	}
	m := multipart.NewReader(r.r.Body, boundary)
	for n := 0; ; n++ {
		p, err := m.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return badForm(err)
		}
		if n > r.limits.Items+maxFields {
			return refusal{clip.ErrTooLarge, "", fmt.Sprintf("the form has more than %d fields", r.limits.Items+maxFields)}
		}
		if err := each(p); err != nil {
			return err
		}
	}
}

// maxFields is how many fields a form may have beside its items.
const maxFields = 64

// badForm tells what is wrong with a form, but not of an error of the connection or of a limit.
func badForm(err error) error {
	if status.Of(err) != status.Internal {
		return err
	}
	return refuse("", "the form cannot be read: %v", err)
}

// file reads a picture, up to what one may have.
func (r *reader) file(f io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, r.limits.ImageBytes+1))
	switch {
	case err != nil:
		return nil, badForm(err)
	case int64(len(b)) > r.limits.ImageBytes:
		return nil, refusal{clip.ErrTooLarge, "", fmt.Sprintf("the picture is larger than %d bytes", r.limits.ImageBytes)}
	}
	return b, nil
}

// field reads a field of a form that is a text.
func (r *reader) field(f io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(f, int64(r.limits.TextBytes)+1))
	switch {
	case err != nil:
		return "", badForm(err)
	case len(b) > r.limits.TextBytes:
		return "", refusal{clip.ErrTooLarge, "", fmt.Sprintf("a field of the form is larger than %d bytes", r.limits.TextBytes)}
	}
	return string(b), nil
}
