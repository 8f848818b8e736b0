package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/server/api"
	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/status"
)

// invalid returns a [clip.ErrRequest].
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", clip.ErrRequest, fmt.Sprintf(format, args...))
}

// images answers for [vitagov1.ImageEncodingService].
type images struct {
	vitagov1.UnimplementedImageEncodingServiceServer
	Options
}

// EncodeImages encodes pictures together.
func (s images) EncodeImages(ctx context.Context, r *vitagov1.EncodeImagesRequest) (*vitagov1.EncodeImagesResponse, error) {
	e, err := s.embed(ctx, settings(r), r.Images)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &vitagov1.EncodeImagesResponse{
		Model: e.Model, Vectors: vectors(e.Vectors), Shape: integers(e.Shape), Fingerprint: e.Fingerprint, Sizes: sizes(e.Sizes), Kind: string(e.Kind),
	}, nil
}

// asked is what a request for vectors of pictures says, whichever message it is in.
type asked interface {
	GetModel() string
	GetFeatures() *vitagov1.Features
	GetNormalize() bool
	GetDimensions() int32
	GetPreprocess() *vitagov1.Preprocess
}

// settings returns the request of an engine that has no items yet.
func settings(r asked) engine.EmbedRequest {
	return engine.EmbedRequest{
		Model: r.GetModel(), Normalize: r.GetNormalize(), Dimensions: int(r.GetDimensions()),
		Features:   clipvit.Features{Kind: clipvit.FeatureKind(r.GetFeatures().GetKind()), Layer: int(r.GetFeatures().GetLayer())},
		Preprocess: clipvit.Choice{Preset: r.GetPreprocess().GetPreset(), Fit: clipvit.Fit(r.GetPreprocess().GetFit()), EXIF: r.GetPreprocess().GetExif()},
	}
}

// embed encodes pictures by an engine. An error of one says which it is.
func (o Options) embed(ctx context.Context, r engine.EmbedRequest, files [][]byte) (*engine.Embeddings, error) {
	if len(files) == 0 {
		return nil, invalid("got no images, want at least 1")
	}
	r.Items = make([]engine.Item, len(files))
	for i, file := range files {
		if file == nil {
			file = []byte{} // nil is a text
		}
		r.Items[i].Image = file
	}
	e, err := o.Engine.Embed(ctx, r)
	return e, ofField("images", err)
}

func vectors(all [][]float32) []*vitagov1.Vector {
	v := make([]*vitagov1.Vector, len(all))
	for i, values := range all {
		v[i] = &vitagov1.Vector{Values: values}
	}
	return v
}

func integers(all []int) []int32 {
	v := make([]int32, len(all))
	for i, n := range all {
		v[i] = int32(n)
	}
	return v
}

func sizes(all []engine.Size) []*vitagov1.ImageSize {
	v := make([]*vitagov1.ImageSize, len(all))
	for i, s := range all {
		v[i] = &vitagov1.ImageSize{Width: int32(s.Width), Height: int32(s.Height), Format: s.Format}
	}
	return v
}

// streamAhead is how many pictures of a stream are in the queue at a time: enough to fill a batch.
const streamAhead = 32

// EncodeImageStream encodes pictures as they come. Each is a request of its own to the engine, which puts them together.
func (s images) EncodeImageStream(stream grpc.BidiStreamingServer[vitagov1.EncodeImageStreamRequest, vitagov1.EncodeImageStreamResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	type result struct {
		e   *engine.Embeddings
		err error
	}
	var (
		with    *vitagov1.EncodeImageStreamRequest_Settings
		ready   = make(chan struct{}) // with is known
		results = make(chan chan result, streamAhead)
		ended   error // of the receiver, once results is closed
	)
	go func() {
		defer close(results)
		for n := 0; ; n++ {
			r, err := stream.Recv()
			if err == nil && n > 0 && r.Settings != nil {
				err = invalid("message %d has settings, which only the first may have", n+1)
			}
			if n == 0 {
				with = r.GetSettings()
				close(ready)
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					ended = err
				}
				return
			}
			if r.Image == nil && r.Settings != nil {
				continue
			}
			leave, err := s.Engine.ReserveBytes(ctx, int64(len(r.Image)), true)
			if err != nil {
				ended = err
				return
			}
			one := make(chan result, 1)
			select {
			case results <- one:
			case <-ctx.Done():
				leave()
				ended = ctx.Err()
				return
			}
			go func() {
				defer leave()
				q := settings(with)
				q.Wait = true // the stream does, while it has no room
				e, err := s.embed(ctx, q, [][]byte{r.Image})
				one <- result{e, err}
			}()
		}
	}()
	<-ready
	index, first := int64(-1), true
	for one := range results {
		var got result
		select {
		case got = <-one:
		case <-ctx.Done():
			return s.fail(ctx, ctx.Err())
		}
		index++
		answer := &vitagov1.EncodeImageStreamResponse{Index: index}
		var item *itemError
		switch {
		case got.err == nil:
			answer.Vector, answer.Size = vectors(got.e.Vectors)[0], sizes(got.e.Sizes)[0]
			if first {
				answer.Model, answer.Shape, answer.Fingerprint, answer.Kind = got.e.Model, integers(got.e.Shape), got.e.Fingerprint, string(got.e.Kind)
				first = false
			}
		case errors.As(got.err, &item) && with.GetSkipErrors():
			k := status.Of(item.error)
			answer.Problem = &vitagov1.EncodeImageStreamResponse_Problem{Code: int32(k.Code), Reason: api.Reason(k.Word), Message: status.Message(item.error)}
		case errors.As(got.err, &item):
			return s.fail(ctx, &itemError{fmt.Sprintf("images[%d]", index), item.error})
		default:
			return s.fail(ctx, got.err)
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
	return s.fail(ctx, ended)
}

// texts answers for [vitagov1.TextEncodingService].
type texts struct {
	vitagov1.UnimplementedTextEncodingServiceServer
	Options
}

// EncodeTexts encodes texts together.
func (s texts) EncodeTexts(ctx context.Context, r *vitagov1.EncodeTextsRequest) (*vitagov1.EncodeTextsResponse, error) {
	e, err := s.embedTexts(ctx, engine.EmbedRequest{Model: r.Model, Normalize: r.Normalize, Dimensions: int(r.Dimensions), Truncate: r.Truncate}, r.Texts)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &vitagov1.EncodeTextsResponse{Model: e.Model, Vectors: vectors(e.Vectors), Tokens: integers(e.Tokens), Fingerprint: e.Fingerprint}, nil
}

// embedTexts encodes texts by an engine. An error of one says which it is.
func (o Options) embedTexts(ctx context.Context, r engine.EmbedRequest, all []string) (*engine.Embeddings, error) {
	if len(all) == 0 {
		return nil, invalid("got no texts, want at least 1")
	}
	r.Items = make([]engine.Item, len(all))
	for i, text := range all {
		r.Items[i].Text = text
	}
	e, err := o.Engine.Embed(ctx, r)
	return e, ofField("texts", err)
}
