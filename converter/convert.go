package converter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/internal/folder"
)

// ErrExists is returned where something is in the way of an output that [Options.Overwrite] or
// [ExportOptions.Overwrite] may permit to replace.
var ErrExists = errors.New("overwriting was not asked for")

// Options are the choices of a conversion. The zero value keeps the precision of the source and
// both towers.
type Options struct {
	// DType is the precision of the output: "source" (or "") keeps that of every tensor, "f16",
	// "bf16" and "f32" convert them all.
	DType string
	// VisionOnly leaves the text tower out.
	VisionOnly bool
	// Vocab is the path of a list of merges as OpenAI's bpe_simple_vocab_16e6.txt.gz, of a tokenizer.json, or of a directory with the files of a
	// tokenizer. If it is "", those that are in the directory of the source are copied, and OpenAI's are written where there are none
	// and the text tower has as many tokens.
	Vocab string
	// Overwrite permits to replace a model directory that exists already.
	Overwrite bool
	// Progress, if it is not nil, hears how many bytes of how many have been written. It is called
	// by one goroutine at a time.
	Progress func(done, total int64)
}

// A Report says what a conversion read and wrote.
type Report struct {
	Source    string `json:"source"`    // the path that was read
	Dir       string `json:"dir"`       // where the model lies now
	Container string `json:"container"` // of the source
	Dialect   string `json:"dialect"`   // of the source
	// Adapters are those that have been merged, in their order.
	Adapters []string `json:"adapters,omitempty"`
	SHA256   string   `json:"sha256"` // of the source; "" if it has a language model, which is not read
	Config   Config   `json:"config"` // of what was written
	// Projector is nil if there is none.
	Projector  *ProjectorConfig `json:"projector,omitempty"`
	Tensors    int              `json:"tensors"`    // written
	Parameters int64            `json:"parameters"` // written
	Bytes      int64            `json:"bytes"`      // of the files of tensors
	DTypes     map[string]int   `json:"dtypes"`     // how many tensors of each were written
	Files      []string         `json:"files"`      // in Dir
	TextLeft   bool             `json:"text_left"`  // by [Options.VisionOnly]
	// LanguageModel is the number of tensors of a language model, which stay where they are.
	LanguageModel int      `json:"language_model"`
	Excused       []string `json:"excused"`        // tensors of the source that are no parameters, and so were not written
	Left          []string `json:"left,omitempty"` // parts of the source that have no place in what is written, in words
	// Tokenizer says whose tokenizer was written if it is not that of files that the source or [Options.Vocab] has, and why if none were.
	Tokenizer string `json:"tokenizer,omitempty"`
}

// Convert writes the model to the directory dst, which the Python library transformers loads as it is:
// config.json, preprocessor_config.json, model.safetensors and, with a text tower, the files of the
// tokenizer. If there is a projector, projector.safetensors and projector_config.json ([ProjectorConfig])
// are beside them, or alone if there is no tower: the names of its tensors are those of torch's
// nn.Sequential. The directory appears complete or not at all. Memory does not grow with the model.
func (m *Model) Convert(ctx context.Context, dst string, o Options) (*Report, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	return m.clone().convert(ctx, dst, o)
}

// convert writes the directory dst. It leaves out of m what is not written.
func (m *Model) convert(ctx context.Context, dst string, o Options) (*Report, error) {
	target, err := parseTarget(o.DType)
	if err != nil {
		return nil, err
	}
	left := o.VisionOnly && m.has.text
	if left {
		m.config.Text, m.has.text = nil, false
	}
	out := &output{model: m, target: target, vocab: o.Vocab, progress: o.Progress}
	if err := out.prepare(); err != nil {
		return nil, err
	}
	if err := writeDir(dst, o.Overwrite, func(dir string) error { return out.write(ctx, dir) }); err != nil {
		return nil, err
	}
	r := out.report(dst)
	r.TextLeft = left
	r.Left = append(r.Left, m.headBeside()...)
	return r, nil
}

// headBeside names the head that lies beside the model, which no conversion and no export takes along.
func (m *Model) headBeside() []string {
	dir, err := Folder(m.Path())
	if err != nil {
		return nil // a file
	}
	if _, err := os.Stat(filepath.Join(dir, HeadFile)); err != nil {
		return nil
	}
	return []string{"the head in " + HeadFile + ", which reads this tower's embeddings"}
}

// writeDir has write fill a directory that appears as dst when it is complete. If anything fails nothing is
// left. It does not replace what it cannot recognise as a model.
func writeDir(dst string, overwrite bool, write func(dir string) error) error {
	dst, err := filepath.Abs(dst)
	if err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	exists, err := checkTarget(dst, overwrite)
	if err != nil {
		return err
	}
	if exists && folder.Holds(dst) {
		return fmt.Errorf("converter: %s is the working directory, or above it, and would be replaced as a whole: want another name", dst)
	}
	return folder.Prefix("converter", folder.WithParents(dst, func() error { return folder.WriteDir(dst, exists, write) }))
}

// writtenFiles are the names of the files that a conversion or an export writes into a directory.
var writtenFiles = append([]string{
	configFile, preprocessorFile, weightsFile, torchFile, projectorFile, projectorWeights,
	openCLIPConfig, openCLIPSafetensors, openCLIPTorch,
}, cliptext.FileNames()...)

// checkTarget says whether dst exists, and returns an error if it must not be replaced.
func checkTarget(dst string, overwrite bool) (exists bool, err error) {
	if info, err := os.Stat(dst); err == nil && !info.IsDir() {
		return true, fmt.Errorf("converter: %s is a file, want a directory that does not exist or is empty", dst)
	}
	entries, err := os.ReadDir(dst)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return true, fmt.Errorf("converter: %w", err)
	case len(entries) == 0:
		return true, nil
	case !overwrite:
		return true, fmt.Errorf("converter: %s is not empty, and %w", dst, ErrExists)
	}
	model := false
	for _, e := range entries {
		if !e.Type().IsRegular() || !slices.Contains(writtenFiles, e.Name()) {
			return true, fmt.Errorf("converter: %s holds %s, which no conversion writes, so it is not overwritten", dst, e.Name())
		}
		model = model || e.Name() == configFile || e.Name() == openCLIPConfig || e.Name() == projectorFile
	}
	if !model {
		return true, fmt.Errorf("converter: %s has no %s: not a model directory, so it is not overwritten", dst, configFile)
	}
	return true, nil
}
