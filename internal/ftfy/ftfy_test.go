package ftfy

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/vitago/vitago/internal/golden"
)

// A file is what Python made of texts; null is a text that stays.
type file struct {
	Ftfy, Python, Unicode string
	Texts, References     [][2]*string
	Names, Capitals       map[string]string
}

func readFile(t testing.TB, path string) (f file) {
	t.Helper()
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

// read is what testdata/gen/mojibake.py wrote.
func read(t testing.TB) file {
	t.Helper()
	return readFile(t, golden.Path(t, "testdata/tiny/ftfy.json.gz"))
}

// compare fails the test for each of the pairs that f makes another text of.
func compare(t *testing.T, name string, pairs [][2]*string, f func(string) string) {
	t.Helper()
	wrong := 0
	for _, p := range pairs {
		text, want := *p[0], *p[0]
		if p[1] != nil {
			want = *p[1]
		}
		if got := f(text); got != want {
			if wrong++; wrong <= 20 {
				t.Errorf("%s(%+q) = %+q, want %+q", name, text, got, want)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%s: %d of %d texts differ", name, wrong, len(pairs))
	}
	t.Logf("%s: %d texts", name, len(pairs))
}

func TestFix(t *testing.T) {
	g := read(t)
	if g.Ftfy != "6.3.1" || len(g.Texts) < 3000 {
		t.Fatalf("%d texts by ftfy %s, want 3000 by 6.3.1", len(g.Texts), g.Ftfy)
	}
	compare(t, "Fix", g.Texts, Fix)
}

func TestUnescape(t *testing.T) {
	g := read(t)
	if len(g.References) < 1000 || len(g.Names) != 2231 || len(g.Capitals) < 100 {
		t.Fatalf("%d texts, %d names, %d in capitals, want more", len(g.References), len(g.Names), len(g.Capitals))
	}
	compare(t, "Unescape", g.References, Unescape)
	for name, want := range g.Names {
		if got := Unescape("&" + name); got != want {
			t.Errorf("&%s is %q, want %q", name, got, want)
		}
	}
	for name, want := range g.Capitals {
		if got := fixEntity(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestMany is with texts that testdata/gen/mojibake.py writes when asked for another N.
func TestMany(t *testing.T) {
	path := os.Getenv("VITAGO_FTFY")
	if path == "" {
		t.Skip("VITAGO_FTFY names no file")
	}
	f := readFile(t, path)
	compare(t, "Fix", f.Texts, Fix)
	compare(t, "Unescape", f.References, Unescape)
}

// TestComposed compares the definition with golang.org/x/text, where that inserts nothing.
func TestComposed(t *testing.T) {
	for _, p := range read(t).Texts {
		if got, want := composed(*p[0]), norm.NFC.String(*p[0]); got != want && !strings.Contains(want, joiner) {
			t.Errorf("composed(%+q) = %+q, want %+q", *p[0], got, want)
		}
	}
	for r := range rune(utf8.MaxRune + 1) {
		if s := "a" + string(r) + "\u0301\u0345" + string(r) + "\u0323"; composed(s) != norm.NFC.String(s) {
			t.Errorf("composed(%+q) = %+q, want %+q", s, composed(s), norm.NFC.String(s))
		}
	}
}

// hostile are texts that could take long: with many passes, many marks, and deep encodings.
func hostile(n int) map[string]string {
	repeat := func(s string) string { return strings.Repeat(s, n/len(s)) }
	return map[string]string{
		"amp":        "&" + repeat("amp;"),
		"nested":     repeat("&#2") + repeat("7;"),
		"mojibake":   repeat("Ã©"),
		"pieces":     repeat("Ã© 中"),
		"unfixable":  repeat("Ã©é"),
		"controls":   repeat("\u0081"),
		"lost":       repeat("â€\uFFFD"),
		"spaces":     repeat("Ã "),
		"java":       repeat("aÀ\u0080"),
		"marks":      "e" + repeat("\u0315\u0300"),
		"clues":      repeat("ÃÃÃÃ€"),
		"references": repeat("&#"),
		"lines":      repeat("é\r"),
		"escapes":    repeat("\x1b["),
		"Chinese":    repeat("花园里的猫"),
	}
}

func TestHostile(t *testing.T) {
	for name, s := range hostile(1 << 20) {
		begin := time.Now()
		got := Fix(s)
		// Half a second is usual on one core of 2020; the rest is for slow ones.
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("%s: %v for 1 MB", name, d)
		} else {
			t.Logf("%s: %v, %d bytes left", name, d, len(got))
		}
	}
}
