package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/embeddings"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pycsv"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/search"
)

// An indexing is what the flags of index ask for.
type indexing struct {
	index      string
	model      string
	activation transformer.Activation // "" is what the model says
	prepare    clipvit.Choice
	prepared   converter.OpenOption // what prepare says, or the index that is there
	batch      int
	precision  string
	metadata   string // a table, "" if there is none
	from       string // a file of vectors, "" if they are to be made
	rows       int    // that the index has
	rehash     bool
	strict     bool
	forget     []string
	compact    bool
	verify     bool
	json       bool
}

func newIndex() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "index --index INDEX --model DIR [flags] DIR|TAR|LIST|IMAGE...",
		Short: "Keep the vectors of pictures in an index, to be searched",
		Long: `Index writes the embeddings of pictures to the folder INDEX, and brings it up to date when it is run again:
new and changed pictures are encoded, those that have another name or place are not, and those that are gone are
deleted. Without arguments it takes those of the runs before.

Arguments:
  DIR    the pictures in a folder and all folders in it
  TAR    a .tar of WebDataset's: KEY.jpg with KEY.txt or KEY.json, which have captions
  LIST   a .txt of paths, one a line, relative to its folder
  IMAGE  the file of a picture

With --from FILE the vectors are those that encode wrote there, with FILE.about.json beside it, which says of which
space they are. Files of pictures are read to know their contents; one that is gone, or was changed later, counts as
one that cannot be read. --model is checked against the space then, and kept as a hint for search.

A file whose size and time are as before is not read; --rehash reads all. Contents are known by their SHA-256.
A picture that cannot be read stands with the reason in INDEX/errors.jsonl, and the others are done; --strict ends
at the first. Whatever ends it, Ctrl-C, a full disk, kill -9, the same command goes on behind what is done. Who
searches meanwhile sees the index as it was at a commit: one is made every 65,536 pictures, and in the end.

INDEX/dataset has the form of clip-retrieval's, which embedding-reader and autofaiss read: img_emb/img_emb_N.npy,
float16 of length 1, and metadata/metadata_N.parquet with image_path, caption, width, height, sha256, size,
modified and the columns of --metadata. What is renamed or deleted is noted beside it, and is in dataset after
--compact.

INDEX knows by a fingerprint which weights, preprocessing and precision made it, and refuses others. Without
--model, --precision, --preprocess, --fit and --exif those of INDEX are taken, and search does so, too; --activation
is given each time.

` + precisionHelp,
		Example: `  vitago index --index photos.index --model ViT-B/32 photos/
  vitago index --index photos.index
  vitago index --index photos.index --forget photos/old --compact
  vitago index --index photos.index --from photos.npy
  vitago index --index photos.index --verify
  vitago index --index laion.index --model ViT-L/14 --json 00000.tar 00001.tar`,
	}
	var x indexing
	f := cmd.Flags()
	f.StringVar(&x.index, "index", "", "`INDEX`, a folder")
	f.StringVar(&x.model, "model", "", "`DIR` or file of the checkpoint, or the name of a model that download has brought (default: that of INDEX)")
	f.IntVar(&x.batch, "batch", 4, "images that are encoded together; more is faster for small models only")
	precision := precisionFlag(cmd, "of the products' weights and operands")
	activation := activationFlag(cmd)
	prepared := preprocessFlags(cmd, true)
	f.StringVar(&x.metadata, "metadata", "", "`FILE`.csv whose column path names pictures, relative to its folder; the others become columns of INDEX")
	f.StringVar(&x.from, "from", "", "`FILE`.npy, .jsonl or .safetensors whose vectors are taken, which encode wrote of pictures")
	f.BoolVar(&x.rehash, "rehash", false, "read all files, even those whose size and time are as before")
	f.BoolVar(&x.strict, "strict", false, "end at the first image that cannot be read")
	f.StringArrayVar(&x.forget, "forget", nil, "delete from INDEX what is in `PATH`, a folder, tar or file, which may be gone, or what a list names; repeatable")
	f.BoolVar(&x.compact, "compact", false, "write INDEX anew without what is deleted")
	f.BoolVar(&x.verify, "verify", false, "read all files of INDEX, and say whether they are what was written")
	f.BoolVar(&x.json, "json", false, "say in JSON on standard output what was done")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		x.precision, x.activation, x.prepare = precision.value, transformer.Activation(activation.value), prepared()
		x.prepared = converter.Prepare(x.prepare)
		if x.index == "" {
			return usagef("no index: give --index INDEX, the folder of an index, or of one to be made")
		}
		if x.verify {
			return x.check(cmd, args)
		}
		if x.batch < 1 || x.batch > maxBatch {
			return usagef("--batch is %d, want 1 to %d", x.batch, maxBatch)
		}
		frugal()
		return x.run(cmd, args)
	}
	return cmd
}

// An indexed is what index says in JSON.
type indexed struct {
	Index       pyjson.Name `json:"index"`
	Fingerprint string      `json:"fingerprint"`
	Forgotten   int         `json:"forgotten"`
	Compacted   bool        `json:"compacted"`
	Seconds     float64     `json:"seconds"`
	search.Report
}

func (x *indexing) run(cmd *cobra.Command, args []string) error {
	begin := time.Now()
	sources, err := sourcesOf(args)
	if err != nil {
		return err
	}
	if x.from != "" {
		if err := x.checkFrom(cmd, args); err != nil {
			return err
		}
	}
	was, err := search.Open(x.index)
	if err != nil && !errors.Is(err, search.ErrNoIndex) {
		return err
	}
	asked := len(x.forget) > 0 || x.compact
	switch {
	case err != nil && (asked || len(args) == 0 && x.from == ""):
		return err
	case err == nil:
		if err := x.asBefore(cmd, was); err != nil {
			return errors.Join(err, was.Close())
		}
		if len(args) == 0 && !asked && x.from == "" {
			sources = was.Sources()
		}
		if err := was.Close(); err != nil {
			return err
		}
	}
	if len(sources) == 0 && x.from == "" {
		if err := x.unused(cmd, asked); err != nil {
			return err
		}
	}
	done := indexed{Index: pyjson.Name(x.index), Compacted: x.compact}
	if len(x.forget) > 0 {
		if done.Forgotten, err = x.drop(); err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: forgot %s\n", oneLine(x.index), plural.Of(done.Forgotten, "picture"))
	}
	if len(sources) > 0 || x.from != "" {
		update := func() (*search.Report, error) { return x.update(cmd, sources) }
		if x.from != "" {
			update = func() (*search.Report, error) { return x.take(cmd) }
		}
		r, err := update()
		if err != nil {
			return err
		}
		done.Report = *r
	}
	if x.compact {
		p := startProgress(cmd.ErrOrStderr(), "compacting", count)
		err := search.Compact(cmd.Context(), x.index, search.WriterOptions{})
		p.stop()
		if err != nil {
			return err
		}
	}
	now, err := search.Open(x.index)
	if err != nil {
		return err
	}
	done.Pictures, done.Fingerprint = now.Live(), now.Space().Fingerprint()
	if err := now.Close(); err != nil {
		return err
	}
	done.Seconds = time.Since(begin).Seconds()
	if len(sources) == 0 && x.from == "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", oneLine(x.index), plural.Of(done.Pictures, "picture"))
	}
	if x.json {
		return writeJSON(cmd.OutOrStdout(), done)
	}
	return nil
}

// A checked is what index --verify says in JSON.
type checked struct {
	Index       pyjson.Name `json:"index"`
	Fingerprint string      `json:"fingerprint"`
	Pictures    int         `json:"pictures"`
	Seconds     float64     `json:"seconds"`
}

// check says whether the files of an index are what was written.
func (x *indexing) check(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("--verify reads the index alone: got %s, want none", plural.Of(len(args), "argument"))
	}
	var unused string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains([]string{"index", "verify", "json"}, f.Name) {
			unused = cmp.Or(unused, f.Name)
		}
	})
	if unused != "" {
		return usagef("--%s does nothing beside --verify, which changes nothing", unused)
	}
	begin := time.Now()
	now, err := search.Open(x.index)
	if err != nil {
		return err
	}
	p := startProgress(cmd.ErrOrStderr(), "verifying", count)
	err = now.Verify(cmd.Context())
	p.stop()
	said := checked{pyjson.Name(x.index), now.Space().Fingerprint(), now.Live(), time.Since(begin).Seconds()}
	if err := errors.Join(err, now.Close()); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s, and all files are what was written\n", oneLine(x.index), plural.Of(said.Pictures, "picture"))
	if x.json {
		return writeJSON(cmd.OutOrStdout(), said)
	}
	return nil
}

// sourcesOf returns the sources that arguments name.
func sourcesOf(args []string) (all []search.Source, err error) {
	for _, arg := range args {
		switch {
		case arg == stdinName:
			return nil, usagef("standard input has no name by which a picture could be found again: want a folder, a tar, a list or a file")
		case address.MatchString(arg):
			return nil, usagef("%s: addresses are not read; download it before", arg)
		}
		s, err := search.NewSource(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// unused returns an error if there is nothing to do, or a flag that would do nothing.
func (x *indexing) unused(cmd *cobra.Command, asked bool) error {
	if !asked {
		if x.rows > 0 {
			return usagef("%s: what it has came with --from, and no folder can be gone through again: name folders, tars, lists or images", x.index)
		}
		return usagef("%s: nothing was put into it yet: name folders, tars, lists or images", x.index)
	}
	for _, name := range []string{"model", "batch", "precision", "activation", "preprocess", "fit", "exif", "metadata", "rehash", "strict"} {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is of pictures to be encoded, and none are named beside --forget and --compact", name)
		}
	}
	return nil
}

// asBefore takes the model, the precision and the preprocessing of an index, if none are asked for.
func (x *indexing) asBefore(cmd *cobra.Command, was *search.Index) error {
	x.rows = was.Len()
	if t, _, err := was.Space().Transform(); err == nil && x.prepare == (clipvit.Choice{}) {
		x.prepared = converter.Prepared(t)
	}
	if !cmd.Flags().Changed("precision") {
		x.precision = was.Space().Precision
	}
	if x.model != "" || was.Model() == "" {
		return nil
	}
	if _, err := os.Stat(was.Model()); err != nil && !isBuiltin(was.Model()) {
		if len(x.forget) > 0 || x.compact {
			return nil
		}
		return usagef("%s was made with the model %s, which is not there any more: give --model DIR", x.index, was.Model())
	}
	x.model = was.Model()
	return nil
}

// drop deletes what is to be forgotten.
func (x *indexing) drop() (int, error) {
	paths := make([]string, len(x.forget))
	for i, p := range x.forget {
		var err error
		if paths[i], err = filepath.Abs(p); err != nil {
			return 0, err
		}
	}
	return search.Forget(x.index, paths)
}

// update brings the index up to date.
func (x *indexing) update(cmd *cobra.Command, sources []search.Source) (*search.Report, error) {
	ctx, log := cmd.Context(), cmd.ErrOrStderr()
	if err := checkModel(cmd, &x.model); err != nil {
		return nil, err
	}
	var err error
	if x.precision, err = choosePrecision(log, x.precision); err != nil {
		return nil, err
	}
	m, err := clip.Open(x.model, append(precisionOptions(x.precision), clip.Checkpoint(converter.Assume(x.activation), x.prepared))...)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	r, err := x.bring(cmd, startProgress(log, "loading "+x.model, megabytes), func(o search.UpdateOptions) (*search.Report, error) {
		return search.Update(ctx, m, x.index, sources, o)
	})
	if err == nil && x.precision == "int8" {
		noteRounding(ctx, log, m, false)
	}
	return r, err
}

// bring brings the index up to date by a function, and says what was done.
func (x *indexing) bring(cmd *cobra.Command, p *progress, update func(o search.UpdateOptions) (*search.Report, error)) (*search.Report, error) {
	ctx, log := cmd.Context(), cmd.ErrOrStderr()
	var err error
	o := search.UpdateOptions{Batch: x.batch, Rehash: x.rehash, Strict: x.strict, WriterOptions: search.WriterOptions{Model: x.model}}
	if x.model != "" && !isBuiltin(x.model) {
		if o.Model, err = filepath.Abs(x.model); err != nil {
			return nil, err
		}
	}
	used := func() []string { return nil }
	if x.metadata != "" {
		if o.Columns, o.Describe, used, err = metadataOf(x.metadata); err != nil {
			p.stop()
			return nil, err
		}
	}
	var loaded time.Duration // none until then
	o.Progress = func(done, total int) {
		if loaded == 0 {
			loaded = p.stop()
			p = startProgress(log, "indexing", count)
		}
		p.set(int64(done), int64(total))
	}
	skipped := 0
	o.Skipped = func(_ string, err error) {
		if skipped++; skipped <= maxSkipped {
			fmt.Fprintf(p, "skipped: %s\n", plain(err))
		}
	}
	o.Notes = func(_ search.Source, notes []string) { note(p, notes) }
	r, err := update(o)
	elapsed := p.stop()
	if errors.Is(err, search.ErrColumn) {
		return nil, usagef("--metadata %s: %w", x.metadata, err)
	}
	if err != nil {
		return nil, x.kept(ctx, log, r, err)
	}
	if unknown := used(); len(unknown) > 0 {
		fmt.Fprintf(log, "note: %s: %s of no picture that was met, such as %s\n", oneLine(x.metadata), plural.Of(len(unknown), "row"), oneLine(unknown[0]))
	}
	fmt.Fprintf(log, "%s: %s: %s; in %s\n", oneLine(x.index), plural.Of(r.Pictures, "picture"), says(r), seconds(elapsed))
	if r.Failed > 0 {
		fmt.Fprintf(log, "%s could not be read: %s has the reasons\n", plural.Of(r.Failed, "image"), oneLine(filepath.Join(x.index, "errors.jsonl")))
	}
	return r, nil
}

// checkFrom finds what can be wrong with the flags beside --from.
func (x *indexing) checkFrom(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("--from has the names of the pictures: got %s, want none", plural.Of(len(args), "argument"))
	}
	for _, name := range []string{"batch", "precision", "preprocess", "fit", "exif"} {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is of pictures to be encoded, and those of --from have their vectors", name)
		}
	}
	if cmd.Flags().Changed("activation") && x.model == "" {
		return usagef("--activation goes with --model")
	}
	return nil
}

// take brings the index up to date with vectors that there are.
func (x *indexing) take(cmd *cobra.Command) (*search.Report, error) {
	ctx := cmd.Context()
	about, err := embeddings.ReadAbout(x.from)
	if err != nil {
		return nil, err
	}
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("--from %s: %w", oneLine(x.from), fmt.Errorf(format, args...))
	}
	switch {
	case about.Kind != "image":
		return nil, wrong("its rows are of %ss, want pictures", about.Kind)
	case len(about.Shape) != 1:
		return nil, wrong("a row is %s of the shape %v, want an embedding", about.Feature, about.Shape)
	case about.Space == nil:
		return nil, wrong("nothing says of which space the vectors are, since it was written before vitago noted that: encode again")
	case about.Feature != string(clipvit.Embedding) && about.Feature != string(clipvit.PostNorm):
		return nil, wrong("its rows are %s, want embeddings", about.Feature)
	}
	space := *about.Space
	space.Normalized = true // which the index makes them
	if cmd.Flags().Changed("model") {
		if space, err = x.spaceOf(cmd, space); err != nil {
			return nil, err
		}
	} else {
		x.model = "" // the hint of an index that is there stays
	}
	info, err := os.Stat(x.from)
	if err != nil {
		return nil, err
	}
	set, err := embeddings.Read(x.from)
	if err != nil {
		return nil, err
	}
	given := search.Given{Paths: set.Names, Vectors: set.Vectors, Made: info.ModTime()}
	return x.bring(cmd, startProgress(cmd.ErrOrStderr(), "reading", count), func(o search.UpdateOptions) (*search.Report, error) {
		return search.Import(ctx, x.index, space, given, o)
	})
}

// spaceOf returns the space of the model, which has to be the one of vectors that there are.
func (x *indexing) spaceOf(cmd *cobra.Command, was clip.Space) (is clip.Space, err error) {
	if err := checkModel(cmd, &x.model); err != nil {
		return is, err
	}
	options := append(precisionOptions(was.Precision), clip.Checkpoint(converter.Assume(x.activation)))
	if t, _, err := was.Transform(); err == nil {
		options = append(options, clip.Checkpoint(converter.Prepared(t)))
	}
	m, err := clip.Open(x.model, options...)
	if err != nil {
		return is, err
	}
	defer m.Close()
	if is, err = m.Space(cmd.Context()); err != nil {
		return is, err
	}
	if is.Fingerprint() != was.Fingerprint() {
		return is, &search.SpaceError{Path: x.from, Was: was, Now: is}
	}
	return is, nil
}

// maxSkipped is of how many images the reasons are shown.
const maxSkipped = 10

// says returns what was done, in words.
func says(r *search.Report) string {
	var all []string
	for _, c := range []struct {
		n    int
		what string
	}{{r.Added, "added"}, {r.Changed, "changed"}, {r.Copied, "copied"}, {r.Renamed, "renamed"}, {r.Deleted, "deleted"}, {r.Unchanged, "unchanged"}} {
		if c.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if r.Resumed > 0 {
		all[len(all)-1] += fmt.Sprintf(" (%d of them from a run that had not ended)", r.Resumed)
	}
	if len(all) == 0 {
		return "nothing was done"
	}
	return strings.Join(all, ", ")
}

// kept returns the error that ended it, with what is kept.
func (x *indexing) kept(ctx context.Context, log io.Writer, r *search.Report, err error) error {
	if r == nil || r.Added+r.Changed == 0 {
		return err
	}
	kept := fmt.Sprintf("%s done before are kept, and the same command goes on behind them", plural.Of(r.Added+r.Changed, "picture"))
	if ctx.Err() != nil {
		fmt.Fprintf(failures(ctx, log), "%s: %s\n", oneLine(x.index), kept)
		return err
	}
	return fmt.Errorf("%w; %s", err, kept)
}

// maxTable bounds a table of metadata.
const maxTable = 1 << 30

// metadataOf reads a table of pictures. It returns the names of its columns but for path, sorted, what gives a picture its values,
// and what returns the paths for which it has not been called.
func metadataOf(file string) (columns []string, describe func(path string) map[string]string, unused func() []string, err error) {
	wrong := func(format string, args ...any) error {
		return usagef("--metadata %s: %w", file, fmt.Errorf(format, args...))
	}
	text, err := folder.ReadSmall(file, maxTable)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("--metadata: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, nil, nil, err
	}
	var head []string
	at := -1
	rows, met := map[string][]string{}, map[string]bool{}
	if err := pycsv.Table(text, func(r pycsv.Record) error {
		if head == nil {
			head, at = r.Fields, slices.Index(r.Fields, "path")
			if at < 0 {
				return fmt.Errorf("columns are %q, want one that is called path", head)
			}
			for i, c := range head {
				if i != at {
					columns = append(columns, c)
				}
				if c == "" || slices.Contains(head[:i], c) {
					return fmt.Errorf("columns are %q, want each with a name of its own", head)
				}
			}
			if len(columns) == 0 {
				return errors.New("has the column path alone, want others that say something of the pictures")
			}
			return nil
		}
		path := r.Fields[at]
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if r.Fields[at] == "" || rows[filepath.Clean(path)] != nil {
			return fmt.Errorf("line %d: the path is %q, want each once", r.Line, r.Fields[at])
		}
		rows[filepath.Clean(path)] = r.Fields
		return nil
	}); err != nil {
		return nil, nil, nil, wrong("%w", err)
	}
	if head == nil {
		return nil, nil, nil, wrong("empty file, want a first line that names the columns")
	}
	slices.Sort(columns)
	if len(rows) == 0 {
		return nil, nil, nil, wrong("has no rows behind the names of columns")
	}
	describe = func(path string) map[string]string {
		values := map[string]string{}
		row := rows[filepath.Clean(path)]
		if row == nil {
			return values
		}
		met[filepath.Clean(path)] = true
		for i, v := range row {
			if i != at && v != "" {
				values[head[i]] = v
			}
		}
		return values
	}
	unused = func() (all []string) {
		for path := range rows {
			if !met[path] {
				all = append(all, path)
			}
		}
		slices.Sort(all)
		return all
	}
	return columns, describe, unused, nil
}
