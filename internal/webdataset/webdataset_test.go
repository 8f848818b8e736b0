package webdataset

import "testing"

// TestSplitKey: the values are those of base_plus_ext of webdataset 1.0.2; its key "d/" of a hidden file in a folder is none
// here.
func TestSplitKey(t *testing.T) {
	for name, want := range map[string][2]string{
		"a.jpg": {"a", "jpg"}, "d/a.JPG": {"d/a", "jpg"}, "v1.0/a.jpg": {"v1.0/a", "jpg"}, "photo.2023.jpg": {"photo", "2023.jpg"}, "a.seg.png": {"a", "seg.png"},
		".hidden.jpg": {}, "d/._a.jpg": {}, "README": {}, "d.x/README": {}, "a.": {"a", ""}, "a..jpg": {"a", ".jpg"}, "é.tar.gz": {"é", "tar.gz"}, "d/.x/b.png": {"d/.x/b", "png"},
	} {
		if key, suffix := SplitKey(name); key != want[0] || suffix != want[1] {
			t.Errorf("%q: %q and %q, want %q", name, key, suffix, want)
		}
	}
}
