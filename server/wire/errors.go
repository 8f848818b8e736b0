package wire

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/status"
)

// A refusal is an error whose fault is that of who asked, with the member of the request that it is about.
type refusal struct {
	kind  error
	param string
	text  string
}

func (e refusal) Error() string { return e.text }
func (e refusal) Unwrap() error { return e.kind }

// refuse returns an error of kind clip.ErrRequest.
func refuse(param, format string, args ...any) error {
	return refusal{kind: clip.ErrRequest, param: param, text: fmt.Sprintf(format, args...)}
}

// noModel is the error of a name that no model has.
func noModel(name string) error {
	return refusal{kind: engine.ErrModel, param: "model", text: fmt.Sprintf("the model %q does not exist here; GET /v1/models has those that do", clipped(name))}
}

// fail answers with an error, and when the queue is full with what the engine says of how long to wait.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status.RetryAfter(w.Header(), status.Of(err), s.Engine.RetryAfter())
	WriteError(w, r, err)
}

// WriteError answers a request with an error, in the shape that clients of the request's path expect: OpenAI's unless the path belongs
// to another format. Where asking again may help there is a Retry-After, of one second unless the header has one. It records the error
// as [status.Record] does.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	kind := status.Of(err)
	status.Record(r.Context(), err)
	status.Header(w.Header(), kind)
	var of refusal
	param := ""
	if errors.As(err, &of) {
		param = of.param
	}
	writeError(w, r, kind.HTTP, kind.Word, param, status.Message(err))
}

func writeError(w http.ResponseWriter, r *http.Request, code int, word, param, message string) {
	b := jsonWriter{}
	switch shapes[r.URL.Path] {
	case shapeMessage:
		b.object(func() { b.member("message").string(message) })
	case shapeError:
		b.object(func() { b.member("error").string(message) })
	case shapeDetail:
		b.object(func() { b.member("detail").string(message) })
	default:
		b.object(func() {
			b.member("error").object(func() {
				b.member("message").string(message)
				b.member("type").string(openAIType(code))
				b.member("param").optional(param)
				b.member("code").optional(word)
			})
		})
	}
	write(w, code, b.buf)
}

// A shape is how a format has errors.
type shape int

const (
	shapeOpenAI  shape = iota // {"error":{"message","type","param","code"}}
	shapeMessage              // {"message"}
	shapeError                // {"error"}
	shapeDetail               // {"detail"}
)

// shapes of the paths whose errors are not OpenAI's.
var shapes = map[string]shape{
	"/v2/embed": shapeMessage, "/v1/embed": shapeMessage, "/knn-service": shapeMessage, "/metadata": shapeMessage, "/indices-list": shapeMessage,
	"/vectorize": shapeError, "/meta": shapeError, "/.well-known/live": shapeError, "/.well-known/ready": shapeError, "/api/embed": shapeError,
	"/predict": shapeDetail, "/ping": shapeDetail, "/v1/multimodalembeddings": shapeDetail, "/multimodalembeddings": shapeDetail,
}

// openAIType returns the type of an error as OpenAI's API has them.
func openAIType(code int) string {
	switch {
	case code == http.StatusTooManyRequests:
		return "rate_limit_error"
	case code >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

// A budget is a number of bytes that several may take from.
type budget struct{ left atomic.Int64 }

func newBudget(n int64) *budget {
	b := new(budget)
	b.left.Store(n)
	return b
}

// take says whether there were so many left.
func (b *budget) take(n int64) bool { return b.left.Add(-n) >= 0 }
