package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestSettings: the command line counts before the environment, and that before the file, for flags of one verb and of all.
func TestSettings(t *testing.T) {
	picture := filepath.Join(colours(t, 1), "red", "00.png")
	file := filepath.Join(t.TempDir(), "vitago.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	classify := func(args ...string) (labels []string) {
		t.Helper()
		r := vitago(append(append([]string{"classify"}, args...), picture)...)
		r.want(t, exitDone, []string{""}, []string{""})
		var line struct{ Labels []struct{ Label string } }
		if err := json.Unmarshal([]byte(r.out), &line); err != nil {
			t.Fatalf("%v: %s", err, r.out)
		}
		for _, l := range line.Labels {
			labels = append(labels, l.Label)
		}
		return labels
	}
	wantLabels := func(got []string, want int, has string) {
		t.Helper()
		if len(got) != want || !strings.Contains(strings.Join(got, ";"), has) {
			t.Errorf("got %q, want %d with %q", got, want, has)
		}
	}
	write("classify: {labels: [red circle, 'a blue square, a green heart']}\n")
	vitago("classify", "--config", file, picture).want(t, exitFailed, nil, []string{`the label "a blue square, a green heart"`, "--labels is from "}) // one label
	write("quiet: true\nclassify:\n  labels: [red circle, blue square]\n  template: ['a {}', '{}']\n  top: 0\n  format: jsonl\n")
	wantLabels(classify("--config", file), 2, "red circle")
	t.Setenv("VITAGO_CONFIG", file)
	wantLabels(classify(), 2, "red circle")
	t.Setenv("VITAGO_CLASSIFY_LABELS", "red circle,blue square,green heart")
	wantLabels(classify(), 3, "green heart")
	wantLabels(classify("--labels", "red circle,blue circle"), 2, "blue circle")
	t.Setenv("VITAGO_CLASSIFY_TEMPLATE", "a {} in the top right corner\n{}")
	wantLabels(classify(), 3, "red circle")
	t.Setenv("VITAGO_CLASSIFY_MODEL", "builtin:demo")
	t.Setenv("VITAGO_CLASSIFY_TOP", "1")
	wantLabels(classify(), 1, "")
	t.Setenv("VITAGO_CLASSIFY_TOP", "")
	wantLabels(classify(), 3, "")
	t.Setenv("VITAGO_CLASSIFY_MODEL", "nowhere")
	vitago("classify", picture).want(t, exitFailed, nil, []string{"nowhere", "--model is from VITAGO_CLASSIFY_MODEL"})
	wantLabels(classify("--model", "builtin:demo"), 3, "")
}

// TestSettingsOfAll: --threads and --quiet have names without a verb, and verbs that do not compute leave the threads.
func TestSettingsOfAll(t *testing.T) {
	t.Setenv("VITAGO_THREADS", "1")
	vitago("version", "--json").want(t, exitDone, []string{`"threads": 1`}, nil)
	vitago("models").want(t, exitDone, []string{""}, nil)
	t.Setenv("VITAGO_THREADS", "0")
	vitago("version").want(t, exitUsage, nil, []string{"--threads is 0, want 1 to 1024; --threads is from VITAGO_THREADS"})
	t.Setenv("VITAGO_THREADS", "two")
	vitago("version").want(t, exitUsage, nil, []string{`VITAGO_THREADS: --threads is "two": want a whole number`})
	vitago("help").want(t, exitDone, []string{""}, nil)
	vitago("completion", "bash").want(t, exitDone, []string{""}, nil)
	t.Setenv("VITAGO_THREADS", "")
	t.Setenv("VITAGO_QUIET", "true")
	vitago("demo").want(t, exitDone, []string{""}, nil)
}

// TestSettingsErrors: what is wrong says where it stands.
func TestSettingsErrors(t *testing.T) {
	picture := filepath.Join(colours(t, 1), "red", "00.png")
	file := filepath.Join(t.TempDir(), "vitago.yaml")
	for text, want := range map[string]string{
		"encde: {batch: 3}":                    `unknown key "encde", want a verb, or a flag of all verbs: quiet, threads; did you mean "encode"?`,
		"max-body: 3":                          "flags of serve stand below serve",
		"models: 3":                            "models is 3, want flags",
		"models: [{name: a, path: b}]":         "want flags of the verb and their values",
		"encode: {bach: 3}":                    `encode has no flag "bach" that may stand in a file; did you mean "batch"?`,
		"encode: 3":                            "encode is 3, want flags of the verb",
		"encode: {batch: many}":                `--batch is "many": want a whole number`,
		"encode: {batch: [1, 2]}":              "encode --batch is a list, want one value",
		"encode: {batch: }":                    "encode --batch is neither a text",
		"encode: {1: 2}":                       `encode has no flag "1"`,
		"encode: {batch: {a: 1}}":              "is neither a text, a number nor true or false",
		"encode: {batch: 0}":                   "--batch is 0, want 1 to 64; --batch is from ",
		"encode: {layer: 0}":                   "patches or all; --layer is from ",
		"encode: {config: x}":                  `no flag "config"`,
		"threads: many":                        `--threads is "many"`,
		"search: {bach: 3}":                    `search has no flag "bach"`, // of another verb
		"finetune: {recipes: {jsn: true}}":     `finetune recipes has no flag "jsn"`,
		"serve: {max-bdy: 3}":                  `in serve: unknown key "max-bdy"`,
		"serve: 3":                             "as flags of serve",
		"serve: {models: [{name: a, pth: x}]}": "line 1: field pth not found in the row of a model",
		"- a":                                  "as sections of verbs",
		"a: b\n---\nc: d":                      "more than one document",
		"\t":                                   "found character that cannot start any token",
		"encode: {batch: 1, batch: 2}":         "already defined",
		"completion: {}":                       `unknown key "completion"`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := vitago("encode", "--config", file, "--model", "builtin:demo", picture)
		if r.status != exitUsage || !strings.Contains(r.err, want) || !strings.Contains(r.err, file) || strings.Contains(r.err, "main.") {
			t.Errorf("%q: status %d, %s, want %q", text, r.status, r.err, want)
		}
	}
	vitago("encode", "--config", "nowhere.yaml", "--model", "builtin:demo", picture).want(t, exitFailed, nil, []string{"--config: ", "nowhere.yaml"})
	for _, e := range []struct{ name, value, want string }{
		{"VITAGO_ENCODE_BACH", "3", `VITAGO_ENCODE_BACH is in the environment, and encode has no flag of that name that may stand there; did you mean "VITAGO_ENCODE_BATCH"?`},
		{"VITAGO_ENCODE_THREADS", "1", "that of all verbs is VITAGO_THREADS"},
		{"VITAGO_ENCODE_CONFIG", "x", "that of all verbs is VITAGO_CONFIG"},
		{"VITAGO_ENCODE_BATCH", "many", `VITAGO_ENCODE_BATCH: --batch is "many": want a whole number`},
		{"VITAGO_ENCODE_BATCH", "0", "--batch is 0, want 1 to 64; --batch is from VITAGO_ENCODE_BATCH"},
		{"VITAGO_ENCODE_FEATURES", "clss", `did you mean "cls"?`},
		{"VITAGO_ENCODE_CAPTIONS", "true", "--captions is from VITAGO_ENCODE_CAPTIONS"}, // would do nothing without --shards
		{"VITAGO_CONFIG", "nowhere.yaml", "VITAGO_CONFIG: "},
	} {
		t.Run(e.name+"="+e.value, func(t *testing.T) {
			t.Setenv(e.name, e.value)
			r := vitago("encode", "--model", "builtin:demo", picture)
			if r.status == exitDone || !strings.Contains(r.err, e.want) {
				t.Errorf("status %d, %s, want %q", r.status, r.err, e.want)
			}
		})
	}
}

// TestSettingsOfOthers: what is of other verbs, or of Kubernetes, is no mistake.
func TestSettingsOfOthers(t *testing.T) {
	for name, value := range map[string]string{
		"VITAGO_VERIFY_SHARDS_JSON": "true", "VITAGO_FINETUNE_RECIPES_JSON": "true", "VITAGO_VERIFY_PORT": "tcp://10.0.0.1:8080", "VITAGO_VERIFY_SERVICE_HOST": "10.0.0.1", "VITAGO_VERIFY_PORT_8080_TCP": "x",
		"VITAGO_ENCODE_NONSENSE": "3",
	} {
		t.Setenv(name, value)
	}
	vitago("verify").want(t, exitDone, []string{""}, []string{""})
	vitago("finetune", "recipes", "lora").want(t, exitDone, []string{`"rank"`}, nil)
	vitago("finetune").want(t, exitUsage, nil, []string{"--model is missing"})
}

// TestSettingsServe: serve has the section of the file for all, and its own file in the place of that.
func TestSettingsServe(t *testing.T) {
	dir := t.TempDir()
	all, own := filepath.Join(dir, "vitago.yaml"), filepath.Join(dir, "serve.yaml")
	for path, text := range map[string]string{
		all: "encode: {batch: 3}\nserve:\n  models: [{name: a, path: 'builtin:demo'}]\n  max-items: 7\n",
		own: "models: [{name: b, path: 'builtin:demo'}]\nmax-items: 9\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vitago("serve", "--config", all, "--check").want(t, exitDone, []string{"name: a", "max-items: 7\n"}, nil)
	t.Setenv("VITAGO_CONFIG", all)
	vitago("serve", "--check").want(t, exitDone, []string{"name: a", "max-items: 7\n"}, nil)
	vitago("serve", "--config", own, "--check").want(t, exitDone, []string{"name: b", "max-items: 9\n"}, nil)
	t.Setenv("VITAGO_SERVE_CONFIG", own)
	t.Setenv("VITAGO_SERVE_MAX_ITEMS", "8")
	vitago("serve", "--check").want(t, exitDone, []string{"name: b", "max-items: 8\n"}, nil)
	t.Setenv("VITAGO_SERVE_MAX_ITMS", "8")
	vitago("serve", "--check").want(t, exitUsage, nil, []string{`did you mean "VITAGO_SERVE_MAX_ITEMS"?`})
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("threads: 2\nencode: {batch: 3}\nserve: {models: [{name: a, path: b}]}\n"))
	f.Add([]byte(`{"finetune":{"recipes":{"json":true}}}`))
	f.Add([]byte("a: &x [1, *x]\n"))
	root := newRoot(strings.NewReader(""), nil, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parseConfig(b)
		if err != nil || file.check("file", root) != nil {
			return
		}
		for _, verb := range everyVerb(root) {
			for name, v := range file.of(verb) {
				if flag := verb.Flags().Lookup(name); flag != nil {
					_, _ = fileValues(flag, v)
				}
			}
		}
	})
}

// TestSettingsRivals: of flags that a command line does not have together, the one that stands nearer counts.
func TestSettingsRivals(t *testing.T) {
	picture := filepath.Join(colours(t, 1), "red", "00.png")
	dir := t.TempDir()
	file, lines := filepath.Join(dir, "vitago.yaml"), filepath.Join(dir, "labels.txt")
	for path, text := range map[string]string{file: "classify: {json: true, labels-file: nowhere.txt}\nexplain: {class: [nothing]}\n", lines: "red circle\nblue square\ngreen heart\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("VITAGO_CLASSIFY_LABELS", "red circle,blue square")
	rows := func(want int, begins string, args ...string) {
		t.Helper()
		r := vitago(append([]string{"classify", "--quiet", picture}, args...)...)
		r.want(t, exitDone, []string{begins}, nil)
		if n := strings.Count(strings.TrimSpace(r.out), "\n"); n != want || !strings.HasPrefix(r.out, begins) {
			t.Errorf("%q: %d lines below the first, want %d: %s", args, n, want, r.out)
		}
	}
	rows(3, "image,rank,", "--format", "csv", "--labels-file", lines) // the command line before the environment
	rows(2, "image,rank,", "--format", "csv", "--config", file)       // the environment before the file, and the command line
	t.Setenv("VITAGO_CLASSIFY_JSON", "true")
	rows(2, "image,rank,", "--format", "csv")
	rows(0, "{", "--json")
	t.Setenv("VITAGO_CLASSIFY_JSON", "false") // which displaces nothing
	t.Setenv("VITAGO_CLASSIFY_FORMAT", "csv")
	rows(2, "image,rank,")
	rows(0, "{", "--json")
	t.Setenv("VITAGO_CLASSIFY_LABELS_FILE", lines) // both in one place
	vitago("classify", picture).want(t, exitUsage, nil, []string{"--labels and --labels-file: give one of them", "--labels is from VITAGO_CLASSIFY_LABELS", "--labels-file is from VITAGO_CLASSIFY_LABELS_FILE"})
	vitago("explain", "--config", file, "--text", "a circle", "--quiet", picture).want(t, exitDone, []string{"a circle: cosine"}, nil)

	t.Setenv("VITAGO_SEARCH_DUPLICATES", "0.9")
	t.Setenv("VITAGO_SEARCH_INDEX", filepath.Join(dir, "nowhere"))
	vitago("search", "a circle").want(t, exitFailed, nil, []string{"nowhere"})
	t.Setenv("VITAGO_SEARCH_DUPLICATES", "")
	t.Setenv("VITAGO_SEARCH_TOP", "3")
	vitago("search", "--duplicates", "0.9").want(t, exitFailed, nil, []string{"nowhere"})
}

// TestRivals: each flag among rivals is one of their verbs, and two of them are refused on one command line.
func TestRivals(t *testing.T) {
	root := newRoot(strings.NewReader(""), io.Discard, io.Discard)
	for _, r := range rivals {
		n := 0
		for _, cmd := range everyVerb(root) {
			if r.verbs != nil && !slices.Contains(r.verbs, verbName(cmd)) {
				continue
			}
			has := func(name string) bool { return name == arguments || cmd.Flags().Lookup(name) != nil }
			if all := slices.Concat(r.sides[0], r.sides[1]); r.verbs != nil && slices.ContainsFunc(all, func(name string) bool { return !has(name) }) {
				t.Errorf("%s has not all of %q", verbName(cmd), all)
			}
			if slices.ContainsFunc(r.sides[0], has) && slices.ContainsFunc(r.sides[1], has) {
				n++
			}
		}
		if n == 0 {
			t.Errorf("no verb has %v", r.sides)
		}
	}
}

// TestSettingsLiterally: a value in the file is the text that stands there, whatever YAML takes it for.
func TestSettingsLiterally(t *testing.T) {
	const text = `
x: &x {bias: 1.50, labels: [1.10, 007, "0x10", 0x10, 2024-01-01, True, 1e3, ~, "a, b"]}
classify: {<<: *x, bias: 0.250}
eval: {<<: [*x], template: &t 1.0}
finetune: {recipes: {json: TRUE}}
serve: {origin: [1.0], host: *t, models: [{name: 1.0, path: 2}]}
`
	file, err := parseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	labels := []any{"1.10", "007", "0x10", "0x10", "2024-01-01", "True", "1e3", nil, "a, b"}
	want := map[string]any{
		"x":        map[string]any{"bias": "1.50", "labels": labels},
		"classify": map[string]any{"bias": "0.250", "labels": labels},
		"eval":     map[string]any{"bias": "1.50", "labels": labels, "template": "1.0"},
		"finetune": map[string]any{"recipes": map[string]any{"json": "TRUE"}},
	}
	if got := valuesOf(file.Rest); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := valuesOf(file.Serve.Flags), map[string]any{"origin": []any{"1.0"}, "host": "1.0"}; !reflect.DeepEqual(got, want) || file.Serve.Models[0].Name != "1.0" {
		t.Errorf("of serve: got %v, want %v; models %v", got, want, file.Serve.Models)
	}
	own, err := parseServeFile([]byte("host: [1.10, 007]\nmax-items: 7\n"))
	if want := map[string]any{"host": []any{"1.10", "007"}, "max-items": "7"}; err != nil || !reflect.DeepEqual(valuesOf(own.Flags), want) {
		t.Errorf("of serve's own file: got %v, want %v: %v", own.Flags, want, err)
	}
}

// TestSettingsForms: a file may be empty, have empty sections and the marks of Windows; it is no device without an end.
func TestSettingsForms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vitago.yaml")
	for text, threads := range map[string]string{
		"": "", "# nothing\n": "", "encode:\n  # batch: 3\nthreads: 3\nserve:\n": "3", "\xef\xbb\xbfencode:\r\n  batch: 2\r\nthreads: 3\r\n": "3", `{"threads": 3}`: "3",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		want := []string{`"threads": ` + threads}
		vitago("version", "--json", "--config", file).want(t, exitDone, want, nil)
		t.Setenv("VITAGO_CONFIG", file)
		vitago("version", "--json").want(t, exitDone, want, nil)
		t.Setenv("VITAGO_CONFIG", "")
	}
	if err := os.WriteFile(file, make([]byte, mostSettings+1), 0o600); err != nil {
		t.Fatal(err)
	}
	vitago("version", "--config", file).want(t, exitUsage, nil, []string{file + " has more than 16 MiB"})
	vitago("serve", "--check", "--config", file).want(t, exitUsage, nil, []string{file + " has more than 16 MiB"})
	vitago("version", "--config", filepath.Dir(file)).want(t, exitFailed, nil, []string{"--config: ", "directory"})
	t.Setenv("VITAGO_CONFIG", "nowhere.yaml")
	r := vitago("version")
	r.want(t, exitFailed, nil, []string{"VITAGO_CONFIG: open nowhere.yaml"})
	vitago("__complete", "enc").want(t, exitDone, []string{"encode"}, []string{""}) // a shell completes whatever stands elsewhere
}
