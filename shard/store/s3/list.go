package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/vitago/vitago/shard/store"
)

// List asks for a page of objects at a time. What ends with a slash is left out: consoles make such objects where they show folders.
func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &b.name, MaxKeys: &b.page, EncodingType: types.EncodingTypeUrl} // XML has no form for some letters of keys
		if b.prefix+prefix != "" {
			in.Prefix = aws.String(b.prefix + prefix)
		}
		last := ""
		for {
			page, err := b.api.ListObjectsV2(ctx, in)
			if err != nil {
				yield(store.Info{}, b.failed(ctx, "list", prefix, err))
				return
			}
			infos, err := b.items(page, prefix, aws.ToString(in.ContinuationToken), &last)
			for _, i := range infos {
				if ctx.Err() != nil {
					yield(store.Info{}, b.failed(ctx, "list", prefix, ctx.Err()))
					return
				}
				if !yield(i, nil) {
					return
				}
			}
			if err != nil {
				yield(store.Info{}, b.failed(ctx, "list", prefix, err))
				return
			}
			if !aws.ToBool(page.IsTruncated) {
				return
			}
			in.ContinuationToken = page.NextContinuationToken
		}
	}
}

// items returns what a page of a list has, which token asked for. last is the key that the page before ended with.
func (b *bucket) items(page *s3.ListObjectsV2Output, prefix, token string, last *string) (infos []store.Info, err error) {
	if page.Name == nil && page.KeyCount == nil && page.IsTruncated == nil {
		return nil, errors.New("the server's answer is no list of a bucket")
	}
	for _, o := range page.Contents {
		key := aws.ToString(o.Key)
		if page.EncodingType == types.EncodingTypeUrl {
			if key, err = url.QueryUnescape(key); err != nil {
				return infos, fmt.Errorf("the server's list has %q, which is no key in the encoding of URLs", aws.ToString(o.Key))
			}
		}
		name, ok := strings.CutPrefix(key, b.prefix)
		switch {
		case !ok || !strings.HasPrefix(name, prefix):
			return infos, fmt.Errorf("the server's list has %q, which does not begin with %q", key, b.prefix+prefix)
		case key <= *last:
			return infos, fmt.Errorf("the server's list has %q behind %q, want the order of their bytes", key, *last)
		}
		*last = key
		if name == "" || strings.HasSuffix(name, "/") {
			continue
		}
		if err := store.CheckName(name); err != nil {
			return infos, fmt.Errorf("an object there cannot be used: %w", err)
		}
		size, modified := aws.ToInt64(o.Size), aws.ToTime(o.LastModified)
		if size < 0 {
			return infos, fmt.Errorf("the server's list has %q with %d bytes", key, size)
		}
		infos = append(infos, store.Info{Name: name, Size: size, Modified: modified, Version: version(o.ETag, size, modified)})
	}
	if next := aws.ToString(page.NextContinuationToken); aws.ToBool(page.IsTruncated) && (next == "" || next == token) {
		return infos, fmt.Errorf("the server says that its list goes on, and that %q comes next, as it was before", next)
	}
	return infos, nil
}
