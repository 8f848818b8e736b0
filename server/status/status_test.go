package status_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/status"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		err     error
		http    int
		code    codes.Code
		word    string
		retry   bool
		message string
	}{
		{fmt.Errorf("clip: %w: nothing", clip.ErrRequest), 400, codes.InvalidArgument, "invalid_request", false, "not a valid request: nothing"},
		{&engine.ItemError{Index: 2, Err: fmt.Errorf("clip: clipvit: a.jpg: %w", clip.ErrImage)}, 422, codes.InvalidArgument, "invalid_image", false, "item 3: a.jpg: not a readable image"},
		{fmt.Errorf("clip: %w", clip.ErrText), 422, codes.InvalidArgument, "invalid_text", false, "not a text that can be encoded"},
		{fmt.Errorf("clip: %w", clip.ErrNoText), 400, codes.FailedPrecondition, "no_text_tower", false, "no text tower"},
		{fmt.Errorf("%w: %w", clip.ErrImage, clip.ErrTooLarge), 413, codes.InvalidArgument, "too_large", false, "not a readable image: image too large"},
		{fmt.Errorf("x: %w", clipvit.ErrLayer), 400, codes.InvalidArgument, "invalid_request", false, "x: the tower has no such layer"},
		{fmt.Errorf("%w: cannot read: %w", clip.ErrImage, &http.MaxBytesError{Limit: 7}), 413, codes.InvalidArgument, "too_large", false, "the body is larger than 7 bytes"},
		{fmt.Errorf("engine: model %q: %w", "x", engine.ErrModel), 404, codes.NotFound, "model_not_found", false, `model "x": no such model`},
		{engine.ErrTask, 400, codes.FailedPrecondition, "task_not_supported", false, "the model cannot do that"},
		{engine.ErrBusy, 429, codes.ResourceExhausted, "overloaded", true, "too many requests"},
		{engine.ErrClosed, 503, codes.Unavailable, "shutting_down", true, "shutting down"},
		{fmt.Errorf("clip: %w: %s", clip.ErrText, strings.Repeat("é", 5000)), 422, codes.InvalidArgument, "invalid_text", false,
			"not a text that can be encoded: " + strings.Repeat("é", 484) + " … " + strings.Repeat("é", 500)},
		{search.ErrQuery, 400, codes.InvalidArgument, "invalid_request", false, "no query"},
		{context.DeadlineExceeded, 504, codes.DeadlineExceeded, "deadline_exceeded", false, "context deadline exceeded"},
		{fmt.Errorf("clip: %w", context.Canceled), 499, codes.Canceled, "canceled", false, "context canceled"},
		{status.ErrToken, 401, codes.Unauthenticated, "invalid_token", false, "no valid token"},
		{&fs.PathError{Op: "open", Path: "secret/place", Err: fs.ErrNotExist}, 500, codes.Internal, "internal_error", false, "internal error: the server's log has it under the id of the request"},
		{search.ErrSpace, 500, codes.Internal, "internal_error", false, "internal error: the server's log has it under the id of the request"},
	} {
		want := status.Kind{HTTP: c.http, Code: c.code, Word: c.word, Retry: c.retry}
		if got := status.Of(c.err); got != want || status.HTTP(c.err) != c.http || status.Code(c.err) != c.code {
			t.Errorf("%v: got %+v, want %+v", c.err, got, want)
		}
		if got := status.Message(c.err); got != c.message {
			t.Errorf("%v: a client is told %q, want %q", c.err, got, c.message)
		}
	}
	if status.HTTP(nil) != 200 || status.Code(nil) != codes.OK || status.Message(nil) != "" || status.Of(nil) != (status.Kind{}) {
		t.Errorf("no error: %d, %v, %q", status.HTTP(nil), status.Code(nil), status.Message(nil))
	}
	words := map[string]bool{}
	for _, k := range status.Kinds() {
		if k.HTTP == http.StatusConflict || k.HTTP == http.StatusRequestTimeout {
			t.Errorf("%+v: clients repeat it at once", k)
		}
		if words[k.Word] {
			t.Errorf("two kinds are called %s", k.Word)
		}
		words[k.Word] = true
		if err := status.Errors(k.Word); (err == nil) != (k == status.Internal) || err != nil && status.Of(err) != k {
			t.Errorf("the word %s is of %v, want an error of its kind", k.Word, err)
		}
	}
}

func TestWrite(t *testing.T) {
	ctx, kept := status.WithRecord(t.Context())
	r := httptest.NewRequestWithContext(ctx, "POST", "/", nil)
	for _, c := range []struct {
		err              error
		kind, code, asks string
	}{
		{errors.New("at secret/place"), "server_error", "internal_error", "false"},
		{engine.ErrBusy, "server_error", "overloaded", ""},
		{engine.ErrModel, "invalid_request_error", "model_not_found", "false"},
	} {
		w := httptest.NewRecorder()
		w.Header().Set("X-Request-Id", "r1")
		status.Write(w, r, c.err)
		var b status.Body
		if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || b.Error.Type != c.kind || b.Error.Code != c.code || b.Error.Message != status.Message(c.err) || b.Error.RequestID != "r1" {
			t.Errorf("%v: body is %s (%v)", c.err, w.Body, err)
		}
		if w.Code != status.HTTP(c.err) || w.Header().Get("X-Should-Retry") != c.asks || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%v: status %d, header %v", c.err, w.Code, w.Header())
		}
		if got, want := w.Header().Get("Retry-After"), map[string]string{"": "1"}[c.asks]; got != want {
			t.Errorf("%v: Retry-After is %q, want %q", c.err, got, want)
		}
	}
	busy := status.Of(engine.ErrBusy)
	for d, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", 2 * time.Second: "2", 2100 * time.Millisecond: "3", 90 * time.Second: "60", -time.Second: "1"} {
		h := http.Header{}
		status.RetryAfter(h, busy, d)
		status.Header(h, busy) // which leaves it
		if got := h.Get("Retry-After"); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if err := kept(); err == nil || err.Error() != "at secret/place" {
		t.Errorf("the log has %v, want the first error", err)
	}
	status.Record(t.Context(), engine.ErrBusy) // nobody keeps it
}

// TestPage: the page has a row for every kind.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(string(page), "\n")
	for _, k := range status.Kinds() {
		if !slices.ContainsFunc(rows, func(row string) bool {
			return strings.HasPrefix(row, fmt.Sprintf("| %d |", k.HTTP)) && strings.Contains(row, k.Code.String()) && strings.Contains(row, "`"+k.Word+"`")
		}) {
			t.Errorf("docs/serving.md has no row of %+v", k)
		}
	}
}

func TestWords(t *testing.T) {
	both := fmt.Errorf("%w: %w", clip.ErrNoText, engine.ErrTask)
	if got, want := status.Words(both), []string{status.Of(both).Word, "no_text_tower"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := status.Words(errors.New("a file is gone")); !slices.Equal(got, []string{status.Internal.Word}) {
		t.Errorf("got %q of an internal error", got)
	}
}
