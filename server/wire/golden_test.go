package wire

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/engine"
)

// serve returns the address of a server of the small model, which has an alias.
func serve(t testing.TB, o Options) string {
	t.Helper()
	if o.Engine == nil {
		e, err := engine.New(t.Context(), engine.Config{Models: []engine.Model{{Name: "demo", Aliases: []string{"ViT-B-32__openai"}, Path: demo.Name}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close(context.Background()) })
		o.Engine = e
	}
	mux := http.NewServeMux()
	Register(mux, o)
	mux.Handle("GET /{$}", Root)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// picture returns the file of a picture of the demo.
func picture(t testing.TB, name string) []byte {
	t.Helper()
	if name == "odd.png" {
		return odd(t)
	}
	b, err := os.ReadFile(filepath.Join("../../demo/pictures", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// odd returns a picture of 131 by 77 pixels, which the libraries prepare in different ways: of a palette with transparency.
func odd(t testing.TB) []byte {
	t.Helper()
	m := image.NewPaletted(image.Rect(0, 0, 131, 77), color.Palette{color.NRGBA{200, 30, 30, 255}, color.NRGBA{20, 180, 60, 128}, color.NRGBA{10, 20, 220, 0}, color.NRGBA{255, 255, 255, 255}})
	for i := range m.Pix {
		m.Pix[i] = uint8(i * i / 57 % 4)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// dataURI returns a picture of the demo as clients send it.
func dataURI(t testing.TB, name string) string {
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(picture(t, name))
}

// reference computes the vector of «image NAME» or «text WORDS», without the engine.
func reference(t testing.TB, what, name, preset string) []float32 {
	t.Helper()
	var o []clip.Option
	if preset != "" {
		o = append(o, clip.Checkpoint(converter.Prepare(clipvit.Choice{Preset: preset})))
	}
	m, err := demo.Open(o...)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var v [][]float32
	if what == "text" {
		v, err = m.EncodeText(t.Context(), []string{name})
	} else {
		v, err = m.Encode(t.Context(), clip.Bytes(name, picture(t, name)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return v[0]
}

// placeholder is what stands in a golden for what is long: «FORM FLAGS… image red-circle.png».
var placeholder = regexp.MustCompile(`«([^»]*)»`)

// expand puts into a golden what its placeholders stand for.
func expand(t testing.TB, s, fingerprint string) string {
	return placeholder.ReplaceAllStringFunc(s, func(p string) string {
		form, rest, _ := strings.Cut(strings.Trim(p, "«»"), " ")
		switch form {
		case "fingerprint":
			return fingerprint
		case "data":
			return dataURI(t, rest)
		case "base64":
			return base64.StdEncoding.EncodeToString(picture(t, rest))
		case "file":
			return string(picture(t, rest))
		}
		preset, raw := "", false
		what, name, _ := strings.Cut(rest, " ")
		for what != "image" && what != "text" {
			switch {
			case what == "raw":
				raw = true
			case strings.HasPrefix(what, "preset="):
				preset = strings.TrimPrefix(what, "preset=")
			default:
				t.Fatalf("placeholder %s", p)
			}
			what, name, _ = strings.Cut(name, " ")
		}
		v := reference(t, what, name, preset)
		if !raw {
			clip.Normalize(v)
		}
		numbers := func(v any) string {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		var little bytes.Buffer
		bits := make([]int, len(v)/8)
		for i, x := range v {
			u := math.Float32bits(x)
			little.Write([]byte{byte(u), byte(u >> 8), byte(u >> 16), byte(u >> 24)})
			if x > 0 {
				bits[i/8] += 1 << (7 - i%8)
			}
		}
		switch form {
		case "floats":
			return numbers(v)
		case "string":
			return `"` + numbers(v) + `"`
		case "little":
			return base64.StdEncoding.EncodeToString(little.Bytes())
		case "ubinary":
			return numbers(bits)
		case "binary":
			for i := range bits {
				bits[i] -= 128
			}
			return numbers(bits)
		}
		t.Fatalf("placeholder %s", p)
		return ""
	})
}

var (
	randomID = regexp.MustCompile(`"id":"[A-Z2-7]{26}"`)
	duration = regexp.MustCompile(`"total_duration":[0-9]+`)
)

// TestGolden compares requests as clients send them, and answers as they read them, byte for byte. A file has the request with its
// headers, a line ---, the status, and the answer.
func TestGolden(t *testing.T) {
	base := serve(t, Options{CutDimensions: false})
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	space, err := m.Space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			request, want, ok := strings.Cut(string(b), "\n---\n")
			if !ok {
				t.Fatal("no ---")
			}
			head, body, _ := strings.Cut(request, "\n\n")
			lines := strings.Split(head, "\n")
			method, path, _ := strings.Cut(lines[0], " ")
			body = expand(t, body, "")
			if strings.Contains(head, "multipart/form-data") {
				body = strings.ReplaceAll(body, "\n", "\r\n")
			}
			r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range lines[1:] {
				if line == "" { // there is no body
					break
				}
				name, value, _ := strings.Cut(line, ": ")
				r.Header.Set(name, value)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			got, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			got = randomID.ReplaceAll(got, []byte(`"id":"ID"`))
			got = duration.ReplaceAll(got, []byte(`"total_duration":0`))
			is := fmt.Sprintf("%d\n%s", res.StatusCode, got)
			fingerprint := res.Header.Get(FingerprintHeader)
			want = expand(t, strings.TrimSuffix(want, "\n"), fingerprint)
			if is != want {
				t.Errorf("got  %s\nwant %s", shortened(is), shortened(want))
			}
			if computes := res.StatusCode == http.StatusOK && method == "POST"; computes != (fingerprint != "") {
				t.Errorf("the fingerprint is %q", fingerprint)
			} else if computes && !strings.Contains(string(b), "features") && !strings.Contains(string(b), "preset") && !strings.Contains(string(b), `normalized":false`) {
				unit := space
				unit.Normalized = true
				if want := unit.Fingerprint(); fingerprint != want {
					t.Errorf("the fingerprint is %s, want %s", fingerprint, want)
				}
			}
		})
	}
}

// shortened leaves the middle of long lists out.
func shortened(s string) string {
	return regexp.MustCompile(`(\[[^\[\]]{60})[^\[\]]{200,}([^\[\]]{30}\])`).ReplaceAllString(s, "$1…$2")
}
