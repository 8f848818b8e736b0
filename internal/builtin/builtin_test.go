package builtin

import (
	"testing"
	"testing/fstest"
)

func TestRegister(t *testing.T) {
	files := fstest.MapFS{"config.json": {Data: []byte("{}")}}
	Register("builtin:test", files)
	t.Cleanup(func() { delete(models, "builtin:test") })
	if got, ok := Find("builtin:test"); !ok || got == nil {
		t.Errorf("%v %v, want the files", got, ok)
	}
	if got, ok := Find("builtin:other"); ok {
		t.Errorf("%v, want none", got)
	}
	for _, name := range []string{"builtin:test", "test"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q: no panic", name)
				}
			}()
			Register(name, files)
		}()
	}
}
