// Serve answers over HTTP what a classifier says of a picture, as JSON: the labels, the most probable first.
//
//	go run ./examples/serve tuned localhost:8080
//	curl --data-binary @shapes/test/ring/00040.png localhost:8080/classify
//
// tuned is the folder that examples/tune has written. The status is 400 without a picture, 413 for one that is too large and 422 for what
// is no picture.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/finetune"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: serve TUNED ADDRESS")
		os.Exit(2)
	}
	model, err := finetune.Open(context.Background(), os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("POST /classify", func(w http.ResponseWriter, r *http.Request) {
		body := http.MaxBytesReader(w, r.Body, 64<<20)
		labels, err := model.Classify(r.Context(), clip.Reader("picture", body))
		if err != nil {
			http.Error(w, err.Error(), status(r, err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(labels[0]) // unless nobody listens any more
	})
	log.Fatal(http.ListenAndServe(os.Args[2], nil))
}

// status returns which status of HTTP an error is.
func status(r *http.Request, err error) int {
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, clip.ErrRequest) || r.ContentLength == 0:
		return http.StatusBadRequest
	case errors.Is(err, clip.ErrTooLarge) || errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, clip.ErrImage):
		return http.StatusUnprocessableEntity
	}
	return http.StatusInternalServerError
}
