package tasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vitago/vitago/internal/hub"
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

// Variables for the tests.
var (
	stall = time.Minute // how long a download may pause
	again = time.Second // after that it tries a second time
)

// A fetcher brings the files of a model into its directory.
type fetcher struct {
	dir, model string
	policy     DownloadPolicy
	client     *hub.Client
}

func newFetcher(conf *Config) fetcher {
	c := hub.New()
	c.Token = cmp.Or(conf.HubAccessToken, c.Token)
	c.Overwrite = true // what is there is asked for only if it is no good
	c.Idle, c.Wait = stall, again
	return fetcher{
		dir:    conf.FullModelPath(),
		model:  filepath.ToSlash(conf.ModelName),
		policy: conf.DownloadPolicy,
		client: c,
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
	if !hub.IsID(f.model) {
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
		from := hub.File{Name: name, URL: f.client.FileURL(f.model, hub.Revision, name), Size: -1}
		_, _, err := f.client.Fetch(context.Background(), from, f.dir)
		var status *hub.StatusError
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, hub.ErrNotFound):
			if errors.As(err, &status) && (status.Code == http.StatusUnauthorized || status.Code == http.StatusForbidden) {
				err = fmt.Errorf("%w, or HubAccessToken", err)
			}
			return fmt.Errorf("tasks: %s: %w", f.model, err)
		}
		tried = append(tried, name)
	}
	if file.Optional {
		return nil
	}
	return fmt.Errorf("tasks: downloading %s of %s from %s: %w on the hub", strings.Join(tried, " or "), f.model, f.client.Endpoint, hub.ErrNotFound)
}

// emptyFiles returns the names of the files in a directory that have no content.
func emptyFiles(dir string) map[string]bool {
	names := map[string]bool{}
	entries, _ := os.ReadDir(dir) // a directory that cannot be read has none
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			names[e.Name()] = true
		}
	}
	return names
}

// tidy removes what cybertron's downloader leaves in a directory when it fails: an empty file, which it
// would take for a downloaded one the next time. Those that were empty before stay.
func tidy(dir string, before map[string]bool) {
	for name := range emptyFiles(dir) {
		if !before[name] {
			os.Remove(filepath.Join(dir, name))
		}
	}
}
