// Archive packs a folder into an archive that is the same bytes for the same files: sorted, of nobody, and all of one time.
//
//	go run ./release/archive FOLDER OUT.tar.gz|OUT.zip SECONDS
//
// What is packed lies below a folder with the name of FOLDER; SECONDS since 1970 are the time.
package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: archive FOLDER OUT.tar.gz|OUT.zip SECONDS")
		os.Exit(2)
	}
	n, err := strconv.ParseInt(os.Args[3], 10, 64)
	if err == nil {
		err = pack(os.Args[1], os.Args[2], time.Unix(n, 0).UTC())
	}
	if err != nil {
		log.Fatal("archive: ", err)
	}
}

// A writer takes files in their order.
type writer interface {
	add(name string, info fs.FileInfo) (io.Writer, error)
	io.Closer
}

// pack writes the archive of a folder.
func pack(folder, out string, at time.Time) (err error) {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	var w writer
	switch {
	case strings.HasSuffix(out, ".tar.gz"):
		packed := gzip.NewWriter(f) // whose header has no name and no time
		w = tarWriter{tar.NewWriter(packed), packed, at}
	case strings.HasSuffix(out, ".zip"):
		w = zipWriter{zip.NewWriter(f), at}
	default:
		return fmt.Errorf("%s is to be written, want a name that ends with .tar.gz or .zip", out)
	}
	top := filepath.Base(folder)
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error { // in the order of names
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no plain file", path)
		}
		inside, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		to, err := w.add(top+"/"+filepath.ToSlash(inside), info)
		if err != nil {
			return err
		}
		from, err := os.Open(path)
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = io.Copy(to, from)
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}

// mode is that of a file in an archive, whatever the mask of who packs.
func mode(info fs.FileInfo) fs.FileMode {
	if info.Mode()&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

type tarWriter struct {
	*tar.Writer
	packed *gzip.Writer
	at     time.Time
}

func (w tarWriter) add(name string, info fs.FileInfo) (io.Writer, error) {
	return w.Writer, w.WriteHeader(&tar.Header{Name: name, Mode: int64(mode(info)), Size: info.Size(), ModTime: w.at, Format: tar.FormatUSTAR})
}

func (w tarWriter) Close() error {
	if err := w.Writer.Close(); err != nil {
		return err
	}
	return w.packed.Close()
}

type zipWriter struct {
	*zip.Writer
	at time.Time
}

func (w zipWriter) add(name string, info fs.FileInfo) (io.Writer, error) {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: w.at}
	h.SetMode(mode(info))
	return w.CreateHeader(h)
}
