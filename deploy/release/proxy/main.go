// Proxy writes a module as a proxy of modules has it, of the commit that a repository has checked out.
//
//	go run ./proxy REPOSITORY FOLDER MODULE VERSION
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: proxy REPOSITORY FOLDER MODULE VERSION")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], module.Version{Path: os.Args[3], Version: os.Args[4]}); err != nil {
		log.Fatal(err)
	}
}

// write writes the files of FOLDER/MODULE/@v.
// Source: the Go project, go.dev/ref/mod, "GOPROXY protocol".
func write(repository, folder string, m module.Version) error {
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	dir := filepath.Join(folder, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	packed, err := os.Create(filepath.Join(dir, m.Version+".zip"))
	if err != nil {
		return err
	}
	defer packed.Close()
	if err := zip.CreateFromVCS(packed, m, repository, "HEAD", ""); err != nil {
		return err
	}
	if err := packed.Close(); err != nil {
		return err
	}
	gomod, err := os.ReadFile(filepath.Join(repository, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": m.Version, "Time": time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{m.Version + ".mod": gomod, m.Version + ".info": info, "list": []byte(m.Version + "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			return err
		}
	}
	return nil
}
