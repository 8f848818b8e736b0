package runs

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/tasks/finetuning"
)

// cacheFolder has the caches that requests name, in Options.Dir.
const cacheFolder = "cache"

// confined returns the request of a run with paths of this machine, and the path of its model. A path that leads elsewhere is a
// [finetuning.ErrRequest], and one that leads nowhere a [finetuning.ErrData].
func (r *Runs) confined(x *run) (q finetuning.Request, model string, err error) {
	q = x.Request
	if q.Output != "" || q.Model != "" {
		return q, "", refuse("model and output are not of the request: the output is the run's own")
	}
	if model, err = r.o.Model(x.Model); err != nil {
		return q, "", err
	}
	q.Within = r.o.Data
	q.Model, q.Output = model, filepath.Join(r.o.Dir, x.ID, outFolder)
	for _, f := range []struct {
		name string
		path *string
	}{{"data", &q.Data}, {"validation", &q.Validation}, {"vocab", &q.Vocab}, {"targets", &q.Targets}} {
		if *f.path, err = r.under(f.name, *f.path); err != nil {
			return q, "", err
		}
	}
	if filepath.Ext(q.ClassWeights) == ".csv" {
		if q.ClassWeights, err = r.under("class_weights", q.ClassWeights); err != nil {
			return q, "", err
		}
	}
	if q.Teacher != "" {
		if q.Teacher, err = r.o.Model(q.Teacher); err != nil {
			return q, "", fmt.Errorf("runs: teacher: %w", err)
		}
	}
	if q.Cache != "" {
		if !filepath.IsLocal(q.Cache) || q.Cache == "." || strings.ContainsAny(q.Cache, `/\`) {
			return q, "", refuse("cache is %.40q, want a name", q.Cache)
		}
		q.Cache = filepath.Join(r.o.Dir, cacheFolder, q.Cache)
	}
	switch limit := r.o.MemoryLimit; {
	case q.MemoryLimit < 0:
		return q, "", refuse("memory_limit is %d, want 0 or more", q.MemoryLimit)
	case limit > 0 && q.MemoryLimit > limit:
		return q, "", refuse("memory_limit is %d, want at most %d", q.MemoryLimit, limit)
	case q.MemoryLimit == 0:
		if lbfgs, err := q.ByLBFGS(); err == nil && !lbfgs { // which takes no more than encoding does, and refuses a limit
			q.MemoryLimit = limit
		}
	}
	return q, model, nil
}

// under returns a path below Options.Data as one of this machine; that may be a pattern of files in one folder. "" stays.
func (r *Runs) under(field, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	local := filepath.FromSlash(path)
	if !filepath.IsLocal(local) {
		return "", refuse("%s is %.80q, want a path below the folder of data, without .. and not absolute", field, path)
	}
	there := []string{local}
	if strings.ContainsAny(filepath.Base(local), `*?[`) { // shards
		dir := filepath.Dir(local)
		if strings.ContainsAny(dir, `*?[`) {
			return "", refuse("%s is %.80q, want a pattern of files in one folder", field, path)
		}
		there[0] = dir
		found, err := filepath.Glob(filepath.Join(r.o.Data, local))
		if err != nil {
			return "", refuse("%s is %.80q: %v", field, path, err)
		}
		for _, f := range found {
			there = append(there, filepath.Join(dir, filepath.Base(f)))
		}
	}
	for _, p := range there {
		if _, err := r.data.Stat(p); err != nil { // which follows links as far as they stay below it
			return "", fmt.Errorf("runs: %s is %.80q: %w: %w", field, path, finetuning.ErrData, err)
		}
	}
	return filepath.Join(r.o.Data, local), nil
}

// fieldsGiven returns the fields that a request says it was given, by their names in JSON; nil if it does not say.
func fieldsGiven(r finetuning.Request) []string {
	if r.Given == nil {
		return nil
	}
	given := []string{}
	for _, f := range fields("", reflect.TypeFor[job.Request]()) {
		if r.Given(f) {
			given = append(given, f)
		}
	}
	return given
}

// fields returns the names of all fields in JSON, those of structs in it as overrides.rate.
func fields(prefix string, t reflect.Type) (names []string) {
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || name == "" {
			continue
		}
		names = append(names, prefix+name)
		if f.Type.Kind() == reflect.Struct {
			names = append(names, fields(prefix+name+".", f.Type)...)
		}
	}
	return names
}

// relative returns a text without the folders of this machine.
func (r *Runs) relative(text string) string {
	for _, dir := range []string{r.o.Dir, r.o.Data} {
		text = strings.ReplaceAll(text, dir+string(filepath.Separator), "")
		text = strings.ReplaceAll(text, dir, ".")
	}
	return text
}

// below returns a response with paths relative to Options.Dir.
func (r *Runs) below(response finetuning.Response) *finetuning.Response {
	for _, path := range []*string{&response.Model, &response.Adapter, &response.Report} {
		*path = r.relative(*path)
	}
	for i := range response.Notes {
		response.Notes[i] = r.relative(response.Notes[i])
	}
	for i := range response.Runs {
		response.Runs[i].Error = r.relative(response.Runs[i].Error)
	}
	if response.Skipped != nil {
		skipped := make(map[string]string, len(response.Skipped))
		for name, why := range response.Skipped {
			skipped[r.relative(name)] = r.relative(why)
		}
		response.Skipped = skipped
	}
	return &response
}
