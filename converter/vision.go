package converter

import (
	"context"
	"fmt"
	"strings"

	"github.com/vitago/vitago/clipvit"
)

// Load reads the vision tower of the checkpoint at path, which may be a directory that [Model.Convert]
// wrote or any other checkpoint that [Open] knows. The model is frozen; every parameter has been
// filled exactly once.
//
// What tensors do not say is taken from config.json or open_clip_config.json in the same directory.
// Where nothing says it, as for OpenAI's names outside its own archives, the error is
// [ErrActivation]; see [Assume]. Images are prepared as the files beside the tensors say, by the rules of the library whose
// form they have; see [Prepare]. With transformers' names and no file of an image processor they are prepared as OpenAI's.
// What [clipvit.Preprocess] cannot do is an error; to use such a tower with preprocessing of one's own, name the file of
// the tensors, not its directory.
func Load(path string, options ...OpenOption) (*clipvit.Model, error) {
	m, err := Open(path, options...)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return m.Vision(context.Background())
}

// Vision reads the vision tower, as [Load] does. The context is looked at between parameters.
func (m *Model) Vision(ctx context.Context) (*clipvit.Model, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	if !m.has.vision {
		return nil, m.lacks("projector", "vision tower")
	}
	filled := map[string]bool{}
	tower, err := clipvit.NewFrozen(m.config.Vision, func(path string, values []float32) error {
		filled[path] = true
		return m.read(ctx, path, values)
	})
	if err != nil {
		return nil, err
	}
	for path := range m.params {
		if !filled[path] && !isText(path) && !strings.HasPrefix(path, "Projector.") {
			panic(fmt.Sprintf("converter: the model has no parameter %s", path)) // a mistake of the tables
		}
	}
	return tower, nil
}
