package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cmd/vitago/answers"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/hub"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
)

// A verification is what the flags of verify ask for.
type verification struct {
	model, name string // the path, and what it was called
	answers     string // a name of Known, or a file
	pictures    []string
	download    bool
	json        bool
}

func newVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [--model DIR] [--answers NAME|FILE] [--picture FILE]... [flags]",
		Short: "Compare a model with known answers, and say whether it gives them",
		Long: `Verify asks a model what others have asked it, and compares: pass or fail, with the differences. The exit
status is 1 if an answer differs.

Without --model it is the small model in this program, with answers that transformers and PyTorch gave on
the same weights and pictures: whether this program computes right on this machine.

Of released weights it has what their authors and other projects have published:
` + knownAnswers() + `
Their pictures are not part of this program: --picture names the file, or --download brings it. A picture
is known by its SHA-256, or its name where none is known. Answers whose pictures are missing are not
checked, and said to be so; at least one has to be.

--answers names one of these models where the name of --model does not say which it is, as that of a
conversion; or a file of one's own answers in JSON:
  {"answers": [{"source": "where from", "models": ["any name"],
    "pictures": {"a.png": {"sha256": "..."}}, "checks": [
    {"picture": "a.png", "embedding": [0.1, ...], "tolerance": 1e-4},
    {"text": "a cat", "embedding": [0.1, ...]},
    {"picture": "a.png", "texts": ["a cat", "a dog"], "probabilities": [0.9, 0.1]},
    {"picture": "a.png", "texts": ["a cat", "a dog"], "logits": [25.1, 22.9]}]}]}
Embeddings are not normalised. Texts are whole: no template is put around them. Logits are cosines times the
model's scale, probabilities their softmax. The difference is the greatest of a value, of an embedding
divided by its greatest value; it may be up to "tolerance", which is 1e-3 where nothing is said. Pictures
lie beside the file, unless --picture names others.`,
		Example: `  vitago verify
  vitago verify --model ViT-B/32 --picture CLIP.png
  vitago verify --model models/vit-l-14-336 --answers ViT-L/14@336px --download
  vitago verify --model tuned/model --answers answers.json --json`,
		Args: wantArgs(0, 0, "none"),
	}
	var v verification
	f := cmd.Flags()
	f.StringVar(&v.model, "model", "", "`DIR` or file of the checkpoint, or the name of a model that download has brought (default: builtin:demo, the small model in this program)")
	f.StringVar(&v.answers, "answers", "", "`NAME` of a model whose answers are known, or FILE of answers (default: by the name of --model)")
	f.StringArrayVar(&v.pictures, "picture", nil, "`FILE` of a picture that answers are of; may be given several times")
	f.BoolVar(&v.download, "download", false, "bring pictures that are missing and whose address and SHA-256 are known, to the folder pictures in that of models")
	f.BoolVar(&v.json, "json", false, "print JSON, one object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		defaultModel(cmd, &v.model)
		v.name = v.model
		if err := checkModel(cmd, &v.model); err != nil {
			return err
		}
		frugal()
		return v.run(cmd)
	}
	return cmd
}

// knownAnswers has a line for each source of published answers.
func knownAnswers() string {
	models := map[string][]string{}
	var sources []string
	for _, a := range answers.Known() {
		if a.Models[0] == demo.Name {
			continue
		}
		if models[a.Source] == nil {
			sources = append(sources, a.Source)
		}
		models[a.Source] = append(models[a.Source], a.Models[0])
	}
	var b strings.Builder
	for _, s := range sources {
		fmt.Fprintf(&b, "  %s\n    %s\n", strings.Join(models[s], ", "), s)
	}
	return b.String()
}

// find returns the answers, and the folder of their pictures, "" if they are known ones.
func (v *verification) find() (all []answers.Answer, dir string, err error) {
	known := answers.Known()
	var names []string
	for _, a := range known {
		if !slices.Contains(names, a.Models[0]) {
			names = append(names, a.Models[0])
		}
	}
	given := v.answers
	if given == "" {
		given = v.name
	} else if info, err := os.Stat(given); err == nil && !info.IsDir() {
		return v.read()
	}
	if all = answers.For(known, given); len(all) == 0 {
		all = answers.For(known, hubName(given))
	}
	switch {
	case len(all) > 0:
		return all, "", nil
	case v.answers == "":
		return nil, "", usagef("no answers are known of %s: give --answers, one of %s, or a file", v.name, strings.Join(names, ", "))
	}
	return nil, "", usagef("--answers %s is neither a file nor one of %s", v.answers, strings.Join(names, ", "))
}

// read returns the answers of a file, and its folder.
func (v *verification) read() (all []answers.Answer, dir string, err error) {
	f, err := os.Open(v.answers)
	if err != nil {
		return nil, "", fmt.Errorf("--answers: %w", err)
	}
	defer f.Close()
	if all, err = answers.Read(f); err != nil {
		return nil, "", fmt.Errorf("%s: %w", v.answers, err)
	}
	return all, filepath.Dir(v.answers), nil
}

// A verified check is one that was run, or why it was not.
type verified struct {
	Source     string    `json:"source"`
	Of         string    `json:"of"`
	Texts      []string  `json:"texts,omitempty"`
	Want       []float64 `json:"want,omitempty"` // not of embeddings
	Got        []float64 `json:"got,omitempty"`
	Difference *float64  `json:"difference,omitempty"`
	Tolerance  float64   `json:"tolerance,omitempty"`
	Pass       bool      `json:"pass"`
	Missing    string    `json:"missing,omitempty"` // the picture that is not there, with its address
}

func (v *verification) run(cmd *cobra.Command) error {
	ctx, log := cmd.Context(), cmd.ErrOrStderr()
	all, dir, err := v.find()
	if err != nil {
		return err
	}
	if v.download && !slices.ContainsFunc(all, remote) {
		return usagef("--download: the pictures of these answers have no address and SHA-256")
	}
	pictures, err := v.gather(ctx, log, all, dir)
	if err != nil {
		return err
	}
	m, err := clip.Open(v.model)
	if err != nil {
		return err
	}
	defer m.Close()
	var done []verified
	p := startProgress(log, "checking", count)
	ran, failed := 0, 0
	for _, a := range all {
		for _, c := range a.Checks {
			x := verified{Source: a.Source, Of: c.What(), Texts: c.Texts}
			picture, ok := pictures[key(a, c.Picture)]
			if c.Picture != "" && !ok {
				x.Missing = strings.TrimSpace(c.Picture + " " + a.Pictures[c.Picture].URL)
				done = append(done, x)
				continue
			}
			o, err := await(ctx, func() (answers.Outcome, error) { return c.Run(ctx, m, picture) })
			if err != nil {
				p.stop()
				return fmt.Errorf("%s: %w", c.What(), err)
			}
			if ran++; !o.Pass {
				failed++
			}
			x.Pass, x.Tolerance = o.Pass, o.Tolerance
			if o.Difference-o.Difference == 0 { // JSON has no NaN
				x.Difference = &o.Difference
			}
			if c.Texts != nil && x.Difference != nil {
				x.Want, x.Got = o.Want, o.Got
			}
			done = append(done, x)
			p.set(int64(len(done)), 0)
		}
	}
	p.stop()
	if ran == 0 {
		var missing []string
		for _, x := range done {
			if !slices.Contains(missing, x.Missing) {
				missing = append(missing, x.Missing)
			}
		}
		return fmt.Errorf("no answer can be checked without its picture: give --picture or --download; they are %s", strings.Join(missing, ", "))
	}
	if err := v.write(cmd.OutOrStdout(), done, ran, failed); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s of %s differ by more than they may", failed, plural.Of(ran, "answer"), v.name)
	}
	return nil
}

// key is what a picture of an answer is found by.
func key(a answers.Answer, name string) string { return name + " " + a.Pictures[name].SHA256 }

// remote says whether a picture of an answer can be downloaded.
func remote(a answers.Answer) bool {
	for _, o := range a.Pictures {
		if o.SHA256 != "" && o.URL != "" {
			return true
		}
	}
	return false
}

// gather returns the pictures that are there.
func (v *verification) gather(ctx context.Context, log io.Writer, all []answers.Answer, dir string) (map[string]clip.Picture, error) {
	given := map[string]string{} // by SHA-256 and by name
	used := map[string]bool{}
	for _, path := range v.pictures {
		hash, err := hashOf(path)
		if err != nil {
			return nil, fmt.Errorf("--picture: %w", err)
		}
		name := filepath.Base(path)
		if before, twice := given[hash]; twice {
			return nil, usagef("--picture %s and %s are one: give each once", before, path)
		}
		if before, twice := given[name]; twice {
			return nil, usagef("--picture %s and %s have one name, by which answers may know a picture: rename one", before, path)
		}
		given[hash], given[name] = path, path
	}
	own := map[string]clip.Picture{}
	if dir == "" {
		for _, p := range demo.Pictures() {
			own[p.Name()] = p
		}
	}
	found := map[string]clip.Picture{}
	for _, a := range all {
		for _, c := range a.Checks {
			if c.Picture == "" {
				continue
			}
			origin := a.Pictures[c.Picture]
			path, ok := given[strings.ToLower(origin.SHA256)]
			if named := given[c.Picture]; !ok && named != "" {
				if origin.SHA256 != "" {
					hash, err := hashOf(named)
					return nil, errors.Join(err, fmt.Errorf("--picture %s has the SHA-256 %s, want %s: it is another picture", named, hash, origin.SHA256))
				}
				path, ok = named, true
			}
			switch {
			case ok:
				used[path] = true
				found[key(a, c.Picture)] = clip.File(path)
			case dir == "" && slices.Contains(a.Models, demo.Name):
				if p, ok := own[c.Picture]; ok {
					found[key(a, c.Picture)] = p
				}
			default:
				path, err := v.fetched(ctx, log, c.Picture, origin, dir)
				if err != nil {
					return nil, err
				}
				if path != "" {
					found[key(a, c.Picture)] = clip.File(path)
				}
			}
		}
	}
	for _, path := range v.pictures {
		if !used[path] {
			return nil, usagef("--picture %s is none of those that the answers are of: %s", path, strings.Join(names(all), ", "))
		}
	}
	return found, nil
}

// names are those of the pictures of answers, with their hashes.
func names(all []answers.Answer) []string {
	seen := map[string]bool{}
	for _, a := range all {
		for _, c := range a.Checks {
			if c.Picture != "" {
				seen[strings.TrimSuffix(c.Picture+" (SHA-256 "+a.Pictures[c.Picture].SHA256+")", " (SHA-256 )")] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// fetched returns the path of a picture that lies beside a file of answers, or was downloaded, or is now; "" if it is nowhere.
func (v *verification) fetched(ctx context.Context, log io.Writer, name string, origin answers.Origin, dir string) (string, error) {
	if dir != "" {
		if path := filepath.Join(dir, filepath.FromSlash(name)); isThere(dir, filepath.FromSlash(name)) {
			hash, err := hashOf(path)
			if err != nil || origin.SHA256 == "" || strings.EqualFold(hash, origin.SHA256) {
				return path, err
			}
			return "", fmt.Errorf("%s has the SHA-256 %s, want %s, which %s says", path, hash, origin.SHA256, v.answers)
		}
	}
	if origin.SHA256 == "" || origin.URL == "" || !filepath.IsLocal(name) {
		return "", nil
	}
	to := filepath.Join(modelFolder(), "pictures")
	if hash, err := hashOf(filepath.Join(to, name)); err == nil && strings.EqualFold(hash, origin.SHA256) {
		return filepath.Join(to, name), nil
	}
	if !v.download {
		return "", nil
	}
	if err := hub.CheckURL(origin.URL); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	p := startProgress(log, "downloading "+name, megabytes)
	defer p.stop()
	c := hub.New()
	c.Token = "" // it is not the hub's
	path, _, err := c.Fetch(ctx, hub.File{Name: name, URL: origin.URL, Size: -1, SHA256: origin.SHA256}, to)
	return path, err
}

// hashOf returns the SHA-256 of a file.
func hashOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// write prints what was found.
func (v *verification) write(w io.Writer, done []verified, ran, failed int) error {
	if v.json {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(struct {
			Model   pyjson.Name `json:"model"`
			Pass    bool        `json:"pass"`
			Checked int         `json:"checked"`
			Failed  int         `json:"failed"`
			Answers []verified  `json:"answers"`
		}{pyjson.Name(v.name), failed == 0, ran, failed, done})
	}
	var b strings.Builder
	source := ""
	for _, x := range done {
		if x.Source != source {
			source = x.Source
			fmt.Fprintln(&b, oneLine(source))
		}
		switch {
		case x.Missing != "":
			fmt.Fprintf(&b, "  not checked: %s, without %s\n", oneLine(x.Of), oneLine(x.Missing))
			continue
		case x.Difference == nil:
			fmt.Fprintf(&b, "  fail: %s, which are no numbers\n", oneLine(x.Of))
			continue
		}
		verdict := "pass"
		if !x.Pass {
			verdict = "fail"
		}
		fmt.Fprintf(&b, "  %s: %s, difference %.2g, at most %.2g\n", verdict, oneLine(x.Of), *x.Difference, x.Tolerance)
		for i, t := range x.Texts {
			fmt.Fprintf(&b, "    %-10.7g want %-10.7g %s\n", x.Got[i], x.Want[i], oneLine(t))
		}
	}
	verdict := "pass"
	if failed > 0 {
		verdict = "fail"
	}
	fmt.Fprintf(&b, "%s: %d of %s\n", verdict, ran-failed, plural.Of(ran, "answer"))
	_, err := io.WriteString(w, b.String())
	return err
}
