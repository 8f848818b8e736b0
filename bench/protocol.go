package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A request is what the driver asks a worker, a line of JSON on its standard input. A worker
// answers each with one reply, a line of JSON on its standard output, and ends when its input does.
type request struct {
	Cmd     string `json:"cmd"`               // load, encode, gemm, prepare, step, pictures, rows, find; our own workers: free, peak, bandwidth
	Dir     string `json:"dir,omitempty"`     // load, prepare: of the model; pictures: of the files; rows: a file of vectors
	Size    int    `json:"size,omitempty"`    // pictures: pixels per side; load: the same, if not the model's own; our own workers
	Tokens  int    `json:"tokens,omitempty"`  // load, encode: of a text; 0 if images are encoded
	Blocks  bool   `json:"blocks,omitempty"`  // load, encode: the blocks of the vision tower alone, on Batch sequences of Tokens tokens
	Batch   int    `json:"batch,omitempty"`   // encode: images or texts at once; find: queries
	Callers int    `json:"callers,omitempty"` // encode: if set, so many encode at the same time, Batch images each, one after the other; our own workers
	Shape   [3]int `json:"shape,omitzero"`    // gemm: m, n, k of x [m,k] · w [n,k]ᵀ
	Calls   int    `json:"calls,omitempty"`   // encode: times to take the median of; gemm: products to take the mean of
	Lesson  lesson `json:"lesson,omitzero"`   // prepare: what to train
}

type reply struct {
	Error     string             `json:"error,omitempty"`
	Version   string             `json:"version,omitempty"`   // load, gemm, prepare: of the library
	Seconds   float64            `json:"seconds,omitempty"`   // encode, gemm, step; pictures: of CPU
	Values    []float32          `json:"values,omitempty"`    // encode: embeddings [B,E], of blocks the last token [C]; gemm: the last row of the product; pictures: a checksum of 24 bits each
	Peaks     map[string]float64 `json:"peaks,omitempty"`     // peak: operations per second, by kernel
	Bandwidth float64            `json:"bandwidth,omitempty"` // bandwidth: bytes per second
	Step      stepResult         `json:"step,omitzero"`       // step
	Hits      [][]int            `json:"hits,omitempty"`      // find: the numbers of the nearest rows of each query, the nearest first
	Exact     float64            `json:"exact,omitempty"`     // find, our own workers: products in float64 of a query
}

//go:embed worker.py
var workerPy []byte

// A process is a worker that runs.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *tail
}

// worker returns the command line of a contender's worker.
func (o options) worker(c contender, threads int) ([]string, error) {
	if c.exe != "" {
		return []string{c.exe, "worker", c.kind, strconv.Itoa(threads)}, nil
	}
	if !c.python {
		exe, err := os.Executable()
		return []string{exe, "worker", c.kind, strconv.Itoa(threads)}, err
	}
	script, err := o.script()
	return []string{o.python, script, c.kind, strconv.Itoa(threads)}, err
}

// script puts worker.py beside the model and returns its path.
func (o options) script() (string, error) {
	if _, err := exec.LookPath(o.python); err != nil {
		return "", fmt.Errorf("no Python at %s: bench/setup.sh makes it, -python names another", o.python)
	}
	path := filepath.Join(o.dir, "worker.py")
	return path, os.WriteFile(path, workerPy, 0o644)
}

// launch starts a worker with the given number of threads.
func launch(ctx context.Context, argv []string, threads int) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), stderr: &tail{}}
	p.cmd.Stderr = p.stderr
	p.cmd.Env = os.Environ()
	// OpenBLAS and the OpenMP libraries have no other way to be told, or none before they are loaded.
	for _, v := range []string{"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} {
		p.cmd.Env = append(p.cmd.Env, v+"="+strconv.Itoa(threads))
	}
	in, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewReader(out)
	return p, nil
}

// ask sends a request and waits for its reply.
func (p *process) ask(q request) (reply, error) {
	var r reply
	line, err := json.Marshal(q)
	if err != nil {
		return r, err
	}
	_, werr := p.in.Write(append(line, '\n'))
	answer, rerr := p.out.ReadBytes('\n')
	if err := errors.Join(werr, rerr); err != nil {
		p.stop() // now its last words are there
		return r, fmt.Errorf("%s: the worker ended: %s", q.Cmd, p.stderr.last(err))
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return r, fmt.Errorf("%s: the worker said %.100q: %w", q.Cmd, answer, err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// stop ends the worker, by force if it takes longer than 10 seconds.
func (p *process) stop() {
	p.in.Close()
	t := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer t.Stop()
	_, _ = io.Copy(io.Discard, p.out)
	_ = p.cmd.Wait() // how it ends no longer matters
}

// memory returns a figure of the process in bytes, VmHWM (the peak of what is resident) or VmRSS
// (what is resident now), and 0 where the system does not tell.
func (p *process) memory(key string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	return statusBytes(b, key)
}

func statusBytes(status []byte, key string) int64 {
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// resetPeak makes VmHWM start again from what is resident now, and says whether it could.
func (p *process) resetPeak() bool {
	// Source: Linux, Documentation/filesystems/proc.rst, clear_refs.
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0) == nil
}

// A tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-4096):]
	return len(b), nil
}

// last returns the last line, or err's text if there is none.
func (t *tail) last(err error) string {
	lines := bytes.Split(bytes.TrimSpace(t.b), []byte("\n"))
	if s := string(lines[len(lines)-1]); s != "" {
		return s
	}
	return err.Error()
}
