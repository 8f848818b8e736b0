package job

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

// An Axis is a field of [Overrides] and the values that it has in the runs of a sweep.
type Axis struct {
	Field  string    `json:"field"`  // its name in JSON: "rate", "head_rate", "rank"
	Values []float64 `json:"values"` // in the order in which they are tried
}

// The files of a sweep in its output. The folders beside them are those of its runs; [history.ModelFolder] leads to that of the best.
const (
	SweepPage = "sweep.md"   // the table of [Swept]
	SweepCSV  = "sweep.csv"  // the same
	sweepFile = "sweep.json" // the same, with the request
)

// mostRuns bounds a sweep: more are a slip.
const mostRuns = 1000

// A SweepRun is one run of a sweep, and what it came to.
type SweepRun struct {
	Name   string             `json:"name"`   // of its folder: "rate=1e-05,rank=4"
	Values map[string]float64 `json:"values"` // by fields of [Overrides]

	Measure string   `json:"measure,omitempty"` // of Score: "accuracy"
	Score   *float64 `json:"score,omitempty"`   // the best in validation, or that of the mixed weights; nil if the run failed
	Loss    float64  `json:"loss,omitempty"`    // in the validation with the best score
	Step    int      `json:"step,omitempty"`    // after which that was
	Steps   int      `json:"steps,omitempty"`   // in all
	Seconds float64  `json:"seconds,omitempty"` // of the run
	Error   string   `json:"error,omitempty"`   // why it failed; then the others go on
}

// Swept says what a sweep came to.
type Swept struct {
	Axes  []Axis     // as they were asked for
	Runs  []SweepRun // the best score first, those that failed last
	Model string     // that of the best run; "" if all failed
	Page  string     // of Markdown
}

// A Hearer of a sweep hears of its runs.
type Hearer struct {
	// Begin is called before each run that is made, the number-th of so many, with its trainer, to which sinks may be added. What
	// it returns is called when the run has ended. Nil hears nothing.
	Begin func(run SweepRun, number, of int, j *Job) (end func())
}

// savedSweep is [sweepFile].
type savedSweep struct {
	Request json.RawMessage `json:"request"` // without what may differ when it is resumed
	Runs    []SweepRun      `json:"runs"`    // that have ended
}

// Sweep makes a run for each combination of the values of r.Sweep, with the same data, split and seed. Each has a folder of
// its own in r.Output, where Sweep writes a table of them, which it returns. A run that fails, or whose loss is no number any
// more, is a row of it, and the others go on. The features of a frozen tower are kept from run to run unless pictures are
// varied: in r.Cache, or else in the folder features of the output.
//
// A dry run makes none of them.
//
// With r.Resume runs that have ended are kept where their models are, one that was interrupted goes on, and those that failed are tried again; r.Sweep may
// have other values than before. If ctx ends, Sweep returns its cause; what has been done by then stays.
func Sweep(ctx context.Context, r Request, h Hearer) (*Swept, error) {
	requests, runs, err := r.Runs()
	if err != nil || r.DryRun {
		return &Swept{Axes: r.Sweep, Runs: runs}, err
	}
	saved, err := r.openSweep(runs)
	if err != nil {
		return nil, of(ErrRefused, err)
	}
	for i := range runs {
		was := slices.IndexFunc(saved.Runs, func(s SweepRun) bool { return s.Name == runs[i].Name })
		if was >= 0 && saved.Runs[was].Error == "" {
			if _, err := os.Stat(filepath.Join(requests[i].Output, history.ModelFolder)); err == nil {
				runs[i] = saved.Runs[was]
				continue
			}
		}
		run, err := requests[i].sweepOne(ctx, runs[i], i+1, len(runs), h)
		if ctx.Err() != nil {
			return nil, cmp.Or(err, context.Cause(ctx))
		}
		if errors.Is(err, ErrRequest) || errors.Is(err, ErrData) { // as of all others
			return nil, err
		}
		if err != nil {
			run.Error = err.Error()
		}
		runs[i] = run
		if was >= 0 {
			saved.Runs[was] = run
		} else {
			saved.Runs = append(saved.Runs, run)
		}
		if err := saved.write(r.Output); err != nil {
			return nil, err
		}
	}
	return r.writeSweep(runs)
}

// sweepOne makes one run.
func (r Request) sweepOne(ctx context.Context, run SweepRun, number, total int, h Hearer) (SweepRun, error) {
	if err := os.RemoveAll(filepath.Join(r.Output, history.ModelFolder)); err != nil { // of a run that nothing is known of
		return run, fmt.Errorf("job: %w", err)
	}
	r.Resume = true // whatever is there is of this run
	j, err := Open(ctx, r)
	if err != nil {
		return run, err
	}
	defer j.Close()
	if h.Begin != nil {
		if end := h.Begin(run, number, total, j); end != nil {
			defer end()
		}
	}
	result, err := j.Trainer.Run(ctx)
	if err != nil {
		return run, err
	}
	w, err := j.Write(ctx, result)
	if err != nil {
		return run, err
	}
	run.Measure, run.Steps, run.Seconds = j.Trainer.Objective.Measure(), result.Steps, result.Duration.Seconds()
	best := result.Best
	if best == nil {
		return run, errors.New("job: no validation")
	}
	run.Score, run.Loss, run.Step = &best.Score, best.Loss, best.Step
	if w.Mixed != nil {
		run.Score = w.Mixed
	}
	return run, nil
}

// Runs returns the requests of the runs of a sweep, and what they are called; or what is wrong with them.
func (r Request) Runs() (requests []Request, runs []SweepRun, err error) {
	if err := r.checkSweep(); err != nil {
		return nil, nil, err
	}
	runs = []SweepRun{{Values: map[string]float64{}}}
	for _, a := range r.Sweep {
		var more []SweepRun
		for _, run := range runs {
			for _, v := range a.Values {
				values := map[string]float64{a.Field: v}
				for field, v := range run.Values {
					values[field] = v
				}
				name := strings.ReplaceAll(a.Field, "_", "-") + "=" + strconv.FormatFloat(v, 'g', -1, 64)
				if run.Name != "" {
					name = run.Name + "," + name
				}
				more = append(more, SweepRun{Name: name, Values: values})
			}
		}
		runs = more
	}
	for _, run := range runs {
		one := r
		one.Sweep, one.Output = nil, filepath.Join(r.Output, run.Name)
		o := reflect.ValueOf(&one.Overrides).Elem()
		for field, v := range run.Values {
			switch f := o.Field(overrideOf(field)); f.Interface().(type) {
			case *int:
				f.Set(reflect.ValueOf(new(int(v))))
			case *float64:
				f.Set(reflect.ValueOf(new(v)))
			}
		}
		if r.Given != nil {
			one.Given = func(field string) bool {
				name, ok := strings.CutPrefix(field, "overrides.")
				_, swept := run.Values[name]
				return ok && swept || r.Given(field)
			}
		}
		dry := one
		dry.DryRun = true // whose output is not looked at
		p, err := dry.plan()
		if err != nil {
			base := r
			base.Sweep, base.DryRun = nil, true
			if _, alone := base.plan(); alone != nil { // which is wrong without the sweep as well
				return nil, nil, alone
			}
			if e := (*RequestError)(nil); errors.As(err, &e) {
				of := &RequestError{}
				for _, w := range e.wrong {
					of.wrong = append(of.wrong, wrong{"{sweep} %s: " + w.format, append([]any{run.Name}, w.args...)})
				}
				return nil, nil, of
			}
			return nil, nil, fmt.Errorf("%s: %w", run.Name, err)
		}
		if p.recipe.Tower == finetune.None && r.Augment == (Augment{}) && r.Cache == "" {
			one.Cache = filepath.Join(r.Output, featuresFolder)
		}
		requests = append(requests, one)
	}
	return requests, runs, nil
}

// overrideOf returns the number of a field of [Overrides] with a name in JSON whose values are numbers, -1 if there is none.
func overrideOf(name string) int {
	t := reflect.TypeFor[Overrides]()
	for i := range t.NumField() {
		tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if tag == name && t.Field(i).Type.Kind() == reflect.Pointer {
			return i
		}
	}
	return -1
}

// sweepable returns the fields that a sweep may be over.
func sweepable() (names []string) {
	t := reflect.TypeFor[Overrides]()
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); overrideOf(name) >= 0 {
			names = append(names, name)
		}
	}
	return names
}

// checkSweep returns what is wrong with the axes of a sweep.
func (r Request) checkSweep() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, bad("{sweep}: "+format, args...)) }
	if len(r.Sweep) == 0 {
		add("no field, want one with its values")
	}
	n := 1
	for i, a := range r.Sweep {
		f := overrideOf(a.Field)
		switch {
		case f < 0:
			add("%.40q is no number of a recipe, want one of %s", a.Field, strings.Join(sweepable(), ", "))
			continue
		case slices.ContainsFunc(r.Sweep[:i], func(other Axis) bool { return other.Field == a.Field }):
			add("%s stands twice", a.Field)
		case r.given("overrides." + a.Field):
			errs = append(errs, bad("{sweep} says {overrides."+a.Field+"}, too: want one of them"))
		case len(a.Values) == 0:
			add("%s has no values", a.Field)
		}
		whole := reflect.TypeFor[Overrides]().Field(f).Type.Elem().Kind() == reflect.Int
		for k, v := range a.Values {
			if slices.Contains(a.Values[:k], v) {
				add("%s has %v twice", a.Field, v)
			}
			switch {
			case v-v != 0:
				add("%s is %v, want a number", a.Field, v)
			case whole && (v != math.Trunc(v) || math.Abs(v) > 1<<30):
				add("%s is %v, want a whole number", a.Field, v)
			}
		}
		n *= max(1, len(a.Values))
		if n > mostRuns {
			add("more than %d runs", mostRuns)
			break
		}
	}
	if r.Validation == "" && r.Split == 0 {
		errs = append(errs, bad("{sweep} compares runs by pictures to validate on, and there are none: give {validation}, or a {split} above 0"))
	}
	return join(errs...)
}

// openSweep reads what of the sweep has been done, and makes its output.
func (r Request) openSweep(runs []SweepRun) (*savedSweep, error) {
	for _, path := range []string{r.Model, r.Teacher} {
		if path != "" && folder.Inside(path, r.Output) {
			return nil, fmt.Errorf("job: %s %w, %s: choose another directory", r.Output, ErrSource, path)
		}
	}
	base := r
	base.Sweep, base.Resume, base.Output, base.MemoryLimit = nil, false, "", 0 // which may be others
	text, err := json.Marshal(struct {
		Model string `json:"model"`
		Request
	}{r.Model, base})
	if err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	s := &savedSweep{Request: text}
	raw, err := folder.ReadSmall(filepath.Join(r.Output, sweepFile), maxSweep)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		last, err := finetune.LastCheckpoint(r.Output)
		if err == nil && last != "" {
			return nil, fmt.Errorf("job: %s holds one run, not a sweep: choose another directory", r.Output)
		}
		if _, err := os.Lstat(filepath.Join(r.Output, history.ModelFolder)); err == nil {
			return nil, fmt.Errorf("job: %s %w: choose another directory", filepath.Join(r.Output, history.ModelFolder), ErrOverwrite)
		}
		for _, run := range runs { // which would be gone on with
			path := filepath.Join(r.Output, run.Name)
			if entries, _ := os.ReadDir(path); len(entries) > 0 {
				return nil, fmt.Errorf("job: %s %w, and not of a sweep: choose another directory", path, ErrOverwrite)
			}
		}
	case err != nil:
		return nil, fmt.Errorf("job: %w", err)
	case !r.Resume:
		return nil, fmt.Errorf("job: the sweep in %s %w: choose another directory, or resume it", r.Output, ErrOverwrite)
	default:
		s.Runs, err = readSweep(r.Output, raw, text)
		if e := (*ResumeError)(nil); errors.As(err, &e) {
			return nil, err
		} else if err != nil {
			return nil, fmt.Errorf("job: %s: %w", filepath.Join(r.Output, sweepFile), err)
		}
	}
	return s, s.write(r.Output)
}

// readSweep returns the runs of a file, whose request has to be the one of now.
func readSweep(dir string, raw, now []byte) ([]SweepRun, error) {
	var was savedSweep
	if err := json.Unmarshal(raw, &was); err != nil {
		return nil, pyjson.Explain(err)
	}
	if err := differ("the sweep in "+dir, was.Request, now); err != nil {
		return nil, err
	}
	for _, run := range was.Runs {
		if run.Score == nil && run.Error == "" {
			return nil, fmt.Errorf("run %.60q has neither a score nor an error", run.Name)
		}
	}
	return was.Runs, nil
}

// maxSweep is how many bytes [sweepFile] may have: of the most runs, each with an error.
const maxSweep = 16 << 20

// differ says in which fields one request in JSON is not another: a *[ResumeError], or nil.
func differ(dir string, was, now []byte) error {
	var a, b map[string]any
	if err := errors.Join(json.Unmarshal(was, &a), json.Unmarshal(now, &b)); err != nil {
		return err
	}
	if a == nil {
		return errors.New("no request")
	}
	x, y := map[string]string{}, map[string]string{}
	flatten(x, "", a)
	flatten(y, "", b)
	e := &ResumeError{other: &history.OtherRunError{Checkpoint: dir}}
	names := slices.Sorted(maps.Keys(x))
	for name := range y {
		if _, ok := x[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		was, now := cmp.Or(x[name], "none"), cmp.Or(y[name], "none")
		if was == now {
			continue
		}
		e.other.Differences = append(e.other.Differences, history.Difference{Setting: name, Was: was, Now: now})
		e.wrong.wrong = append(e.wrong.wrong, wrong{braced(name) + ": %s, now %s", []any{was, now}})
	}
	if e.wrong.wrong == nil {
		return nil
	}
	return e
}

// braced returns the name of a field as the format of a [wrong] has it; a name that none has is of a file that was changed.
func braced(name string) string {
	if field.MatchString("{" + name + "}") {
		return "{" + name + "}"
	}
	return "{output} has a field that there is not"
}

// flatten sets the members of an object, and those of objects in it by names with dots.
func flatten(to map[string]string, prefix string, object map[string]any) {
	for name, v := range object {
		if inner, ok := v.(map[string]any); ok {
			flatten(to, prefix+name+".", inner)
		} else {
			to[prefix+name] = fmt.Sprint(v)
		}
	}
}

// write writes what has been done.
func (s *savedSweep) write(dir string) error {
	text, err := folder.JSON(s)
	if err == nil {
		err = errors.Join(os.MkdirAll(dir, 0o777), folder.WriteBytes(filepath.Join(dir, sweepFile), text))
	}
	if err != nil {
		return fmt.Errorf("job: %w", err)
	}
	return nil
}

// writeSweep writes the tables, and has the folder of the model lead to the best.
func (r Request) writeSweep(runs []SweepRun) (*Swept, error) {
	s := &Swept{Axes: r.Sweep, Runs: slices.Clone(runs), Page: filepath.Join(r.Output, SweepPage)}
	slices.SortStableFunc(s.Runs, func(a, b SweepRun) int {
		switch {
		case a.Score == nil || b.Score == nil:
			return cmp.Compare(failed(a), failed(b))
		default:
			return cmp.Or(-cmp.Compare(*a.Score, *b.Score), cmp.Compare(a.Loss, b.Loss))
		}
	})
	errs := []error{
		folder.WriteBytes(s.Page, []byte("# Sweep of "+r.Recipe+"\n\n"+s.Markdown())),
		folder.WriteBytes(filepath.Join(r.Output, SweepCSV), s.csv()),
	}
	if s.Runs[0].Score != nil {
		s.Model = filepath.Join(r.Output, history.ModelFolder)
		errs = append(errs, lead(s.Model, filepath.Join(s.Runs[0].Name, history.ModelFolder)))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	return s, nil
}

func failed(r SweepRun) int {
	if r.Score == nil {
		return 1
	}
	return 0
}

// lead makes path a link to a directory beside it, or a copy where the system has no links. A link that is there leads to the
// one or the other at any moment.
func lead(path, to string) error {
	from := filepath.Join(filepath.Dir(path), to)
	next := path + ".next"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if os.Symlink(to, next) != nil {
		if err := os.CopyFS(next, os.DirFS(from)); err != nil {
			return err
		}
	}
	if os.Rename(next, path) == nil {
		return nil
	}
	if err := os.RemoveAll(path); err != nil { // a copy, or where a link cannot be replaced
		return err
	}
	return os.Rename(next, path)
}

// Rows are the lines of the table, the heads of its columns first: the values, the score, the step after which it was, all steps,
// seconds, and why a run failed.
func (s *Swept) Rows() [][]string {
	heads := []string{}
	for _, a := range s.Axes {
		heads = append(heads, strings.ReplaceAll(a.Field, "_", "-"))
	}
	measure := "score"
	for _, r := range s.Runs {
		measure = cmp.Or(r.Measure, measure)
	}
	rows := [][]string{append(heads, measure, "loss", "step", "steps", "seconds", "run", "failed")}
	for _, r := range s.Runs {
		var row []string
		for _, a := range s.Axes {
			row = append(row, strconv.FormatFloat(r.Values[a.Field], 'g', -1, 64))
		}
		if r.Score == nil {
			row = append(row, "", "", "", "", "", r.Name, oneLine(r.Error))
		} else {
			row = append(row, fmt.Sprintf("%.4f", *r.Score), fmt.Sprintf("%.5f", r.Loss), fmt.Sprint(r.Step), fmt.Sprint(r.Steps), fmt.Sprintf("%.1f", r.Seconds), r.Name, "")
		}
		rows = append(rows, row)
	}
	return rows
}

// oneLine returns the lines of a text in one, without empty ones.
func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// Markdown returns the table as a page has it.
func (s *Swept) Markdown() string {
	var b strings.Builder
	rows := s.Rows()
	line := func(row []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | ")) }
	line(rows[0])
	b.WriteString(strings.Repeat("|---", len(rows[0])) + "|\n")
	for _, row := range rows[1:] {
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], "|", `\|`)
		}
		line(row)
	}
	return b.String()
}

// csv returns the table as [SweepCSV] has it.
func (s *Swept) csv() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.WriteAll(s.Rows()) // into memory
	return b.Bytes()
}
