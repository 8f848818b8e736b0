package pillow

import (
	"bytes"
	"strings"
	"testing"
)

// TestFormats: what is not decoded is refused by its name.
func TestFormats(t *testing.T) {
	for head, want := range map[string]string{
		"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00avifmif1miafMA1B": "AVIF",
		"\x00\x00\x00\x1cftypavis\x00\x00\x00\x00avismsf1miaf":     "AVIF",
		"\x00\x00\x00\x20ftypmif1\x00\x00\x00\x00mif1avifmiafMA1B": "AVIF",
		"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic":         "HEIC",
		"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic":         "HEIC",
		"\x00\x00\x00\x10ftypmif1\x00\x00\x00\x00":                 "HEIC",
		"\xff\x0a\xfa\x1f": "JPEG XL",
		"\x00\x00\x00\x0cJXL \r\n\x87\n\x00\x00\x00\x14ftypjxl ":        "JPEG XL",
		"\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00\x00\x14ftypjp2 ":        "JPEG 2000",
		"\xff\x4f\xff\x51\x00\x2f":                                      "JPEG 2000",
		"8BPS\x00\x01":                                                  "PSD",
		"<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/": "SVG",
		"%PDF-1.7\n":                                       "PDF",
		"II*\x00\x10\x00\x00\x00CR\x02\x00":                "camera raw",
		"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom": "camera raw",
		"v/1\x01\x02\x00\x00\x00":                          "OpenEXR",
	} {
		f, ok := FormatOf([]byte(head))
		if !ok || f.Name != want || f.Decodes {
			t.Errorf("%q: format %q, decoded %t, want %q", head, f.Name, f.Decodes, want)
		}
		_, err := Decode(strings.NewReader(head))
		if text := "pillow: " + want + " is not supported, convert the file to PNG or JPEG first"; err == nil || err.Error() != text {
			t.Errorf("%q: error %v, want %q", head, err, text)
		}
		if _, _, err := Size(strings.NewReader(head)); err == nil {
			t.Errorf("%q: no error of Size", head)
		}
	}
	for head, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a": "git lfs pull",
		"<!DOCTYPE html><html>":                            "not an image: the file starts with \"<!DOCTYPE html>",
		"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom": "not an image",
	} {
		if _, err := Decode(strings.NewReader(head)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", head, err, want)
		}
	}
	for name, data := range readZip(t, "files.zip") {
		ending := name[strings.LastIndexByte(name, '.')+1:]
		f, ok := FormatOfEnding(strings.ToUpper(ending))
		g, known := FormatOf(data[:min(512, len(data))])
		if name == "odd-junk-before-0.jpg" {
			continue // Pillow does not know it either
		}
		if !ok || !known || f.Name != g.Name || !f.Decodes || !bytes.Equal([]byte(ending), []byte(strings.ToLower(ending))) {
			t.Errorf("%s: format %q by its name, %q by its bytes", name, f.Name, g.Name)
		}
	}
	if f, ok := FormatOfEnding("HEIC"); !ok || f.Decodes || f.Name != "HEIC" {
		t.Errorf("HEIC: %v, %t", f, ok)
	}
	if f, ok := FormatOfEnding("txt"); ok {
		t.Errorf("txt: %v", f)
	}
}
