package client

import (
	"context"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/server/api"
	"github.com/vitago/vitago/server/status"
)

// An Error is one that a server answered with, or that kept it from answering. It is what errors.Is finds on the server's side: an error of
// package clip, of the tasks, of package engine or of package status; and context.Canceled or context.DeadlineExceeded.
type Error struct {
	Code       codes.Code    // gRPC's
	Message    string        // the server's sentence, or the client's of what kept it from answering
	Field      string        // of the request, which was wrong, as "images[3]"; "" if it is not known
	RetryAfter time.Duration // for how long to wait before asking again; 0 if that does not help or is not known

	kinds  []error
	status *grpcstatus.Status
}

// Error implements error.
func (e *Error) Error() string { return "client: " + e.Message }

// Unwrap returns the errors that it is of, as far as they are known.
func (e *Error) Unwrap() []error { return e.kinds }

// GRPCStatus returns the status as it came.
func (e *Error) GRPCStatus() *grpcstatus.Status { return e.status }

// restore returns an error of a call as one of the kind that it has on the server's side.
func restore(err error) error {
	if err == nil {
		return nil
	}
	s, ok := grpcstatus.FromError(err)
	if !ok {
		return err
	}
	e := &Error{Code: s.Code(), Message: s.Message(), status: s}
	switch s.Code() {
	case codes.Canceled:
		e.kinds = append(e.kinds, context.Canceled)
	case codes.DeadlineExceeded:
		e.kinds = append(e.kinds, context.DeadlineExceeded)
	}
	if s.Code() == codes.ResourceExhausted && len(s.Details()) == 0 && strings.Contains(s.Message(), "larger than max") { // gRPC's own
		e.kinds = append(e.kinds, clip.ErrTooLarge)
	}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.Domain == api.Domain {
				if kind := status.Errors(api.Word(d.Reason)); kind != nil {
					e.kinds = append(e.kinds, kind)
				}
			}
		case *errdetails.BadRequest:
			for _, v := range d.FieldViolations {
				e.Field = v.Field
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = d.RetryDelay.AsDuration()
		}
	}
	return e
}
