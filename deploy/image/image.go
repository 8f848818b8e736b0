package main

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	user    = "65532:65532" // nobody's number, as the images of distroless have it. It is a number, so that Kubernetes can tell that it is not 0
	binary  = "vitago"
	rootsAt = "etc/ssl/certs/ca-certificates.crt" // where Go looks first. Source: crypto/x509, root_linux.go
)

// A program is vitago for a platform.
type program struct {
	platform v1.Platform
	data     []byte
	version  string    // of the module
	revision string    // of the source, "" if it is not known
	created  time.Time // the commit
}

// build builds vitago of a module's folder for a platform.
func build(ctx context.Context, source, platform string) (p program, err error) {
	system, arch, ok := strings.Cut(platform, "/")
	if !ok || system != "linux" {
		return p, fmt.Errorf("platform is %q, want linux/ARCH", platform)
	}
	dir, err := os.MkdirTemp("", "vitago-image")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, binary)
	cmd := exec.CommandContext(ctx, "go", "build", "-C", source, "-trimpath", "-ldflags=-s -w", "-o", file, "./cmd/vitago")
	cmd.Env = append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GOAMD64=", "GOARM64=") // the kernels choose instructions when they run
	if out, err := cmd.CombinedOutput(); err != nil {
		return p, fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	p.created = time.Unix(0, 0).UTC() // of source without a history, so that it is the same every time
	p.platform = v1.Platform{OS: system, Architecture: arch}
	if arch == "arm64" {
		p.platform.Variant = "v8" // Source: OCI image index, platform variants
	}
	if p.data, err = os.ReadFile(file); err != nil {
		return p, err
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return p, err
	}
	p.version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			p.revision = s.Value
		case "vcs.time":
			if p.created, err = time.Parse(time.RFC3339, s.Value); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// roots returns Mozilla's roots in PEM, those without constraints that a file cannot say.
func roots() []byte {
	var b bytes.Buffer
	for r := range bundle.Roots() {
		if r.Constraint == nil {
			_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate}) // a buffer takes all
		}
	}
	return b.Bytes()
}

// assemble returns the index of one image for each program.
func assemble(programs []program, roots []byte) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range programs {
		img, err := p.image(roots)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p.platform}})
	}
	return mutate.Annotations(index, programs[0].labels()).(v1.ImageIndex), nil
}

// labels are OCI's annotations, and say the same as labels of the configuration, where Docker looks.
func (p program) labels() map[string]string {
	m := map[string]string{
		"org.opencontainers.image.title":       "vitago",
		"org.opencontainers.image.description": "CLIP's towers in pure Go: pictures and texts to vectors, over HTTP and gRPC",
		"org.opencontainers.image.source":      "https://github.com/vitago/vitago",
		"org.opencontainers.image.licenses":    "BSD-2-Clause",
		"org.opencontainers.image.version":     p.version,
		"org.opencontainers.image.created":     p.created.UTC().Format(time.RFC3339),
	}
	if p.revision != "" {
		m["org.opencontainers.image.revision"] = p.revision
	}
	return m
}

// image returns the image of a program. The certificates are a layer of their own, which changes less often.
func (p program) image(roots []byte) (v1.Image, error) {
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, l := range []struct {
		name string
		mode fs.FileMode
		data []byte
		by   string
	}{
		{rootsAt, 0o444, roots, "Mozilla's roots, by golang.org/x/crypto/x509roots"},
		{binary, 0o555, p.data, "go build ./cmd/vitago"},
	} {
		layer, err := p.layer(l.name, l.mode, l.data)
		if err != nil {
			return nil, err
		}
		if img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: p.created}, CreatedBy: l.by}}); err != nil {
			return nil, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = p.platform.OS, p.platform.Architecture, p.platform.Variant
	config.Created = v1.Time{Time: p.created}
	config.Config = v1.Config{
		User:         user,
		Entrypoint:   []string{"/" + binary},
		Cmd:          command,
		WorkingDir:   "/",
		ExposedPorts: map[string]struct{}{port + "/tcp": {}},
		Labels:       p.labels(),
		StopSignal:   "SIGTERM",
	}
	return mutate.ConfigFile(img, config)
}

// layer returns a layer of one file and the folders that it is in.
func (p program) layer(name string, mode fs.FileMode, data []byte) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var folders []string
	for d := path.Dir(name); d != "."; d = path.Dir(d) {
		folders = append(folders, d+"/")
	}
	slices.Reverse(folders)
	for _, d := range folders {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d, Mode: 0o755, ModTime: p.created, Format: tar.FormatPAX}); err != nil {
			return nil, err
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode), Size: int64(len(data)), ModTime: p.created, Format: tar.FormatPAX}); err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// write writes an OCI layout, as a folder or as the archive of one. It appears complete or not at all.
func write(index v1.ImageIndex, name, out string) error {
	dir, err := os.MkdirTemp(filepath.Dir(out), ".vitago-image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	folder := filepath.Join(dir, "layout")
	at, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	// Podman and skopeo look at the first, which is a tag; containerd, and so Docker, at the second, which is a whole name.
	_, tag, _ := strings.Cut(path.Base(name), ":")
	names := map[string]string{"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": full(name)}
	if err := at.AppendIndex(index, layout.WithAnnotations(names)); err != nil {
		return err
	}
	if !strings.HasSuffix(out, ".tar") {
		return os.Rename(folder, out)
	}
	archive := filepath.Join(dir, "archive")
	if err := pack(folder, archive); err != nil {
		return err
	}
	return os.Rename(archive, out)
}

// full returns an image's name with its registry, as Docker completes it.
// Source: distribution/reference, ParseNormalizedNamed.
func full(name string) string {
	first, rest, ok := strings.Cut(name, "/")
	switch {
	case !ok:
		return "docker.io/library/" + name
	case strings.ContainsAny(first, ".:") || first == "localhost":
		return name
	}
	return "docker.io/" + first + "/" + rest
}

// pack writes the files of a folder into an archive, in the order of their names and without times.
func pack(folder, archive string) error {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	err = filepath.WalkDir(folder, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(folder, file)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}
