package converter

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/projector"
)

// readLLaVALayout reads what the config.json of an original LLaVA says of how a picture becomes views, and the views'
// tokens one row.
//
// Source: haotian-liu/LLaVA, llava/mm_utils.py, process_images and process_anyres_image; llava/model/llava_arch.py,
// prepare_inputs_labels_for_multimodal.
func readLLaVALayout(m *Model, file []byte) error {
	var c struct {
		Aspect    string          `json:"image_aspect_ratio"`
		Merge     string          `json:"mm_patch_merge_type"`
		Points    json.RawMessage `json:"image_grid_pinpoints"` // widths and heights, in a list or as a text
		Resampler string          `json:"mm_resampler_type"`
		S2        bool            `json:"s2"`
	}
	if err := pyjson.Unmarshal(file, &c); err != nil {
		return err
	}
	p := m.projector
	var errs []error
	if c.Resampler != "" {
		errs = append(errs, fmt.Errorf("mm_resampler_type is %.40q, which is not supported: want null", c.Resampler))
	}
	if c.S2 {
		errs = append(errs, errors.New("s2 is true: a tower at several scales is not supported"))
	}
	switch c.Aspect {
	case "", "square":
		p.Layout = "clip-transformers"
	case "pad":
		p.Layout = "pad"
	case "anyres":
		p.Layout = "llava-1.6"
		switch c.Merge {
		case "", "flat":
			p.Merge = projector.MergeFlat
		case "spatial":
			p.Merge = projector.MergeSpatial
		case "spatial_unpad":
			p.Merge = projector.MergeUnpad
		default:
			errs = append(errs, fmt.Errorf("mm_patch_merge_type is %.40q, which is not supported: want \"flat\", \"spatial\" or \"spatial_unpad\"", c.Merge))
		}
	default:
		errs = append(errs, fmt.Errorf("image_aspect_ratio is %.40q, which is not supported: want \"square\", \"pad\" or \"anyres\"", c.Aspect))
	}
	if !m.has.vision { // their unit is the tower's size
		return errors.Join(errs...)
	}
	points, err := gridPinpoints(c.Points, m.config.Vision.ImageSize)
	if err == nil {
		err = p.setGrids(points, true, m.config.Vision.ImageSize)
	}
	if c.Aspect == "anyres" { // others do not look at them
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// gridRange is a text of image_grid_pinpoints that stands for all grids between two, of tiles and not of pixels.
// Source: LLaVA-VL/LLaVA-NeXT, llava/mm_utils.py, process_anyres_image.
var gridRange = regexp.MustCompile(`^\s*\((\d{1,4})x(\d{1,4})\)(?:.*\((\d{1,4})x(\d{1,4})\))?\s*$`)

// gridPinpoints reads image_grid_pinpoints: a list of pairs, the same as a text as Python writes it, or a range as a text.
// size is the side of a tile.
func gridPinpoints(raw json.RawMessage, size int) ([][2]int, error) {
	var points [][2]int
	var text string
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	wrong := fmt.Errorf("image_grid_pinpoints is %.60s, want pairs of width and height", compact(raw))
	if pyjson.Unmarshal(raw, &text) != nil {
		return pointPairs(raw, wrong)
	}
	m := gridRange.FindStringSubmatch(text)
	if m == nil {
		python := strings.NewReplacer("(", "[", ")", "]", ",)", "]", ",]", "]").Replace(text)
		return pointPairs([]byte(python), wrong)
	}
	var ends [4]int
	for i, s := range m[1:] {
		if s == "" {
			ends[i] = ends[i-2]
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, wrong
		}
		ends[i] = n
	}
	if n := (ends[2] - ends[0] + 1) * (ends[3] - ends[1] + 1); ends[2] < ends[0] || ends[3] < ends[1] || n > maxGrids {
		return nil, fmt.Errorf("image_grid_pinpoints is %.60s, want the smaller grid first and at most %d", raw, maxGrids)
	}
	for i := ends[0]; i <= ends[2]; i++ {
		for j := ends[1]; j <= ends[3]; j++ {
			points = append(points, [2]int{i * size, j * size})
		}
	}
	return points, nil
}

// maxGrids is how many grids a text may stand for; LLaVA-OneVision's has 36.
const maxGrids = 1 << 10

// pointPairs reads a list of pairs of numbers.
func pointPairs(raw []byte, wrong error) ([][2]int, error) {
	var lists [][]int
	if pyjson.Unmarshal(raw, &lists) != nil || len(lists) > maxGrids {
		return nil, wrong
	}
	points := make([][2]int, len(lists))
	for i, l := range lists {
		if len(l) != 2 {
			return nil, wrong
		}
		points[i] = [2]int(l)
	}
	return points, nil
}

// readTiles reads what an image processor says of a LLaVA's tiles, and returns an error if it says anything else of them
// than config.json, or what a layout does not do.
//
// Source: huggingface/transformers 5.24.0, models/llava_next/image_processing_pil_llava_next.py.
func (m *Model) readTiles() error {
	p := m.projector
	if p == nil || m.dialect.language == nil { // of tiles nothing is said but beside a language model
		return nil
	}
	for _, f := range []struct {
		name string
		raw  []byte
	}{{processorFile, m.beside.processor}, {preprocessorFile, m.beside.preprocessor}} {
		var c struct {
			Points json.RawMessage `json:"image_grid_pinpoints"` // heights and widths
			Inner  *struct {
				Points json.RawMessage `json:"image_grid_pinpoints"`
			} `json:"image_processor"`
		}
		if f.raw == nil || pyjson.Unmarshal(f.raw, &c) != nil { // which readTransform tells
			continue
		}
		if c.Inner != nil {
			c.Points = c.Inner.Points
		}
		path := filepath.Join(m.name, f.name)
		said := ProjectorConfig{}
		points, err := gridPinpoints(c.Points, p.ImageSize)
		if err == nil {
			err = said.setGrids(points, false, p.ImageSize)
		}
		switch {
		case err != nil:
			return fmt.Errorf("converter: %s: %w", path, err)
		case said.Grids == nil:
		case p.Grids == nil:
			p.Grids = said.Grids
		case !slices.Equal(*p.Grids, *said.Grids):
			return fmt.Errorf("converter: %s and %s contradict each other: image_grid_pinpoints are grids %v and %v",
				path, filepath.Join(m.name, configFile), *said.Grids, *p.Grids)
		}
	}
	t := m.config.Vision.Transform.Resolved()
	if t.Resize > p.ImageSize && p.Layout != "processor" && p.Layout != "clip-transformers" {
		return fmt.Errorf("converter: %s: the image processor scales to %d before it cuts out %d (size, crop_size), and the layouts of LLaVA and XComposer have no such step: want size %d",
			m.name, t.Resize, p.ImageSize, p.ImageSize)
	}
	if p.Layout != "processor" && t.Filter != clipvit.FilterBicubic {
		return fmt.Errorf("converter: %s: the image processor scales by %s (resample), and the layouts of LLaVA and XComposer by %s only", m.name, t.Filter, clipvit.FilterBicubic)
	}
	return nil
}
