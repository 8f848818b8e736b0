//go:build unix

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var when = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func fakes() []program {
	return []program{
		{v1.Platform{OS: "linux", Architecture: "amd64"}, []byte("amd64"), "v1.2.3", "abc", when},
		{v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, []byte("arm64"), "v1.2.3", "abc", when},
	}
}

// read opens what was written, a folder or an archive, and has it validated: digests, sizes, and that layers are what the
// configuration says.
func read(t *testing.T, file string) v1.ImageIndex {
	t.Helper()
	folder := file
	if strings.HasSuffix(file, ".tar") {
		folder = t.TempDir()
		unpack(t, openFile(t, file), folder)
	}
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].MediaType != types.OCIImageIndex {
		t.Fatalf("the layout has %v, want one index", manifest.Manifests)
	}
	inner, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return inner
}

func openFile(t *testing.T, file string) io.Reader {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(data)
}

// unpack writes the files of an archive below a folder, and fails for anything else than files and folders of root's.
func unpack(t *testing.T, r io.Reader, folder string) {
	t.Helper()
	root, err := os.OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for a := tar.NewReader(r); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Mode&0o7022 != 0 {
			t.Errorf("%s is of %d:%d, mode %o; want root's, and nobody else's to write", h.Name, h.Uid, h.Gid, h.Mode)
		}
		switch name := filepath.FromSlash(strings.TrimSuffix(h.Name, "/")); h.Typeflag {
		case tar.TypeDir:
			if err := root.MkdirAll(name, 0o755); err != nil {
				t.Fatal(err)
			}
		case tar.TypeReg:
			if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(a)
			if err != nil {
				t.Fatal(err)
			}
			if err := root.WriteFile(name, data, fs.FileMode(h.Mode)); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s is of type %q", h.Name, h.Typeflag)
		}
	}
}

// imageOf returns the image of a platform and its configuration.
func imageOf(t *testing.T, index v1.ImageIndex, arch string) (v1.Image, *v1.ConfigFile) {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		if m.Platform == nil || m.Platform.OS != "linux" || m.Platform.Architecture != arch {
			continue
		}
		img, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.OS != m.Platform.OS || config.Architecture != m.Platform.Architecture || config.Variant != m.Platform.Variant {
			t.Errorf("%s: the configuration is for %s", m.Platform, config.Platform())
		}
		return img, config
	}
	t.Fatalf("no image for %s", arch)
	return nil, nil
}

func TestAssemble(t *testing.T) {
	dir := t.TempDir()
	pem := roots()
	var written [2][]byte
	for i := range written {
		index, err := assemble(fakes(), pem)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, string(rune('a'+i))+".tar")
		if err := write(index, "vitago:test", file); err != nil {
			t.Fatal(err)
		}
		if written[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(written[0], written[1]) {
		t.Error("two images of the same are not the same")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	index := read(t, filepath.Join(dir, "a.tar"))
	for _, p := range fakes() {
		img, config := imageOf(t, index, p.platform.Architecture)
		c := config.Config
		if c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/vitago"}) || !slices.Equal(c.Cmd, command) || c.WorkingDir != "/" || c.StopSignal != "SIGTERM" || len(c.Env) > 0 {
			t.Errorf("configuration: %+v", c)
		}
		if _, ok := c.ExposedPorts["8080/tcp"]; !ok || len(c.ExposedPorts) != 1 {
			t.Errorf("ports: %v", c.ExposedPorts)
		}
		for k, want := range map[string]string{"title": "vitago", "version": "v1.2.3", "revision": "abc", "created": "2026-11-30T12:00:00Z", "licenses": "BSD-2-Clause"} {
			if got := c.Labels["org.opencontainers.image."+k]; got != want {
				t.Errorf("label %s is %q, want %q", k, got, want)
			}
		}
		if !config.Created.Equal(when) {
			t.Errorf("created %v", config.Created)
		}
		rootfs := extract(t, img)
		if got := files(t, rootfs); !slices.Equal(got, []string{rootsAt, "vitago"}) {
			t.Errorf("files: %v", got)
		}
		if got, err := os.ReadFile(filepath.Join(rootfs, "vitago")); err != nil || string(got) != p.platform.Architecture {
			t.Errorf("the program of %s is %q: %v", p.platform, got, err)
		}
		if got, err := os.ReadFile(filepath.Join(rootfs, rootsAt)); err != nil || !bytes.Equal(got, pem) {
			t.Errorf("the certificates have %d bytes: %v", len(got), err)
		}
	}
}

// The certificates are ones that Go reads, and those of the Internet's largest authorities are among them.
func TestRoots(t *testing.T) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots()) {
		t.Fatal("no certificates")
	}
	if n := bytes.Count(roots(), []byte("BEGIN CERTIFICATE")); n < 80 {
		t.Errorf("%d certificates, want most of Mozilla's", n)
	}
}

func TestFull(t *testing.T) {
	for name, want := range map[string]string{
		"vitago:latest": "docker.io/library/vitago:latest", "me/vitago:1": "docker.io/me/vitago:1", "registry.example/vitago:1": "registry.example/vitago:1",
		"registry.example:5000/a/b:1": "registry.example:5000/a/b:1", "localhost/vitago:1": "localhost/vitago:1",
	} {
		if got := full(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// extract unpacks the layers of an image.
func extract(t *testing.T, img v1.Image) (rootfs string) {
	t.Helper()
	rootfs = t.TempDir()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		unpack(t, r, rootfs)
		r.Close()
	}
	return rootfs
}

func files(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// The image of this source: written twice it is the same to the bit, its programs need nothing but the kernel, and the one for this
// machine runs with nothing around it but its own files.
func TestVitago(t *testing.T) {
	dir := t.TempDir()
	tarFile, folder := filepath.Join(dir, "vitago.tar"), filepath.Join(dir, "vitago.oci")
	for _, out := range []string{tarFile, folder} {
		if err := run(t.Context(), []string{"-o", out, "-source", "../.."}); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context(), []string{"-o", tarFile}); err == nil || !strings.Contains(err.Error(), "is there") {
		t.Errorf("written over what is there: %v", err)
	}
	index, again := read(t, tarFile), read(t, folder)
	a, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := again.Digest(); err != nil || a != b {
		t.Errorf("built twice: %v and %v, %v", a, b, err)
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		img, _ := imageOf(t, index, arch)
		rootfs := extract(t, img)
		e, err := elf.Open(filepath.Join(rootfs, "vitago"))
		if err != nil {
			t.Fatal(err)
		}
		if e.Machine != machine {
			t.Errorf("%s: the program is for %v", arch, e.Machine)
		}
		if slices.ContainsFunc(e.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC }) {
			t.Errorf("%s: the program is linked dynamically", arch)
		}
		e.Close()
		if runtime.GOOS != "linux" || arch != runtime.GOARCH {
			continue
		}
		out, err := inside(t.Context(), rootfs, "version", "--json").Output()
		if err != nil {
			t.Fatal(err)
		}
		var v struct{ Version, Platform, Kernel string }
		if err := json.Unmarshal(out, &v); err != nil || v.Platform != "linux/"+arch || v.Version == "" || v.Kernel == "" {
			t.Errorf("version: %s: %v", out, err)
		}
	}
}

// inside returns a command of the program as a container runs it: with no environment and, where this process may do that, as nobody
// with the image's files for all that there is.
func inside(ctx context.Context, rootfs string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(rootfs, "vitago"), args...)
	cmd.Env, cmd.Dir = []string{}, rootfs
	if os.Getuid() == 0 {
		cmd.Path, cmd.Dir = "/vitago", "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: rootfs, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	}
	return cmd
}
