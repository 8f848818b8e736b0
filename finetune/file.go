package finetune

import "github.com/vitago/vitago/internal/folder"

// writeFile writes a file as a whole and returns when it lies on the disk.
func writeFile(path string, content []byte) error {
	return folder.Prefix("finetune", folder.WriteBytes(path, content))
}

// writeDir has fill write the files of a new directory, which then gets the name dir: it appears complete
// or not at all. What had the name is removed when the new one is whole.
func writeDir(dir string, fill func(tmp string) error) error {
	return folder.Prefix("finetune", folder.WriteDir(dir, true, fill))
}
