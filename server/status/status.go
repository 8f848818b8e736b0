// Package status says what an error is to a client: its status of HTTP, its code of gRPC, a word for machines, and whether it helps to
// ask again. It is one table for all that answers over a network.
package status

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/fetch"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/runs"
)

// The kinds of errors that are of the transport, for [errors.Is].
var (
	// ErrToken means that a request has no token, or one that is not known.
	ErrToken = errors.New("no valid token")
	// ErrForbidden means that the server does not do what was asked for, whoever asks.
	ErrForbidden = errors.New("not permitted")
	// ErrNotFound means that there is nothing at a path.
	ErrNotFound = errors.New("not found")
	// ErrMethod means that a path does not have the method.
	ErrMethod = errors.New("method not allowed")
	// ErrMedia means that a body is of a type that is not read.
	ErrMedia = errors.New("unsupported media type")
	// ErrBody means that a body was cut short, or came too slowly.
	ErrBody = errors.New("the body is not complete")
)

// StatusClientGone is what logs and metrics have where nobody waits for the answer any more. It is nginx's number; HTTP has none.
const StatusClientGone = 499

// A Kind is what an error is to a client.
type Kind struct {
	HTTP  int        // the status: 400, 404, …
	Code  codes.Code // gRPC's
	Word  string     // for machines
	Retry bool       // the same request may succeed later
}

// Internal is the kind of all errors that have no other. What they say is not for clients.
var Internal = Kind{http.StatusInternalServerError, codes.Internal, "internal_error", false}

// table has the kind of every error; the first that an error is decides. Neither 408 nor 409 is in it: the clients of OpenAI repeat
// such a request at once, body and all.
var table = []struct {
	err error
	Kind
}{
	{engine.ErrBusy, Kind{http.StatusTooManyRequests, codes.ResourceExhausted, "overloaded", true}},
	{engine.ErrClosed, Kind{http.StatusServiceUnavailable, codes.Unavailable, "shutting_down", true}},
	{fetch.ErrTimeout, Kind{http.StatusGatewayTimeout, codes.DeadlineExceeded, "url_timeout", false}},
	{context.DeadlineExceeded, Kind{http.StatusGatewayTimeout, codes.DeadlineExceeded, "deadline_exceeded", false}},
	{context.Canceled, Kind{StatusClientGone, codes.Canceled, "canceled", false}},
	{ErrToken, Kind{http.StatusUnauthorized, codes.Unauthenticated, "invalid_token", false}},
	{ErrForbidden, Kind{http.StatusForbidden, codes.PermissionDenied, "not_permitted", false}},
	{ErrNotFound, Kind{http.StatusNotFound, codes.NotFound, "not_found", false}},
	{ErrMethod, Kind{http.StatusMethodNotAllowed, codes.Unimplemented, "method_not_allowed", false}},
	{ErrMedia, Kind{http.StatusUnsupportedMediaType, codes.InvalidArgument, "unsupported_media_type", false}},
	{ErrBody, Kind{http.StatusBadRequest, codes.InvalidArgument, "incomplete_body", false}},
	{engine.ErrModel, Kind{http.StatusNotFound, codes.NotFound, "model_not_found", false}},
	{engine.ErrTask, Kind{http.StatusBadRequest, codes.FailedPrecondition, "task_not_supported", false}},
	{clip.ErrTooLarge, tooLarge},
	{clip.ErrNoText, Kind{http.StatusBadRequest, codes.FailedPrecondition, "no_text_tower", false}},
	{fetch.ErrRefused, Kind{http.StatusBadRequest, codes.InvalidArgument, "url_not_permitted", false}},
	{fetch.ErrFailed, Kind{http.StatusBadGateway, codes.FailedPrecondition, "url_failed", false}},
	{clip.ErrRequest, invalid},
	{clipvit.ErrLayer, invalid},
	{search.ErrQuery, invalid},
	{search.ErrFilter, invalid},
	{clip.ErrImage, Kind{http.StatusUnprocessableEntity, codes.InvalidArgument, "invalid_image", false}},
	{clip.ErrText, Kind{http.StatusUnprocessableEntity, codes.InvalidArgument, "invalid_text", false}},
	{runs.ErrBusy, Kind{http.StatusTooManyRequests, codes.ResourceExhausted, "too_many_runs", true}},
	{runs.ErrClosed, Kind{http.StatusServiceUnavailable, codes.Unavailable, "shutting_down", true}},
	{runs.ErrRun, Kind{http.StatusNotFound, codes.NotFound, "run_not_found", false}},
	{runs.ErrState, Kind{http.StatusBadRequest, codes.FailedPrecondition, "wrong_state", false}},
	{finetuning.ErrData, Kind{http.StatusUnprocessableEntity, codes.FailedPrecondition, "invalid_data", false}},
	{finetuning.ErrRefused, Kind{http.StatusBadRequest, codes.FailedPrecondition, "refused", false}},
	{finetuning.ErrDiverged, Kind{http.StatusUnprocessableEntity, codes.Aborted, "diverged", false}},
}

var (
	tooLarge = Kind{http.StatusRequestEntityTooLarge, codes.InvalidArgument, "too_large", false}
	invalid  = Kind{http.StatusBadRequest, codes.InvalidArgument, "invalid_request", false}
)

// Of returns the kind of an error, the zero value of none.
func Of(err error) Kind {
	if err == nil {
		return Kind{}
	}
	if errors.As(err, new(*http.MaxBytesError)) {
		return tooLarge
	}
	for _, row := range table {
		if errors.Is(err, row.err) {
			return row.Kind
		}
	}
	return Internal
}

// Words returns the words of all kinds that an error is, that of [Of] first.
func Words(err error) (all []string) {
	all = append(all, Of(err).Word)
	for _, row := range table {
		if errors.Is(err, row.err) && !slices.Contains(all, row.Word) {
			all = append(all, row.Word)
		}
	}
	return all
}

// HTTP returns the status of an error, 200 of none.
func HTTP(err error) int {
	if err == nil {
		return http.StatusOK
	}
	return Of(err).HTTP
}

// Code returns the code of gRPC of an error, [codes.OK] of none.
func Code(err error) codes.Code { return Of(err).Code }

// Kinds returns all kinds that there are, by their status and word.
func Kinds() []Kind {
	all := []Kind{Internal}
	for _, row := range table {
		if !slices.Contains(all, row.Kind) {
			all = append(all, row.Kind)
		}
	}
	slices.SortFunc(all, func(a, b Kind) int {
		if a.HTTP != b.HTTP {
			return a.HTTP - b.HTTP
		}
		return strings.Compare(a.Word, b.Word)
	})
	return all
}

// prefixes are the names of packages at the beginning of errors, and of items.
var prefixes = regexp.MustCompile(`(^|^item [0-9]+: )(?:(?:adapter|checkpoint|clip|cliptext|clipvit|converter|data|engine|explain|fetch|finetune|gate|imageclassification|` +
	`imageencoding|finetuning|imagesearch|imagetextsimilarity|job|op|optim|pictures|pillow|projector|runs|scan|search|server|textencoding|transformer|` +
	`visualtokens|wire|zeroshot): )+`)

// Message returns what a client is told of an error: its text without the names of packages in front. Of an [Internal] error it tells
// nothing, since its text may name files of the server.
func Message(err error) string {
	switch kind := Of(err); {
	case err == nil:
		return ""
	case kind == Internal:
		return "internal error: the server's log has it under the id of the request"
	case errors.As(err, new(*http.MaxBytesError)):
		var large *http.MaxBytesError
		errors.As(err, &large)
		return "the body is larger than " + strconv.FormatInt(large.Limit, 10) + " bytes"
	}
	text := prefixes.ReplaceAllString(err.Error(), "$1")
	if len(text) > maxMessage { // of a request's own words
		text = strings.ToValidUTF8(text[:maxMessage/2], "") + " … " + strings.ToValidUTF8(text[len(text)-maxMessage/2:], "")
	}
	return text
}

// maxMessage is how many bytes of an error's text a client is told. gRPC has it in a header, which clients take up to 8 KiB of.
const maxMessage = 2000

// A Body is an error in the form of OpenAI's, which is what package server answers with itself.
type Body struct {
	// Error is all of it, since clients of OpenAI look there.
	Error struct {
		Message   string `json:"message"`              // the error in a sentence
		Type      string `json:"type"`                 // "invalid_request_error", "server_error", …
		Code      string `json:"code"`                 // [Kind.Word]
		RequestID string `json:"request_id,omitempty"` // by which the server's log has it; "" if it has none
	} `json:"error"`
}

// Write answers a request with an error, and records it. The header X-Should-Retry is "false" unless it helps to ask again; then there is a
// Retry-After.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	kind := Of(err)
	Record(r.Context(), err)
	Header(w.Header(), kind)
	var b Body
	b.Error.Message, b.Error.Code, b.Error.Type = Message(err), kind.Word, "invalid_request_error"
	if kind.HTTP >= 500 || kind.Retry {
		b.Error.Type = "server_error"
	}
	b.Error.RequestID = w.Header().Get("X-Request-Id")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(kind.HTTP)
	_ = json.NewEncoder(w).Encode(b) // unless nobody listens any more
}

// Header says in the header of an answer whether to ask again, and when: after a second, unless it says already. For whom answers with an
// error in a form of its own.
func Header(h http.Header, kind Kind) {
	switch {
	case !kind.Retry:
		h.Set("X-Should-Retry", "false")
	case h.Get("Retry-After") == "":
		RetryAfter(h, kind, 0)
	}
	h.Set("Cache-Control", "no-store")
}

// RetryAfter says in the header of an answer after how many seconds to ask again, rounded up, 1 to 60, if that helps. OpenAI's client for
// Node waits half a second where it is told more, and those for Python and Go give up above 120.
func RetryAfter(h http.Header, kind Kind, d time.Duration) {
	if kind.Retry {
		h.Set("Retry-After", strconv.Itoa(min(max(int(math.Ceil(d.Seconds())), 1), 60)))
	}
}

type recordKey struct{}

// WithRecord returns a context in which [Record] keeps an error, and a function that returns the first that it kept.
func WithRecord(ctx context.Context) (context.Context, func() error) {
	kept := new(atomic.Pointer[error])
	return context.WithValue(ctx, recordKey{}, kept), func() error {
		if p := kept.Load(); p != nil {
			return *p
		}
		return nil
	}
}

// Record tells the server of an error that a request is answered with, for its log. Whoever answers without [Write] calls it.
func Record(ctx context.Context, err error) {
	if kept, ok := ctx.Value(recordKey{}).(*atomic.Pointer[error]); ok && err != nil {
		kept.CompareAndSwap(nil, &err)
	}
}

// Errors returns the error whose kind has a word, for clients: the first of the table. It is nil for a word that is none, and for that of
// [Internal].
func Errors(word string) error {
	for _, row := range table {
		if row.Word == word {
			return row.err
		}
	}
	return nil
}
