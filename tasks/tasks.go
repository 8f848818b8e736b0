// Package tasks loads a model for a task, in the shape of cybertron's package of the same name:
// a program changes one import, and all that cybertron loads still loads.
//
// Unlike cybertron's it is open. A package that implements a task registers itself when it is
// imported, as image formats do:
//
//	import (
//		"github.com/vitago/vitago/tasks"
//		"github.com/vitago/vitago/tasks/imageencoding"
//		_ "github.com/vitago/vitago/tasks/imageencoding/clip"
//	)
//
//	encoder, err := tasks.Load[imageencoding.Interface](&tasks.Config{
//		ModelsDir: "models",
//		ModelName: imageencoding.DefaultModel,
//	})
package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	cybertron "github.com/nlpodyssey/cybertron/pkg/tasks"

	"github.com/vitago/vitago/internal/folder"
)

// Config is cybertron's own, with its policies. The models registered here are used in the form in
// which they were published, so there is nothing that a [ConversionPolicy] could keep them from; and
// they compute in float32, so that a ConversionPrecision of [F64] is an error.
type Config = cybertron.Config

// DownloadPolicy says when files are downloaded.
type DownloadPolicy = cybertron.DownloadPolicy

// ConversionPolicy says when cybertron converts a model to spago's format.
type ConversionPolicy = cybertron.ConversionPolicy

// FloatPrecision is the precision of the numbers in a model.
type FloatPrecision = cybertron.FloatPrecision

// The values of a [Config], which are cybertron's.
const (
	// DownloadMissing downloads a model of which files are missing.
	DownloadMissing = cybertron.DownloadMissing
	// DownloadAlways downloads, even if the files are there.
	DownloadAlways = cybertron.DownloadAlways
	// DownloadNever uses what is there.
	DownloadNever = cybertron.DownloadNever

	// ConvertMissing converts a model unless that has been done.
	ConvertMissing = cybertron.ConvertMissing
	// ConvertAlways converts, even if that has been done.
	ConvertAlways = cybertron.ConvertAlways
	// ConvertNever uses what is there.
	ConvertNever = cybertron.ConvertNever

	// F32 is float32.
	F32 = cybertron.F32
	// F64 is float64.
	F64 = cybertron.F64
)

// A Provider brings models of one kind to the task T.
type Provider[T any] struct {
	// Files are what a model needs besides config.json, in the order in which they are downloaded.
	// The largest stands last, so that where it is the others are.
	Files []File
	// Load makes the model in directory dir ready for the task.
	Load func(dir string) (T, error)
}

type key struct {
	task  reflect.Type
	model string // model_type of config.json
}

var (
	mu        sync.RWMutex
	providers = map[key]any{} // of Provider[key.task]
)

// Register offers p for the task T, which is an interface, and models whose config.json has the given
// model_type. It panics if that pair is taken, as [database/sql.Register] does.
func Register[T any](model string, p Provider[T]) {
	mu.Lock()
	defer mu.Unlock()
	k := key{reflect.TypeFor[T](), model}
	switch _, taken := providers[k]; {
	case taken:
		panic(fmt.Sprintf("tasks: Register called twice for %v and %q", k.task, model))
	case p.Load == nil:
		panic(fmt.Sprintf("tasks: Register for %v and %q: Load is nil", k.task, model))
	}
	providers[k] = p
}

// registered returns the model types that are registered for the task T, sorted.
func registered[T any]() []string {
	mu.RLock()
	defer mu.RUnlock()
	var models []string
	for k := range providers {
		if k.task == reflect.TypeFor[T]() {
			models = append(models, k.model)
		}
	}
	slices.Sort(models)
	return models
}

// Load returns the model that conf names, ready for the task T. A task or a model type that nobody
// registered goes to cybertron's own Load.
//
// Files come from Hugging Face, or from where the environment variable HF_ENDPOINT points. Each
// appears under its name when it is complete, and what an interrupted download left is resumed. A model
// that is there is not asked for, unless conf says [DownloadAlways]. If conf has no HubAccessToken, that
// of the environment variable HF_TOKEN or of Hugging Face's own login is taken.
func Load[T any](conf *Config) (task T, err error) {
	if conf == nil {
		return task, errors.New("tasks: no configuration")
	}
	if registered[T]() == nil {
		if task, err = fromCybertron[T](conf); err != nil {
			model, _ := modelType(conf.FullModelPath()) // as far as it is there
			err = unregistered[T](conf.FullModelPath(), model, err)
		}
		return task, err
	}
	f := newFetcher(conf)
	if err := f.fetch(File{Names: []string{configFile}}); err != nil {
		return task, err
	}
	model, err := modelType(f.dir)
	if err != nil {
		return task, err
	}
	mu.RLock()
	p, ok := providers[key{reflect.TypeFor[T](), model}].(Provider[T])
	mu.RUnlock()
	if !ok {
		if task, err = fromCybertron[T](conf); err != nil {
			err = unregistered[T](f.dir, model, err)
		}
		return task, err
	}
	if err := check(conf); err != nil {
		return task, err
	}
	if err := f.fetch(p.Files...); err != nil {
		return task, err
	}
	return p.Load(f.dir)
}

// fromCybertron loads what is not registered here. Cybertron panics where a file of the model says
// something that it does not know; that is an error of the user's and not of the program.
func fromCybertron[T any](conf *Config) (task T, err error) {
	dir := conf.FullModelPath()
	empty := emptyFiles(dir)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil {
			tidy(dir, empty)
		}
	}()
	return cybertron.Load[T](conf)
}

// notTask begins what cybertron's Load says of a type that is none of its tasks.
const notTask = "loader: invalid type"

// providing are the packages that register models for a task, by the package of its interface. They register themselves when
// they are imported, which a program easily forgets.
var providing = map[string]struct {
	pkg    string
	models []string // nil for all
}{
	ours + "imageencoding":                                   {ours + "imageencoding/clip", nil},
	ours + "imageclassification":                             {ours + "imageclassification/clip", nil},
	ours + "imagetextsimilarity":                             {ours + "imagetextsimilarity/clip", nil},
	ours + "imagesearch":                                     {ours + "imagesearch/clip", nil},
	ours + "visualtokens":                                    {ours + "visualtokens/projected", nil},
	ours + "finetuning":                                      {ours + "finetuning/clip", nil},
	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding": {ours + "textencoding/clip", []string{"clip"}},
}

// ours is the folder of the tasks.
const ours = "github.com/vitago/vitago/tasks/"

// unregistered returns the error of a model in dir that nobody has registered for the task T, where err is what cybertron
// says of it; model is its model_type, "" if it is not known.
func unregistered[T any](dir, model string, err error) error {
	task, types := reflect.TypeFor[T](), registered[T]()
	p, known := providing[task.PkgPath()]
	forget := known && types == nil && (p.models == nil || slices.Contains(p.models, model))
	none := strings.HasPrefix(err.Error(), notTask)
	switch {
	case forget:
		return fmt.Errorf("tasks: nothing is registered for %v: import _ %q", task, p.pkg)
	case none && types == nil:
		return fmt.Errorf("tasks: nothing is registered for %v, and it is no task of cybertron's: import the package that registers itself for it", task)
	case none:
		return fmt.Errorf("tasks: %s has model_type %q, for which nothing is registered as %v, want %s; nor is that a task of cybertron's", dir, model, task, quoted(types))
	case model == "":
		return fmt.Errorf("tasks: %s, as %v: cybertron says: %w", dir, task, err)
	case types == nil:
		return fmt.Errorf("tasks: %s has model_type %q, for which nothing is registered as %v, and cybertron says: %w", dir, model, task, err)
	}
	return fmt.Errorf("tasks: %s has model_type %q, for which nothing is registered as %v, but for %s, and cybertron says: %w", dir, model, task, quoted(types), err)
}

// quoted lists names as in: "a", "b" or "c".
func quoted(names []string) string {
	var s strings.Builder
	for i, n := range names {
		switch {
		case i > 0 && i == len(names)-1:
			s.WriteString(" or ")
		case i > 0:
			s.WriteString(", ")
		}
		s.WriteString(strconv.Quote(n))
	}
	return s.String()
}

// check returns an error if conf asks for what a registered model cannot do.
func check(conf *Config) error {
	switch {
	case conf.ConversionPolicy < ConvertMissing || conf.ConversionPolicy > ConvertNever:
		return fmt.Errorf("tasks: ConversionPolicy is %d, want %d to %d", conf.ConversionPolicy, ConvertMissing, ConvertNever)
	case conf.ConversionPrecision != F32:
		return fmt.Errorf("tasks: ConversionPrecision is %d, want F32 (%d): the model computes in float32", conf.ConversionPrecision, F32)
	}
	return nil
}

const (
	configFile = "config.json"
	maxConfig  = 16 << 20 // bytes of a config.json; the largest known have 0.1 MB
)

// modelType reads the model_type of the model in dir.
func modelType(dir string) (string, error) {
	path := filepath.Join(dir, configFile)
	raw, err := folder.ReadSmall(path, maxConfig)
	if err != nil {
		return "", fmt.Errorf("tasks: %w", err)
	}
	var c struct {
		ModelType string `json:"model_type"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return "", fmt.Errorf("tasks: %s: %w", path, err)
	}
	if c.ModelType == "" {
		return "", fmt.Errorf("tasks: %s has no model_type", path)
	}
	return c.ModelType, nil
}
