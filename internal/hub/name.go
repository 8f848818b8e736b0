package hub

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

const (
	partialSuffix = ".partial"
	stateSuffix   = ".partial.json"
	lockSuffix    = ".partial.lock"
)

// device is what Windows takes for a device, whatever follows the first dot.
// Source: Microsoft, "Naming Files, Paths, and Namespaces".
var device = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)`)

// local returns the path of a file below dir. Names come from servers: one that leads elsewhere, or
// would on another system, is an error on all of them.
func local(dir, name string) (string, error) {
	const maxElement, maxName = 255 - len(lockSuffix), 1024 // bytes; what file systems take
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("hub: %.100q is no name for a file: %s", name, why)
	}
	switch {
	case !fs.ValidPath(name) || name == ".":
		return bad("want a path below the model's directory")
	case len(name) > maxName:
		return bad(fmt.Sprintf("it has %d bytes, want at most %d", len(name), maxName))
	case strings.ContainsAny(name, `\:*?"<>|`) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return bad(`it has one of \ : * ? " < > | or what cannot be printed`)
	}
	for _, e := range strings.Split(name, "/") {
		lower := strings.ToLower(e)
		switch {
		case len(e) > maxElement:
			return bad(fmt.Sprintf("a part has %d bytes, want at most %d", len(e), maxElement))
		case strings.HasSuffix(e, ".") || strings.HasSuffix(e, " ") || device.MatchString(e):
			return bad("Windows has another meaning for it")
		case lower == ".git":
			return bad("git would take it for a repository")
		case strings.HasSuffix(lower, partialSuffix) || strings.HasSuffix(lower, stateSuffix) || strings.HasSuffix(lower, lockSuffix):
			return bad("files that are being downloaded have such names")
		}
	}
	return filepath.Join(dir, filepath.FromSlash(name)), nil
}

// Unfinished says whether a download of the file path, or of files of the directory path, has begun and not ended.
func Unfinished(path string) bool {
	if _, err := os.Lstat(path + partialSuffix); err == nil {
		return true
	}
	found := false
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(name, partialSuffix) {
			found = true
			return fs.SkipAll
		}
		return err
	})
	return err == nil && found
}
