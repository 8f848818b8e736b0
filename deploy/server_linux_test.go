package deploy

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// patience is how long a server has to start, to answer and to end; it takes some milliseconds.
const patience = time.Minute

// image makes the image for this machine and returns the folder of its files, which a test may add to.
func image(t *testing.T) (rootfs string) {
	t.Helper()
	dir := t.TempDir()
	oci := filepath.Join(dir, "vitago.oci")
	if out, err := exec.CommandContext(t.Context(), "go", "run", "./image", "-o", oci, "-platforms", "linux/"+runtime.GOARCH).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	outer, err := layout.ImageIndexFromPath(oci)
	if err != nil {
		t.Fatal(err)
	}
	m, err := outer.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	index, err := outer.ImageIndex(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = index.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	files := mutate.Extract(img)
	defer files.Close()
	rootfs = filepath.Join(dir, "rootfs")
	for a := tar.NewReader(files); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return rootfs
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			data, err := io.ReadAll(a)
			if err != nil {
				t.Fatal(err)
			}
			put(t, rootfs, h.Name, string(data), fs.FileMode(h.Mode))
		}
	}
}

// put writes a file below a folder.
func put(t *testing.T, folder, name, content string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// A running server is one that answers.
type running struct {
	cmd        *exec.Cmd
	url, admin string
	ended      chan error
	said       []string // what it wrote until then
}

var announced = regexp.MustCompile(`^(serving|probes and metrics:) (http://[^ ,]+)`)

// start starts a command that is a server, and waits until it says where it answers; admin says that it has probes on a port of
// their own. It is ended with the test.
func start(t *testing.T, cmd *exec.Cmd, admin bool) *running {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{cmd: cmd, ended: make(chan error, 1)}
	said := make(chan string, 1000)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			select {
			case said <- lines.Text():
			default: // nobody reads the log to its end
			}
		}
		close(said)
		r.ended <- cmd.Wait()
	}()
	t.Cleanup(func() { cmd.Process.Kill() })
	for late := time.After(patience); r.url == "" || admin && r.admin == ""; {
		select {
		case line, ok := <-said:
			if !ok {
				t.Fatalf("%v ended: %v\n%s", cmd, <-r.ended, strings.Join(r.said, "\n"))
			}
			r.said = append(r.said, line)
			if m := announced.FindStringSubmatch(line); m != nil && m[1] == "serving" {
				r.url = m[2]
			} else if m != nil {
				r.admin = m[2]
			}
		case <-late:
			t.Fatalf("%v does not say where it answers\n%s", cmd, strings.Join(r.said, "\n"))
		}
	}
	return r
}

// end ends a server as systemd and Kubernetes do.
func (r *running) end(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("ended by SIGTERM: %v", err)
		}
	case <-time.After(patience):
		t.Errorf("does not end by SIGTERM")
	}
}

// ask sends a request and returns status and body.
func ask(t *testing.T, method, url, body, token string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

const (
	token   = "0123456789abcdef0123456789abcdef"
	request = `{"model":"demo","input":["a red circle"]}`
)

// atHome puts loopback's free ports in the place of those of a configuration, and fails if they are not there.
func atHome(t *testing.T, config string, ports ...string) string {
	t.Helper()
	for _, p := range ports {
		if !strings.Contains(config, p) {
			t.Errorf("the configuration has no %s:\n%s", p, config)
		}
		config = strings.ReplaceAll(config, p, `"127.0.0.1:0"`)
	}
	return config
}

// The image's files are made once.
func TestServer(t *testing.T) {
	rootfs := image(t)
	t.Run("Pod", func(t *testing.T) { testPod(t, rootfs) })
	t.Run("Unit", func(t *testing.T) { testUnit(t, rootfs) })
	t.Run("Metrics", func(t *testing.T) { testMetrics(t, rootfs) })
}

// The pod of the manifests, as far as a test can make it one: the image's files and the volumes are all that there is, nobody runs
// it, and the probes, tokens and metrics are those that the manifests, the dashboard and the alerts name.
func testPod(t *testing.T, rootfs string) {
	all := readManifests(t)
	pod := get[*apps.Deployment](t, all, "Deployment vitago").Spec.Template.Spec
	c := pod.Containers[0]
	config := get[*core.ConfigMap](t, all, "ConfigMap vitago-config").Data["serve.yaml"]
	put(t, rootfs, "etc/vitago/serve.yaml", atHome(t, config, `":8080"`, `":9090"`), 0o444)
	tokens := get[*core.Secret](t, all, "Secret vitago-tokens").StringData["tokens"]
	put(t, rootfs, "run/secrets/vitago/tokens", tokens, 0o444)
	if os.Getuid() != 0 {
		t.Skip("only root can give a process the image's files for all that there is")
	}
	run := func() *exec.Cmd {
		return &exec.Cmd{
			Path: "/vitago", Args: append([]string{"vitago"}, c.Args...), Env: []string{}, Dir: "/",
			SysProcAttr: &syscall.SysProcAttr{Chroot: rootfs, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}},
		}
	}
	if out, err := run().CombinedOutput(); err == nil || !strings.Contains(string(out), "token") {
		t.Errorf("with the token that stands in the manifest it starts: %v\n%s", err, out)
	}
	put(t, rootfs, "run/secrets/vitago/tokens", strings.ReplaceAll(tokens, "REPLACE-ME", token), 0o444)

	s := start(t, run(), true)
	for _, p := range []*core.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if code, answer := ask(t, "GET", s.admin+p.HTTPGet.Path, "", ""); code != http.StatusOK {
			t.Errorf("the probe %s: %d %s", p.HTTPGet.Path, code, answer)
		}
	}
	if code, answer := ask(t, "POST", s.url+"/v1/embeddings", request, ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d %s", code, answer)
	}
	code, answer := ask(t, "POST", s.url+"/v1/embeddings", request, token)
	var vectors struct {
		Data []struct{ Embedding []float32 }
	}
	if err := json.Unmarshal([]byte(answer), &vectors); code != http.StatusOK || err != nil || len(vectors.Data) != 1 || len(vectors.Data[0].Embedding) == 0 {
		t.Errorf("with a token: %d %.200s", code, answer)
	}
	s.end(t)

	var times struct{ Grace, Drain string }
	if err := yaml.Unmarshal([]byte(config), &times); err != nil {
		t.Fatal(err)
	}
	grace, drain := duration(t, times.Grace), duration(t, times.Drain)
	if whole := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace <= 0 || whole < grace+drain+10*time.Second {
		t.Errorf("the pod has %v to end, and the server takes up to %v and %v", whole, grace, drain)
	}
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The command of the unit answers on the socket that systemd opens, in a network of its own in which nothing is.
func testUnit(t *testing.T, rootfs string) {
	unit, err := os.ReadFile("systemd/vitago.service")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("systemd/serve.yaml")
	if err != nil {
		t.Fatal(err)
	}
	put(t, rootfs, "etc/vitago/serve.yaml", string(config), 0o444)
	var line string
	for l := range strings.Lines(string(unit)) {
		if s, ok := strings.CutPrefix(l, "ExecStart=/usr/local/bin/vitago "); ok {
			line = strings.TrimSpace(strings.ReplaceAll(s, "/etc/vitago", filepath.Join(rootfs, "etc/vitago")))
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	// The shell knows its number, which stays that of the program, and the socket is file 3.
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", fmt.Sprintf("LISTEN_PID=$$ LISTEN_FDS=1 exec '%s' %s", filepath.Join(rootfs, "vitago"), line))
	cmd.ExtraFiles, cmd.Env = []*os.File{socket}, []string{}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
	s := start(t, cmd, false)
	code, answer := ask(t, "POST", "http://"+l.Addr().String()+"/v1/embeddings", request, "")
	if code != http.StatusOK {
		t.Errorf("%d %.200s", code, answer)
	}
	s.end(t)
}

// Every metric of the dashboard and of the alerts is one that the server has, with the labels by which they ask.
func testMetrics(t *testing.T, rootfs string) {
	cmd := exec.CommandContext(t.Context(), filepath.Join(rootfs, "vitago"), "serve", "--model", "demo=builtin:demo", "--listen", "127.0.0.1:0", "--idle", "50ms")
	s := start(t, cmd, false)
	for _, body := range []string{request, "{"} { // one that goes through the tower, and one that is an error
		ask(t, "POST", s.url+"/v1/embeddings", body, "")
	}
	want := map[string][]string{}
	add := func(expr string) {
		for name, labels := range metricsOf(t, expand(expr)) {
			want[name] = append(want[name], labels...)
		}
	}
	for _, p := range readDashboard(t).Panels {
		for _, q := range p.Targets {
			add(q.Expr)
		}
	}
	for _, g := range readAlerts(t).Groups {
		for _, r := range g.Rules {
			add(r.Expr)
		}
	}
	for _, m := range []string{"vitago_queue_items"} { // the autoscaler's
		want[m] = append(want[m], "")
	}
	delete(want, "up") // Prometheus's own
	var missing []string
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(50 * time.Millisecond) { // until the model was let go, too
		_, metrics := ask(t, "GET", s.url+"/metrics", "", "")
		if missing = lacks(metrics, want); len(missing) == 0 {
			break
		}
	}
	if len(missing) > 0 {
		t.Errorf("the server has not: %v", missing)
	}
	s.end(t)
}

// samples are lines of Prometheus's text format.
var samples = regexp.MustCompile(`(?m)^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? `)

// lacks returns the names, with labels, that metrics in the text format have not.
func lacks(metrics string, want map[string][]string) (missing []string) {
	has := map[string]string{}
	for _, m := range samples.FindAllStringSubmatch(metrics, -1) {
		has[m[1]] = m[2]
	}
	for name, labels := range want {
		set, ok := has[name]
		if !ok {
			missing = append(missing, name)
			continue
		}
		for _, l := range labels {
			if l != "" && l != "job" && l != "instance" && !strings.Contains(set, l+`="`) { // those two are Prometheus's own
				missing = append(missing, name+"{"+l+"}")
			}
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}
