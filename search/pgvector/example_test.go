package pgvector_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/search/pgvector"
)

// The pictures of an index in a table, found by a sentence.
func ExampleStore() {
	ctx := context.Background()
	x, err := search.Open("photos.index")
	if err != nil {
		log.Fatal(err)
	}
	defer x.Close()
	store, err := pgvector.Open(ctx, "postgres://user@host/db", "photos", x.Space())
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if _, err := x.CopyTo(ctx, store); err != nil {
		log.Fatal(err)
	}
	m, err := clip.Open(x.Model())
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	query, err := m.EncodeText(ctx, []string{"a red car in the snow"})
	if err != nil {
		log.Fatal(err)
	}
	hits, err := store.Find(ctx, query[0], 10)
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range hits {
		fmt.Println(h.Path, h.Cosine)
	}
}
