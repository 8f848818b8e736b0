package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/vitago/vitago/shard/store"
)

func (b *bucket) Put(ctx context.Context, name string, content io.ReadSeeker, size int64, o store.PutOptions) error {
	key, err := b.key(name)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return b.failed(ctx, "put", name, ctx.Err())
	}
	n, err := content.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = content.Seek(0, io.SeekStart)
	}
	if err != nil {
		return b.failed(ctx, "put", name, err)
	}
	if n != size {
		return fmt.Errorf("store: s3://%s/%s: content of %d bytes, want %d", b.name, key, n, size)
	}
	content = source{content}
	switch {
	case o.IfAbsent && size > maxPut:
		return fmt.Errorf("store: s3://%s/%s: %d bytes where nothing may be there, want at most %d", b.name, key, size, int64(maxPut))
	case o.IfAbsent:
		return b.putNew(ctx, name, key, content, size)
	case size >= b.multipart:
		err = b.inParts(ctx, key, size, b.part, b.checksum, func(upload string, number int32, offset, length int64) (types.CompletedPart, error) {
			part := make([]byte, length)
			if _, err := io.ReadFull(content, part); err != nil {
				return types.CompletedPart{}, err
			}
			out, err := b.api.UploadPart(ctx, &s3.UploadPartInput{Bucket: &b.name, Key: &key, UploadId: &upload, PartNumber: &number, Body: bytes.NewReader(part), ContentLength: &length})
			if err != nil {
				return types.CompletedPart{}, err
			}
			return types.CompletedPart{ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32}, nil
		})
	default:
		_, err = b.api.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.name, Key: &key, Body: content, ContentLength: &size})
	}
	return b.failed(ctx, "put", name, err)
}

// source is content whose errors are no reason to try again, as those of connections are.
type source struct{ io.ReadSeeker }

func (s source) Read(b []byte) (int, error) {
	n, err := s.ReadSeeker.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = sourceError{err}
	}
	return n, err
}

type sourceError struct{ error }

func (e sourceError) RetryableError() bool { return false }
func (e sourceError) Unwrap() error        { return e.error }

// mark is the name of the metadata by which an object is known to be the one that was put here.
const mark = "vitago-put"

// putNew puts an object where nothing may be. An answer that was lost, and the retry that then found the object, do not hide who put it.
func (b *bucket) putNew(ctx context.Context, name, key string, content io.ReadSeeker, size int64) error {
	known := b.keepsConditions()
	if !known { // or what is there would be lost
		if _, err := b.Stat(ctx, name); err == nil {
			return b.failed(ctx, "put", name, store.ErrExists)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	ours := rand.Text()
	put := func() error {
		if _, err := content.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := b.api.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &b.name, Key: &key, Body: content, ContentLength: &size, IfNoneMatch: aws.String("*"), Metadata: map[string]string{mark: ours},
		})
		return err
	}
	err := put()
	if err == nil && !known {
		// Once for each bucket: the same again, which has to be refused.
		switch err = put(); {
		case unmet(err):
			b.keepConditions()
			err = nil
		case err == nil:
			_, _ = b.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &key})
			err = ErrNoConditions
		}
	}
	if unmet(err) {
		b.keepConditions()
		if found, e := b.isOurs(ctx, key, ours); found {
			return nil
		} else if err = store.ErrExists; e != nil {
			err = e // nobody knows whose it is
		}
	}
	return b.failed(ctx, "put", name, err)
}

// isOurs says whether an object is the one that was put with a mark.
func (b *bucket) isOurs(ctx context.Context, key, ours string) (bool, error) {
	h, err := b.api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		if missing(err) {
			err = nil // it has gone again
		}
		return false, err
	}
	for k, v := range h.Metadata { // some servers change the case of names
		if strings.EqualFold(k, mark) && v == ours {
			return true, nil
		}
	}
	return false, nil
}

func (c *client) keeps(bucket string, now bool) bool {
	c.conditionsMu.Lock()
	defer c.conditionsMu.Unlock()
	if now {
		c.conditions[bucket] = true
	}
	return c.conditions[bucket]
}

// keepsConditions says whether the bucket was seen to refuse to put an object where there is one.
func (b *bucket) keepsConditions() bool { return b.keeps(b.name, false) }
func (b *bucket) keepConditions()       { b.keeps(b.name, true) }

// inParts makes an object of parts, which put puts one by one, or leaves nothing of it.
func (b *bucket) inParts(ctx context.Context, key string, size, part int64, checksum types.ChecksumAlgorithm, put func(upload string, number int32, offset, length int64) (types.CompletedPart, error)) error {
	for part*maxParts < size {
		part *= 2
	}
	ours := rand.Text()
	created, err := b.api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &b.name, Key: &key, ChecksumAlgorithm: checksum, Metadata: map[string]string{mark: ours}})
	if err != nil {
		return err
	}
	var parts []types.CompletedPart
	for offset := int64(0); offset < size && err == nil; offset += part {
		number := int32(len(parts) + 1)
		var p types.CompletedPart
		if p, err = put(*created.UploadId, number, offset, min(part, size-offset)); err == nil {
			p.PartNumber = &number
			parts = append(parts, p)
		}
	}
	if err == nil {
		_, err = b.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &b.name, Key: &key, UploadId: created.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	if code(err) == "NoSuchUpload" { // perhaps since it is done, and the answer that said so was lost
		if found, _ := b.isOurs(ctx, key, ours); found {
			return nil
		}
	}
	if err != nil { // parts cost money until they are gone, and the context may have ended
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_, _ = b.api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: &key, UploadId: created.UploadId})
	}
	return err
}

// Rename copies an object and then deletes it: there is no other way in a bucket.
func (b *bucket) Rename(ctx context.Context, from, to string) error {
	source, err1 := b.key(from)
	target, err2 := b.key(to)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	i, err := b.Stat(ctx, from)
	if err == nil && from == to {
		return nil
	}
	if err == nil {
		err = b.failed(ctx, "rename to "+to, from, b.copyObject(ctx, source, target, i))
	}
	if errors.Is(err, fs.ErrNotExist) { // perhaps since another has just done it
		if _, e := b.Stat(ctx, to); e == nil {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return b.Delete(ctx, from)
}

func (b *bucket) copyObject(ctx context.Context, source, target string, i store.Info) error {
	escaped := (&url.URL{Path: b.name + "/" + source}).EscapedPath()
	escaped = strings.ReplaceAll(escaped, "+", "%2B") // some servers take it for a space
	if i.Size <= b.copy {
		_, err := b.api.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &b.name, Key: &target, CopySource: &escaped, CopySourceIfMatch: tag(i.Version)})
		return err
	}
	return b.inParts(ctx, target, i.Size, b.copyPart, "", func(upload string, number int32, offset, length int64) (types.CompletedPart, error) {
		out, err := b.api.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
			Bucket: &b.name, Key: &target, UploadId: &upload, PartNumber: &number, CopySource: &escaped, CopySourceIfMatch: tag(i.Version),
			CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)),
		})
		if err != nil {
			return types.CompletedPart{}, err
		}
		return types.CompletedPart{ETag: out.CopyPartResult.ETag}, nil
	})
}

func (b *bucket) Delete(ctx context.Context, name string) error {
	key, err := b.key(name)
	if err != nil {
		return err
	}
	_, err = b.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &key})
	if err != nil && (missing(err) && status(err) == http.StatusNotFound) {
		return nil
	}
	return b.failed(ctx, "delete", name, err)
}
