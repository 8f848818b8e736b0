// Command scale says what it takes to encode very many pictures: cores, hours, USD, bytes, requests; and by a simulation what
// stragglers, interruptions and errors add.
//
//	go run ./scale -images 1e8 -model ViT-B/32 -precision int8 -pods 500 -cores 2    # one job
//	go run ./scale -simulate -kills 0.1 -slow 0.05 -images 1e8                       # with trouble
//	go run ./scale -page ../docs/scale.md                                            # the tables of the page again
//
// scale.yaml has the numbers that it computes with: prices and rates with source and date, which -parameters replaces.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(0)
		}
		fmt.Fprintln(os.Stderr, "scale: "+err.Error())
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	parameters := flags.String("parameters", "", "`FILE` in the place of scale.yaml")
	page := flags.String("page", "", "`FILE` whose tables are written again")
	images := flags.Float64("images", 1e8, "how many")
	model := flags.String("model", "ViT-B/32", "the tower")
	precision := flags.String("precision", "float32", "float32 or int8")
	pods := flags.Int("pods", pagePods, "pods at the same time")
	cores := flags.Int("cores", pageCores, "cores of a pod")
	perShard := flags.Float64("per-shard", 0, "images of a shard; 0: as the parameters say")
	bytes := flags.Float64("bytes", 0, "bytes of a picture; 0: as the parameters say")
	single := flags.Bool("single", false, "pictures are objects of their own, not members of tars")
	simulate := flags.Bool("simulate", false, "simulate the job as well")
	assigned := flags.Bool("assigned", false, "each pod has a share, as in an Indexed Job; otherwise each claims the next shard")
	kills := flags.Float64("kills", -1, "simulate: interruptions of a pod in an hour; -1: as the parameters say")
	slow := flags.Float64("slow", 0, "simulate: share of the pods that take twice as long")
	failures := flags.Float64("errors", 0, "simulate: chance that a shard fails at its end and is tried again")
	lease := flags.Float64("lease", 60, "simulate: seconds until a shard is taken over")
	seed := flags.Uint64("seed", 0, "simulate: the first of 20 seeds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("arguments %q, want flags alone", flags.Args())
	}
	file := defaults
	if *parameters != "" {
		var err error
		if file, err = os.ReadFile(*parameters); err != nil {
			return err
		}
	}
	p, err := read(file)
	if err != nil {
		return err
	}
	if *page != "" {
		runs, err := readRuns(measured)
		if err != nil {
			return err
		}
		texts, err := parts(p, runs)
		if err != nil {
			return err
		}
		old, err := os.ReadFile(*page)
		if err != nil {
			return err
		}
		filled, err := fill(string(old), texts)
		if err != nil {
			return err
		}
		return os.WriteFile(*page, []byte(filled), 0o644)
	}
	l, err := p.MakePlan(Job{Images: *images, Model: *model, Precision: *precision, Pods: *pods, Cores: *cores, PerShard: *perShard, Picture: *bytes, Single: *single, Claimed: !*assigned})
	if err != nil {
		return err
	}
	fmt.Fprint(out, describe(p, l))
	if !*simulate {
		return nil
	}
	if *kills < 0 {
		*kills = p.Data.Kills.Value
	}
	if *slow < 0 || *slow > 1 || *failures < 0 || *failures >= 1 || !(*lease > 0) {
		return fmt.Errorf("slow %v, errors %v, lease %v: want shares from 0 to 1, errors below 1, and a lease above 0", *slow, *failures, *lease)
	}
	_, rate, _ := p.model(l.Model, l.Precision)
	s := Simulation{
		Shards: p.shards(l.Job, rate.Value.Value), Pods: l.Pods, Assigned: *assigned, Lease: *lease, Start: p.Data.Start.Value, Replaced: 120,
		Slow: *slow, SlowBy: 2, Kills: *kills / hour, Errors: *failures,
	}
	end, e := mean(seeds, func(i uint64) float64 { return s.Run(*seed+i).End / hour })
	twice, et := mean(seeds, func(i uint64) float64 { o := s.Run(*seed + i); return o.Repeated / o.Work })
	_, err = fmt.Fprintf(out, "simulated      %.2f ± %.2f hours (%.2f of the formula), %s ± %s of the work done twice\n", end, e, end/l.Hours, percent(twice), percent(et))
	return err
}

// describe lists a plan.
func describe(p Parameters, l Plan) (text string) {
	line := func(name, format string, values ...any) {
		text += fmt.Sprintf("%-14s %s\n", name, fmt.Sprintf(format, values...))
	}
	line("shards", "%s of %s images, %s s each", number(l.Shards), number(l.PerShard), number(l.ShardSeconds))
	line("time", "%s hours on %d pods of %d cores, %s core-hours", number(l.Hours), l.Pods, l.Cores, number(l.CoreHours))
	line("cores", "%s USD on demand; %s USD spot, with %s of the work done twice", number(l.OnDemand), number(l.Spot), percent(l.Repeated))
	if l.GPU > 0 {
		line("GPU", "%s hours of one, %s USD", number(l.GPUHours), number(l.GPUPrice))
	}
	line("", "a GPU is cheaper from %s images/s on", number(l.Even))
	line("memory", "%s GB a pod", number(l.Memory))
	line("read", "%s TB, %s Gbit/s", number(l.Read), number(l.Gbits))
	line("written", "%s TB, %s USD a month", number(l.Written), number(l.Storage))
	line("requests", "%s GET, %s PUT, %s USD", number(l.Gets), number(l.Puts), number(l.Requests))
	for i, b := range p.limits(l) {
		name := ""
		if i == 0 {
			name = "breaks first"
		}
		line(name, "%s: %s of %s (%s)", b.Name, number(b.Takes), number(b.Has), percent(b.Takes/b.Has))
	}
	return text
}
