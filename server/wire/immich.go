package wire

import (
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/server/status"
)

// Root answers GET / as immich's service does, by which immich's server knows it.
var Root http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	write(w, http.StatusOK, []byte(`{"message":"Immich ML"}`))
})

// ping answers GET /ping, by which immich's server knows that the service is up.
func ping(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("pong")) // unless nobody listens any more
	return nil
}

// immich answers POST /predict: a form with entries that name the task and its model, and an image or a text. The vector is a string of
// JSON there. Pictures are prepared as immich does it.
func (s *server) immich(w http.ResponseWriter, r *http.Request) error {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		return refusal{kind: status.ErrMedia, text: "the body is no form, want multipart/form-data with entries, and image or text"}
	}
	var image []byte
	var text *string
	var names map[string]string
	var wrong error // with the entries
	rd := newReader(r, s.Engine.Limits())
	err = rd.form(params["boundary"], func(p *multipart.Part) (err error) {
		switch p.FormName() {
		case "image":
			image, err = rd.file(p)
			return err
		case "text":
			s, err := rd.field(p)
			text = &s
			return err
		case "entries":
			s, err := rd.field(p)
			if err != nil {
				return err
			}
			names, wrong = entries(s)
			return wrong
		}
		return nil
	})
	kind := "visual"
	switch {
	case wrong != nil:
		return unprocessable(w, r, wrong.Error())
	case err != nil:
		return err
	case names == nil:
		return unprocessable(w, r, "the form has no entries")
	case image == nil && text == nil:
		return refuse("", "Either image or text must be provided")
	case image == nil:
		kind = "textual"
	}
	model, ok := names[kind]
	if !ok {
		return unprocessable(w, r, "entries has no clip."+kind+" for what the form has")
	}
	q := request{model: model, truncate: true}
	if image != nil {
		q.items, q.prepare.Preset = []item{{image: image}}, "immich"
	} else {
		q.items = []item{{text: *text}}
	}
	a, err := s.embed(w, r, &q)
	if err != nil {
		return err
	}
	b := jsonWriter{}
	b.object(func() {
		b.member("clip").string(string(appendFloats(nil, a.Vectors[0])))
		if image != nil {
			b.member("imageHeight").int(a.Sizes[0].Height)
			b.member("imageWidth").int(a.Sizes[0].Width)
		}
	})
	write(w, http.StatusOK, b.buf)
	return nil
}

// unprocessable answers with 422, as immich does to entries that are wrong.
func unprocessable(w http.ResponseWriter, r *http.Request, message string) error {
	err := refusal{kind: clip.ErrRequest, text: message}
	status.Record(r.Context(), err)
	status.Header(w.Header(), status.Of(err))
	writeError(w, r, http.StatusUnprocessableEntity, "", "", message)
	return nil
}

// entries returns the models that entries name, of the task clip: {"clip": {"visual": {"modelName": …}}}.
func entries(s string) (map[string]string, error) {
	names := map[string]string{}
	rd := &reader{d: jsontext.NewDecoder(strings.NewReader(s))}
	err := rd.whole(func(task string) error {
		return rd.object(func(kind string) error {
			if task != "clip" || kind != "visual" && kind != "textual" {
				return refuse("", "entries has %s.%s, and the server does clip.visual and clip.textual", clipped(task), clipped(kind))
			}
			return rd.object(func(name string) (err error) {
				if name != "modelName" {
					return rd.skip()
				}
				names[kind], err = rd.string()
				return err
			})
		})
	})
	return names, err
}
