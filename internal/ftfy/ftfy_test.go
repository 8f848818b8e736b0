package ftfy

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
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

// asRegexp returns rules as a regular expression: the slow way, which judges the matcher.
func asRegexp(rules [][]string) *regexp.Regexp {
	var all []string
	for _, rule := range rules {
		var b strings.Builder
		for _, class := range rule {
			switch class {
			case start:
				b.WriteString("^")
			case space:
				b.WriteString(`[\s\v\x1c-\x1f\x{85}\p{Z}]`)
			case word:
				b.WriteString(`[\p{L}\p{N}_]`)
			case noBreak:
				b.WriteString(".")
			case notLatin:
				b.WriteString("[^A-Za-z]")
			default:
				b.WriteString("[" + class + "]")
			}
		}
		all = append(all, b.String())
	}
	return regexp.MustCompile(strings.Join(all, "|"))
}

var slow = sync.OnceValue(func() *regexp.Regexp { return asRegexp(rules) })

func TestIsBad(t *testing.T) {
	g := read(t)
	found := 0
	for _, p := range g.Texts {
		got, want := isBad(*p[0]), slow().MatchString(*p[0])
		if got != want {
			t.Errorf("isBad(%+q) is %v, want %v", *p[0], got, want)
		}
		if got {
			found++
		}
	}
	if found < 1000 {
		t.Errorf("%d of %d texts are bad, want at least 1000", found, len(g.Texts))
	}
	for i, rule := range rules { // each has a text that no other rule finds
		if rule[0] == "Ã" || rule[0] == "ā" { // others imply them
			continue
		}
		others := newMatcher(slices.Concat(rules[:i], rules[i+1:]))
		if !slices.ContainsFunc(g.Texts, func(p [2]*string) bool { return isBad(*p[0]) && !others.matches(*p[0]) }) {
			t.Errorf("no text needs rule %d, %q", i, rule)
		}
	}
}

// TestComposed compares the definition with golang.org/x/text, where that inserts nothing.
func TestComposed(t *testing.T) {
	for _, p := range read(t).Texts {
		if got, want := composed(*p[0]), norm.NFC.String(*p[0]); got != want && !strings.Contains(want, joiner) {
			t.Errorf("composed(%+q) = %+q, want %+q", *p[0], got, want)
		}
	}
	for r := range rune(utf8.MaxRune + 1) {
		if p := norm.NFC.PropertiesString(string(r)); p.Decomposition() == nil && p.CCC() == 0 && r%64 != 0 {
			continue // is like its neighbours
		}
		if s := "a" + string(r) + "\u0301\u0345" + string(r) + "\u0323"; composed(s) != norm.NFC.String(s) {
			t.Errorf("composed(%+q) = %+q, want %+q", s, composed(s), norm.NFC.String(s))
		}
	}
}

// TestSegments: a long line is cut after a million characters, and a text is HTML from its first < on. By ftfy 6.3.1, Python 3.13.
func TestSegments(t *testing.T) {
	for _, c := range []struct {
		letter     string
		n          int
		text, want string
	}{
		{"x", 999_998, "Ã© é", "é é"},
		{"x", 999_999, "Ã© é", "Ã© é"},
		{"x", 1_000_000, "Ã© é", "é é"},
		{"é", 999_999, "&amp;", "&amp;"},
		{"é", 1_000_000, "&amp;", "&"},
		{"x", 1_000_000, "<&amp;", "<&amp;"},
		{"", 0, "&amp;\n<&amp;\n&amp;", "&\n<&amp;\n&amp;"},
		// A quirk of ftfy: À and the line break after it are taken for the NUL of Java, byte C0 and then 80.
		{"", 0, "cafÃ© À\nnext", "café next"},
		{"", 0, "cafÃ© À next", "café À next"},
	} {
		if got := Fix(strings.Repeat(c.letter, c.n) + c.text); got[c.n*len(c.letter):] != c.want {
			t.Errorf("after %d of %s, %q is %q, want %q", c.n, c.letter, c.text, got[c.n*len(c.letter):], c.want)
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
		"chain":      "Ã" + repeat("ƒ"), // of which each step repairs two
		"chains":     repeat("Ã" + strings.Repeat("ƒ", 500) + "\n"),
		"Chinese":    repeat("花园里的猫"),
	}
}

func TestHostile(t *testing.T) {
	for name, s := range hostile(1 << 18) {
		begin := time.Now()
		got := Fix(s)
		// Without a budget some take hours. A second is usual on a core of 2020; the rest is for slow ones.
		if d := time.Since(begin); d > time.Minute {
			t.Errorf("%s: %v for 256 KB", name, d)
		} else {
			t.Logf("%s: %v, %d bytes left", name, d, len(got))
		}
	}
}

// TestPlain: a text that needs no repair costs nothing.
func TestPlain(t *testing.T) {
	const s = "a photo of a golden retriever, 8k: <b>\t\n"
	if n := testing.AllocsPerRun(100, func() {
		if Fix(s) != s || Unescape(s) != s {
			t.Error("changed")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkFix(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"ASCII", "a photo of a golden retriever, 8k."},
		{"French", "une photo d’un café à la crème"},
		{"Chinese", "花园里的猫，照片。"},
		{"mojibake", "une photo dâ€™un cafÃ© Ã\u00a0 la crÃ¨me"},
		{"HTML", "AT&amp;T &lt;3"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Fix(c.text)
			}
		})
	}
}

func FuzzFix(f *testing.F) {
	for i, p := range read(f).Texts {
		if i%20 == 0 {
			f.Add(*p[0])
		}
	}
	f.Add("\xff\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, s string) {
		got := Fix(s)
		if !utf8.ValidString(got) || utf8.ValidString(s) && !utf8.ValidString(Unescape(s)) {
			t.Errorf("no UTF-8 of %q", s)
		}
		if isPlain(s) && got != s {
			t.Errorf("Fix(%q) = %q", s, got)
		}
		// A line that is broken in two is read as two the next time, and long ones may cost more than their budget.
		if len(s) < 2000 && !strings.Contains(got, "\n") && Fix(got) != got {
			t.Errorf("Fix(%+q) = %+q, and of that %+q", s, got, Fix(got))
		}
		if v := strings.ToValidUTF8(s, "\uFFFD"); isBad(v) != slow().MatchString(v) {
			t.Errorf("isBad(%+q) is %v", v, isBad(v))
		}
	})
}
