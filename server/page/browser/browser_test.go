// Package browser has the page of package page in a real browser: a headless Chromium, driven by its DevTools protocol. It is a module of its
// own, so that nobody else has the driver.
//
//	go test ./...                                          with chromium in the path, or at CHROMIUM
//	SHOTS=FOLDER AXE=node_modules/axe-core/axe.min.js …    writes what is seen to a folder; looks for faults of accessibility, too
package browser

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/scenes"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/server"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/status"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/tasks/imagesearch"
)

// indexed is how many drawn scenes the index has.
const indexed = 60

// A site is a server, and what stands behind it.
type site struct {
	*server.Server
	url      string
	pictures string                        // folder of the demo's pictures
	hold     atomic.Pointer[chan struct{}] // what a POST waits for, or for its client to go; nil is nothing
	gone     chan struct{}                 // a value for each POST whose client went
	busy     atomic.Bool                   // every POST is one too many
	token    string
	stop     func() // returns when the server has ended
}

// newSite returns a server of the small model in the program, with an index of drawn scenes.
func newSite(t *testing.T, token string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{pictures: filepath.Join(dir, "demo"), gone: make(chan struct{}, 16), token: token}
	photos, index := filepath.Join(dir, "scenes"), filepath.Join(dir, "index")
	for _, d := range []string{s.pictures, photos} {
		must(t, os.Mkdir(d, 0o755))
	}
	for _, p := range demo.Pictures() {
		img, err := p.Decode()
		must(t, err)
		write(t, filepath.Join(s.pictures, p.Name()), img)
	}
	for i := range indexed {
		x := scenes.New(scenes.Test, i)
		write(t, filepath.Join(photos, fmt.Sprintf("%02d %s.png", i, x.Caption())), x.Draw(256))
	}
	model, err := demo.Open()
	must(t, err)
	source, err := search.NewSource(photos)
	must(t, err)
	_, err = search.Update(t.Context(), model, index, []search.Source{source}, search.UpdateOptions{})
	must(t, err)

	config := server.Config{
		Engine: engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name, Index: index}, {Name: "demo-2", Path: demo.Name}}},
		Log:    slog.New(slog.DiscardHandler),
		Wrap:   s.wrap,
	}
	if token != "" {
		config.Tokens = filepath.Join(dir, "tokens")
		must(t, os.WriteFile(config.Tokens, []byte(token+"\n"), 0o600))
	}
	s.Server, err = server.New(t.Context(), config)
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.url = "http://" + listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listener) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ends with %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// wrap stands before the server, and holds up what tests want held up.
func (s *site) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && s.busy.Load() {
			w.Header().Set("Retry-After", "7")
			status.Write(w, r, engine.ErrBusy)
			return
		}
		if hold := s.hold.Load(); hold != nil && r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body) // else nobody looks whether the client is there
			if err == nil {
				select {
				case <-*hold:
				case <-r.Context().Done():
					err = r.Context().Err()
				}
			}
			if err != nil {
				s.gone <- struct{}{}
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		next.ServeHTTP(w, r)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, img image.Image) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	must(t, png.Encode(f, img))
	must(t, f.Close())
}

// A look is how a browser shows the page.
type look struct {
	name          string
	width, height int64
	dark, reduced bool
	hash          string // of the address
}

// A visit is a tab with the page.
type visit struct {
	context.Context
	t    *testing.T
	site *site
	look look

	mu     sync.Mutex
	faults []string
	asked  []string // addresses
}

// browser is that of all tests.
var browser context.Context

func TestMain(m *testing.M) {
	os.Exit(func() int {
		path := os.Getenv("CHROMIUM")
		if path == "" {
			path = "chromium"
		}
		options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox) // a container is one
		ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
		defer cancel()
		browser, cancel = chromedp.NewContext(ctx)
		defer cancel()
		if err := chromedp.Do(browser); err != nil { // starts it
			fmt.Fprintf(os.Stderr, "browser: %v: want Chromium in the path, or at CHROMIUM\n", err)
			return 1
		}
		return m.Run()
	}())
}

// visit opens the page in a tab of its own, and at the end of the test looks at what the browser had to say.
func (s *site) visit(t *testing.T, l look) *visit {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	v := &visit{Context: ctx, t: t, site: s, look: l}
	fault := func(format string, a ...any) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.faults = append(v.faults, fmt.Sprintf(format, a...))
	}
	must(t, chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			for _, a := range e.Args {
				fault("console.%s: %s %s", e.Type, a.Value, a.Description)
			}
		case *runtime.EventExceptionThrown:
			fault("exception: %s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
		case *cdplog.EventEntryAdded:
			if e.Entry.Source != cdplog.EntrySourceNetwork { // a status that is an error: tests say which they want
				fault("log: %s %s", e.Entry.Source, e.Entry.Text)
			}
		case *audits.EventIssueAdded:
			detail, _ := json.Marshal(e.Issue.Details)
			fault("issue: %s %s", e.Issue.Code, detail)
		case *network.EventRequestWillBeSent:
			v.mu.Lock()
			v.asked = append(v.asked, e.Request.URL)
			v.mu.Unlock()
		}
	}))
	scheme, motion := "light", "no-preference"
	if l.dark {
		scheme = "dark"
	}
	if l.reduced {
		motion = "reduce"
	}
	if l.width == 0 {
		l.width, l.height = 1200, 900
	}
	for _, err := range []error{
		call(v, network.Enable, network.EnableParams{}), call(v, runtime.Enable, cdp.Empty{}), call(v, cdplog.Enable, cdp.Empty{}), call(v, audits.Enable, cdp.Empty{}),
		call(v, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion}}}),
	} {
		must(t, err)
	}
	_, err := chromedp.Call(v, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: `
		window.shifted = 0;
		new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) window.shifted += e.value; }).observe({ type: "layout-shift", buffered: true });`})
	must(t, err)
	v.do(chromedp.EmulateViewport(l.width, l.height, chromedp.EmulateScale(1)), chromedp.Navigate(s.url+"/"+l.hash))
	t.Cleanup(func() {
		if !t.Failed() {
			if moved, err := strconv.ParseFloat(v.eval("window.shifted"), 64); err != nil || moved > 0.1 {
				t.Errorf("what is shown moves by %g, %v, want at most 0.1", moved, err)
			} else {
				t.Logf("what is shown moves by %g", moved)
			}
			v.quiet()
		}
		stop()
		cancel()
	})
	return v
}

// call sends a command to the browser, whose answer does not matter.
func call[P, R any](ctx context.Context, command cdp.Command[P, R], params P) error {
	_, err := chromedp.Call(ctx, command, params)
	return err
}

// do runs actions.
func (v *visit) do(actions ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	if err := chromedp.Do(v, actions...); err != nil {
		v.fail(err)
	}
}

// fail ends the test with what can be seen.
func (v *visit) fail(err error) {
	v.t.Helper()
	v.shot("failed")
	text, _ := chromedp.Run(v, chromedp.Evaluate[string]("document.body.innerText"))
	v.mu.Lock()
	defer v.mu.Unlock()
	v.t.Fatalf("%v\nthe browser says %q, the page %s", err, v.faults, text)
}

// eval returns what a script is, as text.
func (v *visit) eval(script string) string {
	v.t.Helper()
	text, err := chromedp.Run(v, chromedp.Evaluate[string]("(async () => String(await ("+script+")))()", chromedp.EvalAwaitPromise))
	if err != nil {
		v.fail(fmt.Errorf("%s: %w", script, err))
	}
	return text
}

// wait waits until a script is true.
func (v *visit) wait(script string) {
	v.t.Helper()
	for until := time.Now().Add(20 * time.Second); v.eval(script) != "true"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			v.fail(fmt.Errorf("this does not become true: %s", script))
		}
	}
}

// shot writes what is seen to the folder SHOTS.
func (v *visit) shot(name string) {
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	file, err := chromedp.Run(v, chromedp.FullScreenshot(100))
	if err != nil {
		v.t.Log(err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, v.look.name+"-"+name+".png"), file, 0o644); err != nil {
		v.t.Log(err)
	}
}

// quiet looks whether the browser has had a fault to report, or asked somebody else, or anything moved by itself.
func (v *visit) quiet() {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range v.faults {
		v.t.Errorf("the browser says %s", f)
	}
	for _, a := range v.asked {
		if !strings.HasPrefix(a, v.site.url+"/") && !strings.HasPrefix(a, "blob:"+v.site.url+"/") && !strings.HasPrefix(a, "data:") {
			v.t.Errorf("the page asks for %s, which is not of %s", a, v.site.url)
		}
	}
	if len(v.asked) == 0 {
		v.t.Error("no request was seen")
	}
}

// ready waits until the page knows its server.
func (v *visit) ready() {
	v.t.Helper()
	v.wait(`document.querySelectorAll("#model option").length === 2 && [...document.querySelectorAll("#examples button")].length === 9 && [...document.querySelectorAll("#examples button")].every((b) => !b.disabled)`)
}

// drop drops files on an element.
func (v *visit) drop(selector string, paths ...string) {
	v.t.Helper()
	v.do(chromedp.ScrollIntoView(chromedp.CSS(selector))) // or the browser never answers
	var at []float64
	must(v.t, json.Unmarshal([]byte(v.eval(fmt.Sprintf(`JSON.stringify((() => { const r = document.querySelector(%q).getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })())`, selector))), &at))
	data := &input.DragData{Items: []*input.DragDataItem{}, Files: paths, DragOperationsMask: 1}
	for _, kind := range []input.DispatchDragEventType{input.DispatchDragEventTypeDragEnter, input.DispatchDragEventTypeDragOver, input.DispatchDragEventTypeDrop} {
		must(v.t, call(v, input.DispatchDragEvent, input.DispatchDragEventParams{Type: kind, X: at[0], Y: at[1], Data: data}))
	}
}

// A row is a label as the page shows it.
type row struct{ Label, Probability, Cosine, Bar string }

// rows returns what is ranked.
func (v *visit) rows() (all []row) {
	v.t.Helper()
	text := v.eval(`JSON.stringify([...document.querySelectorAll("#results .row")].map((r) => ({ Label: r.children[0].textContent, Probability: r.children[1].textContent, Cosine: r.children[2].lastChild.textContent, Bar: getComputedStyle(r.children[3]).getPropertyValue("--p") })))`)
	must(v.t, json.Unmarshal([]byte(text), &all))
	return all
}

// ranked waits until a ranking is done, and compares it with what the model says of the file.
func (v *visit) ranked(path string, r imageclassification.Request) {
	v.t.Helper()
	v.wait(`document.querySelector("#rank").textContent === "Rank" && document.querySelectorAll("#results .row").length > 0`)
	file, err := os.ReadFile(path)
	must(v.t, err)
	r.Images = [][]byte{file}
	want, err := v.site.Engine().Classify(v.t.Context(), "demo", r)
	must(v.t, err)
	got := v.rows()
	if len(got) != len(want[0].Labels) {
		v.t.Fatalf("%d labels are shown, want %d", len(got), len(want[0].Labels))
	}
	for i, l := range want[0].Labels {
		w := row{l.Name, fmt.Sprintf("%.1f %%", 100*l.Probability), fmt.Sprintf("%.3f", l.Cosine), ""}
		bar, err := strconv.ParseFloat(got[i].Bar, 64)
		if got[i].Bar = ""; got[i] != w || err != nil || math.Abs(bar-l.Probability) > 1e-6 {
			v.t.Errorf("row %d is %v with a bar of %g, %v, want %v with %g", i, got[i], bar, err, w, l.Probability)
		}
	}
}

var labels = []string{"red circle", "blue square", "green heart", "yellow circle"}

// files of pictures that are shown.
func (s *site) file(name string) string { return filepath.Join(s.pictures, name) }

// click clicks an element, when nothing scrolls any more.
func (v *visit) click(selector string) {
	v.t.Helper()
	v.do(chromedp.ScrollIntoView(chromedp.CSS(selector)))
	v.eval(`new Promise((done) => { let y = -1; const look = () => { if (scrollY === y) done(); else { y = scrollY; setTimeout(look, 200); } }; look(); })`)
	v.do(chromedp.Click(chromedp.CSS(selector)))
}

// said waits until an element says something.
func (v *visit) said(id, want string) {
	v.t.Helper()
	v.wait(fmt.Sprintf(`document.getElementById(%q).textContent.includes(%q)`, id, want))
}

// mapped waits until a map is shown.
func (v *visit) mapped() {
	v.t.Helper()
	v.wait(`!document.querySelector("#colours").hidden && document.querySelector("#colours").complete && document.querySelector("#colours").naturalWidth === 256`)
	v.said("map-caption", "patches")
}

// looks are those in which the page is looked at.
var looks = []look{
	{name: "wide"}, {name: "wide-dark", dark: true, reduced: true},
	{name: "phone", width: 360, height: 740, reduced: true}, {name: "phone-dark", width: 360, height: 740, dark: true},
}

// TestTry: a picture is dropped and labels are typed; the bars are right, a map lies over the picture, and what is alike is found. In every
// look the page is as wide as the window, has nothing that moves by itself, and no fault of accessibility.
func TestTry(t *testing.T) {
	s := newSite(t, "")
	for _, l := range looks {
		t.Run(l.name, func(t *testing.T) {
			v := s.visit(t, l)
			v.ready()
			v.shot("1-empty")
			v.accessible()
			picture := s.file("circle-left-of-cross.png")
			v.do(chromedp.SendKeys(chromedp.CSS("#labels"), strings.Join(labels, "\n")))
			v.drop("#stage", picture)
			v.ranked(picture, imageclassification.Request{Labels: labels})
			v.shot("2-ranked")
			v.click("#results .row")
			v.mapped()
			v.said("map-caption", "“a photo of a "+v.rows()[0].Label+".”, cosine")
			v.click("#find-alike")
			v.hits(t, "like circle-left-of-cross.png", imagesearch.Part{Image: read(t, picture)})
			v.shot("3-map")
			v.accessible()
			v.do(chromedp.SendKeys(chromedp.CSS("#query"), "a green heart"+kb.Enter))
			v.hits(t, "for “a green heart”", imagesearch.Part{Text: "a green heart"})
			path := v.eval(`document.querySelector("#hits button").title`)
			v.click("#hits button")
			v.said("find-status", "like "+path)
			v.shot("4-words")
			v.click("#find-alike")
			v.hits(t, "like circle-left-of-cross.png", imagesearch.Part{Image: read(t, picture)})
			v.curled(t)
			if got := v.eval("document.documentElement.scrollWidth <= innerWidth"); got != "true" {
				t.Error("the page is wider than the window")
			}
		})
	}
}

// read returns a file.
func read(t *testing.T, path string) []byte {
	t.Helper()
	file, err := os.ReadFile(path)
	must(t, err)
	return file
}

// hits waits until pictures of the index are shown, and compares them with what the model finds.
func (v *visit) hits(t *testing.T, words string, query imagesearch.Part) {
	t.Helper()
	v.said("find-status", words)
	v.wait(`document.querySelectorAll("#hits img").length === 12 && [...document.querySelectorAll("#hits img")].every((i) => i.complete && i.naturalWidth === 256)`)
	want, err := v.site.Engine().Search(t.Context(), "demo", imagesearch.Request{Query: []imagesearch.Part{query}, TopK: 12})
	must(t, err)
	got := v.found(t)
	for i, h := range want.Hits {
		if w := fmt.Sprintf("%s %.3f", h.Name(), h.Score); i >= len(got) || got[i] != w {
			t.Errorf("hits are %q, want %s at %d", got, w, i)
			break
		}
	}
}

// found returns the pictures that are shown, with their scores.
func (v *visit) found(t *testing.T) (all []string) {
	t.Helper()
	must(t, json.Unmarshal([]byte(v.eval(`JSON.stringify([...document.querySelectorAll("#hits button")].map((b) => b.querySelector(".name").textContent + " " + b.querySelector(".score").textContent))`)), &all))
	return all
}

// accessible looks for faults by axe-core, which AXE names the file of.
func (v *visit) accessible() {
	v.t.Helper()
	path := os.Getenv("AXE")
	if path == "" {
		return
	}
	if _, err := chromedp.Run(v, chromedp.Evaluate[any](string(read(v.t, path))+"; undefined", chromedp.EvalAsValue)); err != nil {
		v.t.Fatal(err)
	}
	v.wait(`document.getAnimations().length === 0`)
	var faults []struct {
		ID, Help string
		Nodes    []struct{ HTML, FailureSummary string }
	}
	must(v.t, json.Unmarshal([]byte(v.eval(`axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }).then((r) => JSON.stringify(r.violations))`)), &faults))
	for _, f := range faults {
		v.t.Errorf("%s: %s", f.ID, f.Help)
		for _, n := range f.Nodes {
			v.t.Errorf("  %s: %s", n.HTML, n.FailureSummary)
		}
	}
}

// TestKeyboard: all of it works by keys alone, and what has the focus can be seen.
func TestKeyboard(t *testing.T) {
	s := newSite(t, "")
	v := s.visit(t, look{name: "keyboard"})
	v.ready()
	focus := func() string {
		return v.eval(`((e) => e.id || e.className || e.title || e.tagName)(document.activeElement)`)
	}
	var order []string
	visited := map[string]bool{}
	tab := func() string {
		v.do(chromedp.KeyEvent(kb.Tab))
		at := focus()
		if got := v.eval(`((s) => s.outlineStyle === "solid" && parseFloat(s.outlineWidth) >= 2)(getComputedStyle(document.activeElement))`); got != "true" && at != "BODY" {
			t.Errorf("nothing shows that %s has the focus", at)
		}
		order = append(order, at)
		visited[at] = true
		return at
	}
	to := func(want string) {
		t.Helper()
		for range 40 {
			if tab() == want {
				return
			}
		}
		t.Fatalf("the tab key does not lead to %s: %q", want, order)
	}
	to("circle left of cross") // an example, whose names are labels when there are none
	v.do(chromedp.KeyEvent(" "))
	var names []string
	for _, p := range demo.Pictures() {
		names = append(names, strings.ReplaceAll(strings.TrimSuffix(p.Name(), ".png"), "-", " "))
	}
	v.ranked(s.file("circle-left-of-cross.png"), imageclassification.Request{Labels: names})
	to("labels")
	v.do(chromedp.KeyEvent("a", chromedp.KeyModifiers(chromedp.ModifierCtrl)), chromedp.KeyEvent("blue cross, red circle, yellow heart"), chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	v.wait(`document.querySelectorAll("#results .row").length === 3`)
	v.ranked(s.file("circle-left-of-cross.png"), imageclassification.Request{Labels: []string{"blue cross", "red circle", "yellow heart"}})
	to("multi")
	v.do(chromedp.KeyEvent(" "))
	v.said("status", "%")
	v.ranked(s.file("circle-left-of-cross.png"), imageclassification.Request{Labels: []string{"blue cross", "red circle", "yellow heart"}, Multi: true})
	to("SUMMARY")
	v.do(chromedp.KeyEvent(kb.Enter))
	to("templates")
	v.do(chromedp.KeyEvent("a {}"))
	to("rank")
	v.do(chromedp.KeyEvent(kb.Enter))
	v.ranked(s.file("circle-left-of-cross.png"), imageclassification.Request{Labels: []string{"blue cross", "red circle", "yellow heart"}, Multi: true, Templates: []string{"a {}"}})
	to("row")
	v.do(chromedp.KeyEvent(kb.Enter))
	v.mapped()
	v.said("map-caption", "“a blue cross”")
	if got := v.eval(`document.activeElement.getAttribute("aria-pressed")`); got != "true" {
		t.Errorf("the row is pressed: %s, want true", got)
	}
	to("query")
	v.do(chromedp.KeyEvent("stars" + kb.Enter))
	v.hits(t, "for “stars”", imagesearch.Part{Text: "stars"})
	to("find-alike")
	v.do(chromedp.KeyEvent(kb.Enter))
	v.hits(t, "like circle-left-of-cross.png", imagesearch.Part{Image: read(t, s.file("circle-left-of-cross.png"))})
	to("curl")
	to("copy")
	to("model")
	v.do(chromedp.KeyEvent(kb.ArrowDown))
	v.wait(`document.querySelector("#model").value === "demo-2" && document.querySelector("#find").hidden`)
	to("stage")
	to("method")
	v.do(chromedp.KeyEvent(kb.ArrowDown))
	v.said("map-caption", "same for every label")
	to("opacity")
	v.do(chromedp.KeyEvent(kb.ArrowRight))
	v.wait(`getComputedStyle(document.querySelector("#colours")).opacity === "0.81"`)
	hash := v.eval("location.hash")
	for _, want := range []string{"model=demo-2", "labels=blue+cross%2C+red+circle%2C+yellow+heart", "templates=a+%7B%7D", "multi=1", "method=rollout"} {
		if !strings.Contains(hash, want) {
			t.Errorf("the address has %s, want %s in it", hash, want)
		}
	}
}

// TestAddress: who opens an address with choices sees them.
func TestAddress(t *testing.T) {
	s := newSite(t, "")
	v := s.visit(t, look{name: "address", hash: "#model=demo-2&labels=red+circle%0Ablue+cross&templates=a+%7B%7D&multi=1&method=similarity"})
	v.ready()
	got := v.eval(`JSON.stringify(["model", "labels", "templates", "method"].map((id) => document.getElementById(id).value).concat(document.getElementById("multi").checked, document.getElementById("more").open))`)
	if want := `["demo-2","red circle\nblue cross","a {}","similarity",true,true]`; got != want {
		t.Errorf("the page has %s, want %s", got, want)
	}
	must(t, call(v, cdppage.Navigate, cdppage.NavigateParams{URL: s.url + "/#labels=stars"}))
	v.wait(`document.getElementById("labels").value === "stars" && document.getElementById("model").value === "demo" && !document.getElementById("multi").checked`)
}

// TestFaults: what is wrong is said beside its cause, with the id of the request.
func TestFaults(t *testing.T) {
	s := newSite(t, "")
	v := s.visit(t, look{name: "faults", hash: "#labels=red+circle%0Aa+zebra"})
	v.ready()
	v.click("#rank")
	v.said("picture-error", "Choose a picture first.")
	v.drop("#stage", s.file("red-circle.png"))
	v.said("labels-error", "zebra")
	v.said("labels-error", "Request ")
	v.wait(`document.getElementById("picture-error").textContent === ""`)
	v.eval(`void (document.getElementById("labels").value = "red circle, blue cross")`)
	none := filepath.Join(t.TempDir(), "words.txt")
	must(t, os.WriteFile(none, []byte("no picture"), 0o644))
	v.drop("#stage", none)
	v.said("picture-error", "Request ")
	v.wait(`document.getElementById("picture-name").textContent === "words.txt"`)
	large := filepath.Join(t.TempDir(), "large.png")
	must(t, os.WriteFile(large, make([]byte, 21<<20), 0o644))
	v.drop("#stage", large)
	v.said("picture-error", "The file has 21.0 MB; this server takes at most 20.0 MB.")
	v.click("#find-words")
	v.said("find-error", "Type some words first.")
	v.do(chromedp.SendKeys(chromedp.CSS("#query"), "zebras"+kb.Enter))
	v.said("find-error", "zebras")
	v.shot("faults")
	s.busy.Store(true)
	v.drop("#stage", s.file("red-circle.png"))
	v.said("rank-error", "Too many requests. Try again in 7 seconds.")
	s.busy.Store(false)
	s.stop()
	v.drop("#stage", s.file("red-circle.png"))
	v.said("rank-error", "The server did not answer.")
	v.shot("down")
}

// TestCancel: who cancels, or begins anew, lets the server stop.
func TestCancel(t *testing.T) {
	s := newSite(t, "")
	v := s.visit(t, look{name: "cancel", hash: "#labels=red+circle%0Ablue+cross"})
	v.ready()
	hold := make(chan struct{})
	s.hold.Store(&hold)
	v.drop("#stage", s.file("red-circle.png"))
	v.said("rank", "Cancel")
	v.shot("waiting")
	v.click("#rank")
	v.said("status", "Cancelled")
	v.said("rank", "Rank")
	v.leaves()
	v.drop("#stage", s.file("green-heart.png"))
	v.said("rank", "Cancel")
	v.drop("#stage", s.file("blue-square.png"))
	v.leaves()
	v.said("rank", "Cancel")
	s.hold.Store(nil)
	close(hold)
	v.ranked(s.file("blue-square.png"), imageclassification.Request{Labels: []string{"red circle", "blue cross"}})
}

// leaves waits until the server has seen a client go.
func (v *visit) leaves() {
	v.t.Helper()
	select {
	case <-v.site.gone:
	case <-time.After(20 * time.Second):
		v.fail(errors.New("no client has gone"))
	}
}

// TestToken: a page whose server wants a token asks for one, says when it is not known, and keeps it in the tab.
func TestToken(t *testing.T) {
	s := newSite(t, "secret-1234567890")
	v := s.visit(t, look{name: "token", hash: "#labels=red+circle%0Ablue+cross"})
	v.wait(`!document.getElementById("token-form").hidden && document.activeElement.id === "token"`)
	v.shot("wanted")
	v.accessible()
	v.do(chromedp.KeyEvent("secret-2234567890" + kb.Enter))
	v.said("token-error", "The server does not know this token.")
	v.said("token-error", "Request ")
	v.do(chromedp.KeyEvent("a", chromedp.KeyModifiers(chromedp.ModifierCtrl)), chromedp.KeyEvent("secret-1234567890"+kb.Enter))
	v.ready()
	v.wait(`document.getElementById("token-form").hidden`)
	v.drop("#stage", s.file("red-circle.png"))
	v.ranked(s.file("red-circle.png"), imageclassification.Request{Labels: []string{"red circle", "blue cross"}})
	v.click("#find-alike")
	v.hits(t, "like red-circle.png", imagesearch.Part{Image: read(t, s.file("red-circle.png"))})
	v.said("curl", `-H "Authorization: Bearer $VITAGO_TOKEN"`)
	if got := v.eval(`JSON.stringify([localStorage.length, sessionStorage.length, location.href.includes("secret"), document.documentElement.outerHTML.includes("secret-1234567890")])`); got != `[0,1,false,false]` {
		t.Errorf("kept in the browser's storage, that of the tab, in the address and in the page: %s", got)
	}
	if kept, err := chromedp.Call(v, network.GetCookies, network.GetCookiesParams{}); err != nil || len(kept.Cookies) > 0 {
		t.Errorf("cookies are %v, %v, want none", kept.Cookies, err)
	}
	v.curled(t)
	v.do(chromedp.Reload())
	v.ready()
}

// curled runs the commands that the page shows in a shell, where the pictures are, and compares what they say with what the page shows.
func (v *visit) curled(t *testing.T) {
	t.Helper()
	v.click("#copy")
	v.said("copied", "Copied")
	commands := v.eval(`document.getElementById("curl").textContent`)
	shell := exec.Command("bash", "-e", "-o", "pipefail", "-c", commands)
	shell.Dir = v.site.pictures
	shell.Env = append(os.Environ(), "VITAGO_TOKEN="+v.site.token)
	var stderr bytes.Buffer
	shell.Stderr = &stderr
	out, err := shell.Output()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, &stderr, commands)
	}
	var classified struct {
		Pictures []struct{ Labels []clip.Label }
	}
	var found struct {
		Hits []struct {
			Path  string
			Score float64
		}
	}
	d := json.NewDecoder(bytes.NewReader(out))
	must(t, d.Decode(&classified))
	must(t, d.Decode(&found))
	var said, shown []string
	for _, p := range classified.Pictures {
		for _, l := range p.Labels {
			said = append(said, fmt.Sprintf("%s %.1f %% %.3f", l.Name, 100*l.Probability, l.Cosine))
		}
	}
	for _, h := range found.Hits {
		said = append(said, fmt.Sprintf("%s %.3f", filepath.Base(h.Path), h.Score))
	}
	for _, r := range v.rows() {
		shown = append(shown, r.Label+" "+r.Probability+" "+r.Cosine)
	}
	shown = append(shown, v.found(t)...)
	if !slices.Equal(said, shown) || len(said) < 3 {
		t.Errorf("curl says %q, the page shows %q:\n%s\n%s", said, shown, commands, out)
	}
}

// TestForeign: of a picture that the browser does not know, the server's is shown when there is a map of it.
func TestForeign(t *testing.T) {
	s := newSite(t, "")
	v := s.visit(t, look{name: "foreign", hash: "#labels=red+circle%0Ablue+cross"})
	v.ready()
	f, err := os.Open(s.file("red-circle.png"))
	must(t, err)
	img, err := png.Decode(f)
	must(t, errors.Join(err, f.Close()))
	b := img.Bounds()
	ppm := fmt.Appendf(nil, "P6 %d %d 255\n", b.Dx(), b.Dy())
	for i := range b.Dx() * b.Dy() {
		c := color.RGBAModel.Convert(img.At(i%b.Dx(), i/b.Dx())).(color.RGBA)
		ppm = append(ppm, c.R, c.G, c.B)
	}
	picture := s.file("red-circle.ppm")
	must(t, os.WriteFile(picture, ppm, 0o644))
	v.drop("#stage", picture)
	v.said("picture-name", "this browser cannot show it")
	v.ranked(picture, imageclassification.Request{Labels: []string{"red circle", "blue cross"}})
	v.click("#results .row")
	v.mapped()
	v.wait(`!document.getElementById("shown").hidden && document.getElementById("shown").naturalWidth === 256`)
}

// TestPaste: a picture that is pasted is taken.
func TestPaste(t *testing.T) {
	s := newSite(t, "")
	v := s.visit(t, look{name: "paste", hash: "#labels=red+circle%0Ablue+cross"})
	v.ready()
	v.eval(fmt.Sprintf(`(() => {
		const data = new DataTransfer();
		data.items.add(new File([Uint8Array.from(atob(%q), (c) => c.charCodeAt(0))], "pasted.png", { type: "image/png" }));
		document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
	})()`, base64.StdEncoding.EncodeToString(read(t, s.file("red-circle.png")))))
	v.ranked(s.file("red-circle.png"), imageclassification.Request{Labels: []string{"red circle", "blue cross"}})
}
