package page

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/zeroshot"
)

// A fixture is a page of the small model in the program, with an index of its pictures and of one that lies on its side.
type fixture struct {
	http.Handler
	model  *clip.Model
	folder string // of the pictures
}

// load returns a fixture.
func load(t testing.TB) *fixture {
	t.Helper()
	dir := t.TempDir()
	x := &fixture{folder: filepath.Join(dir, "pictures")}
	must(t, os.Mkdir(x.folder, 0o755))
	for _, p := range demo.Pictures() {
		img, err := p.Decode()
		must(t, err)
		var file bytes.Buffer
		must(t, png.Encode(&file, img))
		must(t, os.WriteFile(filepath.Join(x.folder, p.Name()), file.Bytes(), 0o644))
	}
	must(t, os.WriteFile(filepath.Join(x.folder, "turned.jpg"), turned(t), 0o644))
	var err error
	x.model, err = demo.Open()
	must(t, err)
	source, err := search.NewSource(x.folder)
	must(t, err)
	index := filepath.Join(dir, "index")
	_, err = search.Update(t.Context(), x.model, index, []search.Source{source}, search.UpdateOptions{})
	must(t, err)
	e, err := engine.New(t.Context(), engine.Config{
		Models: []engine.Model{{Name: "small", Path: demo.Name, Index: index}, {Name: "bare", Path: demo.Name}},
		Limits: engine.Limits{ImageBytes: 1 << 20},
	})
	must(t, err)
	t.Cleanup(func() { must(t, e.Close(context.Background())) })
	mux := http.NewServeMux()
	Register(mux, Options{Engine: e, Examples: demo.Pictures(), Other: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "other") })})
	x.Handler = mux
	return x
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// turned returns the file of a picture of 400×100 pixels, red on the left and blue on the right, that is to be turned clockwise to be looked at.
func turned(t testing.TB) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 400, 100))
	for i := range 400 * 100 {
		c := color.RGBA{255, 0, 0, 255}
		if i%400 >= 200 {
			c = color.RGBA{0, 0, 255, 255}
		}
		img.SetRGBA(i%400, i/400, c)
	}
	var file bytes.Buffer
	must(t, jpeg.Encode(&file, img, nil))
	exif := "Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
	return slices.Concat(file.Bytes()[:2], []byte{0xff, 0xe1, 0, byte(len(exif) + 2)}, []byte(exif), file.Bytes()[2:])
}

// file returns a picture of the index.
func (x *fixture) file(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(x.folder, name))
	must(t, err)
	return file
}

// get asks for an address.
func (x *fixture) get(address string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, address, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	x.ServeHTTP(w, r)
	return w
}

// A field is a value of a form; that of a picture is a file.
type field struct {
	name  string
	value any
}

// body returns a form.
func body(t testing.TB, fields ...field) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, f := range fields {
		if file, ok := f.value.([]byte); ok {
			part, err := form.CreateFormFile(f.name, "picture")
			must(t, err)
			_, err = part.Write(file)
			must(t, err)
			continue
		}
		must(t, form.WriteField(f.name, f.value.(string)))
	}
	must(t, form.Close())
	return b.Bytes(), form.FormDataContentType()
}

// post sends a form.
func (x *fixture) post(t testing.TB, address string, fields ...field) *httptest.ResponseRecorder {
	t.Helper()
	content, kind := body(t, fields...)
	r := httptest.NewRequest(http.MethodPost, address, bytes.NewReader(content))
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	x.ServeHTTP(w, r)
	return w
}

// answer sends a form and reads what comes back.
func answer[T any](t testing.TB, x *fixture, address string, fields ...field) (value T) {
	t.Helper()
	w := x.post(t, address, fields...)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d: %s", address, w.Code, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: the answer is %q, want application/json", address, got)
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &value))
	return value
}

// TestInfo: the page learns what there is.
func TestInfo(t *testing.T) {
	w := load(t).get("/ui/info")
	var got struct {
		Models []struct {
			Name  string
			Tasks []string
			Texts bool
		}
		Examples   []string
		Methods    []explain.Method
		Template   string
		ImageBytes int64 `json:"image_bytes"`
	}
	must(t, json.Unmarshal(w.Body.Bytes(), &got))
	if len(got.Models) != 2 || got.Models[0].Name != "small" || !got.Models[0].Texts {
		t.Fatalf("models are %+v, want small and bare, with texts", got.Models)
	}
	for i, want := range []bool{true, false} {
		if has := slices.Contains(got.Models[i].Tasks, "imagesearch"); has != want {
			t.Errorf("model %s searches: %t, want %t", got.Models[i].Name, has, want)
		}
		for _, task := range []string{"imageclassification", "explain"} {
			if !slices.Contains(got.Models[i].Tasks, task) {
				t.Errorf("model %s lacks %s: %v", got.Models[i].Name, task, got.Models[i].Tasks)
			}
		}
	}
	if len(got.Examples) != len(demo.Pictures()) || !slices.Equal(got.Methods, explain.Methods()) || got.Template != zeroshot.DefaultTemplate || got.ImageBytes != 1<<20 {
		t.Errorf("got %+v", got)
	}
}

// TestExample: an example has the pixels of the picture.
func TestExample(t *testing.T) {
	x := load(t)
	for _, p := range demo.Pictures() {
		w := x.get("/ui/example/" + p.Name())
		got, err := png.Decode(w.Body)
		must(t, err)
		want, err := p.Decode()
		must(t, err)
		if got.Bounds() != want.Bounds() {
			t.Fatalf("%s is %v, want %v", p.Name(), got.Bounds(), want.Bounds())
		}
		for i := range got.Bounds().Dx() * got.Bounds().Dy() {
			x, y := i%got.Bounds().Dx(), i/got.Bounds().Dx()
			if g, w := color.RGBAModel.Convert(got.At(x, y)), color.RGBAModel.Convert(want.At(x, y)); g != w {
				t.Fatalf("%s: pixel %d, %d is %v, want %v", p.Name(), x, y, g, w)
			}
		}
	}
}

// TestClassify: the page says what package zeroshot says.
func TestClassify(t *testing.T) {
	x := load(t)
	labels := []string{"red circle", "blue square", "green heart"}
	for name, c := range map[string]struct {
		templates []string
		multi     bool
	}{"default": {}, "templates": {[]string{"a {}", "this is a {c}"}, false}, "multi": {nil, true}} {
		t.Run(name, func(t *testing.T) {
			fields := []field{{"image", x.file(t, "blue-square.png")}, {"model", "bare"}}
			for _, l := range labels {
				fields = append(fields, field{"label", l})
			}
			for _, s := range c.templates {
				fields = append(fields, field{"template", s})
			}
			var options []zeroshot.Option
			if c.multi {
				fields = append(fields, field{"multi", "true"})
				options = append(options, zeroshot.MultiLabel(0))
			}
			got := answer[struct{ Labels []clip.Label }](t, x, "/ui/classify", fields...).Labels
			z, err := zeroshot.New(t.Context(), x.model, labels, c.templates, options...)
			must(t, err)
			want, err := z.Classify(t.Context(), clip.File(filepath.Join(x.folder, "blue-square.png")))
			must(t, err)
			if !slices.Equal(got, want[0]) || got[0].Name != "blue square" {
				t.Errorf("got %v, want %v", got, want[0])
			}
		})
	}
}

// TestMap: the colours are those of package explain's map, where they belong in the picture.
func TestMap(t *testing.T) {
	x := load(t)
	legend := explain.Legend(seenColours, 1)
	for _, c := range []struct {
		file, method, template string
		width, height          int
	}{
		{"circle-left-of-cross.png", "", "", 256, 256},
		{"circle-left-of-cross.png", "similarity", "a {}", 256, 256},
		{"circle-left-of-cross.png", "rollout", "", 256, 256},
		{"turned.jpg", "relevance", "{c}", 400, 100}, // the model does not turn it, and sees its middle
	} {
		t.Run(c.file+c.method, func(t *testing.T) {
			picture := clip.File(filepath.Join(x.folder, c.file))
			options := explain.Options{Method: explain.Method(c.method)}
			fields := []field{{"image", x.file(t, c.file)}}
			for name, value := range map[string]string{"method": c.method, "template": c.template} {
				if value != "" {
					fields = append(fields, field{name, value})
				}
			}
			var want *explain.Map
			var err error
			if c.method == "rollout" {
				want, err = explain.Attention(t.Context(), x.model, picture, options)
			} else {
				fields = append(fields, field{"label", "blue cross"})
				template := c.template
				if template == "" {
					template = zeroshot.DefaultTemplate
				}
				want, err = explain.Caption(t.Context(), x.model, picture, strings.NewReplacer("{}", "blue cross", "{c}", "blue cross").Replace(template), options)
			}
			must(t, err)
			got := answer[mapAnswer](t, x, "/ui/map", fields...)
			if got.Caption != want.Caption || got.Score != want.Score || got.Grid != want.Grid || got.Width != c.width || got.Height != c.height {
				t.Errorf("got %q, score %g, %d patches, %d×%d, want %q, %g, %d, %d×%d", got.Caption, got.Score, got.Grid, got.Width, got.Height, want.Caption, want.Score, want.Grid, c.width, c.height)
			}
			colours, picture2 := decode(t, got.Colours, "image/png"), decode(t, got.Picture, "image/jpeg")
			if r := image.Rect(0, 0, c.width, c.height); colours.Bounds() != r || picture2.Bounds() != r {
				t.Fatalf("colours are %v and the picture %v, want %v", colours.Bounds(), picture2.Bounds(), r)
			}
			low, high := slices.Min(want.Values), slices.Max(want.Values)
			unseen := 0
			for i := range c.width * c.height {
				col, row := i%c.width, i/c.width
				rgba := color.NRGBAModel.Convert(colours.At(col, row)).(color.NRGBA)
				value, seen := want.At(float64(col)+0.5, float64(row)+0.5)
				if !seen {
					if unseen++; rgba.R != rgba.G || rgba.G != rgba.B || rgba.A != 255 {
						t.Fatalf("%d, %d is not seen and %v, want a grey", col, row, rgba)
					}
					continue
				}
				part := (value - float64(low)) / float64(high-low)
				l := color.NRGBAModel.Convert(legend.At(int(part*(seenColours-1)+0.5), 0)).(color.NRGBA)
				if l.A = rgba.A; rgba != l || math.Abs(float64(rgba.A)/255-(clearest+(1-clearest)*part)) > 0.01 {
					t.Fatalf("%d, %d has %.3f of the values and is %v, want %v", col, row, part, rgba, l)
				}
			}
			if want := max(c.width-c.height, 0) * c.height; math.Abs(float64(unseen-want)) > 2*100 {
				t.Errorf("%d pixels are not seen, want %d", unseen, want)
			}
		})
	}
}

// decode returns the picture of a data URI.
func decode(t *testing.T, uri, kind string) image.Image {
	t.Helper()
	text, ok := strings.CutPrefix(uri, "data:"+kind+";base64,")
	if !ok {
		t.Fatalf("got %.40q, want a data URI of %s", uri, kind)
	}
	file, err := base64.StdEncoding.DecodeString(text)
	must(t, err)
	img, _, err := image.Decode(bytes.NewReader(file))
	must(t, err)
	return img
}

// found is what a search answers.
type found struct{ Hits []hit }

// TestSearch: words, a picture and a path find what the cosines say, and what is found can be shown.
func TestSearch(t *testing.T) {
	x := load(t)
	names := []string{"turned.jpg"}
	for _, p := range demo.Pictures() {
		names = append(names, p.Name())
	}
	of := func(vectors [][]float32, err error) []float32 {
		t.Helper()
		must(t, err)
		clip.Normalize(vectors...)
		return vectors[0]
	}
	picture := func(name string) []float32 {
		return of(x.model.Encode(t.Context(), clip.File(filepath.Join(x.folder, name))))
	}
	for _, c := range []struct {
		query field
		with  []float32
		first string
	}{
		{field{"text", "a red circle"}, of(x.model.EncodeText(t.Context(), []string{"a red circle"})), "red-circle.png"},
		{field{"image", x.file(t, "three-stars.png")}, picture("three-stars.png"), "three-stars.png"},
		{field{"path", filepath.Join(x.folder, "small-moon.png")}, picture("small-moon.png"), "small-moon.png"},
	} {
		got := answer[found](t, x, "/ui/search", c.query, field{"top", "4"}, field{"model", "small"}).Hits
		if len(got) != 4 || got[0].Name != c.first {
			t.Fatalf("%s: found %+v, want 4, %s first", c.query.name, got, c.first)
		}
		scores := map[string]float64{}
		for _, n := range names {
			sum := 0.0
			for i, v := range picture(n) {
				sum += float64(v) * float64(c.with[i])
			}
			scores[n] = sum
		}
		slices.SortFunc(names, func(a, b string) int { return int(math.Copysign(1, scores[b]-scores[a])) })
		for i, h := range got {
			if want := scores[names[i]]; h.Name != names[i] || math.Abs(h.Score-want) > 1e-3 { // the index has float16
				t.Errorf("%s: hit %d is %s with %g, want %s with %g", c.query.name, i, h.Name, h.Score, names[i], want)
			}
			if w := x.get("/" + h.Picture); w.Code != http.StatusOK {
				t.Errorf("%s: status %d: %s", h.Picture, w.Code, w.Body)
			}
		}
	}
	if n := len(answer[found](t, x, "/ui/search", field{"text", "stars"}).Hits); n != len(names) {
		t.Errorf("found %d, want all %d", n, len(names))
	}
}

// TestPicture: a picture of the index is small, upright, and JPEG whatever it was.
func TestPicture(t *testing.T) {
	x := load(t)
	at := func(name, more string) string {
		return "/ui/picture?path=" + url.QueryEscape(filepath.Join(x.folder, name)) + more
	}
	for _, c := range []struct {
		name, more    string
		width, height int
	}{{"red-circle.png", "", 256, 256}, {"red-circle.png", "&side=64&model=small", 64, 64}, {"turned.jpg", "", 80, 320}, {"turned.jpg", "&side=1024", 100, 400}, {"turned.jpg", "&side=3", 1, 3}} {
		w := x.get(at(c.name, c.more))
		img, err := jpeg.Decode(w.Body)
		must(t, err)
		if img.Bounds() != image.Rect(0, 0, c.width, c.height) {
			t.Errorf("%s%s is %v, want %d×%d", c.name, c.more, img.Bounds(), c.width, c.height)
		}
		if got := w.Header(); got.Get("Content-Type") != "image/jpeg" || !strings.HasPrefix(got.Get("Cache-Control"), "private") || got.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("the header is %v", got)
		}
		if r, _, b, _ := img.At(0, 0).RGBA(); c.name == "turned.jpg" && c.width > 1 && (r < 0xe000 || b > 0x2000) {
			t.Errorf("%s%s is not red above", c.name, c.more)
		}
	}
	for address, want := range map[string]int{
		at("nobody.png", ""): 400, at("../pictures/red-circle.png", ""): 200, "/ui/picture?path=/etc/passwd": 400, "/ui/picture": 400,
		at("red-circle.png", "&model=bare"): 400, at("red-circle.png", "&model=x"): 404, at("red-circle.png", "&side=0"): 400, at("red-circle.png", "&side=1025"): 400, at("red-circle.png", "&side=x"): 400,
	} {
		if w := x.get(address); w.Code != want {
			t.Errorf("%s: status %d, want %d: %.200q", address, w.Code, want, w.Body)
		}
	}
}

// TestBadInput: what is wrong with a form is said, with the status that it has everywhere.
func TestBadInput(t *testing.T) {
	x := load(t)
	good := field{"image", x.file(t, "red-circle.png")}
	label, other := field{"label", "red circle"}, field{"label", "blue square"}
	for _, c := range []struct {
		path   string
		fields []field
		status int
		says   string
	}{
		{"classify", []field{label}, 400, "no picture"},
		{"classify", []field{{"image", []byte{}}, label}, 400, "no picture"},
		{"classify", []field{good, good, label}, 400, "two pictures"},
		{"classify", []field{good}, 400, "label"},
		{"classify", []field{good, label, label}, 400, "twice"},
		{"classify", []field{good, label, {"label", "a zebra"}}, 422, "zebra"},
		{"classify", []field{good, label, other, {"template", "a photo"}}, 400, "{}"},
		{"classify", []field{good, label, {"multi", "yes"}}, 400, "true or false"},
		{"classify", []field{good, label, {"colour", "red"}}, 400, "want label, template, multi, model, image"},
		{"classify", []field{good, label, {"model", "big"}}, 404, "big"},
		{"classify", []field{good, label, {"model", "small"}, {"model", "bare"}}, 400, "2 times"},
		{"classify", []field{{"image", []byte("no picture")}, label, other}, 422, `"not an image`},
		{"classify", []field{{"image", make([]byte, 1<<20+1)}, label}, 413, "1048576"},
		{"classify", []field{{"image", make([]byte, 8<<20)}, label}, 413, ""},
		{"classify", []field{good, {"label", strings.Repeat("red ", 1<<15)}}, 400, "65536"},
		{"map", []field{good}, 400, "no label"},
		{"map", []field{good, label, label}, 400, "2 times"},
		{"map", []field{good, label, {"method", "magic"}}, 400, "magic"},
		{"map", []field{good, label, {"template", "a photo"}}, 400, "{}"},
		{"map", []field{label}, 400, "no picture"},
		{"search", nil, 400, "0 of text"},
		{"search", []field{good, {"text", "stars"}}, 400, "2 of text"},
		{"search", []field{{"text", "stars"}, {"top", "0"}}, 400, "1 to 200"},
		{"search", []field{{"text", "stars"}, {"top", "201"}}, 400, "1 to 200"},
		{"search", []field{{"text", "stars"}, {"model", "bare"}}, 400, "index"},
		{"search", []field{{"text", "zebras"}}, 422, "zebras"},
		{"search", []field{{"path", "/etc/passwd"}}, 400, ""},
		{"search", []field{{"image", []byte("no picture")}}, 422, ""},
	} {
		w := x.post(t, "/ui/"+c.path, c.fields...)
		var got struct {
			Error struct{ Message, Code string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != c.status || got.Error.Message == "" || got.Error.Code == "" || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s, want %q: status %d, %s, want %d", c.path, c.says, w.Code, w.Body, c.status)
		}
	}
	for name, c := range map[string]struct {
		kind, body string
		status     int
	}{
		"no form":      {"application/json", "{}", 415},
		"no boundary":  {"multipart/form-data", "", 415},
		"no parts":     {"multipart/form-data; boundary=x", "", 400},
		"cut short":    {"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\nabc", 400},
		"no such name": {"multipart/form-data; boundary=x", "--x\r\n\r\nabc\r\n--x--", 400},
	} {
		r := httptest.NewRequest(http.MethodPost, "/ui/classify", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		w := httptest.NewRecorder()
		if x.ServeHTTP(w, r); w.Code != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, w.Code, c.status, w.Body)
		}
	}
	for path, want := range map[string]int{"/ui/example/none.png": 404, "/ui/example/..%2f..": 404, "/ui/static/0/page.js": 404, "/ui/static/" + hash + "/none.js": 404, "/ui/static/" + hash + "/index.html": 404, "/ui": 404} {
		if w := x.get(path); w.Code != want {
			t.Errorf("%s: status %d, want %d", path, w.Code, want)
		}
	}
}

// FuzzForm: no body does harm, and what is read is what was sent.
func FuzzForm(f *testing.F) {
	content, kind := body(f, field{"label", "a"}, field{"image", []byte("xyz")}, field{"label", "b"})
	_, boundary, _ := strings.Cut(kind, "boundary=")
	f.Add(bytes.ReplaceAll(content, []byte(boundary), []byte("x")))
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41=\r\n--x--"))
	f.Add([]byte("--x--"))
	f.Fuzz(func(t *testing.T, content []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(content))
		r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		const most = 100
		got, err := readForm(httptest.NewRecorder(), r, most, "label")
		if err != nil {
			return
		}
		if len(got.image) > most {
			t.Errorf("a picture of %d bytes, want at most %d", len(got.image), most)
		}
		for name, values := range got.values {
			if name != "label" {
				t.Errorf("the form has %q", name)
			}
			for _, v := range values {
				if !bytes.Contains(content, []byte(v)) && !bytes.Contains(bytes.ToLower(content), []byte("quoted-printable")) {
					t.Errorf("the value %q was not sent", v)
				}
			}
		}
	})
}

// FuzzAsk: whatever is asked of the model has an answer that is JSON or a picture, and no fault of the server's.
func FuzzAsk(f *testing.F) {
	x := load(f)
	f.Add("classify", "red circle", "a {}", "relevance", x.file(f, "red-circle.png"))
	f.Add("map", "blue cross", "{}", "rollout", x.file(f, "turned.jpg"))
	f.Add("search", "stars", "", "", []byte("GIF89a"))
	f.Fuzz(func(t *testing.T, path, label, template, method string, picture []byte) {
		var w *httptest.ResponseRecorder
		switch path {
		case "classify":
			w = x.post(t, "/ui/classify", field{"image", picture}, field{"label", label}, field{"template", template}, field{"multi", method})
		case "map":
			w = x.post(t, "/ui/map", field{"image", picture}, field{"label", label}, field{"template", template}, field{"method", method})
		case "search":
			w = x.post(t, "/ui/search", field{"text", label}, field{"top", template}, field{"path", method}, field{"image", picture})
		default:
			w = x.get("/ui/picture?" + url.Values{"path": {label}, "side": {template}, "model": {method}}.Encode())
		}
		if w.Code >= 500 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("the answer is no JSON: %s", w.Body)
		}
	})
}
