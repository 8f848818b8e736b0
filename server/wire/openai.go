package wire

import (
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vitago/vitago/clipvit"
)

// A union is a request of OpenAI's format, with what infinity, Jina, vLLM and others have added to it.
type union struct {
	request
	input    bool // there was one
	messages []item
	parts    bool     // there were messages
	modality string   // infinity's: what strings are
	encoding encoding // "" if it was not said
}

// openAI answers POST /v1/embeddings.
func (s *server) openAI(w http.ResponseWriter, r *http.Request) error {
	var u union
	if r.URL.Path == "/embeddings_image" {
		u.modality = "image"
	}
	rd := newReader(r, s.Engine.Limits())
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && (strings.HasPrefix(media, "image/") || media == "application/octet-stream") {
		err = u.file(rd)
	} else if of := inURL(r.URL); of != "" {
		err = refuse(of, "%s stands in the URL, which has settings only where the body is a picture: it would do nothing there", of)
	} else if err == nil && media == "multipart/form-data" {
		err = u.form(rd, params["boundary"])
	} else { // curl says application/x-www-form-urlencoded of whatever it sends
		err = rd.whole(func(name string) error { return u.member(rd, name) })
	}
	if err != nil {
		return err
	}
	if err := u.resolve(rd); err != nil {
		return err
	}
	a, err := s.embed(w, r, &u.request)
	if err != nil {
		return err
	}
	b := jsonWriter{}
	b.object(func() {
		b.member("object").string("list")
		b.member("data").array(func() {
			for i, v := range a.Vectors {
				b.object(func() {
					b.member("object").string("embedding")
					b.member("index").int(i)
					b.member("embedding").vector(v, u.encoding)
				})
			}
		})
		b.member("model").string(a.Model)
		b.member("usage").object(func() {
			b.member("prompt_tokens").int(a.tokens())
			b.member("total_tokens").int(a.tokens())
		})
		if u.features != (clipvit.Features{}) {
			b.member("shape").ints(a.Shape)
		}
		b.member("fingerprint").string(a.Fingerprint)
	})
	write(w, http.StatusOK, b.buf)
	return nil
}

// inURL returns a setting that a URL has, or "". Parameters of others, such as Azure's api-version, are passed over.
func inURL(u *url.URL) string {
	if u.RawQuery == "" {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(u.Query())) {
		if kindOf[name] != 0 || name == "input" {
			return name
		}
	}
	return ""
}

// tokens returns how many tokens the texts of an answer had.
func (a *answer) tokens() (sum int) {
	for _, n := range a.Tokens {
		sum += n
	}
	return sum
}

// member reads a member of the body. Those that are not known are passed over, as the services do that are spoken like here.
func (u *union) member(r *reader, name string) (err error) {
	switch name {
	case "input":
		u.input = true
		return u.readInput(r)
	case "messages":
		u.parts = true
		return u.readMessages(r)
	default:
		if r.d.PeekKind() == '[' && (name == "embedding_type" || name == "embedding_types") { // Jina's may be a list
			return r.array(func(i int) error { return u.member(r, "embedding_type") })
		}
		if name == "truncate" && r.d.PeekKind() == '"' { // NVIDIA's and Cohere's are words
			how, err := r.string()
			if err != nil {
				return err
			}
			u.truncate, err = parseTruncate(how)
			return err
		}
		switch kindOf[name] {
		case '0':
			n, err := r.int()
			if err != nil {
				return err
			}
			return u.set(name, strconv.Itoa(n))
		case 't':
			is, err := r.bool()
			if err != nil {
				return err
			}
			return u.set(name, strconv.FormatBool(is))
		case '"':
			s, err := r.string()
			if err != nil {
				return err
			}
			return u.set(name, s)
		}
	}
	return r.skip()
}

// kindOf says of which kind of JSON's values settings are.
var kindOf = map[string]byte{
	"model": '"', "modality": '"', "encoding_format": '"', "embedding_type": '"', "encoding_type": '"', "output_dtype": '"',
	"features": '"', "preprocess": '"', "fit": '"',
	"layer": '0', "dimensions": '0', "output_dimension": '0',
	"normalized": 't', "normalize": 't', "truncate": 't', "truncation": 't', "exif": 't',
}

// set takes a setting, of a member of JSON, a field of a form or a parameter of the URL.
func (u *union) set(name, value string) (err error) {
	switch name {
	case "model":
		u.setModel(value)
	case "modality":
		u.modality = value
	case "encoding_format", "embedding_type", "encoding_type", "output_dtype":
		return setEncoding(&u.encoding, name, value)
	case "features":
		u.features.Kind = clipvit.FeatureKind(value)
	case "preprocess":
		u.prepare.Preset = value
	case "fit":
		u.prepare.Fit = clipvit.Fit(value)
	case "exif":
		u.prepare.EXIF, err = parseBool(name, value)
	case "layer":
		n, err := parseInt(name, value)
		u.layer = &n
		return err
	case "dimensions", "output_dimension":
		u.dimensions, err = parseInt(name, value)
		if u.dimensions < 0 {
			return refuse(name, "%s is %d, want at least 1", name, u.dimensions)
		}
	case "normalized", "normalize":
		u.raw, err = parseBool(name, value)
		u.raw = !u.raw
	case "truncate", "truncation":
		u.truncate, err = parseBool(name, value)
	}
	return err
}

// setModel takes the name of a model. infinity's clients name one where their caller did not.
func (q *request) setModel(name string) {
	if name == "default/not-specified" {
		name = ""
	}
	q.model = name
}

// setEncoding takes an encoding. Several members may say it, but not different ones: of float and base64 the second is how the
// first travels.
func setEncoding(to *encoding, name, value string) error {
	e, err := parseEncoding(name, value)
	switch {
	case err != nil:
		return err
	case *to == "" || *to == encodeFloat && e == encodeBase64:
		*to = e
	case e != *to && !(e == encodeFloat && *to == encodeBase64):
		return refuse(name, "%s is %q, and another member says %q: want one encoding", name, value, string(*to))
	}
	return nil
}

func parseInt(name, value string) (int, error) {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return 0, refuse(name, "%s is %q, want a whole number", name, clipped(value))
	}
	return int(n), nil
}

func parseBool(name, value string) (bool, error) {
	is, err := strconv.ParseBool(value)
	if err != nil {
		return false, refuse(name, "%s is %q, want true or false", name, clipped(value))
	}
	return is, nil
}

// readInput reads what is to be embedded: a text or an object, or a list of them.
func (u *union) readInput(r *reader) error {
	one := func() error {
		it, err := r.item()
		if err != nil {
			return err
		}
		return r.add(&u.items, it)
	}
	if r.d.PeekKind() == '[' {
		return r.array(func(i int) error { return one() })
	}
	return one()
}

// item reads a string, or an object with a text or a picture.
func (r *reader) item() (item, error) {
	switch k := r.d.PeekKind(); k {
	case '{':
		return r.part()
	case '0', '[':
		return item{}, refuse("input", "%s is of token ids, of which the server does not know whose vocabulary they are: want a text", r.where())
	case '"', 0:
		s, err := r.bytes()
		if err != nil {
			return item{}, err
		}
		if isDataURI(s) {
			b, err := r.dataURI(s)
			return item{image: b}, err
		}
		return item{text: string(s), plain: true}, nil
	default:
		return item{}, refuse("input", "%s is %s, want a text, or an object with a text or a picture", r.where(), kindName(k))
	}
}

// part reads an object with a text or a picture: {"text": …}, {"image": …}, {"bytes": …}, {"url": …}, {"type": "image_url", "image_url": …},
// {"type": "input_image", "image_url": …}, {"type": "image_base64", "image_base64": …}, or {"content": [one of them]}.
func (r *reader) part() (it item, err error) {
	var kind string
	var text *string
	var all []item
	where := ""
	err = r.object(func(name string) error {
		switch name {
		case "type":
			kind, err = r.string()
			return err
		case "text":
			s, err := r.string()
			text = &s
			return err
		case "image", "bytes", "url", "image_url", "image_base64":
			it, err := r.picture()
			all = append(all, it)
			return err
		case "content":
			it, err := r.content()
			if err != nil {
				return err
			}
			if !it.isImage() {
				text = &it.text
				return nil
			}
			all = append(all, it)
			return nil
		}
		return r.skip()
	})
	if err != nil {
		return item{}, err
	}
	where = r.where()
	if text != nil && (*text != "" || len(all) == 0) {
		all = append(all, item{text: *text})
	}
	switch {
	case len(all) == 0 && kind != "" && !known[kind]:
		return item{}, refuse("input", "%s is of type %q, want text, image_url or input_image", where, clipped(kind))
	case len(all) == 0:
		return item{}, refuse("input", "%s has neither a text nor an image", where)
	case len(all) > 1:
		return item{}, refuse("input", "%s has %d texts and pictures: the model has a vector for each, and none for several together", where, len(all))
	case (kind == "text" || kind == "input_text") && all[0].isImage():
		return item{}, refuse("input", "%s is of type %q and has a picture", where, kind)
	case known[kind] && kind != "text" && kind != "input_text" && !all[0].isImage():
		return item{}, refuse("input", "%s is of type %q and has a text", where, kind)
	}
	return all[0], nil
}

// known are the types of parts, beside "".
var known = map[string]bool{"text": true, "input_text": true, "image_url": true, "input_image": true, "image": true, "image_base64": true}

// content reads the content of a message or an input: a text, or a list of exactly one part.
func (r *reader) content() (it item, err error) {
	if r.d.PeekKind() != '[' {
		it, err = r.item()
		it.plain = false // a message says what it is
		return it, err
	}
	n := 0
	err = r.array(func(i int) error {
		if n++; n > 1 {
			return refuse("input", "%s: the model has a vector for a text and one for a picture, and none for several parts together", r.where())
		}
		it, err = r.item()
		it.plain = false
		return err
	})
	if err == nil && n == 0 {
		err = refuse("input", "%s is empty, want a text or a picture", r.where())
	}
	return it, err
}

// readMessages reads messages, which are one item together.
func (u *union) readMessages(r *reader) error {
	return r.array(func(i int) error {
		return r.object(func(name string) error {
			if name != "content" {
				return r.skip()
			}
			it, err := r.content()
			if err != nil {
				return err
			}
			if len(u.messages) > 0 {
				return refuse("messages", "messages have several texts or pictures: the model has a vector for each, and none for several together")
			}
			u.messages = append(u.messages, it)
			return nil
		})
	})
}

// resolve says of strings what they are, and finds what contradicts.
func (u *union) resolve(r *reader) error {
	switch {
	case u.parts && u.input:
		return refuse("input", "there are input and messages, want one of them")
	case u.parts && len(u.messages) == 0:
		return refuse("messages", "messages have no content, want a text or a picture")
	case u.parts:
		u.items = u.messages
	}
	for i := range u.items {
		it := &u.items[i]
		switch u.modality {
		case "":
		case "text":
			if it.isImage() {
				return refuse("modality", "modality is text, and input %d is a picture", i+1)
			}
		case "image":
			switch {
			case it.plain:
				p, err := r.pictureOf([]byte(it.text))
				if err != nil {
					return err
				}
				*it = p
			case !it.isImage():
				return refuse("modality", "modality is image, and input %d is a text", i+1)
			}
		default:
			return refuse("modality", "modality is %q, want text or image", clipped(u.modality))
		}
	}
	if u.encoding == "" {
		u.encoding = encodeFloat
	}
	return u.finish()
}

// finish completes the features.
func (q *request) finish() error {
	f := &q.features
	if f.Kind == "" {
		return nil
	}
	all := []clipvit.FeatureKind{clipvit.Embedding, clipvit.PostNorm, clipvit.ClassToken, clipvit.PatchMean, clipvit.Patches, clipvit.AllTokens}
	ok := false
	for _, k := range all {
		ok = ok || k == f.Kind
	}
	if !ok {
		return refuse("features", "features is %q, want one of %v", clipped(string(f.Kind)), all)
	}
	if f.HasLayer() {
		f.Layer = -1 // as the command's --layer
		if q.layer != nil {
			f.Layer = *q.layer
		}
	}
	return nil
}

// health answers GET /health, as infinity does.
func (s *server) health(w http.ResponseWriter, r *http.Request) error {
	if err := s.Engine.Ready(); err != nil {
		return err
	}
	b := jsonWriter{}
	b.object(func() { b.member("unix").int(int(time.Now().Unix())) })
	write(w, http.StatusOK, b.buf)
	return nil
}

// models answers GET /v1/models.
func (s *server) models(w http.ResponseWriter, r *http.Request) error {
	b := jsonWriter{}
	b.object(func() {
		b.member("object").string("list")
		b.member("data").array(func() {
			for _, m := range s.Engine.Models() {
				for _, id := range append([]string{m.Name}, m.Aliases...) {
					b.model(id, m.Name, m.Created)
				}
			}
		})
	})
	write(w, http.StatusOK, b.buf)
	return nil
}

// model answers GET /v1/models/{id}.
func (s *server) model(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if id == "" { // which is the first model elsewhere
		return noModel(id)
	}
	m, err := s.known(id)
	if err != nil {
		return err
	}
	b := jsonWriter{}
	b.model(id, m.Name, m.Created)
	write(w, http.StatusOK, b.buf)
	return nil
}

// model writes a model. Its root is the name that an alias stands for, as vLLM has it.
func (b *jsonWriter) model(id, name string, created time.Time) {
	b.object(func() {
		b.member("id").string(id)
		b.member("object").string("model")
		b.member("created").int(int(max(created.Unix(), 0)))
		b.member("owned_by").string("vitago")
		b.member("root").string(name)
	})
}
