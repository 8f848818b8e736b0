// Package journal writes lines of JSON with a checksum of all before them, and reads them up to where they are torn or damaged.
package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Castagnoli is the table of the checksums.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append appends to b the line of a journal that has v, and returns the checksum of the journal up to there, which
// was sum before.
func Append(b []byte, sum uint32, v any) ([]byte, uint32, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, 0, err
	}
	sum = crc32.Update(sum, Castagnoli, text)
	return fmt.Appendf(b, "%08x %s\n", sum, text), sum, nil
}

// MaxEntry is how long a line of a journal may be: it has the name of a row, which may be a text.
const MaxEntry = 64 << 20

// A Reader reads a journal up to where it is torn or damaged.
type Reader struct {
	r   *bufio.Reader
	End int64  // of the lines that were sound
	Sum uint32 // of them
}

// NewReader returns a reader of a journal from its beginning.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReader(r)} }

// Next decodes a line into v, and reports whether there was a sound one.
func (j *Reader) Next(v any) (bool, error) {
	var line []byte
	for {
		part, err := j.r.ReadSlice('\n')
		line = append(line, part...)
		if errors.Is(err, io.EOF) || len(line) > MaxEntry { // torn, or no line
			return false, nil
		}
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return false, err
		}
	}
	digits, text, ok := bytes.Cut(line[:len(line)-1], []byte(" "))
	var said [4]byte
	if n, err := hex.Decode(said[:], digits[:min(len(digits), 8)]); !ok || err != nil || n != 4 || len(digits) != 8 {
		return false, nil
	}
	sum := crc32.Update(j.Sum, Castagnoli, text)
	if sum != binary.BigEndian.Uint32(said[:]) || json.Unmarshal(text, v) != nil {
		return false, nil
	}
	j.End += int64(len(line))
	j.Sum = sum
	return true, nil
}
