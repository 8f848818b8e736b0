package status_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/server/status"
)

// A handler answers with an error, and the log of the server learns of it.
func ExampleWrite() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status.Write(w, r, fmt.Errorf("page: photo 3: %w", clip.ErrImage))
	})
	request, answer := httptest.NewRequest(http.MethodPost, "/", nil), httptest.NewRecorder()
	ctx, cause := status.WithRecord(request.Context())
	handler.ServeHTTP(answer, request.WithContext(ctx))
	fmt.Println(answer.Code, cause())
	// Output: 422 page: photo 3: not a readable image
}

// What an error is to a client, for who writes an answer of another form.
func ExampleOf() {
	for _, err := range []error{clip.ErrTooLarge, status.ErrToken, errors.New("open /srv/model: no such file")} {
		kind := status.Of(err)
		fmt.Println(kind.HTTP, kind.Code, kind.Word, kind.Retry)
	}
	// Output:
	// 413 InvalidArgument too_large false
	// 401 Unauthenticated invalid_token false
	// 500 Internal internal_error false
}

// Who answers without Write says so.
func ExampleRecord() {
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	ctx, cause := status.WithRecord(request.Context())
	status.Record(ctx, status.ErrNotFound)
	fmt.Println(cause())
	// Output: not found
}
