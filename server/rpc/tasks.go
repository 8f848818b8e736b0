package rpc

import (
	"bytes"
	"context"
	"image/png"

	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/search"
	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/tasks/imagesearch"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
	"github.com/vitago/vitago/zeroshot"
)

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

// classes answers for [vitagov1.ImageClassificationService].
type classes struct {
	vitagov1.UnimplementedImageClassificationServiceServer
	Options
}

// ClassifyImages classifies pictures.
func (s classes) ClassifyImages(ctx context.Context, r *vitagov1.ClassifyImagesRequest) (*vitagov1.ClassifyImagesResponse, error) {
	all, err := s.Engine.Classify(ctx, r.Model, imageclassification.Request{
		Images: r.Images, Labels: r.Labels, Templates: r.Templates, Multi: r.Multi, Bias: r.Bias, Negatives: r.Negatives, TopK: int(r.TopK),
		Prompts: each(r.Prompts, func(p *vitagov1.ClassifyImagesRequest_Prompt) zeroshot.Label {
			return zeroshot.Label{Name: p.GetName(), Prompts: p.GetPrompts()}
		}),
		Threshold: zeroshot.Threshold{Probability: r.Threshold.GetProbability(), Cosine: r.Threshold.GetCosine(), Each: r.Threshold.GetEach()},
	})
	if err != nil {
		return nil, s.fail(ctx, ofField("images", err))
	}
	answer := &vitagov1.ClassifyImagesResponse{Pictures: make([]*vitagov1.ClassifyImagesResponse_Picture, len(all))}
	for i, one := range all {
		p := &vitagov1.ClassifyImagesResponse_Picture{Accepted: one.Accepted}
		for _, l := range one.Labels {
			p.Labels = append(p.Labels, &vitagov1.ClassifyImagesResponse_Label{Label: l.Name, Probability: l.Probability, Cosine: l.Cosine})
		}
		answer.Pictures[i] = p
	}
	return answer, nil
}

// similarities answers for [vitagov1.ImageTextSimilarityService].
type similarities struct {
	vitagov1.UnimplementedImageTextSimilarityServiceServer
	Options
}

// CompareImagesTexts compares pictures with texts.
func (s similarities) CompareImagesTexts(ctx context.Context, r *vitagov1.CompareImagesTextsRequest) (*vitagov1.CompareImagesTextsResponse, error) {
	c, err := s.Engine.Compare(ctx, r.Model, imagetextsimilarity.Request{Images: r.Images, Texts: r.Texts})
	if err != nil {
		return nil, s.fail(ctx, ofFields("images", len(r.Images), "texts", err))
	}
	answer := &vitagov1.CompareImagesTextsResponse{Scale: c.Scale, Pictures: make([]*vitagov1.CompareImagesTextsResponse_Row, len(c.Cosines))}
	for i := range c.Cosines {
		answer.Pictures[i] = &vitagov1.CompareImagesTextsResponse_Row{Cosines: c.Cosines[i], Probabilities: c.Probabilities[i]}
	}
	return answer, nil
}

// finds answers for [vitagov1.ImageSearchService].
type finds struct {
	vitagov1.UnimplementedImageSearchServiceServer
	Options
}

// FindImages searches the index of a model.
func (s finds) FindImages(ctx context.Context, r *vitagov1.FindImagesRequest) (*vitagov1.FindImagesResponse, error) {
	found, err := s.Engine.Search(ctx, r.Model, imagesearch.Request{
		TopK: int(r.TopK), Least: r.Least, Vectors: r.Vectors,
		Query: each(r.Query, func(p *vitagov1.FindImagesRequest_Part) imagesearch.Part {
			return imagesearch.Part{Text: p.GetText(), Image: p.GetImage(), Vector: p.GetVector(), Weight: p.GetWeight()}
		}),
		Filter: search.Filter{Paths: r.Filter.GetPaths(), Exclude: r.Filter.GetExclude(),
			Where: each(r.Filter.GetWhere(), func(c *vitagov1.FindImagesRequest_Condition) search.Condition {
				return search.Condition{Column: c.GetColumn(), Op: c.GetOp(), Value: c.GetValue()}
			})},
	})
	if err != nil {
		return nil, s.fail(ctx, ofField("query", err))
	}
	return &vitagov1.FindImagesResponse{Fingerprint: found.Fingerprint, Hits: each(found.Hits, func(h imagesearch.Hit) *vitagov1.FindImagesResponse_Hit {
		return &vitagov1.FindImagesResponse_Hit{
			Path: h.Path, Caption: h.Caption, Width: int32(h.Width), Height: int32(h.Height), Sha256: h.SHA256.String(), Size: h.Size,
			Modified: h.Modified, Columns: h.Columns, Score: h.Score, Vector: h.Vector,
		}
	})}, nil
}

// tokens answers for [vitagov1.VisualTokensService].
type tokens struct {
	vitagov1.UnimplementedVisualTokensServiceServer
	Options
}

// EncodeTokens returns the tokens of a picture.
func (s tokens) EncodeTokens(ctx context.Context, r *vitagov1.EncodeTokensRequest) (*vitagov1.EncodeTokensResponse, error) {
	t, err := s.Engine.Tokens(ctx, r.Model, r.Image)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &vitagov1.EncodeTokensResponse{
		Tokens: t.Tokens.Data().F32(), Shape: integers(t.Tokens.Shape()), Rows: int32(t.Rows), Cols: int32(t.Cols),
	}, nil
}

// CountTokens returns how many tokens a picture has.
func (s tokens) CountTokens(ctx context.Context, r *vitagov1.CountTokensRequest) (*vitagov1.CountTokensResponse, error) {
	n, err := s.Engine.TokenCount(ctx, r.Model, int(r.Width), int(r.Height))
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &vitagov1.CountTokensResponse{Tokens: int32(n)}, nil
}

// explanations answers for [vitagov1.ExplanationService].
type explanations struct {
	vitagov1.UnimplementedExplanationServiceServer
	Options
}

// maxOverlays bounds the pixels of the overlays of an answer: a file of a few kilobytes may have a hundred million, and each caption has
// an overlay of as many.
const maxOverlays = 1 << 25

// ExplainImage makes maps of a picture.
func (s explanations) ExplainImage(ctx context.Context, r *vitagov1.ExplainImageRequest) (*vitagov1.ExplainImageResponse, error) {
	maps, err := s.Engine.Explain(ctx, r.Model, r.Image, r.Captions, explain.Options{Method: explain.Method(r.Method), Blocks: int(r.Blocks)})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	answer := &vitagov1.ExplainImageResponse{}
	if b := maps[0].Image.Bounds(); r.Overlay && len(maps)*b.Dx()*b.Dy() > maxOverlays {
		return nil, s.fail(ctx, invalid("got %d overlays of %dx%d pixels, want at most %d pixels together: make the picture smaller, or ask for fewer captions",
			len(maps), b.Dx(), b.Dy(), maxOverlays))
	}
	for i, m := range maps {
		if i == 0 {
			b, w := m.Image.Bounds(), m.Window
			answer.Width, answer.Height = int32(b.Dx()), int32(b.Dy())
			answer.Window = &vitagov1.ExplainImageResponse_Window{Left: w.Left, Top: w.Top, Right: w.Right, Bottom: w.Bottom}
		}
		peak := m.Peak()
		one := &vitagov1.ExplainImageResponse_Map{
			Caption: m.Caption, Method: string(m.Method), Blocks: int32(m.Blocks), Grid: int32(m.Grid), Values: m.Values, Score: m.Score,
			Peak: &vitagov1.ExplainImageResponse_Point{X: peak.X, Y: peak.Y},
			Tokens: each(m.Tokens, func(t explain.Token) *vitagov1.ExplainImageResponse_Token {
				return &vitagov1.ExplainImageResponse_Token{Text: t.Text, Share: t.Share}
			}),
		}
		if r.Overlay {
			if err := ctx.Err(); err != nil {
				return nil, s.fail(ctx, err)
			}
			var file bytes.Buffer
			if err := png.Encode(&file, m.Overlay()); err != nil {
				return nil, s.fail(ctx, err)
			}
			one.Overlay = file.Bytes()
		}
		answer.Maps = append(answer.Maps, one)
	}
	return answer, nil
}

// models answers for [vitagov1.ModelsService].
type models struct {
	vitagov1.UnimplementedModelsServiceServer
	Options
}

// ListModels lists the models.
func (s models) ListModels(context.Context, *vitagov1.ListModelsRequest) (*vitagov1.ListModelsResponse, error) {
	answer := &vitagov1.ListModelsResponse{}
	for _, m := range s.Engine.Models() {
		answer.Models = append(answer.Models, &vitagov1.ListModelsResponse_Model{
			Name: m.Name, Aliases: m.Aliases, Loaded: m.Loaded, Dimensions: int32(m.Dim), ImageSize: int32(m.ImageSize), Context: int32(m.Context), Tasks: m.Tasks,
		})
	}
	return answer, nil
}
