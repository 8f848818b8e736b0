package converter

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/vitago/vitago/converter/checkpoint"
)

// Info says what a checkpoint holds. What [Info.Problem] is about may be zero in Config.
type Info struct {
	Path      string  `json:"path"`
	Container string  `json:"container"`
	Dialect   string  `json:"dialect,omitempty"`
	Config    *Config `json:"config,omitempty"`
	// Projector is nil if there is none; Extras are the vectors beside it, by canonical name.
	Projector *ProjectorConfig `json:"projector,omitempty"`
	Extras    []string         `json:"extras,omitempty"`
	// LanguageModel is the number of tensors of a language model, those of shards that are not there
	// included. A conversion leaves them where they are.
	LanguageModel int            `json:"language_model"`
	Problem       string         `json:"problem,omitempty"` // why it can be loaded neither as a tower nor as a projector
	Bytes         int64          `json:"bytes"`             // of the files of tensors
	SHA256        string         `json:"sha256"`
	Parameters    int64          `json:"parameters"` // elements of floating type
	DTypes        map[string]int `json:"dtypes"`     // how many tensors of each
	Tensors       []TensorInfo   `json:"tensors"`
}

// TensorInfo describes a tensor.
type TensorInfo struct {
	Name  string           `json:"name"`
	DType checkpoint.DType `json:"dtype"`
	Shape []int            `json:"shape"`
}

// Inspect says what the checkpoint at path holds. It reads all of it, for the SHA-256 and to
// verify the checksums in it. A checkpoint that is sound but neither a CLIP nor a
// projector is no error: then [Info.Problem] says why.
func Inspect(path string) (*Info, error) {
	c, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return InspectCheckpoint(context.Background(), c)
}

// InspectCheckpoint is [Inspect] of a checkpoint that is open already.
func InspectCheckpoint(ctx context.Context, c *Checkpoint) (*Info, error) {
	sum, err := c.SHA256(ctx)
	if err != nil {
		return nil, err
	}
	info := &Info{Path: c.Name(), Container: c.Container(), Bytes: c.Bytes(), SHA256: sum, DTypes: map[string]int{}}
	for _, t := range c.Tensors() {
		shape := t.Shape
		if shape == nil {
			shape = []int{} // a scalar
		}
		info.Tensors = append(info.Tensors, TensorInfo{t.Name, t.DType, shape})
		info.DTypes[string(t.DType)]++
		if t.DType.IsFloat() {
			info.Parameters += int64(t.Len())
		}
	}
	m, err := align(c)
	if err == nil {
		info.Dialect, info.Config, info.Projector, info.LanguageModel = m.dialect.name, &m.config, m.projector, m.language
		for path := range m.has.extra {
			if strings.HasPrefix(path, "Projector.") {
				info.Extras = append(info.Extras, path)
			}
		}
		slices.Sort(info.Extras)
		err = m.settle()
	}
	switch wrong := (*MismatchError)(nil); {
	case err == nil:
	case errors.As(err, &wrong):
		info.Dialect, info.Problem = wrong.Dialect, err.Error()
	default:
		info.Problem = err.Error()
	}
	return info, nil
}
