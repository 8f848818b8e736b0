package job

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/history"
)

// A ResumeError says in which fields a [Request] differs from the run that it is to go on with. It wraps
// [finetune.ErrOtherRun].
type ResumeError struct {
	other *history.OtherRunError
	wrong RequestError // a sentence for each field
}

// Error says it in the fields' names in JSON.
func (e *ResumeError) Error() string {
	return "job: " + e.Named(func(field string) string { return field })
}

// Named says it by other names of the fields, as [RequestError.Named].
func (e *ResumeError) Named(name func(field string) string) string {
	return e.other.Checkpoint + " is " + finetune.ErrOtherRun.Error() + ": " + e.wrong.Named(name)
}

// Unwrap returns the error of package finetune.
func (e *ResumeError) Unwrap() error { return e.other }

// settingFields are the fields of a [Request] that decide about a setting of [history.Difference], where the name does not
// tell, with the braces between two: it is "recipe: Epochs" of a field of [Overrides].
var settingFields = map[string]string{
	"weights of the tower": "model", "weights of the head at first": "init_head", "recipe": "recipe", "recipe: Tower": "lock} or {fix_vit", "recipe: Captions": "captions", "seed": "seed",
	"augmentation: Area": "augment.crop", "augmentation: Flip": "augment.flip", "augmentation: Brightness": "augment.colour",
	"augmentation: Contrast": "augment.colour", "augmentation: Saturation": "augment.colour",
	"pictures of a batch":       "overrides.batch",
	"pictures, or their labels": "data} or {split", "preprocessing: Fit": "fit", "preprocessing: EXIF": "exif",
}

// inFields says an error of package finetune in the fields of a request, if it is that of another run.
func inFields(err error) error {
	other := (*history.OtherRunError)(nil)
	if !errors.As(err, &other) {
		return err
	}
	e := &ResumeError{other: other}
	var said []string
	for _, d := range other.Differences {
		field, ok := settingFields[d.Setting]
		if name, of := strings.CutPrefix(d.Setting, "recipe: "); !ok && of {
			if f, is := reflect.TypeFor[Overrides]().FieldByName(name); is {
				tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				field, ok = "overrides."+tag, true
			}
		}
		was, now := d.Was, d.Now
		what := d.Setting + ": "
		switch {
		case ok && field == "augment.crop": // [least 1], of which the least was asked for
			was, now = least(was), least(now)
			what = "{" + field + "}: "
		case ok && field == "augment.colour":
			was, now = strength(was), strength(now)
			what = "{" + field + "}: "
		case ok && field == "model":
			what = "{" + field + "}: " + d.Setting + " "
		case ok:
			what = "{" + field + "}: "
		}
		if ok && slices.Contains(said, field) { // of several settings
			continue
		}
		said = append(said, field)
		e.wrong.wrong = append(e.wrong.wrong, wrong{what + "%s, now %s", []any{was, now}})
	}
	return e
}

// least returns the smaller end of a range as it is written, [0.5 1].
func least(text string) string {
	from, _, _ := strings.Cut(strings.Trim(text, "[]"), " ")
	return from
}

// strength returns a number, of which nothing is 0.
func strength(text string) string {
	if text == "none" {
		return "0"
	}
	return text
}
