package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gonum.org/v1/plot/plotter"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/plural"
)

//go:embed serve.py
var servePy []byte

// serveParts are those of a race of servers.
var serveParts = []string{"rate", "growth"}

// A serveRun is a server from its start to its end, or a run of encode beside it.
type serveRun struct {
	Contender string  `json:"contender"`
	Round     int     `json:"round"`
	Rate      float64 `json:"rate"`             // images per second
	First     float64 `json:"first,omitempty"`  // answer, seconds since the process was started
	Memory    int64   `json:"memory,omitempty"` // bytes resident at the end, of all processes, shared pages once (PSS)
	Peak      int64   `json:"peak,omitempty"`   // bytes, the most that they had resident (VmHWM)
	Cosine    float64 `json:"cosine,omitempty"` // to what encode gives, the least of any file
}

// A serveRace is all that was measured of servers, as -json has it.
type serveRace struct {
	Machine machine           `json:"machine"`
	Config  string            `json:"config"`
	Files   int               `json:"files"`
	Clients int               `json:"clients"`
	Failed  map[string]string `json:"failed"`
	Runs    []serveRun        `json:"runs"`
	Growth  []servePoint      `json:"growth"`
}

// A servePoint is how much memory a server has after so many requests.
type servePoint struct {
	Requests int   `json:"requests"`
	Memory   int64 `json:"memory"` // bytes resident, the median while the last of them were answered
}

// serveContenders take turns. The first is the command without a server, which the others are compared with.
var serveContenders = []contender{
	{name: "vitago encode", kind: "encode", cosine: f32Cosine},
	{name: "vitago serve", kind: "serve", cosine: f32Cosine},
	{name: "FastAPI, ONNX Runtime", kind: "fastapi", python: true, cosine: f32Cosine},
	{name: "infinity-emb, PyTorch", kind: "infinity", cosine: f32Cosine},
	{name: "vitago serve, bf16", kind: "bf16", cosine: bf16Cosine},
}

// growthAt are the numbers of requests at which memory is looked at.
var growthAt = []int{1_000, 2_000, 5_000, 10_000, 15_000, 20_000}

// growthSeen is during how many of them, the last ones, it is looked at: it moves by a tenth from one moment to the next, as pictures are
// decoded and the collector runs.
const growthSeen = 500

// serveAll measures servers: how many images a second many clients get, when the first has its answer, and how much memory that takes.
func serveAll(ctx context.Context, o options) (string, any, error) {
	s := &serveRace{Machine: thisMachine(o.command), Config: o.name, Files: o.files, Clients: o.clients, Failed: map[string]string{}}
	folder := filepath.Join(o.dir, "files")
	if _, err := writePictures(folder, o.pictures, o.files); err != nil {
		return "", nil, err
	}
	if o.vitago == "" {
		o.vitago = filepath.Join(o.dir, "vitago")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.vitago, "./cmd/vitago").CombinedOutput(); err != nil {
			return "", nil, fmt.Errorf("go build ./cmd/vitago: %w: %s", err, out)
		}
	}
	few := filepath.Join(o.dir, "few")
	if err := link(folder, few, min(16, o.files/16)); err != nil {
		return "", nil, err
	}
	files, err := readAll(folder)
	if err != nil {
		return "", nil, err
	}
	if o.does("rate") {
		if slices.ContainsFunc(choose(serveContenders, o.kinds), func(c contender) bool { return c.python }) {
			if err := export(ctx, o); err != nil {
				progress("no model for ONNX Runtime: %v", err)
			}
		}
		for round := range o.rounds {
			for _, c := range choose(serveContenders, o.kinds) {
				if s.Failed[c.name] != "" || ctx.Err() != nil || c.kind == "bf16" && !clipvit.BF16Pays() {
					continue
				}
				r := serveRun{Contender: c.name, Round: round}
				err := error(nil)
				if c.kind == "encode" {
					err = r.encode(ctx, o, folder, few)
				} else {
					err = r.serve(ctx, o, c, files)
				}
				if err != nil {
					s.Failed[c.name] = err.Error()
					progress("%s: %v", c.name, err)
					continue
				}
				progress("%s, round %d of %d: %.1f images/s, first after %.2f s, %s GB", c.name, round+1, o.rounds, r.Rate, r.First, gigabytes(r.Memory))
				s.Runs = append(s.Runs, r)
			}
		}
	}
	if o.does("growth") {
		if err := s.grow(ctx, o); err != nil {
			s.Failed["growth"] = err.Error()
		}
	}
	if o.plot != "" {
		if err := drawPanels(o.plot, s.panels()); err != nil {
			return "", nil, err
		}
	}
	return s.markdown(), s, errors.Join(ctx.Err(), s.wrong())
}

// readAll returns the contents of all files of a folder.
func readAll(folder string) (all [][]byte, err error) {
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, err
}

// encode measures how fast the command is, of all files and of few: what these take is the start.
func (r *serveRun) encode(ctx context.Context, o options, folder, few string) error {
	var seconds [2]float64
	var counts [2]int
	for i, from := range []string{few, folder} {
		f := fileRun{Contender: r.Contender, Round: 0, Threads: runtime.NumCPU()}
		o := o
		o.batches, o.kinds = []int{32}, nil
		if err := f.run(ctx, o, fileContenders[0], from, false); err != nil {
			return err
		}
		seconds[i], counts[i] = f.Seconds, f.Files
	}
	r.Rate = float64(counts[1]-counts[0]) / (seconds[1] - seconds[0])
	return nil
}

// serve measures a server.
func (r *serveRun) serve(ctx context.Context, o options, c contender, files [][]byte) error {
	time.Sleep(quiet)
	s, err := startServer(ctx, o, c, o.dir)
	if err != nil {
		return err
	}
	defer s.stop()
	client := newClient(o.clients)
	defer client.CloseIdleConnections()
	first, err := s.first(ctx, client, files[0])
	if err != nil {
		return err
	}
	r.First = first.Seconds()
	if _, err := s.post(ctx, client, files, o.clients, min(2*o.clients, len(files)/16)); err != nil { // it warms up
		return err
	}
	begun := time.Now()
	vectors, err := s.post(ctx, client, files, o.clients, len(files))
	if err != nil {
		return err
	}
	r.Rate = float64(len(files)) / time.Since(begun).Seconds()
	for _, p := range family(s.cmd.Process.Pid) {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		r.Peak += statusBytes(status, "VmHWM")
		r.Memory += statusBytes(rollup, "Pss")
	}
	want, columns, err := readNPY(filepath.Join(o.dir, fmt.Sprintf("reference-%d.npy", len(files))))
	if errors.Is(err, os.ErrNotExist) {
		r.Cosine = 1
		return nil // encode does not take part
	} else if err != nil {
		return err
	}
	r.Cosine, _ = agreement(slices.Concat(vectors...), want, columns)
	return nil
}

// A server is one that runs.
type server struct {
	cmd    *exec.Cmd
	url    string
	inJSON bool // whether pictures are posted as data URIs in JSON, and not as files
	begun  time.Time
	stderr *tail
	done   chan error
}

// startServer starts the server of a contender for a model.
func startServer(ctx context.Context, o options, c contender, model string) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a free port, which nobody else on this machine takes so soon
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	argv := []string{o.vitago, "serve", "--model", "bench=" + model, "--listen", address}
	if c.kind == "bf16" {
		argv = append(argv, "--precision", c.kind)
	}
	if c.python {
		script := filepath.Join(o.dir, "serve.py")
		if err := os.WriteFile(script, servePy, 0o644); err != nil {
			return nil, err
		}
		argv = []string{o.python, script, o.dir, port, strconv.Itoa(runtime.NumCPU())}
	}
	var env []string
	if c.kind == "infinity" {
		if argv, env, err = infinity(o, port); err != nil {
			return nil, err
		}
	}
	s := &server{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), url: "http://" + address + "/v1/embeddings", inJSON: c.kind == "infinity", stderr: &tail{}, done: make(chan error, 1)}
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stderr = s.stderr
	s.begun = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.done <- s.cmd.Wait() }()
	return s, nil
}

// infinity returns the command line and the environment of infinity-emb, and writes the model as it wants it: both towers, a tokenizer, and
// what prepares pictures. The vision tower has the same weights, since those of texts are drawn after it; the text tower is next to nothing.
func infinity(o options, port string) (argv, env []string, err error) {
	if o.infinity == "" {
		return nil, nil, errors.New("no interpreter: -infinity names one that has requirements-infinity.txt")
	}
	folder, c := filepath.Join(o.dir, "infinity"), o.config
	c.text = cliptext.Config{Vocab: 2, Context: 77, Width: 64, Heads: 1, Layers: 1, MLPWidth: 64, EmbedDim: c.EmbedDim, Activation: c.Activation, NormEps: c.NormEps, End: 1}
	err = writeModel(folder, c)
	for name, text := range map[string]string{
		"preprocessor_config.json": fmt.Sprintf(`{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": %d}, "crop_size": {"height": %[1]d, "width": %[1]d}}`, c.ImageSize),
		"tokenizer_config.json":    `{"tokenizer_class": "CLIPTokenizer"}`,
		"vocab.json":               `{"<|startoftext|>": 0, "<|endoftext|>": 1}`,
		"merges.txt":               "#version: 0.2\n",
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644))
	}
	argv = []string{
		o.infinity, "-m", "infinity_emb.cli", "v2", "--model-id", folder, "--served-model-name", "bench", "--engine", "torch", "--device", "cpu", "--batch-size", "32",
		"--no-bettertransformer", "--no-model-warmup", "--host", "127.0.0.1", "--port", port, "--url-prefix", "/v1",
	}
	return argv, []string{"HF_HUB_OFFLINE=1", "DO_NOT_TRACK=1", "INFINITY_HOME=" + folder, fmt.Sprintf("OMP_NUM_THREADS=%d", runtime.NumCPU())}, err
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt)
	select {
	case <-s.done: //nolint:errcheck // how a server ends is no matter of what was measured
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.done //nolint:errcheck // likewise
	}
}

func newClient(clients int) *http.Client {
	return &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients}}
}

// first asks until there is an answer, and returns how long it took from the start.
func (s *server) first(ctx context.Context, client *http.Client, file []byte) (time.Duration, error) {
	for time.Since(s.begun) < 2*time.Minute && ctx.Err() == nil {
		if _, err := s.one(ctx, client, file); err == nil {
			return time.Since(s.begun), nil
		}
		select {
		case err := <-s.done:
			s.done <- err
			return 0, errors.New(s.stderr.last(err))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return 0, errors.New("no answer")
}

// one has a picture encoded.
func (s *server) one(ctx context.Context, client *http.Client, file []byte) ([]float32, error) {
	kind := "image/jpeg"
	if bytes.HasPrefix(file, []byte("\x89PNG")) {
		kind = "image/png"
	}
	if s.inJSON {
		file = fmt.Appendf(nil, `{"model": "bench", "modality": "image", "input": ["data:%s;base64,%s"]}`, kind, base64.StdEncoding.EncodeToString(file))
		kind = "application/json"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", kind)
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %.200s", answer.Status, b)
	}
	var v struct {
		Data []struct {
			Embedding []float32 `json:"embedding"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Data) != 1 {
		return nil, fmt.Errorf("%.200s is no answer", b)
	}
	return v.Data[0].Embedding, nil
}

// post has n pictures encoded by so many clients at a time, each of which posts one after the other.
func (s *server) post(ctx context.Context, client *http.Client, files [][]byte, clients, n int) ([][]float32, error) {
	vectors := make([][]float32, n)
	var next atomic.Int64
	errs := make([]error, clients)
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || errs[c] != nil {
					return
				}
				vectors[i], errs[c] = s.one(ctx, client, files[i%len(files)])
			}
		})
	}
	all.Wait()
	return vectors, errors.Join(errs...)
}

// grow has the small model answer many requests, and looks at the memory that the server has.
func (s *serveRace) grow(ctx context.Context, o options) error {
	server, err := startServer(ctx, o, serveContenders[1], "builtin:demo")
	if err != nil {
		return err
	}
	defer server.stop()
	folder := filepath.Join(o.dir, "small")
	if _, err := writePictures(folder, "", 64); err != nil {
		return err
	}
	files, err := readAll(folder)
	if err != nil {
		return err
	}
	client := newClient(o.clients)
	defer client.CloseIdleConnections()
	if _, err := server.first(ctx, client, files[0]); err != nil {
		return err
	}
	done := 0
	for _, n := range growthAt {
		if _, err := server.post(ctx, client, files, o.clients, n-done-growthSeen); err != nil {
			return err
		}
		done = n
		seen := make(chan struct{})
		var failed error
		go func() {
			_, failed = server.post(ctx, client, files, o.clients, growthSeen)
			close(seen)
		}()
		var samples []float64
		for under := true; under; {
			select {
			case <-seen:
				under = false
			case <-time.After(20 * time.Millisecond):
				status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.cmd.Process.Pid))
				if err != nil {
					return err
				}
				samples = append(samples, float64(statusBytes(status, "VmRSS")))
			}
		}
		if failed != nil {
			return failed
		}
		s.Growth = append(s.Growth, servePoint{n, int64(median(samples))})
		progress("after %d requests %s GB", n, gigabytes(s.Growth[len(s.Growth)-1].Memory))
	}
	return nil
}

// wrong returns an error that names every contender whose embeddings are not those of encode.
func (s *serveRace) wrong() error {
	var errs []error
	for _, r := range s.Runs {
		for _, c := range serveContenders {
			if r.Contender == c.name && c.kind != "encode" && r.Cosine < c.cosine {
				errs = append(errs, fmt.Errorf("%s: the cosine to %s is %.7f, want %v or more", r.Contender, serveContenders[0].name, r.Cosine, c.cosine))
			}
		}
	}
	return errors.Join(errs...)
}

// of returns the medians of a contender's runs, NaN of what was not measured.
func (s *serveRace) of(name string) (rate, first, memory, peak float64) {
	pick := func(of func(serveRun) float64) float64 {
		var all []float64
		for _, r := range s.Runs {
			if v := of(r); r.Contender == name && v > 0 {
				all = append(all, v)
			}
		}
		if all == nil {
			return math.NaN()
		}
		return median(all)
	}
	return pick(func(r serveRun) float64 { return r.Rate }), pick(func(r serveRun) float64 { return r.First }),
		pick(func(r serveRun) float64 { return float64(r.Memory) }), pick(func(r serveRun) float64 { return float64(r.Peak) })
}

// markdown writes the tables.
func (s *serveRace) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n%s, %s, %s at a time.\n", s.Machine.markdown(), s.Config, plural.Of(s.Files, "JPEG file"), plural.Of(s.Clients, "client"))
	for name, why := range s.Failed {
		fmt.Fprintf(&b, "\nNot measured: %s (%s).\n", name, why)
	}
	if len(s.Runs) > 0 {
		ours := serveContenders[1].name
		rate, first, memory, _ := s.of(ours)
		var rows [][]string
		for _, c := range serveContenders {
			r, f, m, p := s.of(c.name)
			if math.IsNaN(r) {
				continue
			}
			or := func(v float64, text string) string {
				if math.IsNaN(v) {
					return ""
				}
				return text
			}
			rows = append(rows, []string{
				c.name, number(r, 1), or(f, number(f, 2)), or(m, gigabytes(int64(m))), or(p, gigabytes(int64(p))),
				number(rate/r, 2), or(f, number(f/first, 2)), or(m, number(m/memory, 2)),
			})
		}
		fmt.Fprintf(&b, "\n### %s, %s\n\n%s", s.Config, plural.Of(s.Clients, "client"), table([]string{
			"", "images/s", "first answer, s", "resident, GB (PSS)", "peak, GB", "images/s of serve to it", "its first answer to that of serve", "its memory to that of serve",
		}, rows...))
	}
	if len(s.Growth) > 0 {
		var rows [][]string
		for _, p := range s.Growth {
			rows = append(rows, []string{strconv.Itoa(p.Requests), number(float64(p.Memory)/1e6, 1), number(float64(p.Memory)/float64(s.Growth[0].Memory), 3)})
		}
		fmt.Fprintf(&b, "\n### Memory by requests, the small model\n\n%s", table([]string{"requests", "resident, MB", "to the first"}, rows...))
	}
	return b.String()
}

// panels are the plots of a race of servers.
func (s *serveRace) panels() (all []panel) {
	if len(s.Growth) > 0 {
		c := curve{name: "vitago serve"}
		for _, p := range s.Growth {
			c.xy = append(c.xy, plotter.XY{X: float64(p.Requests), Y: float64(p.Memory) / 1e6})
		}
		all = append(all, panel{title: "Memory, the small model", x: "requests", y: "MB resident", curves: []curve{c}})
	}
	bars := func(title, y string, of func(name string) float64) {
		p := panel{title: title, y: y}
		for _, c := range serveContenders {
			if v := of(c.name); !math.IsNaN(v) {
				p.labels = append(p.labels, c.name)
				p.curves = append(p.curves, curve{name: c.name, xy: plotter.XYs{{X: float64(len(p.labels) - 1), Y: v}}})
			}
		}
		if len(p.curves) > 1 {
			all = append(all, p)
		}
	}
	bars(fmt.Sprintf("%s, %s", s.Config, plural.Of(s.Clients, "client")), "images/s", func(n string) float64 { r, _, _, _ := s.of(n); return r })
	bars("First answer after the start", "seconds", func(n string) float64 { _, f, _, _ := s.of(n); return f })
	bars("Memory under load", "GB (PSS)", func(n string) float64 { _, _, m, _ := s.of(n); return m / 1e9 })
	return all
}
