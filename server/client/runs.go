package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"google.golang.org/protobuf/types/known/structpb"

	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/runs"
)

// Runs returns the training of the server: the methods of package runs, over the wire.
func (c *Client) Runs() *Runs { return &Runs{vitagov1.NewFinetuningServiceClient(c.conn)} }

// Runs train models on a server.
type Runs struct {
	service vitagov1.FinetuningServiceClient
}

// Start queues a run, and returns it at once. Paths of the request are relative to the server's folder of data, and Output and Model are not
// given. The errors are those of package runs and of package finetuning.
func (r *Runs) Start(ctx context.Context, model string, request finetuning.Request) (runs.Run, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return runs.Run{}, fmt.Errorf("client: %w", err)
	}
	s := &structpb.Struct{}
	if err := s.UnmarshalJSON(text); err != nil {
		return runs.Run{}, fmt.Errorf("client: %w", err)
	}
	return run(r.service.StartRun(ctx, &vitagov1.StartRunRequest{Model: model, Request: s}))
}

// Get returns what a run has come to.
func (r *Runs) Get(ctx context.Context, id string) (runs.Run, error) {
	return run(r.service.GetRun(ctx, &vitagov1.GetRunRequest{Id: id}))
}

// List returns all runs, the newest first.
func (r *Runs) List(ctx context.Context) ([]runs.Run, error) {
	answer, err := r.service.ListRuns(ctx, &vitagov1.ListRunsRequest{})
	if err != nil {
		return nil, restore(err)
	}
	all := make([]runs.Run, len(answer.Runs))
	for i, a := range answer.Runs {
		if all[i], err = run(a, nil); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Stop ends a run with a checkpoint. It returns when that is written.
func (r *Runs) Stop(ctx context.Context, id string) (runs.Run, error) {
	return run(r.service.StopRun(ctx, &vitagov1.StopRunRequest{Id: id}))
}

// Resume lets a run that was stopped or has failed go on.
func (r *Runs) Resume(ctx context.Context, id string) (runs.Run, error) {
	return run(r.service.ResumeRun(ctx, &vitagov1.ResumeRunRequest{Id: id}))
}

// Watch tells what a run does, from an event on, 0 being the first, and ends when the run has ended: then Get says how. An error is the
// last that it gives; who watches again begins with the event after the last.
func (r *Runs) Watch(ctx context.Context, id string, from int) iter.Seq2[runs.Event, error] {
	return func(yield func(runs.Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := r.service.WatchRun(ctx, &vitagov1.WatchRunRequest{Id: id, From: int64(from)})
		for err == nil {
			var e *vitagov1.RunEvent
			if e, err = stream.Recv(); err == nil && !yield(runs.Event{Seq: int(e.Seq), Progress: progress(e.Progress)}, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(runs.Event{}, restore(err))
		}
	}
}

// run returns a run of an answer.
func run(a *vitagov1.Run, err error) (runs.Run, error) {
	if err != nil {
		return runs.Run{}, restore(err)
	}
	r := runs.Run{
		ID: a.Id, Model: a.Model, State: runs.State(a.State), Created: a.Created.AsTime(), Changed: a.Changed.AsTime(), Ahead: int(a.Ahead),
		Events: int(a.Events), Error: a.Error,
	}
	if a.Last != nil {
		p := progress(a.Last)
		r.Last = &p
	}
	if err := reread(a.Request, &r.Request); err != nil {
		return runs.Run{}, wrong("request of run %s: %v", a.Id, err)
	}
	if a.Response != nil {
		r.Response = &finetuning.Response{}
		if err := reread(a.Response, r.Response); err != nil {
			return runs.Run{}, wrong("response of run %s: %v", a.Id, err)
		}
	}
	return r, nil
}

// reread reads a value of what it is in JSON.
func reread(s *structpb.Struct, v any) error {
	text, err := s.MarshalJSON()
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func progress(p *vitagov1.Progress) finetuning.Progress {
	return finetuning.Progress{
		Kind: finetuning.Kind(p.GetKind()), Run: p.GetRun(), Step: int(p.GetStep()), Steps: int(p.GetSteps()), Epoch: int(p.GetEpoch()), Loss: p.GetLoss(),
		Score: p.GetScore(), Best: p.GetBest(), Images: int(p.GetImages()), Skipped: int(p.GetSkipped()), Seconds: p.GetSeconds(), Table: p.GetTable(), Memory: p.GetMemory(),
	}
}
