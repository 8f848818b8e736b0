package finetuning

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	good := Request{Data: "pictures", Recipe: "lora", Output: "tuned", Split: 0.1, MemoryLimit: -1}
	if err := good.Validate(); err != nil {
		t.Errorf("%+v: %v", good, err)
	}
	beside := good
	beside.Output = "pictures-tuned"
	if err := beside.Validate(); err != nil {
		t.Errorf("%+v: %v", beside, err)
	}
	for _, c := range []struct {
		change func(r *Request)
		want   string
	}{
		{func(r *Request) { *r = Request{} }, "no data\njob: no recipe\njob: no output"},
		{func(r *Request) { r.Split = 1 }, "split is 1, want 0 to below 1"},
		{func(r *Request) { r.Split = -0.1 }, "split is -0.1, want 0 to below 1"},
		{func(r *Request) { r.Split = math.NaN() }, "split is NaN"},
		{func(r *Request) { r.Validation = "more" }, `split is 0.1 and validation "more", want one of them`},
		{func(r *Request) { r.Output = "pictures/tuned" }, "output pictures/tuned lies in the data"},
		{func(r *Request) { r.Cache = "pictures" }, "cache pictures lies in the data"},
		{func(r *Request) { r.Output = "./x/../pictures" }, "lies in the data"},
		{func(r *Request) { r.Teacher, r.Targets = "t", "u" }, `teacher "t" and targets "u", want one of them`},
		{func(r *Request) { r.Lock = "both" }, `lock is "both", want images or texts`},
		{func(r *Request) { r.Solver = "sgd" }, `solver is "sgd", want adamw or lbfgs`},
		{func(r *Request) { r.WiseFT = new(1.5) }, "wise_ft is 1.5, want 0 to 1"},
		{func(r *Request) { r.Distance = "far" }, `distance is "far", want cosine or mse`},
		{func(r *Request) { r.MaxSteps = -1 }, "max_steps is -1, want 0 or more"},
		{func(r *Request) { r.Patience = -2 }, "patience is -2, want 0 or more"},
		{func(r *Request) { r.CheckpointEvery = -3 }, "checkpoint_every is -3, want 0 or more"},
		{func(r *Request) { r.ValidateEvery = -4 }, "validate_every is -4, want 0 or more"},
	} {
		r := good
		c.change(&r)
		if err := r.Validate(); !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v, want ErrRequest with %q", r, err, c.want)
		}
	}
}

// A request survives the way through JSON, and says nothing of what is not set.
func TestJSON(t *testing.T) {
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Data: "d", Recipe: "full", Output: "o"}, `{"data":"d","recipe":"full","output":"o"}`},
		{
			Request{Data: "d", Recipe: "lora", Output: "o", Overrides: Overrides{Epochs: new(3), EMA: new(0.0), Targets: []string{"q_proj"}}, Augment: Augment{Flip: 0.5}},
			`{"data":"d","recipe":"lora","overrides":{"epochs":3,"ema":0,"targets":["q_proj"]},"augment":{"flip":0.5},"output":"o"}`,
		},
	} {
		b, err := json.Marshal(c.r)
		if err != nil || string(b) != c.want {
			t.Errorf("%+v: got %s, %v, want %s", c.r, b, err, c.want)
		}
		var back Request
		if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, c.r) {
			t.Errorf("%s: got %+v, %v, want %+v", b, back, err, c.r)
		}
	}
}
