// Package builtin knows the model directories that are part of the program, by names such as "builtin:demo".
package builtin

import (
	"fmt"
	"io/fs"
	"strings"
)

// Prefix begins the names. No path that is meant begins so.
const Prefix = "builtin:"

var models = map[string]fs.FS{}

// Register makes the files of a model directory known by a name. It is for init functions, and panics if the name is another's, or has
// no [Prefix].
func Register(name string, files fs.FS) {
	if _, twice := models[name]; twice || !strings.HasPrefix(name, Prefix) {
		panic(fmt.Sprintf("builtin: %q is taken, or does not begin with %q", name, Prefix))
	}
	models[name] = files
}

// Find returns the files of a name.
func Find(name string) (files fs.FS, ok bool) {
	files, ok = models[name]
	return files, ok
}
