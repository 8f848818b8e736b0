package tasks

import (
	cybertron "github.com/nlpodyssey/cybertron/pkg/tasks"
	"github.com/nlpodyssey/cybertron/pkg/tasks/languagemodeling"
	"github.com/nlpodyssey/cybertron/pkg/tasks/questionanswering"
	"github.com/nlpodyssey/cybertron/pkg/tasks/textclassification"
	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"
	"github.com/nlpodyssey/cybertron/pkg/tasks/textgeneration"
	"github.com/nlpodyssey/cybertron/pkg/tasks/tokenclassification"
	"github.com/nlpodyssey/cybertron/pkg/tasks/zeroshotclassifier"
)

// What follows are the other names of cybertron's package, so that a program of it needs no more than another import. Each of the
// functions that load is [Load] of its task.

// LoadModelForQuestionAnswering is Load[questionanswering.Interface].
func LoadModelForQuestionAnswering(conf *Config) (questionanswering.Interface, error) {
	return Load[questionanswering.Interface](conf)
}

// LoadModelForTextClassification is Load[textclassification.Interface].
func LoadModelForTextClassification(conf *Config) (textclassification.Interface, error) {
	return Load[textclassification.Interface](conf)
}

// LoadModelForTextEncoding is Load[textencoding.Interface].
func LoadModelForTextEncoding(conf *Config) (textencoding.Interface, error) {
	return Load[textencoding.Interface](conf)
}

// LoadModelForTextGeneration is Load[textgeneration.Interface].
func LoadModelForTextGeneration(conf *Config) (textgeneration.Interface, error) {
	return Load[textgeneration.Interface](conf)
}

// LoadModelForTokenClassification is Load[tokenclassification.Interface].
func LoadModelForTokenClassification(conf *Config) (tokenclassification.Interface, error) {
	return Load[tokenclassification.Interface](conf)
}

// LoadModelForZeroShotTextClassification is Load[zeroshotclassifier.Interface].
func LoadModelForZeroShotTextClassification(conf *Config) (zeroshotclassifier.Interface, error) {
	return Load[zeroshotclassifier.Interface](conf)
}

// LoadModelLanguageModeling is Load[languagemodeling.Interface].
func LoadModelLanguageModeling(conf *Config) (languagemodeling.Interface, error) {
	return Load[languagemodeling.Interface](conf)
}

// ParseDownloadPolicy is cybertron's.
func ParseDownloadPolicy(s string) (DownloadPolicy, error) { return cybertron.ParseDownloadPolicy(s) }

// ParseConversionPolicy is cybertron's.
func ParseConversionPolicy(s string) (ConversionPolicy, error) {
	return cybertron.ParseConversionPolicy(s)
}

// ParseFloatPrecision is cybertron's.
func ParseFloatPrecision(s string) (FloatPrecision, error) { return cybertron.ParseFloatPrecision(s) }
