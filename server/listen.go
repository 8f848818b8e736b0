package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// ErrExposed is of an address that other machines reach, where the configuration has not what that wants.
var ErrExposed = errors.New("is reached from other machines")

// Listen opens what an address means: HOST:PORT, unix:PATH of a socket that this process makes, or systemd, which is all sockets that
// systemd has opened for the process. An address that other machines reach wants TLS and tokens, or certificates of clients, unless the
// configuration is Insecure: else it is an [ErrExposed]. That of a Unix socket is as safe as its folder.
func Listen(c Config, address string) ([]net.Listener, error) {
	if address == "systemd" {
		all, err := activated()
		if err != nil {
			return nil, err
		}
		for _, l := range all {
			if err := permitted(c, l.Addr().String(), l.Addr()); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 { // left by a process that was killed
			if conn, err := net.Dial("unix", path); err == nil {
				conn.Close()
				return nil, fmt.Errorf("server: %s: another process listens there", path)
			}
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("server: %w", err)
			}
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
		return []net.Listener{l}, nil
	}
	if err := CheckAddress(c, address); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if err := permitted(c, address, l.Addr()); err != nil { // of a name, which led elsewhere
		l.Close()
		return nil, err
	}
	return []net.Listener{l}, nil
}

// CheckAddress returns the error with which [Listen] would refuse an address without trying it: one that means nothing, or an
// [ErrExposed]. What a name leads to it does not know.
func CheckAddress(c Config, address string) error {
	if address == "systemd" || strings.HasPrefix(address, "unix:") {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("server: address %q: want HOST:PORT, unix:PATH or systemd", address)
	}
	return permitted(c, address, hostAddr(host))
}

// hostAddr is the host of an address before anything listens there.
type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (h hostAddr) String() string { return string(h) }

// isLocal says whether an address is of this machine alone.
func isLocal(a net.Addr) bool {
	if a.Network() == "unix" {
		return true
	}
	host := a.String()
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// permitted returns an error for an address that others reach if the configuration lets them do what they want.
func permitted(c Config, name string, a net.Addr) error {
	if _, isHost := a.(hostAddr); isHost && a.String() != "" {
		if _, err := netip.ParseAddr(a.String()); err != nil {
			return nil // a name: what it leads to is seen later
		}
	}
	if isLocal(a) || c.Insecure {
		return nil
	}
	switch {
	case c.Certificate == "":
		return fmt.Errorf("server: %s %w, and without TLS they read along", name, ErrExposed)
	case c.Tokens == "" && c.ClientCA == "":
		return fmt.Errorf("server: %s %w, and asks for neither a token nor a certificate", name, ErrExposed)
	}
	return nil
}

// activated returns the sockets that systemd has opened, by sd_listen_fds(3): LISTEN_FDS of them, from 3 on, for LISTEN_PID.
func activated() ([]net.Listener, error) {
	if pid := os.Getenv("LISTEN_PID"); pid != strconv.Itoa(os.Getpid()) {
		return nil, fmt.Errorf("server: systemd has opened no socket for this process: LISTEN_PID is %q, want %d", pid, os.Getpid())
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 1 || n > 64 {
		return nil, fmt.Errorf("server: systemd: LISTEN_FDS is %q, want 1 to 64", os.Getenv("LISTEN_FDS"))
	}
	var all []net.Listener
	for fd := 3; fd < 3+n; fd++ {
		f := os.NewFile(uintptr(fd), "systemd")
		l, err := net.FileListener(f) // a copy
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("server: systemd: socket %d: %w", fd, err)
		}
		all = append(all, l)
	}
	return all, nil
}
