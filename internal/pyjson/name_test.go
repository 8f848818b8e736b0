package pyjson

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"unicode/utf8"
)

// TestName: the values are those of Python 3.13, json.dumps(os.fsdecode(name)).
func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"a.png": `"a.png"`, "caf\xe9.png": `"caf\udce9.png"`, "\xff\xfe": `"\udcff\udcfe"`, "é\x80\"\n": `"é\udc80\"\n"`, "": `""`, "\xed\xa0\x80": `"\udced\udca0\udc80"`,
	} {
		got, err := json.Marshal(Name(name))
		if err != nil || string(got) != want {
			t.Errorf("%q: got %s, %v, want %s", name, got, err, want)
		}
		var back Name
		if err := json.Unmarshal(got, &back); err != nil || string(back) != name {
			t.Errorf("%s: got %q, %v, want %q", got, back, err, name)
		}
	}
	for text, want := range map[string]string{
		`"\ud83d\ude00"`: "😀", `"\u00e9\\udce9"`: `é\udce9`, `"\udce9"`: "\xe9", `"\ud83d\udce9"`: "📩", `"a\"\udcff\"b"`: "a\"\xff\"b",
	} {
		if got, err := Unquote([]byte(text)); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{`"\ud800"`, `"\udc7f"`, `"\ud83d\u0041"`, `"\udd00"`, `"\udce`, "\"\xff\"", `x`, ``, `"\x"`} {
		if got, err := Unquote([]byte(text)); err == nil {
			t.Errorf("%s: got %q, want an error", text, got)
		}
	}
}

func TestByName(t *testing.T) {
	all := ByName{"caf\xe9.png": "caf\xe9.png: no image", "caf\xe8.png": "\"", "b": "<é>", "": ""}
	text, err := json.Marshal(all)
	if want := `{"":"","b":"\u003cé\u003e","caf\udce8.png":"\"","caf\udce9.png":"caf\udce9.png: no image"}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
	for _, form := range []func([]byte) []byte{slices.Clone[[]byte], func(b []byte) []byte {
		var indented bytes.Buffer
		if err := json.Indent(&indented, b, "", "  "); err != nil {
			t.Fatal(err)
		}
		return indented.Bytes()
	}} {
		var back ByName
		if err := json.Unmarshal(form(text), &back); err != nil || !maps.Equal(back, all) {
			t.Errorf("got %q, %v, want %q", back, err, all)
		}
	}
	for _, text := range []string{`{"a":1}`, `[]`, `{"a":"\ud800"}`, `{"a":null,"b":"c"}`} {
		if err := json.Unmarshal([]byte(text), new(ByName)); err == nil {
			t.Errorf("%s is no error", text)
		}
	}
	back := all
	if err := json.Unmarshal([]byte("null"), &back); err != nil || back != nil {
		t.Errorf("null: got %q, %v", back, err)
	}
}

// FuzzName: a name comes back from JSON as it was, and what is read of JSON is what encoding/json reads, if it has no half
// characters.
func FuzzName(f *testing.F) {
	for _, s := range []string{"a.png", "caf\xe9", `"\ud83d\udce9"`, `"\udce9\u0041"`, `"\\udce9"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := Quote(s)
		if err != nil || !utf8.Valid(text) || !json.Valid(text) {
			t.Fatalf("%q: %q, %v", s, text, err)
		}
		if back, err := Unquote(text); err != nil || back != s {
			t.Fatalf("%q: %s: %q, %v", s, text, back, err)
		}
		got, err := Unquote([]byte(s))
		var want string
		if plain := json.Unmarshal([]byte(s), &want); err == nil && (plain != nil || got != want && utf8.ValidString(got)) {
			t.Fatalf("%q: got %q, encoding/json %q, %v", s, got, want, plain)
		}
	})
}
