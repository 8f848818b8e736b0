package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"gonum.org/v1/plot"

	"github.com/vitago/vitago/converter/compare/chart"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/shard"
)

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [--all] [--json] [--plot FILE] OUT",
		Short: "Say how far an encode in shards is",
		Long: `Status says how far the encode --shards is whose output is OUT, a folder or s3://BUCKET/PREFIX: how many shards are
done, have failed, are claimed by workers and are open; rows, rate and the time that is left. It reads the small
files in OUT/vitago alone, and needs no model.

The rate is that of the shards that were done last, and the time that is left comes from it. Workers that did not
take their shards by claims, as with --part or by NATS, are not seen before a shard is done.`,
		Example: `  vitago status dataset
  vitago status --plot progress.svg s3://bucket/dataset`,
		Args: wantArgs(1, 1, "one OUT"),
	}
	all := cmd.Flags().Bool("all", false, "a line for each shard, not of failed and claimed ones alone")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	plotFile := cmd.Flags().String("plot", "", "draw rows over time into `FILE`, by its extension .png, .svg or .pdf")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *plotFile != "" {
			if err := checkPlot(*plotFile); err != nil {
				return err
			}
		}
		if *all && *asJSON {
			return usagef("--all goes without --json, which has all shards")
		}
		s, err := shard.ReadStatus(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *plotFile != "" {
			p, err := shardPlot(s)
			if err != nil {
				return err
			}
			if err := drawPlot(*plotFile, p); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: rows over time\n", *plotFile)
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), s)
		}
		_, err = cmd.OutOrStdout().Write(statusText(s, *all))
		return err
	}
	return cmd
}

// statusText says how far a dataset is.
func statusText(s *shard.Status, all bool) []byte {
	var b bytes.Buffer
	lines := [][2]string{
		{"shards", fmt.Sprintf("%s of %s done, %s failed, %s claimed, %s open", grouped(int64(s.Done)), grouped(int64(s.Shards)), grouped(int64(s.Failed)), grouped(int64(s.Claimed)), grouped(int64(s.Open)))},
		{"rows", fmt.Sprintf("%s; failed %s, not downloaded %s", grouped(int64(s.Rows)), grouped(int64(s.FailedRows)), grouped(int64(s.Missing)))},
		{"model", fmt.Sprintf("%s, space %.16s", s.Model, s.Fingerprint)},
	}
	if s.Rate > 0 {
		rate := fmt.Sprintf("%.1f rows/s of the last shards", s.Rate)
		if s.Done+s.Failed < s.Shards {
			rate += fmt.Sprintf("; %s left", s.Left.Round(time.Second))
		}
		lines = append(lines, [2]string{"rate", rate})
	}
	if len(s.Kernels) > 0 {
		lines = append(lines, [2]string{"made by", fmt.Sprintf("%s, kernel %s", plural.Of(s.Workers, "worker"), strings.Join(s.Kernels, ", "))})
	}
	table(&b, lines)
	var listed []shard.ShardStatus
	for _, e := range s.Each {
		if all || e.State == shard.StateFailed || e.State == shard.StateClaimed {
			listed = append(listed, e)
		}
	}
	if len(listed) == 0 {
		return b.Bytes()
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "shard\tstate\trows\tfailed\ttime\tworker\treason")
	for _, e := range listed {
		state, took := e.State, ""
		if e.Useless {
			state = "failed for good"
		}
		switch {
		case e.State == shard.StateDone:
			took = seconds(max(e.Ended.Sub(e.Began), 0)) // the clock may have been set meanwhile
		case !e.Began.IsZero():
			took = "since " + e.Began.Format(time.DateTime)
		case !e.Ended.IsZero():
			took = "at " + e.Ended.Format(time.DateTime)
		}
		row := fmt.Sprintf("%d\t%s\t%d\t%d\t%s\t%s\t%s", e.Shard, state, e.Rows, e.Failed, took, e.Worker, oneLine(plain(errors.New(e.Reason))))
		fmt.Fprintln(t, strings.TrimRight(row, "\t"))
	}
	t.Flush() // w is a buffer
	return b.Bytes()
}

// shardPlot draws how many rows were done by when.
func shardPlot(s *shard.Status) (*plot.Plot, error) {
	var done []shard.ShardStatus
	for _, e := range s.Each {
		if e.State == shard.StateDone {
			done = append(done, e)
		}
	}
	if len(done) == 0 {
		return nil, errors.New("nothing to draw: no shard is done")
	}
	slices.SortFunc(done, func(a, b shard.ShardStatus) int {
		return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.Shard, b.Shard))
	})
	span := s.Ended.Sub(s.Began)
	unit, name := time.Second, "seconds"
	switch {
	case span > 48*time.Hour:
		unit, name = 24*time.Hour, "days"
	case span > 2*time.Hour:
		unit, name = time.Hour, "hours"
	case span > 2*time.Minute:
		unit, name = time.Minute, "minutes"
	}
	x, y, rows := []float64{0}, []float64{0}, 0
	for i, e := range done {
		if rows += e.Rows; (i+1)%(len(done)/mostPoints+1) == 0 || i == len(done)-1 {
			x, y = append(x, float64(e.Ended.Sub(s.Began))/float64(unit)), append(y, float64(rows))
		}
	}
	title := fmt.Sprintf("%s of %s shards, %s rows", grouped(int64(s.Done)), grouped(int64(s.Shards)), grouped(int64(s.Rows)))
	return chart.Curves(title, name+" since "+s.Began.UTC().Format(time.DateTime)+" UTC", "rows", chart.Line{Name: "done", X: x, Y: y})
}

// mostPoints bounds those of a plot: more are not seen.
const mostPoints = 500

func newVerifyShards() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify-shards [--json] OUT",
		Short: "Prove that a dataset in shards is complete and readable",
		Long: `Verify-shards reads all of the dataset that encode --shards or merge has made in OUT, a folder or
s3://BUCKET/PREFIX: every shard is done, its files have the sizes and SHA-256 that its record says and as many rows as one
another, vectors are finite and of length 1, keys are there once, and no other files lie among them. Each thing that
is wrong is a line, and the exit status is 1 then. It needs no model.`,
		Example: `  vitago verify-shards dataset`,
		Args:    wantArgs(1, 1, "one OUT"),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var faults []string
		p := startProgress(cmd.ErrOrStderr(), "verifying", count)
		v, err := shard.Verify(cmd.Context(), args[0], func(err error) { faults = append(faults, plain(err)) })
		p.stop()
		if err != nil {
			return err
		}
		slices.Sort(faults)
		if *asJSON {
			err = writeJSON(cmd.OutOrStdout(), struct {
				shard.Verified
				Faults []pyjson.Name `json:"faults"`
			}{v, pyjson.Names(faults)})
		} else if len(faults) == 0 {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: complete: %s with %s rows in %s\n", args[0], plural.Of(v.Shards, "shard"), grouped(int64(v.Rows)), megabytes(v.Bytes))
		}
		if err != nil || len(faults) == 0 {
			return err
		}
		if !*asJSON {
			for _, f := range faults {
				fmt.Fprintln(failures(cmd.Context(), cmd.ErrOrStderr()), f)
			}
		}
		return fmt.Errorf("%s: %s, and %d of %d shards without", args[0], plural.Of(len(faults), "fault"), v.Done, v.Shards)
	}
	return cmd
}

func newMerge() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "merge -o OUT [--incomplete] [--json] DATASET...",
		Short: "Make one dataset in shards of several",
		Long: `Merge copies the datasets that encode --shards has made into one, whose shards get numbers from 0 on without gaps. They
have to be of one space, format and columns. What is copied is read back. Whatever ends it, the same command goes on
behind what is there. A shard without rows gets no number.`,
		Example: `  vitago merge -o all january february s3://bucket/march`,
		Args:    wantArgs(1, math.MaxInt, "at least one DATASET"),
	}
	out := cmd.Flags().StringP("output", "o", "", "`OUT`, a folder or s3://BUCKET/PREFIX")
	incomplete := cmd.Flags().Bool("incomplete", false, "leave out shards that are not done, in place of an error")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *out == "" {
			return usagef("no output: give -o OUT")
		}
		p := startProgress(cmd.ErrOrStderr(), "merging", count)
		m, err := shard.Merge(cmd.Context(), *out, args, shard.MergeOptions{Incomplete: *incomplete, Progress: func(done, total int) { p.set(int64(done), int64(total)) }})
		p.stop()
		if err != nil {
			return err
		}
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), m)
		}
		text := fmt.Sprintf("%s: %s with %s rows", *out, plural.Of(m.Shards, "shard"), grouped(int64(m.Rows)))
		for _, c := range []struct {
			n    int
			what string
		}{{m.Before, "there before"}, {m.Left, "not done and left out"}, {m.Empty, "without rows and left out"}} {
			if c.n > 0 {
				text += fmt.Sprintf("; %d %s", c.n, c.what)
			}
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
		return err
	}
	return cmd
}
