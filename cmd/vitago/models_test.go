package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/hub"
)

var writeModels = flag.Bool("models", false, "write the tables of docs/models.md")

// TestModelsTable: the names of the table are those that download takes, no two models share one, and each fact has a source.
func TestModelsTable(t *testing.T) {
	d := json.NewDecoder(bytes.NewReader(modelsJSON))
	d.DisallowUnknownFields()
	if err := d.Decode(new(zoo)); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, m := range knownModels().Models {
		f, archive := hub.New().Archive(m.Name)
		if !archive && (!hub.IsID(m.Name) || hub.IsArchiveLike(m.Name)) {
			t.Errorf("%s: download does not take this name", m.Name)
		}
		if archive && m.Bytes != hub.ArchiveSize(f.SHA256) {
			t.Errorf("%s: %d bytes, want %d", m.Name, m.Bytes, hub.ArchiveSize(f.SHA256))
		}
		if p, ok := placeOf("models", m.Name); !ok || p.name != m.Name {
			t.Errorf("%s: lies at %+v, %v", m.Name, p, ok)
		}
		if m.Family == "" || m.Form == "" || m.Gives == "" || m.Pixels <= 0 || m.Embedding <= 0 || len(m.Sources) == 0 {
			t.Errorf("%s: incomplete: %+v", m.Name, m)
		}
		for _, s := range m.Sources {
			if !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "docs/") {
				t.Errorf("%s: source %s", m.Name, s)
			}
		}
		for _, n := range append([]string{m.Name}, m.Also...) {
			if other, ok := seen[asWritten(n)]; ok {
				t.Errorf("%s is a name of %s and of %s", n, other, m.Name)
			}
			seen[asWritten(n)] = m.Name
			for _, name := range []string{n, "hf-hub:" + n, strings.Replace(n, "/", ":", 1)} {
				if got := hubName(name); got != m.Name && n != m.Name {
					t.Errorf("%s means %s, want %s", name, got, m.Name)
				}
			}
			if u, ok := unsupported(n); ok {
				t.Errorf("%s: said to be %s", n, u.Family)
			}
			for _, f := range knownModels().Unsupported { // or it would be named so when it is mistyped
				for _, p := range f.Match {
					if regexp.MustCompile(p).MatchString(strings.ToLower(n)) {
						t.Errorf("%s: %s is one of %s", n, p, f.Family)
					}
				}
			}
		}
	}
	for name, want := range map[string]string{
		"google/siglip-base-patch16-224": "SigLIP", "google/siglip2-so400m-patch14-384": "SigLIP 2", "ViT-SO400M-14-SigLIP/webli": "SigLIP",
		"QuanSun/EVA-CLIP": "EVA-CLIP, EVA-02", "EVA02-L-14-336/merged2b_s6b_b61k": "EVA-CLIP, EVA-02", "jinaai/jina-clip-v2": "Jina-CLIP (v1, v2)",
		"facebook/dinov2-base": "DINO, DINOv2, DINOv3", "apple/MobileCLIP-S1": "MobileCLIP, MobileCLIP 2", "apple/MobileCLIP2-S0": "MobileCLIP, MobileCLIP 2",
		"OFA-Sys/chinese-clip-vit-base-patch16": "Chinese-CLIP", "M-CLIP/XLM-Roberta-Large-Vit-B-32": "M-CLIP", "BAAI/AltCLIP": "AltCLIP",
		"RN50": "RN50, RN101 and OpenAI's other ResNets", "RN50x64/openai": "RN50, RN101 and OpenAI's other ResNets", "coca_ViT-L-14/laion2b_s13b_b90k": "CoCa",
		"laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k": "OpenCLIP with XLM-RoBERTa, mT5 or NLLB", "google/vit-base-patch16-224": "ViT, DeiT, BEiT",
		"facebook/metaclip-2-worldwide-huge-quickgelu": "MetaCLIP 2 (worldwide)", "UCSC-VLAA/ViT-bigG-14-CLIPA-datacomp1B": "CLIPA", "clip-vit-b32.onnx": "ONNX, GGUF, TensorFlow, Flax, Core ML",
	} {
		if got, _ := unsupported(name); got.Family != want {
			t.Errorf("%s: said to be %q, want %q", name, got.Family, want)
		}
	}
	for _, name := range []string{"models/vit-l-14-336", "tuned/model", "openai/clip-vit-base-patch32", "org/mine", "photo-alignment", "eva/model", "x.pt"} {
		if u, ok := unsupported(name); ok {
			t.Errorf("%s: said to be %s", name, u.Family)
		}
	}
}

// TestModelsPage: docs/models.md has the tables that the command prints.
func TestModelsPage(t *testing.T) {
	const page = "../../docs/models.md"
	names := "| name | others | form | gives | pixels | embedding | parameters | download | licence | languages |\n|---|---|---|---|---:|---:|---:|---:|---|---|\n"
	for _, m := range knownModels().Models {
		names += "| `" + m.Name + "` | "
		if m.Also != nil {
			names += "`" + strings.Join(m.Also, "`, `") + "` "
		}
		for _, f := range m.facts() {
			names += strings.TrimRight("| "+f[1], " ") + " "
		}
		names += "|\n"
	}
	not := "| family | what is otherwise |\n|---|---|\n"
	for _, row := range byWhy(knownModels().Unsupported) {
		not += fmt.Sprintf("| %s | %s |\n", row[0], row[1])
	}
	text := read(t, page)
	want := text
	for name, table := range map[string]string{"names": names, "not supported": not} {
		begin := "<!-- vitago models: " + name + " -->\n"
		before, after, ok := strings.Cut(want, begin)
		if !ok {
			t.Fatalf("%s has no %q", page, begin)
		}
		for strings.HasPrefix(after, "|") {
			_, after, _ = strings.Cut(after, "\n")
		}
		want = before + begin + table + after
	}
	if *writeModels {
		if err := os.WriteFile(page, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
	} else if text != want {
		t.Errorf("%s has not what vitago models lists; run go test -run TestModelsPage ./cmd/vitago -args -models", page)
	}
}

func TestModels(t *testing.T) {
	t.Chdir(t.TempDir())
	r := vitago("models")
	r.want(t, exitDone, []string{"ViT-L/14@336px", "428 M", "934.1 MB", "SigLIP 2, SigLIP", "pooling by attention", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"}, nil)
	for line := range strings.Lines(r.out) {
		if strings.HasSuffix(line, " \n") {
			t.Errorf("ends in blanks: %q", line)
		}
	}
	vitago("models", "ViT-H-14:laion2b_s32b_b79k").want(t, exitDone, []string{"laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "runs on     CPU", "sources", `"vitago download laion/CLIP-ViT-H-14-laion2B-s32B-b79K" brings it`}, nil)
	vitago("models", "google/siglip-base-patch16-224").want(t, exitDone, []string{"not supported", "\nSigLIP ", "no class token"}, nil)
	vitago("models", "laoin").want(t, exitFailed, nil, []string{`no model that is known has "laoin"`})
	vitago("models", "a", "b").want(t, exitUsage, nil, []string{"got 2 arguments, want one WORD at most"})

	for _, path := range []string{"models/ViT-B-32.pt", "models/openai/clip-vit-base-patch16/config.json", "models/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/model.safetensors.partial"} {
		if err := errorsOf(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, nil, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	r = vitago("models", "--json")
	var l listing
	if err := json.Unmarshal([]byte(r.out), &l); err != nil {
		t.Fatal(err)
	}
	here := map[string]string{}
	for _, m := range l.Models {
		if m.Path != "" {
			here[m.Name] = filepath.ToSlash(string(m.Path))
		}
	}
	if want := map[string]string{"ViT-B/32": "models/ViT-B-32.pt", "openai/clip-vit-base-patch16": "models/openai/clip-vit-base-patch16"}; fmt.Sprint(here) != fmt.Sprint(want) {
		t.Errorf("here are %v, want %v", here, want)
	}
	if len(l.Models) != len(knownModels().Models) || len(l.Unsupported) != len(knownModels().Unsupported) {
		t.Errorf("%d and %d of a list of %d and %d", len(l.Models), len(l.Unsupported), len(knownModels().Models), len(knownModels().Unsupported))
	}
	if i := slices.IndexFunc(l.Models, func(m shown) bool { return m.Name == "ViT-L/14@336px" }); l.Models[i].Parameters != 427_944_193 {
		t.Errorf("got %+v", l.Models[i])
	}
}
