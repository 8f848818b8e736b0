package ftfy

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// joiner is what [norm.NFC] inserts after 30 marks on one letter, to bound what a reader has to keep.
const joiner = "\u034f"

// NFC returns a text in Unicode's normalization form C, however many marks are on a letter.
func NFC(s string) string {
	n := norm.NFC.String(s)
	if strings.Count(n, joiner) <= strings.Count(s, joiner) {
		return n
	}
	return composed(s)
}

// composed is [NFC] by its definition: it decomposes, sorts marks by their class, and composes what nothing separates.
//
// Source: The Unicode Standard, section 3.11, D108 to D117.
func composed(s string) string {
	type char struct {
		r     rune
		class uint8
	}
	var cs []char
	for _, r := range s {
		for _, d := range norm.NFD.String(string(r)) {
			cs = append(cs, char{d, norm.NFC.PropertiesString(string(d)).CCC()})
		}
	}
	for from := 0; from < len(cs); from++ {
		to := from
		for to < len(cs) && cs[to].class != 0 {
			to++
		}
		slices.SortStableFunc(cs[from:to], func(a, b char) int { return int(a.class) - int(b.class) })
		from = to
	}
	out := cs[:0]
	starter := -1 // where the letter is in out
	for _, c := range cs {
		if starter >= 0 && (starter == len(out)-1 || out[len(out)-1].class < c.class) {
			if both := norm.NFC.String(string(out[starter].r) + string(c.r)); utf8.RuneCountInString(both) == 1 {
				out[starter].r, _ = utf8.DecodeRuneInString(both)
				continue
			}
		}
		if c.class == 0 {
			starter = len(out)
		}
		out = append(out, c)
	}
	var b strings.Builder
	for _, c := range out {
		b.WriteRune(c.r)
	}
	return b.String()
}
