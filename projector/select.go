package projector

import "github.com/vitago/vitago/clipvit"

// selectFeatures are LLaVA's words for the tokens of a layer that are projected.
//
// Source: haotian-liu/LLaVA, llava/model/multimodal_encoder/clip_encoder.py, CLIPVisionTower.feature_select.
var selectFeatures = map[clipvit.FeatureKind]string{
	clipvit.Patches:   "patch",
	clipvit.AllTokens: "cls_patch",
}

// SelectFeature returns LLaVA's word for the tokens of a layer that are projected, as in config.json's
// mm_vision_select_feature: "patch", or "cls_patch" with the class token. There is none for other kinds.
func SelectFeature(k clipvit.FeatureKind) string { return selectFeatures[k] }

// ParseSelectFeature returns what LLaVA's word stands for, and whether it is one.
func ParseSelectFeature(word string) (clipvit.FeatureKind, bool) {
	for k, w := range selectFeatures {
		if w == word {
			return k, true
		}
	}
	return "", false
}
