package notebook

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
)

// shownPicture returns the picture that something is shown as.
func shownPicture(t *testing.T, s interface{ SimpleRender() map[string]any }) image.Image {
	t.Helper()
	b := s.SimpleRender()
	file, ok := b[mimePNG].([]byte)
	if !ok {
		file, ok = b[mimeJPEG].([]byte)
	}
	if !ok {
		t.Fatalf("no picture in what is shown: %v", b[mimeText])
	}
	img, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestClassify(t *testing.T) {
	model := Open("builtin:demo")
	if Open("builtin:demo") != model {
		t.Error("a model that is open was opened again")
	}
	photos := Demo().Named("red-circle")
	photos = append(photos, Demo().Named("blue", "square")...)
	a := model.Classify(photos, "a blue square", "red circle", "a green heart")
	if got, want := a.Best(), []string{"red circle", "a blue square"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, l := range a.Labels {
		sum := 0.0
		for _, x := range l {
			sum += x.Probability
		}
		if math.Abs(sum-1) > 1e-6 || len(l) != 3 {
			t.Errorf("%d labels whose probabilities add up to %v", len(l), sum)
		}
	}
	if size := shownPicture(t, a).Bounds().Size(); size.X != 12+2*204 {
		t.Errorf("a sheet of two pictures is %v", size)
	}
	if text := a.String(); !strings.HasPrefix(text, "red-circle.png: red circle ") || strings.Count(text, "\n") != 1 {
		t.Errorf("got %q", text)
	}
}

func TestEmbed(t *testing.T) {
	model := Open("builtin:demo")
	photos := Demo().Named("circle.png")
	v, w := model.Embed(photos), model.EmbedTexts("a red circle", "a yellow circle")
	if got, want := v.String(), "2 vectors of 64 numbers"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	table := v.Cosines(w)
	for i, row := range table.Values {
		for j, c := range row {
			if want := clip.Cosine(v.Rows[i], w.Rows[j]); c != want {
				t.Errorf("cosine %v, want %v", c, want)
			}
		}
		if row[i] <= row[1-i] {
			t.Errorf("%s is more like the other text: %v", table.Rows[i], row)
		}
	}
	b := table.SimpleRender()
	if page, _ := b[mimeHTML].(string); strings.Count(page, "<td>") != 4 || strings.Count(page, "<b>") != 2 {
		t.Errorf("the table is shown as %s", page)
	}
	table.Columns[0] = "<script>"
	if page, _ := table.SimpleRender()[mimeHTML].(string); strings.Contains(page, "<script>") {
		t.Error("names are not escaped")
	}
}

func TestIndex(t *testing.T) {
	model := Open("builtin:demo")
	dir := t.TempDir()
	folder := Demo().Save(filepath.Join(dir, "photos"))
	Demo().Save(folder) // as it is
	if got := Folder(folder); len(got) != len(Demo()) {
		t.Errorf("%d pictures were written, want %d", len(got), len(Demo()))
	}
	x := model.Index(filepath.Join(dir, "index"), folder)
	defer x.Close()
	h := x.Find("a red circle", 3)
	if got, want := filepath.Base(h.Pictures[0].Name()), "red-circle.png"; got != want || len(h.Pictures) != 3 || x.Len() != len(Demo()) {
		t.Errorf("found %d of %d, the first %s, want 3 and %s", len(h.Pictures), x.Len(), got, want)
	}
	if !slices.IsSortedFunc(h.Cosines, func(a, b float64) int { return int(math.Copysign(1, b-a)) }) {
		t.Errorf("cosines %v are not in order", h.Cosines)
	}
	shownPicture(t, h)
	like := x.FindLike(Demo().Named("yellow-circle")[0], 1)
	if got := filepath.Base(like.Pictures[0].Name()); got != "yellow-circle.png" || math.Abs(like.Cosines[0]-1) > 1e-3 {
		t.Errorf("most like itself is %s with %v", got, like.Cosines[0])
	}
	again := model.Index(filepath.Join(dir, "index")) // without sources: as it is
	defer again.Close()
	if again.Len() != x.Len() {
		t.Errorf("opened again it has %d pictures, want %d", again.Len(), x.Len())
	}
}

func TestLook(t *testing.T) {
	model := Open("builtin:demo")
	p := Demo().Named("triangle-above-square")[0]
	l := model.Look(p, "a green triangle", "an orange square")
	_, triangle := l.Maps[0].Peak()
	_, below := l.Maps[1].Peak()
	if triangle >= below {
		t.Errorf("the triangle is at %v, the square below it at %v", triangle, below)
	}
	if size := shownPicture(t, l).Bounds().Size(); size.X != 12+3*204 {
		t.Errorf("the picture and two maps are %v", size)
	}
	if a := model.Look(p); len(a.Maps) != 1 || len(a.Maps[0].Values) != a.Maps[0].Grid*a.Maps[0].Grid {
		t.Errorf("attention has %d maps", len(a.Maps))
	}
}

func TestTrain(t *testing.T) {
	model := Open("builtin:demo")
	dir := t.TempDir()
	data := Shapes(filepath.Join(dir, "data"), 20, 1)
	if Shapes(data, 20, 1) != data {
		t.Error("drawn again")
	}
	if err := Try(func() { Shapes(data, 21, 1) }); err == nil {
		t.Error("other pictures were drawn into the folder")
	}
	for range 2 { // the second time it is there already
		probe := model.Probe(data, filepath.Join(dir, "probe"))
		if len(probe.Classes) != 6 || !(probe.Accuracy > 0.5) || len(probe.Curves) != 2 {
			t.Errorf("%s, %d classes, %d curves", probe, len(probe.Classes), len(probe.Curves))
		}
		for _, c := range probe.Curves {
			if !slices.IsSorted(c.X) || len(c.X) != len(c.Y) {
				t.Errorf("%s: %v", c.Name, c.X)
			}
		}
		shownPicture(t, probe)
	}
	var steps [2]int
	for i := range steps {
		run := model.LoRA(data, filepath.Join(dir, "lora"), 6)
		steps[i] = len(run.Curves[0].X)
		if c := Compare("builtin:demo", run.Model); i == 0 && (c.Verdict != "tuned" || len(c.Blocks) != 7) {
			t.Errorf("%s, %d blocks", c.Verdict, len(c.Blocks))
		} else if i == 0 {
			shownPicture(t, c)
		}
		tuned := run.Open()
		if j := tuned.Judge(data); len(j.All) != 120 || j.Right+len(j.Wrong) != 120 || j.Right < 20 {
			t.Error(j)
		}
		tuned.Close()
	}
	if steps[0] == 0 || steps[0] != steps[1] {
		t.Errorf("%v steps, want as many when it is run again", steps)
	}
	if c := Compare("builtin:demo", "builtin:demo"); c.Verdict != "identical" || c.SimpleRender()[mimePNG] != nil {
		t.Errorf("a model beside itself is %s", c.Verdict)
	}
}

func TestTokens(t *testing.T) {
	const hd = "../testdata/families/xcomposer2-hd"
	if err := Try(func() { OpenEncoder(hd) }); err == nil || !strings.Contains(err.Error(), "a layout has to be chosen") {
		t.Errorf("without a layout: %v", err)
	}
	e := OpenEncoder(hd, "xcomposer2-4khd").HD(6)
	// Left half red, right half blue: so are the tiles.
	img := image.NewRGBA(image.Rect(0, 0, 60, 30))
	for y := range 30 {
		for x := range 60 {
			c := color.RGBA{255, 0, 0, 255}
			if x >= 30 {
				c = color.RGBA{0, 0, 255, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	p := FromImage("two colours", img)
	tokens := e.Tokens(p)
	width, height := p.Size()
	if want := e.Count(width, height); len(tokens.Values) != want || len(tokens.Values[0]) != 12 {
		t.Errorf("%d tokens of %d numbers, want %d of 12", len(tokens.Values), len(tokens.Values[0]), want)
	}
	if tokens.Rows*tokens.Cols > 6 || len(tokens.Views) != 1+tokens.Rows*tokens.Cols {
		t.Fatalf("%d×%d tiles, %d views", tokens.Rows, tokens.Cols, len(tokens.Views))
	}
	left, right := tokens.Views[1], tokens.Views[tokens.Cols]
	if got := left.At(0, 15); got != (color.RGBA{255, 0, 0, 255}) {
		t.Errorf("the left tile begins with %v", got)
	}
	if got := right.At(15, 15); got != (color.RGBA{0, 0, 255, 255}) {
		t.Errorf("the right tile ends with %v", got)
	}
	shownPicture(t, tokens)
	if err := Try(func() { OpenEncoder("../testdata/families/llava").HD(4) }); err == nil {
		t.Error("LLaVA has no tiles, and takes their number")
	}
	e.Close()
	for what, f := range map[string]func(){"Tokens": func() { e.Tokens(p) }, "Count": func() { e.Count(60, 30) }, "HD": func() { e.HD(4) }} {
		if err := Try(f); err == nil || !strings.Contains(err.Error(), "has been closed") {
			t.Errorf("%s of a closed encoder: %v", what, err)
		}
	}
	e.Close()
}

// What goes wrong is a sentence without the names of packages, and the next call works.
func TestErrors(t *testing.T) {
	model := Open("builtin:demo")
	broken := Pictures{FromImage("none", image.NewRGBA(image.Rect(0, 0, 0, 0)))}
	for _, c := range []struct {
		name, want string
		f          func()
	}{
		{"no model", "no model nowhere: ", func() { Open("nowhere") }},
		{"one label", "got 1 label, want at least 2", func() { model.Classify(Demo(), "a cat") }},
		{"no folder", "", func() { Folder("nowhere") }},
		{"no file", "no picture nowhere.png: ", func() { File("nowhere.png") }},
		{"no name", `none of 9 pictures has ["elephant"] in its name`, func() { Demo().Named("elephant") }},
		{"no picture", "", func() { model.Embed(broken) }},
		{"no index", "", func() { model.Index(filepath.Join(t.TempDir(), "none")) }},
		{"a fault", "a fault of Vitago, not of yours: runtime error: index out of range", func() {
			call("failing", func(context.Context, *progress) error {
				var none []int
				return fmt.Errorf("%d", none[len(Demo())])
			})
		}},
	} {
		err := Try(c.f)
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Error(), c.want) || strings.HasPrefix(e.Error(), "clip: ") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if b := broken.SimpleRender(); b[mimePNG] == nil { // an empty square
		t.Errorf("got %v", b)
	}
	if b := broken[0].SimpleRender(); b[mimeText] == "" || b[mimePNG] != nil {
		t.Errorf("a picture that cannot be shown is %v, want a sentence", b)
	}
	if got := model.Classify(Demo().First(1), "a moon", "a star").Best(); len(got) != 1 {
		t.Errorf("afterwards: %q", got)
	}
	if err := Try(func() {}); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestClose(t *testing.T) {
	model := Open("builtin:demo")
	model.Close()
	model.Close()
	if err := Try(func() { model.Embed(Demo()) }); err == nil || !strings.Contains(err.Error(), "has been closed") {
		t.Errorf("got %v", err)
	}
	if again := Open("builtin:demo"); again == model || again.Embed(Demo()).String() != "9 vectors of 64 numbers" {
		t.Error("it does not open again")
	}
}

// An interrupt ends the call that runs, and nothing else.
func TestInterrupt(t *testing.T) {
	was := interrupts
	defer func() { interrupts = was }()
	var c chan<- os.Signal
	stopped := 0
	interrupts = func(signals chan<- os.Signal) (stop func()) {
		c = signals
		return func() { stopped++ }
	}
	err := Try(func() {
		call("waiting", func(ctx context.Context, _ *progress) error {
			c <- os.Interrupt
			<-ctx.Done()
			return context.Cause(ctx)
		})
	})
	if err == nil || err.Error() != "interrupted while waiting" || stopped != 1 {
		t.Errorf("got %v, and the signal was let go of %d times", err, stopped)
	}
	if err := Try(func() { Demo().First(1)[0].Image() }); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestProgress(t *testing.T) {
	p := startProgress("encoding")
	p.set(0, 100)
	p.set(25, 100)
	if got, want := p.line(10*time.Second), "encoding: 25 of 100, 30s left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.set(100, 100)
	if got, want := p.line(10*time.Second), "encoding: 100 of 100"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	resumed := &progress{doing: "training"}
	resumed.set(61, 100) // after 60 of another time
	resumed.set(70, 100)
	if got, want := resumed.line(10*time.Second), "training: 70 of 100, 30s left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.say("fitting")
	if got, want := p.line(10*time.Second), "encoding: fitting"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.stop()
}

// gonbuiData is what GoNB's own package sends: the same names, other types.
type gonbuiData struct {
	Data      map[gonbuiMIME]any
	Metadata  map[string]any
	DisplayID string
}

type gonbuiMIME string

// What is shown arrives as GoNB reads it, beside what its own package sends by the same pipe, and messages that only fill the pipe show
// nothing.
func TestShow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Setenv(gonbPipe, path)
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	theirs := gob.NewEncoder(w)
	show := func(things ...any) { // our end writes where theirs has ended, as into a pipe
		Show(things...)
	}
	kernel = pipe{path: path, w: w}
	kernel.enc = gob.NewEncoder(&kernel.buf)
	defer func() { kernel = pipe{} }()
	show("first", Demo()[0])
	if err := theirs.Encode(gonbuiData{Data: map[gonbuiMIME]any{"text/html": "theirs"}, Metadata: map[string]any{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	show(&Table{Rows: []string{"r"}, Columns: []string{"c"}, Values: [][]float64{{1}}})
	show(300)

	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := gob.NewDecoder(bytes.NewReader(file))
	var got []map[gonbuiMIME]any
	for {
		var d gonbuiData
		if err := decoder.Decode(&d); errors.Is(err, io.ErrUnexpectedEOF) { // the last message is the description of a type without a value
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got = append(got, d.Data)
	}
	if len(got) != 5 {
		t.Fatalf("%d things were shown, want 5", len(got))
	}
	if got[0][mimeText] != "first" || got[2]["text/html"] != "theirs" || got[4][mimeText] != "300" {
		t.Errorf("got %v, %v, %v", got[0], got[2], got[4])
	}
	if file, ok := got[1][mimePNG].([]byte); !ok || len(file) == 0 {
		t.Errorf("a picture is %T", got[1][mimePNG])
	}
	if page, _ := got[3][mimeHTML].(string); !strings.Contains(page, "<td>1</td>") {
		t.Errorf("a table is %v", got[3])
	}
}

func TestShowTogether(t *testing.T) {
	b := joined([]bundle{{mimeText: "a < b"}, {mimePNG: []byte{1, 2}, mimeText: `"p"`}, {mimeHTML: "<b>h</b>", mimeText: "h"}})
	want := "<pre>a &lt; b</pre>\n<div><img src=\"data:image/png;base64,AQI=\" alt=\"&#34;p&#34;\"></div>\n<div><b>h</b></div>\n"
	if b[mimeHTML] != want || b[mimeText] != "a < b\n\"p\"\nh" {
		t.Errorf("got %q", b)
	}
	if b := joined([]bundle{{mimeText: "a"}, {mimeText: "b"}}); len(b) != 1 || b[mimeText] != "a\nb" {
		t.Errorf("words alone are %v", b)
	}
}
