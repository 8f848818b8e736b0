package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"

	"code.dny.dev/ssrf"
)

// The kinds of errors, beside those of package clip.
var (
	// ErrRefused means that a URL is none, or one that may not be fetched. It is the fault of who sent it.
	ErrRefused = errors.New("URL not permitted")
	// ErrFailed means that a host did not answer, or answered with something else than a file.
	ErrFailed = errors.New("fetching failed")
	// ErrTimeout means that a picture did not come in time.
	ErrTimeout = errors.New("fetching took too long")
)

// errSlow is why a context ended whose time [Config.Time] limits.
var errSlow = errors.New("out of time")

// A failure is an error of a kind. Its text is whole, and fit for whoever sent the URL; its cause is for logs.
type failure struct {
	kind  error
	text  string
	cause error // may be nil
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error {
	if f.cause == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.cause}
}

// failed returns an error of a kind.
func failed(kind, cause error, format string, args ...any) error {
	return &failure{kind, "fetch: " + fmt.Sprintf(format, args...), cause}
}

// refused returns an [ErrRefused].
func refused(cause error, format string, args ...any) error {
	return failed(ErrRefused, cause, format, args...)
}

// because returns an error of a kind for what went wrong with a host, while ctx was the caller's and own the one with our limit.
func (f *Fetcher) because(ctx, own context.Context, host string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("fetch: %s: %w", host, context.Cause(ctx))
	}
	if errors.Is(context.Cause(own), errSlow) {
		return failed(ErrTimeout, nil, "the picture of %s did not come within %v", host, f.config.Time)
	}
	var already *failure
	if errors.As(err, &already) {
		return already
	}
	var dns *net.DNSError
	switch {
	// Both are one error, or names could be tried out that only the server's own network has.
	case errors.Is(err, ssrf.ErrProhibitedIP), errors.As(err, &dns) && dns.IsNotFound:
		return refused(err, "%s has no address that is permitted", host)
	case errors.As(err, &dns):
		return failed(ErrFailed, err, "%s could not be looked up", host)
	}
	return failed(ErrFailed, err, "%s did not send a whole answer", host)
}
