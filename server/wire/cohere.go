package wire

import (
	"bytes"
	"crypto/rand"
	"image"
	"image/color"
	_ "image/gif"  // for the depth of
	_ "image/jpeg" // pictures in
	_ "image/png"  // these formats
	"net/http"
	"slices"

	"github.com/vitago/vitago/server/engine"
)

// cohere answers POST /v2/embed and /v1/embed.
func (s *server) cohere(w http.ResponseWriter, r *http.Request) error {
	q := request{truncate: true} // truncate is END by default
	var encodings []encoding
	rd := newReader(r, s.Engine.Limits())
	err := rd.whole(func(name string) (err error) {
		switch name {
		case "model":
			name, err := rd.string()
			q.setModel(name)
			return err
		case "texts":
			return rd.texts(&q.items)
		case "images":
			return rd.pictures(&q.items)
		case "inputs":
			return rd.contents(&q.items)
		case "output_dimension":
			q.dimensions, err = rd.int()
			return err
		case "truncate":
			how, err := rd.string()
			if err != nil {
				return err
			}
			q.truncate, err = parseTruncate(how)
			return err
		case "embedding_types":
			return rd.array(func(int) error {
				name, err := rd.string()
				if err != nil {
					return err
				}
				e, err := parseEncoding("embedding_types", name)
				if err == nil && !slices.Contains(encodings, e) {
					encodings = append(encodings, e)
				}
				return err
			})
		}
		return rd.skip()
	})
	if err != nil {
		return err
	}
	v1 := r.URL.Path == "/v1/embed"
	bare := v1 && len(encodings) == 0
	if len(encodings) == 0 {
		encodings = []encoding{encodeFloat}
	}
	a, err := s.embed(w, r, &q)
	if err != nil {
		return err
	}
	b := jsonWriter{}
	all := func(e encoding) {
		b.array(func() {
			for _, v := range a.Vectors {
				b.vector(v, e)
			}
		})
	}
	images, tokens := 0, a.tokens()
	b.object(func() {
		b.member("id").string(rand.Text())
		if bare {
			b.member("embeddings")
			all(encodeFloat)
		} else {
			b.member("embeddings").object(func() {
				for _, e := range encodings {
					b.member(string(e))
					all(e)
				}
			})
		}
		b.member("texts").array(func() {
			for _, it := range a.items {
				if !it.IsImage() {
					b.string(it.Text)
				}
			}
		})
		b.member("images").array(func() {
			for i, it := range a.items {
				if it.IsImage() {
					images++
					b.picture(a.Sizes[i], it.Image)
				}
			}
		})
		if v1 {
			b.member("response_type").string(map[bool]string{true: "embeddings_floats", false: "embeddings_by_type"}[bare])
		}
		b.member("meta").object(func() {
			b.member("api_version").object(func() { b.member("version").string(map[bool]string{true: "1", false: "2"}[v1]) })
			b.member("billed_units").object(func() {
				if images > 0 {
					b.member("images").int(images)
				}
				if tokens > 0 {
					b.member("input_tokens").int(tokens)
				}
			})
		})
	})
	write(w, http.StatusOK, b.buf)
	return nil
}

// parseTruncate says whether texts that are too long are cut.
func parseTruncate(how string) (bool, error) {
	if how != "END" && how != "NONE" {
		return false, refuse("truncate", "truncate is %q, want END or NONE", clipped(how))
	}
	return how == "END", nil
}

// contents reads a list of {"content": [one part]}, which Cohere and Voyage have.
func (r *reader) contents(items *[]item) error {
	return r.array(func(i int) error {
		it, err := r.part()
		if err != nil {
			return err
		}
		return r.add(items, it)
	})
}

// picture writes what Cohere tells of a picture.
func (b *jsonWriter) picture(s engine.Size, file []byte) {
	b.object(func() {
		b.member("width").int(s.Width)
		b.member("height").int(s.Height)
		b.member("format").string(s.Format)
		b.member("bit_depth").int(bitDepth(file))
	})
}

// bitDepth returns how many bits a pixel of a file has, 24 of a format that the standard library does not know.
func bitDepth(file []byte) int {
	c, _, err := image.DecodeConfig(bytes.NewReader(file))
	if err != nil {
		return 24
	}
	switch c.ColorModel {
	case color.GrayModel:
		return 8
	case color.Gray16Model:
		return 16
	case color.RGBAModel, color.NRGBAModel, color.CMYKModel:
		return 32
	case color.RGBA64Model, color.NRGBA64Model:
		return 64
	}
	if _, ok := c.ColorModel.(color.Palette); ok {
		return 8
	}
	return 24
}
