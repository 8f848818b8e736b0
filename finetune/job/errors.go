package job

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/vitago/vitago/clip"
)

// Why a run does not begin, for [errors.Is]. The errors that are one of these say what is wrong in words of their own.
var (
	// ErrRequest is of a request that makes no sense, whatever the model, the data and the machine. It is that of package clip.
	ErrRequest = clip.ErrRequest
	// ErrData is of data, a teacher or targets that are not there, or do not fit.
	ErrData = errors.New("not data to learn from")
	// ErrRefused is of a run that cannot begin here: the memory would not suffice, or the output holds something else.
	ErrRefused = errors.New("refused to begin")
	// ErrSource is of an output that holds what is learnt from.
	ErrSource = errors.New("holds what is learnt from")
	// ErrOverwrite is of an output that holds the model of another run.
	ErrOverwrite = errors.New("is there already")
)

// A kinded error is one of a kind, which its text does not repeat.
type kinded struct {
	error
	kind error
}

func (k kinded) Unwrap() []error { return []error{k.error, k.kind} }

// of makes err one of a kind. It stays nil, or of the kind that it is of.
func of(kind, err error) error {
	if err == nil || errors.Is(err, ErrRequest) || errors.Is(err, ErrData) || errors.Is(err, ErrRefused) {
		return err
	}
	return kinded{err, kind}
}

// ofData makes err an [ErrData], unless it may be that of ctx, which has ended.
func ofData(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return of(ErrData, err)
}

// A RequestError says what is wrong with fields of a [Request], by themselves or beside each other. It is an [ErrRequest].
type RequestError struct {
	wrong []wrong
}

// A wrong is a sentence, in whose format names of fields stand in braces.
type wrong struct {
	format string
	args   []any
}

// bad returns a *[RequestError] of one sentence.
func bad(format string, args ...any) error { return &RequestError{[]wrong{{format, args}}} }

// join returns a *[RequestError] of all sentences of errors that are such, or nil.
func join(errs ...error) error {
	all := &RequestError{}
	for _, err := range errs {
		if e := (*RequestError)(nil); errors.As(err, &e) {
			all.wrong = append(all.wrong, e.wrong...)
		}
	}
	if all.wrong == nil {
		return nil
	}
	return all
}

// Error says what is wrong, a line for each sentence, with the fields' names in JSON.
func (e *RequestError) Error() string {
	return "job: " + strings.Join(e.named(func(field string) string { return field }), "\njob: ")
}

// Is makes it an [ErrRequest].
func (e *RequestError) Is(target error) bool { return target == ErrRequest }

// Named says what is wrong with the fields by other names, such as those of flags: name gets max_steps, overrides.rate.
func (e *RequestError) Named(name func(field string) string) string {
	return strings.Join(e.named(name), "; ")
}

var field = regexp.MustCompile(`\{[a-z_.]+\}`)

func (e *RequestError) named(name func(field string) string) []string {
	var all []string
	for _, w := range e.wrong {
		format := field.ReplaceAllStringFunc(w.format, func(s string) string { return name(s[1 : len(s)-1]) })
		all = append(all, fmt.Sprintf(format, w.args...))
	}
	return all
}
