package job

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vitago/vitago/finetune"
)

// TestDefaults: what a recipe has a default for may be given, and nothing else may.
func TestDefaults(t *testing.T) {
	for _, p := range finetune.Recipes {
		o, err := Defaults(p.Name)
		if err != nil {
			t.Fatal(err)
		}
		r := Request{Model: "model", Data: "data", Recipe: p.Name, Output: filepath.Join(t.TempDir(), "out"), Split: 0.1}
		if p.Name == "probe" {
			r.Solver = AdamW
		}
		if p.Projector {
			r.Teacher = "teacher"
		}
		r.Overrides = o
		if err := r.Check(); err != nil {
			t.Errorf("%s with its own defaults: %v", p.Name, err)
		}
		v := reflect.ValueOf(o)
		for i := range v.NumField() {
			if !v.Field(i).IsNil() {
				continue
			}
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			other := r
			other.Overrides = Overrides{}
			f := reflect.ValueOf(&other.Overrides).Elem().Field(i)
			switch f.Interface().(type) {
			case *int:
				f.Set(reflect.ValueOf(new(1)))
			case *float64:
				f.Set(reflect.ValueOf(new(0.5)))
			default:
				f.Set(reflect.ValueOf([]string{"fc1"}))
			}
			if err := other.Check(); !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "overrides."+name) {
				t.Errorf("%s has no default of %s, and a run may have it: %v", p.Name, name, err)
			}
		}
	}
	if _, err := Defaults("nope"); !errors.Is(err, ErrRequest) {
		t.Error(err)
	}
}
