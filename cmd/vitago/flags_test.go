package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
)

// changing is what differs from one run to the next of the same command line.
var changing = regexp.MustCompile(`\b[0-9][0-9.e+-]* ?(s|images/s)\b|[0-9.]+ MB in`)

// whoAndWhen is what differs of the records of shards.
var whoAndWhen = regexp.MustCompile(`(?m)^  "(worker|temporary|began|ended|time)": .*$`)

// outcome returns all that a command came to, but for times and the paths in dir.
func outcome(t *testing.T, r ran, dir string) map[string]string {
	t.Helper()
	clean := func(s string) string { return changing.ReplaceAllString(strings.ReplaceAll(s, dir, "DIR"), "") }
	all := map[string]string{"status": fmt.Sprint(r.status), "stdout": clean(r.out), "stderr": clean(r.err)}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type()&os.ModeSymlink != 0 { // of a sweep, to its best run
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, text := strings.TrimPrefix(path, dir), string(b)
		switch base := filepath.Base(path); {
		case base == "report.md" || base == "curve.svg" || base == "state.json" || strings.HasPrefix(base, "sweep.") || strings.HasPrefix(base, "events."):
			text = "" // with times, or what was asked for
		case strings.Contains(name, "/vitago/shards/") || strings.Contains(name, "/vitago/failed/"):
			text = whoAndWhen.ReplaceAllString(text, "")
		case base == "metrics.jsonl":
			text = ""
			for line := range strings.Lines(string(b)) {
				var e map[string]any
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					return err
				}
				delete(e, "seconds")
				delete(e, "images_per_second")
				text += fmt.Sprint(e)
			}
		}
		if strings.HasPrefix(filepath.Base(path), "events.") {
			name = filepath.Dir(name) + "/events" // with the time in its name
		}
		all[name] = text
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return all
}

// A flagCase is a flag of a command line with a value. want is "" if it has to change what the command comes to, and otherwise
// what is said of it with exit status 2.
type flagCase struct{ line, flag, want string }

// TestFlags: every flag of every verb changes what comes of some command line, and where it would not it is an error that names
// it. Those of finetune are in TestFinetuneFlags.
func TestFlags(t *testing.T) {
	pictures := colours(t, 2)
	picture := filepath.Join(pictures, "red", "00.png")
	broken := filepath.Join(t.TempDir(), "broken.png")
	os.WriteFile(broken, []byte("no picture"), 0o666)
	llava, hd := golden.Path(t, "testdata/families/llava"), golden.Path(t, "testdata/families/xcomposer2-hd")
	model := withVocabulary(t, fewWords)
	vocab := filepath.Join(model)
	lines, texts := filepath.Join(t.TempDir(), "lines.txt"), filepath.Join(t.TempDir(), "texts.txt")
	os.WriteFile(lines, []byte("photo\ndog.\n"), 0o666)
	os.WriteFile(texts, []byte("photo\n"), 0o666)
	own := filepath.Join(t.TempDir(), "own.json")
	os.WriteFile(own, []byte(`{"answers":[{"source":"me","checks":[{"text":"a circle","embedding":[1]}]}]}`), 0o666)
	prompts := filepath.Join(t.TempDir(), "prompts.tsv")
	os.WriteFile(prompts, []byte("cat\ta cat\ncat\tcat\ndog\tdog.\n"), 0o666)
	table := func(name, rows string) string {
		path := filepath.Join(t.TempDir(), name+".csv")
		if err := os.WriteFile(path, []byte("path,label\n"+rows), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	two := table("two", fmt.Sprintf("%s,cat\n%s,dog\n", picture, filepath.Join(pictures, "blue", "00.png")))
	torn := table("torn", fmt.Sprintf("%s,red\n%s,blue\n", broken, picture))
	clear, turned := table("clear", transformPicture(t, "rgba-101x33.png")+",red\n"), table("turned", transformPicture(t, "orientation/exif6.jpg")+",red\n")
	byText, byHead := "eval --model MODEL --labels cat,dog --template {} "+two, "eval --model HEAD "
	index, places := "index --index OUT/i --model MODEL PICTURE", filepath.Join(t.TempDir(), "places.csv")
	os.WriteFile(places, []byte("path,place\n"+picture+",here\n"), 0o666)
	encode, tokens, explain := "encode --model MODEL PICTURE", "tokens --model LLAVA PICTURE", "explain --model MODEL --text photo PICTURE"
	peftClip, peftHead, peftData := golden.Path(t, "testdata/peft/clip"), golden.Path(t, "testdata/peft/0.21.2/classifier"), filepath.Join(t.TempDir(), "data")
	for from, to := range map[string]string{"red": "LABEL_0", "green": "LABEL_1", "blue": "LABEL_2"} { // as the classifier has them
		if err := os.CopyFS(filepath.Join(peftData, to), os.DirFS(filepath.Join(pictures, from))); err != nil {
			t.Fatal(err)
		}
	}
	const serve = "serve --model a=builtin:demo --check" // which says what would be in force
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config, tokensOf, indexOf := write("serve.yaml", "max-body: 3\n"), write("tokens", "0123456789abcdef\n"), t.TempDir()
	const shards = "encode --model MODEL --shards --max-errors 0.9 -o OUT/d FOLDER"
	inShards, dataset, half := t.TempDir(), filepath.Join(t.TempDir(), "dataset"), filepath.Join(t.TempDir(), "half")
	if err := os.CopyFS(inShards, os.DirFS(filepath.Join(pictures, "red"))); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(inShards, "broken.png"), []byte("no picture"), 0o666)
	for out, part := range map[string]string{dataset: "0/1", half: "0/2"} {
		vitago("encode", "--model", model, "--shards", "--max-errors", "1", "--per-shard", "2", "--part", part, "-o", out, inShards).want(t, exitDone, nil, []string{"shard"})
	}
	bf16 := "" // or that there is no instruction
	if kernel.BF16Name() == "generic" {
		bf16 = "--precision bf16: the kernel in use"
	}
	cases := []flagCase{
		{encode, "--model " + llava, ""},
		{encode, "--shards", "--shards goes with -o OUT"},
		{"encode --model MODEL -o OUT/d.npy FOLDER", "--shards", ""},
		{shards, "--per-shard 2", ""},
		{shards, "--per-shard 0", "--per-shard is 0, want at least 1"},
		{encode, "--per-shard 2", "--per-shard goes with --shards"},
		{shards, "--float32", ""},
		{shards + " --format jsonl", "--float32", "--float32 is of --format npy"},
		{shards, "--format parquet", ""},
		{shards, "--format safetensors", "--format safetensors does not go with --shards"},
		{encode, "--format parquet", "--format parquet goes with --shards"},
		{shards, "--captions", ""},
		{shards, "--max-errors 0", ""},
		{shards, "--max-errors 2", "--max-errors is 2, want 0 to 1"},
		{shards, "--part 0/2", ""},
		{shards, "--part 2/2", `--part is "2/2", want I/N`},
		{shards, "--lease 0s", "want more than 0 and at most 24h"},
		{shards + " --part 0/2", "--lease 3s", "--lease is of workers that share"},
		{shards, "--retry-failed", "--retry-failed goes with --resume"},
		{shards + " --bytes-column jpg", "--bytes-column png", ""}, // the plan has it
		{shards, "--caption-column text", ""},
		{shards, "--key-column id", ""},
		{shards, "--normalize", "--normalize does not go with --shards"},
		{shards, "--skip-errors", "--skip-errors does not go with --shards"},
		{shards, "--overwrite", "--overwrite does not go with --shards"},
		{shards, "--text", "--text does not go with --shards"},
		{shards, "--features cls", "--features does not go with --shards"},
		{shards, "--vocab nope", "--vocab does not go with --shards"},
		{"encode --model MODEL --shards -o DATASET --resume", "--per-shard 3", "--per-shard stands in the plan of"},
		{"status DATASET", "--all", ""},
		{"status DATASET", "--json", ""},
		{"status DATASET --json", "--all", "--all goes without --json"},
		{"status DATASET", "--plot OUT/x.svg", ""},
		{"verify-shards DATASET", "--json", ""},
		{"merge -o OUT/m DATASET", "--json", ""},
		{"merge -o OUT/m DATASET", "-o OUT/n", ""},
		{"merge -o OUT/m HALF", "--incomplete", ""},
		{encode, "--activation gelu", ""}, // the model says another
		{encode, "--features cls", ""},
		{"encode --model MODEL --features cls PICTURE", "--layer 0", ""},
		{encode, "--layer 0", "--layer 0: an embedding has no layer"},
		{encode, "--normalize", ""},
		{encode, "--format npy", ""},
		{encode, "-o OUT/x.npy", ""},
		{encode, "--batch 0", "--batch is 0, want 1 to 64"},
		{"encode --model MODEL PICTURE", "--text", ""},
		{"encode --model MODEL --text-file LINES", "--text-file TEXTS", ""},
		{"encode --model MODEL --text photo", "--vocab nope", ""},
		{encode, "--vocab nope", "--vocab goes with --text"},
		{"encode --model MODEL --text photo", "--features cls", "--features cls: a text has an embedding alone"},
		{"encode --model MODEL --text photo", "--features post_norm", "--features is of images"},
		{"encode --model MODEL --text photo", "--layer 0", "--layer 0: an embedding has no layer"},
		{"encode --model MODEL --text photo", "--precision int8", ""},
		{"encode --model MODEL --text photo", "--preprocess openai", "--preprocess is of images"},
		{"encode --model MODEL --text photo", "--fit squash", "--fit is of images"},
		{"encode --model MODEL --text photo", "--exif", "--exif is of images"},
		{"encode --model MODEL --text photo", "--normalize", ""},
		{"encode --model MODEL -o EXISTING PICTURE", "--resume", ""},
		{"encode --model MODEL -o EXISTING PICTURE", "--overwrite", ""},
		{encode, "--resume", "--resume goes with -o FILE"},
		{encode, "--overwrite", "--overwrite goes with -o FILE"},
		{"encode --model MODEL -o OUT/x.npy --overwrite PICTURE", "--resume", "--resume goes on, and --overwrite begins again"},
		{encode, "--precision int8", ""},
		{encode, "--precision bf16", bf16},
		{encode, "--precision auto", ""}, // says what it is
		{"encode --model MODEL --text photo", "--precision bf16", bf16},
		{"encode --model MODEL --text photo", "--precision auto", ""},
		{"encode --model MODEL BROKEN PICTURE", "--skip-errors", ""},
		{"encode --model MODEL CLEAR", "--preprocess openai", ""},
		{"encode --model MODEL CLEAR", "--fit squash", ""},
		{"encode --model MODEL TURNED", "--exif", ""},

		{index, "--index OUT/j", ""},
		{index, "--model builtin:demo", ""},
		{index, "--batch 0", "--batch is 0, want 1 to 64"},
		{index, "--precision int8", ""},
		{index, "--precision bf16", bf16},
		{index, "--activation gelu", ""},
		{"index --index OUT/i --model MODEL CLEAR", "--preprocess openai", ""},
		{"index --index OUT/i --model MODEL CLEAR", "--fit squash", ""},
		{"index --index OUT/i --model MODEL TURNED", "--exif", ""},
		{"index --index INDEXED --compact", "--fit squash", "--fit is of pictures to be encoded"},
		{index, "--metadata " + places, ""},
		{"index --index INDEXED", "--rehash", ""},
		{"index --index INDEXED", "--verify", ""},
		{"index --index INDEXED", "--from nope.npy", ""},
		{"index --index OUT/i --from nope.npy", "--fit pad", "--fit is of pictures to be encoded"},
		{"index --index OUT/i --from nope.npy", "--activation gelu", "--activation goes with --model"},
		{"index --index INDEXED --verify", "--compact", "--compact does nothing beside --verify"},
		{"index --index INDEXED --verify", "--batch 8", "--batch does nothing beside --verify"},
		{"index --index OUT/i --model MODEL BROKEN PICTURE", "--strict", ""},
		{index, "--json", ""},
		{"index --index INDEXED", "--forget OUT/pictures", ""},
		{"index --index INDEXED --forget OUT/pictures", "--compact", ""},
		{"index --index INDEXED --forget OUT/pictures", "--strict", "--strict is of pictures to be encoded"},
		{"index --index INDEXED --compact", "--metadata " + places, "--metadata is of pictures to be encoded"},

		{tokens, "--model " + hd, ""},
		{tokens, "--activation gelu", ""},
		{tokens, "--layout squash", ""},
		{"tokens --model HD --layout xcomposer2.5 PICTURE", "--hd-num 1", ""},
		{tokens, "--hd-num 3", "--hd-num 3: layout"},
		{tokens, "--count", ""},
		{"tokens --model LLAVA --count PICTURE", "--batch 1", "--batch is of the tower, and --count leaves that out"},
		{"tokens --model LLAVA --count PICTURE", "--format npy", "leave --format and -o out"},
		{tokens, "--format npy", ""},
		{tokens, "-o OUT/x.npy", ""},
		{tokens, "--batch 0", "--batch is 0, want 1 to 64"},
		{"tokens --model LLAVA -o EXISTING PICTURE", "--overwrite", ""},
		{tokens, "--overwrite", "--overwrite goes with -o"},
		{"tokens --model LLAVA BROKEN PICTURE", "--skip-errors", ""},
		{"tokens --model HFLLAVA CLEAR", "--preprocess openai", ""},
		{"tokens --model LLAVA TURNED", "--exif", ""},

		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--model " + llava, ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--activation gelu", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--vocab nope", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--labels photo,cat", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--template {}{}", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--json", ""},
		{"classify --model MODEL --labels dog.,photo PICTURE", "--labels-file x", "--labels and --labels-file: give one of them"},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--templates-file x", "--template and --templates-file: give one of them"},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--cache OUT/cache", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--top 1", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--format csv", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE --json", "--format csv", "--json is --format jsonl: give one of them"},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "-o OUT/x.csv", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--overwrite", "--overwrite goes with -o"},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--batch 0", "--batch is 0, want 1 to 64"},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE --json", "--precision int8", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE --json", "--precision bf16", bf16},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE --json", "--precision auto", ""},
		{"classify --model MODEL --template {} PICTURE", "--prompts PROMPTS", ""},
		{"classify --model MODEL --labels dog.,photo PICTURE", "--prompts x", "--labels and --prompts: give one of them"},
		{"classify --model MODEL --labels-file LINES PICTURE", "--prompts x", "--labels-file and --prompts: give one of them"},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--multi-label", ""},
		{"classify --model MODEL --labels photo --template {} --multi-label PICTURE", "--negative cat", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--negative cat", "--negative goes with --multi-label"},
		{"classify --model MODEL --labels photo --template {} --negative cat --multi-label PICTURE", "--bias 1", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--bias 1", "--bias goes with --multi-label"},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--min-probability 0.9", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--min-probability 0.4", "--min-probability is 0.4, and the best of 2 labels has at least 0.5"},
		{"classify --model MODEL --labels photo,dog. --template {} --negative cat --multi-label PICTURE", "--min-probability 0.9999999", ""},
		{"classify --model MODEL --labels photo,dog. --template {} PICTURE", "--min-cosine 0.01", ""},
		{"classify --model HEAD PICTURE", "--min-probability 0.9", ""},
		{"classify --model HEAD PICTURE", "--min-cosine 0.1", "--min-cosine goes with --labels"},
		{"classify --model HEAD PICTURE", "--multi-label", "--multi-label goes with --labels"},
		{"classify --model HEAD BROKEN PICTURE", "--skip-errors", ""},
		{"classify --model HEAD PICTURE", "--cache OUT/cache", "--cache goes with --labels"},
		{"classify --model HEAD CLEAR", "--preprocess openai", ""},
		{"classify --model HEAD CLEAR", "--fit squash", ""},
		{"classify --model HEAD TURNED", "--exif", ""},
		{"classify --model HEAD PICTURE", "--template {}", "--template goes with --labels"},
		{"classify --model HEAD PICTURE", "--vocab " + vocab, "--vocab goes with --labels"},

		{"verify", "--model " + model, "no answers are known of "},
		{"verify --answers OWN", "--model MODEL", ""},
		{"verify", "--answers OWN", ""},
		{"verify", "--picture PICTURE", "is none of those that the answers are of"},
		{"verify", "--download", "--download: the pictures of these answers have no address and SHA-256"},
		{"verify", "--json", ""},
		{explain, "--model " + llava, ""},
		{explain, "--activation gelu", ""},
		{explain, "--vocab nope", ""},
		{explain, "--text dog.", ""},
		{explain, "--class red", "--text and --class: give one of them"},
		{"explain --model HEAD PICTURE", "--class blue", ""},
		{explain, "--method similarity", ""},
		{explain, "--method rollout", "leave --text and --class out"},
		{explain, "--start-layer -1", ""},
		{"explain --model MODEL --method rollout PICTURE", "--start-layer 1", ""},
		{"explain --model MODEL --text photo --method similarity PICTURE", "--start-layer 0", "--start-layer is of relevance and rollout"},
		{explain, "--start-layer 9", "--start-layer is 9, want -2 to 1"},
		{"explain --model HEAD PICTURE", "--vocab " + vocab, "--vocab goes with --text"},
		{"explain --model MODEL --text photo CLEAR", "--preprocess openai", ""},
		{"explain --model MODEL --text photo CLEAR", "--fit squash", ""},
		{"explain --model MODEL --text photo TURNED", "--exif", ""},
		{explain + " --json", "--precision int8", ""},
		{explain + " --json", "--precision bf16", bf16},
		{explain, "--precision auto", ""},
		{"explain --model " + peftClip + " --method rollout --json PICTURE", "--adapter " + golden.Path(t, "testdata/peft/0.21.2/plain"), ""},
		{explain, "--adapter A=0", "the weight is \"0\", want a number other than 0"},
		{explain, "--json", ""},
		{explain, "-o OUT/x.png", ""},
		{explain, "-o OUT/x.gif", "want a name that ends with .png"},
		{explain, "--map OUT/x.npy", ""},
		{explain, "--map OUT/x.txt", "want a name that ends with .npy"},
		{explain, "--overwrite", "--overwrite goes with -o or --map"},

		{byText, "--model " + llava, ""},
		{byText, "--activation gelu", ""},
		{byText, "--vocab nope", ""},
		{"eval --model MODEL --template {} " + two, "--labels cat,dog,photo", ""},
		{byText, "--labels-file x", "--labels and --labels-file: give one of them"},
		{byText, "--template {}{}", ""},
		{byText, "--templates-file x", "--template and --templates-file: give one of them"},
		{byText, "--cache OUT/cache", ""},
		{byText, "--top 1", ""},
		{byText, "--top 2", "--top is 2, and there are 2 classes: every picture would be right"},
		{byText, "--min-accuracy 1.5", "--min-accuracy is 1.5, want above 0 and at most 1"},
		{byText, "--json", ""},
		{byText, "-o OUT/e", ""},
		{byText, "--overwrite", "--overwrite goes with -o"},
		{byText, "--batch 0", "--batch is 0, want 1 to 64"},
		{byText + " --json", "--precision int8", ""},
		{byText + " --json", "--precision bf16", bf16},
		{byText + " --json", "--precision auto", ""},
		{"eval --model MODEL --template {} " + two, "--prompts PROMPTS", ""},
		{byText, "--prompts x", "--labels and --prompts: give one of them"},
		{byText, "--multi-label --negative photo", ""},
		{byText + " --multi-label --negative photo", "--negative dog.", ""},
		{byText, "--negative dog", "--negative goes with --multi-label"},
		{byText + " --multi-label --negative photo", "--bias 1", ""},
		{byText, "--bias 1", "--bias goes with --multi-label"},
		{byText + " --multi-label --negative photo", "--fit-bias", ""},
		{byText, "--fit-bias", "--fit-bias goes with --multi-label"},
		{byText + " --multi-label --negative photo --bias 1", "--fit-bias", "--bias and --fit-bias: give one of them"},
		{byText + " --multi-label --negative photo", "--min-probability 0.9", "--min-probability goes without --multi-label"},
		{byText + " --multi-label --negative photo", "--min-cosine 0.9", "--min-cosine goes without --multi-label"},
		{byText, "--min-probability 0.9", ""},
		{byText, "--min-probability 0.5", "--min-probability is 0.5, and the best of 2 labels has at least 0.5"},
		{byText, "--min-cosine 0.9", ""},
		{byText + " --min-cosine 0.9", "--none other", ""},
		{byText, "--none other", "--none goes with --min-probability or --min-cosine"},
		{byHead + pictures, "--min-probability 0.99", ""},
		{byHead + torn, "--skip-errors", ""},
		{byHead + two, "--label-separator |", ""},
		{byHead + pictures, "--label-separator |", "--label-separator: "},
		{byHead + clear, "--preprocess openai", ""},
		{byHead + clear, "--fit squash", ""},
		{byHead + turned, "--exif", ""},
		{byHead + two, "--template {}", "--template goes with --labels or --labels-file"},
		{byHead + two, "--vocab " + vocab, "--vocab goes with --labels or --labels-file"},
		{byHead + two, "--cache OUT/cache", "--cache goes with --labels or --labels-file"},
		{byHead + two, "--templates-file x", "--templates-file goes with --labels or --labels-file"},

		{"convert MODEL OUT/m", "--dtype f16", ""},
		{"convert MODEL OUT/m", "--activation gelu", ""},
		{"convert MODEL OUT/m", "--vision-only", ""},
		{"convert MODEL OUT/m", "--vocab nope", ""},
		{"convert MODEL OUT/m --vision-only", "--vocab " + vocab, "--vocab is of the text tower, and --vision-only leaves that out"},
		{"convert " + golden.Path(t, "testdata/peft/clip") + " OUT/m", "--adapter " + golden.Path(t, "testdata/peft/0.21.2/plain"), ""},
		{"convert " + golden.Path(t, "testdata/peft/clip") + " OUT/m", "--adapter A=x", "the weight is \"x\", want a number other than 0"},
		{"convert " + golden.Path(t, "testdata/peft/clip") + " OUT/m --adapter " + golden.Path(t, "testdata/peft/0.21.2/plain") + " --adapter " + golden.Path(t, "testdata/peft/0.21.2/second") + "=0.5", "--combination-type linear", ""},
		{"convert " + golden.Path(t, "testdata/peft/clip") + " OUT/m", "--combination-type linear", "--combination-type is of several adapters, and there are 0"},
		{"convert MODEL EXISTS", "--overwrite", ""},

		{"export MODEL OUT/m --to openclip", "--to openai", ""},
		{"export MODEL OUT/m --to openclip", "--format torch", ""},
		{"export MODEL OUT/m --to openclip", "--dtype f16", ""},
		{"export MODEL OUT/m --to openclip", "--activation gelu", ""},
		{"export LLAVA OUT/m.bin --to llava", "--projector-only", ""},
		{"export MODEL OUT/m --to openclip", "--projector-only", "projector"},
		{"export MODEL EXISTS --to huggingface", "--overwrite", ""},
		{"export HEAD OUT/h --to head-csv", "--to head-npz", ""},
		{"export HEAD OUT/h --to head-csv", "--dtype f16", "--dtype goes without --to head-csv"},
		{"export HEAD OUT/h --to head-npz", "--format torch", "--format goes without --to head-npz"},

		{"encode --model " + peftClip + " PICTURE", "--adapter " + golden.Path(t, "testdata/peft/0.21.2/plain"), ""},
		{"encode --model " + peftClip + " PICTURE", "--adapter A=0", "the weight is \"0\", want a number other than 0"},
		{"classify --model " + peftHead + " --top 0 PICTURE", "--adapter " + golden.Path(t, "testdata/peft/0.21.2/classes"), ""},
		{"eval --model " + peftHead + " " + peftData, "--adapter " + golden.Path(t, "testdata/peft/0.21.2/classes"), ""},
		{"tokens --model " + golden.Path(t, "testdata/families/llava-hf") + " PICTURE", "--adapter " + golden.Path(t, "testdata/peft/0.21.2/llava"), ""},

		{"inspect MODEL", "--activation gelu", ""},
		{"inspect MODEL", "--json", ""},
		{"compare MODEL MODEL", "--json", ""},
		{"compare MODEL MODEL", "--all", ""},
		{"compare MODEL MODEL --json", "--all", "--all goes without --json"},
		{"compare MODEL MODEL", "--plot OUT/x.svg", ""},
		{"version", "--json", ""},
		{"models", "--json", ""},
		{"demo", "--json", ""},
		{"download --list", "--json", ""},
		{"convert MODEL OUT/c", "--json", ""},
		{"export MODEL OUT/m --to openclip", "--json", ""},
		{"export HEAD OUT/h.csv --to head-csv", "--json", ""},
		{"tokens --model LLAVA --count PICTURE", "--json", ""},
		{tokens, "--json", "--json goes with --count"},
		{serve, "--json", ""},
		{"serve --model a=OUT/nowhere", "--json", "--json goes with --check"},
		{"convert OUT/a OUT/b --adapter A", "--adapter A=2", "--adapter A stands twice"},
		{"demo", "--dir OUT/m", ""},
		{"demo", "--overwrite", "--overwrite goes with --dir or --sheet"},
		{"demo", "--sheet OUT/m.html", ""},
		{"demo --dir EXISTS", "--overwrite", ""},

		{"search --index INDEX --vector VECTOR", "--index nope", ""},
		{"search --index INDEX photo", "--model " + llava, ""},
		{"search --index INDEX --vector VECTOR", "--model " + llava, "--model goes with a text or a picture"},
		{"search --index INDEX photo", "--activation gelu", ""},
		{"search --index INDEX photo", "--preprocess transformers", ""},
		{"search --index INDEX photo", "--fit pad", ""},
		{"search --index INDEX photo", "--exif", ""},
		{"search --index INDEX --duplicates 1", "--preprocess openai", "--preprocess goes with a text or a picture"},
		{"search --index INDEX --vector VECTOR", "--exif", "--exif goes with a text or a picture"},
		{"search --index INDEX photo", "--vocab nope", ""},
		{"search --index INDEX --image PICTURE", "--vocab nope", "--vocab goes with a text"},
		{"search --index INDEX photo", "--image PICTURE", ""},
		{"search --index INDEX photo", "--vector VECTOR", ""},
		{"search --index INDEX photo", "--not star", ""},
		{"search --index INDEX photo", "--not-image PICTURE", ""},
		{"search --index INDEX photo star", "--weights 1,-3", ""},
		{"search --index INDEX photo", "--weights 1,2", "--weights has 2 numbers, want one for each of the 1 parts"},
		{"search --index INDEX photo", "--top 1", ""},
		{"search --index INDEX photo", "--top 0", "--top is 0, want 1 or more"},
		{"search --index INDEX photo", "--threshold 1", ""},
		{"search --index INDEX photo", "--threshold 2", "--threshold is 2, want -1 to 1"},
		{"search --index INDEX photo", "--path *.jpg", ""},
		{"search --index INDEX photo", "--exclude *.jpg", ""},
		{"search --index INDEX photo", "--where kind=jpg", ""},
		{"search --index INDEX photo", "--duplicates 1", "--duplicates compares all pictures of the index"},
		{"search --index INDEX --duplicates 1", "--duplicates 0.1", ""},
		{"search --index INDEX --duplicates 1", "--duplicates 0", "--duplicates is 0, want above 0"},
		{"search --index INDEX --duplicates 1", "--top 3", "--top is of a query"},
		{"search --index INDEX --duplicates 1", "--threshold 0.5", "--threshold is of a query"},
		{"search --index INDEX --duplicates 1", "--model " + llava, "--model goes with a text or a picture"},
		{"search --index INDEX photo", "--json", ""},
		{"search --index INDEX --json photo", "--vectors", ""},
		{"search --index INDEX photo", "--vectors", "--vectors goes with --json"},
		{"search --index INDEX photo", "--sheet OUT/x.html", ""},
		{"search --index INDEX photo", "--sheet OUT/x.png", "want a file that ends with .html"},
		{"search --index INDEX photo --sheet SHEET", "--overwrite", ""},
		{"search --index INDEX photo", "--overwrite", "--overwrite goes with --sheet"},

		{"download --list", "--revision x", "--revision is of a model, and --list without a name"},
		{"download --list", "--all-files", "--all-files is of a model, and --list without a name"},
		{"download --list", "--mirror x", "--mirror is of a model, and --list without a name"},
		{"download --list ViT-B/32", "--overwrite", "--overwrite is of files that are written, and --list only prints"},
		{"download --list ViT-B/32", "--revision x", "--revision and --all-files are for models of the hub"},
		{"download --list ViT-B/32", "--all-files", "--revision and --all-files are for models of the hub"},
		{"download --list ViT-B/32", "--mirror http://127.0.0.1:1/x", ""},

		{serve, "--model b=builtin:demo", ""},
		{serve, "--index " + indexOf, ""},
		{serve, "--listen 127.0.0.1:1", ""},
		{serve, "--admin-listen 127.0.0.1:2", ""},
		{serve, "--config " + config, ""},
		{"serve --model a=builtin:demo --listen unix:/no/such/folder/socket", "--check", ""},
		{serve, "--tokens " + tokensOf, ""},
		{serve, "--tls-cert " + config, "a certificate and its key belong together"},
		{serve, "--tls-key " + config, "a certificate and its key belong together"},
		{serve, "--client-ca " + config, "certificates of clients are asked for over TLS alone"},
		{serve, "--insecure", ""},
		{serve, "--origin https://example.org", ""},
		{serve, "--host example.org", ""},
		{serve, "--fetch example.org", ""},
		{serve + " --fetch example.org", "--fetch-http", ""},
		{serve + " --fetch example.org", "--fetch-allow 10.0.0.0/8", ""},
		{serve, "--precision int8", ""},
		{serve, "--preprocess openai", ""},
		{serve, "--fit squash", ""},
		{serve, "--exif", ""},
		{serve, "--lazy", ""},
		{serve, "--memory 1000", ""},
		{serve, "--idle 1m", ""},
		{serve, "--max-batch 3", ""},
		{serve, "--max-wait 3ms", ""},
		{serve, "--queue-items 300", ""},
		{serve, "--queue-bytes 100", ""},
		{serve, "--max-body 10", ""},
		{serve, "--max-image 10", ""},
		{serve, "--max-pixels 1000", ""},
		{serve, "--max-items 10", ""},
		{serve, "--max-text 100", ""},
		{serve, "--cut-dimensions", ""},
		{serve, "--connections 10", ""},
		{serve, "--runs " + filepath.Join(indexOf, "runs"), "--runs and --data go together"},
		{serve, "--data " + indexOf, "--runs and --data go together"},
		{serve, "--runs " + filepath.Join(indexOf, "runs") + " --data " + pictures, ""},
		{serve, "--runs " + filepath.Join(indexOf, "runs") + " --data " + config, "want a folder"},
		{serve, "--no-page", ""},
		{serve, "--timeout 1m", ""},
		{serve, "--stall 1m", ""},
		{serve, "--grace 1m", ""},
		{serve, "--drain 1m", ""},
		{serve, "--log json", ""},
		{serve, "--log-level error", ""},
	}
	head := filepath.Join(t.TempDir(), "out")
	vitago("finetune", "--model", tinyModel, "--data", pictures, "--out", head, "--recipe", "probe", "--split", "0.5").want(t, exitDone, []string{"model"}, []string{""})
	index, vector, page := madeIndex(t, picturesWithCopy(t), demo.Name), filepath.Join(t.TempDir(), "v.npy"), filepath.Join(t.TempDir(), "page.html")
	vitago("encode", "--model", demo.Name, "-o", vector, picture).want(t, exitDone, nil, []string{""})
	os.WriteFile(page, nil, 0o666)
	tried := map[string]bool{}
	try := func(line string) map[string]string {
		t.Helper()
		dir := t.TempDir()
		if strings.Contains(line, "EXISTS") {
			vitago("demo", "--dir", filepath.Join(dir, "exists")).want(t, exitDone, []string{""}, []string{""})
		}
		if strings.Contains(line, "EXISTING") {
			vitago("encode", "--model", tinyModel, "-o", filepath.Join(dir, "existing.jsonl"), picture).want(t, exitDone, nil, []string{"of 1 image"})
		}
		if strings.Contains(line, "INDEXED") { // a picture that has changed since, of the same size and time
			path := filepath.Join(dir, "pictures", "a.png")
			write := func(end string) {
				if err := errorsOf(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(read(t, picture)+end), 0o666), os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0))); err != nil {
					t.Fatal(err)
				}
			}
			write("before")
			vitago("index", "--index", filepath.Join(dir, "indexed"), "--model", model, filepath.Dir(path)).want(t, exitDone, nil, []string{"1 added"})
			write("behind")
		}
		args := strings.Fields(strings.NewReplacer("FOLDER", inShards, "DATASET", dataset, "HALF", half, "INDEXED", filepath.Join(dir, "indexed"), "EXISTING", filepath.Join(dir, "existing.jsonl"), "LINES", lines, "TEXTS", texts, "PROMPTS", prompts, "OWN", own, "EXISTS", filepath.Join(dir, "exists"), "OUT", dir, "HEAD", filepath.Join(head, "model"), "MODEL", model,
			"HFLLAVA", golden.Path(t, "testdata/families/hf5-llava-next"), "CLEAR", transformPicture(t, "rgba-101x33.png"), "TURNED", transformPicture(t, "orientation/exif6.jpg"),
			"LLAVA", llava, "HD", hd, "INDEX", index, "VECTOR", vector, "SHEET", page, "PICTURE", picture, "BROKEN", broken).Replace(line))
		return outcome(t, vitago(args...), dir)
	}
	bases := map[string]map[string]string{}
	for _, c := range cases {
		verb := strings.Fields(c.line)[0]
		tried[verb+" "+strings.Fields(c.flag)[0]] = true
		after := try(c.line + " " + c.flag)
		if c.want != "" {
			if after["status"] != fmt.Sprint(exitUsage) || !strings.Contains(after["stderr"], c.want) {
				t.Errorf("%s %s: status %s, %s, want 2 and %q", c.line, c.flag, after["status"], after["stderr"], c.want)
			}
			continue
		}
		if bases[c.line] == nil {
			bases[c.line] = try(c.line)
		}
		if maps.Equal(bases[c.line], after) {
			t.Errorf("%s %s: changes nothing", c.line, c.flag)
		}
	}
	untried := []string{ // which the tests of these verbs show with a server, or which are only of speed
		"download --dir", "download --list",
	}
	for _, cmd := range newRoot(nil, nil, nil).Commands() {
		if slices.Contains([]string{"finetune", "help", "completion"}, cmd.Name()) {
			continue
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { // those of all are TestSettingsOfAll's
			name := cmd.Name() + " --" + f.Name
			if f.Name != "help" && !tried[name] && !tried[cmd.Name()+" -"+f.Shorthand] && !slices.Contains(untried, name) {
				t.Errorf("%s is not tried", name)
			}
		})
	}
}

// TestFinetuneFlags: every flag of finetune changes what comes of a run by any recipe, or is an error that names it.
func TestFinetuneFlags(t *testing.T) {
	pictures, more := colours(t, 4), colours(t, 2)
	table, _ := captioned(t, 4)
	brokenTable, broken := captioned(t, 4)
	for _, class := range []string{"blue", "green", "red"} { // so that one is not set aside
		os.WriteFile(filepath.Join(broken, class, "01.png"), []byte("no picture"), 0o666)
	}
	folder := filepath.Join(t.TempDir(), "broken") // without the table
	for _, class := range []string{"blue", "green", "red"} {
		if err := os.CopyFS(filepath.Join(folder, class), os.DirFS(filepath.Join(broken, class))); err != nil {
			t.Fatal(err)
		}
	}
	odd := map[string]string{} // pictures that are transparent, and turned
	oddTable, oddPictures := captioned(t, 4)
	for i, name := range []string{"rgba-101x33.png", "orientation/exif6.jpg"} {
		odd[fmt.Sprintf("%02d.png", i)] = read(t, transformPicture(t, name))
	}
	oddFolder := filepath.Join(t.TempDir(), "odd")
	for _, class := range []string{"blue", "green", "red"} {
		for name, b := range odd {
			os.WriteFile(filepath.Join(oddPictures, class, name), []byte(b), 0o666)
		}
		if err := os.CopyFS(filepath.Join(oddFolder, class), os.DirFS(filepath.Join(oddPictures, class))); err != nil {
			t.Fatal(err)
		}
	}
	long := filepath.Join(filepath.Dir(table), "long.csv")
	text := read(t, table)
	os.WriteFile(long, []byte(strings.Replace(text, "a photo of a cat", strings.Repeat("a photo of a cat ", 20), 1)), 0o666)
	llava := golden.Path(t, "testdata/families/llava")
	model := withVocabulary(t, fewWords)
	targets := filepath.Join(t.TempDir(), "targets.safetensors")
	rows := make([]float32, 12*10)
	for i := range rows {
		rows[i] = float32(i%7) - 3
	}
	if err := checkpoint.WriteTensors(targets, nil, []checkpoint.Values{{Name: "targets", Shape: []int{12, 10}, Data: rows}}); err != nil {
		t.Fatal(err)
	}
	several := filepath.Join(pictures, "..", "several.csv") // of which each may have several labels
	rowsOf := "path,label\n"
	for _, class := range []string{"blue", "green", "red"} {
		for i := range 4 {
			rowsOf += fmt.Sprintf("%s/%02d.png,%s|%s\n", filepath.ToSlash(filepath.Join(pictures, class)), i, class, []string{"even", "odd"}[i%2])
		}
	}
	os.WriteFile(several, []byte(rowsOf), 0o666)
	headed := filepath.Join(t.TempDir(), "headed")
	vitago("finetune", "--model", model, "--data", pictures, "--out", headed, "--recipe", "probe").want(t, exitDone, []string{"model"}, []string{""})
	steps := "--epochs 2 --batch 4 "
	recipes := []struct{ name, line string }{
		{"probe", "--model MODEL --data PICTURES --recipe probe --split 0.25"},
		{"probe by AdamW", "--model MODEL --data PICTURES --recipe probe --solver adamw --split 0.25 --head-rate 0.01 " + steps},
		{"projector", "--model LLAVA --data PICTURES --recipe projector --teacher LLAVA --init-projector --split 0.25 --head-rate 0.01 " + steps},
		{"lora", "--model MODEL --data PICTURES --recipe lora --split 0.25 --rate 0.01 --accumulate 1 --rank 2 " + steps},
		{"last-n", "--model MODEL --data PICTURES --recipe last-n --blocks 1 --split 0.25 --rate 0.01 --accumulate 1 " + steps},
		{"full", "--model MODEL --data PICTURES --recipe full --split 0.25 --rate 0.01 --accumulate 1 --ema 0 " + steps},
		{"full by targets", "--model MODEL --data PICTURES --recipe full --split 0 --targets TARGETS --rate 0.01 --accumulate 1 --ema 0 " + steps},
		{"xcomposer", "--model LLAVA --data PICTURES --recipe xcomposer --teacher LLAVA --init-projector --split 0.25 --rate 0.01 --accumulate 1 " + steps},
		{"contrastive", "--model MODEL --data TABLE --recipe contrastive --split 0.25 --rate 0.01 --accumulate 1 " + steps},
	}
	// A value of every flag, and what it goes with.
	flags := map[string]struct{ value, with string }{
		"model": {llava, ""}, "data": {more, ""}, "out": {"OTHER", ""}, "recipe": {"nope", ""}, "val": {"PICTURES", ""}, "split": {"0.5", ""},
		"teacher": {"MODEL", ""}, "targets": {"TARGETS", ""}, "distance": {"mse", ""}, "projector": {"linear", ""}, "layout": {"squash", ""}, "hd-num": {"3", ""},
		"label-separator": {"|", "--data SEVERAL"}, "class-weights": {"red=3", ""}, "init-head": {"", "--model HEADED"},
		"init-projector": {"", ""}, "layer": {"0", ""}, "solver": {"lbfgs", ""}, "fix-vit": {"", ""}, "fix-sampler": {"", ""},
		"epochs": {"3", ""}, "batch": {"2", ""}, "accumulate": {"3", ""}, "rate": {"0.02", ""}, "head-rate": {"0.02", ""}, "weight-decay": {"0.3", ""},
		"layer-decay": {"0.5", ""}, "ema": {"0.5", ""}, "warmup": {"0.9", ""}, "clip": {"0.001", ""}, "smoothing": {"0.3", ""}, "blocks": {"2", ""}, "rank": {"3", ""},
		"alpha": {"7", ""}, "lora-targets": {"fc1", ""}, "augment-crop": {"0.3", ""}, "augment-flip": {"0.5", ""}, "augment-colour": {"0.5", ""},
		"captions": {"", ""}, "vocab": {"nope", ""}, "truncate": {"", "--data LONG"}, "lock": {"texts", ""}, "text-rate": {"0.01", ""}, "scale-rate": {"0.01", ""},
		"steps": {"2", ""}, "seed": {"5", ""}, "checkpoint-every": {"1", ""}, "val-every": {"1", ""}, "patience": {"1", "--epochs 9"}, "resume": {"", "AGAIN"},
		"strict": {"", "--data BROKEN"}, "cache": {"OUT/cache", ""}, "recompute": {"", ""}, "memory": {"0.00001", ""}, "wise-ft": {"0.5", ""}, "log-every": {"1", ""},
		"tensorboard": {"", ""}, "dry-run": {"", ""}, "json": {"", ""}, "sweep": {"weight-decay=0,0.1", ""}, "dtype": {"f16", ""}, "activation": {"gelu", ""},
		"preprocess": {"openai", "--data ODD"}, "fit": {"squash", "--data ODD"}, "exif": {"", "--data ODD"},
	}
	// Where the value above is what the run has anyway.
	others := map[string]map[string]struct{ value, with string }{
		"probe":           {"patience": {"1", ""}, "solver": {"adamw", ""}},
		"projector":       {"distance": {"cosine", ""}, "model": {"MODEL", ""}, "patience": {"1", "--epochs 9 --head-rate 1"}, "init-projector": {"", "LLAVAS"}},
		"full by targets": {"targets": {"nope", ""}, "strict": {"", "--data BROKEN --epochs 1"}},
		"xcomposer":       {"distance": {"cosine", ""}, "model": {"MODEL", ""}, "init-projector": {"", "LLAVAS"}},
		"contrastive": {
			"strict": {"", "--data BROKENTABLE"}, "preprocess": {"openai", "--data ODDTABLE"}, "fit": {"squash", "--data ODDTABLE"}, "exif": {"", "--data ODDTABLE"},
		},
	}
	newFinetune().LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if _, ok := flags[f.Name]; !ok {
			t.Errorf("--%s is not tried", f.Name)
		}
	})
	for _, r := range recipes {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel() // they wait for the disk more than they compute
			try := func(line string) map[string]string {
				t.Helper()
				dir := t.TempDir()
				args := func(line string) []string {
					return strings.Fields(strings.NewReplacer("AGAIN", "", "SEVERAL", several, "HEADED", filepath.Join(headed, "model"), "OTHER", filepath.Join(dir, "other"), "OUT", filepath.Join(dir, "out"), "MODEL", model, "LLAVA", llava,
						"PICTURES", pictures, "TARGETS", targets, "ODDTABLE", oddTable, "ODD", oddFolder, "BROKENTABLE", brokenTable, "TABLE", table, "LONG", long, "BROKEN", folder).Replace("finetune --out OUT " + line))
				}
				if strings.Contains(line, "LLAVAS") { // with the projector that it has
					line = strings.Replace(strings.Replace(line, "LLAVAS", "", 1), "--init-projector", "", 1)
				}
				if strings.Contains(line, "AGAIN") {
					vitago(args(strings.ReplaceAll(line, "--resume", ""))...)
				}
				return outcome(t, vitago(args(line)...), dir)
			}
			bases := map[string]map[string]string{}
			for _, name := range slices.Sorted(maps.Keys(flags)) {
				f := flags[name]
				with := strings.TrimSpace(f.with)
				if o, ok := others[r.name][name]; ok {
					f, with = o, strings.TrimSpace(o.with)
				}
				if bases[with] == nil {
					bases[with] = try(r.line + " " + with)
				}
				after := try(r.line + " " + with + " --" + name + " " + f.value)
				named := strings.Contains(after["stderr"], f.value) && f.value != ""
				for _, word := range strings.Fields(r.line + " " + with + " --" + name) { // or one that it makes do nothing
					named = named || strings.HasPrefix(word, "--") && regexp.MustCompile(word+`([^\w-]|$)`).MatchString(after["stderr"])
				}
				switch {
				case after["status"] == fmt.Sprint(exitUsage) && !named:
					t.Errorf("--%s %s: the error does not name it: %.200s", name, f.value, after["stderr"])
				case after["status"] != fmt.Sprint(exitUsage) && maps.Equal(bases[with], after):
					t.Errorf("--%s %s: changes nothing: status %s, %.300s", name, f.value, after["status"], after["stderr"])
				}
			}
		})
	}
}
