package client

import (
	"context"
	"errors"
	"io"
	"iter"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/server/api"
	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/status"
)

// StreamOptions say how pictures become vectors. The zero value gives embeddings as they are.
type StreamOptions struct {
	Features   clipvit.Features // what of the tower is taken; the zero value is the embedding
	Normalize  bool             // every vector is divided by its length
	Dimensions int              // the first so many values, of length 1 again; 0 is all
	Preprocess clipvit.Choice   // in the place of the model's
	SkipErrors bool             // a picture that cannot be read is an Encoded with Err; otherwise it ends the stream
}

// Encoded is a picture of a stream.
type Encoded struct {
	Index       int       // in the stream, from 0
	Vector      []float32 // [E], or [T,C] one row after the other
	Shape       []int     // [E] or [T,C]
	Fingerprint string    // of the space
	Err         error     // why it has no vector, an [Error], if errors are skipped
}

// EncodeImageStream encodes pictures, given as contents of files, by a model as they come, and gives their vectors in their order. Neither
// side holds more than a few, however many there are. An error is the last that it gives. When the caller stops, it waits until images
// returns or gives its next.
func (c *Client) EncodeImageStream(ctx context.Context, model string, o StreamOptions, images iter.Seq[[]byte]) iter.Seq2[Encoded, error] {
	return func(yield func(Encoded, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := vitagov1.NewImageEncodingServiceClient(c.conn).EncodeImageStream(ctx)
		if err != nil {
			yield(Encoded{}, restore(err))
			return
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			err := stream.Send(&vitagov1.EncodeImageStreamRequest{Settings: &vitagov1.EncodeImageStreamRequest_Settings{
				Model: model, Normalize: o.Normalize, Dimensions: int32(o.Dimensions), SkipErrors: o.SkipErrors,
				Features:   &vitagov1.Features{Kind: string(o.Features.Kind), Layer: int32(o.Features.Layer)},
				Preprocess: &vitagov1.Preprocess{Preset: o.Preprocess.Preset, Fit: string(o.Preprocess.Fit), Exif: o.Preprocess.EXIF},
			}})
			if err != nil {
				return // what was wrong is received
			}
			for image := range images {
				if image == nil {
					image = []byte{} // none is no picture, as an empty one
				}
				if stream.Send(&vitagov1.EncodeImageStreamRequest{Image: image}) != nil {
					return
				}
			}
			_ = stream.CloseSend() // is never an error
		}()
		defer func() { cancel(); <-sent }()
		var shape []int
		var fingerprint string
		for {
			answer, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Encoded{}, restore(err))
				return
			}
			if answer.Shape != nil {
				shape = shape[:0:0]
				for _, n := range answer.Shape {
					shape = append(shape, int(n))
				}
				fingerprint = answer.Fingerprint
			}
			one := Encoded{Index: int(answer.Index), Vector: answer.Vector.GetValues(), Shape: shape, Fingerprint: fingerprint}
			if p := answer.Problem; p != nil {
				s := grpcstatus.New(codes.Code(p.Code), p.Message)
				e := &Error{Code: s.Code(), Message: s.Message(), status: s}
				if kind := status.Errors(api.Word(p.Reason)); kind != nil {
					e.kinds = []error{kind}
				}
				one.Err = e
			}
			if !yield(one, nil) {
				return
			}
		}
	}
}
