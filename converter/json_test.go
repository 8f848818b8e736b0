package converter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJSONOfPython: a config.json has what Python's json writes. A number that is none is an error where it is wanted,
// which names the key, and else none.
func TestJSONOfPython(t *testing.T) {
	for _, c := range []struct{ file, old, new, err string }{
		{configFile, `{`, `{"loss": NaN, "nested": {"a": 1, "a": 2}, "best": {"metric": -Infinity, "step": 1e999},`, ""},
		{configFile, `{`, "\ufeff{", ""},
		{configFile, `{`, `{"hidden_size": 12345, "nested": {"a": 1, "a": 2},`, ""}, // the last one counts
		{configFile, `"layer_norm_eps": 1e-05`, `"layer_norm_eps": NaN`, "config.json: layer_norm_eps is NaN, want a number"},
		{configFile, `"num_attention_heads": 1`, `"num_attention_heads": Infinity`, "config.json: num_attention_heads is Infinity, want an integer"},
		{configFile, `{`, "{\"name\": \"M\xfcller\",", "is not UTF-8"},
		{preprocessorFile, `{`, `{"loss": NaN,`, ""},
		{preprocessorFile, `0.48145466`, `NaN`, "preprocessor_config.json"},
	} {
		dir := copyDir(t, "huggingface-vision")
		path := filepath.Join(dir, c.file)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(b), c.old, c.new, 1)
		if text == string(b) {
			t.Fatalf("%s has no %s:\n%s", c.file, c.old, b)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := Open(dir)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s instead of %s: error is %v, want %q", c.new, c.old, err, c.err)
		}
		if err == nil {
			m.Close()
		}
	}
}
