package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
)

// demoFiles holds a small CLIP with random weights and a few pictures; testdata/gen/demo.py made them.
//
//go:embed demo/tiny-clip.pt demo/*.png demo/*.jpg
var demoFiles embed.FS

func newDemo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Go the whole way on a small model in this program",
		Long: `Demo goes the whole way on a small model and pictures that are part of this program, without a
download: it converts an archive in OpenAI's form into a model directory, loads that, encodes the
pictures and compares them.

The weights of the small model are random. It shows that everything works; what it says about
the pictures means nothing. Its tokens are the letters: texts and labels can be tried that are short,
such as "a red car".`,
		Args: wantArgs(0, 0, "none"),
	}
	dir := cmd.Flags().String("dir", "", "keep the model directory as `DIR`")
	overwrite := cmd.Flags().Bool("overwrite", false, "replace a model directory that exists")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("overwrite") && *dir == "" {
			return usagef("--overwrite goes with --dir: otherwise nothing is kept")
		}
		r, err := runDemo(cmd.Context(), *dir, *overwrite, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if _, err := cmd.OutOrStdout().Write(r.text()); err != nil {
			return err
		}
		if *dir != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "the model is in %s; try: vitago encode --model %[1]s IMAGE\n"+
				"  vitago encode --model %[1]s --text \"a red car\"\n  vitago classify --model %[1]s --labels cat,dog IMAGE\n", *dir)
		}
		return nil
	}
	return cmd
}

// A demoResult is what the demo found.
type demoResult struct {
	report     *converter.Report
	names      []string // of the pictures
	embeddings [][]float32
}

// runDemo converts the small model to dir, or else to a directory that it removes, and encodes the
// pictures. It writes what it does to log.
func runDemo(ctx context.Context, dir string, overwrite bool, log io.Writer) (r *demoResult, err error) {
	const archive = "tiny-clip.pt"
	if dir == "" {
		tmp, err := os.MkdirTemp("", "vitago-demo-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(tmp)
		dir = filepath.Join(tmp, "model")
	}
	r = &demoResult{}
	p := startProgress(log, "converting", megabytes)
	if r.report, err = convertDemo(ctx, archive, dir, overwrite); err != nil {
		p.stop()
		return nil, err
	}
	fmt.Fprintf(log, "converted %s in %s\n", archive, milliseconds(p))

	p = startProgress(log, "loading", megabytes)
	m, err := converter.Load(dir)
	if err != nil {
		p.stop()
		return nil, err
	}
	fmt.Fprintf(log, "loaded the model in %s\n", milliseconds(p))

	p = startProgress(log, "encoding", count)
	var images []image.Image
	if r.names, images, err = demoPictures(); err == nil {
		r.embeddings, err = await(ctx, func() ([][]float32, error) { return m.Encode(ctx, images...) })
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	fmt.Fprintf(log, "decoded and encoded %d pictures in %s\n", len(images), milliseconds(p))
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	fmt.Fprintf(log, "memory taken from the system: %s\n", megabytes(int64(mem.Sys)))
	return r, nil
}

func milliseconds(p *progress) string { return fmt.Sprintf("%d ms", p.stop().Milliseconds()) }

func convertDemo(ctx context.Context, archive, dir string, overwrite bool) (*converter.Report, error) {
	data, err := demoFiles.ReadFile("demo/" + archive)
	if err != nil {
		return nil, err
	}
	c, err := converter.OpenReader(bytes.NewReader(data), int64(len(data)), archive)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	vocab, err := os.MkdirTemp("", "vitago-demo-vocabulary-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(vocab)
	if err := writeDemoVocabulary(vocab); err != nil {
		return nil, err
	}
	return c.Convert(ctx, dir, converter.Options{Overwrite: overwrite, Vocab: vocab})
}

// writeDemoVocabulary writes a vocabulary for the 64 tokens of the small model into dir, since it has none: the letters, a few signs, and
// what makes one token each of the words of "a photo of a {}.", so that a label of nine letters fits its context of 16.
func writeDemoVocabulary(dir string) error {
	const end = "</w>" // of a word
	letters := strings.Split("abcdefghijklmnopqrstuvwxyz", "")
	merges := []string{"o f" + end, "t o" + end, "o to" + end, "p h", "ph oto" + end}
	words := slices.Clone(letters)
	for _, word := range slices.Concat(letters, strings.Split(".,-!?", "")) {
		words = append(words, word+end)
	}
	for _, m := range merges {
		words = append(words, strings.ReplaceAll(m, " ", ""))
	}
	ids := map[string]int{}
	for id, word := range append(words, "<|startoftext|>", "<|endoftext|>") {
		ids[word] = id
	}
	vocab, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "vocab.json"), vocab, 0o666); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "merges.txt"), []byte("#version: 0.2\n"+strings.Join(merges, "\n")+"\n"), 0o666)
}

// demoPictures returns the pictures in the order of their names.
func demoPictures() (names []string, images []image.Image, err error) {
	entries, err := fs.ReadDir(demoFiles, "demo")
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if !isImageName(e.Name()) {
			continue
		}
		data, err := demoFiles.ReadFile("demo/" + e.Name())
		if err != nil {
			return nil, nil, err
		}
		img, err := clipvit.DecodeImage(bytes.NewReader(data))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		names, images = append(names, e.Name()), append(images, img)
	}
	return names, images, nil
}

// text is the same on every run.
func (r *demoResult) text() []byte {
	var b bytes.Buffer
	b.WriteString("A small CLIP with random weights: it shows that everything works.\nIts embeddings mean nothing.\n\n")
	rows := [][2]string{{"container", r.report.Container}, {"dialect", r.report.Dialect}}
	rows = append(rows, configLines(r.report.Config)...)
	table(&b, append(rows, [2]string{"parameters", grouped(r.report.Parameters)}))

	const shown = 6
	fmt.Fprintf(&b, "\nembeddings, the first %d of %d values\n", shown, len(r.embeddings[0]))
	for i, e := range r.embeddings {
		fmt.Fprintf(&b, "%d  %-18s", i+1, r.names[i])
		for _, v := range e[:shown] {
			fmt.Fprintf(&b, " %8.4f", v)
		}
		b.WriteString("\n")
	}

	b.WriteString("\ncosine similarities\n" + strings.Repeat(" ", 21))
	for i := range r.names {
		fmt.Fprintf(&b, "%7d", i+1)
	}
	best, at := -1.0, [2]int{}
	for i, e := range r.embeddings {
		fmt.Fprintf(&b, "\n%d  %-18s", i+1, r.names[i])
		for j, f := range r.embeddings {
			c := clip.Cosine(e, f)
			fmt.Fprintf(&b, "%7.2f", c)
			if j < i && c > best {
				best, at = c, [2]int{j, i}
			}
		}
	}
	fmt.Fprintf(&b, "\n\nmost alike: %s and %s\n", r.names[at[0]], r.names[at[1]])
	return b.Bytes()
}
