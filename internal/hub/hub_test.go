package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestArchive(t *testing.T) {
	c := &Client{}
	for name, forms := range map[string][]string{
		"ViT-B-32.pt":       {"ViT-B/32", "ViT-B-32", "vit_b_32", "ViT-B-32.pt"},
		"ViT-B-16.pt":       {"ViT-B/16", "ViT-B-16"},
		"ViT-L-14.pt":       {"ViT-L/14", "vit-l-14"},
		"ViT-L-14-336px.pt": {"ViT-L/14@336px", "ViT-L-14-336px", "ViT-L-14@336px", "ViT-L-14-336", "ViT-L-14-336px.pt"},
	} {
		for _, form := range forms {
			f, ok := c.Archive(form)
			if !ok || f.Name != name || !hexSHA256.MatchString(f.SHA256) || f.URL != archives+"/"+f.SHA256+"/"+name {
				t.Errorf("%s: got %+v, %v, want %s", form, f, ok, name)
			}
		}
	}
	for _, name := range []string{"", "RN50", "ViT-L/15", "ViT-H/14", "openai/clip-vit-large-patch14-336", "/", ".pt"} {
		if f, ok := c.Archive(name); ok {
			t.Errorf("%q: got %+v, want none", name, f)
		}
	}
	if !IsResNet("RN50x64") || !IsResNet("rn101.pt") || IsResNet("ViT-B/32") {
		t.Error("the ResNets are not told from the others")
	}
	for name, want := range map[string]bool{"foo": true, "vit_l_14": true, "ViT-L/14@448": true, "vit-h/14": true, "RN50/x": true, "openai/ViT-L-14": false, "rnn/x": false, "org/RN50": false} {
		if got := IsArchiveLike(name); got != want {
			t.Errorf("%s is like a name of OpenAI's: %v, want %v", name, got, want)
		}
	}
	f, _ := c.Archive("ViT-L/14@336px")
	if got := ArchiveSize(f.SHA256); got != 934_088_680 || ArchiveSize("") != -1 {
		t.Errorf("sizes are %d and %d, want 934088680 and, of none, -1", got, ArchiveSize(""))
	}
	if names := ArchiveNames(); len(names) != 4 || names[3] != "ViT-L/14@336px" {
		t.Errorf("names are %q", names)
	}
}

// Names that lead elsewhere, on this system or another.
func TestLocal(t *testing.T) {
	for _, name := range []string{
		"", ".", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "a//b", "a/", "./a", `..\x`, `a\b`, `C:\x`, "C:x", `\\host\share`,
		"con", "CON.json", "aux.txt", "sub/nul", "com1", "LPT9.bin", "com¹", "conin$", "nul .txt", "a.", "a ", "sub./x", "a:b", "a*", "a?", `a"b`, "a<b", "a|b",
		"a\x00b", "a\nb", "a\x1b[31m", "a\u202eb", "a\xffb", ".git/hooks/post-checkout", "sub/.GIT/config",
		"w.bin.partial", "w.bin.partial.json", "w.bin.PARTIAL.lock", strings.Repeat("a", 300), strings.Repeat("a/", 600) + "a",
	} {
		if path, err := local("dir", name); err == nil {
			t.Errorf("%q: got %q, want an error", name, path)
		} else {
			wantError(t, err, "is no name for a file")
		}
	}
	for _, name := range []string{"config.json", "1_Pooling/config.json", ".gitattributes", "model-00001-of-00002.safetensors", "console", "a..b", "modèle.bin", "my file"} {
		path, err := local("dir", name)
		if want := filepath.Join("dir", filepath.FromSlash(name)); err != nil || path != want {
			t.Errorf("%q: got %q, %v, want %q", name, path, err, want)
		}
	}
	c := &Client{}
	_, _, err := c.Fetch(t.Context(), File{Name: "../x", URL: "http://127.0.0.1:1"}, t.TempDir())
	wantError(t, err, `"../x" is no name for a file`)
}

func TestNew(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home) // of Windows
	check := func(endpoint, token, cache string) {
		t.Helper()
		if c := New(); c.Endpoint != endpoint || c.Token != token || c.cache != cache {
			t.Errorf("got %q, %q, %q, want %q, %q, %q", c.Endpoint, c.Token, c.cache, endpoint, token, cache)
		}
	}
	write := func(token string, parts ...string) {
		t.Helper()
		path := filepath.Join(parts...)
		os.MkdirAll(filepath.Dir(path), 0o777)
		if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check(Endpoint, "", filepath.Join(home, ".cache", "huggingface", "hub"))
	write("hf_login\r\n", home, ".cache", "huggingface", "token")
	check(Endpoint, "hf_login", filepath.Join(home, ".cache", "huggingface", "hub"))
	write("hf_xdg", home, "xdg", "huggingface", "token")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "xdg"))
	check(Endpoint, "hf_xdg", filepath.Join(home, "xdg", "huggingface", "hub"))
	write("hf_home", home, "hf", "token")
	t.Setenv("HF_HOME", "~/hf")
	check(Endpoint, "hf_home", filepath.Join(home, "hf", "hub"))
	write("hf_path", home, "elsewhere")
	t.Setenv("HF_TOKEN_PATH", filepath.Join(home, "elsewhere"))
	t.Setenv("HF_HUB_CACHE", filepath.Join(home, "cache"))
	check(Endpoint, "hf_path", filepath.Join(home, "cache"))
	t.Setenv("HF_TOKEN", " hf_env\n")
	t.Setenv("HF_ENDPOINT", "https://mirror.example/hf/")
	check("https://mirror.example/hf/", "hf_env", filepath.Join(home, "cache"))
	if got, want := New().FileURL("a/b", "refs/pr/1", "sub/x y#.bin"), "https://mirror.example/hf/a/b/resolve/refs%2Fpr%2F1/sub/x%20y%23.bin"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheckURL(t *testing.T) {
	for _, good := range []string{"https://mirror.example", "http://127.0.0.1:8080/path"} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "mirror.example", "ftp://x", "https://", "https://x?y=z", "https://x#y", "http://me:secret@x y", "file:///x"} {
		err := CheckURL(bad)
		wantError(t, err, "want https://HOST/PATH")
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%v has the password in it", err)
		}
	}
}

const commit = "ce19dc912ca5cd21c8a653c79e251e808ccabcd1"

// A sibling is a file as the hub's API lists it.
type sibling struct {
	Name string         `json:"rfilename"`
	Size int            `json:"size,omitempty"`
	Blob string         `json:"blobId,omitempty"`
	LFS  map[string]any `json:"lfs,omitempty"`
}

// serveModel serves the files of the model org/model: of those that end in json as git has them, of
// others as LFS.
func serveModel(t *testing.T, files map[string]string) *server {
	t.Helper()
	s := serve(t, nil)
	var all []sibling
	for name, content := range files {
		f := sibling{name, len(content), blob([]byte(content)), nil}
		if !strings.HasSuffix(name, "json") {
			f.Blob = strings.Repeat("0", 40) // that of the pointer
			f.LFS = map[string]any{"sha256": sum256([]byte(content)), "size": len(content), "pointerSize": 130}
		}
		all = append(all, f)
	}
	s.misbehave = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.EscapedPath() == "/api/models/org/model/revision/refs%2Fpr%2F1" && r.URL.RawQuery == "blobs=true" {
			json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": all, "gated": false})
			return true
		}
		content, ok := files[strings.TrimPrefix(r.URL.Path, "/org/model/resolve/"+commit+"/")]
		if !ok {
			http.NotFound(w, r)
			return true
		}
		fmt.Fprint(w, content)
		return true
	}
	return s
}

func TestRepository(t *testing.T) {
	s := serveModel(t, map[string]string{"config.json": "{}", "model.safetensors": "weights", "sub/x y.txt": "text"})
	c, _ := client(s)
	c.cache = "cache"
	r, err := c.Repository(t.Context(), "org/model", "refs/pr/1")
	if err != nil {
		t.Fatal(err)
	}
	w := sum256([]byte("weights"))
	want := []File{
		{"config.json", s.URL + "/org/model/resolve/" + commit + "/config.json", 2, "", blob([]byte("{}")), filepath.Join("cache", "models--org--model", "blobs", blob([]byte("{}")))},
		{"model.safetensors", s.URL + "/org/model/resolve/" + commit + "/model.safetensors", 7, w, "", filepath.Join("cache", "models--org--model", "blobs", w)},
	}
	if r.Commit != commit || len(r.Files) != 3 || !slices.Equal(r.Files[:2], want) {
		t.Errorf("got %+v, want %+v", r, want)
	}
	all, err := r.All()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range all {
		if _, _, err := c.Fetch(t.Context(), f, dir); err != nil {
			t.Error(err)
		}
	}
	if got := ls(t, dir); !slices.Equal(got, []string{"config.json", "model.safetensors", "sub"}) {
		t.Errorf("directory has %q", got)
	}

	_, err = c.Repository(t.Context(), "org/model", "main")
	wantError(t, err, "org/model at main", "status is 404")
	for _, id := range []string{"", "..", "org/..", "../x", "a/b/c", "org/", "/x", "org model", "org/mo?del", "con/model", "org/nul", "org/x.partial"} {
		_, err := c.Repository(t.Context(), id, "main")
		wantError(t, err, "is not the name of a model on a hub")
	}
	for _, rev := range []string{"", "..", "a..b", "a b", "a\nb", "-\x00", "?x"} {
		_, err := c.Repository(t.Context(), "org/model", rev)
		wantError(t, err, "is no revision")
	}
	s.Close()
	_, err = c.Repository(t.Context(), "org/model", "main")
	wantError(t, err, "off line? fetch them by hand from "+s.URL+"/org/model/tree/main")
}

func TestRepositoryHostile(t *testing.T) {
	for _, c := range []struct{ answer, want string }{
		{`{`, "unexpected end of JSON"},
		{`<html>log in</html>`, "invalid character"},
		{`{"siblings":[{"rfilename":"a","size":-1}]}`, `the size of "a" is -1, want 0 to 50000000000`},
		{`{"siblings":[{"rfilename":"a","size":1e99}]}`, "cannot unmarshal"},
		{`{"siblings":[{"rfilename":"a","size":50000000001}]}`, "want 0 to 50000000000"},
		{`{"siblings":[{"rfilename":"a","blobId":"../../x"}]}`, `the SHA-1 of "a" is "../../x", want 40 digits`},
		{`{"siblings":[{"rfilename":"a","lfs":{"sha256":""}}]}`, `the SHA-256 of "a" is "", want 64 digits`},
		{`{"siblings":[{"rfilename":"a"},{"rfilename":"a"}]}`, `both "a" and "a"`},
		{`{}`, "has no weights among its 0 files"},
		{`{"siblings":[{"rfilename":"../model.safetensors"},{"rfilename":"sub/model.safetensors"}]}`, "has no weights among its 2 files"},
		{`{"siblings":[{"rfilename":"con.safetensors"}]}`, "Windows has another meaning for it"},
		{`{"siblings":[{"rfilename":"a\\..\\b.safetensors"}]}`, "is no name for a file"},
		{`{"siblings":[{"rfilename":"A.safetensors"},{"rfilename":"a.safetensors"}]}`, `both "A.safetensors" and "a.safetensors"`},
		{strings.Repeat(" ", maxAnswer+1), "more than 67108864 bytes"},
	} {
		s := serve(t, nil)
		s.misbehave = func(_ int, w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, c.answer); return true }
		cl, _ := client(s)
		r, err := cl.Repository(t.Context(), "org/model", "main")
		if err == nil {
			_, err = cl.Model(t.Context(), r)
		}
		wantError(t, err, c.want)
	}
	r := &Repository{ID: "org/model", Files: []File{{Name: "a"}, {Name: "/etc/passwd"}}}
	_, err := r.All()
	wantError(t, err, `"/etc/passwd" is no name for a file`, "org/model")
}

// TestModelOfTimm: of a repository for timm and OpenCLIP OpenCLIP's files are what is loaded.
func TestModelOfTimm(t *testing.T) {
	r := &Repository{ID: "timm/vit_x", Files: []File{{Name: "config.json"}, {Name: "model.safetensors"}, {Name: "open_clip_config.json"}, {Name: "open_clip_model.safetensors"}}}
	for id, want := range map[string]string{"timm/vit_x": "config.json open_clip_config.json open_clip_model.safetensors", "laion/x": "config.json open_clip_config.json model.safetensors"} {
		r.ID = id
		got, err := (&Client{}).Model(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range got {
			names = append(names, f.Name)
		}
		if strings.Join(names, " ") != want {
			t.Errorf("%s: got %q, want %q", id, names, want)
		}
	}
}

func TestModel(t *testing.T) {
	const index = `{"metadata":{"total_size":1},"weight_map":{"a":"m-1.X","b":"m-2.X","c":"m-1.X"}}`
	for _, c := range []struct {
		name  string
		files string
		want  string
	}{
		{"one form of several", "config.json preprocessor_config.json model.safetensors pytorch_model.bin tf_model.h5 flax_model.msgpack tokenizer.json vocab.json merges.txt README.md",
			"config.json preprocessor_config.json tokenizer.json vocab.json merges.txt model.safetensors"},
		{"none in safetensors", "config.json pytorch_model.bin training_args.bin", "config.json pytorch_model.bin"},
		{"shards", "config.json model.safetensors.index.json m-1.safetensors m-2.safetensors m-3.safetensors pytorch_model.bin", "config.json model.safetensors.index.json m-1.safetensors m-2.safetensors"},
		{"old shards", "config.json pytorch_model.bin.index.json m-1.bin m-2.bin", "config.json pytorch_model.bin.index.json m-1.bin m-2.bin"},
		{"OpenCLIP", "open_clip_config.json open_clip_pytorch_model.bin open_clip_model.safetensors", "open_clip_config.json open_clip_model.safetensors"},
		{"a projector alone", "config.json mm_projector.bin", "config.json mm_projector.bin"},
		{"other names", "config.json tower.pt optimizer.pt", "config.json tower.pt"},
		{"sentence-transformers", "modules.json README.md 0_CLIPModel/config.json 0_CLIPModel/model.safetensors 0_CLIPModel/pytorch_model.bin 0_CLIPModel/vocab.json 0_CLIPModel/merges.txt",
			"modules.json 0_CLIPModel/config.json 0_CLIPModel/vocab.json 0_CLIPModel/merges.txt 0_CLIPModel/model.safetensors"},
		{"sentence-transformers 6", "modules.json config.json model.safetensors tokenizer.json", "modules.json config.json tokenizer.json model.safetensors"},
		{"not below", "config.json model.safetensors onnx/model.onnx sub/config.json", "config.json model.safetensors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{}
			for _, name := range strings.Fields(c.files) {
				files[name] = "content of " + name
				if rest, ok := strings.CutSuffix(name, ".index.json"); ok {
					files[name] = strings.ReplaceAll(index, ".X", filepath.Ext(rest))
				}
			}
			cl, _ := client(serveModel(t, files))
			r, err := cl.Repository(t.Context(), "org/model", "refs/pr/1")
			if err != nil {
				t.Fatal(err)
			}
			got, err := cl.Model(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range got {
				names = append(names, f.Name)
			}
			if strings.Join(names, " ") != c.want {
				t.Errorf("got %q, want %q", names, c.want)
			}
		})
	}
}

// An index is a stranger's, too.
func TestIndexHostile(t *testing.T) {
	for index, want := range map[string]string{
		`{"weight_map":{"a":"../../x"}}`:     `it names "../../x", which is not among the 2 files`,
		`{"weight_map":{"a":"/etc/passwd"}}`: `which is not among the 2 files`,
		`{"weight_map":{"a":"absent.bin"}}`:  `it names "absent.bin"`,
		`{"weight_map":{}}`:                  "names no file",
		`[]`:                                 "cannot unmarshal",
		`{"weight_map":{"a":1}}`:             "cannot unmarshal",
	} {
		cl, _ := client(serveModel(t, map[string]string{"config.json": "{}", "model.safetensors.index.json": index}))
		r, err := cl.Repository(t.Context(), "org/model", "refs/pr/1")
		if err != nil {
			t.Fatal(err)
		}
		_, err = cl.Model(t.Context(), r)
		wantError(t, err, "model.safetensors.index.json of org/model", want)
	}
}

func TestUnfinished(t *testing.T) {
	dir := t.TempDir()
	write := func(names ...string) {
		for _, name := range names {
			path := filepath.Join(dir, filepath.FromSlash(name))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, nil, 0o666)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("a.pt", "b.pt.partial", "whole/config.json", "begun/config.json", "begun/0_CLIPModel/model.safetensors.partial")
	for name, want := range map[string]bool{"a.pt": false, "b.pt": true, "whole": false, "begun": true, "absent": false, "": true} {
		if got := Unfinished(filepath.Join(dir, name)); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}
