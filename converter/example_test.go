package converter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/peft"
)

// archive is a tiny CLIP in the form of OpenAI's archives.
const archive = "../testdata/tiny/openai_torch1.7.1.pt"

func ExampleModel_Convert() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	model, err := converter.Open(archive)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	report, err := model.Convert(context.Background(), filepath.Join(dir, "tiny"), converter.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Container, "with the names of", report.Dialect)
	fmt.Println(report.Tensors, "tensors,", report.Parameters, "parameters in", report.Files)
	// Output:
	// TorchScript archive with the names of OpenAI
	// 62 tensors, 163457 parameters in [model.safetensors config.json preprocessor_config.json tokenizer_config.json]
}

func ExampleLoad() {
	model, err := converter.Load(archive) // or a directory that Convert wrote
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(model.Config.Layers, "blocks of width", model.Config.Width)
	// Output: 2 blocks of width 64
}

func ExampleInspect() {
	info, err := converter.Inspect(context.Background(), archive)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(info.Container, info.DTypes, info.Tensors[0])
	// Output: TorchScript archive map[F16:27 F32:23 I64:3] {positional_embedding F32 [9 64]}
}

func ExampleOpen() {
	m, err := converter.Open(archive) // no weights yet
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	vision, err := m.Vision(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := m.Text(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Container(), "with towers of", len(vision.Blocks), "and", len(text.Blocks), "blocks")
	// Output: TorchScript archive with towers of 2 and 1 blocks
}

func ExampleModel_Projector() {
	source, err := converter.Open("../testdata/families/xcomposer2-hd") // or what Convert made of it
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	p, err := source.Projector(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	c := p.Config
	fmt.Println(c.Type, "from", c.In, "to", c.Out, "columns, fed with the", c.SelectFeature, "tokens of layer", *c.SelectLayer)
	fmt.Println(len(p.GlobalSeparator), "values between tiles and global view")
	// Output:
	// mlp2x_gelu from 256 to 12 columns, fed with the patch tokens of layer -1
	// 256 values between tiles and global view
}

func ExampleAssume() {
	const state = "../testdata/tiny/state_torch2.9.1.pt" // a state dict alone
	_, err := converter.Load(state)
	fmt.Println(errors.Is(err, converter.ErrActivation))

	m, err := converter.Open(state, converter.Assume(transformer.QuickGELU))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	tower, err := m.Vision(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tower.Config.Activation, err)
	// Output:
	// true
	// quick_gelu <nil>
}

// An adapter that the Python library peft wrote is merged as the model is opened.
func ExampleAdapter() {
	m, err := converter.Open("../testdata/peft/clip", converter.Adapter("../testdata/peft/0.21.2/plain"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	fmt.Println(len(m.Adapters()), "adapter merged")
	// Output: 1 adapter merged
}

// Images are prepared by the rules of immich, in the place of OpenAI's.
func ExamplePrepare() {
	m, err := converter.Open(archive, converter.Prepare(clipvit.Choice{Preset: "immich"}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	t := m.Stated().Vision.Transform.Resolved()
	fmt.Println(t.Fit, t.Rounding, t.Alpha)
	// Output: shortest immich drop-first
}

// The texts of a model are read by its own tokenizer.
func ExampleModel_Tokenizer() {
	m, err := converter.Open("../testdata/families/hf5-clip")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	tokenizer, embedded, err := m.Tokenizer("")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tokenizer.Len(), tokenizer.Rules(), embedded)
	// Output: 25 transformers false
}

func ExampleCombine() {
	m, err := converter.Open("../testdata/peft/clip", converter.Combine(peft.Cat,
		converter.Weighted{Dir: "../testdata/peft/0.21.2/plain", Weight: 0.7},
		converter.Weighted{Dir: "../testdata/peft/0.21.2/second", Weight: 0.3},
	))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	for _, a := range m.Adapters() {
		fmt.Println(filepath.Base(a))
	}
	// Output:
	// plain=0.7
	// second=0.3
}

// A checkpoint that lies on no disk.
func ExampleOpenReader() {
	content, err := os.ReadFile(archive)
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := converter.OpenReader(bytes.NewReader(content), int64(len(content)), "an archive from elsewhere")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	fmt.Println(m.Dialect(), m.Stated().Vision.Layers)
	// Output: OpenAI 2
}

// A tower that has changed in memory is written with all else that its checkpoint has.
func ExampleSave() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	source, err := converter.Open(archive)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	tower, err := source.Vision(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	tower.Unfreeze()
	tower.Proj.Data().F32()[0] = 0.5 // here a program would train
	report, err := converter.Save(ctx, converter.Models{Vision: tower}, source, filepath.Join(dir, "changed"), converter.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := converter.Load(report.Dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	again.Unfreeze()
	fmt.Println(again.Proj.Data().F32()[0], report.Config.Text != nil)
	// Output: 0.5 true
}
