// Package plural writes how many there are of something: 1 picture, 2 pictures, 1 class, 3 classes.
package plural

import (
	"fmt"
	"strings"
)

// Of writes n and a noun, which is given in the singular. A noun that ends in s, x, tch or sh gets es, and others s.
func Of(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	for _, end := range []string{"s", "x", "tch", "sh"} {
		if strings.HasSuffix(noun, end) {
			return fmt.Sprintf("%d %ses", n, noun)
		}
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// A Phrase is a noun with what follows it, in both numbers, for what is more than a noun: "file that is a pipe", "files that are pipes".
type Phrase struct{ One, Many string }

// Of writes n and the phrase.
func (p Phrase) Of(n int) string {
	if n == 1 {
		return "1 " + p.One
	}
	return fmt.Sprintf("%d %s", n, p.Many)
}
