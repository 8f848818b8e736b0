package tasks

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A File is one that a model needs, under one of several names.
type File struct {
	// Names are equally good, the best first: the first that the hub has is downloaded. One with
	// a * is a pattern of [filepath.Match] for files on the disk, and never downloaded.
	Names []string
	// Optional says that a model may lack the file. It is downloaded with the others, but its absence
	// alone makes no download.
	Optional bool
}

const (
	hub      = "https://huggingface.co" // Source: cybertron, pkg/downloader/downloadmodel.go
	revision = "main"
)

// stall is how long a download may pause; a variable for the tests.
var stall = time.Minute

// hubName is what the hub can have as the name of a model, with or without an owner.
var hubName = regexp.MustCompile(`^[\w-][\w.-]*(/[\w-][\w.-]*)?$`)

// errAbsent says that the hub has no such file.
var errAbsent = errors.New("the hub has no such file")

// A fetcher brings the files of a model into its directory.
type fetcher struct {
	dir, model, endpoint, token string
	policy                      DownloadPolicy
}

func newFetcher(conf *Config) fetcher {
	return fetcher{
		dir:      conf.FullModelPath(),
		model:    filepath.ToSlash(conf.ModelName),
		endpoint: cmp.Or(os.Getenv("HF_ENDPOINT"), hub),
		token:    conf.HubAccessToken,
		policy:   conf.DownloadPolicy,
	}
}

// fetch downloads those of files that the policy wants.
func (f fetcher) fetch(files ...File) error {
	switch f.policy {
	case DownloadAlways:
	case DownloadNever:
		return nil // what is missing, the model says
	case DownloadMissing:
		complete := true
		for _, file := range files {
			complete = complete && (file.Optional || f.has(file))
		}
		if complete {
			return nil
		}
	default:
		return fmt.Errorf("tasks: DownloadPolicy is %d, want %d to %d", f.policy, DownloadMissing, DownloadNever)
	}
	if !hubName.MatchString(f.model) {
		return fmt.Errorf("tasks: %s lacks files, and %q is not the name of a model on a hub, as owner/model", f.dir, f.model)
	}
	for _, file := range files {
		if f.policy == DownloadMissing && f.has(file) {
			continue
		}
		if err := f.download(file); err != nil {
			return err
		}
	}
	return nil
}

// has says whether the directory has a file under one of its names. An empty file is none:
// cybertron's downloader leaves those when it fails.
func (f fetcher) has(file File) bool {
	entries, _ := os.ReadDir(f.dir) // a directory that cannot be read has nothing
	for _, e := range entries {
		for _, name := range file.Names {
			if ok, _ := filepath.Match(name, e.Name()); !ok {
				continue
			}
			info, err := os.Stat(filepath.Join(f.dir, e.Name())) // not e.Info, for links
			if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
				return true
			}
		}
	}
	return false
}

// download gets a file under the first of its names that the hub has.
func (f fetcher) download(file File) error {
	var tried []string
	for _, name := range file.Names {
		if strings.Contains(name, "*") {
			continue
		}
		err := f.get(name)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, errAbsent):
			return fmt.Errorf("tasks: downloading %s of %s: %w", name, f.model, err)
		}
		tried = append(tried, name)
	}
	if file.Optional {
		return nil
	}
	return fmt.Errorf("tasks: downloading %s of %s from %s: %w", strings.Join(tried, " or "), f.model, f.endpoint, errAbsent)
}

// get downloads a file under this name. It appears in the directory when it is complete.
func (f fetcher) get(name string) (err error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	timer := time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing came for %v", stall)) })
	defer timer.Stop()
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
	}()

	from, err := url.JoinPath(f.endpoint, f.model, "resolve", revision, name)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	if f.token != "" {
		req.Header.Set("Authorization", "Bearer "+f.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return errAbsent
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("GET %s: status is %s, want 200: no such model, or one that needs a HubAccessToken with access", from, resp.Status)
	default:
		return fmt.Errorf("GET %s: status is %s, want 200", from, resp.Status)
	}
	if err := os.MkdirAll(f.dir, 0o777); err != nil {
		return err
	}
	return writeFile(filepath.Join(f.dir, name), watched{resp.Body, timer}, resp.ContentLength)
}

// writeFile copies all of r, which has size bytes unless size is negative, to a file that gets its
// name when it is complete and on the disk.
func writeFile(path string, r io.Reader, size int64) (err error) {
	tmp := path + "." + rand.Text()[:8] + ".partial"
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(tmp)
		}
	}()
	n, err := io.Copy(out, r)
	switch {
	case err != nil:
		return fmt.Errorf("after %d of %d bytes: %w", n, size, err)
	case n == 0 || size >= 0 && n != size:
		return fmt.Errorf("got %d bytes, want %d and at least 1", n, size)
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// A watched reader puts a timer back whenever it has read something.
type watched struct {
	io.Reader
	timer *time.Timer
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.timer.Reset(stall)
	return n, err
}
