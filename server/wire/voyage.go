package wire

import "net/http"

// pixelsOfToken is how many pixels of a picture count as a token. Source: Voyage's documentation of multimodal embeddings.
const pixelsOfToken = 560

// voyage answers POST /v1/multimodalembeddings.
func (s *server) voyage(w http.ResponseWriter, r *http.Request) error {
	q := request{truncate: true}
	e := encoding("")
	rd := newReader(r, s.Engine.Limits())
	err := rd.whole(func(name string) (err error) {
		switch name {
		case "model":
			name, err := rd.string()
			q.setModel(name)
			return err
		case "inputs":
			return rd.contents(&q.items)
		case "truncation":
			q.truncate, err = rd.bool()
			return err
		case "output_dimension":
			q.dimensions, err = rd.int()
			return err
		case "encoding_format", "output_encoding", "output_dtype":
			value, err := rd.string()
			if err != nil {
				return err
			}
			return setEncoding(&e, name, value)
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
	pixels := 0
	for _, s := range a.Sizes {
		pixels += s.Width * s.Height
	}
	b := jsonWriter{}
	b.object(func() {
		b.member("object").string("list")
		b.member("data").array(func() {
			for i, v := range a.Vectors {
				b.object(func() {
					b.member("object").string("embedding")
					b.member("embedding").vector(v, e)
					b.member("index").int(i)
				})
			}
		})
		b.member("model").string(a.Model)
		b.member("usage").object(func() {
			b.member("text_tokens").int(a.tokens())
			b.member("image_pixels").int(pixels)
			b.member("video_pixels").int(0) // its client for Python fails without
			b.member("total_tokens").int(a.tokens() + pixels/pixelsOfToken)
		})
	})
	write(w, http.StatusOK, b.buf)
	return nil
}
