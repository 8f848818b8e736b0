package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/vitago/vitago/server/api"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/status"
)

// A failure is an error with the status that it has on the wire. The gateway looks at the error, gRPC at the status.
type failure struct {
	error
	status *grpcstatus.Status
}

func (f *failure) Unwrap() error                  { return f.error }
func (f *failure) GRPCStatus() *grpcstatus.Status { return f.status }

// An itemError is of one field of a request, as "images[3]".
type itemError struct {
	field string
	error
}

func (e *itemError) Error() string { return e.field + ": " + status.Message(e.error) }
func (e *itemError) Unwrap() error { return e.error }

// ofField says of which element of a repeated field of a request an [engine.ItemError] is.
func ofField(field string, err error) error { return ofFields(field, math.MaxInt, "", err) }

// ofFields says the same of items of two fields, of which the first has n.
func ofFields(field string, n int, second string, err error) error {
	var item *engine.ItemError
	if !errors.As(err, &item) {
		return err
	}
	i := item.Index
	if i >= n {
		field, i = second, i-n
	}
	return &itemError{fmt.Sprintf("%s[%d]", field, i), item.Err}
}

// fail returns an error with its status: the code of its kind, an ErrorInfo of every kind that it is, a BadRequest with the field that it is of, and a RetryInfo
// of what may be sent again later. An error that has a status is returned as it is, nil is nil.
func (o Options) fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	status.Record(ctx, err)
	var has interface{ GRPCStatus() *grpcstatus.Status }
	if errors.As(err, &has) {
		return err
	}
	kind := status.Of(err)
	var details []protoadapt.MessageV1
	for _, word := range status.Words(err) {
		details = append(details, &errdetails.ErrorInfo{Reason: api.Reason(word), Domain: api.Domain})
	}
	var item *itemError
	if errors.As(err, &item) {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: item.field, Description: status.Message(item.error)}}})
	}
	if kind.Code == codes.ResourceExhausted {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(o.Engine.RetryAfter())})
	}
	s, wrong := grpcstatus.New(kind.Code, strings.ToValidUTF8(status.Message(err), "\uFFFD")).WithDetails(details...)
	if wrong != nil {
		panic(wrong) // the code is none of OK, and the details are of known types
	}
	return &failure{err, s}
}
