package wire

import (
	"net/http"
	"time"
)

// ollama answers POST /api/embed. Beside input there are pictures: images, as Ollama's chat has them, and the inputs of the draft in
// its pull request 15166.
func (s *server) ollama(w http.ResponseWriter, r *http.Request) error {
	begin := time.Now()
	q := request{truncate: true} // as there
	rd := newReader(r, s.Engine.Limits())
	err := rd.whole(func(name string) (err error) {
		switch name {
		case "model":
			q.model, err = rd.string()
			return err
		case "input":
			if rd.d.PeekKind() == '[' {
				return rd.texts(&q.items)
			}
			text, err := rd.string()
			if err != nil {
				return err
			}
			return rd.add(&q.items, item{text: text})
		case "images":
			return rd.pictures(&q.items)
		case "inputs":
			return rd.contents(&q.items)
		case "truncate":
			q.truncate, err = rd.bool()
			return err
		case "dimensions":
			q.dimensions, err = rd.int()
			return err
		}
		return rd.skip()
	})
	if err != nil {
		return err
	}
	a, err := s.embed(w, r, &q)
	if err != nil {
		return err
	}
	b := jsonWriter{}
	b.object(func() {
		b.member("model").string(a.Model)
		b.member("embeddings").array(func() {
			for _, v := range a.Vectors {
				b.vector(v, encodeFloat)
			}
		})
		b.member("total_duration").int(int(time.Since(begin)))
		b.member("load_duration").int(0)
		b.member("prompt_eval_count").int(a.tokens())
	})
	write(w, http.StatusOK, b.buf)
	return nil
}
