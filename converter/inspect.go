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
	Path      string `json:"path"`      // of an adapter that of its base model
	Container string `json:"container"` // of the files: "safetensors", "TorchScript", …
	// Adapters are those that lie on the model, in their order. Bytes, SHA256 and all that is said of tensors are without them.
	Adapters []string `json:"adapters,omitempty"`
	Dialect  string   `json:"dialect,omitempty"` // whose names the tensors have: "OpenAI", "Hugging Face", …; "" if Problem keeps it from being known
	Config   *Config  `json:"config,omitempty"`  // of the towers; nil if they are not known
	// Projector is nil if there is none; Extras are the vectors beside it, by canonical name.
	Projector *ProjectorConfig `json:"projector,omitempty"`
	Extras    []string         `json:"extras,omitempty"`
	// LanguageModel is the number of tensors of a language model, those of shards that are not there
	// included. A conversion leaves them where they are.
	LanguageModel int            `json:"language_model"`
	Problem       string         `json:"problem,omitempty"` // why it can be loaded neither as a tower nor as a projector
	Bytes         int64          `json:"bytes"`             // of the files of tensors
	SHA256        string         `json:"sha256"`            // of the files of tensors, in hexadecimal digits
	Parameters    int64          `json:"parameters"`        // elements of floating type
	DTypes        map[string]int `json:"dtypes"`            // how many tensors of each
	Tensors       []TensorInfo   `json:"tensors"`           // of the files, in their order
}

// TensorInfo describes a tensor.
type TensorInfo struct {
	Name  string           `json:"name"`  // as it stands in the file
	DType checkpoint.DType `json:"dtype"` // of the elements in the file: "F16", "BF16", "F32", …
	Shape []int            `json:"shape"` // elements along each dimension
}

// Inspect says what the checkpoint at path holds. It reads all of it, for the SHA-256 and to
// verify the checksums in it. A checkpoint that is sound but neither a CLIP nor a
// projector is no error: then [Info.Problem] says why.
func Inspect(ctx context.Context, path string, options ...OpenOption) (*Info, error) {
	s, err := openSource(path, options)
	if err != nil {
		return nil, err
	}
	defer s.file.Close()
	return s.inspect(ctx)
}

func (s *source) inspect(ctx context.Context) (*Info, error) {
	m, problem := align(s)
	if problem == nil {
		return m.Info(ctx)
	}
	info, err := tensorInfo(ctx, s.file, s.name)
	if err != nil {
		return nil, err
	}
	info.Problem = problem.Error()
	if wrong := (*MismatchError)(nil); errors.As(problem, &wrong) {
		info.Dialect = wrong.Dialect
	}
	return info, nil
}

// Info says what the checkpoint holds, as [Inspect] does.
func (m *Model) Info(ctx context.Context) (*Info, error) {
	info, err := tensorInfo(ctx, m.file, m.name)
	if err != nil {
		return nil, err
	}
	config := m.clone().config
	info.Adapters = m.Adapters()
	info.Dialect, info.Config, info.Projector, info.LanguageModel = m.dialect.name, &config, m.ProjectorConfig(), m.language
	for path := range m.has.extra {
		if strings.HasPrefix(path, "Projector.") {
			info.Extras = append(info.Extras, path)
		}
	}
	slices.Sort(info.Extras)
	if m.unsettled != nil {
		info.Problem = m.unsettled.Error()
	}
	return info, nil
}

// tensorInfo says what files hold, whatever their tensors are.
func tensorInfo(ctx context.Context, f *checkpoint.File, path string) (*Info, error) {
	sum, err := f.SHA256(ctx)
	if err != nil {
		return nil, err
	}
	info := &Info{Path: path, Container: f.Container(), Bytes: f.Bytes(), SHA256: sum, DTypes: map[string]int{}}
	for _, t := range f.Tensors() {
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
	return info, nil
}
