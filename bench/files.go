package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vitago/vitago/internal/plural"
)

// A fileRun is a process from its start to its end, that made embeddings of pictures in files.
type fileRun struct {
	Contender string  `json:"contender"`
	Round     int     `json:"round"` // 0 warms up, and measures the memory
	Files     int     `json:"files"`
	Threads   int     `json:"threads"`
	Seconds   float64 `json:"seconds"`
	CPU       float64 `json:"cpu"`                 // seconds of all threads, in all processes
	Memory    int64   `json:"memory,omitempty"`    // bytes, the most that all its processes had resident at once, shared pages once (PSS)
	Peaks     int64   `json:"peaks,omitempty"`     // bytes, the sum of the peaks of its processes (VmHWM)
	Processes int     `json:"processes,omitempty"` // at most
	Cosine    float64 `json:"cosine"`              // to the first contender's embeddings, the least of any file
}

// A pictureRun is decoding and resizing alone, of all files, by one thread.
type pictureRun struct {
	Contender string  `json:"contender"`
	Size      int     `json:"size"` // pixels per side
	CPU       float64 `json:"cpu"`  // seconds
	Same      bool    `json:"same"` // whether all pixels are the first contender's
}

// A fileRace is all that was measured of the way from files to embeddings, as -json has it.
type fileRace struct {
	Machine  machine           `json:"machine"`
	Config   string            `json:"config"`
	Files    int               `json:"files"`
	Bytes    int64             `json:"bytes"` // of all files
	Batch    int               `json:"batch"`
	Workers  int               `json:"workers"` // of Python, that decode
	Versions map[string]string `json:"versions"`
	Failed   map[string]string `json:"failed"` // why, by contender
	Runs     []fileRun         `json:"runs"`
	Pictures []pictureRun      `json:"pictures"`
}

// fileContenders make embeddings of files. The first is the command.
var fileContenders = []contender{
	{name: "vitago encode", kind: "encode", cosine: f32Cosine},
	{name: "Pillow, PyTorch frozen, DataLoader", kind: "torch-frozen", python: true, cosine: f32Cosine},
	{name: "Pillow, ONNX Runtime, Pool", kind: "ort", python: true, cosine: f32Cosine},
	{name: "Pillow, OpenVINO, Pool", kind: "openvino", python: true, cosine: f32Cosine},
}

// pictureContenders decode and resize.
var pictureContenders = []contender{{name: "vitago", kind: "encode"}, {name: "Pillow", kind: "pillow", python: true}}

// race measures the whole way from files to embeddings, and decoding with resizing alone.
func race(ctx context.Context, o options) (string, any, error) {
	f := &fileRace{Machine: thisMachine(o.command), Config: o.name, Files: o.files, Batch: o.batches[0], Workers: o.workers, Versions: map[string]string{}, Failed: map[string]string{}}
	folder := filepath.Join(o.dir, "files")
	var err error
	if f.Bytes, err = writePictures(folder, o.pictures, o.files); err != nil {
		return "", nil, err
	}
	if err := export(ctx, o); err != nil {
		progress("no model for ONNX Runtime and OpenVINO: %v", err)
	}
	if o.vitago == "" {
		o.vitago = filepath.Join(o.dir, "vitago")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.vitago, "./cmd/vitago").CombinedOutput(); err != nil {
			return "", nil, fmt.Errorf("go build ./cmd/vitago: %w: %s", err, out)
		}
	}
	few := filepath.Join(o.dir, "few")
	if err := link(folder, few, min(f.Batch, o.files)); err != nil {
		return "", nil, err
	}
	if o.does("encode") {
		for _, threads := range o.threads {
			f.encode(ctx, o, threads, folder, few)
		}
	}
	if o.does("pictures") {
		if err := f.decode(ctx, o, folder); err != nil {
			return "", nil, err
		}
	}
	return f.markdown(), f, errors.Join(ctx.Err(), f.wrong())
}

// encode has every contender take turns, each with all files and with few of them: what these take is the start.
func (f *fileRace) encode(ctx context.Context, o options, threads int, folder, few string) {
	for round := range o.rounds + 1 {
		for _, c := range choose(fileContenders, o.kinds) {
			for _, from := range []string{few, folder} {
				if f.Failed[c.name] != "" || ctx.Err() != nil {
					continue
				}
				r := fileRun{Contender: c.name, Round: round, Threads: threads}
				if err := r.run(ctx, o, c, from, round == 0); err != nil {
					f.Failed[c.name] = err.Error()
					progress("%s: %v", c.name, err)
					continue
				}
				progress("%s, %s, round %d of %d: %s, %.1f s, %.1f s of CPU", c.name, plural.Of(threads, "thread"), round, o.rounds, plural.Of(r.Files, "file"), r.Seconds, r.CPU)
				f.Runs = append(f.Runs, r)
			}
		}
	}
}

// run starts the process, waits for it, and compares what it wrote.
func (r *fileRun) run(ctx context.Context, o options, c contender, folder string, memory bool) error {
	list, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	r.Files = len(list)
	out := filepath.Join(o.dir, c.kind+".npy")
	batch := strconv.Itoa(o.batches[0])
	argv := []string{o.vitago, "encode", "--model", o.dir, "--batch", batch, "--threads", strconv.Itoa(r.Threads), "--overwrite", "-o", out, folder}
	if c.python {
		script, err := o.script()
		if err != nil {
			return err
		}
		argv = []string{o.python, script, "files", c.kind, strconv.Itoa(r.Threads), o.dir, folder, out, batch, strconv.Itoa(o.workers)}
	}
	time.Sleep(quiet)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("OMP_NUM_THREADS=%d", r.Threads))
	stderr := &tail{}
	cmd.Stderr = stderr
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	err = r.watch(cmd.Process.Pid, memory, done)
	r.Seconds = time.Since(begun).Seconds()
	if err != nil {
		return errors.New(stderr.last(err))
	}
	r.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	got, columns, err := readNPY(out)
	if err != nil {
		return err
	}
	first := filepath.Join(o.dir, fmt.Sprintf("reference-%d.npy", r.Files))
	if r.Round == 0 && c.kind == choose(fileContenders, o.kinds)[0].kind {
		b, err := os.ReadFile(out)
		if err := errors.Join(err, os.WriteFile(first, b, 0o644)); err != nil {
			return err
		}
	}
	want, _, err := readNPY(first)
	if err != nil {
		return err
	}
	r.Cosine, _ = agreement(got, want, columns)
	return nil
}

// watch waits for a process and, if it is to be measured, looks at the memory of it and of all that it started every 50 ms.
func (r *fileRun) watch(pid int, memory bool, done chan error) error {
	if !memory {
		return <-done
	}
	peaks := map[int]int64{}
	for {
		select {
		case err := <-done:
			for _, n := range peaks {
				r.Peaks += n
			}
			return err
		case <-time.After(50 * time.Millisecond):
		}
		var now int64
		all := family(pid)
		for _, p := range all {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
			rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
			peaks[p] = max(peaks[p], statusBytes(status, "VmHWM"))
			now += statusBytes(rollup, "Pss")
		}
		r.Memory, r.Processes = max(r.Memory, now), max(r.Processes, len(all))
	}
}

// family returns a process and all that descend from it, where the system tells (Linux).
func family(pid int) []int {
	all := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range lists {
		b, _ := os.ReadFile(path)
		for _, child := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, family(n)...)
			}
		}
	}
	return all
}

// decode has both take turns at decoding all files and resizing them, by one thread.
func (f *fileRace) decode(ctx context.Context, o options, folder string) error {
	var running []runner
	for _, c := range pictureContenders {
		argv, err := o.worker(c, 1)
		if err == nil {
			var p *process
			if p, err = launch(ctx, argv, 1); err == nil {
				defer p.stop()
				running = append(running, runner{c, p})
			}
		}
		if err != nil {
			f.Failed[c.name] = err.Error()
		}
	}
	for _, size := range []int{224, 336} {
		var want []float32
		for round := range o.rounds + 1 {
			for _, r := range running {
				if f.Failed[r.name] != "" {
					continue
				}
				answer, err := r.p.ask(request{Cmd: "pictures", Dir: folder, Size: size})
				if err != nil {
					f.Failed[r.name] = err.Error()
					progress("%s: %v", r.name, err)
					continue
				}
				f.Versions[r.name] = answer.Version
				if want == nil {
					want = answer.Values
				}
				if round > 0 {
					f.Pictures = append(f.Pictures, pictureRun{Contender: r.name, Size: size, CPU: answer.Seconds, Same: slices.Equal(answer.Values, want)})
				}
			}
		}
	}
	return ctx.Err()
}

// wrong returns an error that names every contender whose embeddings or pixels are not the first's.
func (f *fileRace) wrong() error {
	var errs []error
	for _, r := range f.Runs {
		if r.Cosine < f32Cosine {
			errs = append(errs, fmt.Errorf("%s, %s: the cosine to the first is %.7f, want %v or more", r.Contender, plural.Of(r.Files, "file"), r.Cosine, f32Cosine))
		}
	}
	for _, p := range f.Pictures {
		if !p.Same {
			errs = append(errs, fmt.Errorf("%s, %d pixels: the pixels are not those of the first", p.Contender, p.Size))
		}
	}
	return errors.Join(errs...)
}

// markdown writes the tables.
func (f *fileRace) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n%s of %.0f KB in the mean, %s.\n", f.Machine.markdown(), plural.Of(f.Files, "file"), float64(f.Bytes)/float64(f.Files)/1e3, f.Config)
	for name, why := range f.Failed {
		fmt.Fprintf(&b, "\nNot measured: %s (%s).\n", name, why)
	}
	return b.String() + f.tables()
}

// tables are those of the runs and of the pictures.
func (f *fileRace) tables() string {
	var b strings.Builder
	var contenders []string
	var threads []int
	for _, r := range f.Runs {
		if !slices.Contains(contenders, r.Contender) {
			contenders = append(contenders, r.Contender)
		}
		if !slices.Contains(threads, r.Threads) {
			threads = append(threads, r.Threads)
		}
	}
	for _, n := range threads {
		var rows [][]string
		ours, oursMemory := math.NaN(), int64(0)
		for i, name := range contenders {
			var all, few, cpu []float64
			var memory, peaks int64
			var processes, extra int
			for _, r := range f.Runs {
				switch {
				case r.Contender != name || r.Threads != n:
				case r.Round == 0:
					memory, peaks, processes = max(memory, r.Memory), max(peaks, r.Peaks), max(processes, r.Processes)
				case r.Files == f.Files:
					all, cpu = append(all, r.Seconds), append(cpu, r.CPU)
				default:
					few, extra = append(few, r.Seconds), f.Files-r.Files
				}
			}
			rate := float64(extra) / (median(all) - median(few))
			if i == 0 {
				ours, oursMemory = rate, memory
			}
			rows = append(rows, []string{
				name, number(rate, 1), number(float64(f.Files)/median(all), 1), number(median(all), 1), number(median(few), 1), number(median(cpu), 1),
				gigabytes(memory), gigabytes(peaks), strconv.Itoa(processes), number(ours/rate, 2), number(float64(memory)/float64(oursMemory), 2),
			})
		}
		fmt.Fprintf(&b, "\n### From %s to embeddings, %s, %s, batches of %d, Python with %s\n\n%s", plural.Of(f.Files, "JPEG file"), f.Config, plural.Of(n, "thread"), f.Batch, plural.Of(f.Workers, "worker"), table([]string{
			"", "images/s", "with the start", "seconds", "of which the start", "CPU seconds", "peak resident, GB (PSS)", "sum of peaks, GB", "processes", "our images/s to it", "memory to ours",
		}, rows...))
	}
	if len(f.Pictures) == 0 {
		return b.String()
	}
	var rows [][]string
	for _, size := range []int{224, 336} {
		var ours float64
		for i, c := range pictureContenders {
			var cpu []float64
			same := "yes"
			for _, p := range f.Pictures {
				if p.Contender == c.name && p.Size == size {
					cpu = append(cpu, p.CPU*1000/float64(f.Files))
					if !p.Same {
						same = "no"
					}
				}
			}
			if i == 0 {
				ours = median(cpu)
			}
			rows = append(rows, []string{fmt.Sprintf("%s, %d", c.name, size), number(median(cpu), 2), number(ours/median(cpu), 2), same})
		}
	}
	fmt.Fprintf(&b, "\n### Decoding and resizing alone, one thread\n\n%s", table([]string{"", "CPU seconds for 1,000", "ours to it", "same pixels"}, rows...))
	return b.String()
}

// The pictures that are made: of the size that many photographs have in collections.
const (
	pictureWidth, pictureHeight = 500, 375
	pictureQuality              = 90
)

// writePictures fills a folder with n files, unless they are there: copies of those in from, by turns, or pictures that look
// like photographs to a decoder. It returns their bytes.
func writePictures(folder, from string, n int) (size int64, err error) {
	var given []string
	if from != "" {
		entries, err := os.ReadDir(from)
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			if slices.Contains([]string{".jpg", ".jpeg"}, strings.ToLower(filepath.Ext(e.Name()))) {
				given = append(given, filepath.Join(from, e.Name()))
			}
		}
		if given == nil {
			return 0, fmt.Errorf("-pictures %s: no .jpg in it", from)
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return 0, err
	}
	old, err := os.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	for _, e := range old[min(n, len(old)):] {
		if err := os.Remove(filepath.Join(folder, e.Name())); err != nil {
			return 0, err
		}
	}
	for i := range n {
		path := filepath.Join(folder, fmt.Sprintf("%06d.jpg", i))
		if info, err := os.Stat(path); err == nil && from == "" {
			size += info.Size()
			continue
		}
		var file []byte
		if from != "" {
			file, err = os.ReadFile(given[i%len(given)])
		} else {
			var b bytes.Buffer
			err = jpeg.Encode(&b, photograph(uint64(i)), &jpeg.Options{Quality: pictureQuality})
			file = b.Bytes()
		}
		if err := errors.Join(err, os.WriteFile(path, file, 0o644)); err != nil {
			return 0, err
		}
		size += int64(len(file))
	}
	return size, nil
}

// photograph makes a picture: areas of colour with soft borders, light from one side, and grain.
func photograph(seed uint64) image.Image {
	rng := rand.New(rand.NewPCG(seed, 1))
	type blob struct{ x, y, r, depth, red, green, blue float64 }
	blobs := make([]blob, 24)
	for i := range blobs {
		blobs[i] = blob{
			rng.Float64() * pictureWidth, rng.Float64() * pictureHeight, 15 + 90*rng.Float64(), 4 + 40*rng.Float64(),
			160*rng.Float64() - 80, 160*rng.Float64() - 80, 160*rng.Float64() - 80,
		}
	}
	m := image.NewRGBA(image.Rect(0, 0, pictureWidth, pictureHeight))
	slope, texture := rng.Float64()*100-50, 0.2+0.3*rng.Float64()
	for y := range pictureHeight {
		for x := range pictureWidth {
			light := 128 + slope*(float64(x)/pictureWidth-0.5)
			c := [3]float64{light, light, light}
			for _, b := range blobs {
				dx, dy := float64(x)-b.x, float64(y)-b.y
				if d := (b.r*b.r - dx*dx - dy*dy) / (b.r * b.depth); d > -4 {
					w := 1 / (1 + math.Exp(-d))
					wave := 1 + texture*math.Sin(dx*b.depth/20)*math.Sin(dy*b.depth/25)
					c[0], c[1], c[2] = c[0]+w*b.red*wave, c[1]+w*b.green*wave, c[2]+w*b.blue*wave
				}
			}
			grain := 6 * rng.NormFloat64()
			at := func(v float64) uint8 { return uint8(max(0, min(255, v+grain))) }
			m.SetRGBA(x, y, color.RGBA{R: at(c[0]), G: at(c[1]), B: at(c[2]), A: 255})
		}
	}
	return m
}

// link makes a folder with the first n files of another.
func link(from, to string, n int) error {
	entries, err := os.ReadDir(from)
	if err := errors.Join(err, os.RemoveAll(to), os.MkdirAll(to, 0o755)); err != nil {
		return err
	}
	for _, e := range entries[:n] {
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// readNPY reads a matrix of float32 that numpy or the command wrote, and returns its columns.
//
// Source: numpy, numpy/lib/format.py.
func readNPY(path string) (values []float32, columns int, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	bad := fmt.Errorf("%s: want version 1 of .npy with float32 in C order", path)
	if len(b) < 10 || string(b[:7]) != "\x93NUMPY\x01" {
		return nil, 0, bad
	}
	n := 10 + int(binary.LittleEndian.Uint16(b[8:]))
	if len(b) < n {
		return nil, 0, bad
	}
	var rows int
	_, shape, _ := strings.Cut(string(b[10:n]), "'shape': (")
	if _, err := fmt.Fscanf(bufio.NewReader(strings.NewReader(shape)), "%d, %d", &rows, &columns); err != nil || len(b) != n+4*rows*columns || !strings.Contains(string(b[10:n]), "'<f4'") {
		return nil, 0, bad
	}
	values = make([]float32, rows*columns)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[n+4*i:]))
	}
	return values, columns, nil
}
