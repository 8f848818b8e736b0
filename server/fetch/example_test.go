package fetch_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/vitago/vitago/server/fetch"
)

func Example() {
	f, err := fetch.New(fetch.Config{Hosts: []string{"upload.wikimedia.org", ".cdn.example.com"}})
	if err != nil {
		panic(err)
	}
	defer f.Close()
	_, err = f.Fetch(context.Background(), "https://169.254.169.254/latest/meta-data/")
	fmt.Println(errors.Is(err, fetch.ErrRefused), err)
	// Output: true fetch: pictures of 169.254.169.254 at port 443 are not permitted
}
