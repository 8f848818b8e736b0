package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// A sourceFile is one file of a checkpoint, with the checksums that it has of its parts.
type sourceFile struct {
	r      io.ReaderAt
	size   int64
	checks []check // in the order of their offsets, without overlap
}

// A check is a part of a file with a checksum.
type check struct {
	name         string
	offset, size int64
	crc          uint32
	open         func() (io.ReaderAt, error) // if the part is compressed
}

// verify returns an error if a part has another checksum.
func (k *check) verify(crc uint32) error {
	if crc != k.crc {
		return fmt.Errorf("%s is damaged: its CRC-32 is %08x, want %08x", k.name, crc, k.crc)
	}
	return nil
}

// SHA256 returns the SHA-256 of the file in hexadecimal, or of all files of tensors one after the
// other if there are several. On the way it verifies the checksums that the container has of its
// parts.
func (c *File) SHA256(ctx context.Context) (string, error) {
	select {
	case c.summing <- struct{}{}:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { <-c.summing }()
	if c.sum == "" {
		h := sha256.New()
		if err := c.scan(ctx, h); err != nil {
			return "", err
		}
		c.sum = hex.EncodeToString(h.Sum(nil))
	}
	return c.sum, nil
}

// Verify reads the storages of some tensors, and returns an error if the container has other checksums of
// them. In the life of c it reads each but once. Views of tensors, and tensors in memory, may be among
// them.
func (c *File) Verify(ctx context.Context, tensors ...*Tensor) error {
	var buf []byte
	for _, t := range tensors {
		s := t.data
		if _, ok := c.verified.Load(s); ok || s.crc == 0 {
			continue
		}
		if buf == nil {
			buf = make([]byte, chunkSize)
		}
		r, size := s.r, s.size
		if s.summed != nil {
			r, size = s.summed, s.summed.Size()
		}
		var crc uint32
		for at := int64(0); at < size; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b := buf[:min(int64(len(buf)), size-at)]
			if n, err := r.ReadAt(b, at); n < len(b) {
				return fmt.Errorf("checkpoint: %s: %s: %w", c.name, s.name, cmpErr(err, io.ErrUnexpectedEOF))
			}
			crc = crc32.Update(crc, crc32.IEEETable, b)
			at += int64(len(b))
		}
		if crc != s.crc {
			return fmt.Errorf("checkpoint: %s: %s is damaged: its CRC-32 is %08x, want %08x", c.name, s.name, crc, s.crc)
		}
		c.verified.Store(s, true)
	}
	return nil
}

// scan reads every file once, verifies its checksums and, if h is not nil, feeds it.
func (c *File) scan(ctx context.Context, h hash.Hash) error {
	buf := make([]byte, chunkSize)
	for _, f := range c.files {
		checks := f.checks
		var crc uint32
		for at := int64(0); at < f.size; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if h == nil { // only the parts with a checksum matter
				if len(checks) == 0 {
					break
				}
				at = max(at, checks[0].offset)
			}
			b := buf[:min(int64(len(buf)), f.size-at)]
			if n, err := f.r.ReadAt(b, at); n < len(b) {
				return fmt.Errorf("checkpoint: %s: reading %d bytes at %d: %w", c.name, len(b), at, cmpErr(err, io.ErrUnexpectedEOF))
			}
			if h != nil {
				h.Write(b)
			}
			for len(checks) > 0 && checks[0].offset < at+int64(len(b)) {
				k := checks[0]
				lo, hi := max(k.offset-at, 0), min(k.offset+k.size-at, int64(len(b)))
				crc = crc32.Update(crc, crc32.IEEETable, b[lo:hi])
				if k.offset+k.size > at+int64(len(b)) {
					break // goes on in the next chunk
				}
				if err := k.verify(crc); err != nil {
					return fmt.Errorf("checkpoint: %s: %w", c.name, err)
				}
				crc, checks = 0, checks[1:]
			}
			at += int64(len(b))
		}
	}
	for _, k := range c.packed {
		r, err := k.open()
		if err != nil {
			return fmt.Errorf("checkpoint: %s: %w", c.name, err)
		}
		var crc uint32
		for at := int64(0); at < k.size; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b := buf[:min(int64(len(buf)), k.size-at)]
			if n, err := r.ReadAt(b, at); n < len(b) {
				return fmt.Errorf("checkpoint: %s: %s: %w", c.name, k.name, cmpErr(err, io.ErrUnexpectedEOF))
			}
			crc = crc32.Update(crc, crc32.IEEETable, b)
			at += int64(len(b))
		}
		if err := k.verify(crc); err != nil {
			return fmt.Errorf("checkpoint: %s: %w", c.name, err)
		}
	}
	return nil
}
