package main

import (
	"bufio"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/internal/scenes"
)

// shown are the pictures of package demo: the first scene of a split and kind whose full caption begins so. The yellow circle is of the
// combinations that no scene to learn from has.
var shown = []struct {
	name    string
	split   scenes.Split
	kind    scenes.Kind
	caption string
}{
	{"red-circle", scenes.Test, scenes.Single, "a red circle in the middle on a white"},
	{"blue-square", scenes.Test, scenes.Single, "a big blue square in the middle on a cream"},
	{"green-heart", scenes.Test, scenes.Single, "a dotted green heart"},
	{"small-moon", scenes.Test, scenes.Single, "a small purple moon in the top right corner"},
	{"yellow-circle", scenes.Combinations, scenes.Single, "a big yellow circle"},
	{"three-stars", scenes.Test, scenes.Several, "three striped blue stars"},
	{"four-hearts", scenes.Test, scenes.Several, "four red hearts"},
	{"triangle-above-square", scenes.Test, scenes.Pair, "a green triangle above an orange square"},
	{"circle-left-of-cross", scenes.Test, scenes.Pair, "a red circle to the left of a blue cross"},
}

// pictures draws them.
func pictures(dir string) error {
	const size, most = 256, 1 << 20
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, s := range shown {
		i := 0
		x := scenes.NewOf(s.split, i, s.kind)
		for ; !strings.HasPrefix(x.Full(), s.caption); x = scenes.NewOf(s.split, i, s.kind) {
			if i++; i == most {
				return fmt.Errorf("no scene of %d is %q", most, s.caption)
			}
		}
		f, err := os.Create(filepath.Join(dir, s.name+".png"))
		if err != nil {
			return err
		}
		b := bufio.NewWriter(f)
		e := png.Encoder{CompressionLevel: png.BestCompression}
		if err := errors.Join(e.Encode(b, x.Draw(size)), b.Flush(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
