package wire

import (
	"net/http"

	"github.com/vitago/vitago/server/engine"
)

// vectorize answers POST /vectorize of Weaviate's module multi2vec-clip. It names no model, so it is the first.
func (s *server) vectorize(w http.ResponseWriter, r *http.Request) error {
	q := request{truncate: true}
	var texts, images []item
	rd := newReader(r, s.Engine.Limits())
	err := rd.whole(func(name string) error {
		switch name {
		case "texts":
			return rd.texts(&texts)
		case "images":
			return rd.pictures(&images)
		}
		return rd.skip()
	})
	if err != nil {
		return err
	}
	a := &answer{Embeddings: &engine.Embeddings{}}
	if q.items = append(texts, images...); len(q.items) > 0 { // nothing for nothing, as there
		if a, err = s.embed(w, r, &q); err != nil {
			return err
		}
	}
	b := jsonWriter{}
	vectors := func(all [][]float32) {
		b.array(func() {
			for _, v := range all {
				b.vector(v, encodeFloat)
			}
		})
	}
	b.object(func() {
		b.member("textVectors")
		vectors(a.Vectors[:len(texts)])
		b.member("imageVectors")
		vectors(a.Vectors[len(texts):])
	})
	write(w, http.StatusOK, b.buf)
	return nil
}

// meta answers GET /meta, which Weaviate shows of its module.
func (s *server) meta(w http.ResponseWriter, r *http.Request) error {
	m, err := s.known("")
	if err != nil {
		return err
	}
	b := jsonWriter{}
	b.object(func() {
		b.member("model").string(m.Name)
		if m.Dim > 0 {
			b.member("projection_dim").int(m.Dim)
		}
		if m.ImageSize > 0 {
			b.member("image_size").int(m.ImageSize)
		}
		if m.Context > 0 {
			b.member("max_position_embeddings").int(m.Context)
		}
	})
	write(w, http.StatusOK, b.buf)
	return nil
}

// live answers GET /.well-known/live.
func live(w http.ResponseWriter, r *http.Request) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// ready answers GET /.well-known/ready, for which Weaviate waits when it starts.
func (s *server) ready(w http.ResponseWriter, r *http.Request) error {
	if err := s.Engine.Ready(); err != nil {
		return err
	}
	return live(w, r)
}
