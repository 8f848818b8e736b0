package wire

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/status"
)

// post answers a request.
func post(t testing.TB, url, media, body string) (int, http.Header, string) {
	t.Helper()
	res, err := http.Post(url, media, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// get returns what is at an address.
func get(t testing.TB, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// vectors are those of an answer in OpenAI's form.
func vectors(t testing.TB, body string) (all [][]float32) {
	t.Helper()
	var v struct {
		Data []struct{ Embedding []float32 }
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err, body)
	}
	for _, d := range v.Data {
		all = append(all, d.Embedding)
	}
	return all
}

// TestRefused has what is wrong with requests, and what they are told.
func TestRefused(t *testing.T) {
	base := serve(t, Options{})
	png := base64.StdEncoding.EncodeToString(picture(t, "red-circle.png"))
	for _, test := range []struct {
		body   string
		status int
		has    string
	}{
		{``, 400, "the body is empty"},
		{`   `, 400, "the body is empty"},
		{`[]`, 400, "the body is a list, want a JSON object"},
		{`"text"`, 400, "the body is a string"},
		{`{`, 400, "the body is not JSON: unexpected EOF"},
		{`{"input":"a"`, 400, "not JSON"},
		{`{"input":"a"} {}`, 400, "something follows"},
		{`{"input":"a"}x`, 400, "not JSON"},
		{`{"input":"a","input":"b"}`, 400, "duplicate"},
		{`{"input":"a","x":{"y":1,"y":2}}`, 400, "duplicate"},
		{"{\"input\":\"a\xff\"}", 400, "UTF-8"},
		{`{"input":"a\ud800"}`, 400, "not JSON"},
		{`{"input":"a", "x":` + strings.Repeat("[", 20000), 400, "not JSON"},
		{`{"input":[` + strings.Repeat(`{"content":[`, 40) + `"a"` + strings.Repeat(`]}`, 40) + `]}`, 400, "more than 32 objects and lists deep"},
		{`{"input":[{"image":` + strings.Repeat(`{"url":`, 9900) + `"a"` + strings.Repeat(`}`, 9900) + `}]}`, 400, "more than 32 objects and lists deep"},
		{"\x89PNG\r\n", 400, "for a picture as the body give its Content-Type"},
		{`{"model":"demo"}`, 400, "there is nothing to embed"},
		{`{"input":[]}`, 400, "there is nothing to embed"},
		{`{"input":null}`, 400, "there is nothing to embed"},
		{`{"input":[1,2]}`, 400, "token ids"},
		{`{"input":[[1,2]]}`, 400, "token ids"},
		{`{"input":[null]}`, 400, "is null, want a text"},
		{`{"input":true}`, 400, "is a boolean"},
		{`{"input":[{}]}`, 400, "input/0 has neither a text nor an image"},
		{`{"input":[{"type":"input_audio","input_audio":"x"}]}`, 400, `input/0 is of type \"input_audio\"`},
		{`{"input":[{"text":"a","image":"` + png + `"}]}`, 400, "input/0 has 2 texts and pictures"},
		{`{"input":[{"type":"text","image":"` + png + `"}]}`, 400, "and has a picture"},
		{`{"input":[{"type":"image_url","text":"a"}]}`, 400, "and has a text"},
		{`{"input":[{"image_url":{}}]}`, 400, "has no url"},
		{`{"input":[{"image":"%%%"}]}`, 400, "input/0/image is a picture that is not in base64"},
		{`{"input":[{"image":7}]}`, 400, "input/0/image is a number, want a string"},
		{`{"input":[{"image":""}]}`, 422, "item 1"},
		{`{"input":"data:image/png,raw"}`, 400, "not in base64"},
		{`{"input":"data:audio/wav;base64,AAAA"}`, 400, "type audio/wav"},
		{`{"input":"data:image/png;base64"}`, 400, "without a comma"},
		{`{"input":"data:image/png;base64,AAAA"}`, 422, "not an image"},
		{`{"input":"a","modality":"audio"}`, 400, `modality is \"audio\"`},
		{`{"input":"data:image/png;base64,` + png + `","modality":"text"}`, 400, "modality is text, and input 1 is a picture"},
		{`{"modality":"text","input":["a",{"image":"` + png + `"}]}`, 400, "input 2 is a picture"},
		{`{"input":[{"text":"a"}],"modality":"image"}`, 400, "input 1 is a text"},
		{`{"input":"not base64!","modality":"image"}`, 400, "not in base64"},
		{`{"input":"https://example.com/a.png","modality":"image"}`, 400, "does not fetch"},
		{`{"input":[{"url":"http://example.com/a.png"}]}`, 400, "does not fetch"},
		{`{"input":[{"url":"https://` + strings.Repeat("a", 9000) + `"}]}`, 400, "a URL of 9008 bytes"},
		{`{"input":"a","encoding_format":"int4"}`, 400, "want float, base64"},
		{`{"input":"a","encoding_format":"base64","embedding_type":"binary"}`, 400, "want one encoding"},
		{`{"input":"a","encoding_format":7}`, 400, "encoding_format is a number, want a string"},
		{`{"input":"a","dimensions":1e2}`, 400, "want a whole number"},
		{`{"input":"a","dimensions":1e999}`, 400, "want a whole number"},
		{`{"input":"a","dimensions":99999999999999999999}`, 400, "want a whole number"},
		{`{"input":"a","dimensions":-1}`, 400, "want at least 1"},
		{`{"input":"a","dimensions":"8"}`, 400, "is a string, want a number"},
		{`{"input":"a","dimensions":32}`, 400, "does not cut"},
		{`{"input":"a","normalized":"yes"}`, 400, "want true or false"},
		{`{"input":"a","features":"patches"}`, 400, "a text has an embedding alone"},
		{`{"input":[{"image":"` + png + `"}],"features":"tokens"}`, 400, "features is"},
		{`{"input":[{"image":"` + png + `"}],"layer":-2}`, 400, "want features of a layer"},
		{`{"input":[{"image":"` + png + `"}],"features":"post_norm","layer":-2}`, 400, "want features of a layer"},
		{`{"input":[{"image":"` + png + `"}],"features":"cls","layer":99}`, 400, "layer"},
		{`{"input":[{"image":"` + png + `"}],"preprocess":"mine"}`, 400, "mine"},
		{`{"input":"a","preprocess":"immich"}`, 400, "of pictures"},
		{`{"input":"a","messages":[]}`, 400, "there are input and messages"},
		{`{"messages":[]}`, 400, "no content"},
		{`{"messages":[{"role":"user","content":[]}]}`, 400, "is empty"},
		{`{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}`, 400, "several texts or pictures"},
		{`{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}`, 400, "none for several parts"},
		{`{"input":"a","model":"other"}`, 404, `\"other\" does not exist`},
		{`{"input":"` + strings.Repeat("a red circle ", 20) + `"}`, 422, "item 1"},
		{`{"input":[` + strings.Repeat(`"a",`, 256) + `"a"]}`, 413, "more than 256"},
	} {
		code, h, got := post(t, base+"/v1/embeddings", "application/json", test.body)
		if code != test.status || !strings.Contains(got, test.has) {
			t.Errorf("%.100s: %d %s, want %d and %s", test.body, code, got, test.status, test.has)
		}
		if h.Get("X-Should-Retry") != "false" || h.Get("Retry-After") != "" {
			t.Errorf("%.100s: headers %v", test.body, h)
		}
		var e struct {
			Error struct {
				Message, Type string
				Param, Code   *string
			}
		}
		if err := json.Unmarshal([]byte(got), &e); err != nil || e.Error.Message == "" || e.Error.Type != "invalid_request_error" {
			t.Errorf("%.100s: %s: %v", test.body, got, err)
		}
	}
}

// TestSameVector sends one picture in every way there is.
func TestSameVector(t *testing.T) {
	base := serve(t, Options{Fetch: func(_ context.Context, url string) ([]byte, error) {
		if !strings.HasSuffix(url, "/red-circle.png") {
			return nil, fmt.Errorf("%w: no such thing", clip.ErrRequest)
		}
		return picture(t, "red-circle.png"), nil
	}})
	want := reference(t, "image", "red-circle.png", "")
	clip.Normalize(want)
	file := picture(t, "red-circle.png")
	std := base64.StdEncoding.EncodeToString(file)
	lines := strings.Join(slices.Collect(func(yield func(string) bool) {
		for rest := std; rest != ""; {
			n := min(76, len(rest))
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}), `\r\n`)
	for _, body := range []string{
		`{"input":"data:image/png;base64,` + std + `"}`,
		`{"input":["data:image/png;base64,` + std + `"]}`,
		`{"input":"DATA:Image/PNG;name=a;Base64,` + std + `"}`,
		`{"input":"data:;base64,` + std + `"}`,
		`{"input":"data:application/octet-stream;base64,` + std + `"}`,
		`{"input":"` + strings.ReplaceAll("data:image/png;base64,"+std, "/", `\/`) + `"}`, // PHP
		`{"input":"\u0064ata:image/png;base64,` + std + `"}`,
		`{"input":"` + std + `","modality":"image"}`,
		`{"modality":"image","input":"` + std + `"}`,
		`{"input":{"image":"` + std + `"}}`,
		`{"input":[{"image":"` + lines + `"}]}`,
		`{"input":[{"image":"` + base64.RawStdEncoding.EncodeToString(file) + `"}]}`,
		`{"input":[{"image":"` + base64.URLEncoding.EncodeToString(file) + `"}]}`,
		`{"input":[{"bytes":"` + std + `"}],"encoding_type":"float"}`,
		`{"input":[{"text":"","image":"` + std + `"}]}`,
		`{"input":[{"type":"image_url","image_url":"data:image/png;base64,` + std + `"}]}`,
		`{"input":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + std + `"}}]}]}`,
		`{"input":[{"type":"image_base64","image_base64":"` + std + `"}]}`,
		`{"messages":[{"role":"user","content":"data:image/png;base64,` + std + `"}]}`,
		`{"messages":[{"role":"system","content":null},{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/red-circle.png"}}]}]}`,
		`{"input":"https://example.com/red-circle.png","modality":"image"}`,
		`{"input":[{"url":"HTTP://example.com/red-circle.png"}]}`,
		`{"input":[{"image":"` + std + `"}],"dimensions":64,"features":"embedding"}`,
		`{"input":[{"image":"` + std + `"}],"unknown":{"deep":[1,{"a":null}]},"user":7,"dimensions":null}`,
	} {
		code, _, got := post(t, base+"/v1/embeddings", "application/json; charset=utf-8", body)
		if code != 200 {
			t.Errorf("%.100s: %d %s", body, code, got)
			continue
		}
		if v := vectors(t, got); len(v) != 1 || !slices.Equal(v[0], want) {
			t.Errorf("%.100s: another vector", body)
		}
	}
	check := func(how string, code int, got string) {
		t.Helper()
		if code != 200 {
			t.Errorf("%s: %d %s", how, code, got)
		} else if v := vectors(t, got); len(v) != 1 || !slices.Equal(v[0], want) {
			t.Errorf("%s: another vector", how)
		}
	}
	for _, media := range []string{"image/png", "image/jpeg", "application/octet-stream"} { // what it is, is in the file
		code, _, got := post(t, base+"/v1/embeddings?model=demo&encoding_format=float", media, string(file))
		check(media, code, got)
	}
	for _, field := range []string{"file", "image", "input"} {
		media, body := form(t, map[string]string{"model": "demo", "encoding_format": "float"}, field, file)
		code, _, got := post(t, base+"/v1/embeddings", media, body)
		check("form "+field, code, got)
	}
	media, body := form(t, map[string]string{"input": "data:image/png;base64," + std}, "", nil)
	code, _, got := post(t, base+"/v1/embeddings", media, body)
	check("form with a data URI", code, got)
}

// form returns a form with fields and a file.
func form(t testing.TB, fields map[string]string, name string, file []byte) (media, body string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for k, v := range fields {
		if err := m.WriteField(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if file != nil {
		w, err := m.CreatePart(textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="a.png"`, name)}, "Content-Type": {"image/png"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(file); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return m.FormDataContentType(), b.String()
}

// TestText sends texts that look like pictures.
func TestText(t *testing.T) {
	for s, want := range map[string]bool{
		"data: five, six": false, "data:": false, "data:text, and more": false, "a data:image/png;base64,AAAA": false,
		"data:image/png;base64,AAAA": true, "data:image/svg+xml,<svg>": true, "data:text/plain;base64,AAAA": true, "Data:;BASE64,": true,
	} {
		if got := isDataURI([]byte(s)); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
	base := serve(t, Options{})
	want := reference(t, "text", "a red circle", "")
	clip.Normalize(want)
	for _, body := range []string{
		`{"input":"a red circle"}`, `{"input":["a red circle"],"modality":"text"}`, `{"input":[{"text":"a red circle"}]}`, `{"input":[{"type":"input_text","text":"a red circle"}]}`,
		`{"messages":[{"role":"user","content":"a red circle"}]}`, `{"input":"a red circle","encoding_format":null,"dimensions":0}`,
	} {
		code, _, got := post(t, base+"/v1/embeddings", "application/json", body)
		if code != 200 || !slices.Equal(vectors(t, got)[0], want) {
			t.Errorf("%s: %d %s", body, code, got)
		}
	}
}

// TestFetched fetches pictures by URL.
func TestFetched(t *testing.T) {
	file := picture(t, "red-circle.png")
	refused := errors.New("not permitted")
	base := serve(t, Options{FetchBytes: int64(2 * len(file)), Fetch: func(_ context.Context, url string) ([]byte, error) {
		if strings.Contains(url, "refused") {
			return nil, fmt.Errorf("%w: %w", status.ErrForbidden, refused)
		}
		return file, nil
	}})
	urls := func(n int, url string) string {
		return `{"modality":"image","input":[` + strings.TrimSuffix(strings.Repeat(`"`+url+`",`, n), ",") + `]}`
	}
	if code, _, got := post(t, base+"/v1/embeddings", "", urls(2, "https://example.com/a.png")); code != 200 {
		t.Error(code, got)
	}
	if code, _, got := post(t, base+"/v1/embeddings", "", urls(3, "https://example.com/a.png")); code != 413 || !strings.Contains(got, "too large together") {
		t.Error(code, got)
	}
	if code, _, got := post(t, base+"/v1/embeddings", "", urls(1, "https://example.com/refused.png")); code != 403 || !strings.Contains(got, "not permitted") {
		t.Error(code, got)
	}
}

// TestFetchedRoom has pictures by URL take a place in the queue, by what they may have, until the answer.
func TestFetchedRoom(t *testing.T) {
	e, err := engine.New(t.Context(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}, QueueBytes: 50 << 20, Limits: engine.Limits{ImageBytes: 20 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(context.Background()) })
	file, begun, goOn := picture(t, "red-circle.png"), make(chan struct{}, 2), make(chan struct{})
	base := serve(t, Options{Engine: e, Fetch: func(ctx context.Context, url string) ([]byte, error) {
		begun <- struct{}{}
		select {
		case <-goOn:
			return file, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}})
	const two = `{"modality":"image","input":["https://example.com/a.png","https://example.com/b.png"]}`
	first := make(chan int)
	go func() {
		res, err := http.Post(base+"/v1/embeddings", "", strings.NewReader(two))
		if err != nil {
			t.Error(err)
			first <- 0
			return
		}
		res.Body.Close()
		first <- res.StatusCode
	}()
	<-begun // the first request has 40 MiB
	code, h, got := post(t, base+"/v1/embeddings", "", two)
	if code != 429 || h.Get("Retry-After") == "" || h.Get("X-Should-Retry") != "" {
		t.Errorf("a second request: %d %s %v", code, got, h)
	}
	if code, _, got := post(t, base+"/v1/embeddings", "", `{"modality":"image","input":["https://example.com/a.png"`+strings.Repeat(`,"https://example.com/a.png"`, 2)+`]}`); code != 413 || !strings.Contains(got, "send fewer") {
		t.Errorf("a request for more than the queue: %d %s", code, got)
	}
	close(goOn)
	if code := <-first; code != 200 {
		t.Errorf("the first request: %d", code)
	}
	leave, err := e.Reserve(t.Context(), 50<<20)
	if err != nil {
		t.Fatalf("a place did not come back: %v", err)
	}
	leave()
}

// TestErrorShapes has an error in each shape, and when to ask again.
func TestErrorShapes(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/embeddings":           `{"error":{"message":"too many requests","type":"rate_limit_error","param":null,"code":"overloaded"}}`,
		"/somewhere":               `{"error":{"message":"too many requests","type":"rate_limit_error","param":null,"code":"overloaded"}}`,
		"/v2/embed":                `{"message":"too many requests"}`,
		"/vectorize":               `{"error":"too many requests"}`,
		"/api/embed":               `{"error":"too many requests"}`,
		"/predict":                 `{"detail":"too many requests"}`,
		"/v1/multimodalembeddings": `{"detail":"too many requests"}`,
	} {
		w := httptest.NewRecorder()
		WriteError(w, httptest.NewRequest(http.MethodPost, path, nil), fmt.Errorf("engine: %w", engine.ErrBusy))
		if w.Code != 429 || w.Body.String() != want || w.Header().Get("Retry-After") != "1" || w.Header().Get("X-Should-Retry") != "" {
			t.Errorf("%s: %d %s %v", path, w.Code, w.Body, w.Header())
		}
	}
	w := httptest.NewRecorder()
	WriteError(w, httptest.NewRequest(http.MethodPost, "/v2/embed", nil), errors.New("open /secret: no such file"))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestLimits sends what is larger than it may be.
func TestLimits(t *testing.T) {
	mux := http.NewServeMux()
	e, err := engine.New(t.Context(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}})
	if err != nil {
		t.Fatal(err)
	}
	Register(mux, Options{Engine: e})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 32<<20)
		mux.ServeHTTP(w, r)
	}))
	defer s.Close()
	large := strings.Repeat("A", 21<<20/3*4)
	for _, test := range []struct{ path, media, body, has string }{
		{"/v1/embeddings", "application/json", `{"input":[{"image":"` + large + `"}]}`, "want at most 20971520"},
		{"/v1/embeddings", "application/json", `{"input":"` + large + large + `"}`, "the body is larger than 33554432 bytes"},
		{"/v1/embeddings", "image/png", large, "larger than 20971520"},
		{"/vectorize", "application/json", `{"images":["` + large + `"]}`, "want at most 20971520"},
	} {
		code, _, got := post(t, s.URL+test.path, test.media, test.body)
		if code != 413 || !strings.Contains(got, test.has) {
			t.Errorf("%s %s: %d %.200s", test.path, test.media, code, got)
		}
	}
	media, body := form(t, map[string]string{"text": strings.Repeat("a", 1<<17)}, "", nil)
	if code, _, got := post(t, s.URL+"/v1/embeddings", media, body); code != 413 {
		t.Error(code, got)
	}
}

// TestMemory decodes a large picture: there is memory for the body and for the picture, and for nothing else.
func TestMemory(t *testing.T) {
	body := `{"input":["data:image/png;base64,` + strings.Repeat("A", 8<<20) + `"]}`
	r := httptest.NewRequest(http.MethodPost, "/v1/embeddings", strings.NewReader(body))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var u union
	rd := newReader(r, engine.Limits{ImageBytes: 20 << 20, Items: 10})
	if err := rd.whole(func(name string) error { return u.member(rd, name) }); err != nil || len(u.items[0].image) != 6<<20 {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(len(body)*19/10); got > most { // it is 1 + 3/4
		t.Errorf("%d bytes for a body of %d, want at most %d", got, len(body), most)
	}
}

// TestForms has forms that are wrong.
func TestForms(t *testing.T) {
	base := serve(t, Options{})
	for _, test := range []struct {
		path, media, body string
		status            int
		has               string
	}{
		{"/v1/embeddings", "multipart/form-data", "", 400, "no boundary"},
		{"/v1/embeddings", "multipart/form-data; boundary=b", "--c\r\n", 400, "the form cannot be read"},
		{"/v1/embeddings", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"colour\"\r\n\r\nred\r\n--b--\r\n", 400, "a field \\\"colour\\\""},
		{"/v1/embeddings", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"layer\"\r\n\r\ntwo\r\n--b--\r\n", 400, "layer is \\\"two\\\""},
		{"/v1/embeddings", "multipart/form-data; boundary=b", "--b--\r\n", 400, "nothing to embed"},
		{"/v1/embeddings?colour=red", "image/png", "x", 400, "a parameter \\\"colour\\\""},
		{"/v1/embeddings?normalized=maybe", "image/png", "x", 400, "normalized is \\\"maybe\\\""},
		{"/v1/embeddings?layer=1&layer=2", "image/png", "x", 400, "layer 2 times"},
		{"/v1/embeddings?features=patches", "application/json", `{"input":"a red circle"}`, 400, "features stands in the URL"},
		{"/v1/embeddings?model=x", "multipart/form-data; boundary=b", "--b--\r\n", 400, "model stands in the URL"},
		{"/v1/embeddings?api-version=1", "application/json", `{"input":"a red circle"}`, 200, "embedding"},
		{"/v1/embeddings", "multipart/form-data; boundary=b", strings.Repeat("--b\r\nContent-Disposition: form-data; name=\"features\"\r\n\r\ncls\r\n", 2) + "--b--\r\n", 400, "features twice"},
		{"/v1/embeddings", "image/png", "x", 422, "not an image"},
		{"/predict", "application/json", "{}", 415, "multipart/form-data"},
		{"/predict", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"entries\"\r\n\r\n{\r\n--b--\r\n", 422, "not JSON"},
		{"/predict", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\na\r\n--b--\r\n", 422, "no entries"},
	} {
		code, _, got := post(t, base+test.path, test.media, test.body)
		if code != test.status || !strings.Contains(got, test.has) {
			t.Errorf("%s %.80q: %d %s, want %d and %s", test.path, test.body, code, got, test.status, test.has)
		}
	}
	for path, want := range map[string]int{"/v1/models/demo": 200, "/v1/models/": 404, "/models/": 404, "/v1/models/demo/": 404} {
		r, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		if r.Body.Close(); r.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, r.StatusCode, want)
		}
	}
}

// FuzzDecode sends bytes to every path: whatever they are, there is an answer that is JSON, and it is no failure of the server.
func FuzzDecode(f *testing.F) {
	e, err := engine.New(f.Context(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}})
	if err != nil {
		f.Fatal(err)
	}
	mux := http.NewServeMux()
	Register(mux, Options{Engine: e, CutDimensions: true})
	paths := []string{"/v1/embeddings", "/v2/embed", "/v1/embed", "/v1/multimodalembeddings", "/api/embed", "/predict", "/vectorize", "/knn-service", "/metadata"}
	medias := []string{"application/json", "multipart/form-data; boundary=b", "image/png"}
	for i := range paths {
		f.Add(uint8(i), uint8(0), []byte(`{"input":["a red circle",{"image":"AAAA"}],"texts":["a"],"images":["AAAA"],"inputs":[{"content":[{"type":"text","text":"a"}]}],"model":"demo"}`))
		f.Add(uint8(i), uint8(0), []byte(`{"input":"data:image/png;base64,AAAA","modality":"image","features":"patches","layer":-2,"dimensions":3,"normalized":false,"embedding_type":["binary"]}`))
		f.Add(uint8(i), uint8(0), []byte(`{"text":"a","embedding_input":[1e-30,2],"num_images":3,"indice_name":"demo","ids":[1,2]}`))
		f.Add(uint8(i), uint8(1), []byte("--b\r\nContent-Disposition: form-data; name=\"entries\"\r\n\r\n{\"clip\":{\"textual\":{\"modelName\":\"demo\"}}}\r\n--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\na\r\n--b--\r\n"))
		f.Add(uint8(i), uint8(2), []byte("\x89PNG"))
	}
	f.Add(uint8(0), uint8(129), []byte(`{"input":["a red circle"],"x":{"y":[1e9,null,"\u00e9"]}}`))
	f.Add(uint8(0), uint8(0), []byte(`{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]}`))
	f.Fuzz(func(t *testing.T, path, media uint8, body []byte) {
		r := httptest.NewRequest(http.MethodPost, paths[int(path)%len(paths)], bytes.NewReader(body))
		r.Header.Set("Content-Type", medias[int(media)%len(medias)])
		if media > 127 {
			r.ContentLength = -1 // it comes in chunks
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %q is no JSON", w.Code, w.Body)
		}
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// TestWriter compares numbers with those of encoding/json.
func TestWriter(t *testing.T) {
	v := []float32{0, 1, -1, 0.1, 1e-6, 9.9e-7, -1.5e-38, 1e-45, 1e20, 1e21, 3.4e38, 16777216, 1.0 / 3}
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(appendFloats(nil, v)); got != string(want) {
		t.Errorf("got %s, want %s", got, want)
	}
	b := jsonWriter{}
	b.object(func() {
		b.member("a\"").string("<\u2028\xff")
		b.member("b").array(func() { b.int(1); b.object(func() {}); b.optional("") })
	})
	var got any
	if err := json.Unmarshal(b.buf, &got); err != nil {
		t.Fatal(err, string(b.buf))
	}
	if want := map[string]any{"a\"": "<\u2028�", "b": []any{1.0, map[string]any{}, nil}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
