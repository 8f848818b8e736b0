package data

import "errors"

// What is wrong with data, for [errors.Is]. The errors that wrap these say where, and how often.
var (
	ErrEmpty      = errors.New("no pictures")
	ErrUnlabelled = errors.New("pictures without labels")
	ErrOneClass   = errors.New("want at least 2 classes")
	ErrParts      = errors.New("parts of a data set, not classes")              // folders called train, val and so on
	ErrClasses    = errors.New("other classes to validate on than to train on") // or labels in one of the two alone
	ErrFew        = errors.New("too few pictures of a class to split")
	ErrOutside    = errors.New("outside of the folder of data") // of [Within]
	// ErrSeparator is of a [Separator] that a source has no use for, or that it wants.
	ErrSeparator = errors.New("separator")
)

// A kinded error is one of those above, in other words.
type kinded struct {
	error
	kind error
}

// of makes err one of a kind. If it is nil, it stays that.
func of(kind, err error) error {
	if err == nil {
		return nil
	}
	return kinded{err, kind}
}

func (k kinded) Unwrap() []error { return []error{k.error, k.kind} }
