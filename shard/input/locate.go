package input

import (
	"context"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vitago/vitago/shard/store"
)

// stores are the stores that are open, by their locations: one a bucket, and one a folder of this machine.
type stores struct {
	mu   sync.Mutex
	open map[string]store.Store
}

// An access is how files are got at: with a context, and by stores.
type access struct {
	ctx    context.Context
	stores stores
}

// maxStores is how many stores are kept open: a list may have files of many folders.
const maxStores = 1 << 8

// at returns the store of a location and the name in it.
func (s *stores) at(ctx context.Context, location string) (store.Store, string, error) {
	root, name, err := store.Locate(location)
	if err != nil {
		return nil, "", err
	}
	if !store.IsLocal(location) { // one store for all of a bucket
		from := strings.Index(location, "://") + len("://")
		slash := strings.IndexByte(location[from:], '/') // Locate has found one
		root, name = location[:from+slash], location[from+slash+1:]
	}
	opened, err := s.root(ctx, root)
	return opened, name, err
}

// root returns the store at a location.
func (s *stores) root(ctx context.Context, root string) (store.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.open[root]; st != nil {
		return st, nil
	}
	st, err := store.Open(ctx, root)
	if err != nil {
		return nil, err
	}
	if s.open == nil || len(s.open) >= maxStores {
		s.open = map[string]store.Store{}
	}
	s.open[root] = st
	return st, nil
}

// below returns the location of a path that stands in a list: as it is if it is whole, else below the list's folder.
func below(list, path string) string {
	if !store.IsLocal(path) || filepath.IsAbs(path) {
		return path
	}
	if store.IsLocal(list) {
		return filepath.Join(filepath.Dir(list), path)
	}
	at := strings.LastIndexByte(list, '/') + 1
	return list[:at] + strings.TrimPrefix(path, "./")
}
