package notebook

import (
	"context"
	"fmt"
	"image"
	"strings"

	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/internal/sheet"
)

// Looks are where in a picture a model looks: for each caption by the attention that its gradient picks out, or without captions by all
// attention.
type Looks struct {
	Picture Picture // that was looked at
	Maps    []*Look // one a caption, or one alone
}

// A Look is a map of a picture: how much each patch counts.
type Look struct {
	Caption string    // "" of one without
	Cosine  float64   // of picture and caption; 0 without one
	Grid    int       // G patches across and down
	Values  []float32 // [G,G], row by row
	overlay image.Image
	peak    explain.Place
}

// Peak returns where in the picture the caption counts most, in pixels: the middle of a patch.
func (l *Look) Peak() (x, y float64) { return l.peak.X, l.peak.Y }

// Overlay returns the picture with the map on it, red where it counts most.
func (l *Look) Overlay() image.Image { return l.overlay }

// Look says where in a picture the model looks for each of some captions: the relevance of every patch. Without captions it says where the
// attention of all blocks goes.
func (m *Model) Look(p Picture, captions ...string) *Looks {
	all := &Looks{Picture: p}
	call("looking at "+p.Name(), func(ctx context.Context, told *progress) (err error) {
		var maps []*explain.Map
		if len(captions) == 0 {
			one, err := explain.Attention(ctx, m.clip(), p.of, explain.Options{})
			if err != nil {
				return err
			}
			maps = []*explain.Map{one}
		} else if maps, err = explain.Captions(ctx, m.clip(), p.of, captions, explain.Options{}); err != nil {
			return err
		}
		for _, e := range maps {
			all.Maps = append(all.Maps, &Look{Caption: e.Caption, Cosine: e.Score, Grid: e.Grid, Values: e.Values, overlay: e.Overlay(), peak: e.Peak()})
		}
		return nil
	})
	return all
}

// String says where each caption counts most.
func (l *Looks) String() string {
	var b strings.Builder
	for _, m := range l.Maps {
		x, y := m.Peak()
		name := m.Caption
		if name == "" {
			name = "attention"
		} else {
			name = fmt.Sprintf("%s, cosine %.3f", name, m.Cosine)
		}
		fmt.Fprintf(&b, "%s: most at (%.0f, %.0f)\n", name, x, y)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// SimpleRender shows the picture, and it again with each map on it.
func (l *Looks) SimpleRender() map[string]any { return render(l) }

func (l *Looks) bundle() (bundle, error) {
	cells := []sheet.Cell{{Picture: l.Picture.of.Decode, Lines: []sheet.Line{{Text: l.Picture.short()}}}}
	for _, m := range l.Maps {
		lines := []sheet.Line{{Text: "attention"}}
		if m.Caption != "" {
			lines = []sheet.Line{{Text: m.Caption}, {Text: fmt.Sprintf("%.3f", m.Cosine), Colour: grey(true)}}
		}
		cells = append(cells, sheet.Cell{Picture: func() (image.Image, error) { return m.overlay, nil }, Lines: lines})
	}
	img, err := sheet.Draw(context.Background(), cells)
	if err != nil {
		return nil, err
	}
	return photoBundle(img, l.String())
}
