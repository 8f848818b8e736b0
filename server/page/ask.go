package page

import (
	"bytes"
	"errors"
	"image/png"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/status"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/tasks/imagesearch"
	"github.com/vitago/vitago/zeroshot"
)

// A modelInfo is what the page knows of a model.
type modelInfo struct {
	Name  string   `json:"name"`
	Tasks []string `json:"tasks"` // as of [engine.Info]
	Texts bool     `json:"texts"` // it has a text tower
}

// info answers with what there is.
func (p *page) info(w http.ResponseWriter, r *http.Request) error {
	var answer struct {
		Models     []modelInfo      `json:"models"`
		Examples   []string         `json:"examples"` // names of files
		Methods    []explain.Method `json:"methods"`
		Template   string           `json:"template"`    // where none is given
		ImageBytes int64            `json:"image_bytes"` // of a picture at most
	}
	for _, m := range p.Engine.Models() {
		answer.Models = append(answer.Models, modelInfo{m.Name, m.Tasks, m.Context > 0})
	}
	answer.Examples = make([]string, len(p.Examples))
	for i, e := range p.Examples {
		answer.Examples[i] = e.Name()
	}
	answer.Methods, answer.Template, answer.ImageBytes = explain.Methods(), zeroshot.DefaultTemplate, p.Engine.Limits().ImageBytes
	return writeJSON(w, answer)
}

// example answers with a picture to try, as PNG.
func (p *page) example(w http.ResponseWriter, r *http.Request) error {
	i := slices.IndexFunc(p.Examples, func(e clip.Picture) bool { return e.Name() == r.PathValue("name") })
	if i < 0 {
		return status.ErrNotFound
	}
	img, err := p.Examples[i].Decode()
	if err != nil {
		return err
	}
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/png")
	_, _ = w.Write(file.Bytes()) // unless nobody listens any more
	return nil
}

// classify says which labels fit a picture.
func (p *page) classify(w http.ResponseWriter, r *http.Request) error {
	f, model, err := p.form(w, r, "label", "template", "multi")
	if err != nil {
		return err
	}
	picture, err := f.picture()
	if err != nil {
		return err
	}
	multi, err := f.flag("multi")
	if err != nil {
		return err
	}
	answers, err := p.Engine.Classify(r.Context(), model, imageclassification.Request{
		Images: [][]byte{picture}, Labels: f.values["label"], Templates: f.values["template"], Multi: multi,
	})
	if item := (*engine.ItemError)(nil); errors.As(err, &item) {
		return item.Err // there is one picture, which need not be counted
	} else if err != nil {
		return err
	}
	return writeJSON(w, answers[0])
}

// flag returns a value that is "true", "false" or not given.
func (f *form) flag(name string) (bool, error) {
	text, err := f.one(name)
	if err != nil || text == "" {
		return false, err
	}
	if text != "true" && text != "false" {
		return false, badRequest("%s is %.40q, want true or false", name, text)
	}
	return text == "true", nil
}

// A mapAnswer is a map with the picture that it is of, as the model has it.
type mapAnswer struct {
	Caption string  `json:"caption"`
	Score   float64 `json:"score"` // the cosine; 0 of rollout
	Grid    int     `json:"grid"`
	Width   int     `json:"width"` // of the picture, as of those below
	Height  int     `json:"height"`
	Picture string  `json:"picture"` // data URI, in the size of the colours
	Colours string  `json:"colours"` // data URI
}

// explain says where a model looks for a label.
func (p *page) explain(w http.ResponseWriter, r *http.Request) error {
	f, model, err := p.form(w, r, "label", "template", "method")
	if err != nil {
		return err
	}
	picture, err := f.picture()
	if err != nil {
		return err
	}
	method, err := f.one("method")
	if err != nil {
		return err
	}
	label, err := f.one("label")
	if err != nil {
		return err
	}
	template, err := f.one("template")
	if err != nil {
		return err
	}
	var captions []string // of rollout there are none
	if explain.Method(method) != explain.Rollout {
		if strings.TrimSpace(label) == "" {
			return badRequest("there is no label, want one")
		}
		if template == "" {
			template = zeroshot.DefaultTemplate
		}
		caption, err := zeroshot.Fill(template, label)
		if err != nil {
			return err
		}
		captions = []string{caption}
	}
	maps, err := p.Engine.Explain(r.Context(), model, picture, captions, explain.Options{Method: explain.Method(method)})
	if err != nil {
		return err
	}
	m := maps[0]
	answer := mapAnswer{Caption: m.Caption, Score: m.Score, Grid: m.Grid, Width: m.Image.Bounds().Dx(), Height: m.Image.Bounds().Dy()}
	if answer.Picture, answer.Colours, err = drawMap(m); err != nil {
		return err
	}
	return writeJSON(w, answer)
}

// maxHits is how many pictures the page shows.
const maxHits = 200

// A hit is a picture of an index that was found.
type hit struct {
	Name    string  `json:"name"`
	Caption string  `json:"caption,omitempty"`
	Score   float64 `json:"score"`
	Width   int     `json:"width"`
	Height  int     `json:"height"`
	Path    string  `json:"path"`
	Picture string  `json:"picture"` // where it is, small, below the folder of the page
}

// search finds pictures of an index that are like a picture, like one of the index, or like words.
func (p *page) search(w http.ResponseWriter, r *http.Request) error {
	f, model, err := p.form(w, r, "text", "path", "top")
	if err != nil {
		return err
	}
	text, err := f.one("text")
	if err != nil {
		return err
	}
	path, err := f.one("path")
	if err != nil {
		return err
	}
	var top int
	if s, err := f.one("top"); err != nil {
		return err
	} else if s != "" {
		if top, err = strconv.Atoi(s); err != nil || top < 1 || top > maxHits {
			return badRequest("top is %.40q, want 1 to %d", s, maxHits)
		}
	}
	given := 0
	for _, there := range []bool{text != "", path != "", len(f.image) > 0} {
		if there {
			given++
		}
	}
	if given != 1 {
		return badRequest("the form has %d of text, path and %s, want 1", given, imageField)
	}
	query := imagesearch.Part{Text: text, Image: f.image}
	if path != "" {
		if query.Image, err = p.Engine.Picture(r.Context(), model, path); err != nil {
			return err
		}
	}
	found, err := p.Engine.Search(r.Context(), model, imagesearch.Request{Query: []imagesearch.Part{query}, TopK: top})
	if err != nil {
		return err
	}
	answer := struct {
		Hits []hit `json:"hits"`
	}{make([]hit, len(found.Hits))}
	for i, h := range found.Hits {
		at := "ui/picture?" + url.Values{"model": {model}, "path": {h.Path}}.Encode()
		answer.Hits[i] = hit{h.Name(), h.Caption, h.Score, h.Width, h.Height, h.Path, at}
	}
	return writeJSON(w, answer)
}
