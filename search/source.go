package search

// A Source is where pictures come from.
type Source struct {
	Kind string `json:"kind"` // "folder", "tar" or "files"
	Path string `json:"path"` // absolute
}
