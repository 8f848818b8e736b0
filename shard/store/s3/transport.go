package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// watched gives a request up when no byte has come or gone for a time: the SDK would wait for ever.
type watched struct {
	next  aws.HTTPClient
	stall time.Duration
}

// stalledError is of a request that was given up.
type stalledError struct{ after time.Duration }

func (e stalledError) Error() string { return fmt.Sprintf("no byte came or went for %v", e.after) }
func (e stalledError) Timeout() bool { return true }

func (w *watched) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	stalled := stalledError{w.stall}
	timer := time.AfterFunc(w.stall, func() { cancel(stalled) })
	why := func(err error) error {
		if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(ctx), stalled) {
			return stalled
		}
		return err
	}
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &body{ReadCloser: r.Body, read: func(read func() (int, error)) (int, error) {
			timer.Reset(w.stall)
			return read()
		}, close: func() {}}
	}
	response, err := w.next.Do(r)
	if err != nil {
		timer.Stop()
		defer cancel(nil)
		return nil, why(err)
	}
	timer.Stop()
	response.Body = &body{ReadCloser: response.Body, read: func(read func() (int, error)) (int, error) {
		timer.Reset(w.stall)
		n, err := read()
		timer.Stop() // nobody need read on at once
		return n, why(err)
	}, close: func() { timer.Stop(); cancel(nil) }}
	return response, nil
}

type body struct {
	io.ReadCloser
	read  func(read func() (int, error)) (int, error)
	close func()
}

func (b *body) Read(p []byte) (int, error) {
	return b.read(func() (int, error) { return b.ReadCloser.Read(p) })
}

func (b *body) Close() error {
	defer b.close()
	return b.ReadCloser.Close()
}

// delay returns how long to wait before retry number n, from 0: at random up to the backoff, which doubles.
func (c *client) delay(n int) time.Duration {
	most := min(c.backoff<<min(n, 20), maxBackoff)
	return time.Duration(rand.Float64() * float64(most))
}

// wait waits before retry number n, unless a context ends.
func (c *client) wait(ctx context.Context, n int) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(c.delay(n)):
		return nil
	}
}
