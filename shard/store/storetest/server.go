package storetest

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Bucket is the one that a [Server] has.
const Bucket = "vitago-test"

// A Server speaks S3 on loopback, and keeps its objects in memory. It fails as its plan says.
type Server struct {
	URL      string // of the endpoint: http://127.0.0.1:PORT
	Location string // of its bucket, for store.Open

	plan     atomic.Pointer[Plan]
	requests atomic.Int64
	faults   atomic.Int64
}

// NewServer starts a server with an empty bucket, which ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	memory := s3mem.New()
	if err := memory.CreateBucket(Bucket); err != nil {
		t.Fatal(err)
	}
	s := &Server{Location: "s3://" + Bucket}
	handler := FaultyHandler(complete(gofakes3.New(memory, gofakes3.WithoutVersioning()).Server()), s.fault)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that a fault has closed
	server.Start()
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Fail makes plan what happens from now on; nil stands for no faults.
func (s *Server) Fail(plan Plan) {
	if plan == nil {
		s.plan.Store(nil)
		return
	}
	s.plan.Store(&plan)
}

// Counts returns how many requests came, and how many of them got a fault.
func (s *Server) Counts() (requests, faults int64) { return s.requests.Load(), s.faults.Load() }

func (s *Server) fault(r *http.Request) Fault {
	s.requests.Add(1)
	plan := s.plan.Load()
	if plan == nil {
		return None
	}
	f := (*plan)(r)
	if f != None {
		s.faults.Add(1)
	}
	return f
}

// Env returns the variables by which a process finds the server, each as KEY=VALUE.
func (s *Server) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.URL, "AWS_ENDPOINT_URL_S3=" + s.URL, "AWS_ACCESS_KEY_ID=testing", "AWS_SECRET_ACCESS_KEY=secret-of-the-test", "AWS_SESSION_TOKEN=",
		"AWS_REGION=us-east-1", "AWS_PROFILE=", "AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none, "AWS_EC2_METADATA_DISABLED=true",
	}
}

// none is a file that is not there, so that those of who runs the tests are not read.
const none = "none-of-the-test"

// Setenv sets [Server.Env] in this process until the test ends.
func (s *Server) Setenv(t testing.TB) {
	t.Helper()
	for _, v := range s.Env() {
		key, value, _ := strings.Cut(v, "=")
		t.Setenv(key, value)
	}
}

// complete adds to gofakes3 what it lacks of S3: copies into parts, lists with keys as URLs have them, and conditions of reads and copies.
func complete(next http.Handler) http.Handler {
	var mu sync.Mutex // a copy and the condition of its source are one
	call := func(r *http.Request, method, target string, body []byte) *answer {
		a := &answer{header: http.Header{}, status: http.StatusOK}
		u, err := url.ParseRequestURI(target)
		if err != nil {
			a.status = http.StatusBadRequest
			return a
		}
		inner := r.Clone(r.Context())
		inner.Method, inner.URL, inner.RequestURI = method, u, target
		inner.Header = http.Header{}
		inner.Body, inner.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		if len(body) > 0 || method == http.MethodPut {
			inner.Header.Set("Content-Length", fmt.Sprint(len(body)))
		}
		next.ServeHTTP(a, inner)
		return a
	}
	fail := func(w http.ResponseWriter, status int, code string) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		source := r.Header.Get("x-amz-copy-source")
		if source != "" {
			mu.Lock()
			defer mu.Unlock()
			source = "/" + strings.TrimPrefix(source, "/")
			if want := r.Header.Get("x-amz-copy-source-if-match"); want != "" {
				if a := call(r, http.MethodHead, source, nil); a.status == http.StatusOK && a.header.Get("ETag") != want {
					fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
					return
				}
			}
		}
		switch {
		case r.Method == http.MethodPut && source != "" && q.Get("uploadId") != "":
			a := call(r, http.MethodGet, source, nil)
			var from, to int
			if _, err := fmt.Sscanf(r.Header.Get("x-amz-copy-source-range"), "bytes=%d-%d", &from, &to); a.status != http.StatusOK || err != nil || to >= a.body.Len() || from > to {
				fail(w, http.StatusBadRequest, "InvalidRange")
				return
			}
			part := a.body.Bytes()[from : to+1]
			if a = call(r, http.MethodPut, r.URL.RequestURI(), part); a.status != http.StatusOK {
				fail(w, a.status, "InternalError")
				return
			}
			sum := md5.Sum(part)
			fmt.Fprintf(w, "<CopyPartResult><ETag>&quot;%s&quot;</ETag></CopyPartResult>", hex.EncodeToString(sum[:]))
		case r.Method == http.MethodGet && r.Header.Get("If-Match") != "":
			a := &answer{header: http.Header{}, status: http.StatusOK}
			next.ServeHTTP(a, r)
			if a.status < 300 && a.header.Get("ETag") != r.Header.Get("If-Match") {
				fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
				return
			}
			a.send(w)
		case r.Method == http.MethodGet && q.Get("encoding-type") == "url":
			a := &answer{header: http.Header{}, status: http.StatusOK}
			next.ServeHTTP(a, r)
			if a.status == http.StatusOK {
				a.body = *bytes.NewBuffer(encodeKeys(a.body.Bytes()))
			}
			a.header.Set("Content-Length", fmt.Sprint(a.body.Len()))
			a.send(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// encodeKeys gives the keys of a list the form that they have in URLs, and says so.
func encodeKeys(list []byte) []byte {
	var out bytes.Buffer
	for {
		before, rest, ok := bytes.Cut(list, []byte("<Key>"))
		out.Write(before)
		if !ok {
			break
		}
		text, rest, _ := bytes.Cut(rest, []byte("</Key>"))
		var key string
		if err := xml.Unmarshal([]byte("<a>"+string(text)+"</a>"), &key); err != nil {
			return list
		}
		out.WriteString("<Key>" + strings.ReplaceAll(url.QueryEscape(key), "%2F", "/") + "</Key>")
		list = rest
	}
	return bytes.Replace(out.Bytes(), []byte("</Name>"), []byte("</Name><EncodingType>url</EncodingType>"), 1)
}
