package nats

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/natscontext"
)

// An Access says where servers are and who connects, in the terms of NATS' own command. Empty fields are not given.
type Access struct {
	URL      string // of servers, with commas between them: nats://HOST:PORT, or tls:// or wss://
	Context  string // the name of a context of NATS' command, in the place of all others
	User     string // with Password
	Password string // of User
	Creds    string // a file of credentials: a JWT and its seed
	NKey     string // a file with the seed of an nkey
	Cert     string // a file in PEM of the client's certificate, with Key
	Key      string // a file in PEM of the certificate's private key, with Cert
	CA       string // a file in PEM of the authorities that servers' certificates are from
	TLSFirst bool   // TLS before the server says anything
}

// Connect returns a connection that comes back to its servers for ever, at random intervals below 4 seconds. As long as none is there
// it waits, until ctx ends; what a server refuses, as a wrong password, is an error at once. say gets what happens to the connection;
// nil is nobody.
func (a Access) Connect(ctx context.Context, name string, say func(text string)) (*client.Conn, error) {
	if say == nil {
		say = func(string) {}
	}
	o, err := a.options()
	if err != nil {
		return nil, err
	}
	o = append(o, lasting(name, say)...)
	for said := false; ; said = true {
		nc, err := a.connect(o)
		if err == nil || !errors.Is(err, client.ErrNoServers) {
			return nc, err
		}
		if !said {
			say(err.Error() + ": waiting")
		}
		if sleep(ctx, retryWait) != nil {
			return nil, err
		}
	}
}

func (a Access) connect(o []client.Option) (nc *client.Conn, err error) {
	if a.Context != "" {
		if nc, _, err = natscontext.Connect(a.Context, o...); err != nil {
			return nil, fmt.Errorf("nats: context %s: %w", a.Context, err)
		}
		return nc, nil
	}
	if nc, err = client.Connect(a.URL, o...); err != nil {
		return nil, fmt.Errorf("nats: %s: %w", redacted(a.URL), err)
	}
	return nc, nil
}

func (a Access) options() (o []client.Option, err error) {
	given := map[string]string{"a URL": a.URL, "a user": a.User, "a password": a.Password, "credentials": a.Creds, "an nkey": a.NKey, "a certificate": a.Cert, "a key": a.Key, "authorities": a.CA}
	if a.Context != "" {
		for what, value := range given {
			if value != "" || a.TLSFirst {
				return nil, fmt.Errorf("nats: got context %s and %s, want the one or the other", a.Context, what)
			}
		}
		return nil, nil
	}
	switch {
	case a.URL == "":
		return nil, fmt.Errorf("nats: no URL of a server")
	case a.Password != "" && a.User == "":
		return nil, fmt.Errorf("nats: got a password, want a user with it")
	case (a.Cert == "") != (a.Key == ""):
		return nil, fmt.Errorf("nats: got certificate %q and key %q, want both or none", a.Cert, a.Key)
	case a.User != "" && a.Creds != "" || a.User != "" && a.NKey != "" || a.Creds != "" && a.NKey != "":
		return nil, fmt.Errorf("nats: got more than one of a user, credentials and an nkey")
	}
	if a.User != "" {
		o = append(o, client.UserInfo(a.User, a.Password))
	}
	if a.Creds != "" {
		o = append(o, client.UserCredentials(a.Creds))
	}
	if a.NKey != "" {
		nkey, err := client.NkeyOptionFromSeed(a.NKey)
		if err != nil {
			return nil, fmt.Errorf("nats: nkey: %w", err)
		}
		o = append(o, nkey)
	}
	if a.Cert != "" {
		o = append(o, client.ClientCert(a.Cert, a.Key))
	}
	if a.CA != "" {
		o = append(o, client.RootCAs(a.CA))
	}
	if a.TLSFirst {
		o = append(o, client.TLSHandshakeFirst())
	}
	return o, nil
}

// lasting makes a connection one that outlives its servers.
func lasting(name string, say func(string)) []client.Option {
	return []client.Option{
		client.Name(name), client.MaxReconnects(-1), client.PingInterval(10 * time.Second), client.MaxPingsOutstanding(2),
		client.CustomReconnectDelay(func(int) time.Duration { return time.Duration(rand.Int64N(int64(4 * time.Second))) }),
		client.DisconnectErrHandler(func(_ *client.Conn, err error) {
			if err != nil {
				say("the broker is away: " + err.Error())
			}
		}),
		client.ReconnectHandler(func(nc *client.Conn) { say("connected again to " + redacted(nc.ConnectedUrlRedacted())) }),
		client.ErrorHandler(func(_ *client.Conn, _ *client.Subscription, err error) { say(err.Error()) }),
	}
}

// redacted returns URLs without passwords and tokens.
func redacted(urls string) string {
	parts := strings.Split(urls, ",")
	for i, p := range parts {
		if scheme, rest, ok := strings.Cut(p, "://"); ok {
			if _, host, ok := strings.Cut(rest, "@"); ok {
				parts[i] = scheme + "://" + host
			}
		}
	}
	return strings.Join(parts, ",")
}
