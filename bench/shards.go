package main

import (
	"archive/tar"
	"context"
	_ "embed"
	"errors"
	"fmt"
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
	"time"

	"github.com/vitago/vitago/internal/plural"
)

//go:embed shards.py
var shardsPy []byte

// shardParts are those of a race of encoding by shards.
var shardParts = []string{"rate", "processes", "memory"}

// A shardRun is a process from its start to its end, or several at a time, that encoded the pictures of tars.
type shardRun struct {
	Contender string  `json:"contender"`
	Round     int     `json:"round"`
	Rate      float64 `json:"rate"`             // images per second, without the start
	CPU       float64 `json:"cpu"`              // seconds of all its processes per image, without the start
	Server    float64 `json:"server,omitempty"` // seconds of processor per image that the server of the bucket took
	Peak      int64   `json:"peak,omitempty"`   // bytes, the sum of the peaks of its processes (VmHWM)
	Memory    int64   `json:"memory,omitempty"` // bytes, the most that all its processes had resident at once, shared pages once (PSS)
	Cosine    float64 `json:"cosine,omitempty"` // to what encode gives, the least of any file
}

// A shardPoint is how much memory so many rows take.
type shardPoint struct {
	Rows int   `json:"rows"`
	Peak int64 `json:"peak"` // bytes resident at most (VmHWM)
}

// A shardRace is all that was measured of encoding by shards, as -json has it.
type shardRace struct {
	Machine machine           `json:"machine"`
	Config  string            `json:"config"`
	Files   int               `json:"files"`
	Tar     int               `json:"tar"` // files in a tar
	Failed  map[string]string `json:"failed"`
	Runs    []shardRun        `json:"runs"`
	Growth  []shardPoint      `json:"growth"`
}

// clipCosine is what float16 of vectors leaves, and the rules of OpenCLIP for images, which differ a little from those of the model's own library.
const clipCosine = 0.999

// shardContenders take turns. The first is encode without shards, which the others are compared with.
var shardContenders = []contender{
	{name: "vitago encode, local files", kind: "encode", cosine: f32Cosine},
	{name: "vitago encode --shards, tars on S3", kind: "s3", cosine: f32Cosine},
	{name: "clip-retrieval, local tars", kind: "clip-retrieval", python: true, cosine: clipCosine},
}

// Those of the part processes.
const (
	oneProcess   = "one process on one core"
	twoProcesses = "two processes on one core each"
)

// shardGrowth are the numbers of rows at which memory is looked at.
var shardGrowth = []int{1_000, 10_000, 100_000}

// shardsAll measures encoding by shards: how many images a second, beside encode and clip-retrieval; two processes beside one; memory by rows.
func shardsAll(ctx context.Context, o options) (string, any, error) {
	s := &shardRace{Machine: thisMachine(o.command), Config: o.name, Files: o.files, Tar: o.files / 8, Failed: map[string]string{}}
	if o.vitago == "" {
		o.vitago = filepath.Join(o.dir, "vitago")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.vitago, "./cmd/vitago").CombinedOutput(); err != nil {
			return "", nil, fmt.Errorf("go build ./cmd/vitago: %w: %s", err, out)
		}
	}
	if o.does("rate") || o.does("processes") {
		if err := s.prepare(o); err != nil {
			return "", nil, err
		}
	}
	for _, part := range []struct {
		name string
		do   func(context.Context, options) error
	}{{"rate", s.rate}, {"processes", s.processes}, {"memory", s.grow}} {
		if !o.does(part.name) || ctx.Err() != nil {
			continue
		}
		if err := part.do(ctx, o); err != nil {
			s.Failed[part.name] = err.Error()
		}
	}
	return s.markdown(), s, errors.Join(ctx.Err(), s.wrong())
}

// The folders of a race, below its own: pictures, tars of them, and a quarter of both, which are subtracted, so that the start does not count.
const (
	allFiles, fewFiles = "files", "few"
	allTars, fewTars   = "tars", "tars-few"
)

// prepare makes pictures and tars.
func (s *shardRace) prepare(o options) error {
	at := func(name string) string { return filepath.Join(o.dir, name) }
	if _, err := writePictures(at(allFiles), o.pictures, s.Files); err != nil {
		return err
	}
	if err := link(at(allFiles), at(fewFiles), 2*s.Tar); err != nil {
		return err
	}
	if err := writeTars(at(allFiles), at(allTars), s.Tar); err != nil {
		return err
	}
	return writeTars(at(fewFiles), at(fewTars), s.Tar)
}

// writeTars writes the pictures of a folder into tars of so many, as img2dataset names them.
func writeTars(from, to string, each int) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(to), os.MkdirAll(to, 0o755)); err != nil {
		return err
	}
	for n := 0; len(entries) > 0; n++ {
		some := entries[:min(each, len(entries))]
		entries = entries[len(some):]
		f, err := os.Create(filepath.Join(to, fmt.Sprintf("%05d.tar", n)))
		if err != nil {
			return err
		}
		w := tar.NewWriter(f)
		for _, e := range some {
			b, err := os.ReadFile(filepath.Join(from, e.Name()))
			if err == nil {
				err = w.WriteHeader(&tar.Header{Name: e.Name(), Mode: 0o644, Size: int64(len(b))})
			}
			if err == nil {
				_, err = w.Write(b)
			}
			if err != nil {
				return errors.Join(err, f.Close())
			}
		}
		if err := errors.Join(w.Close(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// bucket serves the files of a folder as the objects of a bucket: what of S3 reading takes, GET of ranges and HEAD, with ETags.
func bucket(folder string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := filepath.Join(folder, filepath.FromSlash(filepath.Clean("/"+strings.TrimPrefix(r.URL.Path, "/bench/"))))
		f, err := os.Open(path)
		if err != nil {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
			return
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/x-tar")
		w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.Size(), info.ModTime().UnixNano()))
		http.ServeContent(w, r, "", info.ModTime(), f)
	})
}

// inBucket is where the files of a folder are when [bucket] serves them.
func inBucket(folder string) (all []string, err error) {
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		all = append(all, "s3://bench/"+filepath.Base(folder)+"/"+e.Name())
	}
	return all, err
}

// rate has every contender take turns, each with all pictures and with a quarter of them.
func (s *shardRace) rate(ctx context.Context, o options) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: bucket(o.dir)}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	env := []string{"AWS_ENDPOINT_URL=http://" + l.Addr().String(), "AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench", "AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true"}
	for round := range o.rounds {
		for _, c := range choose(shardContenders, o.kinds) {
			if s.Failed[c.name] != "" || ctx.Err() != nil {
				continue
			}
			r := shardRun{Contender: c.name, Round: round}
			if err := r.race(ctx, o, c, env); err != nil {
				s.Failed[c.name] = err.Error()
				progress("%s: %v", c.name, err)
				continue
			}
			progress("%s, round %d of %d: %.1f images/s, %.1f ms of processor an image, of the server %.1f, peak %s GB, cosine %.6f", c.name, round+1, o.rounds, r.Rate, 1e3*r.CPU, 1e3*r.Server, gigabytes(r.Peak), r.Cosine)
			s.Runs = append(s.Runs, r)
		}
	}
	return nil
}

// race measures a contender: of a quarter of the pictures the memory, which slows it down to look at, then the time of a quarter and of all.
func (r *shardRun) race(ctx context.Context, o options, c contender, env []string) error {
	var seconds, cpu, server [2]float64
	var counts [2]int
	for _, run := range []struct {
		i      int
		memory bool
	}{{0, true}, {0, false}, {1, false}} {
		i, memory := run.i, run.memory
		if memory && r.Round > 0 {
			continue
		}
		files, tars := filepath.Join(o.dir, allFiles), filepath.Join(o.dir, allTars)
		if i == 0 {
			files, tars = filepath.Join(o.dir, fewFiles), filepath.Join(o.dir, fewTars)
		}
		entries, err := os.ReadDir(files)
		if err != nil {
			return err
		}
		counts[i] = len(entries)
		var took fileRun
		before := cpuSeconds()
		switch c.kind {
		case "encode":
			took = fileRun{Contender: r.Contender, Threads: runtime.NumCPU()}
			o := o
			o.batches, o.kinds = []int{32}, nil
			err = took.run(ctx, o, fileContenders[0], files, memory)
		case "s3":
			var inputs []string
			if inputs, err = inBucket(tars); err == nil {
				took, err = encodeShards(ctx, o, memory, env, filepath.Join(o.dir, "shards"), inputs...)
			}
		default:
			took, err = clipRetrieval(ctx, o, memory, tars)
		}
		if err != nil {
			return err
		}
		if c.kind == "s3" {
			server[i] = cpuSeconds() - before
		}
		seconds[i], cpu[i], r.Peak, r.Memory = took.Seconds, took.CPU, max(r.Peak, took.Peaks), max(r.Memory, took.Memory)
	}
	n := float64(counts[1] - counts[0])
	r.Rate, r.CPU, r.Server = n/(seconds[1]-seconds[0]), (cpu[1]-cpu[0])/n, (server[1]-server[0])/n
	var err error
	r.Cosine, err = r.agrees(ctx, o, c, counts[1])
	return err
}

// agrees compares the vectors with encode's.
func (r *shardRun) agrees(ctx context.Context, o options, c contender, n int) (float64, error) {
	want, columns, err := readNPY(filepath.Join(o.dir, fmt.Sprintf("reference-%d.npy", n)))
	if errors.Is(err, os.ErrNotExist) || c.kind == "encode" {
		return 1, nil
	} else if err != nil {
		return 0, err
	}
	var got []float32
	if c.python {
		sorted := filepath.Join(o.dir, "clip-retrieval.npy")
		if out, err := exec.CommandContext(ctx, o.python, filepath.Join(o.dir, "shards.py"), "sort", filepath.Join(o.dir, "clip-retrieval"), sorted).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%w: %s", err, out)
		}
		got, _, err = readNPY(sorted)
	} else {
		got, err = readShards(filepath.Join(o.dir, "shards"))
	}
	if err != nil {
		return 0, err
	}
	cosine, _ := agreement(got, want, columns)
	return cosine, nil
}

// readShards returns the vectors of all shards.
func readShards(out string) (all []float32, err error) {
	files, err := filepath.Glob(filepath.Join(out, "img_emb", "*.npy"))
	slices.Sort(files)
	for _, f := range files {
		some, _, err := readNPY(f)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, err
}

// encodeShards runs the command with --shards.
func encodeShards(ctx context.Context, o options, memory bool, env []string, out string, inputs ...string) (r fileRun, err error) {
	if err := os.RemoveAll(out); err != nil {
		return r, err
	}
	argv := append([]string{o.vitago, "encode", "--shards", "--model", o.dir, "--float32", "--batch", "32", "-o", out}, inputs...)
	return r, r.time(ctx, memory, argv, env)
}

// clipRetrieval runs clip-retrieval's inference.
func clipRetrieval(ctx context.Context, o options, memory bool, tars string) (r fileRun, err error) {
	script, weights := filepath.Join(o.dir, "shards.py"), filepath.Join(o.dir, "openclip.pt")
	if err := os.WriteFile(script, shardsPy, 0o644); err != nil {
		return r, err
	}
	if _, err := os.Stat(weights); err != nil {
		if out, err := exec.CommandContext(ctx, o.python, script, "export", o.dir, weights).CombinedOutput(); err != nil {
			return r, fmt.Errorf("weights for OpenCLIP: %w: %s", err, out)
		}
	}
	n := strconv.Itoa(runtime.NumCPU())
	return r, r.time(ctx, memory, []string{o.python, script, "encode", o.dir, weights, tars, filepath.Join(o.dir, "clip-retrieval"), "32", strconv.Itoa(o.workers), n}, []string{"OMP_NUM_THREADS=" + n})
}

// time runs a process and, if it is to be measured, watches its memory.
func (r *fileRun) time(ctx context.Context, memory bool, argv, env []string) error {
	time.Sleep(quiet)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	stderr := &tail{}
	cmd.Stderr = stderr
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	err := r.watch(cmd.Process.Pid, memory, done)
	r.Seconds = time.Since(begun).Seconds()
	if err != nil {
		return errors.New(stderr.last(err))
	}
	r.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return nil
}

// processes compares two processes on one core each with one.
func (s *shardRace) processes(ctx context.Context, o options) error {
	for round := range o.rounds {
		for _, n := range []int{1, 2} {
			var seconds, cpu [2]float64
			for i, tars := range []string{fewTars, allTars} {
				out := filepath.Join(o.dir, "shards")
				if err := os.RemoveAll(out); err != nil {
					return err
				}
				begun := time.Now()
				errs, runs := make(chan error, n), make([]fileRun, n)
				for p := range n {
					argv := []string{o.vitago, "encode", "--shards", "--model", o.dir, "--batch", "32", "--resume", "--part", fmt.Sprintf("%d/%d", p, n), "-o", out, filepath.Join(o.dir, tars)}
					go func() {
						errs <- runs[p].time(ctx, false, argv, []string{"GOMAXPROCS=1"})
					}()
				}
				for range n {
					if err := <-errs; err != nil {
						return err
					}
				}
				seconds[i] = time.Since(begun).Seconds()
				for _, r := range runs {
					cpu[i] += r.CPU
				}
			}
			images := float64(s.Files - 2*s.Tar)
			r := shardRun{Contender: []string{oneProcess, twoProcesses}[n-1], Round: round, Rate: images / (seconds[1] - seconds[0]), CPU: (cpu[1] - cpu[0]) / images}
			progress("%s, round %d of %d: %.1f images/s, %.1f ms of processor an image", r.Contender, round+1, o.rounds, r.Rate, 1e3*r.CPU)
			s.Runs = append(s.Runs, r)
		}
	}
	return nil
}

// growthTar is how many rows a tar of the part memory has: each tar is the same file by another name.
const growthTar = 1_000

// grow measures the memory of the small model in the program by rows.
func (s *shardRace) grow(ctx context.Context, o options) error {
	files, tars := filepath.Join(o.dir, "small"), filepath.Join(o.dir, "small-tars")
	if _, err := writePictures(files, o.pictures, 50); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(tars), os.MkdirAll(tars, 0o755)); err != nil {
		return err
	}
	one := filepath.Join(tars, "00000.tar")
	if err := repeatTar(files, one, growthTar); err != nil {
		return err
	}
	have := 1
	for _, rows := range shardGrowth {
		for ; have*growthTar < rows; have++ {
			if err := os.Link(one, filepath.Join(tars, fmt.Sprintf("%05d.tar", have))); err != nil {
				return err
			}
		}
		var r fileRun
		out := filepath.Join(o.dir, "small-shards")
		if err := os.RemoveAll(out); err != nil {
			return err
		}
		if err := r.time(ctx, true, []string{o.vitago, "encode", "--shards", "--model", "builtin:demo", "-o", out, tars}, nil); err != nil {
			return err
		}
		progress("%d rows: %.1f MB in %.1f s", rows, float64(r.Peaks)/1e6, r.Seconds)
		s.Growth = append(s.Growth, shardPoint{rows, r.Peaks})
	}
	return nil
}

// repeatTar writes a tar of n pictures, those of a folder by turns.
func repeatTar(folder, to string, n int) error {
	pictures, err := readAll(folder)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	for i := range n {
		b := pictures[i%len(pictures)]
		err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%09d.jpg", i), Mode: 0o644, Size: int64(len(b))})
		if err == nil {
			_, err = w.Write(b)
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(w.Close(), f.Close())
}

// of returns the medians of a contender's runs, with the most memory; the rate is NaN if there are none.
func (s *shardRace) of(name string) shardRun {
	all := shardRun{Contender: name, Rate: math.NaN()}
	var rates, cpu, server []float64
	for _, r := range s.Runs {
		if r.Contender == name {
			rates, cpu, server = append(rates, r.Rate), append(cpu, r.CPU), append(server, r.Server)
			all.Peak, all.Memory = max(all.Peak, r.Peak), max(all.Memory, r.Memory)
		}
	}
	if rates != nil {
		all.Rate, all.CPU, all.Server = median(rates), median(cpu), median(server)
	}
	return all
}

// wrong returns an error that names every contender whose vectors are not encode's.
func (s *shardRace) wrong() error {
	var errs []error
	for _, r := range s.Runs {
		for _, c := range shardContenders {
			if c.name == r.Contender && r.Cosine < c.cosine {
				errs = append(errs, fmt.Errorf("%s: the cosine to encode is %.7f, want %v or more", r.Contender, r.Cosine, c.cosine))
			}
		}
	}
	return errors.Join(errs...)
}

// markdown writes the tables.
func (s *shardRace) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n%s, %s, %d in a tar.\n", s.Machine.markdown(), s.Config, plural.Of(s.Files, "JPEG file"), s.Tar)
	for name, why := range s.Failed {
		fmt.Fprintf(&b, "\nNot measured: %s (%s).\n", name, why)
	}
	var rows [][]string
	ours := s.of(shardContenders[1].name)
	for _, c := range shardContenders {
		if r := s.of(c.name); !math.IsNaN(r.Rate) {
			rows = append(rows, []string{c.name, number(r.Rate, 1), number(1e3*r.CPU, 1), number(1e3*r.Server, 1), gigabytes(r.Memory), gigabytes(r.Peak), number(ours.Rate/r.Rate, 2), number(float64(r.Memory)/float64(ours.Memory), 2)})
		}
	}
	if rows != nil {
		fmt.Fprintf(&b, "\n### %s, all cores\n\n%s", s.Config, table([]string{"", "images/s", "processor, ms an image", "of the server, ms an image", "peak resident, GB (PSS)", "sum of peaks, GB", "images/s of shards to it", "its memory to that of shards"}, rows...))
	}
	if one := s.of(oneProcess); !math.IsNaN(one.Rate) {
		two := s.of(twoProcesses)
		fmt.Fprintf(&b, "\n### %s, processes\n\n%s", s.Config, table([]string{"", "images/s", "processor, ms an image", "to one"},
			[]string{oneProcess, number(one.Rate, 1), number(1e3*one.CPU, 1), "1.00"}, []string{twoProcesses, number(two.Rate, 1), number(1e3*two.CPU, 1), number(two.Rate/one.Rate, 2)}))
	}
	rows = nil
	for _, p := range s.Growth {
		rows = append(rows, []string{strconv.Itoa(p.Rows), number(float64(p.Peak)/1e6, 1), number(float64(p.Peak)/float64(s.Growth[0].Peak), 2)})
	}
	if rows != nil {
		fmt.Fprintf(&b, "\n### Memory by rows, the small model\n\n%s", table([]string{"rows", "peak resident, MB", "to the first"}, rows...))
	}
	return b.String()
}
