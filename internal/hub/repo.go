package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// repositoryID is what the hub can have as the name of a model, with or without an owner.
var repositoryID = regexp.MustCompile(`^[\w-][\w.-]*(/[\w-][\w.-]*)?$`)

// IsID says whether s can be the id of a model on the hub, OWNER/NAME or for some old ones NAME.
func IsID(s string) bool {
	_, err := local("", s)
	return err == nil && len(s) <= 200 && repositoryID.MatchString(s)
}

// revisionName is what a branch, a tag or a commit can be called; git forbids most of what is not here.
var revisionName = regexp.MustCompile(`^[\w-][\w./+-]*$`)

// Revision is the branch that is taken where nobody says which.
// Source: huggingface/huggingface_hub, constants.py, DEFAULT_REVISION.
const Revision = "main"

// A Repository is a model on the hub at one commit.
type Repository struct {
	ID       string
	Revision string // that was asked for
	Commit   string // that it is; the revision again, if the hub does not say
	Files    []File // by name
}

// FileURL returns the address of a file of a model.
// Source: huggingface/huggingface_hub, constants.py, HUGGINGFACE_CO_URL_TEMPLATE.
func (c *Client) FileURL(id, revision, name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return c.endpoint() + "/" + id + "/resolve/" + url.PathEscape(revision) + "/" + strings.Join(parts, "/")
}

func (c *Client) endpoint() string { return strings.TrimRight(c.Endpoint, "/") }

// Repository asks the hub what a model has at a revision: a branch, a tag or a commit. Names are as the
// hub has them; Fetch checks them.
//
// Source: huggingface/huggingface_hub, hf_api.py, model_info and RepoSibling.
func (c *Client) Repository(ctx context.Context, id, revision string) (*Repository, error) {
	if !IsID(id) {
		return nil, fmt.Errorf("hub: %.100q is not the name of a model on a hub, as owner/model", id)
	}
	if !revisionName.MatchString(revision) || strings.Contains(revision, "..") {
		return nil, fmt.Errorf("hub: %.100q is no revision, as a branch, a tag or a commit has for a name", revision)
	}
	raw, err := c.read(ctx, c.endpoint()+"/api/models/"+id+"/revision/"+url.PathEscape(revision)+"?blobs=true")
	if err != nil {
		err = fmt.Errorf("hub: asking for the files of %s at %s: %w", id, revision, err)
		if unreachable(err) {
			err = fmt.Errorf("%w; off line? fetch them by hand from %s/%s/tree/%s", err, redacted(c.endpoint()), id, revision)
		}
		return nil, err
	}
	var answer struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name   string `json:"rfilename"`
			Size   *int64 `json:"size"`
			BlobID string `json:"blobId"`
			LFS    *struct {
				SHA256 string `json:"sha256"`
				Size   *int64 `json:"size"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("hub: what the hub says of %s at %s: %w", id, revision, err)
	}
	r := &Repository{ID: id, Revision: revision, Commit: revision}
	if hexSHA1.MatchString(answer.SHA) {
		r.Commit = answer.SHA
	}
	for _, s := range answer.Siblings {
		f := File{Name: s.Name, URL: c.FileURL(id, r.Commit, s.Name), Size: -1}
		size, hash := s.Size, s.BlobID
		switch {
		case s.LFS != nil: // then the blob is a pointer
			if s.LFS.Size != nil {
				size = s.LFS.Size
			}
			f.SHA256, hash = s.LFS.SHA256, s.LFS.SHA256
			if !hexSHA256.MatchString(hash) {
				return nil, fmt.Errorf("hub: the hub says the SHA-256 of %.100q is %.80q, want 64 digits", f.Name, hash)
			}
		case hash != "":
			f.Blob = hash
			if !hexSHA1.MatchString(hash) {
				return nil, fmt.Errorf("hub: the hub says the SHA-1 of %.100q is %.80q, want 40 digits", f.Name, hash)
			}
		}
		if size != nil {
			f.Size = *size
			if f.Size < 0 || f.Size > maxFile {
				return nil, fmt.Errorf("hub: the hub says the size of %.100q is %d, want 0 to %d", f.Name, f.Size, int64(maxFile))
			}
		}
		if c.cache != "" && hash != "" {
			f.cached = filepath.Join(c.cache, "models--"+strings.ReplaceAll(id, "/", "--"), "blobs", hash)
		}
		r.Files = append(r.Files, f)
	}
	slices.SortFunc(r.Files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	return r, r.check(r.Files, false)
}

// check returns an error if two files would be one on the disk, or if names is set and one has a name
// that no file can have.
func (r *Repository) check(files []File, names bool) error {
	seen := map[string]string{}
	for _, f := range files {
		key := strings.ToLower(f.Name) // as Windows and macOS have it
		if other, ok := seen[key]; ok && (names || other == f.Name) {
			return fmt.Errorf("hub: %s has both %.100q and %.100q", r.ID, other, f.Name)
		}
		seen[key] = f.Name
		if _, err := local("", f.Name); err != nil && names {
			return fmt.Errorf("%w (in %s)", err, r.ID)
		}
	}
	return nil
}

// All returns all files of the model.
func (r *Repository) All() ([]File, error) { return r.Files, r.check(r.Files, true) }

// companions are what a model has beside its weights: how it is built, how its images are prepared and
// its words cut.
var companions = []string{
	"config.json", "open_clip_config.json",
	"preprocessor_config.json", "processor_config.json",
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model",
	"mm_projector.bin", // LLaVA's, where it is apart
}

// A weight is a name that a model's numbers can have.
type weight struct {
	name  string
	index bool
}

// weights are the names (patterns of path.Match) that a model's numbers can have. The first that the
// model has are taken: one form is enough, and safetensors run no code. An index says which files
// there are.
//
// Source: huggingface/transformers, utils/__init__.py, SAFE_WEIGHTS_NAME and below;
// mlfoundations/open_clip, src/open_clip/pretrained.py, HF_WEIGHTS_NAME and HF_SAFE_WEIGHTS_NAME.
var weights = []weight{
	{"model.safetensors", false},
	{"model.safetensors.index.json", true},
	{"open_clip_model.safetensors", false},
	{"pytorch_model.bin", false},
	{"pytorch_model.bin.index.json", true},
	{"open_clip_pytorch_model.bin", false},
	{"*.safetensors", false},
	{"*.bin", false},
	{"*.pt", false},
	{"*.pth", false},
}

// openCLIPFirst are the names of OpenCLIP's, which come first in a model of timm's that has both: they hold both towers.
var openCLIPFirst = []weight{{"open_clip_model.safetensors", false}, {"open_clip_pytorch_model.bin", false}}

// The files of sentence-transformers before version 6, whose CLIP lies in a folder.
//
// Source: UKPLab/sentence-transformers, sentence_transformers/SentenceTransformer.py, modules.json.
const (
	sentenceModules = "modules.json"
	sentenceFolder  = "0_CLIPModel/"
)

// foreign are files that the patterns of weights fit, and that training leaves.
// Source: huggingface/transformers, trainer.py, TRAINING_ARGS_NAME and below.
var foreign = []string{"training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.bin", "scheduler.pt", "rng_state*.pth"}

// Model returns the files of r that a model is made of, the weights last, so that where they are the
// others are.
func (c *Client) Model(ctx context.Context, r *Repository) ([]File, error) {
	var files []File
	have := map[string]bool{}
	add := func(f File) {
		if !have[f.Name] {
			have[f.Name] = true
			files = append(files, f)
		}
	}
	folder := "" // of what is wanted
	matching := func(pattern string) (fits []File) {
		for _, f := range r.Files {
			name, in := strings.CutPrefix(f.Name, folder)
			ok, _ := path.Match(pattern, name) // * stops at a slash: only what is at the top
			if in && ok && !slices.ContainsFunc(foreign, func(p string) bool { ok, _ := path.Match(p, name); return ok }) {
				fits = append(fits, f)
			}
		}
		return fits
	}
	for _, f := range matching(sentenceModules) {
		add(f)
		if slices.ContainsFunc(r.Files, func(f File) bool { return strings.HasPrefix(f.Name, sentenceFolder) }) {
			folder = sentenceFolder
		}
	}
	for _, name := range companions {
		for _, f := range matching(name) {
			add(f)
		}
	}
	order := weights
	if strings.HasPrefix(r.ID, "timm/") && len(matching("open_clip_config.json")) > 0 {
		order = slices.Concat(openCLIPFirst, weights)
	}
	for _, w := range order {
		fits := matching(w.name)
		if len(fits) == 0 {
			continue
		}
		for _, f := range fits {
			add(f)
			if !w.index {
				continue
			}
			shards, err := c.shards(ctx, r, f)
			if err != nil {
				return nil, fmt.Errorf("hub: %s of %s: %w", f.Name, r.ID, err)
			}
			for _, s := range shards {
				add(s)
			}
		}
		return files, r.check(files, true)
	}
	var names []string
	for _, f := range r.Files[:min(len(r.Files), 20)] {
		names = append(names, fmt.Sprintf("%.60q", f.Name))
	}
	return nil, fmt.Errorf("hub: %s at %s has no weights among its %d files (%s)", r.ID, r.Revision, len(r.Files), strings.Join(names, ", "))
}

// shards returns the files that an index names.
// Source: huggingface/transformers, utils/hub.py, get_checkpoint_shard_files.
func (c *Client) shards(ctx context.Context, r *Repository, index File) ([]File, error) {
	if index.Size > maxAnswer {
		return nil, fmt.Errorf("size is %d, want at most %d", index.Size, maxAnswer)
	}
	raw, err := c.read(ctx, index.URL)
	if err != nil {
		return nil, err
	}
	var content struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &content); err != nil {
		return nil, err
	}
	dir := path.Dir(index.Name)
	var shards []File
	names := map[string]bool{}
	for _, name := range content.Files {
		names[path.Join(dir, name)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		i := slices.IndexFunc(r.Files, func(f File) bool { return f.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("it names %.100q, which is not among the %d files", name, len(r.Files))
		}
		shards = append(shards, r.Files[i])
	}
	if len(shards) == 0 {
		return nil, fmt.Errorf("weight_map names no file")
	}
	return shards, nil
}
