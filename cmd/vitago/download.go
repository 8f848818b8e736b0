package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/hub"
	"github.com/vitago/vitago/internal/pyjson"
)

// A downloadSpec says what to download, and where to.
type downloadSpec struct {
	name, dir, mirror, revision string
	all, list, overwrite, json  bool
}

func newDownload() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "download NAME",
		Short: "Bring weights, of OpenAI or from Hugging Face's hub",
		Long: `Download brings one of OpenAI's archives by its public name, or a model of Hugging Face's hub by
its id, OWNER/NAME or OWNER/NAME@REVISION. OpenAI's names are
  ` + strings.Join(hub.ArchiveNames(), ", ") + `
or the same with hyphens, as ViT-L-14-336px; "vitago models" lists others, with the names of open_clip that are
taken for them. Once it is there, the name is a --model for other verbs.

What an interrupted download leaves, the next one resumes. A file gets its name when its length and
its SHA-256 (or git's SHA-1 of it) are right; one that is there and right is not downloaded again.
Of a model that has its weights in several forms one is taken, safetensors before others.

HF_TOKEN or the token that "hf auth login" keeps (HF_HOME, HF_TOKEN_PATH) goes to huggingface.co, or to
HF_ENDPOINT if that is set, and nowhere else: no mirror gets it. HTTPS_PROXY, HTTP_PROXY and NO_PROXY
count. What Python has in its caches (HF_HUB_CACHE, ~/.cache/clip) is copied from there.`,
		Example: `  vitago download ViT-L/14@336px
  vitago download openai/clip-vit-large-patch14-336 --dir models
  vitago download --list llava-hf/llava-1.5-7b-hf`,
		Args: wantArgs(0, 1, "NAME"),
	}
	var d downloadSpec
	cmd.Flags().StringVar(&d.dir, "dir", modelFolder(), "directory of models; a model of the hub gets OWNER/NAME below it. "+modelsEnv+" names another")
	cmd.Flags().StringVar(&d.mirror, "mirror", "", "`URL` in place of https://huggingface.co, or of the folder of OpenAI's archives")
	cmd.Flags().StringVar(&d.revision, "revision", "", "branch, tag or commit of a model of the hub (default \"main\")")
	cmd.Flags().BoolVar(&d.all, "all-files", false, "all that the model's repository has")
	cmd.Flags().BoolVar(&d.list, "list", false, "only print what would be downloaded: size, hash, file and address")
	cmd.Flags().BoolVar(&d.overwrite, "overwrite", false, "replace files that are there and are others")
	cmd.Flags().BoolVar(&d.json, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if d.list && cmd.Flags().Changed("overwrite") {
			return usagef("--overwrite is of files that are written, and --list only prints")
		}
		for _, name := range []string{"mirror", "revision", "all-files"} {
			if d.list && len(args) == 0 && cmd.Flags().Changed(name) {
				return usagef("--%s is of a model, and --list without a name prints OpenAI's archives", name)
			}
		}
		if len(args) == 0 {
			if d.list {
				return listArchives(cmd.OutOrStdout(), d.json)
			}
			return usagef("no name, want one of %s, or OWNER/NAME of Hugging Face's hub", strings.Join(hub.ArchiveNames(), ", "))
		}
		d.name = hubName(args[0])
		return d.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

func listArchives(out io.Writer, asJSON bool) error {
	c := hub.New()
	var files []hub.File
	for _, name := range hub.ArchiveNames() {
		f, _ := c.Archive(name)
		files = append(files, f)
	}
	return listFiles(out, files, asJSON)
}

// A listedFile is a file of a download in JSON.
type listedFile struct {
	Name   string `json:"name"`
	Bytes  *int64 `json:"bytes,omitempty"`  // none if nobody said
	Digest string `json:"digest,omitempty"` // sha256:… or git:…
	URL    string `json:"url"`
}

// listed are files in JSON.
func listed(files []hub.File) []listedFile {
	all := []listedFile{}
	for _, f := range files {
		l := listedFile{Name: f.Name, Digest: f.Digest(), URL: f.URL}
		if n := max(f.Size, hub.ArchiveSize(f.SHA256)); n >= 0 {
			l.Bytes = &n
		}
		all = append(all, l)
	}
	return all
}

// A downloaded model is what a download says in JSON.
type downloaded struct {
	Name  string       `json:"name"`
	Path  pyjson.Name  `json:"path"`
	Bytes int64        `json:"bytes"` // that came over the network, or from another program's cache
	Files []listedFile `json:"files"`
}

// listFiles writes a line for each file: bytes, hash, name, address.
func listFiles(out io.Writer, files []hub.File, asJSON bool) error {
	if asJSON {
		return writeJSON(out, struct {
			Files []listedFile `json:"files"`
		}{listed(files)})
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range files {
		size, digest := "-", f.Digest()
		if n := max(f.Size, hub.ArchiveSize(f.SHA256)); n >= 0 {
			size = count(n)
		}
		if digest == "" {
			digest = "-"
		}
		name := f.Name
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			name = fmt.Sprintf("%q", name)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", size, digest, name, f.URL)
	}
	return t.Flush()
}

// A download is what a name stands for.
type download struct {
	files []hub.File
	dir   string // that they go to
	path  string // of the whole
	to    string // where its conversion may go
}

// run downloads what d says, and prints where it is.
func (d downloadSpec) run(ctx context.Context, out, errw io.Writer) error {
	c := hub.New()
	if d.mirror != "" {
		if err := hub.CheckURL(d.mirror); err != nil {
			return usageError{fmt.Errorf("--mirror: %w", err)}
		}
		c.Archives, c.Endpoint, c.Token = d.mirror, d.mirror, ""
	} else if err := hub.CheckURL(c.Endpoint); err != nil {
		return usageError{fmt.Errorf("HF_ENDPOINT: %w", err)}
	}
	c.Overwrite = d.overwrite
	if u, ok := unsupported(d.name); ok {
		fmt.Fprintf(errw, "note: %s seems to be %s, which is not supported: %s\n", d.name, u.Family, u.Why)
	}
	b := startBar(errw, "downloading "+d.name)
	c.Note = b.note
	found, err := d.find(ctx, c)
	if err != nil || d.list {
		b.stop()
		if err != nil {
			return err
		}
		return listFiles(out, found.files, d.json)
	}
	b.expect(found.files)
	c.Progress = b.set
	undo, err := folder.Make(found.dir)
	if err != nil {
		b.stop()
		return err
	}
	for _, f := range found.files {
		b.next()
		if _, _, err := c.Fetch(ctx, f, found.dir); err != nil {
			b.stop()
			undo()
			if ctx.Err() != nil { // then no more is said of err than that
				fmt.Fprintln(failures(ctx, errw), "vitago: "+plain(err))
			}
			return err
		}
	}
	elapsed := b.stop()
	came := b.done() - b.skipped
	if came > 0 {
		fmt.Fprintf(errw, "downloaded %s in %s\n", megabytes(came), seconds(elapsed))
	} else {
		fmt.Fprintln(errw, "nothing to download: it is there, and its hash is right")
	}
	if d.json {
		err = writeJSON(out, downloaded{d.name, pyjson.Name(found.path), max(came, 0), listed(found.files)})
	} else {
		_, err = fmt.Fprintln(out, found.path)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(errw, "next: vitago convert %s %s\n", found.path, found.to)
	return nil
}

// find asks what there is of d's name.
func (d downloadSpec) find(ctx context.Context, c *hub.Client) (download, error) {
	if f, ok := c.Archive(d.name); ok {
		if d.revision != "" || d.all {
			return download{}, usagef("--revision and --all-files are for models of the hub; %s is an archive of OpenAI's", d.name)
		}
		p, _ := placeOf(d.dir, d.name)
		return download{[]hub.File{f}, d.dir, p.path, p.converted}, nil
	}
	names := strings.Join(hub.ArchiveNames(), ", ")
	if hub.IsResNet(d.name) {
		return download{}, usagef("%s is a ResNet, and Vitago has vision transformers: %s", d.name, names)
	}
	id, revision, both := strings.Cut(d.name, "@")
	switch {
	case !hub.IsID(id) || hub.IsArchiveLike(id):
		return download{}, usagef("%q is no name of a model, want one of %s, or OWNER/NAME of Hugging Face's hub%s", d.name, names, didYouMean(nearest(id, knownNames())))
	case both && d.revision != "":
		return download{}, usagef("the revision is given twice, as %q and as %q", revision, d.revision)
	case both && revision == "":
		return download{}, usagef("%q has no revision after the @", d.name)
	case d.revision != "":
		revision = d.revision
	case !both:
		revision = hub.Revision
	}
	r, err := c.Repository(ctx, id, revision)
	if err != nil {
		if status := (*hub.StatusError)(nil); errors.As(err, &status) && status.Code < 500 {
			err = fmt.Errorf("%w (OpenAI's archives are %s)", err, names)
		}
		return download{}, err
	}
	p, _ := placeOf(d.dir, id)
	var files []hub.File
	if d.all {
		files, err = r.All()
	} else {
		files, err = c.Model(ctx, r)
	}
	return download{files, p.path, p.path, p.converted}, err
}

// A bar shows the progress of several files as one, and lets lines be written between.
type bar struct {
	*progress
	errw    io.Writer
	name    string
	before  int64 // bytes of the files before this one
	file    int64 // of this one, that are there
	skipped int64 // that were there before the start
	total   int64 // of all; 0 if nobody knows
	fresh   bool  // nothing was said of this file yet
}

func startBar(errw io.Writer, name string) *bar {
	return &bar{progress: startProgress(errw, name, megabytes), errw: errw, name: name}
}

// expect says how much will come.
func (b *bar) expect(files []hub.File) {
	for _, f := range files {
		if f.Size < 0 {
			b.total = 0
			return
		}
		b.total += f.Size
	}
}

func (b *bar) done() int64 { return b.before + b.file }

// next says that what is told from now on is about the next file.
func (b *bar) next() { b.before, b.file, b.fresh = b.done(), 0, true }

// set says how much of the file is there.
func (b *bar) set(done, total int64) {
	if b.fresh {
		b.fresh = false
		b.skipped += done
		b.progress.skipped.Add(done)
	}
	b.file = done
	if total = max(total, 0); total > 0 {
		total += b.before
	}
	if b.total > 0 {
		total = b.total
	}
	b.progress.set(min(b.done(), total), total)
}

// note writes a line, and goes on.
func (b *bar) note(line string) {
	b.stop()
	fmt.Fprintln(b.errw, line)
	total := b.progress.total.Load()
	b.progress = startProgress(b.errw, b.name, megabytes)
	b.progress.skipped.Store(b.done())
	b.progress.set(b.done(), total)
}
