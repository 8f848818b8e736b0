package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/status"
	"github.com/vitago/vitago/tasks/imagesearch"
)

// maxVector is how many values a vector of a query may have.
const maxVector = 1 << 14

// knn answers POST /knn-service of clip-retrieval: pictures of the index of a model that are nearest to a text, a picture or a vector.
// indice_name is the name of the model. Scores of aesthetics, safety and violence need models that are not here, and are passed over as
// they are there where the model is not loaded.
func (s *server) knn(w http.ResponseWriter, r *http.Request) error {
	var part imagesearch.Part
	var query *item
	var model, modality string
	var dedup bool
	shown, ids := 0, 0
	rd := newReader(r, s.Engine.Limits())
	given := 0
	err := rd.whole(func(name string) (err error) {
		switch name {
		case "text":
			part.Text, err = rd.string()
			if part.Text != "" { // "" is none, as there
				given++
			}
			return err
		case "image", "image_url":
			it, err := rd.picture()
			query = &it
			given++
			return err
		case "embedding_input":
			part.Vector, err = rd.floats(maxVector)
			given++
			return err
		case "indice_name":
			model, err = rd.string()
			return err
		case "modality":
			modality, err = rd.string()
			return err
		case "num_images":
			shown, err = rd.int()
			return err
		case "num_result_ids":
			ids, err = rd.int()
			return err
		case "deduplicate":
			dedup, err = rd.bool()
			return err
		}
		return rd.skip()
	})
	switch {
	case err != nil:
		return err
	case given != 1:
		return refuse("", "there are %d of text, image, image_url and embedding_input, want one", given)
	case modality != "" && modality != "image":
		return refuse("modality", "modality is %q: the index is of pictures, want image", clipped(modality))
	case shown < 1 || shown > imagesearch.MaxTopK || ids < 0 || ids > imagesearch.MaxTopK:
		return refuse("num_images", "num_images is %d and num_result_ids %d, want 1 to %d", shown, ids, imagesearch.MaxTopK)
	}
	if _, err := s.known(model); err != nil {
		return err
	}
	if query != nil {
		files, leave, err := s.fetch(r.Context(), []item{*query})
		if err != nil {
			return err
		}
		defer leave()
		part.Image = files[0].Image
	}
	if part.Text != "" { // texts that are too long are cut, as there
		e, err := s.Engine.Embed(r.Context(), engine.EmbedRequest{Model: model, Items: []engine.Item{{Text: part.Text}}, Truncate: true})
		if err != nil {
			return err
		}
		part = imagesearch.Part{Vector: e.Vectors[0]}
	}
	got, err := s.Engine.Search(r.Context(), model, imagesearch.Request{Query: []imagesearch.Part{part}, TopK: max(shown, ids)})
	if err != nil {
		return err
	}
	w.Header().Set(FingerprintHeader, got.Fingerprint)
	seen := map[search.Hash]bool{}
	n := 0
	b := jsonWriter{}
	b.array(func() {
		for i := range got.Hits {
			hit := &got.Hits[i]
			if dedup && seen[hit.SHA256] {
				continue
			}
			seen[hit.SHA256] = true
			id := idOf(hit.Path)
			s.found.put(id, &hit.Record)
			b.object(func() {
				if n++; n <= shown {
					b.columns(&hit.Record)
				}
				b.member("id").int(id)
				b.member("similarity").raw(string(appendFloat(nil, float32(hit.Score))))
			})
		}
	})
	write(w, http.StatusOK, b.buf)
	return nil
}

// columns writes what is known of a picture.
func (b *jsonWriter) columns(r *search.Record) {
	b.member("image_path").string(r.Path)
	if r.Caption != "" {
		b.member("caption").string(r.Caption)
	}
	names := make([]string, 0, len(r.Columns))
	for name := range r.Columns {
		if name != "image_path" && name != "caption" && name != "id" && name != "similarity" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		b.member(name).string(r.Columns[name])
	}
}

// idOf returns the number of a picture: 52 bits of the hash of its path, which a float64 has exactly. clip-retrieval's are rows of its
// index, and those of ours change when it is compacted.
func idOf(path string) int {
	sum := sha256.Sum256([]byte(path))
	return int(binary.BigEndian.Uint64(sum[:8]) >> 12)
}

// A found remembers the pictures that were found last, for /metadata.
type found struct {
	mu   sync.Mutex
	by   map[int]search.Record
	ring []int
	next int
}

// foundMost is how many pictures are remembered.
const foundMost = 16384

func newFound(most int) *found { return &found{by: map[int]search.Record{}, ring: make([]int, most)} }

func (f *found) put(id int, r *search.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.by[id]; !ok {
		delete(f.by, f.ring[f.next])
		f.ring[f.next] = id
		f.next = (f.next + 1) % len(f.ring)
	}
	f.by[id] = *r
}

func (f *found) get(id int) (search.Record, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.by[id]
	return r, ok
}

// metadata answers POST /metadata of clip-retrieval, for pictures that /knn-service has found lately.
func (s *server) metadata(w http.ResponseWriter, r *http.Request) error {
	rd := newReader(r, s.Engine.Limits())
	var ids []int
	err := rd.whole(func(name string) error {
		if name != "ids" {
			return rd.skip()
		}
		return rd.array(func(i int) error {
			if i >= imagesearch.MaxTopK {
				return refusal{clip.ErrTooLarge, "ids", fmt.Sprintf("there are more than %d ids", imagesearch.MaxTopK)}
			}
			text, err := rd.number()
			if err != nil {
				return err
			}
			id, err := strconv.Atoi(text)
			if err != nil {
				return refuse("ids", "id %s: want a whole number", clipped(text))
			}
			ids = append(ids, id)
			return nil
		})
	})
	if err != nil {
		return err
	}
	b := jsonWriter{}
	for _, id := range ids {
		if _, ok := s.found.get(id); !ok {
			return refusal{status.ErrNotFound, "ids", fmt.Sprintf("no picture with the id %d was found lately by /knn-service", id)}
		}
	}
	b.array(func() {
		for _, id := range ids {
			if record, ok := s.found.get(id); ok {
				b.object(func() {
					b.member("id").int(id)
					b.member("metadata").object(func() { b.columns(&record) })
				})
			}
		}
	})
	write(w, http.StatusOK, b.buf)
	return nil
}

// indices answers GET /indices-list: the names of models with an index.
func (s *server) indices(w http.ResponseWriter, r *http.Request) error {
	b := jsonWriter{}
	b.array(func() {
		for _, m := range s.Engine.Models() {
			if slices.Contains(m.Tasks, "imagesearch") {
				b.string(m.Name)
			}
		}
	})
	write(w, http.StatusOK, b.buf)
	return nil
}
