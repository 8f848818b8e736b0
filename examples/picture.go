//go:build ignore

// Picture draws what a command prints as a terminal does, for the index of the examples.
//
//	go run picture.go pictures/NAME.svg "go run ./examples/NAME ARGUMENTS" <OUTPUT
package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
)

// Sizes in pixels; a line is cut behind so many letters.
const (
	width, margin, line = 760, 14, 19
	letters             = 92
	most                = 9 // lines
)

func main() {
	out, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(lines) > most {
		lines = append(lines[:most-1], "…")
	}
	lines = append([]string{"$ " + os.Args[2]}, lines...)
	var svg bytes.Buffer
	height := 2*margin + line*len(lines)
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="13">`+"\n", width, height, width, height)
	fmt.Fprintf(&svg, `<rect width="%d" height="%d" rx="8" fill="#1d2433"/>`+"\n", width, height)
	for i, text := range lines {
		if r := []rune(text); len(r) > letters {
			text = string(r[:letters-1]) + "…"
		}
		colour := "#d8dee9"
		if i == 0 {
			colour = "#8fd3c8"
		}
		fmt.Fprintf(&svg, `<text x="%d" y="%d" fill="%s" xml:space="preserve">`, margin, margin+line*(i+1)-5, colour)
		if err := xml.EscapeText(&svg, []byte(text)); err != nil {
			log.Fatal(err)
		}
		svg.WriteString("</text>\n")
	}
	svg.WriteString("</svg>\n")
	if err := os.WriteFile(os.Args[1], svg.Bytes(), 0o666); err != nil {
		log.Fatal(err)
	}
}
