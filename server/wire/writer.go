package wire

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// A jsonWriter writes JSON into memory. Commas are its own.
type jsonWriter struct {
	buf  []byte
	next bool // a comma is due before the next member or element
}

func (b *jsonWriter) comma() {
	if b.next {
		b.buf = append(b.buf, ',')
	}
	b.next = false
}

func (b *jsonWriter) nest(open, end byte, fill func()) *jsonWriter {
	b.comma()
	b.buf = append(b.buf, open)
	fill()
	b.buf = append(b.buf, end)
	b.next = true
	return b
}

func (b *jsonWriter) object(fill func()) *jsonWriter { return b.nest('{', '}', fill) }
func (b *jsonWriter) array(fill func()) *jsonWriter  { return b.nest('[', ']', fill) }

// member writes the name of a member, whose value is written next.
func (b *jsonWriter) member(name string) *jsonWriter {
	b.string(name)
	b.buf = append(b.buf, ':')
	b.next = false
	return b
}

// done ends a value that was appended to buf.
func (b *jsonWriter) done() { b.next = true }

func (b *jsonWriter) string(s string) {
	b.comma()
	b.buf, _ = jsontext.AppendQuote(b.buf, s) // an error is invalid UTF-8, which is replaced
	b.done()
}

// optional writes null for "".
func (b *jsonWriter) optional(s string) {
	if s == "" {
		b.raw("null")
		return
	}
	b.string(s)
}

func (b *jsonWriter) raw(s string) {
	b.comma()
	b.buf = append(b.buf, s...)
	b.done()
}

func (b *jsonWriter) int(n int) {
	b.comma()
	b.buf = strconv.AppendInt(b.buf, int64(n), 10)
	b.done()
}

func (b *jsonWriter) ints(all []int) {
	b.array(func() {
		for _, n := range all {
			b.int(n)
		}
	})
}

// An encoding is how the values of a vector are written.
type encoding string

const (
	encodeFloat   encoding = "float"   // numbers, of which each is the shortest decimal that gives the float32 again
	encodeBase64  encoding = "base64"  // little-endian float32, in base64 with padding
	encodeBinary  encoding = "binary"  // a bit for each value, 1 if it is above 0, the first the highest of a byte; bytes less 128
	encodeUbinary encoding = "ubinary" // the same, bytes as they are
)

// parseEncoding returns the encoding of a name that a request has in a member.
func parseEncoding(param, name string) (encoding, error) {
	switch e := encoding(name); e {
	case encodeFloat, encodeBase64, encodeBinary, encodeUbinary:
		return e, nil
	case "int8", "uint8":
		return "", refuse(param, "%s is %q: the scale of such numbers is each service's own, so there are none here; want float, base64, binary or ubinary", param, name)
	}
	return "", refuse(param, "%s is %q, want float, base64, binary or ubinary", param, name)
}

// vector writes a vector in an encoding.
func (b *jsonWriter) vector(v []float32, e encoding) {
	b.comma()
	switch e {
	case encodeBase64:
		little := make([]byte, 0, 4*len(v))
		for _, x := range v {
			little = binary.LittleEndian.AppendUint32(little, math.Float32bits(x))
		}
		b.buf = append(b.buf, '"')
		b.buf = base64.StdEncoding.AppendEncode(b.buf, little)
		b.buf = append(b.buf, '"')
	case encodeBinary, encodeUbinary:
		b.buf = append(b.buf, '[')
		for i := 0; i < len(v); i += 8 {
			bits := 0
			for j, x := range v[i:min(i+8, len(v))] {
				if x > 0 {
					bits |= 128 >> j
				}
			}
			if e == encodeBinary {
				bits -= 128
			}
			if i > 0 {
				b.buf = append(b.buf, ',')
			}
			b.buf = strconv.AppendInt(b.buf, int64(bits), 10)
		}
		b.buf = append(b.buf, ']')
	default:
		b.buf = appendFloats(b.buf, v)
	}
	b.done()
}

// appendFloats appends a JSON array of numbers. Whoever reads one as a float64 and rounds it to float32 gets the same bits.
func appendFloats(b []byte, v []float32) []byte {
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFloat(b, x)
	}
	return append(b, ']')
}

func appendFloat(b []byte, x float32) []byte {
	if a := max(x, -x); a == 0 || a >= 1e-6 && a < 1e21 { // as ECMAScript writes numbers
		return strconv.AppendFloat(b, float64(x), 'f', -1, 32)
	}
	b = strconv.AppendFloat(b, float64(x), 'e', -1, 32)
	if n := len(b); n >= 4 && b[n-4] == 'e' && b[n-2] == '0' { // e-07 is e-7 there
		b = append(b[:n-2], b[n-1])
	}
	return b
}

// write answers with JSON.
func write(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // unless nobody listens any more
}
