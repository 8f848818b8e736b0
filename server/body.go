package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/vitago/vitago/server/status"
)

// writeTimeout is how long a client may take none of what is written to it.
const writeTimeout = 60 * time.Second

// An answer remembers what was written, and ends where nobody takes it.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	bytes   int64
	lasts   bool // nothing may be written for long
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(code int) {
	if a.status == 0 && code >= 200 {
		a.status = code
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if !a.lasts {
		_ = a.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // a writer without deadlines has none
	}
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// Flush is what gRPC asks for.
func (a *answer) Flush() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	_ = a.control.Flush()
}

// unwrap returns the writer of net/http, which a reader of limited bytes tells to close the connection.
func unwrap(w http.ResponseWriter) http.ResponseWriter {
	if a, ok := w.(*answer); ok {
		return a.ResponseWriter
	}
	return w
}

// paced is a body that has to come with [bodyRate] in the long run, and may not stand still for longer than stall. Its errors are an
// [status.ErrBody], but for those of too many bytes, and that of grow.
type paced struct {
	io.ReadCloser
	control *http.ResponseController
	begin   time.Time
	read    int64
	stall   time.Duration
	counted int64                   // bytes that it has room for in the queue
	grow    func(bytes int64) error // makes room for so many more; nil if its length is known
	refused bool                    // there is more than may be
}

func (p *paced) Read(b []byte) (int, error) {
	now := time.Now()
	until := now.Add(p.stall)
	if last := p.begin.Add(p.stall + time.Duration(p.read)*time.Second/bodyRate); last.Before(until) {
		until = last
	}
	_ = p.control.SetReadDeadline(until) // a reader without deadlines has none
	n, err := p.ReadCloser.Read(b)
	_ = p.control.SetReadDeadline(time.Time{}) // net/http goes on to read, to see whether the client is still there
	p.read += int64(n)
	if p.grow != nil && p.read > p.counted {
		if err := p.grow(p.counted); err != nil { // twice as much each time
			p.refuse()
			return 0, err
		}
		p.counted *= 2
	}
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case errors.As(err, new(*http.MaxBytesError)):
		p.refuse()
		return n, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, fmt.Errorf("%w: %d bytes came in %v, want %d a second and no pause of more than %v", status.ErrBody, p.read, time.Since(p.begin).Round(time.Second), bodyRate, p.stall)
	}
	return n, fmt.Errorf("%w: it ended after %d bytes", status.ErrBody, p.read) // the reason has addresses
}

// refuse lets the answer come before the rest of the body, which is thrown away.
func (p *paced) refuse() {
	if !p.refused {
		p.refused = true
		_ = p.control.EnableFullDuplex()
	}
}

// Bounds of what is read of bodies that nobody wants.
const (
	maxLingers   = 64        // at a time
	lingerBytes  = 128 << 20 // of a body
	lingerTime   = 30 * time.Second
	lingerPause  = 5 * time.Second        // without a byte
	lingerStream = 300 * time.Millisecond // of a stream of HTTP/2
	lingerBuffer = 32 << 10
)

// linger answers before a body is read, and then reads it and throws it away: a connection that is closed while the client is sending is
// reset, and the client does not see the answer. A client that waits for 100 Continue sends nothing.
func (s *Server) linger(w http.ResponseWriter, r *http.Request, write func()) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		write()
		return
	}
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	if r.Header.Get("Expect") != "" {
		write()
		return
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex() // HTTP/1.1 would read the body before it answers
	write()
	if control.Flush() != nil {
		return
	}
	s.throwAway(control, r.Body, r.ProtoMajor)
}

// throwAway reads what is left of a body, within bounds.
func (s *Server) throwAway(control *http.ResponseController, body io.Reader, protocol int) {
	select {
	case s.lingers <- struct{}{}:
		defer func() { <-s.lingers }()
	default:
		return
	}
	until, pause := time.Now().Add(lingerTime), lingerPause
	if protocol == 2 { // a client may wait for 100 Continue, of which net/http does not tell, or send no more, as Go's, and wait for the end of the stream
		pause = lingerStream
	}
	buffer := make([]byte, lingerBuffer)
	for left := int64(lingerBytes); left > 0; {
		next := time.Now().Add(pause)
		if until.Before(next) {
			next = until
		}
		_ = control.SetReadDeadline(next)
		n, err := body.Read(buffer)
		if left -= int64(n); err != nil {
			return
		}
	}
}
