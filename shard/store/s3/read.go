package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/vitago/vitago/shard/store"
)

// key returns that of a name, or an error for what is no name.
func (b *bucket) key(name string) (string, error) {
	if err := store.CheckName(name); err != nil {
		return "", err
	}
	key := b.prefix + name
	if len(key) > maxKey {
		return "", fmt.Errorf("store: name %.40q… makes a key of %d bytes, want at most %d: %w", name, len(key), maxKey, store.ErrName)
	}
	return key, nil
}

// version makes one form of the tags that servers give: with quotes or without, strong or weak. Without a tag it is size and time.
func version(etag *string, size int64, modified time.Time) string {
	if tag := strings.Trim(strings.TrimPrefix(aws.ToString(etag), "W/"), `"`); tag != "" {
		return `"` + tag + `"`
	}
	return fmt.Sprintf("%d-%d", size, modified.Unix())
}

// tag returns the version as a header has it, or nil if it is none of a server.
func tag(version string) *string {
	if strings.HasPrefix(version, `"`) {
		return &version
	}
	return nil
}

func (b *bucket) Stat(ctx context.Context, name string) (store.Info, error) {
	key, err := b.key(name)
	if err != nil {
		return store.Info{}, err
	}
	h, err := b.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return store.Info{}, b.failed(ctx, "stat", name, err)
	}
	size, modified := aws.ToInt64(h.ContentLength), aws.ToTime(h.LastModified)
	return store.Info{Name: name, Size: size, Modified: modified, Version: version(h.ETag, size, modified)}, nil
}

func (b *bucket) Open(ctx context.Context, name string, offset, length int64) (store.Reader, error) {
	key, err := b.key(name)
	if err != nil {
		return nil, err
	}
	r := &reader{bucket: b, ctx: ctx, name: name, key: key, at: offset, end: -1}
	if length > 0 {
		r.end = offset + length
		if r.end < offset {
			r.end = -1 // further than any object
		}
	}
	if offset >= 0 && length != 0 {
		err = r.get()
		if err == nil {
			return r, nil
		}
		if code(err) != "InvalidRange" && status(err) != http.StatusRequestedRangeNotSatisfiable {
			return nil, r.failed(err)
		}
	}
	// A range of no bytes cannot be asked for.
	i, err := b.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > i.Size {
		return nil, fmt.Errorf("store: s3://%s/%s: offset %d, want one in 0…%d, its size", b.name, key, offset, i.Size)
	}
	r.info, r.end = i, offset
	return r, nil
}

// A reader reads a range of an object. What breaks off it asks for again, from where it is, and of the same version.
type reader struct {
	*bucket
	ctx       context.Context
	name, key string
	info      store.Info    // "" as its name: nothing was asked for yet
	at, end   int64         // the range that is left; end < 0: as far as it goes
	body      io.ReadCloser // or nil
	err       error         // at which all ends
}

// changed is the error that an object is not what it was.
type changedError struct{ got, want string }

func (e changedError) Error() string {
	return fmt.Sprintf("%v: version %s, want %s", store.ErrChanged, e.got, e.want)
}
func (e changedError) Unwrap() error { return store.ErrChanged }

// get asks for what is left.
func (r *reader) get() error {
	in := &s3.GetObjectInput{Bucket: &r.bucket.name, Key: &r.key}
	if r.at > 0 || r.end >= 0 {
		to := ""
		if r.end >= 0 {
			to = strconv.FormatInt(r.end-1, 10)
		}
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%s", r.at, to))
	}
	if r.info.Name != "" {
		in.IfMatch = tag(r.info.Version)
	}
	out, err := r.api.GetObject(r.ctx, in)
	if err != nil {
		return err
	}
	size := aws.ToInt64(out.ContentLength)
	if in.Range != nil {
		var from, to int64
		if _, err := fmt.Sscanf(aws.ToString(out.ContentRange), "bytes %d-%d/%d", &from, &to, &size); err != nil || from != r.at || to >= size {
			out.Body.Close()
			return fmt.Errorf("asked for %s, and got the range %q", *in.Range, aws.ToString(out.ContentRange))
		}
	} else if out.ContentLength == nil || size < 0 {
		out.Body.Close()
		return errors.New("an answer without a length")
	}
	modified := aws.ToTime(out.LastModified)
	i := store.Info{Name: r.name, Size: size, Modified: modified, Version: version(out.ETag, size, modified)}
	if r.info.Name != "" && i.Version != r.info.Version {
		out.Body.Close()
		return changedError{i.Version, r.info.Version}
	}
	r.info, r.body = i, out.Body
	if r.end < 0 || r.end > size {
		r.end = size
	}
	return nil
}

func (r *reader) Info() store.Info { return r.info }

func (r *reader) failed(err error) error {
	doing := "read"
	if r.at > 0 {
		doing = fmt.Sprintf("read from byte %d on", r.at)
	}
	return r.bucket.failed(r.ctx, doing, r.name, err)
}

func (r *reader) Read(b []byte) (int, error) {
	if r.err == nil && r.ctx.Err() != nil {
		r.err = r.failed(context.Cause(r.ctx))
	}
	if len(b) == 0 || r.err != nil {
		return 0, r.err
	}
	for tries := 0; ; tries++ {
		if r.at == r.end {
			r.err = io.EOF
			return 0, r.err
		}
		var n int
		var err error
		if r.body == nil {
			if err = r.get(); err != nil {
				// The SDK has tried again what may come right.
				if unmet(err) {
					err = changedError{"another", r.info.Version}
				}
				r.err = r.failed(err)
				return 0, r.err
			}
		}
		n, err = r.body.Read(b[:min(int64(len(b)), r.end-r.at)])
		r.at += int64(n)
		if err != nil {
			r.body.Close()
			r.body = nil
		}
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if tries+1 >= r.attempts || r.ctx.Err() != nil {
			r.err = r.failed(fmt.Errorf("%w, again and again, %d bytes before the end", err, r.end-r.at))
			return 0, r.err
		}
		if err := r.wait(r.ctx, tries); err != nil {
			r.err = r.failed(err)
			return 0, r.err
		}
	}
}

func (r *reader) Close() error {
	if r.err == nil {
		r.err = fs.ErrClosed
	}
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}
