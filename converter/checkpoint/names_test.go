package checkpoint

import (
	"io"
	"strings"
	"testing"
)

// TestNamesNotUTF8: what neither format can have is refused, not replaced.
func TestNamesNotUTF8(t *testing.T) {
	e := Entry{Name: "caf\xe9", DType: F32, Shape: []int{1}}
	const want = `the name "caf\xe9" is not UTF-8`
	if _, err := NewNPZWriter(io.Discard).Create(e); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("npz: error %v", err)
	}
	if _, err := SafetensorsHeader(nil, []Entry{e}, 0); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("safetensors: error %v", err)
	}
	if _, err := SafetensorsHeader(map[string]string{"a": "\xff"}, nil, 0); err == nil || !strings.HasSuffix(err.Error(), `metadata "a": "\xff" is not UTF-8`) {
		t.Errorf("metadata: error %v", err)
	}
}
