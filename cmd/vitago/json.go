package main

import (
	"io"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/compare"
	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

// writeJSON writes v to w as a person reads it. Paths in v, and messages that may have one, are a [pyjson.Name]: encoding/json
// loses the bytes of a name that are no UTF-8. The types below are those of libraries with their paths in this form. A
// field of them displaces that of the same name in the struct that it embeds.
func writeJSON(w io.Writer, v any) error {
	text, err := folder.JSON(v)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

type namedReport struct {
	Source    pyjson.Name   `json:"source"`
	Dir       pyjson.Name   `json:"dir"`
	Adapters  []pyjson.Name `json:"adapters,omitempty"`
	Tokenizer pyjson.Name   `json:"tokenizer,omitempty"`
	*converter.Report
}

func reportJSON(r *converter.Report) namedReport {
	return namedReport{pyjson.Name(r.Source), pyjson.Name(r.Dir), pyjson.Names(r.Adapters), pyjson.Name(r.Tokenizer), r}
}

type namedInfo struct {
	Path     pyjson.Name   `json:"path"`
	Adapters []pyjson.Name `json:"adapters,omitempty"`
	Problem  pyjson.Name   `json:"problem,omitempty"`
	*converter.Info
}

func infoJSON(i *converter.Info) namedInfo {
	return namedInfo{pyjson.Name(i.Path), pyjson.Names(i.Adapters), pyjson.Name(i.Problem), i}
}

type namedComparison struct {
	A       namedSide   `json:"a"`
	B       namedSide   `json:"b"`
	Summary pyjson.Name `json:"summary"`
	*compare.Comparison
}

type namedSide struct {
	Path     pyjson.Name   `json:"path"`
	Adapters []pyjson.Name `json:"adapters,omitempty"`
	*compare.Side
}

func comparisonJSON(c *compare.Comparison) namedComparison {
	side := func(s *compare.Side) namedSide { return namedSide{pyjson.Name(s.Path), pyjson.Names(s.Adapters), s} }
	return namedComparison{side(&c.A), side(&c.B), pyjson.Name(c.Summary), c}
}

type namedRun struct {
	Error pyjson.Name `json:"error,omitempty"`
	*job.SweepRun
}

func runsJSON(runs []job.SweepRun) []namedRun {
	all := make([]namedRun, len(runs))
	for i := range runs {
		all[i] = namedRun{pyjson.Name(runs[i].Error), &runs[i]}
	}
	return all
}
