package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// TestJSON: what a verb says in JSON is one object, or an object a line, with these names, on which scripts rely, and nothing else is on standard output.
func TestJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "caf\xe9")
	if err := os.Mkdir(dir, 0o777); err != nil {
		dir = t.TempDir() // other systems refuse such a name
	}
	pictures := filepath.Join(dir, "pictures")
	if err := os.Rename(colours(t, 4), pictures); err != nil {
		t.Fatal(err)
	}
	picture := filepath.Join(pictures, "red", "00.png")
	at := func(name string) string { return filepath.Join(dir, name) }
	llava := golden.Path(t, "testdata/families/llava")
	run := func(args ...string) {
		t.Helper()
		vitago(args...).want(t, exitDone, []string{""}, []string{""})
	}
	run("finetune", "--model", "builtin:demo", "--data", pictures, "--out", at("tuned"), "--recipe", "probe", "--split", "0.5")
	for _, c := range []struct{ line, names string }{
		{"version --json", "bf16 bf16_pays cpu_features go int8 int8_pays kernel kernels platform threads version"},
		{"models --json", "models unsupported"},
		{"models --json ViT-B/32", "models unsupported"},
		{"demo --json", "alike looks model parameters pictures queries"},
		{"download --list --json", "files"},
		{"inspect --json builtin:demo", "config container dialect"},
		{"compare --json builtin:demo builtin:demo", "tensors"},
		{"convert --json builtin:demo OUT/converted", "bytes config container dialect dir dtypes excused files language_model parameters sha256 source tensors text_left"},
		{"inspect --json OUT/converted", "path"},
		{"compare --json OUT/converted OUT/converted", "a b"},
		{"convert --json OUT/converted OUT/again", "source"},
		{"export --json OUT/converted OUT/exported.safetensors --to openclip", "bytes form parameters source tensors written"},
		{"export --json OUT/tuned OUT/head.csv --to head-csv", "bytes classes form numbers reads source written"},
		{"encode --model builtin:demo PICTURE", "embedding image"},
		{"encode --shards --model builtin:demo -o OUT/dataset PICTURES", ""},
		{"encode --shards --model builtin:demo -o OUT/dataset PICTURES --resume", ""}, // it is the same dataset
		{"status --json OUT/dataset", ""},
		{"verify-shards --json OUT/dataset", ""},
		{"merge --json -o OUT/merged OUT/dataset", ""},
		{"tokens --model LLAVA --count --json PICTURE", "height image tokens width"},
		{"index --json --index OUT/index --model builtin:demo PICTURES", ""},
		{"search --json --index OUT/index --top 1 stars", "cosine image"},
		{"classify --json --labels stars,circle PICTURE", "image labels"},
		{"explain --json --text stars PICTURE", ""},
		{"eval --json --model OUT/tuned PICTURES", "accuracy classes confusion pictures"},
		{"verify --json", ""},
		{"finetune --json --model builtin:demo --data PICTURES --out OUT/probe --recipe probe --split 0.5", "measure model recipe report score seconds skipped"},
		{"finetune --json --dry-run --model builtin:demo --data PICTURES --out OUT/dry --recipe lora --split 0.5", "classes epochs pictures pictures_per_step seconds steps validation"},
		{"finetune --json --model builtin:demo --data PICTURES --out OUT/lora --recipe lora --epochs 1 --split 0.5", "adapter before measure model recipe report score seconds skipped step steps"},
		{"finetune --json --model builtin:demo --data PICTURES --out OUT/lora --recipe lora --epochs 2 --split 0.5 --resume", "adapter"},
		{"finetune --json --model builtin:demo --data PICTURES --out OUT/sweep --recipe lora --epochs 1 --split 0.5 --sweep rank=1,2", "model report runs"},
		{"finetune --json --model builtin:demo --data PICTURES --out OUT/sweep --recipe lora --epochs 1 --split 0.5 --sweep rank=1,2 --resume", "runs"},
		{"finetune recipes --json", "about betas learns name overrides schedule"},
		{"serve --model demo=builtin:demo --check --json", "listen max-body models"},
	} {
		args := strings.Fields(strings.NewReplacer("PICTURES", pictures, "PICTURE", picture, "OUT", dir, "LLAVA", llava).Replace(c.line))
		r := vitago(args...)
		if r.status != exitDone {
			t.Errorf("%s: status %d, %.300s", c.line, r.status, r.err)
			continue
		}
		if strings.Contains(r.out, `\ufffd`) {
			t.Errorf("%s: has lost a byte of a name: %.500s", c.line, r.out)
		}
		d := json.NewDecoder(strings.NewReader(r.out))
		for d.More() {
			var v any
			if err := d.Decode(&v); err != nil {
				t.Errorf("%s: %v: %.200s", c.line, err, r.out)
				break
			}
			if all, ok := v.([]any); ok && len(all) > 0 {
				v = all[0]
			}
			object, ok := v.(map[string]any)
			if !ok {
				t.Errorf("%s: is no object: %.200s", c.line, r.out)
				break
			}
			for _, name := range strings.Fields(c.names) {
				if _, ok := object[name]; !ok {
					t.Errorf("%s: has no %q: %q", c.line, name, slices.Sorted(maps.Keys(object)))
				}
			}
		}
	}
}

// TestJSONTable: docs/cli.md says of every verb what it writes for scripts.
func TestJSONTable(t *testing.T) {
	_, table, _ := strings.Cut(page(t, "docs/cli.md"), "| verb | for scripts |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, verb := range verbs(newRoot(nil, nil, nil)) {
		name := verbName(verb)
		if name == "man" {
			continue
		}
		row := ""
		for line := range strings.Lines(table) {
			if strings.Contains(line, "`"+name+"`") || strings.Contains(line, "`"+name+" ") {
				row = line
			}
		}
		if has := verb.Flags().Lookup("json") != nil; row == "" || has && !strings.Contains(row, "--json") {
			t.Errorf("%s: its row is %q; it has --json: %v", name, row, has)
		}
	}
}

// TestTokensCountName: a byte of a name that is no UTF-8 is in JSON as Python has it, as with other verbs.
func TestTokensCountName(t *testing.T) {
	name := filepath.Join(t.TempDir(), "caf\xe9.png")
	if err := os.Rename(filepath.Join(colours(t, 1), "red", "00.png"), name); err != nil {
		t.Skip(err) // other systems refuse such a name
	}
	vitago("tokens", "--model", golden.Path(t, "testdata/families/llava"), "--count", "--json", name).want(t, exitDone, []string{`caf\udce9.png"`}, []string{""})
}
