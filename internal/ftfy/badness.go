package ftfy

import (
	"sync"
	"unicode"
)

// Classes of characters that occur where UTF-8 was decoded by another encoding. A class is written as in a regular
// expression: a hyphen between two characters means all from the one to the other.
//
// Source: rspeer/python-ftfy, ftfy/badness.py, MOJIBAKE_CATEGORIES.
const (
	common   = "\u00a0\u00ad´·–—―’…"
	c1       = "\u0080-\u009f"
	bad      = "¤¦¨ª¬¯¸ºƒˆˇ˘˛˜†‡‰⌐◊\ufffd"
	law      = "§¶"
	currency = "¢£¥₧€"
	opening  = "¡©«¿΄΅‘‚“„•‹\uf8ff"
	closing  = "®»˝”›™"
	numeric  = "±²³µ¹¼½¾×÷⁄№∂∆∏∑√∞∩∫≈≠≡≤≥"
	faces    = "°Ò-ÖÙ-Üò-öø-üŌŐŪŲ" // letters and signs of which faces are made
	upper    = "À-ÑØÜÝĀĂĄĆČĎĐĒĖĘĚĞĢĪİĶĹĻĽŁŃŅŇŒŘŚŞŠŢŤŮŰŸŹŻŽҐ"
	lower    = "ß-ñüāăąćčďđēėęěğģīįķĺļľłœŕśşšťźżžґﬁﬂ"
	capital  = "ÞΆΈΉΊΌΎΏΑ-ΫЁ-Я" // of words in Greek and Cyrillic
	small    = "ά-ωа-џ"
	box      = "│┌┐┘├┤┬┼═-╬▀▄█▌▐-▓"
)

// What a class cannot say.
const (
	start    = "^"  // nothing: the text begins here
	space    = `\s` // Python's white space
	word     = `\w` // Python's letters, digits and _
	noBreak  = `.`  // all but LF
	notLatin = `\L` // all but the letters from A to Z
)

// rules are sequences of classes that hardly occur in a text as it was meant.
//
// Source: rspeer/python-ftfy, ftfy/badness.py, BADNESS_RE.
var rules = [][]string{
	{c1},
	{bad + lower + upper + box + opening + closing + currency + numeric + law, bad},
	{"a-zA-Z", small + capital, bad},
	{bad, lower + upper + box + opening + closing + currency + numeric + law},
	{lower + small + box + closing + currency + numeric, upper},
	{box + closing + currency + numeric, lower},
	{lower + box + closing, currency},
	{space, upper, currency},
	{upper + box, numeric + law},
	{lower + upper + box + currency + closing, opening, numeric},
	{lower + upper + currency + numeric + box + law, closing, opening},
	{currency + numeric + box, opening},
	{"a-z", upper, opening + currency},
	{box, faces},
	{lower + upper + currency + numeric + opening + closing + law, box},
	{box, closing},
	{lower + upper, opening + closing, word},
	{"Œœ", notLatin},
	{upper, "°"},
	{"ÂÃÎÐ", "€œŠš¢£Ÿž\u00a0\u00ad®©°·»" + opening + closing + "–—´"}, // windows-1252
	{"×", "²³"},
	{"ØÙ", common + currency + bad + numeric + opening + "ŸŠ®°µ»", "ØÙ", common + currency + bad + numeric + opening + "ŸŠ®°µ»"}, // Arabic
	{"à", "²µ¹¼½¾"},            // languages of South Asia
	{"√", "±∂†≠®™´≤≥¥µø"},      // MacRoman
	{"≈", "°¢"},                // the same
	{"‚", "Ä", "ìîïòôúùû†°¢π"}, // the same
	{"‚", "âó", "àä°ê"},        // the same
	{"в", "Ђ"},                 // windows-1251
	{"ВГРС", c1 + bad + opening + closing + currency + "°µ", "ВГРС"},
	{"Г", "ў", "В", "Ђ", "В", noBreak, "A-Za-z "}, // windows-1251 on top of windows-1252
	{"Ã", "\u00a0¡"},
	{"a-z", "ÃÂ", " "},
	{"a-z", space, "ÃÂ", " "},
	{start, "ÃÂ", " "},
	{"a-z.,?!" + closing, "Â", " " + opening + closing},
	{"β", "€", "™\u00a0Ά\u00ad®°"}, // windows-1253
	{"ΒΓΞΟ", c1 + bad + opening + closing + currency + "°", "ΒΓΞΟ"},
	{"ā", "€"}, // windows-1257
}

// A places is a set of places in rules, each of which has a bit.
type places [2]uint64

func (p *places) add(i int) { p[i/64] |= 1 << (i % 64) }

// A matcher finds the rules in a text, all at once: it has the set of places that the text up to here leads to.
type matcher struct {
	first, atStart, last places // of the rules: where they begin, where they do at the start of a text, where they end
	of                   map[rune]places
	other, word, space   places // of the characters that are not in of: where each may stand, and what letters and white space may
}

var theMatcher = sync.OnceValue(func() *matcher { return newMatcher(rules) })

func newMatcher(rules [][]string) *matcher {
	m := &matcher{of: map[rune]places{}}
	for r := range rune(128) {
		m.of[r] = places{}
	}
	// No rule lies in two words, since bits are moved within each.
	at := make([]int, len(rules))
	next := 0
	for i, rule := range rules {
		if n := length(rule); next/64 != (next+n-1)/64 {
			next = 64
		}
		at[i] = next
		next += length(rule)
	}
	if next > 64*len(places{}) {
		panic("ftfy: the rules have more places than there are bits")
	}
	for _, rule := range rules {
		for _, class := range rule {
			for _, r := range characters(class) {
				m.of[r] = places{}
			}
		}
	}
	for i, rule := range rules {
		p := at[i]
		if rule[0] == start {
			m.atStart.add(p)
			rule = rule[1:]
		} else {
			m.first.add(p)
		}
		for _, class := range rule {
			m.add(class, p)
			p++
		}
		m.last.add(p - 1)
	}
	return m
}

// length returns how many characters a rule matches.
func length(rule []string) int {
	if rule[0] == start {
		return len(rule) - 1
	}
	return len(rule)
}

// add lets a class stand at a place.
func (m *matcher) add(class string, place int) {
	may := func(f func(r rune) bool) {
		for r, p := range m.of {
			if f(r) {
				p.add(place)
				m.of[r] = p
			}
		}
	}
	switch class {
	case space:
		m.space.add(place)
		may(isSpace)
	case word:
		m.word.add(place)
		may(isWord)
	case noBreak:
		m.other.add(place)
		may(func(r rune) bool { return r != '\n' })
	case notLatin:
		m.other.add(place)
		may(func(r rune) bool { return r >= 128 || !isAlphanumeric(byte(r)) || '0' <= r && r <= '9' })
	default:
		for _, r := range characters(class) {
			p := m.of[r]
			p.add(place)
			m.of[r] = p
		}
	}
}

// characters returns those of a class; none of [start], [space], [word], [noBreak] and [notLatin].
func characters(class string) (out []rune) {
	switch class {
	case start, space, word, noBreak, notLatin:
		return nil
	}
	rs := []rune(class)
	for i := 0; i < len(rs); i++ {
		if i+2 < len(rs) && rs[i+1] == '-' {
			for r := rs[i]; r <= rs[i+2]; r++ {
				out = append(out, r)
			}
			i += 2
			continue
		}
		out = append(out, rs[i])
	}
	return out
}

// isSpace and isWord are \s and \w of Python's regular expressions, with Go's version of Unicode: in 15.0, the ideographs from
// U+2EBF0 on are no letters yet.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }
func isWord(r rune) bool  { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }

// isBad reports whether a text looks as if it had been decoded by a wrong encoding.
//
// Source: rspeer/python-ftfy, ftfy/badness.py, is_bad.
func isBad(s string) bool { return theMatcher().matches(s) }

// matches reports whether any rule is in a text.
func (m *matcher) matches(s string) bool {
	begin := m.first
	for i, w := range m.atStart {
		begin[i] |= w
	}
	var state places
	for _, r := range s {
		may, ok := m.of[r]
		if !ok {
			may = m.other
			if isSpace(r) {
				for i, w := range m.space {
					may[i] |= w
				}
			}
			if isWord(r) {
				for i, w := range m.word {
					may[i] |= w
				}
			}
		}
		for i, w := range state {
			state[i] = (w<<1 | begin[i]) & may[i]
			if state[i]&m.last[i] != 0 {
				return true
			}
		}
		begin = m.first
	}
	return false
}
