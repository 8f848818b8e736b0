package hub

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// A File is one that can be downloaded.
type File struct {
	Name   string // path below the directory that it is downloaded to, with slashes
	URL    string
	Size   int64  // in bytes; -1 if nobody said
	SHA256 string // of the content, in hexadecimal; "" if nobody said
	Blob   string // the SHA-1 that git gives the content as a blob, in hexadecimal; "" if nobody said
	cached string // where other software may have it on this machine; ""
}

// Digest names what a file's content must hash to, as sha256:… or git:…, or "" if nobody said.
func (f *File) Digest() string {
	switch {
	case f.SHA256 != "":
		return "sha256:" + f.SHA256
	case f.Blob != "":
		return "git:" + f.Blob
	}
	return ""
}

var (
	hexSHA1   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	hexSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Fetch brings f into the directory dir and returns its path. A file that is there and right is left
// as it is; had says so. One that is there and is another is an error, unless c.Overwrite is set.
//
// An error may leave a part of the file, which the next Fetch goes on from: see the package comment.
// It wraps [ErrNotFound] if the server has no such file, and the error of ctx if that ended.
func (c *Client) Fetch(ctx context.Context, f File, dir string) (path string, had bool, err error) {
	if path, err = local(dir, f.Name); err != nil {
		return "", false, err
	}
	if had, err = c.has(ctx, f, path); had || err != nil {
		return path, had, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", false, fmt.Errorf("hub: %w", err)
	}
	unlock, err := c.lock(ctx, path)
	if err != nil {
		return "", false, unlocked(path, err)
	}
	defer unlock()
	if had, err = c.has(ctx, f, path); had || err != nil { // another process brought it meanwhile
		return path, had, err
	}
	if err := c.fetch(ctx, f, path); err != nil {
		return "", false, fmt.Errorf("hub: downloading %s: %w", f.Name, err)
	}
	return path, false, nil
}

// has says whether the file at path is f.
func (c *Client) has(ctx context.Context, f File, path string) (bool, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("hub: %w", err)
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("hub: %s is there and is no file (%v)", path, info.Mode().Type())
	case f.Digest() == "" && f.Size < 0: // nothing is known to judge it by
		return !c.Overwrite, nil
	}
	err = verify(ctx, f, path)
	wrong := (*wrongError)(nil)
	switch {
	case err == nil:
		c.progress(info.Size(), info.Size())
		return true, nil
	case !errors.As(err, &wrong):
		return false, fmt.Errorf("hub: %w", err)
	case !c.Overwrite:
		return false, fmt.Errorf("hub: %s %w: %w", path, ErrOther, err)
	}
	return false, nil
}

// ErrOther is returned for a file that is not the one wanted, and that [Client.Overwrite] would permit to
// replace.
var ErrOther = errors.New("is there and is another")

// A wrongError says that a file is not the one wanted.
type wrongError struct{ what, got, want string }

func (w *wrongError) Error() string { return fmt.Sprintf("%s is %s, want %s", w.what, w.got, w.want) }

// verify returns an error if the file at path is not f, as far as f says what it is.
func verify(ctx context.Context, f File, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if f.Size >= 0 && info.Size() != f.Size {
		return &wrongError{"size", fmt.Sprint(info.Size()), fmt.Sprint(f.Size)}
	}
	var h hash.Hash
	what, want := "SHA-256", f.SHA256
	switch {
	case f.SHA256 != "":
		h = sha256.New()
	case f.Blob != "": // Source: git, "gitobject" of Pro Git, 10.2: the type, the length, a zero, the content
		h = sha1.New()
		fmt.Fprintf(h, "blob %d\x00", info.Size())
		what, want = "git's SHA-1", f.Blob
	default:
		return nil
	}
	if _, err := io.Copy(h, until{ctx, file}); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return &wrongError{what, got, want}
	}
	return nil
}

// An until reader ends with its context.
type until struct {
	ctx context.Context
	io.Reader
}

func (u until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(p)
}

// lock waits until no other process downloads to path.
func (c *Client) lock(ctx context.Context, path string) (unlock func(), err error) {
	const again = 200 * time.Millisecond
	name := path + lockSuffix
	for said := false; ; {
		l := flock.New(name, flock.SetPermissions(0o666))
		ok, err := l.TryLock()
		switch {
		case errors.Is(err, errors.ErrUnsupported): // some network file systems, some systems
			c.note("%s: this file system has no locks; let no other process download it", path)
			return func() { os.Remove(name) }, nil
		case err != nil:
			return nil, err
		case ok && isAt(l, name):
			return func() {
				// Where it can be done it must be done before others get the lock: one who waits for it
				// sees then that the file is not the one with the name. Windows removes no open file.
				err := os.Remove(name)
				_ = l.Unlock()
				if err != nil {
					os.Remove(name)
				}
			}, nil
		case ok: // its last holder removed it
			_ = l.Unlock()
			continue
		}
		if !said {
			c.note("%s: waiting for another process that downloads it", path)
			said = true
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// unlocked returns the error that the lock of path was not got. The name of the lock's file says nothing to a
// user.
func unlocked(path string, err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return fmt.Errorf("hub: %s: cannot write in the folder %s: %w", path, filepath.Dir(path), e.Err)
	}
	return fmt.Errorf("hub: locking %s: %w", path, err)
}

// isAt says whether the file that is locked is the one with that name.
func isAt(l *flock.Flock, name string) bool {
	held, err := l.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(held, named)
}

// A state says what a partial file is a part of.
type state struct {
	URL    string `json:"url"`
	ETag   string `json:"etag"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"` // of the whole file; -1 if nobody said
}

// A partial is what has come of a file.
type partial struct {
	path  string
	file  *os.File
	have  int64 // bytes
	state state
	older bool // some of it came with an earlier answer
}

// openPartial opens what there is of f, or begins.
func openPartial(f File, path string) (*partial, error) {
	p := &partial{path: path}
	if info, err := os.Lstat(path + partialSuffix); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is there and is no file (%v)", path+partialSuffix, info.Mode().Type())
	}
	file, err := os.OpenFile(path+partialSuffix, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	p.file = file
	if p.have, err = file.Seek(0, io.SeekEnd); err != nil {
		file.Close()
		return nil, err
	}
	raw, err := os.ReadFile(path + stateSuffix)
	if err != nil || json.Unmarshal(raw, &p.state) != nil {
		p.state = state{}
	}
	p.older = p.have > 0
	same := p.state.URL == redacted(f.URL) && p.resumable()
	if d := f.Digest(); d != "" {
		same = p.state.Digest == d
	}
	if p.state.URL != redacted(f.URL) { // the ETag is another server's
		p.state.ETag = ""
	}
	if !same || f.Size >= 0 && p.have > f.Size {
		if err := p.reset(); err != nil {
			file.Close()
			return nil, err
		}
	}
	return p, nil
}

// resumable says that it can be told whether what will come belongs to what is there.
func (p *partial) resumable() bool { return p.state.Digest != "" || p.state.ETag != "" }

// reset begins again.
func (p *partial) reset() error {
	p.have, p.older, p.state = 0, false, state{}
	os.Remove(p.path + stateSuffix)
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	_, err := p.file.Seek(0, io.SeekStart)
	return err
}

// describe remembers what the partial file is a part of.
func (p *partial) describe(s state) error {
	if s == p.state {
		return nil
	}
	p.state = s
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(p.path+stateSuffix, raw, 0o666)
}

// remove leaves nothing of it.
func (p *partial) remove() {
	p.file.Close()
	os.Remove(p.path + partialSuffix)
	os.Remove(p.path + stateSuffix)
}

// commit gives the file its name.
func (p *partial) commit() error {
	if err := errors.Join(p.file.Sync(), p.file.Close()); err != nil {
		return err
	}
	if err := os.Rename(p.path+partialSuffix, p.path); err != nil {
		return err
	}
	os.Remove(p.path + stateSuffix)
	return nil
}

// fetch brings f to path, which is locked.
func (c *Client) fetch(ctx context.Context, f File, path string) error {
	p, err := openPartial(f, path)
	if err != nil {
		return err
	}
	if err := c.copied(ctx, f, p); err == nil {
		return p.commit()
	}
	err = c.complete(ctx, &f, p)
	if err == nil {
		return p.commit()
	}
	kept := ""
	if p.have > 0 && p.resumable() {
		kept = fmt.Sprintf("; %d bytes are kept, and the next run resumes there", p.have)
		p.file.Close()
	} else {
		p.remove()
	}
	err = fmt.Errorf("%w%s", err, kept)
	if unreachable(err) {
		hand := fmt.Sprintf("; off line? fetch %s by hand, to %s", redacted(f.URL), path)
		if d := f.Digest(); d != "" {
			hand += ", where it must have " + d
		}
		err = fmt.Errorf("%w%s", err, hand)
	}
	return err
}

// copied takes the file from where other software has it, if that is so.
func (c *Client) copied(ctx context.Context, f File, p *partial) error {
	if f.cached == "" || f.Digest() == "" {
		return fs.ErrNotExist
	}
	if err := verify(ctx, f, f.cached); err != nil {
		return err
	}
	src, err := os.Open(f.cached)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := p.reset(); err != nil {
		return err
	}
	if _, err = io.Copy(p.file, until{ctx, src}); err == nil {
		err = verify(ctx, f, p.path+partialSuffix)
	}
	if err != nil {
		return errors.Join(err, p.reset())
	}
	if info, err := src.Stat(); err == nil {
		c.progress(info.Size(), info.Size())
	}
	c.note("%s: copied from %s", f.Name, f.cached)
	return nil
}

// errChanged says that the server has another file than the one that the partial file is of.
var errChanged = errors.New("the file changed on the server")

// complete downloads what is missing of f, until it is right. It completes f by what the hub says of it.
func (c *Client) complete(ctx context.Context, f *File, p *partial) error {
	// A file that changes more often than that while it is downloaded is never complete.
	const maxChanges = 3
	changes, furthest, given := 0, p.have, *f
	return c.persist(ctx, f.Name, func() (bool, error) {
		for {
			err := c.attempt(ctx, given, f, p)
			if err == nil {
				if err = verify(ctx, *f, p.path+partialSuffix); err == nil {
					return false, nil
				}
				wrong := (*wrongError)(nil)
				if !errors.As(err, &wrong) {
					return false, permanent{err}
				}
				older := p.older
				if err := p.reset(); err != nil {
					return false, permanent{err}
				}
				if !older { // it came in one piece, and is wrong
					return false, permanent{fmt.Errorf("%s: %w", redacted(f.URL), err)}
				}
				err = errChanged
			}
			if errors.Is(err, errChanged) {
				if err := p.reset(); err != nil {
					return false, permanent{err}
				}
				if changes++; changes > maxChanges {
					return false, permanent{fmt.Errorf("%s: %w %d times", redacted(f.URL), err, changes)}
				}
				c.note("%s: %v; starting again", f.Name, err)
				continue
			}
			further := p.have > furthest
			furthest = max(furthest, p.have)
			p.older = p.have > 0
			return further, err
		}
	})
}

// attempt asks once for what is missing and writes what comes. Of f nothing is known but what is given, and
// what the hub said last.
func (c *Client) attempt(ctx context.Context, given File, f *File, p *partial) error {
	if !p.resumable() && p.have > 0 {
		if err := p.reset(); err != nil {
			return permanent{err}
		}
	}
	if f.Digest() != "" && p.have > 0 && (p.have == f.Size || f.Size < 0 && p.have == p.state.Size) {
		return nil // all came, and then the process ended
	}
	header := http.Header{}
	if p.have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", p.have))
		if p.state.ETag != "" {
			header.Set("If-Range", p.state.ETag)
		}
	}
	a, err := c.get(ctx, f.URL, header)
	if err != nil {
		return err
	}
	defer a.close()
	if c.learn(&given, a.Response); given.Digest() != "" {
		*f = given
	}

	total := int64(-1) // of the whole file, as this answer has it
	etag := strong(a.Header.Get("ETag"))
	switch {
	case a.StatusCode == http.StatusOK:
		if p.have > 0 { // all of it, since it changed or ranges are nothing that this server knows
			c.note("%s: the server sends all of it again", f.Name)
			if err := p.reset(); err != nil {
				return permanent{err}
			}
		}
		total = a.ContentLength
	case a.StatusCode == http.StatusPartialContent && p.have > 0:
		var first int64
		if first, total, err = contentRange(a.Header.Get("Content-Range")); err != nil {
			return err
		}
		if first != p.have {
			return fmt.Errorf("GET %s: got bytes from %d on, want %d", redacted(f.URL), first, p.have)
		}
		if p.state.Digest != "" && f.Digest() != p.state.Digest {
			return errChanged
		}
		// Some servers have an ETag each. If there is a hash, it will tell.
		if etag != "" && etag != p.state.ETag && f.Digest() == "" {
			return errChanged
		}
		etag = cmp.Or(etag, p.state.ETag)
	case a.StatusCode == http.StatusRequestedRangeNotSatisfiable && p.have > 0:
		return errChanged // it is shorter now
	default:
		return c.failed(f.URL, a.Response)
	}
	if f.Size >= 0 && total >= 0 && total != f.Size {
		return fmt.Errorf("GET %s: the server has %d bytes, want %d", redacted(f.URL), total, f.Size)
	}
	if f.Size >= 0 {
		total = f.Size
	}
	if total > maxFile {
		return permanent{fmt.Errorf("GET %s: the server has %d bytes, want at most %d", redacted(f.URL), total, int64(maxFile))}
	}
	if err := p.describe(state{redacted(f.URL), etag, f.Digest(), total}); err != nil {
		return permanent{err}
	}
	c.progress(p.have, max(total, 0))
	limit := total
	if limit < 0 {
		limit = maxFile
	}
	// One more byte than there should be is one that is too much.
	err = p.write(io.LimitReader(a, limit-p.have+1), func() {
		a.touch() // the disk was slow, not the server
		c.progress(p.have, max(total, 0))
	})
	switch {
	case p.have > limit:
		if err := p.reset(); err != nil {
			return permanent{err}
		}
		return fmt.Errorf("GET %s: more than %d bytes came", redacted(f.URL), limit)
	case err != nil:
		return fmt.Errorf("after %d of %d bytes: %w", p.have, total, a.because(err))
	case total >= 0 && p.have < total: // a part of what was asked for
		return fmt.Errorf("after %d of %d bytes: %w", p.have, total, io.ErrUnexpectedEOF)
	case p.have == 0 && f.Size != 0:
		return fmt.Errorf("GET %s: got 0 bytes, want at least 1", redacted(f.URL))
	}
	return nil
}

// write appends what comes from r. An error of the disk is permanent.
func (p *partial) write(r io.Reader, wrote func()) error {
	return appendAll(p.file, r, func(n int) {
		p.have += int64(n)
		wrote()
	})
}

// appendAll copies r to w and tells wrote about every piece. An error of w is permanent.
func appendAll(w io.Writer, r io.Reader, wrote func(n int)) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			written, err := w.Write(buf[:n])
			wrote(written)
			if err != nil {
				return permanent{fmt.Errorf("writing to disk: %w", err)}
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (c *Client) progress(done, total int64) {
	if c.Progress != nil {
		c.Progress(done, total)
	}
}

// learn completes f by what the hub says of the file, before it redirects to where the content is: for
// one in LFS the ETag is the SHA-256, for others git's SHA-1.
//
// Source: huggingface/huggingface_hub, file_download.py, get_hf_file_metadata.
func (c *Client) learn(f *File, resp *http.Response) {
	for ; resp != nil; resp = resp.Request.Response {
		if resp.Header.Get("X-Repo-Commit") == "" || origin(resp.Request.URL.String()) != origin(c.Endpoint) {
			continue
		}
		etag := resp.Header.Get("X-Linked-Etag")
		if etag == "" && resp.StatusCode < 300 {
			etag = resp.Header.Get("Etag")
		}
		etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
		if f.Digest() == "" {
			switch {
			case hexSHA256.MatchString(etag):
				f.SHA256 = etag
			case hexSHA1.MatchString(etag):
				f.Blob = etag
			}
		}
		if n, err := strconv.ParseInt(resp.Header.Get("X-Linked-Size"), 10, 64); err == nil && n >= 0 && f.Size < 0 {
			f.Size = n
		}
	}
}

// strong returns an ETag that stands for every byte of a file, or "" if this one does not.
// Source: RFC 9110, 8.8.3 and 13.1.5.
func strong(etag string) string {
	if len(etag) > 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		return etag
	}
	return ""
}

// contentRange reads "bytes FIRST-LAST/TOTAL". The total is -1 if it is *.
// Source: RFC 9110, 14.4.
func contentRange(s string) (first, total int64, err error) {
	bad := fmt.Errorf("Content-Range is %.60q, want bytes FIRST-LAST/TOTAL", s)
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, all, ok2 := strings.Cut(rest, "/")
	from, to, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, bad
	}
	last := int64(0)
	for _, n := range []struct {
		s  string
		to *int64
	}{{from, &first}, {to, &last}, {all, &total}} {
		if n.s == "*" && n.to == &total {
			total = -1
			continue
		}
		if *n.to, err = strconv.ParseInt(n.s, 10, 64); err != nil || *n.to < 0 {
			return 0, 0, bad
		}
	}
	if last < first || total >= 0 && last >= total {
		return 0, 0, bad
	}
	return first, total, nil
}
