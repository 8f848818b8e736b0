package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	_ "image/jpeg" // formats
	_ "image/png"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// How far what is shown may be from what is committed. Processors add in another order, and training carries that on: one picture of the
// 24 to validate on is 4 %, and the lines of a curve are thin.
const (
	relative = 0.05 // of a number
	absolute = 0.02
	pixels   = 8.0 // of 255, the mean over all of a picture
)

// different says in what outputs differ, a line each. Errors always do. Together makes one text of all.
func different(want, got []output, together bool) (wrong []string) {
	for _, o := range got {
		if o.Type == "error" {
			wrong = append(wrong, fmt.Sprintf("error: %s", o.EValue))
		}
	}
	shown := func(all []output) (some []output) {
		for _, o := range all {
			if o.Type == "display_data" || o.Type == "execute_result" || o.Type == "stream" && o.Name == "stdout" {
				some = append(some, o)
			}
		}
		return some
	}
	want, got = shown(want), shown(got)
	if together {
		if d := differentText(words(want), words(got)); d != "" {
			wrong = append(wrong, d)
		}
		return wrong
	}
	if len(want) != len(got) {
		return append(wrong, fmt.Sprintf("%d outputs, want %d: %q", len(got), len(want), words(got)))
	}
	for i := range want {
		w, g := want[i], got[i]
		if d := differentText(words(want[i:i+1]), words(got[i:i+1])); d != "" {
			wrong = append(wrong, d)
		}
		if a, b := slices.Sorted(maps.Keys(w.Data)), slices.Sorted(maps.Keys(g.Data)); !slices.Equal(a, b) {
			wrong = append(wrong, fmt.Sprintf("shown as %q, want %q", b, a))
			continue
		}
		for _, mime := range []string{"image/png", "image/jpeg"} {
			if file, ok := w.Data[mime]; ok {
				if d := differentPicture(string(file), string(g.Data[mime])); d != "" {
					wrong = append(wrong, d)
				}
			}
		}
	}
	return wrong
}

// words are the texts of outputs.
func words(all []output) string {
	var b strings.Builder
	for _, o := range all {
		b.WriteString(strings.TrimRight(string(o.Text+o.Data["text/plain"]), "\n") + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var number = regexp.MustCompile(`-?\d+(\.\d+)?`)

// differentText says in what two texts differ, but for numbers that are near each other and the width of columns.
func differentText(want, got string) string {
	plain := func(s string) string { return strings.Join(strings.Fields(number.ReplaceAllString(s, "0")), " ") }
	a, b := number.FindAllString(want, -1), number.FindAllString(got, -1)
	if plain(want) != plain(got) || len(a) != len(b) {
		return fmt.Sprintf("got %q, want %q", got, want)
	}
	for i := range a {
		x, _ := strconv.ParseFloat(a[i], 64)
		y, _ := strconv.ParseFloat(b[i], 64)
		if d := math.Abs(x - y); d > absolute && d > relative*math.Abs(x) {
			return fmt.Sprintf("got %s in %q, want %s in %q", b[i], got, a[i], want)
		}
	}
	return ""
}

// differentPicture says in what two pictures differ.
func differentPicture(want, got string) string {
	a, err := picture(want)
	if err != nil {
		return "committed: " + err.Error()
	}
	b, err := picture(got)
	if err != nil {
		return err.Error()
	}
	if a.Bounds() != b.Bounds() {
		return fmt.Sprintf("a picture of %v, want %v", b.Bounds().Size(), a.Bounds().Size())
	}
	sum, n := 0.0, 0
	for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
		for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
			r, g, bl, _ := a.At(x, y).RGBA()
			r2, g2, bl2, _ := b.At(x, y).RGBA()
			for _, d := range [][2]uint32{{r, r2}, {g, g2}, {bl, bl2}} {
				sum += math.Abs(float64(d[0]>>8) - float64(d[1]>>8))
				n++
			}
		}
	}
	if mean := sum / float64(n); mean > pixels {
		return fmt.Sprintf("a picture that is %.1f of 255 off, want at most %v", mean, pixels)
	}
	return ""
}

func picture(file string) (image.Image, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.ReplaceAll(file, "\n", "")))
	if err != nil {
		return nil, err
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	return img, err
}
