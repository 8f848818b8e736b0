package client

import (
	"context"
	"fmt"

	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/search"
	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/tasks/imageencoding"
	"github.com/vitago/vitago/tasks/imagesearch"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
	"github.com/vitago/vitago/tasks/visualtokens"
	"github.com/vitago/vitago/zeroshot"
)

// wrong returns the error of an answer that does not fit its request.
func wrong(format string, args ...any) error {
	return fmt.Errorf("client: the server's answer: %s", fmt.Sprintf(format, args...))
}

// each returns what f makes of all elements, nil of none.
func each[T, U any](all []T, f func(T) U) []U {
	if all == nil {
		return nil
	}
	made := make([]U, len(all))
	for i, v := range all {
		made[i] = f(v)
	}
	return made
}

// matrix returns values as a matrix of a shape, [E,1] of [E].
func matrix(values []float32, shape []int32) (mat.Matrix, error) {
	n := 1
	sides := make([]int, len(shape))
	for i, s := range shape {
		if s < 1 || int(s) > len(values) {
			return nil, wrong("%d values of shape %v", len(values), shape)
		}
		sides[i] = int(s)
		n *= sides[i]
	}
	if n != len(values) || len(sides) < 1 || len(sides) > 2 {
		return nil, wrong("%d values of shape %v", len(values), shape)
	}
	if len(sides) == 1 {
		sides = append(sides, 1)
	}
	return mat.NewDense[float32](mat.WithShape(sides...), mat.WithBacking(values)), nil
}

// ImageEncoding returns the encoder of a model, "" being the server's first.
func (c *Client) ImageEncoding(model string) imageencoding.Interface {
	return imageEncoding{vitagov1.NewImageEncodingServiceClient(c.conn), model}
}

type imageEncoding struct {
	service vitagov1.ImageEncodingServiceClient
	model   string
}

// EncodeImage implements [imageencoding.Interface].
func (c imageEncoding) EncodeImage(ctx context.Context, image []byte) (imageencoding.Response, error) {
	all, err := c.EncodeImages(ctx, imageencoding.Request{Images: [][]byte{image}})
	if err != nil {
		return imageencoding.Response{}, err
	}
	return all[0], nil
}

// EncodeImages implements [imageencoding.Interface].
func (c imageEncoding) EncodeImages(ctx context.Context, r imageencoding.Request) ([]imageencoding.Response, error) {
	answer, err := c.service.EncodeImages(ctx, &vitagov1.EncodeImagesRequest{
		Model: c.model, Images: r.Images, Normalize: r.Normalize, Features: &vitagov1.Features{Kind: string(r.Features.Kind), Layer: int32(r.Features.Layer)},
	})
	if err != nil {
		return nil, restore(err)
	}
	if got, want := len(answer.Vectors), len(r.Images); got != want {
		return nil, wrong("%d vectors for %d images", got, want)
	}
	all := make([]imageencoding.Response, len(answer.Vectors))
	for i, v := range answer.Vectors {
		m, err := matrix(v.GetValues(), answer.Shape)
		if err != nil {
			return nil, err
		}
		all[i] = imageencoding.Response{Vector: m, Kind: clipvit.FeatureKind(answer.Kind)}
	}
	return all, nil
}

// TextEncoding returns the encoder of a model's texts, "" being the server's first.
func (c *Client) TextEncoding(model string) textencoding.Interface {
	return textEncoding{vitagov1.NewTextEncodingServiceClient(c.conn), model}
}

type textEncoding struct {
	service vitagov1.TextEncodingServiceClient
	model   string
}

// Encode implements cybertron's [textencoding.Interface]. Pooling has to be 0, as of package textencoding/clip.
func (c textEncoding) Encode(ctx context.Context, text string, poolingStrategy int) (textencoding.Response, error) {
	if poolingStrategy != 0 {
		return textencoding.Response{}, fmt.Errorf("client: pooling strategy is %d, want 0: CLIP's tower has no other: %w", poolingStrategy, clip.ErrRequest)
	}
	answer, err := c.service.EncodeTexts(ctx, &vitagov1.EncodeTextsRequest{Model: c.model, Texts: []string{text}})
	if err != nil {
		return textencoding.Response{}, restore(err)
	}
	if len(answer.Vectors) != 1 || len(answer.Vectors[0].GetValues()) == 0 {
		return textencoding.Response{}, wrong("%d vectors for 1 text", len(answer.Vectors))
	}
	return textencoding.Response{Vector: mat.NewDense[float32](mat.WithBacking(answer.Vectors[0].Values))}, nil
}

// ImageClassification returns the classifier of a model, "" being the server's first.
func (c *Client) ImageClassification(model string) imageclassification.Interface {
	return imageClassification{vitagov1.NewImageClassificationServiceClient(c.conn), model}
}

type imageClassification struct {
	service vitagov1.ImageClassificationServiceClient
	model   string
}

// ClassifyImages implements [imageclassification.Interface].
func (c imageClassification) ClassifyImages(ctx context.Context, r imageclassification.Request) ([]imageclassification.Response, error) {
	answer, err := c.service.ClassifyImages(ctx, &vitagov1.ClassifyImagesRequest{
		Model: c.model, Images: r.Images, Labels: r.Labels, Templates: r.Templates, Multi: r.Multi, Bias: r.Bias, Negatives: r.Negatives, TopK: int32(r.TopK),
		Prompts: each(r.Prompts, func(l zeroshot.Label) *vitagov1.ClassifyImagesRequest_Prompt {
			return &vitagov1.ClassifyImagesRequest_Prompt{Name: l.Name, Prompts: l.Prompts}
		}),
		Threshold: &vitagov1.ClassifyImagesRequest_Threshold{Probability: r.Threshold.Probability, Cosine: r.Threshold.Cosine, Each: r.Threshold.Each},
	})
	if err != nil {
		return nil, restore(err)
	}
	if got, want := len(answer.Pictures), len(r.Images); got != want {
		return nil, wrong("labels of %d pictures for %d", got, want)
	}
	return each(answer.Pictures, func(p *vitagov1.ClassifyImagesResponse_Picture) imageclassification.Response {
		one := imageclassification.Response{Accepted: p.GetAccepted(), Labels: each(p.GetLabels(), func(l *vitagov1.ClassifyImagesResponse_Label) clip.Label {
			return clip.Label{Name: l.GetLabel(), Probability: l.GetProbability(), Cosine: l.GetCosine()}
		})}
		if one.Accepted == nil && r.Threshold != (zeroshot.Threshold{}) {
			one.Accepted = []string{} // none, where nil is without a threshold
		}
		return one
	}), nil
}

// ImageTextSimilarity returns what compares pictures with texts by a model, "" being the server's first.
func (c *Client) ImageTextSimilarity(model string) imagetextsimilarity.Interface {
	return imageTextSimilarity{vitagov1.NewImageTextSimilarityServiceClient(c.conn), model}
}

type imageTextSimilarity struct {
	service vitagov1.ImageTextSimilarityServiceClient
	model   string
}

// CompareImagesTexts implements [imagetextsimilarity.Interface].
func (c imageTextSimilarity) CompareImagesTexts(ctx context.Context, r imagetextsimilarity.Request) (imagetextsimilarity.Response, error) {
	answer, err := c.service.CompareImagesTexts(ctx, &vitagov1.CompareImagesTextsRequest{Model: c.model, Images: r.Images, Texts: r.Texts})
	if err != nil {
		return imagetextsimilarity.Response{}, restore(err)
	}
	all := imagetextsimilarity.Response{Scale: answer.Scale}
	for _, row := range answer.Pictures {
		if len(row.GetCosines()) != len(r.Texts) || len(row.GetProbabilities()) != len(r.Texts) {
			return imagetextsimilarity.Response{}, wrong("%d cosines and %d probabilities for %d texts", len(row.GetCosines()), len(row.GetProbabilities()), len(r.Texts))
		}
		all.Cosines, all.Probabilities = append(all.Cosines, row.Cosines), append(all.Probabilities, row.Probabilities)
	}
	if got, want := len(all.Cosines), len(r.Images); got != want {
		return imagetextsimilarity.Response{}, wrong("similarities of %d pictures for %d", got, want)
	}
	return all, nil
}

// ImageSearch returns what finds pictures in the index of a model, "" being the server's first.
func (c *Client) ImageSearch(model string) imagesearch.Interface {
	return imageSearch{vitagov1.NewImageSearchServiceClient(c.conn), model}
}

type imageSearch struct {
	service vitagov1.ImageSearchServiceClient
	model   string
}

// FindImages implements [imagesearch.Interface].
func (c imageSearch) FindImages(ctx context.Context, r imagesearch.Request) (imagesearch.Response, error) {
	answer, err := c.service.FindImages(ctx, &vitagov1.FindImagesRequest{
		Model: c.model, TopK: int32(r.TopK), Least: r.Least, Vectors: r.Vectors,
		Query: each(r.Query, func(p imagesearch.Part) *vitagov1.FindImagesRequest_Part {
			return &vitagov1.FindImagesRequest_Part{Text: p.Text, Image: p.Image, Vector: p.Vector, Weight: p.Weight}
		}),
		Filter: &vitagov1.FindImagesRequest_Filter{Paths: r.Filter.Paths, Exclude: r.Filter.Exclude,
			Where: each(r.Filter.Where, func(c search.Condition) *vitagov1.FindImagesRequest_Condition {
				return &vitagov1.FindImagesRequest_Condition{Column: c.Column, Op: c.Op, Value: c.Value}
			})},
	})
	if err != nil {
		return imagesearch.Response{}, restore(err)
	}
	found := imagesearch.Response{Fingerprint: answer.Fingerprint, Hits: make([]imagesearch.Hit, len(answer.Hits))}
	for i, h := range answer.Hits {
		hit := imagesearch.Hit{Score: h.GetScore(), Vector: h.GetVector(), Record: search.Record{
			Path: h.GetPath(), Caption: h.GetCaption(), Width: int(h.GetWidth()), Height: int(h.GetHeight()), Size: h.GetSize(), Modified: h.GetModified(), Columns: h.GetColumns(),
		}}
		if err := hit.SHA256.UnmarshalText([]byte(h.GetSha256())); err != nil {
			return imagesearch.Response{}, wrong("sha256 of hit %d %v", i+1, err)
		}
		found.Hits[i] = hit
	}
	return found, nil
}

// VisualTokens returns what gives a language model its images by a model, "" being the server's first.
func (c *Client) VisualTokens(model string) visualtokens.Interface {
	return visualTokens{vitagov1.NewVisualTokensServiceClient(c.conn), model}
}

type visualTokens struct {
	service vitagov1.VisualTokensServiceClient
	model   string
}

// Tokens implements [visualtokens.Interface].
func (c visualTokens) Tokens(ctx context.Context, image []byte) (visualtokens.Response, error) {
	answer, err := c.service.EncodeTokens(ctx, &vitagov1.EncodeTokensRequest{Model: c.model, Image: image})
	if err != nil {
		return visualtokens.Response{}, restore(err)
	}
	m, err := matrix(answer.Tokens, answer.Shape)
	return visualtokens.Response{Tokens: m, Rows: int(answer.Rows), Cols: int(answer.Cols)}, err
}

// Count implements [visualtokens.Interface].
func (c visualTokens) Count(width, height int) (int, error) {
	answer, err := c.service.CountTokens(context.Background(), &vitagov1.CountTokensRequest{Model: c.model, Width: int32(width), Height: int32(height)})
	return int(answer.GetTokens()), restore(err)
}

// Explain returns where in a picture a model, "" being the server's first, looks for each caption; without captions where its class token
// takes its content from.
func (c *Client) Explain(ctx context.Context, r *vitagov1.ExplainImageRequest) (*vitagov1.ExplainImageResponse, error) {
	answer, err := vitagov1.NewExplanationServiceClient(c.conn).ExplainImage(ctx, r)
	return answer, restore(err)
}
