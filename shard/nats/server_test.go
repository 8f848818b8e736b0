package nats

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEmbed: what an embedded server is not to do it does not.
func TestEmbed(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		o    EmbedOptions
		want string
	}{
		{EmbedOptions{}, "needs a folder"}, {EmbedOptions{Dir: dir, Listen: "4222"}, `address is "4222"`}, {EmbedOptions{Dir: dir, Listen: "localhost:x"}, `port is "x"`},
		{EmbedOptions{Dir: dir, Listen: "0.0.0.0:0"}, "anybody could connect"}, {EmbedOptions{Dir: dir, Listen: ":0"}, "anybody could connect"},
		{EmbedOptions{Dir: dir, Config: filepath.Join(dir, "no.conf")}, "no.conf"},
	} {
		if s, err := Embed(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %s", c.o, err, c.want)
			if err == nil {
				s.Close()
			}
		}
	}
	s, _ := embedded(t, dir)
	if url := s.URL(); url != "" {
		t.Errorf("a server that does not listen is at %s", url)
	}
	if _, err := Embed(EmbedOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process is writing it") {
		t.Errorf("two servers in one folder: %v", err)
	}
}

// TestAccess: users of a configuration file have to say who they are, and credentials show in no message.
func TestAccess(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(config, []byte(`authorization { user: ann, password: "s3cret" }`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Embed(EmbedOptions{Dir: filepath.Join(dir, "js"), Config: config, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nc, err := Access{URL: s.URL(), User: "ann", Password: "s3cret"}.Connect(within(t), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(within(t), nc, Options{}, Description{}); err != nil {
		t.Error(err)
	}
	nc.Close()
	if _, err := (Access{URL: strings.Replace(s.URL(), "//", "//bob:t0psecret@", 1)}).Connect(within(t), "test", nil); err == nil || strings.Contains(err.Error(), "t0psecret") {
		t.Errorf("a wrong password: %v", err)
	}
	for _, c := range []struct {
		a    Access
		want string
	}{
		{Access{}, "no URL"}, {Access{URL: "x", Password: "p"}, "want a user"}, {Access{URL: "x", Cert: "c"}, "want both"}, {Access{URL: "x", User: "u", Creds: "c"}, "more than one"},
		{Access{URL: "x", Context: "c"}, "the one or the other"}, {Access{URL: "x", NKey: filepath.Join(dir, "none")}, "nkey"},
	} {
		if _, err := c.a.Connect(within(t), "test", nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %s", c.a, err, c.want)
		}
	}
}
