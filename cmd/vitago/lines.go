package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// maxLines is how long a file of lines may be: room for a million labels.
const maxLines = 64 << 20

// A line is one of a file, counted from 1; 0 is of the command line.
type line struct {
	text   string
	number int
}

// givenLines returns the lines of the file that a flag names, or what was given without one if file is "". from is the name
// of the file as it stands before an error.
func givenLines(flag, file string, given []string, stdin io.Reader) (from string, lines []line, err error) {
	if file == "" {
		for _, s := range given {
			lines = append(lines, line{text: s})
		}
		return "", lines, nil
	}
	name, raw, err := readLines(flag, file, maxLines, stdin)
	if err != nil {
		return "", nil, err
	}
	if lines, err = linesOf(raw); err != nil {
		return "", nil, usagef("%s: %w", name, err)
	}
	return name + ": ", lines, nil
}

// readLines reads at most one byte more than limit from the file that a flag names, or from standard input.
func readLines(flag, file string, limit int64, stdin io.Reader) (name string, raw []byte, err error) {
	r, name := stdin, "standard input"
	if file != stdinName {
		f, err := os.Open(file)
		if err != nil {
			return "", nil, fmt.Errorf("--%s: %w", flag, err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return "", nil, usagef("--%s: %s is a directory, want a file of lines", flag, file)
		}
		r, name = f, file
	}
	raw, err = io.ReadAll(io.LimitReader(r, limit+1))
	return name, raw, err
}

// maxTexts is how long a file of texts may be: room for ten million captions.
const maxTexts = 1 << 30

// textLines returns the lines of the file that a flag names as they are, those that are empty, too. The last may end as the
// others, or not.
func textLines(flag, file string, stdin io.Reader) ([]string, error) {
	name, raw, err := readLines(flag, file, maxTexts, stdin)
	if err != nil {
		return nil, err
	}
	lines, err := split(raw, maxTexts)
	if err != nil {
		return nil, usagef("%s: %w", name, err)
	}
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	}
	if len(lines) == 0 {
		return nil, usagef("%s: got 0 texts, want at least 1", name)
	}
	return lines, nil
}

// linesOf returns the lines of a text in UTF-8, with or without a byte order mark, without white space around them and those with
// nothing else. They end as on any system.
func linesOf(raw []byte) (lines []line, err error) {
	all, err := split(raw, maxLines)
	if err != nil {
		return nil, err
	}
	for i, s := range all {
		if s = strings.TrimSpace(s); s != "" {
			lines = append(lines, line{s, i + 1})
		}
	}
	return lines, nil
}

// split returns the lines of a text in UTF-8 of at most limit bytes, with or without a byte order mark. They end as on any
// system.
func split(raw []byte, limit int) ([]string, error) {
	switch {
	case len(raw) > limit:
		return nil, fmt.Errorf("more than %d bytes", limit)
	case bytes.HasPrefix(raw, []byte("\xff\xfe")), bytes.HasPrefix(raw, []byte("\xfe\xff")):
		return nil, fmt.Errorf("the text is UTF-16, want UTF-8")
	}
	text := strings.TrimPrefix(string(raw), "\ufeff")
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
	for i, s := range lines {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return nil, fmt.Errorf("line %d is %.40q, want text in UTF-8", i+1, s)
		}
	}
	return lines, nil
}
