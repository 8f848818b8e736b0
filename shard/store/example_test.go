package store_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/shard/store"
)

// Of two that put one name where nothing may be, one wins. A program that imports shard/store/s3 does the same with "s3://BUCKET/PREFIX".
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(ctx, dir)
	if err != nil {
		log.Fatal(err)
	}
	for _, who := range []string{"first", "second"} {
		err := store.Write(ctx, s, "claims/7.json", []byte(who), store.PutOptions{IfAbsent: true})
		fmt.Println(who, errors.Is(err, store.ErrExists))
	}
	for info, err := range s.List(ctx, "claims/") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(info.Name, info.Size)
	}
	content, _, err := store.Read(ctx, s, "claims/7.json", 1<<10)
	fmt.Println(string(content), err)
	// Output:
	// first false
	// second true
	// claims/7.json 5
	// first <nil>
}

// A part of a file, without the rest: a parquet's footer, say.
func ExampleNewReaderAt() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(ctx, dir)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Write(ctx, s, "a.txt", []byte("begin middle end"), store.PutOptions{}); err != nil {
		log.Fatal(err)
	}
	info, err := s.Stat(ctx, "a.txt")
	if err != nil {
		log.Fatal(err)
	}
	end := make([]byte, 3)
	_, err = store.NewReaderAt(ctx, s, info).ReadAt(end, info.Size-3)
	fmt.Println(string(end), err)
	// Output: end <nil>
}
