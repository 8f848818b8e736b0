package plural

import "testing"

func TestOf(t *testing.T) {
	p := Phrase{"file that is a pipe", "files that are pipes"}
	for _, c := range []struct{ got, want string }{
		{Of(0, "picture"), "0 pictures"}, {Of(1, "picture"), "1 picture"}, {Of(2, "picture"), "2 pictures"},
		{Of(1, "class"), "1 class"}, {Of(3, "class"), "3 classes"}, {Of(2, "box"), "2 boxes"}, {Of(2, "patch"), "2 patches"}, {Of(2, "epoch"), "2 epochs"},
		{Of(-1, "row"), "-1 rows"},
		{p.Of(1), "1 file that is a pipe"}, {p.Of(0), "0 files that are pipes"}, {p.Of(2), "2 files that are pipes"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
