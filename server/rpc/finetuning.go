package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/status"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/runs"
)

// trains answers for [vitagov1.FinetuningService].
type trains struct {
	vitagov1.UnimplementedFinetuningServiceServer
	Options
}

// answer returns a run as it goes over the wire.
func (s trains) answer(ctx context.Context, r runs.Run, err error) (*vitagov1.Run, error) {
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	a := &vitagov1.Run{
		Id: r.ID, Model: r.Model, State: string(r.State), Created: timestamppb.New(r.Created), Changed: timestamppb.New(r.Changed),
		Ahead: int32(r.Ahead), Events: int64(r.Events), Error: r.Error,
	}
	if r.Last != nil {
		a.Last = progress(*r.Last)
	}
	if a.Request, err = structure(r.Request); err != nil {
		return nil, s.fail(ctx, err)
	}
	if r.Response != nil {
		if a.Response, err = structure(r.Response); err != nil {
			return nil, s.fail(ctx, err)
		}
	}
	return a, nil
}

// structure returns what a value is in JSON.
func structure(v any) (*structpb.Struct, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	s := &structpb.Struct{}
	return s, s.UnmarshalJSON(text)
}

func progress(p finetuning.Progress) *vitagov1.Progress {
	return &vitagov1.Progress{
		Kind: string(p.Kind), Run: p.Run, Step: int64(p.Step), Steps: int64(p.Steps), Epoch: int64(p.Epoch), Loss: p.Loss, Score: p.Score, Best: p.Best,
		Images: int64(p.Images), Skipped: int64(p.Skipped), Seconds: p.Seconds, Table: p.Table, Memory: p.Memory,
	}
}

// ready returns an error where there are no runs.
func (s trains) ready(ctx context.Context) error {
	if s.Runs == nil {
		return s.fail(ctx, fmt.Errorf("%w: this server does not train models", status.ErrForbidden))
	}
	return nil
}

// StartRun queues a run.
func (s trains) StartRun(ctx context.Context, r *vitagov1.StartRunRequest) (*vitagov1.Run, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if r.Request == nil {
		return nil, s.fail(ctx, invalid("there is no request"))
	}
	text, err := r.Request.MarshalJSON()
	if err != nil {
		return nil, s.fail(ctx, invalid("request: %v", err)) // NaN, which JSON does not have
	}
	var request finetuning.Request
	if err := json.Unmarshal(text, &request); err != nil {
		return nil, s.fail(ctx, invalid("request: %s", status.Message(fmt.Errorf("%w: %w", finetuning.ErrRequest, err))))
	}
	run, err := s.Runs.Start(r.Model, request)
	return s.answer(ctx, run, err)
}

// GetRun returns a run.
func (s trains) GetRun(ctx context.Context, r *vitagov1.GetRunRequest) (*vitagov1.Run, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	run, err := s.Runs.Get(r.Id)
	return s.answer(ctx, run, err)
}

// ListRuns lists all runs.
func (s trains) ListRuns(ctx context.Context, _ *vitagov1.ListRunsRequest) (*vitagov1.ListRunsResponse, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	all := &vitagov1.ListRunsResponse{}
	for _, run := range s.Runs.List() {
		a, err := s.answer(ctx, run, nil)
		if err != nil {
			return nil, err
		}
		all.Runs = append(all.Runs, a)
	}
	return all, nil
}

// StopRun ends a run.
func (s trains) StopRun(ctx context.Context, r *vitagov1.StopRunRequest) (*vitagov1.Run, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	run, err := s.Runs.Stop(ctx, r.Id)
	return s.answer(ctx, run, err)
}

// ResumeRun lets a run go on.
func (s trains) ResumeRun(ctx context.Context, r *vitagov1.ResumeRunRequest) (*vitagov1.Run, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	run, err := s.Runs.Resume(r.Id)
	return s.answer(ctx, run, err)
}

// WatchRun tells what a run does.
func (s trains) WatchRun(r *vitagov1.WatchRunRequest, stream grpc.ServerStreamingServer[vitagov1.RunEvent]) error {
	for e, err := range s.events(stream.Context(), r) {
		if err == nil {
			err = stream.Send(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// events are those of a run. An error is the last. They end as well when the server is drained, which would wait for them otherwise.
func (s trains) events(ctx context.Context, r *vitagov1.WatchRunRequest) iter.Seq2[*vitagov1.RunEvent, error] {
	return func(yield func(*vitagov1.RunEvent, error) bool) {
		if err := s.ready(ctx); err != nil {
			yield(nil, err)
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		go func() {
			select {
			case <-s.draining:
			case <-s.Done:
			case <-ctx.Done():
				return
			}
			cancel(runs.ErrClosed)
		}()
		for e, err := range s.Runs.Watch(ctx, r.Id, int(r.From)) {
			if err != nil {
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				yield(nil, s.fail(ctx, err))
				return
			}
			if !yield(&vitagov1.RunEvent{Seq: int64(e.Seq), Progress: progress(e.Progress)}, nil) {
				return
			}
		}
	}
}

// watch answers over HTTP: a line {"result": EVENT} for every event, as soon as it happens, and at the end a line {"error": STATUS} if the
// watch ended before the run.
func (s trains) watch(mux *runtime.ServeMux) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		ctx := runtime.NewServerMetadataContext(r.Context(), runtime.ServerMetadata{})
		_, out := runtime.MarshalerForRequest(mux, r)
		q := &vitagov1.WatchRunRequest{}
		err := runtime.PopulateQueryParameters(q, r.URL.Query(), utilities.NewDoubleArray(nil))
		if err != nil {
			err = invalid("%v", err)
		} else {
			q.Id = path["id"]
			_, err = s.GetRun(ctx, &vitagov1.GetRunRequest{Id: q.Id}) // there is a status before the first event alone
		}
		if err != nil {
			runtime.HTTPError(ctx, mux, out, w, r, err)
			return
		}
		next, stop := iter.Pull2(s.events(ctx, q))
		defer stop()
		runtime.ForwardResponseStream(ctx, mux, out, w, r, func() (proto.Message, error) {
			e, err, ok := next()
			if !ok {
				return nil, io.EOF
			}
			return e, err
		})
	}
}
