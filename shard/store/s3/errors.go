package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/vitago/vitago/shard/store"
)

// code returns S3's word for an error, or "".
func code(err error) string {
	if e := smithy.APIError(nil); errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// answer returns status and header of the answer that an error is about, or 0.
func answer(err error) (status int, header http.Header) {
	if e := (*smithyhttp.ResponseError)(nil); errors.As(err, &e) && e.Response != nil { // whose status is 0 if none came
		return e.Response.StatusCode, e.Response.Header
	}
	return 0, nil
}

func status(err error) int {
	n, _ := answer(err)
	return n
}

// missing says whether an error is that there is no such object. The answer to a HEAD has no word for it.
func missing(err error) bool {
	c := code(err)
	return c == "NoSuchKey" || c == "NotFound" || status(err) == http.StatusNotFound && c != "NoSuchBucket" && c != "NoSuchUpload"
}

// unmet says whether an error is that a condition of a request was not met.
func unmet(err error) bool {
	return code(err) == "PreconditionFailed" || status(err) == http.StatusPreconditionFailed
}

// brokeOff says whether an answer did not come whole. The SDK makes no new try then.
func brokeOff(err error) bool {
	var e *smithy.DeserializationError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &e) && status(err) < 300
}

// failed returns an error that says what failed with which object, where, and what to set if that is known. name is "" for the bucket.
func (b *bucket) failed(ctx context.Context, doing, name string, err error) error {
	if err == nil {
		return nil
	}
	where := b.String()
	if name != "" {
		where = "s3://" + b.name + "/" + b.prefix + name
	}
	if ctx.Err() != nil {
		return fmt.Errorf("store: %s: %s: %w", where, doing, context.Cause(ctx))
	}
	what, kind := b.explain(err)
	if kind == nil {
		for _, k := range []error{store.ErrExists, store.ErrChanged, ErrNoConditions} {
			if errors.Is(err, k) {
				return fmt.Errorf("store: %s: %s: %w", where, doing, err)
			}
		}
	}
	return &failure{fmt.Sprintf("store: %s: %s: %s%s", where, doing, what, b.at()), kind, err}
}

// at says where a bucket is.
func (b *bucket) at() string {
	if b.endpoint == "" {
		return fmt.Sprintf(" (region %s)", b.region)
	}
	return fmt.Sprintf(" (at %s)", b.endpoint)
}

// A failure is an error of the SDK in other words: its own have a line for each layer.
type failure struct {
	text  string
	kind  error // for errors.Is, or nil
	cause error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error {
	if f.kind == nil {
		return []error{f.cause}
	}
	return []error{f.kind, f.cause}
}

// explain says what an error means, what to do about it, and of which kind it is.
func (b *bucket) explain(err error) (what string, kind error) {
	word, message := code(err), ""
	if e := smithy.APIError(nil); errors.As(err, &e) {
		message = e.ErrorMessage()
	}
	said := strings.TrimSuffix(strings.TrimSpace(word+": "+message), ":")
	if status, header := answer(err); status != 0 {
		if region := header.Get("x-amz-bucket-region"); region != "" && region != b.region {
			return fmt.Sprintf("the bucket is in region %s, and the request went to %s: set AWS_REGION=%s", region, b.region, region), fs.ErrInvalid
		}
		said = strings.TrimPrefix(fmt.Sprintf("%s, status %d", said, status), ": ")
		if id := header.Get("x-amz-request-id"); id != "" {
			said += ", request " + id
		}
	}
	if e := (*retry.MaxAttemptsError)(nil); errors.As(err, &e) && e.Attempt > 1 {
		said += fmt.Sprintf(", tried %d times", e.Attempt)
	}
	switch {
	case word == "NoSuchBucket":
		return fmt.Sprintf("there is no bucket %q", b.name), fs.ErrInvalid
	case missing(err):
		return "there is no such object", fs.ErrNotExist
	case word == "PermanentRedirect", word == "AuthorizationHeaderMalformed", word == "IllegalLocationConstraintException", status(err) == http.StatusMovedPermanently:
		return fmt.Sprintf("the bucket is in another region than %s: set AWS_REGION (%s)", b.region, said), fs.ErrInvalid
	case word == "InvalidAccessKeyId", word == "SignatureDoesNotMatch", word == "InvalidToken", word == "ExpiredToken", word == "InvalidSecurity":
		return fmt.Sprintf("the credentials, which are from %s, are not valid there (%s)", b.source(), said), fs.ErrPermission
	case word == "RequestTimeTooSkewed":
		return fmt.Sprintf("the clock of this machine is wrong (%s)", said), fs.ErrInvalid
	case word == "AccessDenied", word == "AllAccessDisabled", word == "AccountProblem", status(err) == http.StatusForbidden, status(err) == http.StatusUnauthorized:
		return fmt.Sprintf("the credentials, which are from %s, do not allow it; for an object that is not there this is the answer too where s3:ListBucket is not allowed (%s)", b.source(), said), fs.ErrPermission
	case word == "NotImplemented", status(err) == http.StatusNotImplemented:
		return fmt.Sprintf("the server does not have what was asked for (%s)", said), errors.ErrUnsupported
	case word != "" || status(err) != 0 && !brokeOff(err):
		return said, nil
	}
	return shorten(err) + said, nil
}

func (b *bucket) source() string {
	if b.credentials == "" {
		return "nobody (AWS_NO_SIGN_REQUEST)"
	}
	return b.credentials
}

// shorten returns what is below the layers of the SDK.
func shorten(err error) string {
	for _, layer := range []any{new(*smithy.OperationError), new(*retry.MaxAttemptsError), new(*smithyhttp.RequestSendError)} {
		switch l := layer.(type) {
		case **smithy.OperationError:
			if errors.As(err, l) {
				err = (*l).Err
			}
		case **retry.MaxAttemptsError:
			if errors.As(err, l) {
				err = (*l).Err
			}
		case **smithyhttp.RequestSendError:
			if errors.As(err, l) {
				err = (*l).Err
			}
		}
	}
	return err.Error()
}

// ErrNoConditions is of a server that puts an object in the place of another although it was told not to. Workers cannot share a bucket there.
var ErrNoConditions = fmt.Errorf("the server does not keep If-None-Match, so that workers cannot agree who writes: %w", errors.ErrUnsupported)
