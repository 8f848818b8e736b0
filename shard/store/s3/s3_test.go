package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/vitago/vitago/shard/store"
	"github.com/vitago/vitago/shard/store/storetest"
)

// quick are limits for tests: small parts, short waits.
var quick = limits{stall: 10 * time.Second, backoff: time.Microsecond, multipart: 1 << 19, part: 1 << 18, copy: 1 << 19, copyPart: 1 << 18, page: 7}

func opened(t *testing.T, location string, l limits) store.Store {
	t.Helper()
	s, err := open(t.Context(), location, l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	for name, prefix := range map[string]string{"bucket": "", "prefix": "/a prefix/ü+/deep"} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) store.Store {
				server := storetest.NewServer(t)
				server.Setenv(t)
				return opened(t, server.Location+prefix, quick)
			})
		})
	}
}

// A faulty server, as a test has it: opened at a place, with a content to read.
func faulty(t *testing.T, l limits) (*storetest.Server, store.Store) {
	t.Helper()
	server := storetest.NewServer(t)
	server.Setenv(t)
	return server, opened(t, server.Location+"/p", l)
}

func write(t *testing.T, s store.Store, name, content string) {
	t.Helper()
	if err := store.Write(t.Context(), s, name, []byte(content), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s store.Store, name string) string {
	t.Helper()
	b, _, err := store.Read(t.Context(), s, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// All that a store has to do, it does with a third of all requests failing in every way.
func TestFaults(t *testing.T) {
	l := quick
	l.stall = 20 * time.Millisecond
	storetest.Run(t, func(t *testing.T) store.Store {
		server := storetest.NewServer(t)
		server.Setenv(t)
		t.Setenv("AWS_MAX_ATTEMPTS", "100")
		server.Fail(storetest.Random(1, 1./3, storetest.Error500, storetest.Error503, storetest.Reset, storetest.LostAnswer, storetest.Cut, storetest.Slow))
		t.Cleanup(func() {
			if requests, faults := server.Counts(); faults < requests/5 {
				t.Errorf("%d of %d requests failed", faults, requests)
			}
		})
		return opened(t, server.Location+"/p", l)
	})
}

// What breaks off is taken up behind what was read: no byte is lost, and none comes twice.
func TestReadResumes(t *testing.T) {
	l := quick
	l.stall = 200 * time.Millisecond // longer than a busy machine keeps a goroutine waiting
	server, s := faulty(t, l)
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	write(t, s, "tar", string(content))
	for _, c := range []struct {
		name           string
		faults         []storetest.Fault
		offset, length int64
	}{
		{"cut", []storetest.Fault{storetest.Cut, storetest.Cut, storetest.Cut, storetest.Cut}, 0, -1},
		{"cut, of a range", []storetest.Fault{storetest.Cut, storetest.Cut}, 1000, 2 << 20},
		{"errors between", []storetest.Fault{storetest.Error503, storetest.Cut, storetest.Error500, storetest.Reset, storetest.Error503, storetest.Cut, storetest.LostAnswer}, 7, -1},
		{"slow", []storetest.Fault{storetest.Slow}, 0, -1},
		{"stalls", []storetest.Fault{storetest.Stall, storetest.Stall}, 5, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			server.Fail(storetest.Each(http.MethodGet, c.faults...))
			defer server.Fail(nil)
			r, err := s.Open(t.Context(), "tar", c.offset, c.length)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			want := content[c.offset:]
			if c.length >= 0 {
				want = want[:c.length]
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v, want %d, the same", len(got), err, len(want))
			}
		})
	}
}

// What is read is of one version: another one in the middle is an error, whether the server keeps conditions or not.
func TestReadChanged(t *testing.T) {
	server, s := faulty(t, quick)
	for name, plan := range map[string]struct {
		faults  []storetest.Fault
		replace bool
	}{
		"replaced":                     {[]storetest.Fault{storetest.Cut}, true},
		"conditions that are not kept": {[]storetest.Fault{storetest.Cut, storetest.OtherTag}, false},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, s, "tar", strings.Repeat("old", 1<<19))
			server.Fail(storetest.Each(http.MethodGet, plan.faults...))
			defer server.Fail(nil)
			r, err := s.Open(t.Context(), "tar", 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if plan.replace {
				write(t, s, "tar", strings.Repeat("new", 1<<19))
			}
			got, err := io.ReadAll(r)
			if !errors.Is(err, store.ErrChanged) || !strings.Contains(err.Error(), "read from byte") || strings.Contains(string(got), "new") || len(got) == 0 {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
}

// A server that fails for ever is an error that says how often it was tried, and AWS_MAX_ATTEMPTS says how often that is.
func TestAttempts(t *testing.T) {
	for _, mode := range []string{"standard", "adaptive"} {
		t.Run(mode, func(t *testing.T) {
			server := storetest.NewServer(t)
			server.Setenv(t)
			t.Setenv("AWS_MAX_ATTEMPTS", "4")
			t.Setenv("AWS_RETRY_MODE", mode)
			s := opened(t, server.Location, quick)
			write(t, s, "a", strings.Repeat("x", 1000))
			before, _ := server.Counts()
			server.Fail(func(*http.Request) storetest.Fault { return storetest.Error500 })
			err := store.Write(t.Context(), s, "b", nil, store.PutOptions{})
			if after, _ := server.Counts(); after-before != 4 || err == nil || !strings.Contains(err.Error(), "InternalError") || !strings.Contains(err.Error(), "tried 4 times") {
				t.Errorf("%d tries, and %v", after-before, err)
			}

			// A body that is cut again and again moves on, and gets to its end nonetheless; one that does not move on ends.
			server.Fail(func(*http.Request) storetest.Fault { return storetest.Cut })
			if _, _, err := store.Read(t.Context(), s, "a", 1000); err == nil || !strings.Contains(err.Error(), "read from byte 999 on") || !strings.Contains(err.Error(), "1 bytes before the end") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// An answer that was lost does not make one's own object that of another.
func TestPutNewLostAnswer(t *testing.T) {
	server, s := faulty(t, quick)
	absent := store.PutOptions{IfAbsent: true}
	for i, faults := range [][]storetest.Fault{ // the first one checks that the server keeps conditions
		{storetest.LostAnswer}, {storetest.None, storetest.LostAnswer}, {storetest.LostAnswer, storetest.LostAnswer}, {storetest.Error500, storetest.LostAnswer, storetest.Reset},
	} {
		name := fmt.Sprintf("claim%d", i)
		server.Fail(storetest.Each(http.MethodPut, faults...))
		if err := store.Write(t.Context(), s, name, []byte("mine"), absent); err != nil {
			t.Errorf("%v: %v", faults, err)
		}
		server.Fail(storetest.Each(http.MethodPut, faults...))
		if err := store.Write(t.Context(), s, name, []byte("yours"), absent); !errors.Is(err, store.ErrExists) {
			t.Errorf("%v, by another: %v", faults, err)
		}
		server.Fail(nil)
		if got := read(t, s, name); got != "mine" {
			t.Errorf("%v: got %q", faults, got)
		}
	}
}

// A server that does not keep conditions is found out at the first use, before anything is lost.
func TestNoConditions(t *testing.T) {
	inner := storetest.NewServer(t)
	proxy := newProxy(t, inner.URL, func(r *http.Request) { r.Header.Del("If-None-Match") })
	inner.Setenv(t)
	t.Setenv("AWS_ENDPOINT_URL_S3", proxy)
	s := opened(t, inner.Location, quick)
	write(t, s, "there", "old")
	absent := store.PutOptions{IfAbsent: true}
	if err := store.Write(t.Context(), s, "there", []byte("new"), absent); !errors.Is(err, store.ErrExists) {
		t.Errorf("got %v", err)
	}
	for range 2 {
		if err := store.Write(t.Context(), s, "new", []byte("new"), absent); !errors.Is(err, ErrNoConditions) || !strings.Contains(err.Error(), "If-None-Match") {
			t.Errorf("got %v", err)
		}
	}
	if got := storetest.Names(t, s, ""); !slices.Equal(got, []string{"there"}) || read(t, s, "there") != "old" {
		t.Errorf("there are %q", got)
	}
}

// newProxy passes requests on to a server, changed.
func newProxy(t *testing.T, to string, change func(r *http.Request)) string {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(u)
		change(p.Out)
	}})
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// Large objects go in parts, and are copied in parts; what fails leaves none.
func TestParts(t *testing.T) {
	server, s := faulty(t, quick)
	for _, size := range []int{1 << 19, 1<<19 + 1, 1<<20 - 1, 3<<18 + 5} {
		content := strings.Repeat("0123456789abcdefg", size/17+1)[:size]
		server.Fail(storetest.Random(2, 0.3, storetest.Error500, storetest.Reset, storetest.Cut))
		write(t, s, "large", content)
		if err := s.Rename(t.Context(), "large", "moved/large"); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s, "moved/large"); got != content {
			t.Errorf("%d bytes came back as %d others", size, len(got))
		}
		server.Fail(nil)
		if got := storetest.Names(t, s, ""); !slices.Equal(got, []string{"moved/large"}) {
			t.Errorf("there are %q", got)
		}
	}
	// A part that fails for good: the upload is given up, so that it costs nothing.
	var aborted atomic.Int32
	server.Fail(func(r *http.Request) storetest.Fault {
		if r.Method == http.MethodDelete {
			aborted.Add(1)
		}
		if r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "2" {
			return storetest.Error500
		}
		return storetest.None
	})
	err := store.Write(t.Context(), s, "broken", make([]byte, 1<<20), store.PutOptions{})
	if err == nil || aborted.Load() != 1 || !slices.Equal(storetest.Names(t, s, ""), []string{"moved/large"}) {
		t.Errorf("got %v, %d uploads given up", err, aborted.Load())
	}
}

// A list of several pages.
func TestListPages(t *testing.T) {
	server, s := faulty(t, quick)
	const n = 20
	for i := range n {
		write(t, s, fmt.Sprintf("%05d", i), "")
	}
	server.Fail(storetest.Each(http.MethodGet, storetest.None, storetest.Cut, storetest.Error503, storetest.None, storetest.Cut))
	before, _ := server.Counts()
	got := storetest.Names(t, s, "")
	if after, _ := server.Counts(); len(got) != n || got[n-1] != "00019" || after-before != 6 {
		t.Errorf("%d names by %d requests", len(got), after-before)
	}
}

// Folders as consoles make them are none, and what has no name here is an error in place of an object that is left out.
func TestListOdd(t *testing.T) {
	server := storetest.NewServer(t)
	server.Setenv(t)
	s := opened(t, server.Location+"/p", quick)
	raw := s.(*bucket).api
	put := func(key string) {
		if _, err := raw.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(storetest.Bucket), Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	put("p/")
	put("p/folder/")
	put("p/folder/x")
	put("pq") // not of the prefix
	if got := storetest.Names(t, s, ""); !slices.Equal(got, []string{"folder/x"}) {
		t.Errorf("got %q", got)
	}
	put("p//x")
	var last error
	for _, err := range s.List(t.Context(), "") {
		last = err
	}
	if !errors.Is(last, store.ErrName) || !strings.Contains(last.Error(), `"/x"`) {
		t.Errorf("got %v", last)
	}
}

// The server that VITAGO_S3_TEST names, as s3://BUCKET/PREFIX, does all that a store has to do; AWS_… say how it is reached.
func TestRealServer(t *testing.T) {
	location := os.Getenv("VITAGO_S3_TEST")
	if location == "" {
		t.Skip("VITAGO_S3_TEST names no bucket")
	}
	for name, l := range map[string]limits{
		"usual":    usual,
		"in parts": {stall: time.Minute, backoff: usual.backoff, multipart: 1, part: 5 << 20, copy: 0, copyPart: 5 << 20, page: 7}, // 5 MiB is the least that S3 takes
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) store.Store {
				s := opened(t, location+"/"+rand.Text()+"/"+strings.ToLower(t.Name()), l)
				t.Cleanup(func() {
					ctx := context.WithoutCancel(t.Context())
					for i, err := range s.List(ctx, "") {
						if err == nil {
							err = s.Delete(ctx, i.Name)
						}
						if err != nil {
							t.Error(err)
							break
						}
					}
				})
				return s
			})
		})
	}
}
