//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/vitago/vitago/shard/nats"
	"github.com/vitago/vitago/shard/shardtest"
)

// Environment variables of processes that are this test's binary.
const (
	argsEnv   = "VITAGO_NATS_ARGS"   // the command's arguments, as JSON
	stayEnv   = "VITAGO_NATS_STAY"   // does not end when it is done
	serverEnv = "VITAGO_NATS_SERVER" // a node, as JSON
)

func TestMain(m *testing.M) {
	if text := os.Getenv(serverEnv); text != "" {
		serve(text)
	}
	if text := os.Getenv(argsEnv); text != "" {
		var args []string
		if err := json.Unmarshal([]byte(text), &args); err != nil {
			panic(err)
		}
		status := run(context.Background(), args, os.Stdout, os.Stderr)
		if status == 0 && os.Getenv(stayEnv) != "" {
			select {} // the fleet ends its driver
		}
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// command returns a process of the command.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(me)
	c.Env = append(os.Environ(), argsEnv+"="+string(marshal(args)), "GOMAXPROCS=1", "XDG_CACHE_HOME="+t.TempDir())
	return c
}

// fleet returns processes that encode tars: a driver and workers, with the driver's flags of the broker and those of the workers.
func fleet(t *testing.T, p shardtest.Pictures, out string, driver, worker []string) (shardtest.Fleet, shardtest.Dataset) {
	t.Helper()
	tars := shardtest.Tars(t, t.TempDir(), p)
	want := shardtest.Reference(t, shardtest.Options("", tars))
	return shardtest.Fleet{
		Shards: p.Shards,
		Driver: func() *exec.Cmd {
			c := command(t, append(append([]string{"drive", "--model", "builtin:demo", "-o", out, "--max-errors", "0.5", "--resume", "--lease", "2s", "--deliveries", "50"}, driver...), tars...)...)
			c.Env = append(c.Env, stayEnv+"=1")
			return c
		},
		Start: func(int) *exec.Cmd { return command(t, append([]string{"work"}, worker...)...) },
		Done:  func(ctx context.Context) (int, error) { return shardtest.Records(ctx, out) },
	}, want
}

// TestFleet: a driver with the server in it, and workers, are killed and paused; in the end every shard is there once, with the bytes
// that it has without faults.
func TestFleet(t *testing.T) {
	p := shardtest.Pictures{Shards: 40, PerShard: 6}
	out, at := t.TempDir(), freePort(t)
	f, want := fleet(t, p, out, []string{"--dir", t.TempDir(), "--listen", at}, []string{"--nats", "nats://" + at})
	f.Workers, f.Seed, f.Kills, f.Pauses, f.Twins, f.DriverKills = 3, 1, 3, 2, 1, 2
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	got, err := f.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Failed) > 0 || got.Kills == 0 || got.Pauses == 0 || got.DriverKills == 0 {
		t.Errorf("%+v, want faults and no worker that failed", got)
	}
	t.Logf("%d workers killed, %d paused, %d doubled, %d drivers killed", got.Kills, got.Pauses, got.Twins, got.DriverKills)
	shardtest.Whole(t, out, want)
}

// A node says what one server of a cluster is.
type node struct {
	Name, Dir, Advertise string
	Routes               []string
}

// serve is the process of a server. It says its addresses, and is killed.
func serve(text string) {
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		panic(err)
	}
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var routes []*url.URL
	for _, r := range n.Routes {
		u, err := url.Parse(r)
		if err != nil {
			fail(err)
		}
		routes = append(routes, u)
	}
	var opts *server.Options
	s, err := nats.Embed(nats.EmbedOptions{Dir: n.Dir, Listen: "127.0.0.1:0", Configure: func(o *server.Options) {
		o.ServerName, o.Routes, o.ClientAdvertise = n.Name, routes, n.Advertise
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoAdvertise: true, PoolSize: -1}
		opts = o
	}})
	if err != nil {
		fail(err)
	}
	fmt.Println(strings.TrimPrefix(s.URL(), "nats://"), net.JoinHostPort("127.0.0.1", fmt.Sprint(opts.Cluster.Port)))
	select {}
}

// A proxy stands before a server, and can cut it off.
type proxy struct {
	l net.Listener

	mu    sync.Mutex
	to    string
	cut   bool
	conns map[net.Conn]bool
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.pass(c) })
		}
	})
	t.Cleanup(func() { l.Close(); p.set(true); all.Wait() })
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) pass(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	to, cut := p.to, p.cut
	p.mu.Unlock()
	if cut || to == "" {
		return
	}
	s, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer s.Close()
	p.mu.Lock()
	if cut = p.cut; !cut {
		p.conns[c], p.conns[s] = true, true
	}
	p.mu.Unlock()
	if cut {
		return
	}
	done := make(chan struct{})
	go func() { io.Copy(s, c); s.Close(); c.Close(); close(done) }()
	io.Copy(c, s)
	c.Close()
	<-done
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, s)
	p.mu.Unlock()
}

// set cuts the connections, and refuses new ones, or lets them pass again.
func (p *proxy) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		for c := range p.conns {
			c.Close()
		}
	}
}

func (p *proxy) lead(to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
}

// A cluster is three servers, whose routes and clients go through proxies.
type cluster struct {
	t       *testing.T
	nodes   [3]node
	clients [3]*proxy
	routes  [3][3]*proxy // from the first to the second
	cmds    [3]*exec.Cmd
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for i := range 3 {
		c.clients[i] = newProxy(t)
		c.nodes[i] = node{Name: fmt.Sprint("n", i), Dir: t.TempDir(), Advertise: c.clients[i].addr()}
		for j := range 3 {
			if i != j {
				c.routes[i][j] = newProxy(t)
				c.nodes[i].Routes = append(c.nodes[i].Routes, "nats://"+c.routes[i][j].addr())
			}
		}
	}
	for i := range 3 {
		if err := c.start(i); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for i := range 3 {
			c.kill(i)
		}
	})
	return c
}

func (c *cluster) start(i int) error {
	me, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(me)
	cmd.Env = append(os.Environ(), serverEnv+"="+string(marshal(c.nodes[i])), "GOMAXPROCS=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmds[i] = cmd
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("server %d: %w", i, err)
	}
	client, route, _ := strings.Cut(strings.TrimSpace(line), " ")
	c.clients[i].lead(client)
	for j := range 3 {
		if i != j {
			c.routes[j][i].lead(route)
		}
	}
	return nil
}

func (c *cluster) kill(i int) {
	c.cmds[i].Process.Kill()
	c.cmds[i].Wait()
}

// cut cuts a server off from clients and the others, or heals that.
func (c *cluster) cut(i int, cut bool) {
	c.clients[i].set(cut)
	for j := range 3 {
		if i != j {
			c.routes[i][j].set(cut)
			c.routes[j][i].set(cut)
		}
	}
}

func (c *cluster) url() string {
	var all []string
	for _, p := range c.clients {
		all = append(all, "nats://"+p.addr())
	}
	return strings.Join(all, ",")
}

// TestCluster: three servers keep the queue, and four workers encode. Servers are killed, paused and cut off from the others and from
// all clients, one at a time and two at a time; drivers and workers are killed and paused.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes")
	}
	p := shardtest.Pictures{Shards: 200, PerShard: 30}
	out, c := t.TempDir(), newCluster(t)
	f, want := fleet(t, p, out, []string{"--nats", c.url(), "--replicas", "3"}, []string{"--nats", c.url()})
	f.Workers, f.Seed, f.Kills, f.Pauses, f.Twins, f.DriverKills = 4, 2, 12, 8, 2, 3
	faults := []func(){
		func() { c.kill(0); time.Sleep(time.Second); c.must(c.start(0)) },
		func() { c.pause(1, 3*time.Second) },
		func() { c.cut(2, true); time.Sleep(3 * time.Second); c.cut(2, false) },
		func() { c.kill(1); c.kill(2); time.Sleep(time.Second); c.must(c.start(1)); c.must(c.start(2)) },
		func() { c.cut(0, true); c.cut(1, true); time.Sleep(2 * time.Second); c.cut(0, false); c.cut(1, false) },
		func() { c.pause(0, 3*time.Second) },
	}
	next := make(chan func())
	var all sync.WaitGroup
	ran := 0
	all.Go(func() {
		for f := range next {
			f()
			ran++
		}
	})
	done := f.Done
	f.Done = func(ctx context.Context) (int, error) {
		n, err := done(ctx)
		if i := len(faults); i > 0 && n >= p.Shards-(p.Shards/7)*i {
			select {
			case next <- faults[0]:
				faults = faults[1:]
			default: // the one before goes on
			}
		}
		return n, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	got, err := f.Run(ctx)
	close(next)
	all.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Failed) > 0 || got.Kills == 0 || got.Pauses == 0 || got.DriverKills == 0 || ran < 5 {
		t.Errorf("%+v, %d faults of servers, want faults and no worker that failed", got, ran)
	}
	t.Logf("%v: %d workers killed, %d paused, %d doubled, %d drivers killed, %d faults of servers", time.Since(began), got.Kills, got.Pauses, got.Twins, got.DriverKills, ran)
	shardtest.Whole(t, out, want)
}

func (c *cluster) must(err error) {
	if err != nil {
		c.t.Error(err)
	}
}
