package notebook

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
)

// gonbPipe is the variable with the path of the named pipe by which a cell of GoNB says what is shown.
//
// Source: janpfeifer/gonb, gonbui/protocol/protocol.go, GONB_PIPE_ENV.
const gonbPipe = "GONB_PIPE"

// A displayData is what GoNB reads from the pipe, by encoding/gob, which goes by the names of fields. All types that it is made of have
// names of their own, so that a cell may use GoNB's package gonbui as well: a stream of gob describes a type once, and two
// encoders with types of their own write one valid stream.
//
// Source: janpfeifer/gonb, gonbui/protocol/protocol.go, DisplayData.
type displayData struct {
	Data mimeMap
}

type mimeMap map[string]any

// A pipe is the way to a kernel.
type pipe struct {
	mu    sync.Mutex
	path  string
	w     io.WriteCloser
	buf   bytes.Buffer
	enc   *gob.Encoder // into buf
	syncs uint64
}

// kernel is the one that runs this cell.
var kernel pipe

// display shows bundles, and returns when the kernel has taken them.
func (p *pipe) display(path string, all []bundle) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil || p.path != path {
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if p.w != nil {
			p.w.Close() // a program with more than one, as tests have
		}
		p.path, p.w = path, w
		p.buf.Reset()
		p.enc = gob.NewEncoder(&p.buf)
	}
	for _, b := range all {
		if err := p.enc.Encode(displayData{mimeMap(b)}); err != nil {
			return err
		}
	}
	p.syncs++
	p.buf.Write(padding(p.syncs))
	_, err := p.w.Write(p.buf.Bytes())
	p.buf.Reset()
	return err
}

// pipeSize is more than a named pipe and a reader's buffer hold: 64 KiB of Linux and macOS, and 4 KiB of bufio.
const pipeSize = 80 << 10

// padding returns a message that shows nothing: the description of a type that no value has, whose name is longer than the pipe
// holds. Once it is written, the kernel has read what was before it, one message after the other, so that a cell may end.
// Each has another number: a type must not be described twice. GoNB notes in its log that a value is missing when the cell has ended.
//
// Source: go.dev/pkg/encoding/gob, "Encoding Details"; a wireType with StructT, whose CommonType has a Name.
func padding(n uint64) []byte {
	const firstID = 1 << 20 // of types that gob has not numbered: it counts from 64
	var m bytes.Buffer
	m.Write(signed(-int64(firstID + n)))
	m.Write([]byte{3, 1, 1}) // StructT, its CommonType, its Name
	m.Write(unsigned(pipeSize))
	m.WriteString(strings.Repeat("_", pipeSize))
	m.Write([]byte{0, 0, 0}) // ends of the three
	return append(unsigned(uint64(m.Len())), m.Bytes()...)
}

// unsigned is an unsigned integer in gob: one byte below 128, or else the number of bytes, negated, before these.
func unsigned(n uint64) []byte {
	if n < 128 {
		return []byte{byte(n)}
	}
	b := bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, n), "\x00")
	return append([]byte{byte(-len(b))}, b...)
}

// signed is a signed integer in gob: the sign is in the lowest bit.
func signed(n int64) []byte { return unsigned(uint64(n<<1) ^ uint64(n>>63)) }

// interpreted says whether a kernel with an interpreter runs this, which shows the values of last lines itself.
var interpreted = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/cosmos72/gomacro" {
			return true
		}
	}
	return false
})
