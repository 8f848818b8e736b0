package wire

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/server/engine"
)

// An item is a text or a picture, as a request has it.
type item struct {
	text  string
	image []byte // the content of a file; nil of a text
	url   string // of a picture
	plain bool   // a string of which the request does not say what it is, unless by its modality
}

func (it *item) isImage() bool { return it.image != nil || it.url != "" }

// A reader reads JSON, and forms and files. It turns pictures in base64 into bytes one after the other.
type reader struct {
	r      *http.Request // whose body is read; nil of a text
	d      *jsontext.Decoder
	limits engine.Limits
}

func newReader(r *http.Request, limits engine.Limits) *reader { return &reader{r: r, limits: limits} }

// ahead is how many bytes of a body whose length is known are read before they are decoded. The decoder would have to grow up to the
// largest string, and hold four times as much meanwhile.
const ahead = 64 << 20

// begin begins to read JSON.
func (r *reader) begin() error {
	switch {
	case r.d != nil:
	case r.r.ContentLength <= 0:
		r.d = jsontext.NewDecoder(r.r.Body)
	default:
		b := bytes.NewBuffer(make([]byte, 0, min(r.r.ContentLength, ahead)+bytes.MinRead))
		if _, err := b.ReadFrom(r.r.Body); err != nil {
			return err
		}
		r.d = jsontext.NewDecoder(b)
	}
	return nil
}

// whole reads the object that a body is, and finds what follows it.
func (r *reader) whole(member func(name string) error) error {
	if err := r.begin(); err != nil {
		return err
	}
	if k := r.d.PeekKind(); k != '{' && k != 0 {
		return refuse("", "the body is %s, want a JSON object", kindName(k))
	}
	if err := r.object(member); err != nil {
		return err
	}
	if _, err := r.d.ReadToken(); err == nil {
		return refuse("", "something follows the JSON object in the body")
	} else if !errors.Is(err, io.EOF) {
		return badJSON(err)
	}
	return nil
}

// badJSON tells what is wrong with a body.
func badJSON(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax):
		return refuse("", "the body is not JSON: %s; for a picture as the body give its Content-Type, such as image/jpeg", strings.TrimPrefix(syntax.Error(), "jsontext: "))
	case errors.Is(err, io.EOF):
		return refuse("", "the body is empty, want a JSON object")
	}
	return err // of the connection, or of a limit
}

// object reads an object. The function reads the value of each member; a null is as if the member were not there.
func (r *reader) object(member func(name string) error) error {
	if err := r.open('{'); err != nil {
		return err
	}
	for r.d.PeekKind() == '"' {
		name, err := r.d.ReadToken()
		if err != nil {
			return badJSON(err)
		}
		what := name.String()
		if r.d.PeekKind() == 'n' {
			if err := r.skip(); err != nil {
				return err
			}
			continue
		}
		if err := member(what); err != nil {
			return err
		}
	}
	return r.close()
}

// array reads an array. The function reads each element.
func (r *reader) array(element func(i int) error) error {
	if err := r.open('['); err != nil {
		return err
	}
	for i := 0; r.d.PeekKind() != ']' && r.d.PeekKind() != 0; i++ {
		if err := element(i); err != nil {
			return err
		}
	}
	return r.close()
}

// maxDepth bounds how deep what is read may lie, which no format comes near. Every level costs a call, and the name of a place in its
// errors all of the levels above it.
const maxDepth = 32

func (r *reader) open(want jsontext.Kind) error {
	if r.d.StackDepth() >= maxDepth {
		return refuse("", "%s lies more than %d objects and lists deep", r.where(), maxDepth)
	}
	if k := r.d.PeekKind(); k != want && k != 0 {
		return refuse("", "%s is %s, want %s", r.where(), kindName(k), kindName(want))
	}
	_, err := r.d.ReadToken()
	if err != nil {
		return badJSON(err)
	}
	return nil
}

func (r *reader) close() error {
	if _, err := r.d.ReadToken(); err != nil {
		return badJSON(err)
	}
	return nil
}

func (r *reader) skip() error {
	if err := r.d.SkipValue(); err != nil {
		return badJSON(err)
	}
	return nil
}

// where names the value that was read last, or whose member or element is being read.
func (r *reader) where() string {
	if p := strings.TrimPrefix(string(r.d.StackPointer()), "/"); p != "" {
		return clipped(p)
	}
	return "the body"
}

// clipped is a text of a request for a message.
func clipped(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "no value"
}

// bytes reads a string, of which it returns the content. That is valid until the next read.
func (r *reader) bytes() ([]byte, error) {
	if k := r.d.PeekKind(); k != '"' && k != 0 {
		if err := r.skip(); err != nil {
			return nil, err
		}
		return nil, refuse("", "%s is %s, want a string", r.where(), kindName(k))
	}
	v, err := r.d.ReadValue()
	if err != nil {
		return nil, badJSON(err)
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], nil
	}
	s, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return nil, badJSON(err)
	}
	return s, nil
}

func (r *reader) string() (string, error) {
	b, err := r.bytes()
	return string(b), err
}

// number reads a number, of which it returns the text.
func (r *reader) number() (string, error) {
	if k := r.d.PeekKind(); k != '0' && k != 0 {
		return "", refuse("", "%s is %s, want a number", r.where(), kindName(k))
	}
	v, err := r.d.ReadValue()
	if err != nil {
		return "", badJSON(err)
	}
	return string(v), nil
}

func (r *reader) int() (int, error) {
	text, err := r.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, refuse(r.where(), "%s is %s, want a whole number", r.where(), clipped(text))
	}
	return int(n), nil
}

func (r *reader) float32() (float32, error) {
	text, err := r.number()
	if err != nil {
		return 0, err
	}
	x, err := strconv.ParseFloat(text, 32)
	if err != nil {
		return 0, refuse("", "%s is %s, which no float32 is", r.where(), clipped(text))
	}
	return float32(x), nil
}

func (r *reader) bool() (bool, error) {
	k := r.d.PeekKind()
	if k != 't' && k != 'f' && k != 0 {
		return false, refuse("", "%s is %s, want true or false", r.where(), kindName(k))
	}
	if _, err := r.d.ReadToken(); err != nil {
		return false, badJSON(err)
	}
	return k == 't', nil
}

// floats reads a list of at most so many numbers.
func (r *reader) floats(most int) (all []float32, err error) {
	err = r.array(func(i int) error {
		if i >= most {
			return refuse("", "%s: too many numbers, want at most %d", r.where(), most)
		}
		x, err := r.float32()
		all = append(all, x)
		return err
	})
	return all, err
}

// add appends an item, if there may be one more.
func (r *reader) add(items *[]item, it item) error {
	if len(*items) >= r.limits.Items {
		return refusal{clip.ErrTooLarge, "input", fmt.Sprintf("the request has more than %d texts and pictures", r.limits.Items)}
	}
	*items = append(*items, it)
	return nil
}

// texts reads a list of texts.
func (r *reader) texts(items *[]item) error {
	return r.array(func(i int) error {
		s, err := r.string()
		if err != nil {
			return err
		}
		return r.add(items, item{text: s})
	})
}

// pictures reads a list of pictures.
func (r *reader) pictures(items *[]item) error {
	return r.array(func(i int) error {
		it, err := r.picture()
		if err != nil {
			return err
		}
		return r.add(items, it)
	})
}

// picture reads a picture: a string that is a data URI, a URL, or base64, or an object with such a string as its url.
func (r *reader) picture() (it item, err error) {
	if r.d.PeekKind() == '{' {
		where := ""
		err := r.object(func(name string) (err error) {
			if name != "url" {
				return r.skip() // OpenAI's has a detail
			}
			it, err = r.picture()
			return err
		})
		if where = r.where(); err == nil && !it.isImage() {
			err = refuse("", "%s has no url", where)
		}
		return it, err
	}
	s, err := r.bytes()
	if err != nil {
		return item{}, err
	}
	return r.pictureOf(s)
}

// pictureOf returns the picture that a string stands for.
func (r *reader) pictureOf(s []byte) (it item, err error) {
	switch {
	case hasFold(s, "data:"):
		it.image, err = r.dataURI(s)
	case isURL(s):
		if len(s) > maxURL {
			return item{}, refuse("", "%s is a URL of %d bytes, want at most %d", r.where(), len(s), maxURL)
		}
		it.url = string(s)
	default:
		it.image, err = r.base64(s)
	}
	return it, err
}

// maxURL is how long a URL may be: 8,000 bytes is what RFC 9110, section 4.1, wants to be supported at least.
const maxURL = 8000

func isURL(s []byte) bool { return hasFold(s, "http://") || hasFold(s, "https://") }

func hasFold(s []byte, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(string(s[:len(prefix)]), prefix)
}

// isDataURI says whether a string of which nobody says what it is, is a data URI of a file rather than a text that begins alike.
func isDataURI(s []byte) bool {
	if !hasFold(s, "data:") {
		return false
	}
	if hasFold(s, "data:image/") {
		return true
	}
	head := s[:min(len(s), maxMediaType)]
	comma := bytes.IndexByte(head, ',')
	return comma >= 0 && !bytes.ContainsAny(head[:comma], " \t\r\n") && hasFold(head[max(comma-len(";base64"), 0):comma], ";base64")
}

// maxMediaType is how long what stands before the comma of a data URI may be.
const maxMediaType = 256

// dataURI returns the file that a data URI is.
func (r *reader) dataURI(s []byte) ([]byte, error) {
	head, data, ok := bytes.Cut(s[len("data:"):], []byte{','})
	if !ok || len(head) > maxMediaType {
		return nil, refuse("", "%s is a data URI without a comma", r.where())
	}
	params := strings.Split(strings.ToLower(string(head)), ";")
	media := strings.TrimSpace(params[0])
	if !slices.Contains(params[1:], "base64") {
		return nil, refuse("", "%s is a data URI that is not in base64: want data:image/jpeg;base64,…", r.where())
	}
	if kind, _, _ := strings.Cut(media, "/"); kind != "image" && media != "" && media != "application/octet-stream" {
		return nil, refuse("", "%s is a data URI of type %s, want that of a picture", r.where(), clipped(media))
	}
	return r.base64(data)
}

// base64 returns the bytes that a string stands for, in the standard or the URL's alphabet, with or without padding.
func (r *reader) base64(s []byte) ([]byte, error) {
	s = bytes.TrimRight(s, "=\r\n")
	e := base64.RawStdEncoding
	if bytes.ContainsAny(s, "-_") {
		e = base64.RawURLEncoding
	}
	n := e.DecodedLen(len(s))
	if int64(n) > r.limits.ImageBytes {
		return nil, refusal{kind: clip.ErrTooLarge, text: fmt.Sprintf("%s is a picture of %d bytes, want at most %d", r.where(), n, r.limits.ImageBytes)}
	}
	b := make([]byte, n)
	n, err := e.Decode(b, s)
	if err != nil {
		return nil, refuse("", "%s is a picture that is not in base64: %v", r.where(), err)
	}
	return b[:n], nil
}
