// Command bench measures this project beside its peers, on the same machine and in the same run,
// and how its cost grows.
//
//	go run ./bench [flags]          encode and multiply, beside PyTorch, ONNX Runtime, OpenVINO, …
//	go run ./bench scale [flags]    over batch, cores, size of the images, callers
//	go run ./bench train [flags]    steps of fine-tuning, beside PyTorch
//	go run ./bench search [flags]   the nearest of many vectors, beside faiss
//	go run ./bench page [flags] JSON...    the page of speed, of what -json of the others wrote
//	go run ./bench files [flags]    from JPEG files to embeddings, beside Python
//	go run ./bench serve [flags]    a server with many clients, beside encode, a service in Python and infinity
//	go run ./bench shards [flags]   tars to embeddings by shards, beside encode and clip-retrieval
//
// The README beside it says what is measured and how.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// sections are what a comparison consists of; -only names some. The first is a preparation: it makes the model, and what
// peers load of it.
var sections = []string{"export", "encode", "products", "starts"}

// fileParts are those of a race from files.
var fileParts = []string{"encode", "pictures"}

// options are what the command line asks for.
type options struct {
	config           tower
	name             string // of config
	dir              string // of the model; temporary if it is ""
	python           string
	rounds           int
	threads, batches []int
	tokens           []int    // of a scale by tokens
	rows             []int    // of a search
	files, workers   int      // of a race from files: how many; who decodes them in Python
	clients          int      // of a race of servers: at a time
	pictures, vitago string   // of a race from files: a folder of them, and the command
	infinity         string   // of a race of servers: an interpreter, "" for none
	kinds            []string // of contenders; all if it is empty
	only             []string // of parts; all if it is empty
	plot             string
	cases            []string // of training; of rows that are searched
	before           string   // another build of this program, to be compared with; "" for none
	command          string   // as it is to be repeated
	mode             string   // what is measured; "" is a comparison
	out, raw         string   // files for the tables and for all that was measured
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == "worker" { // what this program starts of itself
		return serve(args[1], args[2], os.Stdin, os.Stdout)
	}
	if len(args) > 0 && args[0] == "page" {
		flags := flag.NewFlagSet("bench page", flag.ExitOnError)
		out := flags.String("o", "", "file for the page; the default is standard output")
		plot := flags.String("plot", "", "file for the plot beside it, .svg or .png")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return writePage(*out, *plot, flags.Args())
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "vitago-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	measure := map[string]func(context.Context, options) (string, any, error){"": compare, "scale": grow, "train": train, "files": race, "search": searchAll, "serve": serveAll, "shards": shardsAll}[o.mode]
	if o.mode != "search" {
		if err := writeModel(o.dir, o.config); err != nil {
			return err
		}
	}
	report, data, err := measure(ctx, o)
	if report != "" { // also when a result was wrong
		err = errors.Join(err, writeOut(o.out, report))
	}
	if o.raw != "" && data != nil {
		b, jerr := json.MarshalIndent(data, "", " ")
		err = errors.Join(err, jerr, os.WriteFile(o.raw, append(b, '\n'), 0o644))
	}
	return err
}

// parse reads a command line but for page.
func parse(args []string) (options, error) {
	var o options
	mode := ""
	if len(args) > 0 && slices.Contains([]string{"scale", "train", "files", "search", "serve", "shards"}, args[0]) {
		mode, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	o.mode = mode
	tower := "vit-l-14-336"
	if mode == "files" || mode == "serve" || mode == "shards" {
		tower = "vit-b-32"
	}
	flags.StringVar(&o.name, "config", tower, "the tower: "+configNames())
	quick := flags.Bool("quick", false, "2 rounds, to try it")
	flags.IntVar(&o.rounds, "rounds", 5, "measurements of each kind, of which the median counts")
	someThreads, someBatches, some := "1,"+strconv.Itoa(runtime.NumCPU()), "", sections
	switch mode {
	case "scale":
		someThreads, someBatches, some = strconv.Itoa(runtime.NumCPU()), list(gridBatches), axes
	case "files":
		someThreads, someBatches, some = strconv.Itoa(runtime.NumCPU()), "32", fileParts
	case "serve":
		some = serveParts
	case "shards":
		some = shardParts
	case "train":
		someThreads, someBatches = strconv.Itoa(runtime.NumCPU()), "1"
	case "search":
		someThreads, someBatches, some = strconv.Itoa(runtime.NumCPU()), "1,"+strconv.Itoa(searchQueries), []string{"data"}
	}
	threads := &someThreads
	if mode != "serve" && mode != "shards" { // which have all
		threads = flags.String("threads", someThreads, "numbers of threads")
	}
	batches := &someBatches
	if mode != "serve" && mode != "shards" {
		batches = flags.String("batch", someBatches, "numbers of images or texts at once; the default is that of the tower")
	}
	kinds := flags.String("contenders", "", "which to measure, by their kinds in contenders.go, such as avx2,torch,numpy,train, and best for the best of our kernels; the default is all")
	flags.StringVar(&o.python, "python", "", "interpreter that has the peers; the default is bench/.venv's")
	flags.StringVar(&o.dir, "dir", "", "folder to keep the model in (4 GB of ViT-L), and to find it in again")
	flags.StringVar(&o.out, "o", "", "file for the tables; the default is standard output")
	flags.StringVar(&o.raw, "json", "", "file for all that was measured")
	isa := flags.String("isa", "", "avx2 measures as on a processor without AVX-512: our AVX2 kernels, and those peers that can be told")
	flags.StringVar(&o.before, "before", "", "another build of this program: each of our contenders takes turns with the same one of it")
	cases, only, tokens, gridded, rows := "", "", 0, list(gridTokens), "10000,100000,1000000"
	switch mode {
	case "":
		flags.IntVar(&tokens, "tokens", 0, fmt.Sprintf("of a text, with start and end; the default is %d, for towers of texts alone", shortText))
		flags.StringVar(&only, "only", "", "some of "+strings.Join(sections, ",")+"; the default is all. export makes the model in -dir, and what peers load of it")
	case "scale":
		flags.StringVar(&o.plot, "plot", "", "file for the plots, .svg or .png")
		flags.StringVar(&gridded, "tokens", gridded, "of the sequences of tokens by batch")
		flags.StringVar(&only, "only", "", "some of "+strings.Join(axes, ",")+"; the default is all. -batch, -threads, -tokens and -contenders are those of tokens")
	case "files":
		flags.IntVar(&o.files, "files", 1000, "how many pictures")
		flags.StringVar(&o.pictures, "pictures", "", "folder of .jpg that are taken by turns; the default makes some of 500×375")
		flags.IntVar(&o.workers, "workers", runtime.NumCPU(), "processes of Python that decode")
		flags.StringVar(&o.vitago, "vitago", "", "the command; the default builds it")
		flags.StringVar(&only, "only", "", "some of "+strings.Join(fileParts, ",")+"; the default is all")
	case "serve":
		flags.IntVar(&o.files, "files", 300, "how many pictures")
		flags.IntVar(&o.clients, "clients", 64, "how many clients at a time")
		flags.StringVar(&o.infinity, "infinity", "", "interpreter that has infinity-emb, by requirements-infinity.txt; without it that one is not measured")
		flags.StringVar(&o.pictures, "pictures", "", "folder of .jpg that are taken by turns; the default makes some of 500×375")
		flags.StringVar(&o.vitago, "vitago", "", "the command; the default builds it")
		flags.StringVar(&o.plot, "plot", "", "file for the plots, .svg or .png")
		flags.StringVar(&only, "only", "", "some of "+strings.Join(serveParts, ",")+"; the default is all")
	case "shards":
		flags.IntVar(&o.files, "files", 512, "how many pictures")
		flags.StringVar(&o.pictures, "pictures", "", "folder of .jpg that are taken by turns; the default makes some of 500×375")
		flags.IntVar(&o.workers, "workers", runtime.NumCPU(), "processes of Python that decode")
		flags.StringVar(&o.vitago, "vitago", "", "the command; the default builds it")
		flags.StringVar(&only, "only", "", "some of "+strings.Join(shardParts, ",")+"; the default is all")
	case "search":
		flags.StringVar(&rows, "rows", rows, "numbers of vectors")
		flags.StringVar(&cases, "cases", searchData[0], "kinds of vectors, of "+strings.Join(searchData, ","))
		flags.StringVar(&only, "only", "", "data makes the vectors in -dir, and measures nothing")
	case "train":
		flags.StringVar(&cases, "cases", "full,lora,projector", "what is trained")
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("argument %q, want scale, train, files, search, serve, shards, page or flags", flags.Arg(0))
	}
	var ok bool
	if o.config, ok = configs[o.name]; !ok {
		return o, fmt.Errorf("-config is %q, want one of %s", o.name, configNames())
	}
	switch c := o.config; {
	case c.ofTexts() && mode != "":
		return o, fmt.Errorf("-config is %s, want a tower of images: %s measures no texts", o.name, mode)
	case tokens != 0 && !c.ofTexts():
		return o, fmt.Errorf("-tokens is %d, and %s is a tower of images", tokens, o.name)
	case tokens != 0 && (tokens < 2 || tokens > c.text.Context):
		return o, fmt.Errorf("-tokens is %d, want 2 to %d", tokens, c.text.Context)
	case tokens != 0:
		o.config.tokens = tokens
	}
	o.batches = o.config.batches
	var err1, err2, err3 error
	o.tokens, err3 = ints(gridded)
	o.threads, err1 = ints(*threads)
	if *batches != "" {
		o.batches, err2 = ints(*batches)
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return o, err
	}
	if only != "" {
		o.only = strings.Split(only, ",")
		for _, part := range o.only {
			if !slices.Contains(some, part) {
				return o, fmt.Errorf("-only is %q, want some of %s", part, strings.Join(some, ","))
			}
		}
	}
	if *kinds != "" {
		o.kinds = strings.Split(*kinds, ",")
	}
	switch {
	case mode == "serve" && (o.files < 32 || o.clients < 1):
		return o, fmt.Errorf("%d -files, %d -clients: want 32 or more, 1 or more", o.files, o.clients)
	case mode == "shards" && (o.files < 32 || o.files%8 != 0 || o.workers < 0):
		return o, fmt.Errorf("%d -files, %d -workers: want a multiple of 8 from 32 on, 0 or more", o.files, o.workers)
	case o.before != "" && (mode == "shards" || mode == "scale" || mode == "files" || mode == "search" || mode == "serve"):
		return o, fmt.Errorf("-before is compared by encoding, multiplying and training, and not by %s", mode)
	case mode == "files" && (o.files < 1 || o.workers < 1 || len(o.batches) != 1):
		return o, fmt.Errorf("%d -files, %d -workers, %d numbers of -batch: want 1 or more, 1 or more, 1", o.files, o.workers, len(o.batches))
	case *isa != "" && *isa != "avx2":
		return o, fmt.Errorf("-isa is %q, want avx2, or nothing", *isa)
	case *isa != "":
		if err := limitISA(); err != nil {
			return o, err
		}
		if o.kinds == nil {
			o.kinds = avx2Kinds
		}
		if i := slices.Index(o.kinds, "best"); i >= 0 && slices.Contains(o.kinds, "avx2") {
			return o, errors.New("-contenders has best and avx2, which are one with -isa avx2")
		} else if i >= 0 {
			o.kinds[i] = "avx2"
		}
	}
	if o.before != "" {
		if err := checkBefore(o.before); err != nil {
			return o, err
		}
	}
	if mode == "train" || mode == "search" {
		o.cases = strings.Split(cases, ",")
	}
	if mode == "search" {
		var err error
		if o.rows, err = ints(rows); err != nil {
			return o, fmt.Errorf("-rows: %w", err)
		}
		if slices.Max(o.batches) > searchQueries || slices.ContainsFunc(o.cases, func(c string) bool { return !slices.Contains(searchData, c) }) {
			return o, fmt.Errorf("-batch is %v and -cases %v, want at most %d queries, and some of %s", o.batches, o.cases, searchQueries, strings.Join(searchData, ","))
		}
	}
	if *quick {
		o.rounds = 2
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds is %d, want 1 or more", o.rounds)
	}
	if o.python == "" {
		o.python = filepath.Join("bench", ".venv", "bin", "python")
	}
	o.command = "go run ./bench"
	if mode != "" {
		o.command += " " + mode
	}
	flags.Visit(func(f *flag.Flag) {
		if slices.Contains([]string{"config", "quick", "rounds", "threads", "batch", "tokens", "only", "files", "workers", "clients", "contenders", "cases", "isa", "before", "rows"}, f.Name) {
			o.command += fmt.Sprintf(" -%s=%v", f.Name, f.Value)
		}
	})
	return o, nil
}

func writeOut(path, text string) error {
	if path == "" {
		_, err := os.Stdout.WriteString(text)
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// does says whether a part of the comparison is asked for.
func (o options) does(part string) bool { return len(o.only) == 0 || slices.Contains(o.only, part) }

// list writes numbers as ints reads them.
func list(numbers []int) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(numbers)), ","), "[]")
}

// ints parses a list of positive numbers, in order and without repetition.
func ints(list string) ([]int, error) {
	var all []int
	for f := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("number is %q, want 1 or more", f)
		}
		all = append(all, n)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// progress says on standard error what is going on.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
