package pyjson

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

// TestPlain: the texts are what json.loads of Python 3.13 reads; where a number is none, there is a string in its place.
func TestPlain(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"a": 1}`, `{"a": 1}`},
		{`{"a": NaN, "b": [Infinity, -Infinity, 1]}`, `{"a": "NaN", "b": ["Infinity", "-Infinity", 1]}`},
		{`NaN`, `"NaN"`},
		{` [ NaN ] `, ` [ "NaN" ] `},
		{`{"a":"NaN, \"Infinity\"","b":1}`, `{"a":"NaN, \"Infinity\"","b":1}`},
		{`{"a":1e400,"b":-1e400,"c":1e-400,"d":1e3}`, `{"a":"Infinity","b":"-Infinity","c":1e-400,"d":1e3}`},
		{`{"a":1,"a":2}`, `{"a":2}`},
		{`{"a":1, "b":0, "a" : {"x":NaN}, "\u0061":3}`, `{ "b":0,  "\u0061":3}`},
		{`{"a":{"x":NaN,"x":1},"a":{"y":2}}`, `{"a":{"y":2}}`},
		{"\ufeff{\"a\":1}", `{"a":1}`},
		{`{"a":` + strings.Repeat("9", 400) + `}`, `{"a":"Infinity"}`},
		{`{"a":nan}`, `{"a":nan}`}, // no JSON of either
		{`{"a":NaN`, `{"a":NaN`},
		{`{"a":NaN,}`, `{"a":NaN,}`},
		{``, ``},
	} {
		got, err := Plain([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s is %s (%v), want %s", c.in, got, err, c.want)
		}
	}
	if _, err := Plain([]byte("{\"a\":\"\xe4\"}")); err == nil || err.Error() != "byte 6 (0xe4) is not UTF-8" {
		t.Errorf("error of Latin-1 is %v", err)
	}
	many := `{"k0":NaN`
	for i := range 40 {
		many += `,"k` + strings.Repeat("x", i) + `":1`
	}
	got, _ := Plain([]byte(many + `,"k0":5}`))
	if want := "{" + many[len(`{"k0":NaN,`):] + `,"k0":5}`; string(got) != want {
		t.Errorf("of many members it is %s, want %s", got, want)
	}
}

func TestUnmarshal(t *testing.T) {
	type tower struct {
		Eps    float64 `json:"eps"`
		Width  int     `json:"width"`
		Act    string  `json:"act"`
		Nested struct {
			Mean []float64 `json:"mean"`
		} `json:"nested"`
	}
	for _, c := range []struct{ in, err string }{
		{`{"lr":NaN,"eps":1e-5,"scheduler":{"best":-Infinity}}`, ""},
		{`{"eps":NaN}`, "eps is NaN, want a number"},
		{`{"width":-Infinity}`, "width is -Infinity, want an integer"},
		{`{"width":1e999}`, "width is Infinity, want an integer"},
		{`{"nested":NaN}`, "nested is NaN, want an object"},
		{`{"nested":{"mean":Infinity}}`, "nested.mean is Infinity, want a list"},
		{`NaN`, "a value is NaN, want an object"},
		{`{"nested":{"mean":[1,NaN]}}`, "nested.mean is NaN, want a number"},
		{`{"eps":"small"}`, "cannot unmarshal string"},
		{`{"eps":NaN`, "invalid character 'N'"},
	} {
		var v tower
		err := Unmarshal([]byte(c.in), &v)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error is %v, want %q", c.in, err, c.err)
		}
		if c.err != "" && strings.Contains(c.err, "want a") && !errors.As(err, new(*json.UnmarshalTypeError)) {
			t.Errorf("%s: error is a %T", c.in, err)
		}
	}
	var free map[string]any
	if err := Unmarshal([]byte(`{"a":[NaN,1],"a":[2,Infinity]}`), &free); err != nil || !reflect.DeepEqual(free, map[string]any{"a": []any{2.0, "Infinity"}}) {
		t.Errorf("any value is %v (%v)", free, err)
	}
	var m map[string]json.RawMessage // of what is decoded later
	var eps struct{ Eps float64 }
	if err := Unmarshal([]byte(`{"tower":{"Eps":NaN}}`), &m); err != nil {
		t.Error(err)
	} else if err := Unmarshal(m["tower"], &eps); err == nil || err.Error() != "Eps is NaN, want a number" {
		t.Errorf("error of a value in a RawMessage is %v", err)
	}
}

// TestExplain: errors of types say what JSON has, and others what they said.
func TestExplain(t *testing.T) {
	type in struct {
		Classes []string `json:"classes"`
		At      struct {
			Layer *int `json:"layer"`
		} `json:"at"`
	}
	for _, c := range []struct{ in, want string }{
		{`["a"]`, "a value is a list, want an object"},
		{`{"classes":"a"}`, "classes is a string, want a list"},
		{`{"classes":[1]}`, "classes is a number, want a string"},
		{`{"at":{"layer":true}}`, "at.layer is true or false, want an integer"},
		{`{"at":{"layer":1.5}}`, "at.layer is 1.5, want an integer"},
		{`{"at":{"layer":{}}}`, "at.layer is an object, want an integer"},
		{`{`, "unexpected end of JSON input"},
	} {
		err := Explain(json.Unmarshal([]byte(c.in), new(in)))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: error is %v, want %s", c.in, err, c.want)
		}
		if strings.Contains(c.want, "want") && !errors.As(err, new(*json.UnmarshalTypeError)) {
			t.Errorf("%s: error is a %T", c.in, err)
		}
	}
	if Explain(nil) != nil {
		t.Error("nothing is an error")
	}
}

func TestLoneSurrogate(t *testing.T) {
	for in, want := range map[string]bool{
		`"plain"`: false, `"\ud83d\ude00"`: false, `"\\ud83d"`: false, `"\u00e4\n"`: false,
		`"\ud83d"`: true, `"a\ude00"`: true, `"\ud83d\u0041"`: true, `"\ud83d\\ude00"`: true, `"\ud83d\ud83d\ude00"`: true,
	} {
		if got := loneSurrogate([]byte(in)) >= 0; got != want {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}

// FuzzPlain: what encoding/json reads already has the same value afterwards, but for members of the same name; the result is
// read as it was.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{`{"a":NaN,"a":[1,{"b":-Infinity}]}`, `[1e400,"\ud800",null]`, "\ufeff{}", `{"a":{"a":1},"a":2}`, `{"\u0061":1,"a":NaN}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		plain, err := Plain(data)
		if err != nil {
			return
		}
		if json.Valid(data) && !json.Valid(plain) {
			t.Fatalf("%q became %q, which is no JSON", data, plain)
		}
		again, err := Plain(plain)
		if json.Valid(plain) && (err != nil || string(again) != string(plain)) {
			t.Fatalf("%q became %q, and then %q", data, plain, again)
		}
		var before, after any
		if json.Unmarshal(data, &before) == nil {
			if err := Unmarshal(data, &after); err != nil || !reflect.DeepEqual(before, after) {
				t.Fatalf("%q is %v, then %v (%v)", data, before, after, err)
			}
		}
		loneSurrogate(data)
		Unmarshal(data, &struct{ A float64 }{math.NaN()})
	})
}
