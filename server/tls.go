package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// certificates are those of the server and of the authorities of its clients, read again when a file has changed.
type certificates struct {
	files [3]string // certificate, key, authorities
	log   *slog.Logger

	mu      sync.Mutex
	config  *tls.Config
	stamps  [3]string
	checked time.Time
}

// checkEvery is how often files are looked at while clients connect.
const checkEvery = 5 * time.Second

func newCertificates(cert, key, ca string, log *slog.Logger) (*certificates, error) {
	c := &certificates{files: [3]string{cert, key, ca}, log: log, checked: time.Now()}
	c.stamps = c.stamp()
	var err error
	c.config, err = c.read()
	return c, err
}

// stamp returns what changes with a file.
func (c *certificates) stamp() (all [3]string) {
	for i, f := range c.files {
		if info, err := os.Stat(f); f != "" && err == nil {
			all[i] = fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
		}
	}
	return all
}

func (c *certificates) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		return nil, fmt.Errorf("server: certificate: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if c.files[2] != "" {
		pem, err := os.ReadFile(c.files[2])
		if err != nil {
			return nil, fmt.Errorf("server: authorities of clients: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("server: authorities of clients: %s holds no certificate, want PEM", c.files[2])
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// current returns the configuration of TLS for a client that connects now.
func (c *certificates) current(now time.Time) *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.checked) < checkEvery {
		return c.config
	}
	c.checked = now
	stamps := c.stamp()
	if stamps == c.stamps {
		return c.config
	}
	config, err := c.read()
	if err != nil { // while the files are being replaced, too: they are looked at again
		c.log.Error("the certificate stays as it was", "error", err)
		return c.config
	}
	c.config, c.stamps = config, stamps
	c.log.Info("the certificate has changed", "file", c.files[0])
	return config
}

// tlsConfig returns a configuration that asks for that in force with every client.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.force.Load().certs.current(time.Now()), nil
		},
	}
}

// quietHandshakes keeps failed handshakes out of the log but for debugging: scanners of ports make thousands.
type quietHandshakes struct{ slog.Handler }

func (q quietHandshakes) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "TLS handshake error") {
		r.Level = slog.LevelDebug
		if !q.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return q.Handler.Handle(ctx, r)
}
