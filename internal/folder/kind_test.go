package folder

import (
	"strings"
	"testing"
)

func TestKind(t *testing.T) {
	for begin, want := range map[string]string{
		"": "empty", "\xff\xd8\xff\xe0\x00\x10JFIF": "a JPEG picture", "RIFF\x10\x00\x00\x00WEBPVP8 ": "a WebP picture",
		"<!DOCTYPE html>\n<html>": "an HTML page", " \n<HTML lang=en>": "an HTML page", "\ufeff<html>": "an HTML page", "<?xml version=\"1.0\"?>": "a page of XML",
		`{"error":"Repository not found"}`: `JSON that begins with "{\"error\"`, "[1, 2]": "JSON", "hello\n": `text that begins with "hello"`, "\x00\x00\x00\x00": "zeros alone",
		"version https://git-lfs.github.com/spec/v1\n": "a pointer of Git LFS", "PK\x03\x04": "a zip archive", strings.Repeat("a", 510) + "\xc3": "text",
	} {
		if got := Kind([]byte(begin)); !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %q, want %q", begin, got, want)
		}
	}
	for _, begin := range []string{"\xb8(\x00\x00\x00\x00\x00\x00{\"__meta", "\x80\x02}q", "a\x00b", "\xff\xfeh\x00", "RIFF"} {
		if got := Kind([]byte(begin)); got != "" && begin != "RIFF" {
			t.Errorf("%q: got %q, want nothing", begin, got)
		}
	}
}

func FuzzKind(f *testing.F) {
	f.Add([]byte("<html>"))
	f.Add([]byte("\ufeff{"))
	f.Fuzz(func(t *testing.T, begin []byte) {
		if got := Kind(begin); strings.Contains(got, "\n") {
			t.Errorf("%q: got two lines, %q", begin, got)
		}
	})
}
