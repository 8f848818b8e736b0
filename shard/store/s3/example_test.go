package s3_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"os"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/vitago/vitago/shard/store"
	"github.com/vitago/vitago/shard/store/s3"
)

// Files in a bucket. Who the program is, and where the server is, stands in the variables of AWS's own tools.
func ExampleOpen() {
	backend := s3mem.New() // a server in memory, in the place of AWS
	if err := backend.CreateBucket("photos"); err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	defer server.Close()
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"} {
		was, set := os.LookupEnv(name)
		os.Setenv(name, value)
		defer func() {
			if os.Unsetenv(name); set {
				os.Setenv(name, was)
			}
		}()
	}

	ctx := context.Background()
	s, err := s3.Open(ctx, "s3://photos/2026") // or store.Open, which knows folders as well
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Write(ctx, s, "a.txt", []byte("a cat"), store.PutOptions{}); err != nil {
		log.Fatal(err)
	}
	content, info, err := store.Read(ctx, s, "a.txt", 1<<10)
	fmt.Println(string(content), info.Size, err)
	// Output: a cat 5 <nil>
}
