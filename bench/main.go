// Command bench measures this project beside its peers, on the same machine and in the same run,
// and how its cost grows.
//
//	go run ./bench [flags]          encode and multiply, beside PyTorch, ONNX Runtime, OpenVINO, …
//	go run ./bench scale [flags]    over batch, cores, size of the images, callers
//	go run ./bench train [flags]    steps of fine-tuning, beside PyTorch
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

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
)

// configs are the towers to measure with: the one that counts, and one to try the benchmark with.
var configs = map[string]clipvit.Config{
	"vit-l-14-336": clipvit.ViTL14336,
	"tiny":         {ImageSize: 84, PatchSize: 14, Width: 128, Heads: 2, Layers: 2, MLPWidth: 512, EmbedDim: 64, Activation: transformer.QuickGELU, NormEps: 1e-5},
}

// options are what the command line asks for.
type options struct {
	config           clipvit.Config
	dir              string // of the model; temporary if it is ""
	python           string
	rounds           int
	threads, batches []int
	kinds            []string // of contenders; all if it is empty
	plot             string
	cases            []string // of training
	before           string   // another build of this program, to be compared with; "" for none
	command          string   // as it is to be repeated
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == "worker" { // what this program starts of itself
		return serve(args[1], args[2], os.Stdin, os.Stdout)
	}
	mode := ""
	if len(args) > 0 && (args[0] == "scale" || args[0] == "train") {
		mode, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	var o options
	var out, raw string
	config := flags.String("config", "vit-l-14-336", "the tower: vit-l-14-336, or tiny to try the benchmark")
	quick := flags.Bool("quick", false, "2 rounds, to try it")
	flags.IntVar(&o.rounds, "rounds", 5, "measurements of each kind, of which the median counts")
	someThreads, someBatches := "1,"+strconv.Itoa(runtime.NumCPU()), "1,8"
	if mode == "train" {
		someThreads, someBatches = strconv.Itoa(runtime.NumCPU()), "1"
	}
	threads := flags.String("threads", someThreads, "numbers of threads")
	batches := flags.String("batch", someBatches, "numbers of images at once")
	kinds := flags.String("contenders", "", "which to measure, by their kinds in contenders.go, such as avx2,torch,numpy,train; the default is all")
	flags.StringVar(&o.python, "python", "", "interpreter that has the peers; the default is bench/.venv's")
	flags.StringVar(&o.dir, "dir", "", "folder to keep the model in (4 GB), and to find it in again")
	flags.StringVar(&out, "o", "", "file for the tables; the default is standard output")
	flags.StringVar(&raw, "json", "", "file for all that was measured")
	isa := flags.String("isa", "", "avx2 measures as on a processor without AVX-512: our AVX2 kernels, and those peers that can be told")
	flags.StringVar(&o.before, "before", "", "another build of this program: each of our contenders takes turns with the same one of it")
	cases := ""
	switch mode {
	case "scale":
		flags.StringVar(&o.plot, "plot", "", "file for the plots, .svg or .png")
	case "train":
		flags.StringVar(&cases, "cases", "full,lora,projector", "what is trained")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q, want scale, train or flags", flags.Arg(0))
	}
	var ok bool
	var err1, err2 error
	if o.config, ok = configs[*config]; !ok {
		return fmt.Errorf("-config is %q, want vit-l-14-336 or tiny", *config)
	}
	o.threads, err1 = ints(*threads)
	o.batches, err2 = ints(*batches)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if *kinds != "" {
		o.kinds = strings.Split(*kinds, ",")
	}
	switch {
	case o.before != "" && mode == "scale":
		return errors.New("-before is compared by encoding, multiplying and training, and not by scale")
	case *isa != "" && *isa != "avx2":
		return fmt.Errorf("-isa is %q, want avx2, or nothing", *isa)
	case *isa != "":
		if err := limitISA(); err != nil {
			return err
		}
		if o.kinds == nil {
			o.kinds = avx2Kinds
		}
	}
	if o.before != "" {
		if err := checkBefore(o.before); err != nil {
			return err
		}
	}
	if mode == "train" {
		o.cases = strings.Split(cases, ",")
	}
	if *quick {
		o.rounds = 2
	}
	if o.rounds < 1 {
		return fmt.Errorf("-rounds is %d, want 1 or more", o.rounds)
	}
	if o.python == "" {
		o.python = filepath.Join("bench", ".venv", "bin", "python")
	}
	o.command = "go run ./bench"
	if mode != "" {
		o.command += " " + mode
	}
	flags.Visit(func(f *flag.Flag) {
		if slices.Contains([]string{"config", "quick", "rounds", "threads", "batch", "contenders", "cases", "isa", "before"}, f.Name) {
			o.command += fmt.Sprintf(" -%s=%v", f.Name, f.Value)
		}
	})

	if o.dir == "" {
		dir, err := os.MkdirTemp("", "vitago-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	measure := map[string]func(context.Context, options) (string, any, error){"": compare, "scale": grow, "train": train}[mode]
	if err := writeModel(o.dir, o.config); err != nil {
		return err
	}
	report, data, err := measure(ctx, o)
	if report != "" { // also when a result was wrong
		err = errors.Join(err, writeOut(out, report))
	}
	if raw != "" && data != nil {
		b, jerr := json.MarshalIndent(data, "", " ")
		err = errors.Join(err, jerr, os.WriteFile(raw, append(b, '\n'), 0o644))
	}
	return err
}

func writeOut(path, text string) error {
	if path == "" {
		_, err := os.Stdout.WriteString(text)
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
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
