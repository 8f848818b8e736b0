package client_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/search"
	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/client"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/rpc"
	"github.com/vitago/vitago/tasks/imageclassification"
	labelled "github.com/vitago/vitago/tasks/imageclassification/clip"
	"github.com/vitago/vitago/tasks/imagesearch"
	found "github.com/vitago/vitago/tasks/imagesearch/clip"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
	compared "github.com/vitago/vitago/tasks/imagetextsimilarity/clip"
	"github.com/vitago/vitago/tasks/visualtokens/projected"
	"github.com/vitago/vitago/zeroshot"
)

// What tasks return over the wire is what they return without.
func TestTasks(t *testing.T) {
	ctx, m := t.Context(), small(t)
	index := filepath.Join(t.TempDir(), "index")
	source, err := search.NewSource(golden.Path(t, "demo/pictures"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := search.Update(ctx, m, index, []search.Source{source}, search.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	llava := golden.Path(t, "testdata/families/llava")
	e, err := engine.New(ctx, engine.Config{Models: []engine.Model{
		{Name: "demo", Path: demo.Name, Index: index}, {Name: "llava", Path: llava}, {Name: "vision", Path: golden.Path(t, "testdata/families/hf5-vision")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	c := dial(t, rpc.Options{Engine: e}, client.Options{})
	files := [][]byte{picture(t, 10), picture(t, 50)}

	labels, err := labelled.New(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]imageclassification.Request{
		"labels":    {Images: files, Labels: []string{"a red circle", "a blue square"}, Templates: []string{"{}"}, TopK: 1},
		"prompts":   {Images: files, Prompts: []zeroshot.Label{{Name: "circle", Prompts: []string{"a red circle", "a yellow circle"}}, {Name: "square", Prompts: []string{"a blue square"}}}},
		"threshold": {Images: files, Labels: []string{"a red circle", "a blue square"}, Templates: []string{"{}"}, Threshold: zeroshot.Threshold{Probability: 0.6}},
		"none":      {Images: files, Labels: []string{"a red circle", "a blue square"}, Templates: []string{"{}"}, Threshold: zeroshot.Threshold{Cosine: 1}},
		"multi":     {Images: files, Labels: []string{"a red circle"}, Templates: []string{"{}"}, Multi: true, Bias: 0.5, Negatives: []string{"a green heart"}, Threshold: zeroshot.Threshold{Probability: 1e-9, Each: true}},
	} {
		want, err := labels.ClassifyImages(ctx, r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := c.ImageClassification("").ClassifyImages(ctx, r)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}

	similar, err := compared.New(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	pairs := imagetextsimilarity.Request{Images: files, Texts: []string{"a red circle", "a blue square", "a small moon"}}
	want, err := similar.CompareImagesTexts(ctx, pairs)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.ImageTextSimilarity("demo").CompareImagesTexts(ctx, pairs); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("similarities: got %+v, %v, want %+v", got, err, want)
	}

	finder, err := found.New(ctx, m, index)
	if err != nil {
		t.Fatal(err)
	}
	defer finder.Close()
	vector, err := m.EncodeText(ctx, []string{"three stars"})
	if err != nil {
		t.Fatal(err)
	}
	least := 0.1
	for name, r := range map[string]imagesearch.Request{
		"text":  {Query: []imagesearch.Part{{Text: "a red circle"}}, TopK: 3, Vectors: true},
		"parts": {Query: []imagesearch.Part{{Text: "a red circle"}, {Image: files[0], Weight: -0.5}, {Vector: vector[0], Weight: 2}}, Least: &least},
		"filter": {Query: []imagesearch.Part{{Text: "a red circle"}}, Filter: search.Filter{
			Exclude: []string{"**/red-*.png"}, Where: []search.Condition{{Column: "width", Op: ">=", Value: "64"}}}},
	} {
		want, err := finder.FindImages(ctx, r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := c.ImageSearch("").FindImages(ctx, r)
		for i := range want.Hits {
			if len(want.Hits[i].Columns) == 0 {
				want.Hits[i].Columns = nil // as over the wire
			}
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("search by %s: got %+v, %v, want %+v", name, got, err, want)
		}
	}

	tokens, err := projected.Load(llava, "")
	if err != nil {
		t.Fatal(err)
	}
	wantTokens, err := tokens.Tokens(ctx, files[0])
	if err != nil {
		t.Fatal(err)
	}
	gotTokens, err := c.VisualTokens("llava").Tokens(ctx, files[0])
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(gotTokens.Tokens.Data().F32(), wantTokens.Tokens.Data().F32()) || !slices.Equal(gotTokens.Tokens.Shape(), wantTokens.Tokens.Shape()) || gotTokens.Rows != wantTokens.Rows {
		t.Errorf("visual tokens differ: %v, want %v", gotTokens.Tokens.Shape(), wantTokens.Tokens.Shape())
	}
	n, err := tokens.Count(64, 64)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.VisualTokens("llava").Count(64, 64); err != nil || got != n {
		t.Errorf("%d visual tokens, %v, want %d", got, err, n)
	}

	maps, err := explain.Captions(ctx, m, clip.Bytes("", files[0]), []string{"a red circle", "a blue square"}, explain.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Explain(ctx, &vitagov1.ExplainImageRequest{Image: files[0], Captions: []string{"a red circle", "a blue square"}, Overlay: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range maps {
		one := got.Maps[i]
		if !slices.Equal(one.Values, want.Values) || int(one.Grid) != want.Grid || one.Score != want.Score || one.Caption != want.Caption || one.Peak.X != want.Peak().X || one.Method != string(explain.Relevance) {
			t.Errorf("map %d differs", i)
		}
		if len(one.Overlay) < 100 || string(one.Overlay[1:4]) != "PNG" {
			t.Errorf("map %d has no picture: %.10q", i, one.Overlay)
		}
	}
	if got.Width != 64 || got.Height != 64 {
		t.Errorf("the picture has %d×%d pixels", got.Width, got.Height)
	}
	if got, err := c.Explain(ctx, &vitagov1.ExplainImageRequest{Image: files[0]}); err != nil || len(got.Maps) != 1 || got.Maps[0].Method != string(explain.Rollout) {
		t.Errorf("without captions: %v, %v", got, err)
	}

	models, err := c.Models(ctx)
	if err != nil || len(models) != 3 || models[0].Name != "demo" || models[0].Dimensions != int32(len(vector[0])) || models[0].Context == 0 || !slices.Contains(models[0].Tasks, "imagesearch") {
		t.Errorf("models are %v, %v", models, err)
	}

	for _, x := range []struct {
		name  string
		err   error
		want  error
		code  codes.Code
		field string
	}{
		{"no picture to classify", second(c.ImageClassification("").ClassifyImages(ctx, imageclassification.Request{Images: [][]byte{files[0], nil}, Labels: []string{"a red circle", "a blue square"}, Templates: []string{"{}"}})), imageclassification.ErrImage, codes.InvalidArgument, "images[1]"},
		{"one label", second(c.ImageClassification("").ClassifyImages(ctx, imageclassification.Request{Images: files, Labels: []string{"a red circle"}})), imageclassification.ErrRequest, codes.InvalidArgument, ""},
		{"no classifier", second(c.ImageClassification("").ClassifyImages(ctx, imageclassification.Request{Images: files})), engine.ErrTask, codes.FailedPrecondition, ""},
		{"text to compare", second(c.ImageTextSimilarity("").CompareImagesTexts(ctx, imagetextsimilarity.Request{Images: files, Texts: []string{"a red circle", "zebra"}})), imagetextsimilarity.ErrText, codes.InvalidArgument, "texts[1]"},
		{"empty query", second(c.ImageSearch("").FindImages(ctx, imagesearch.Request{})), imagesearch.ErrRequest, codes.InvalidArgument, ""},
		{"no index", second(c.ImageSearch("llava").FindImages(ctx, imagesearch.Request{Query: []imagesearch.Part{{Vector: vector[0]}}})), engine.ErrTask, codes.FailedPrecondition, ""},
		{"no projector", second(c.VisualTokens("").Tokens(ctx, files[0])), engine.ErrTask, codes.FailedPrecondition, ""},
		{"no size", second(c.VisualTokens("llava").Count(0, 5)), clip.ErrRequest, codes.InvalidArgument, ""},
		{"no method", second(c.Explain(ctx, &vitagov1.ExplainImageRequest{Image: files[0], Captions: []string{"a red circle"}, Method: "x"})), clip.ErrRequest, codes.InvalidArgument, ""},
		{"no text tower", second(c.TextEncoding("vision").Encode(ctx, "a red circle", 0)), clip.ErrNoText, codes.FailedPrecondition, ""},
	} {
		var e *client.Error
		if !errors.Is(x.err, x.want) || !errors.As(x.err, &e) || e.Code != x.code || e.Field != x.field {
			t.Errorf("%s: got %v (%+v), want %v, %v, field %q", x.name, x.err, e, x.want, x.code, x.field)
		}
	}
}

func second[T any](_ T, err error) error { return err }
