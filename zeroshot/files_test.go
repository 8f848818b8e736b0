package zeroshot

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
)

// TestReadTemplate: a line is a template, or one of a list as OpenAI's notebook and open_clip have it.
func TestReadTemplate(t *testing.T) {
	for line, want := range map[string]string{
		"a photo of a {}.":              "a photo of a {}.",
		" a photo of a {c}, \r":         "a photo of a {},",
		`"{}"`:                          `"{}"`,
		"'{}'":                          "'{}'",
		"    'a bad photo of a {}.',":   "a bad photo of a {}.",
		`"a photo of a {}'s house",`:    "a photo of a {}'s house",
		`'a photo of \'{}\' \\ \"x\"',`: `a photo of '{}' \ "x"`,
		"    lambda c: f'a photo of a hard {c}.',": "a photo of a hard {}.",
		`lambda c: f"a {c}, a type of {c}.",`:      "a {}, a type of {}.",
		"imagenet_templates = [":                   "",
		"OPENAI_IMAGENET_TEMPLATES = (":            "",
		"]":                                        "",
		")":                                        "",
		"  ":                                       "",
		"'{}' and '{}',":                           "'{}' and '{}',", // no string of Python
	} {
		if got, err := ReadTemplate(line); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", line, got, err, want)
		}
	}
	for line, want := range map[string]string{
		"a photo":                         `"a photo", has no {}, where the label stands`,
		"'a photo',":                      `"a photo", has no {}, where the label stands`,
		`'a {}\n',`:                       `the escape "\\n"`,
		"lambda c: c.upper() + ' {c}',":   "want a string of Python in quotes",
		"lambda c: f'a photo of {c}'+'',": "want a string of Python in quotes",
	} {
		if _, err := ReadTemplate(line); !errors.Is(err, clip.ErrRequest) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", line, err, want)
		}
	}
}

func TestReadPrompts(t *testing.T) {
	want := []Label{{"tench", []string{"a photo of a tench, a fish", "a tench"}}, {"cat", []string{"a cat"}}}
	for name, text := range map[string]string{
		"p.txt":   "\ufefftench\ta photo of a tench, a fish\r\n\r\n cat \t a cat \ntench\ta tench",
		"p.tsv":   "tench\ta photo of a tench, a fish\ntench\ta tench\ncat\ta cat\n",
		"p":       "tench\ta photo of a tench, a fish\rcat\ta cat\rtench\ta tench",
		"p.CSV":   "id,prompt,label\n1,\"a photo of a tench, a fish\",tench\n2,a tench,tench\n\n3,a cat,cat\n",
		"p.jsonl": `{"label":"tench","prompt":["a photo of a tench, a fish","a tench"],"id":7}` + "\n\n" + `{"prompt":"a cat","label":"cat"}`,
	} {
		if got, err := ReadPrompts(name, []byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	for _, c := range []struct{ name, text, want string }{
		{"p.txt", "", "p.txt: got 0 labels, want at least 1"},
		{"p.txt", "cat\ta cat\ndog", `p.txt: line 2: "dog" has no tab, want a label, a tab, and a prompt`},
		{"p.txt", "\ta cat", "p.txt: line 1: the label is empty"},
		{"p.txt", "cat\t ", `p.txt: line 1: the prompt of the label "cat" is empty`},
		{"p.txt", "cat\ta\n\ncat\ta", `p.txt: line 3: the label "cat" has the prompt "a" twice`},
		{"p.txt", "cat\t\xff", "p.txt: want text in UTF-8"},
		{"p.txt", "\xff\xfec\x00", "p.txt: the text is UTF-16, want UTF-8"},
		{"p.csv", "", `p.csv: the first row is "", want columns that are called label and prompt`},
		{"p.csv", "label,text\ncat,a cat\n", `p.csv: the first row is "label,text", want columns`},
		{"p.csv", "label,prompt\ncat,a cat\ndog\n", "p.csv: line 3 has 1 fields, the first line has 2"},
		{"p.csv", "label,prompt\ncat,a cat\n,a dog\n", "p.csv: line 3: the label is empty"},
		{"p.jsonl", "cat", "p.jsonl: line 1: want an object with label and prompt"},
		{"p.jsonl", `{"label":"cat"}`, `has no label and prompt`},
		{"p.jsonl", `{"label":"cat","prompt":[]}`, "p.jsonl: line 1: the prompt is [], want a text or a list of texts"},
		{"p.jsonl", `{"label":"cat","prompt":null}`, `line 1: the prompt of the label "cat" is empty`},
		{"p.jsonl", `{"label":"cat","prompt":3}`, "the prompt is 3, want"},
	} {
		if _, err := ReadPrompts(c.name, []byte(c.text)); !errors.Is(err, clip.ErrRequest) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %q: error %v, want %q", c.name, c.text, err, c.want)
		}
	}
}

// TestReadPromptsTable: a .csv is read as finetune's tables are, by Python's csv.
func TestReadPromptsTable(t *testing.T) {
	want := []Label{{"6\" pipe", []string{"a \"pipe\",\nof iron", "Big pipe"}}, {"cat", []string{"a \"cat\""}}}
	for _, text := range []string{
		"\ufefflabel,prompt\n6\" pipe,\"a \"\"pipe\"\",\nof iron\"\n\n6\" pipe,\"Big\" pipe\ncat,a \"cat\"",
		"label,prompt\r\n6\" pipe,\"a \"\"pipe\"\",\nof iron\"\r\n\"6\"\" pipe\",\"Big\" pipe\r\ncat,a \"cat\"\r\n",
		"prompt,label\r\"a \"\"pipe\"\",\nof iron\",6\" pipe\rBig pipe,6\" pipe\ra \"cat\",cat\r",
		"label\tprompt\n6\" pipe\t\"a \"\"pipe\"\",\nof iron\"\n6\" pipe\tBig pipe\ncat\ta \"cat\"\n",
	} {
		if got, err := ReadPrompts("p.csv", []byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"label,prompt\ncat,\"a cat\ndog,a dog\n":      "p.csv: line 2: a quote opens a field and is never closed",
		"label,prompt\ncat,\"a\ncat\" asleep\n":       "p.csv: line 2: a quote opens a field, closes on line 3, and text follows there",
		"label,prompt\ncat,\"a\ncat\",x\ndog,a dog\n": "p.csv: lines 2 to 3 have 3 fields, the first line has 2",
	} {
		if _, err := ReadPrompts("p.csv", []byte(text)); !errors.Is(err, clip.ErrRequest) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

// FuzzReadPrompts: what is read has no empty label or prompt and none twice, and is the same when it is written and read again.
func FuzzReadPrompts(f *testing.F) {
	for i, text := range []string{"cat\ta cat\ncat\tx", "label,prompt\ncat,\"a, cat\"\n", `{"label":"cat","prompt":["a","b"]}`, "\ufeff\n\t", "'a {}',"} {
		f.Add(i%3, []byte(text))
	}
	f.Fuzz(func(t *testing.T, kind int, text []byte) {
		if template, err := ReadTemplate(string(text)); err == nil && template != "" && !strings.Contains(template, Place) {
			t.Errorf("the template %q", template)
		}
		labels, err := ReadPrompts([]string{"p.txt", "p.csv", "p.jsonl"}[uint(kind)%3], text)
		if err != nil {
			if !errors.Is(err, clip.ErrRequest) {
				t.Errorf("error %v", err)
			}
			return
		}
		if err := check(labels, []string{Place}, true); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, l := range labels {
			if strings.ContainsAny(l.Name+strings.Join(l.Prompts, ""), "\t\r\n") {
				return
			}
			for _, p := range l.Prompts {
				fmt.Fprintf(&b, "%s\t%s\n", l.Name, p)
			}
		}
		again, err := ReadPrompts("p.txt", []byte(b.String()))
		if err != nil || !slices.EqualFunc(again, labels, func(a, b Label) bool { return a.Name == b.Name && slices.Equal(a.Prompts, b.Prompts) }) {
			t.Errorf("%q: read again as %v, %v, want %v", text, again, err, labels)
		}
	})
}
