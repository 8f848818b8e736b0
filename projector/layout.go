package projector

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pillow"
)

// A Fit is a way to bring an image of any size to the square that a tower takes.
type Fit string

// All resize as Pillow does, to the bit, and work on what PIL's convert("RGB") gives, except Crop, which
// converts last, and Processor, which does what it is told.
const (
	// Processor does what the tower's own [clipvit.Transform] says: [clipvit.Preprocess].
	Processor Fit = "processor"
	// Crop makes the shorter side the square's (bicubic) and cuts out the middle, by OpenAI's rules.
	Crop Fit = "crop"
	// CropFloor is Crop but for an odd number of pixels left over, of which the smaller half is always the
	// upper or left one, where Crop's rounds halves to even.
	CropFloor Fit = "crop-floor"
	// Squash makes both sides the square's (bicubic), whatever their ratio.
	Squash Fit = "squash"
	// Pad fills the shorter side up on both ends with CLIP's mean colour, then resizes (bicubic).
	Pad Fit = "pad"
	// Tile makes several squares and a global view; see [Layout].
	Tile Fit = "tile"
	// AnyRes makes several squares and a view of the whole; see [Layout].
	AnyRes Fit = "anyres"
)

// A Merge is how the tokens of an [AnyRes] layout's views are put together.
type Merge string

const (
	// MergeUnpad is the zero value: the rows of the whole picture without those that are all black, after each row Newline.
	// Source: haotian-liu/LLaVA, llava/model/llava_arch.py, mm_patch_merge_type "spatial_unpad".
	MergeUnpad Merge = ""
	// MergeFlat takes the views one after the other, each with all its tokens.
	// Source: the same, "flat", which is LLaVA's default.
	MergeFlat Merge = "flat"
	// MergeSpatial takes the rows of the whole picture, the black ones too, and puts nothing between them.
	// Source: the same, "spatial".
	MergeSpatial Merge = "spatial"
)

// A Layout says how an image becomes the views that a tower sees, squares of R = [clipvit.Config].ImageSize
// pixels, and so how many tokens it has. It is data: take one of [Layouts], change what should differ.
//
// # Tiles
//
// [Tile] is XComposer's HD transform. An image that is higher than wide is transposed, and back at the end.
// With the ratio w/h, its width becomes s·R, where s is the largest number with s·⌈s/ratio⌉ ≤ HDNum, but not
// more than ⌈w·Enlarge/R⌉; its height becomes what the ratio wants (bilinear), and is filled up with white to
// a multiple of R. That is h×w tiles, row after row. The global view is the same picture, normalised first,
// in one square, by a bicubic filter with a = -0.75 that does not widen when it shrinks.
//
// The views of an image stand in [Tiles], the global one first. Of the tower's G×G patches each 2×2 become
// one token with four times the columns, and the tokens are, in the order of the language model:
//
//	global view     G/2 rows of G/2, after each row the row separator      G/2·(G/2+1)
//	separator       GlobalSeparator                                        1
//	the tiles       h·G/2 rows of w·G/2, after each row the row separator   h·G/2·(w·G/2+1)
//
// which are (h·w+1)·(G/2)² + 1 + (h+1)·G/2.
//
// # AnyRes
//
// [AnyRes] is LLaVA-1.6's. Of Grids it takes the one in which most of the image's pixels are left, and of those
// the one with the least left over; the image is resized into it (bicubic) and filled up with black on both
// sides. The view of the whole, first in [Tiles], is the squashed image. The tokens are
//
//	the whole       G² of them
//	the tiles       rows of the whole picture without those rows or columns that are all black, after each row Newline
//
// or, with another [Merge], all G² tokens of every tile.
//
// Source: huggingface/transformers, models/llava_next/image_processing_llava_next.py, get_image_patches;
// image_processing_utils.py, select_best_resolution and get_patch_output_size; models/llava_next/
// modeling_llava_next.py, pack_image_features and unpad_image.
//
// Sources of tiles: InternLM/InternLM-XComposer, InternLM-XComposer-2.0/finetune/ixc_utils.py, HD_transform and
// padding_336; finetune/ixc_utils.py, R560_HD18_Identity_transform; InternLM-XComposer-2.5-OmniLive,
// base/ixc_utils.py, Image_transform, and base/build_mlp.py, CLIPVisionTower.forward.
type Layout struct {
	Name string // for people, and in files; [Layouts] has theirs by it
	Fit  Fit    // how a picture becomes views: [Squash], [Tile], …

	// For [AnyRes]: the rows and columns of tiles that there are; the first of equals is taken.
	Grids [][2]int
	// For [AnyRes]: how the tokens of the tiles are put together. (Without it a layout is in JSON what it was before there were
	// several ways, so that runs of fine-tuning go on.)
	Merge Merge `json:",omitempty"`

	// The rest is for [Tile].
	HDNum   int     // the most tiles; at least 1
	Enlarge float64 // bounds the number of tiles across by ⌈w·Enlarge/R⌉; 0 does not bound it
	Centre  bool    // whether the white is half above and half below, instead of all below
}

// Layouts are the presets:
//
//	processor             what the model's own image processor does, as that of LLaVA-1.5 in transformers' form
//	clip                  OpenAI's own
//	clip-transformers     CLIP's in transformers, also that of LLaVA where nothing is said of its images
//	squash                InternLM-XComposer2-VL at 490 pixels, InternLM-XComposer2 at 224
//	pad                   LLaVA-1.5 and xtuner
//	llava-1.6             LLaVA-1.6, with the grids of all models that were published
//	xcomposer2-4khd       InternLM-XComposer2-4KHD in use; -train in training
//	xcomposer2.5          InternLM-XComposer-2.5 in a chat about one image; -several about several; -train in training
var Layouts = []Layout{
	// What transformers does with a LLaVA-1.5 in its form.
	// Source: huggingface/transformers, models/llava/processing_llava.py, LlavaProcessor: the image processor of the files.
	{Name: "processor", Fit: Processor},
	// OpenAI's own.
	// Source: openai/CLIP, clip/clip.py, _transform.
	{Name: "clip", Fit: Crop},
	// What transformers does by default, also for the LLaVA models on the hub that are in its form.
	// Source: huggingface/transformers, models/clip/image_processing_clip.py, CLIPImageProcessor.preprocess;
	// image_transforms.py, center_crop.
	{Name: "clip-transformers", Fit: CropFloor},
	// InternLM-XComposer2-VL at 490 pixels, InternLM-XComposer2 at 224.
	// Source: InternLM/InternLM-XComposer, InternLM-XComposer-2.0/finetune/data_mix.py, ImageProcessor.
	{Name: "squash", Fit: Squash},
	// LLaVA-1.5 and xtuner.
	// Source: haotian-liu/LLaVA, llava/mm_utils.py, expand2square and process_images.
	{Name: "pad", Fit: Pad},
	// LLaVA-1.6, with the image_grid_pinpoints of all that were published; converter.Model.Encoder takes a checkpoint's own.
	{Name: "llava-1.6", Fit: AnyRes, Grids: [][2]int{{1, 2}, {2, 1}, {2, 2}, {3, 1}, {1, 3}}},
	// InternLM-XComposer2-4KHD: what its model asks for by default, and its training. Its demonstrations go up to 55.
	{Name: "xcomposer2-4khd", Fit: Tile, HDNum: 25, Centre: true},
	{Name: "xcomposer2-4khd-train", Fit: Tile, HDNum: 16, Centre: true},
	// InternLM-XComposer-2.5 and OmniLive in a chat about one image, about several, and in training.
	{Name: "xcomposer2.5", Fit: Tile, HDNum: 24, Enlarge: 1},
	{Name: "xcomposer2.5-several", Fit: Tile, HDNum: 6, Enlarge: 1},
	{Name: "xcomposer2.5-train", Fit: Tile, HDNum: 18, Enlarge: 1.5, Centre: true},
}

// maxHDNum bounds HDNum far above the 55 of XComposer2-4KHD's demonstrations.
const maxHDNum = 1 << 10

// FindLayout returns the preset of the given name. The error names all that there are.
func FindLayout(name string) (Layout, error) {
	i := slices.IndexFunc(Layouts, func(l Layout) bool { return l.Name == name })
	if i < 0 {
		names := make([]string, len(Layouts))
		for i, l := range Layouts {
			names[i] = l.Name
		}
		return Layout{}, fmt.Errorf("projector: layout is %.40q, want one of %s", name, strings.Join(names, ", "))
	}
	return Layouts[i], nil
}

// Validate returns nil if l can split images, and otherwise an error with everything that is wrong with it.
func (l Layout) Validate() error {
	var errs []error
	if fits[l.Fit] == nil {
		errs = append(errs, fmt.Errorf("projector: layout %.40q fits by %.40q, want %q, %q, %q, %q, %q, %q or %q", l.Name, l.Fit, Processor, Crop, CropFloor, Squash, Pad, Tile, AnyRes))
	}
	if l.Fit == Tile && (l.HDNum < 1 || l.HDNum > maxHDNum) {
		errs = append(errs, fmt.Errorf("projector: layout %.40q has at most %d tiles, want 1 to %d", l.Name, l.HDNum, maxHDNum))
	}
	if l.Fit != Tile && (l.HDNum != 0 || l.Enlarge != 0 || l.Centre) {
		errs = append(errs, fmt.Errorf("projector: layout %.40q has the fields of tiles and fits by %q, want %q", l.Name, l.Fit, Tile))
	}
	if (l.Fit == AnyRes) != (len(l.Grids) > 0) {
		errs = append(errs, fmt.Errorf("projector: layout %.40q fits by %.40q and has %d grids, want some for %q and none for others", l.Name, l.Fit, len(l.Grids), AnyRes))
	}
	switch l.Merge {
	case MergeUnpad:
	case MergeFlat, MergeSpatial:
		if l.Fit != AnyRes {
			errs = append(errs, fmt.Errorf("projector: layout %.40q merges tiles by %q and fits by %.40q, want %q", l.Name, l.Merge, l.Fit, AnyRes))
		}
	default:
		errs = append(errs, fmt.Errorf("projector: layout %.40q merges tiles by %.40q, want %q, %q or %q", l.Name, l.Merge, MergeUnpad, MergeFlat, MergeSpatial))
	}
	for _, g := range l.Grids {
		if g[0] < 1 || g[1] < 1 || g[0] > maxHDNum || g[1] > maxHDNum || g[0]*g[1] > maxHDNum {
			errs = append(errs, fmt.Errorf("projector: layout %.40q has a grid of %d×%d tiles, want at least 1×1 and at most %d tiles", l.Name, g[0], g[1], maxHDNum))
		}
	}
	if !(l.Enlarge >= 0 && l.Enlarge <= maxHDNum) { // nor a NaN
		errs = append(errs, fmt.Errorf("projector: layout %.40q enlarges by %v, want 0 to %d", l.Name, l.Enlarge, maxHDNum))
	}
	return errors.Join(errs...)
}

// check returns an error if the layout does not fit the tower, or if there are no images of that size.
func (l Layout) check(width, height int, c clipvit.Config) error {
	if err := errors.Join(l.Validate(), c.Validate()); err != nil {
		return err
	}
	if l.Fit == Tile && c.Grid()%2 != 0 {
		return fmt.Errorf("projector: layout %q merges 2×2 patches, and the tower has %d×%d", l.Name, c.Grid(), c.Grid())
	}
	if width < 1 || height < 1 || width > math.MaxInt32 || height > math.MaxInt32 {
		return fmt.Errorf("projector: image is %d×%d pixels, want 1 to %d each", width, height, math.MaxInt32)
	}
	for _, g := range l.Grids {
		if n := int64(g[0]*g[1]) * int64(c.ImageSize) * int64(c.ImageSize); n > pillow.MaxPixels {
			return fmt.Errorf("projector: layout %q has %d×%d tiles, of %d pixels, want at most %d", l.Name, g[0], g[1], n, pillow.MaxPixels)
		}
	}
	if side := int64(max(width, height)); l.Fit == Pad && side*side > pillow.MaxPixels {
		return fmt.Errorf("projector: layout %q pads %d×%d pixels to a square of %d, want at most %d", l.Name, width, height, side*side, pillow.MaxPixels)
	}
	return nil
}

// Tokens returns how many tokens an image of width by height pixels has with a tower of configuration c,
// without those of the class, for which nothing needs to be decoded. What [Layout.Split] refuses for its
// shape is an error here as well.
func (l Layout) Tokens(width, height int, c clipvit.Config) (int, error) {
	if err := l.check(width, height, c); err != nil {
		return 0, err
	}
	switch l.Fit {
	case Tile:
	case AnyRes:
		t := Tiles{Width: width, Height: height}
		t.Rows, t.Cols = l.grid(width, height, c.ImageSize)
		if l.Merge != MergeUnpad {
			return (1 + t.Rows*t.Cols) * c.Patches(), nil
		}
		_, down, _, across := t.inside(c.Grid())
		return c.Patches() + down*(across+1), nil
	default:
		return c.Patches(), nil
	}
	p, err := l.partition(width, height, c.ImageSize)
	if err != nil {
		return 0, err
	}
	half := c.Grid() / 2
	return (p.rows*p.cols+1)*half*half + 1 + (p.rows+1)*half, nil
}

// Views returns how many views an image has at most, the global one included: 1 with the layouts of one view, of which
// alone [Encoder.Forward] takes several images at once.
func (l Layout) Views() int {
	switch l.Fit {
	case Tile:
		return 1 + l.HDNum
	case AnyRes:
		most := 0
		for _, g := range l.Grids {
			most = max(most, g[0]*g[1])
		}
		return 1 + most
	}
	return 1
}

// A partition is a picture in tiles.
type partition struct {
	rows, cols    int  // of tiles
	turned        bool // whether the picture is transposed while it is resized and padded
	width, height int  // resized; of the transposed picture if turned
	padded        int  // the height with the white
	top           int  // rows of white above
}

// partition returns the tiles of an image of width by height pixels when they have r pixels a side. It
// computes as Python does, in float64, where that decides.
func (l Layout) partition(width, height, r int) (p partition, err error) {
	if p.turned = width < height; p.turned {
		width, height = height, width
	}
	ratio := float64(width) / float64(height)
	across := 1
	for float64(across+1)*math.Ceil(float64(across+1)/ratio) <= float64(l.HDNum) {
		across++
	}
	if l.Enlarge > 0 {
		across = int(min(max(math.Ceil(float64(width)*l.Enlarge/float64(r)), 1), float64(across)))
	}
	p.width = across * r
	p.height = int(float64(p.width) / ratio)
	if p.height < 1 {
		return p, fmt.Errorf("projector: an image of %d to 1 is less than one pixel high with %d tiles of %d pixels across, as the longer side has at most",
			int(ratio), across, r)
	}
	down := (p.height + r - 1) / r
	p.padded = down * r
	if n := int64(p.width) * int64(p.padded); n > pillow.MaxPixels {
		return p, fmt.Errorf("projector: layout %q makes %d×%d tiles, of %d pixels, want at most %d", l.Name, down, across, n, pillow.MaxPixels)
	}
	if l.Centre {
		p.top = (p.padded - p.height) / 2
	}
	p.rows, p.cols = down, across
	if p.turned {
		p.rows, p.cols = across, down
	}
	return p, nil
}
