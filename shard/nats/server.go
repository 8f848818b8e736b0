package nats

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"

	"github.com/vitago/vitago/internal/folder"
)

// startTimeout is how long a server may take to start: it reads what its folder has.
const startTimeout = time.Minute

// EmbedOptions say where an embedded server keeps its files and where it listens.
type EmbedOptions struct {
	Dir       string                // of its streams
	Listen    string                // HOST:PORT; "" is none: only this process connects. Port 0 is a free one
	Config    string                // a file of nats-server's configuration: users, TLS, a cluster; Listen and Dir go before it
	Log       func(text string)     // gets its warnings and errors; nil is none
	Configure func(*server.Options) // changes nats-server's own options, last; nil is none
}

// A Server is a NATS server with JetStream in this process.
type Server struct {
	server *server.Server
	unlock func()
}

// Embed starts a server. What it acknowledges lies on the disk (sync_interval: always), unless Config says otherwise. Two servers
// cannot have one Dir. Without users a server may listen on a loopback address only.
func Embed(o EmbedOptions) (*Server, error) {
	opts := &server.Options{}
	if o.Config != "" {
		var err error
		if opts, err = server.ProcessConfigFile(o.Config); err != nil {
			return nil, fmt.Errorf("nats: %w", err)
		}
	}
	if o.Dir != "" {
		opts.StoreDir = o.Dir
	}
	if opts.StoreDir == "" {
		return nil, errors.New("nats: an embedded server needs a folder for its files")
	}
	opts.JetStream, opts.NoSigs, opts.DisableJetStreamBanner = true, true, true
	if opts.SyncInterval == 0 {
		opts.SyncAlways = true
	}
	if err := o.listen(opts); err != nil {
		return nil, err
	}
	if o.Configure != nil {
		o.Configure(opts)
	}
	if err := os.MkdirAll(opts.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	unlock, err := folder.Lock(filepath.Join(opts.StoreDir, "vitago.lock"))
	if err != nil {
		return nil, fmt.Errorf("nats: %s: %w", opts.StoreDir, err)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("nats: %w", err)
	}
	s.SetLoggerV2(logger{o.Log}, false, false, false)
	go s.Start()
	e := &Server{s, unlock}
	if !s.ReadyForConnections(startTimeout) {
		e.Close()
		return nil, fmt.Errorf("nats: the embedded server does not start within %v", startTimeout)
	}
	if !s.JetStreamEnabled() { // its log says why
		e.Close()
		return nil, fmt.Errorf("nats: the embedded server has no JetStream: is %s writable, and does the disk have room?", opts.StoreDir)
	}
	return e, nil
}

// listen puts the address into the server's options.
func (o EmbedOptions) listen(opts *server.Options) error {
	if o.Listen == "" {
		opts.DontListen = o.Config == ""
		return nil
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return fmt.Errorf("nats: address is %q, want HOST:PORT: %w", o.Listen, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("nats: port is %q, want 0 to 65535", port)
	}
	opts.Host, opts.Port = host, int(n)
	if n == 0 {
		opts.Port = server.RANDOM_PORT
	}
	open := opts.Username == "" && opts.Authorization == "" && len(opts.Users) == 0 && len(opts.Nkeys) == 0 && len(opts.TrustedOperators) == 0 && len(opts.Accounts) == 0 && !opts.TLSVerify && opts.AuthCallout == nil
	if open && !loopback(host) {
		return fmt.Errorf("nats: %s is reached by others, and anybody could connect: want users in a configuration file, or a loopback address", o.Listen)
	}
	return nil
}

// loopback says whether a host is this machine alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Connect returns a connection within the process. Its user is that of o, if the server has users.
func (s *Server) Connect(o ...client.Option) (*client.Conn, error) {
	nc, err := client.Connect("", append([]client.Option{client.InProcessServer(s.server)}, o...)...)
	if err != nil {
		return nil, fmt.Errorf("nats: the embedded server: %w", err)
	}
	return nc, nil
}

// URL is where clients find the server, or "" if it does not listen.
func (s *Server) URL() string {
	if s.server.Addr() == nil {
		return ""
	}
	return s.server.ClientURL()
}

// Drain waits until clients of other processes are gone, but not long: workers ask every 2 seconds whether the job is over.
func (s *Server) Drain() {
	for end := time.Now().Add(3 * fetchWait); s.server.NumClients() > 0 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
}

// Close ends the server. What it has acknowledged stays in its folder.
func (s *Server) Close() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
	s.unlock()
}

// logger gives a server's warnings and errors to a function.
type logger struct{ log func(string) }

func (l logger) say(format string, v []any) {
	if l.log != nil {
		l.log("nats-server: " + fmt.Sprintf(format, v...))
	}
}

func (l logger) Warnf(format string, v ...any)  { l.say(format, v) }
func (l logger) Errorf(format string, v ...any) { l.say(format, v) }
func (l logger) Fatalf(format string, v ...any) { l.say(format, v) }
func (logger) Noticef(string, ...any)           {}
func (logger) Debugf(string, ...any)            {}
func (logger) Tracef(string, ...any)            {}
