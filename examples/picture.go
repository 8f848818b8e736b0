//go:build ignore

// Picture draws what a command prints as a terminal does, for the index of the examples; or many small pictures as one.
//
//	go run picture.go pictures/NAME.svg "go run ./examples/NAME ARGUMENTS" <OUTPUT
//	go run picture.go pictures/NAME.jpg PICTURE...
package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"image"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/sheet"
)

// Sizes in pixels; a line is cut behind so many letters.
const (
	width, margin, line = 760, 14, 19
	letters             = 92
	most                = 9 // lines
)

func main() {
	if strings.HasSuffix(os.Args[1], ".jpg") {
		var all bytes.Buffer
		var cells []sheet.Cell
		for _, file := range os.Args[2:] {
			cells = append(cells, sheet.Cell{Picture: func() (image.Image, error) { return decode(file) }, Lines: []sheet.Line{{Text: filepath.Base(filepath.Dir(file))}}})
		}
		if err := sheet.Write(context.Background(), &all, cells); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(os.Args[1], all.Bytes(), 0o666); err != nil {
			log.Fatal(err)
		}
		return
	}
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

// decode reads a picture.
func decode(file string) (image.Image, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return clipvit.DecodeImage(f)
}
