package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitago/vitago/shard/store"
	"github.com/vitago/vitago/shard/store/storetest"
)

// alone clears what this machine knows of AWS.
func alone(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// answering is a server that gives every request one answer, and keeps the requests.
type answering struct {
	status int
	header map[string]string
	body   string

	mu       sync.Mutex
	requests []*http.Request
}

func (a *answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests = append(a.requests, r)
	a.mu.Unlock()
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		fmt.Fprint(w, a.body)
	}
}

const secret = "the/secret+key"

// start starts it, and has the process find it.
func (a *answering) start(t *testing.T) string {
	t.Helper()
	alone(t)
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_MAX_ATTEMPTS", "2")
	return server.URL
}

// Every error says what failed, where, and what to do, and none has a secret.
func TestErrors(t *testing.T) {
	word := func(code, message string) string {
		return "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>"
	}
	for name, c := range map[string]struct {
		answer *answering
		kind   error
		want   []string
	}{
		"no bucket":   {&answering{status: 404, body: word("NoSuchBucket", "The specified bucket does not exist")}, fs.ErrInvalid, []string{`no bucket "pictures"`}},
		"no object":   {&answering{status: 404, body: word("NoSuchKey", "The specified key does not exist")}, fs.ErrNotExist, []string{"no such object"}},
		"denied":      {&answering{status: 403, body: word("AccessDenied", "Access Denied"), header: map[string]string{"x-amz-request-id": "R1"}}, fs.ErrPermission, []string{"EnvConfigCredentials, do not allow it", "s3:ListBucket", "AccessDenied: Access Denied, status 403, request R1"}},
		"wrong key":   {&answering{status: 403, body: word("InvalidAccessKeyId", "no such key")}, fs.ErrPermission, []string{"credentials, which are from EnvConfigCredentials, are not valid"}},
		"signature":   {&answering{status: 403, body: word("SignatureDoesNotMatch", "differs")}, fs.ErrPermission, []string{"are not valid there"}},
		"expired":     {&answering{status: 400, body: word("ExpiredToken", "The provided token has expired.")}, fs.ErrPermission, []string{"are not valid there", "expired"}},
		"region":      {&answering{status: 301, body: word("PermanentRedirect", "elsewhere"), header: map[string]string{"x-amz-bucket-region": "eu-west-1"}}, fs.ErrInvalid, []string{"bucket is in region eu-west-1, and the request went to us-east-1: set AWS_REGION=eu-west-1"}},
		"no region":   {&answering{status: 301, body: word("PermanentRedirect", "elsewhere")}, fs.ErrInvalid, []string{"another region than us-east-1: set AWS_REGION"}},
		"signed for":  {&answering{status: 400, body: word("AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-1'")}, fs.ErrInvalid, []string{"set AWS_REGION", "expecting 'eu-west-1'"}},
		"clock":       {&answering{status: 403, body: word("RequestTimeTooSkewed", "15 minutes")}, fs.ErrInvalid, []string{"clock of this machine is wrong"}},
		"not there":   {&answering{status: 501, body: word("NotImplemented", "no such header here")}, errors.ErrUnsupported, []string{"does not have what was asked for"}},
		"too often":   {&answering{status: 503, body: word("SlowDown", "Please reduce your request rate.")}, nil, []string{"SlowDown: Please reduce your request rate., status 503, tried 2 times"}},
		"unknown":     {&answering{status: 400, body: word("Whatever", "is wrong")}, nil, []string{"Whatever: is wrong, status 400"}},
		"no XML":      {&answering{status: 502, body: "<html>Bad Gateway</html>"}, nil, []string{"status 502", "tried 2 times"}},
		"nothing":     {&answering{status: 404}, fs.ErrNotExist, []string{"no such object"}},
		"odd success": {&answering{status: 200, body: "<html>Welcome</html>"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			url := c.answer.start(t)
			s := opened(t, "s3://pictures/in", quick)
			ops := map[string]func() error{
				"Open": func() error { _, err := s.Open(t.Context(), "a.tar", 0, -1); return err },
				"List": func() error {
					for _, err := range s.List(t.Context(), "a") {
						return err
					}
					return nil
				},
				"Put": func() error { return store.Write(t.Context(), s, "a.tar", []byte("x"), store.PutOptions{}) },
			}
			for op, do := range ops {
				err := do()
				if c.want == nil {
					if err == nil && op == "List" {
						t.Errorf("%s took a page for an answer", op)
					}
					continue
				}
				if err == nil || c.kind != nil && !errors.Is(err, c.kind) {
					t.Errorf("%s: error %v, want one that is %v", op, err, c.kind)
					continue
				}
				for _, want := range append(c.want, "store: s3://pictures/in/a", "(at "+url+")") {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%s: error %q, want %q in it", op, err, want)
					}
				}
				if strings.Contains(err.Error(), secret) || strings.Contains(fmt.Sprintf("%+v %#v", err, s.String()), secret) {
					t.Errorf("%s: the secret is in %v", op, err)
				}
				if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "operation error") {
					t.Errorf("%s: error %q has the layers of the SDK", op, err)
				}
			}
		})
	}
}

// A server that is not there is an error that names it.
func TestUnreachable(t *testing.T) {
	alone(t)
	server := httptest.NewServer(nil)
	url := server.URL
	server.Close()
	t.Setenv("AWS_ENDPOINT_URL", url)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_MAX_ATTEMPTS", "3")
	_, err := opened(t, "s3://pictures", quick).Stat(t.Context(), "a")
	if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), url) || !strings.Contains(err.Error(), "tried 3 times") || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// What is wrong with the settings is found when a store is opened.
func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		env      map[string]string
		location string
		want     string // "" for none
	}{
		"none":           {nil, "s3://b-1", "no region: set AWS_REGION"},
		"region":         {map[string]string{"AWS_REGION": "eu-west-1"}, "s3://b-1", "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"},
		"half a key":     {map[string]string{"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "x"}, "s3://b-1", "no credentials"},
		"profile":        {map[string]string{"AWS_PROFILE": "other"}, "s3://b-1", "other"},
		"public":         {map[string]string{"AWS_REGION": "eu-west-1", "AWS_NO_SIGN_REQUEST": "yes"}, "s3://b-1", ""},
		"another server": {map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_NO_SIGN_REQUEST": "1"}, "s3://b-1/p", ""},
		"no yes":         {map[string]string{"AWS_NO_SIGN_REQUEST": "perhaps"}, "s3://b-1", "AWS_NO_SIGN_REQUEST=perhaps, want true or false"},
		"style":          {map[string]string{"AWS_S3_ADDRESSING_STYLE": "dns"}, "s3://b-1", "AWS_S3_ADDRESSING_STYLE=dns, want path, virtual or auto"},
		"payer":          {map[string]string{"AWS_REQUEST_PAYER": "me"}, "s3://b-1", "want requester"},
		"attempts":       {map[string]string{"AWS_MAX_ATTEMPTS": "many"}, "s3://b-1", "AWS_MAX_ATTEMPTS"},
		"mode":           {map[string]string{"AWS_RETRY_MODE": "often"}, "s3://b-1", "often"},
		"no URL":         {map[string]string{"AWS_ENDPOINT_URL": "localhost:9000"}, "s3://b-1", "AWS_ENDPOINT_URL is no URL"},
		"no bucket":      {nil, "s3://", `bucket ""`},
		"no bucket, /":   {nil, "s3:///x", `bucket ""`},
		"a secret":       {nil, "s3://AKIA:the/secret+key@bucket/x", "s3://AKIA:…@bucket/x: no credentials stand in a location"},
		"odd bucket":     {nil, "s3://user@b/x", `bucket "user@b"`},
		"short bucket":   {nil, "s3://b/x", `bucket "b"`},
		"odd prefix":     {nil, "s3://b-1/a/../b", "a/../b"},
		"empty folder":   {nil, "s3://b-1//b", "/b"},
	} {
		t.Run(name, func(t *testing.T) {
			alone(t)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			_, err := store.Open(t.Context(), c.location)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "store: s3://")) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// What requests look like: where the bucket stands, who signs, which checksums.
func TestRequests(t *testing.T) {
	has := func(r *http.Request, header string) bool { return r.Header.Get(header) != "" }
	for name, c := range map[string]struct {
		env  map[string]string
		good func(r *http.Request) bool
	}{
		"path style": {nil, func(r *http.Request) bool {
			return r.URL.Path == "/pictures/in/a" && strings.HasPrefix(r.Host, "127.0.0.1:")
		}},
		"signed": {nil, func(r *http.Request) bool {
			return strings.Contains(r.Header.Get("Authorization"), "/us-east-1/s3/aws4_request")
		}},
		"region": {map[string]string{"AWS_REGION": "eu-west-1"}, func(r *http.Request) bool { return strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/s3/") }},
		"token":  {map[string]string{"AWS_SESSION_TOKEN": "tok"}, func(r *http.Request) bool { return r.Header.Get("X-Amz-Security-Token") == "tok" }},
		"public": {map[string]string{"AWS_NO_SIGN_REQUEST": "true"}, func(r *http.Request) bool { return !has(r, "Authorization") }},
		"no checksum": {nil, func(r *http.Request) bool {
			return !has(r, "X-Amz-Checksum-Crc32") && !has(r, "X-Amz-Trailer") && !has(r, "Content-Encoding")
		}},
		"checksum": {map[string]string{"AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported"}, func(r *http.Request) bool { return has(r, "X-Amz-Checksum-Crc32") }},
		"requester": {map[string]string{"AWS_REQUEST_PAYER": "requester"}, func(r *http.Request) bool {
			return r.Header.Get("X-Amz-Request-Payer") == "requester" && strings.Contains(r.Header.Get("Authorization"), "x-amz-request-payer")
		}},
		"S3's own endpoint": {map[string]string{"AWS_ENDPOINT_URL_S3": "SERVER", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, func(r *http.Request) bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			a := &answering{status: 200}
			url := a.start(t)
			for k, v := range c.env {
				t.Setenv(k, strings.ReplaceAll(v, "SERVER", url))
			}
			s := opened(t, "s3://pictures/in", quick)
			if err := store.Write(t.Context(), s, "a", []byte("x"), store.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			if len(a.requests) != 1 || !c.good(a.requests[0]) {
				t.Errorf("%d requests, %v %v", len(a.requests), a.requests[0].URL, a.requests[0].Header)
			}
		})
	}
}

// A profile of the files that AWS's tools read has it all.
func TestProfile(t *testing.T) {
	server := storetest.NewServer(t)
	alone(t)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"config":      "[profile pictures]\nregion = eu-west-1\nendpoint_url = " + server.URL + "\nmax_attempts = 3\n",
		"credentials": "[pictures]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = " + secret + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	t.Setenv("AWS_PROFILE", "pictures")
	s := opened(t, server.Location, quick)
	write(t, s, "a", "x")
	if b := s.(*bucket); b.region != "eu-west-1" || b.attempts != 3 || b.endpoint != server.URL || !strings.Contains(b.credentials, "SharedConfigCredentials") || read(t, s, "a") != "x" {
		t.Errorf("region %s, %d attempts, endpoint %s, credentials from %s", b.region, b.attempts, b.endpoint, b.credentials)
	}
}

// Without an endpoint it is AWS: checksums as the SDK has them, buckets before the host. Nothing is sent.
func TestAWS(t *testing.T) {
	for _, endpoint := range []string{"", "https://s3.eu-west-1.amazonaws.com", "https://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com"} {
		alone(t)
		t.Setenv("AWS_REGION", "eu-west-1")
		t.Setenv("AWS_NO_SIGN_REQUEST", "true")
		t.Setenv("AWS_ENDPOINT_URL", endpoint)
		s := opened(t, "s3://pictures/in", quick)
		o := s.(*bucket).api.Options()
		if o.UsePathStyle || s.(*bucket).checksum == "" || s.(*bucket).at() != " (region eu-west-1)" || s.String() != "s3://pictures/in" {
			t.Errorf("%q: path style %v, checksum %q, %s", endpoint, o.UsePathStyle, s.(*bucket).checksum, s.(*bucket).at())
		}
	}
}

// Stores of one process share a client as long as the settings are the same, so that shards do not each make connections.
func TestShared(t *testing.T) {
	server := storetest.NewServer(t)
	server.Setenv(t)
	a, b := opened(t, server.Location, quick), opened(t, server.Location+"/p", quick)
	t.Setenv("AWS_MAX_ATTEMPTS", "7")
	if c := opened(t, server.Location, quick); a.(*bucket).client != b.(*bucket).client || a.(*bucket).client == c.(*bucket).client {
		t.Error("clients are not those of the settings")
	}
}

// A server that takes a request and says nothing more is given up, and asked again; so is one that stops in the middle.
func TestStall(t *testing.T) {
	l := quick
	l.stall = 10 * time.Millisecond
	release := make(chan struct{})
	defer close(release)
	alone(t)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	defer silent.CloseClientConnections()
	t.Setenv("AWS_ENDPOINT_URL", silent.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_MAX_ATTEMPTS", "3")
	s := opened(t, "s3://pictures", l)
	_, err := s.Stat(t.Context(), "a")
	if err == nil || !strings.Contains(err.Error(), "no byte came or went for 10ms") || !strings.Contains(err.Error(), "tried 3 times") {
		t.Errorf("got %v", err)
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	time.AfterFunc(time.Millisecond, func() { cancel(cause) })
	l.stall = time.Hour
	if _, err := opened(t, "s3://pictures", l).Stat(ctx, "a"); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause of the context", err)
	}
}
