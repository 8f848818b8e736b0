package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/shapes"
	"github.com/vitago/vitago/server/client"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/rpc"
	"github.com/vitago/vitago/server/status"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/finetuning/runs"
)

// Runs over the wire are those of package runs, and so are their errors.
func TestRuns(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	if err := shapes.Write(filepath.Join(dir, "data", "pictures"), 0, 2, 24, false, 1); err != nil {
		t.Fatal(err)
	}
	local, err := runs.Open(runs.Options{Dir: filepath.Join(dir, "runs"), Data: filepath.Join(dir, "data"), Model: func(name string) (string, error) {
		if name != "tiny" {
			return "", engine.ErrModel
		}
		return golden.Path(t, "testdata/tiny/huggingface"), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := local.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	e, err := engine.New(ctx, engine.Config{Models: []engine.Model{{Name: "tiny", Path: "builtin:demo"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	o := rpc.Options{Engine: e, Runs: local}
	r := dial(t, o, client.Options{}).Runs()
	request := finetuning.Request{Data: "pictures", Recipe: "lora", Seed: 1,
		Overrides: finetuning.Overrides{Epochs: new(2), Batch: new(4), Accumulate: new(1), Rate: new(0.01), HeadRate: new(0.1), Rank: new(2)}}

	begun, err := r.Start(ctx, "tiny", request)
	if err != nil {
		t.Fatal(err)
	}
	if begun.ID == "" || begun.Model != "tiny" || begun.Request.Recipe != "lora" || *begun.Request.Overrides.Rate != 0.01 {
		t.Errorf("it began as %+v", begun)
	}
	var events []runs.Event
	for e, err := range r.Watch(ctx, begun.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	var want []runs.Event
	for e, err := range local.Watch(ctx, begun.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, e)
	}
	if !slices.Equal(events, want) || len(events) < 6 {
		t.Errorf("events are %+v, want %+v", events, want)
	}
	done, err := r.Get(ctx, begun.ID)
	if err != nil {
		t.Fatal(err)
	}
	here, err := local.Get(begun.ID)
	if err != nil {
		t.Fatal(err)
	}
	if text(t, done) != text(t, here) || done.State != runs.Done {
		t.Errorf("got %s, want %s", text(t, done), text(t, here))
	}
	if all, err := r.List(ctx); err != nil || len(all) != 1 || text(t, all[0]) != text(t, here) {
		t.Errorf("listed %+v, %v", all, err)
	}

	request.Overrides.Epochs = new(1_000_000)
	long, err := r.Start(ctx, "tiny", request)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Watch(ctx, long.ID, 0) { // who stops watching does not stop the run
		if err != nil {
			t.Fatal(err)
		}
		if e.Step >= 2 {
			break
		}
	}
	stopped, err := r.Stop(ctx, long.ID)
	if err != nil || stopped.State != runs.Stopped {
		t.Errorf("stopped: %+v, %v", stopped, err)
	}
	if resumed, err := r.Resume(ctx, long.ID); err != nil || resumed.State.Ended() {
		t.Errorf("resumed: %+v, %v", resumed, err)
	}
	if _, err := r.Stop(ctx, long.ID); err != nil {
		t.Error(err)
	}

	nothing := dial(t, rpc.Options{Engine: e}, client.Options{}).Runs()
	for _, x := range []struct {
		name string
		err  error
		want error
		code codes.Code
	}{
		{"no model", second(r.Start(ctx, "none", request)), engine.ErrModel, codes.NotFound},
		{"no recipe", second(r.Start(ctx, "tiny", finetuning.Request{Data: "pictures"})), finetuning.ErrRequest, codes.InvalidArgument},
		{"output", second(r.Start(ctx, "tiny", finetuning.Request{Data: "pictures", Recipe: "lora", Output: "here"})), finetuning.ErrRequest, codes.InvalidArgument},
		{"outside", second(r.Start(ctx, "tiny", finetuning.Request{Data: "../x", Recipe: "lora"})), finetuning.ErrRequest, codes.InvalidArgument},
		{"no run", second(r.Get(ctx, "none")), runs.ErrRun, codes.NotFound},
		{"watch no run", watch(ctx, r, "none"), runs.ErrRun, codes.NotFound},
		{"stop what is done", second(r.Stop(ctx, begun.ID)), runs.ErrState, codes.FailedPrecondition},
		{"resume what is done", second(r.Resume(ctx, begun.ID)), runs.ErrState, codes.FailedPrecondition},
		{"a server that trains nothing", second(nothing.List(ctx)), status.ErrForbidden, codes.PermissionDenied},
	} {
		var e *client.Error
		if !errors.Is(x.err, x.want) || !errors.As(x.err, &e) || e.Code != x.code {
			t.Errorf("%s: got %v (%+v), want %v, %v", x.name, x.err, e, x.want, x.code)
		}
	}

	// The same over HTTP.
	mux := http.NewServeMux()
	if err := rpc.Gateway(mux, o); err != nil {
		t.Fatal(err)
	}
	call := func(method, path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w
	}
	w := call(http.MethodGet, "/v1/finetuning/runs/"+begun.ID+":watch?from=2", "")
	lines := 0
	for s := bufio.NewScanner(w.Body); s.Scan(); lines++ {
		var line struct {
			Result struct {
				Seq      json.Number // 64 bits are a string in protobuf's JSON
				Progress struct{ Loss float64 }
			}
		}
		if err := json.Unmarshal(s.Bytes(), &line); err != nil || line.Result.Seq.String() != fmt.Sprint(lines+2) || line.Result.Progress.Loss != want[lines+2].Loss {
			t.Errorf("line %d is %s, %v", lines, s.Text(), err)
		}
	}
	if w.Code != http.StatusOK || lines != len(want)-2 {
		t.Errorf("watching over HTTP: %d, %d lines, want %d", w.Code, lines, len(want)-2)
	}
	for _, x := range []struct {
		method, path, body string
		code               int
		has                string
	}{
		{http.MethodGet, "/v1/finetuning/runs", "", 200, `"id"`},
		{http.MethodGet, "/v1/finetuning/runs/" + begun.ID, "", 200, `"state":"done"`},
		{http.MethodGet, "/v1/finetuning/runs/none", "", 404, "run_not_found"},
		{http.MethodGet, "/v1/finetuning/runs/none:watch", "", 404, "run_not_found"},
		{http.MethodPost, "/v1/finetuning/runs/" + begun.ID + ":stop", "", 400, "wrong_state"},
		{http.MethodPost, "/v1/finetuning/runs/" + begun.ID + ":resume", "", 400, "wrong_state"},
		{http.MethodPost, "/v1/finetuning/runs", `{"model":"tiny","request":{"data":"pictures","recipe":"lora","colour":1}}`, 400, "colour"},
		{http.MethodPost, "/v1/finetuning/runs", `{"model":"tiny"}`, 400, "there is no request"},
	} {
		w := call(x.method, x.path, x.body)
		if body := strings.ReplaceAll(w.Body.String(), `": "`, `":"`); w.Code != x.code || !strings.Contains(body, x.has) {
			t.Errorf("%s %s: %d %.300s, want %d with %s", x.method, x.path, w.Code, body, x.code, x.has)
		}
	}
}

// watch returns how watching ends.
func watch(ctx context.Context, r *client.Runs, id string) (last error) {
	for _, err := range r.Watch(ctx, id, 0) {
		last = err
	}
	return last
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
