package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/pages"
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
		var file configFile
		if parseYAML(b, &file) != nil || file.check("file", root) != nil {
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

// TestSettingsPage: the file that docs/cli.md shows has sections and flags that there are.
func TestSettingsPage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vitago.yaml")
	for _, b := range pages.Blocks("docs/cli.md", page(t, "docs/cli.md")) {
		if b.Language != "yaml" {
			continue
		}
		if err := os.WriteFile(file, []byte(b.Text), 0o600); err != nil {
			t.Fatal(err)
		}
		vitago("version", "--json", "--config", file).want(t, exitDone, []string{`"threads": 4`}, nil)
		return
	}
	t.Error("docs/cli.md shows no file")
}
