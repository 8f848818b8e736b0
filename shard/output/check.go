package output

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/shard/store"
)

// Check reads all files of a shard back, as [Writer.Close] returned them, from a store in which they have their names: the folder of [Create], or
// the dataset. An error says what is not as it was written: a sum, a number of rows, the type or shape of the vectors, a value that is no
// number, a length that is not 1, two rows of one key, a schema.
func Check(ctx context.Context, st store.Store, files []File, s Spec) error {
	seen := keys{}
	for r, err := range Rows(ctx, st, files, s) {
		if err != nil {
			return err
		}
		if err := seen.check(r.Key); err != nil {
			return fmt.Errorf("output: %s: %s: %w", st, printable(r.Key), err)
		}
		seen.add(r.Key)
	}
	for _, err := range Failures(ctx, st, files) {
		if err != nil {
			return err
		}
	}
	return nil
}

// Failures reads the failures of a shard back, as [Rows] reads its rows.
func Failures(ctx context.Context, st store.Store, files []File) iter.Seq2[Failure, error] {
	return func(yield func(Failure, error) bool) {
		for _, f := range files {
			if !isErrors(f) {
				continue
			}
			in, err := openInput(ctx, st, f)
			if err != nil {
				yield(Failure{}, fmt.Errorf("output: %w", err))
				return
			}
			lines, n := json.NewDecoder(in), 0
			for err == nil {
				var x failure
				if err = lines.Decode(&x); err == nil {
					n++
					if !yield(Failure(x), nil) {
						_ = in.close()
						return
					}
				}
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if err == nil && n != f.Rows {
				err = fmt.Errorf("has %d failures, want %d", n, f.Rows)
			}
			if err = errors.Join(err, in.end(), in.close()); err != nil {
				yield(Failure{}, fmt.Errorf("output: %s: %s: %w", st, f.Name, err))
				return
			}
		}
	}
}

// isErrors says whether a file is that of the failures.
func isErrors(f File) bool { return strings.HasPrefix(f.Name, "vitago/") }

// Rows reads the rows of a shard back. A vector is overwritten by the next row. What is not as it was written is an error, which is the last
// item; of a file that is read as a stream, a wrong sum is found at its end.
func Rows(ctx context.Context, st store.Store, files []File, s Spec) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		failed := func(err error) { yield(nil, fmt.Errorf("output: %s: %w", st, err)) }
		if err := s.Validate(); err != nil {
			yield(nil, err)
			return
		}
		files := slices.DeleteFunc(slices.Clone(files), isErrors)
		if len(files) == 0 {
			return
		}
		rows := files[0].Rows
		names := s.Names(0)
		if len(files) != len(names) || rows < 1 {
			failed(fmt.Errorf("a shard has %d files and %d rows, want %d and 1 or more", len(files), rows, len(names)))
			return
		}
		var all []*input
		defer func() {
			for _, in := range all {
				in.close()
			}
		}()
		for i, f := range files {
			if folder, _, _ := strings.Cut(names[i], "/"); !strings.HasPrefix(f.Name, folder+"/") || f.Rows != rows {
				failed(fmt.Errorf("%s has %d rows, want %d in a file of %s", f.Name, f.Rows, rows, folder))
				return
			}
			in, err := openInput(ctx, st, f)
			if err != nil {
				yield(nil, fmt.Errorf("output: %w", err))
				return
			}
			all = append(all, in)
		}
		for r, err := range formats[s.Format].read(&s, all, rows) {
			if err == nil {
				if err = r.check(&s); err != nil {
					err = fmt.Errorf("%s: %w", printable(r.Key), err)
				}
			}
			if err != nil {
				for _, in := range all { // a file that is damaged is the cause
					if e := in.end(); e != nil {
						err = fmt.Errorf("%s: %w", in.name, e)
						break
					}
				}
				failed(err)
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		for _, in := range all {
			if err := in.end(); err != nil {
				failed(fmt.Errorf("%s: %w", in.name, err))
				return
			}
		}
	}
}

// printable returns a key for a message.
func printable(key string) string {
	const longest = 200
	if len(key) > longest {
		key = key[:longest] + "…"
	}
	return pyjson.Printable(key)
}

// An input reads a file and sums what it reads.
type input struct {
	name  string
	want  File
	r     io.ReadCloser
	hash  hash.Hash
	n     int64
	local *os.File // a copy, of files that are not read as a stream
}

func openInput(ctx context.Context, st store.Store, f File) (*input, error) {
	r, err := st.Open(ctx, f.Name, 0, -1)
	if err != nil {
		return nil, err
	}
	return &input{name: f.Name, want: f, r: r, hash: sha256.New()}, nil
}

func (in *input) Read(p []byte) (int, error) {
	if in.n > in.want.Bytes {
		return 0, fmt.Errorf("has more than the %d bytes that were written", in.want.Bytes)
	}
	n, err := in.r.Read(p)
	in.hash.Write(p[:n])
	in.n += int64(n)
	return n, err
}

// end reads what is left, and returns an error if all of it is not what was written.
func (in *input) end() error {
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	if in.n != in.want.Bytes {
		return fmt.Errorf("has %d bytes, want %d", in.n, in.want.Bytes)
	}
	if got := hex.EncodeToString(in.hash.Sum(nil)); got != in.want.SHA256 {
		return fmt.Errorf("has the SHA-256 %.16s, want %.16s", got, in.want.SHA256)
	}
	return nil
}

// copied returns a copy on this machine, which is what was written.
func (in *input) copied() (_ io.ReaderAt, size int64, err error) {
	if in.local, err = os.CreateTemp("", "vitago-check-*"); err != nil {
		return nil, 0, err
	}
	_ = os.Remove(in.local.Name()) // already, where a system permits it, so that a process that is killed leaves none
	if _, err := io.Copy(in.local, in); err != nil {
		return nil, 0, err
	}
	return in.local, in.n, in.end()
}

func (in *input) close() error {
	err := in.r.Close()
	if in.local != nil {
		err = errors.Join(err, in.local.Close())
		if e := os.Remove(in.local.Name()); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
