package hub

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// archives is where OpenAI keeps its archives: archives/SHA-256/NAME.
const archives = "https://openaipublic.azureedge.net/clip/models"

// openAI are the vision transformers that OpenAI released. Its other models are ResNets, which have no
// tower of this form. The folder of an archive is its SHA-256.
//
// Source: openai/CLIP, clip/clip.py, _MODELS and _download. The sizes are those of the files with these
// hashes.
var openAI = []struct {
	name, file, sha256 string
	size               int64 // bytes
}{
	{"ViT-B/32", "ViT-B-32.pt", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", 353_976_522},
	{"ViT-B/16", "ViT-B-16.pt", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", 350_837_078},
	{"ViT-L/14", "ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", 932_768_134},
	{"ViT-L/14@336px", "ViT-L-14-336px.pt", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02", 934_088_680},
}

// ArchiveNames returns the public names of OpenAI's archives.
func ArchiveNames() []string {
	var names []string
	for _, a := range openAI {
		names = append(names, a.name)
	}
	return names
}

// plain is a name without what people write in several ways: ViT-L/14@336px, ViT-L-14-336px.pt and
// vit_l_14_336 are the same.
func plain(name string) string {
	name = strings.NewReplacer("/", "-", "@", "-", "_", "-").Replace(strings.ToLower(name))
	return strings.TrimSuffix(strings.TrimSuffix(name, ".pt"), "px")
}

// Archive returns OpenAI's archive with the given public name, and whether there is one.
func (c *Client) Archive(name string) (File, bool) {
	for _, a := range openAI {
		if plain(a.name) != plain(name) {
			continue
		}
		base := archives
		if c.Archives != "" {
			base = strings.TrimRight(c.Archives, "/")
		}
		f := File{Name: a.file, URL: base + "/" + a.sha256 + "/" + a.file, Size: -1, SHA256: a.sha256}
		if c.archives != "" {
			f.cached = filepath.Join(c.archives, a.file)
		}
		return f, true
	}
	return File{}, false
}

// ArchiveSize returns how many bytes OpenAI's archive with a SHA-256 has, or -1 if there is none. A
// download does without: its hash says more, and at once, of a mirror that has something else.
func ArchiveSize(sha256 string) int64 {
	for _, a := range openAI {
		if a.sha256 == sha256 {
			return a.size
		}
	}
	return -1
}

// IsResNet says that name is that of one of OpenAI's archives that hold no vision transformer.
func IsResNet(name string) bool {
	return slices.Contains([]string{"rn50", "rn101", "rn50x4", "rn50x16", "rn50x64"}, plain(name))
}

// archiveLike is how OpenAI's names begin.
var archiveLike = regexp.MustCompile(`(?i)^(vit-|rn[0-9])`)

// IsArchiveLike says that name is more likely a slip in one of OpenAI's names than the id of a model: it
// has no owner, or begins as they do.
func IsArchiveLike(name string) bool {
	return !strings.Contains(name, "/") || archiveLike.MatchString(name)
}
