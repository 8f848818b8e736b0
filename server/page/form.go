package page

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/server/status"
)

// The limits of a form, beside those that the engine has.
const (
	maxValue  = 64 << 10 // bytes of a value
	maxValues = 20_000   // values of a form
	aroundAll = 4 << 20  // bytes of a form beside its picture
)

// imageField is what a form calls its picture.
const imageField = "image"

// A form is what the page sends: a picture and values by their names.
type form struct {
	image  []byte // nil if there is none
	values map[string][]string
}

// readForm reads a form whose values have some of the names, and whose picture has so many bytes at most. It never writes to disk.
func readForm(w http.ResponseWriter, r *http.Request, imageBytes int64, names ...string) (*form, error) {
	r.Body = http.MaxBytesReader(w, r.Body, imageBytes+aroundAll)
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, fmt.Errorf("%w: got %.80q, want multipart/form-data", status.ErrMedia, r.Header.Get("Content-Type"))
	}
	f := &form{values: map[string][]string{}}
	for n := 0; ; n++ {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return f, nil
		} else if err != nil {
			return nil, damaged(err)
		}
		if n == maxValues {
			return nil, badRequest("the form has more than %d values", maxValues)
		}
		if err := f.add(part, imageBytes, names); err != nil {
			return nil, err
		}
	}
}

// add takes a part of a form.
func (f *form) add(part *multipart.Part, imageBytes int64, names []string) error {
	name := part.FormName()
	if name == imageField {
		if f.image != nil {
			return badRequest("the form has two pictures, want one")
		}
		file, err := upTo(part, imageBytes)
		if err != nil {
			return err
		}
		if file == nil {
			return &refusal{clip.ErrTooLarge, fmt.Sprintf("the picture has more than %d bytes", imageBytes)}
		}
		f.image = file
		return nil
	}
	if !slices.Contains(names, name) {
		return badRequest("the form has %.40q, want %s", name, strings.Join(append(names, imageField), ", "))
	}
	value, err := upTo(part, maxValue)
	if err != nil {
		return err
	}
	if value == nil {
		return badRequest("%s has more than %d bytes", name, maxValue)
	}
	f.values[name] = append(f.values[name], string(value))
	return nil
}

// upTo reads all, or returns nil if it is more than so many bytes.
func upTo(r io.Reader, most int64) ([]byte, error) {
	all, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return nil, damaged(err)
	case int64(len(all)) > most:
		return nil, nil
	}
	return all, nil
}

// one returns a value that may be given once, "" if it is not.
func (f *form) one(name string) (string, error) {
	switch all := f.values[name]; len(all) {
	case 0:
		return "", nil
	case 1:
		return all[0], nil
	default:
		return "", badRequest("the form has %s %d times, want it once", name, len(all))
	}
}

// picture returns the picture, which has to be there.
func (f *form) picture() ([]byte, error) {
	if len(f.image) == 0 {
		return nil, badRequest("the form has no picture, want one as %s", imageField)
	}
	return f.image, nil
}

// damaged is what an error is that reading a body gave.
func damaged(err error) error {
	if errors.As(err, new(*http.MaxBytesError)) {
		return err
	}
	return fmt.Errorf("%w: %w", status.ErrBody, err)
}

// A refusal is an error of a kind, with a text of its own.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

func badRequest(format string, a ...any) error {
	return &refusal{clip.ErrRequest, fmt.Sprintf(format, a...)}
}

// form reads a form that may name a model.
func (p *page) form(w http.ResponseWriter, r *http.Request, names ...string) (f *form, model string, err error) {
	f, err = readForm(w, r, p.Engine.Limits().ImageBytes, append(names, "model")...)
	if err != nil {
		return nil, "", err
	}
	model, err = f.one("model")
	return f, model, err
}
