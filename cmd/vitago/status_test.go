package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
)

// A statusCase is a command line, the status that it ends with, and what standard error has.
type statusCase struct {
	status int
	line   string
	want   string
}

// wrongFiles writes what is found in the place of a model, a vocabulary or an image, and returns the folder.
func wrongFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	weights, archive := read(t, tinyModel, "model.safetensors"), read(t, tinyArchive)
	legacy := read(t, "../../testdata/tiny/state_legacy.pt")
	jpeg := read(t, "testdata/demo/"+demoJPEG(t))
	for name, content := range map[string]string{
		"empty.pt": "", "text.pt": "just some text\n", "zeros.pt": strings.Repeat("\x00", 4096),
		"login.pt":        "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n",
		"error.json":      `{"error":"Repository not found"}`,
		"lfs.safetensors": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n",
		"picture.pt":      jpeg, "picture.jpg": jpeg, "cut.jpg": jpeg[:len(jpeg)/2], "broken.png": "no picture",
		"cut.safetensors": weights[:len(weights)/2], "header.safetensors": weights[:100], "more.safetensors": weights + "xx",
		"cut.pt": archive[:len(archive)/2], "legacy.pt": legacy[:len(legacy)/2], "gguf.bin": "GGUF\x03\x00\x00\x00",
		"gz.pt": "\x1f\x8b\x08\x00rest", "hdf5.h5": "\x89HDF\r\n\x1a\nrest", "plain.zip": "PK\x05\x06" + strings.Repeat("\x00", 18),
		"pictures/a.jpg": jpeg, "unfinished/model.safetensors.partial": "", "unfinished/config.json": "{}", "labels.txt": "cat\ncat\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errorsOf(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(content), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errorsOf(os.Mkdir(filepath.Join(dir, "nothing"), 0o777), os.CopyFS(filepath.Join(dir, "above", "tiny"), os.DirFS(tinyModel))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// demoJPEG returns the name of a JPEG of the demo.
func demoJPEG(t *testing.T) string {
	t.Helper()
	names, err := filepath.Glob("testdata/demo/*.jpg")
	if err != nil || len(names) == 0 {
		t.Fatal("no JPEG", err)
	}
	return filepath.Base(names[0])
}

// troubles returns the messages that docs/troubleshooting.md explains.
func troubles(t *testing.T) (all []string) {
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(page(t, "docs/troubleshooting.md"), -1) {
		all = append(all, row[1])
	}
	if len(all) < 20 {
		t.Errorf("%d messages were found in docs/troubleshooting.md, want 20 or more", len(all))
	}
	return all
}

// leftovers are what only a programmer understands in a message.
var leftovers = regexp.MustCompile(`strconv|<nil>|%!|runtime error|struct \{|goroutine|panic|\b(l?stat|ParseBool|ParseInt) |invalid syntax|map\[`)

// TestStatuses: wrong usage ends with 2 and a failure of the world with 1, each with a message for a person on standard
// error and nothing on standard output.
func TestStatuses(t *testing.T) {
	const (
		done  = exitDone
		world = exitFailed
		usage = exitUsage
		never = exitNever
	)
	encode, tokens, classify := "encode --model TINY ", "tokens --model LLAVA ", "classify --model TINY --labels a,b "
	eval, finetune := "eval --model TINY ", "finetune --model TINY --data PICTURES --out OUT "
	layered := "finetune --model LLAVA --teacher LLAVA --data PICTURES --out OUT --recipe projector "
	cases := []statusCase{
		// Verbs.
		{usage, "", "no verb"},
		{usage, "encod", `unknown verb "encod"; did you mean "encode"?`},
		{usage, "search", "no index: give --index INDEX"},
		{usage, "search --index WRONG/nothing", "no query: give a TEXT, --image FILE"},
		{world, "search --index WRONG/nothing words", "no index"},
		{world, "search --index nowhere words", "nowhere: no index: the folder is not there"},
		{usage, "encod --model TINY x", `unknown verb "encod"; did you mean "encode"?`},
		{usage, "--model=TINY encod x", `unknown verb "encod"; did you mean "encode"?`},
		{usage, "--model TINY clasify --lables a", `unknown verb "clasify"; did you mean "classify"?`},
		{usage, "ENCODE x", `did you mean "encode"?`},
		{usage, "embed x", `did you mean "encode"?`},
		{usage, "train --data x", `did you mean "finetune"?`},
		{usage, "evaluate x", `did you mean "eval"?`},
		{usage, "frobnicate --hard x", `unknown verb "frobnicate"` + "\n"},
		{usage, "train --model demo x", `unknown verb "train"; did you mean "finetune"?`},
		{usage, "evaluate --model demo x", `unknown verb "evaluate"; did you mean "eval"?`},
		{usage, "--model demo embed x", `unknown verb "embed"; did you mean "encode"?`},
		{usage, "frobnicate --model demo x", `unknown verb "frobnicate"` + "\n"},
		{usage, "--model demo serve x", "got 1 argument, want none: --model names models"},
		{usage, "server --model x", `did you mean "serve"?`},
		{usage, "serve", "no model: give --model NAME=DIR"},
		{usage, "serve x", "got 1 argument, want none: --model names models"},
		{usage, "serve --model =TINY", "want NAME=DIR"},
		{usage, "serve --model a=builtin:demo --model a=builtin:demo", `two models have the name "a"`},
		{world, "serve --model a=nowhere", "model a: "},
		{world, "serve --model a=WRONG/login.pt --listen 127.0.0.1:0", "an HTML page, as a server gives it in the place of a file"},
		{usage, "serve --model a=builtin:demo --index b=x", `no model has the name "b"`},
		{usage, "serve --model a=builtin:demo --listen 0.0.0.0:0", "0.0.0.0:0 is reached from other machines, and without TLS they read along: give --tls-cert"},
		{world, "serve --model a=builtin:demo --listen nonsense", `address "nonsense": want HOST:PORT`},
		{usage, "serve --model a=builtin:demo --max-body 0", "--max-body is 0, want more than 0"},
		{usage, "serve --model a=builtin:demo --grace -1s", "--grace is -1s, want 0 or more"},
		{usage, "serve --model a=builtin:demo --max-body 300", "would never be taken"},
		{usage, "serve --model a=builtin:demo --tls-cert x", "a certificate and its key belong together"},
		{usage, "serve --model a=builtin:demo --tokens nowhere", "tokens: open nowhere"},
		{usage, "serve --model a=builtin:demo --fetch-http", "go with --fetch HOST"},
		{usage, "serve --model a=builtin:demo --fetch a/b", "--fetch: "},
		{usage, "serve --model a=builtin:demo --fetch x --fetch-allow y", "want addresses as 10.1.0.0/16"},
		{usage, "serve --model a=builtin:demo --origin x", `origin "x", want scheme and host`},
		{world, "serve --config nowhere", "nowhere"},
		{usage, "help encod", `unknown verb "encod"; did you mean "encode"?`},
		{done, "help encode", ""},
		{usage, "completion", "want bash, zsh, fish or powershell"},
		{usage, "completion tcsh", "unknown"},
		{done, "completion bash", ""},

		// Flags.
		{usage, "--nope", "unknown flag: --nope"},
		{usage, "--qiet version", `did you mean "--quiet"?`},
		{usage, "finetune --lr 3", `unknown flag: --lr; did you mean "--rate"?`},
		{usage, "finetune --learning-rate 3", `unknown flag: --learning-rate; did you mean "--rate"?`},
		{usage, "finetune --batch-size 3", `unknown flag: --batch-size; did you mean "--batch"?`},
		{usage, "encode --out x.npy", `unknown flag: --out; did you mean "--output"?`},
		{usage, "finetune --output x", `unknown flag: --output; did you mean "--out"?`},
		{usage, "classify --topk 3", `unknown flag: --topk; did you mean "--top"?`},
		{usage, "encode --device cuda", "vitago computes on the CPU alone"},
		{usage, "finetune recipe", `unknown word "recipe"; did you mean "recipes"?`},
		{usage, "--normalize encode --model TINY x", "the flags of a verb stand after it: vitago encode"},
		{usage, "encode --feature cls --model TINY x", `unknown flag: --feature; did you mean "--features"?`},
		{usage, "classify --lables a,b x", `unknown flag: --lables; did you mean "--labels"?`},
		{usage, "inspect --lables a", `did you mean "--labels", a flag of classify`},
		{usage, "inspect --labels a x", "unknown flag: --labels; it is a flag of classify"},
		{usage, "inspect -o x", "'o' in -o; it is a flag of "},
		{usage, "encode -model TINY x", `unknown flag: -model; did you mean "--model"?`},
		{usage, "encode --model", "--model has no value, want --model DIR"},
		{usage, "encode --model= x", "--model is empty, want --model DIR"},
		{usage, "classify --model TINY --labels a,b --cache= x", "--cache is empty, want --cache DIR"},
		{usage, encode + "--normalize=maybe PICTURE", `--normalize is "maybe": want true or false`},
		{usage, encode + "--batch four PICTURE", `--batch is "four": want a whole number`},
		{usage, encode + "--batch 99999999999999999999 PICTURE", "want a whole number that is not so large"},
		{usage, finetune + "--recipe full --seed -1", `--seed is "-1": want a whole number, 0 or more`},
		{usage, finetune + "--recipe full --rate fast", `--rate is "fast": want a number`},
		{usage, encode + "--format nyp PICTURE", `--format is "nyp": want jsonl, npy, safetensors, csv, parquet; did you mean "npy"?`},
		{usage, encode + "--features CLS PICTURE", `did you mean "cls"?`},
		{usage, finetune + "--recipe lroa", `did you mean "lora"?`},
		{usage, "export TINY OUT --to opencilp", `did you mean "openclip"?`},
		{usage, "encode --threads 0 x", "--threads is 0, want 1 to 1024"},
		{usage, "encode --threads -3 x", "--threads is -3, want 1 to 1024"},
		{usage, "encode --threads 99999 x", "--threads is 99999, want 1 to 1024"},
		{usage, "encode --threads two x", `--threads is "two": want a whole number`},
		{usage, "download ViT-B/33", `; did you mean "ViT-B/32"?`},
		{usage, "download --threads 2 --list", "--threads is of verbs that compute, and download does not"},
		{usage, "models --threads 2", "--threads is of verbs that compute, and models does not"},
		{usage, "encode --quiet=often x", `--quiet is "often": want true or false`},
		{usage, "encode --quiet", "got 0 arguments, want at least one IMAGE"},
		{done, "version --threads 2 --quiet", ""},

		// verify
		{done, "verify", ""},
		{usage, "verify x", "got 1 argument, want none"},
		{usage, "verify --answers nope", "--answers nope is neither a file nor one of ViT-B/32"},
		{usage, "selftest", `did you mean "verify"?`},
		{world, "verify --answers ViT-B/32", "no answer can be checked without its picture"},
		{world, "verify --model nope --answers ViT-B/32", "nope"},

		// encode
		{usage, "encode PICTURE", "no model: give --model DIR"},
		{usage, "encode --model TINY", "got 0 arguments, want at least one IMAGE"},
		{usage, "encode --model PICTURE TINY", "is an image, want a model directory or a checkpoint"},
		{usage, encode + "--batch 0 PICTURE", "--batch is 0, want 1 to 64"},
		{usage, "encode --model nope --batch 65 PICTURE", "--batch is 65, want 1 to 64"},
		{usage, encode + "--layer 1 PICTURE", "an embedding has no layer"},
		{usage, encode + "--features cls --layer 9 PICTURE", "--layer is 9, want -3 to 2 for this model"},
		{usage, encode + "--precision f16 PICTURE", "want f32, bf16, int8, auto"},
		{usage, encode + "--preprocess pil PICTURE", "want openai, open_clip, transformers"},
		{usage, encode + "--fit square PICTURE", "want crop, squash, pad, longest"},
		{usage, encode + "--activation relu PICTURE", "want quick_gelu, gelu"},
		{usage, encode + "-o OUT.foo PICTURE", `no format has the extension ".foo"`},
		{usage, encode + "-o OUT.npy --format jsonl PICTURE", "has the extension of npy, and --format is jsonl"},
		{usage, encode + "- -", "standard input is named twice"},
		{done, "encode --model TINY --shards -o OUT PICTURES", "OUT: 1 shard of 1, 6 rows in "},
		{world, "encode --model TINY --shards -o OUT nowhere", "nowhere"},
		{world, "encode --model TINY --shards -o OUT WRONG/nothing", "WRONG/nothing"},
		{never, "encode --model TINY --shards -o OUT WRONG/broken.png WRONG/picture.jpg", "many of its pictures could not be encoded: 1 of 2"},
		{world, "encode --model TINY --shards -o OUT --resume", "OUT: no dataset has been begun there"},
		{world, "encode --model TINY --shards -o DATASET PICTURES", "DATASET: a dataset has been begun there, and resuming was not asked for; --resume goes on with it"},
		{done, "encode --model TINY --shards -o DATASET --resume", "DATASET: 0 shards of 2, 0 rows in "},
		{never, "encode --model TINY --shards -o DATASET --resume PICTURE", "DATASET: was begun with inputs "},
		{never, "encode --model LLAVA --shards -o DATASET --resume", "vectors of the space"},
		{usage, "encode --model TINY --shards PICTURES", "a folder or s3://BUCKET/PREFIX"},
		{usage, "encode --model TINY --shards -o OUT", "got 0 arguments, want at least one IMAGE"},
		{usage, "encode --model TINY --shards -o OUT --part 3/x PICTURES", `--part is "3/x", want I/N`},
		{usage, "encode --model TINY --part 0/2 PICTURE", "--part goes with --shards"},
		{world, "encode --model TINY --shards -o OUT --captions PICTURES", "no vocabulary"},
		{done, "status DATASET", ""},
		{world, "status WRONG/nothing", "WRONG/nothing: no dataset has been begun there: it has no vitago/plan.json"},
		{usage, "status", "got 0 arguments, want one"},
		{usage, "status DATASET --plot x.bmp", `no plot has the extension ".bmp"`},
		{done, "verify-shards DATASET", ""},
		{world, "verify-shards nowhere", "nowhere: no dataset has been begun there"},
		{usage, "verify-shards a b", "got 2 arguments, want one"},
		{done, "merge -o OUT DATASET", ""},
		{world, "merge -o OUT nowhere", "nowhere: no dataset has been begun there"},
		{world, "merge -o DATASET DATASET", "DATASET is named twice"},
		{usage, "merge DATASET", "no output: give -o "},
		{usage, "merge -o OUT", "got 0 arguments, want at least one"},
		{usage, encode + "https://example.com/cat.jpg", "addresses are not read"},
		{usage, encode + "--resume --overwrite -o OUT.npy PICTURE", "give one of them"},
		{usage, encode + "--resume PICTURE", "--resume goes with -o FILE"},
		{usage, encode + "--overwrite PICTURE", "--overwrite goes with -o FILE"},
		{usage, encode + "--vocab nope PICTURE", "--vocab goes with --text"},
		{usage, encode + "--text --exif cat", "--exif is of images, and --text encodes texts"},
		{usage, encode + "--text --features patches cat", "a text has an embedding alone"},
		{usage, encode + "--text", "at least one TEXT"},
		{usage, encode + "--text-file WRONG/labels.txt cat", "--text-file has the texts"},
		{world, "encode --model TINY-vision --text cat", "text tower"},
		{world, encode + "--text-file nope", "--text-file: open nope: no such file or directory"},
		{world, encode + "--text cat", "vocabulary"},
		{world, "encode --model nope PICTURE", "no model nope: no such file or directory"},
		{world, "encode --model openai/clip-vit-base-patch32 PICTURE", `"vitago download openai/clip-vit-base-patch32" brings it, to `},
		{world, "encode --model ViT-B/32 PICTURE", `"vitago download ViT-B/32" brings it, to `},
		{world, "encode --model google/siglip-base-patch16-224 PICTURE", "SigLIP is not supported: no class token"},
		{usage, encode + "--normalize false", "the value of a flag that is on or off stands behind a =: --normalize=false"},
		{world, "finetune --model nope/nope --data PICTURES --out OUT --recipe full", "--model: no model nope/nope: no such file or directory, and none of that name in models"},
		{world, "encode --model demo2/demo PICTURE", "no model demo2/demo: no such file or directory, and none of that name in models"},
		{world, encode + "nowhere.jpg", "no image: nowhere.jpg: no such file or directory"},
		{world, encode + "nothing*.jpg", "no file matches"},
		{world, encode + "WRONG/nothing", "no images in this folder"},
		{world, encode + "WRONG/text.pt", "not an image: the file starts with"},
		{world, encode + "WRONG/lfs.safetensors", "a pointer of Git LFS"},
		{world, encode + "WRONG/cut.jpg", "JPEG: the file is cut short"},
		{world, encode + "WRONG/empty.pt", "empty file"},
		{world, encode + "-o TINY/config.json/x.npy PICTURE", "config.json"},
		{done, encode + "PICTURE", ""},

		// tokens
		{usage, "tokens PICTURE", "no model: give --model DIR"},
		{usage, "tokens --model TINY", "at least one IMAGE"},
		{usage, tokens + "--batch 0 PICTURE", "--batch is 0, want 1 to 64"},
		{usage, "tokens --model nope --hd-num 0 PICTURE", "--hd-num is 0, want at least 1"},
		{usage, tokens + "--hd-num 5 PICTURE", "has no tiles of that kind"},
		{usage, tokens + "--layout nope PICTURE", "want processor, clip, "},
		{usage, tokens + "--count -o OUT.npy PICTURE", "leave --format and -o out"},
		{usage, tokens + "--format npy PICTURE PICTURE", "npy holds the tokens of one image"},
		{usage, tokens + "-o OUT.pt PICTURE", `no format has the extension ".pt"`},
		{world, "tokens --model TINY PICTURE", "has a vision tower and no projector"},
		{world, "tokens --model nope PICTURE", "no model nope"},
		{done, tokens + "--count PICTURE", ""},

		// explain
		{usage, "explain --text a", "got 0 arguments, want one IMAGE"},
		{usage, "explain --model TINY PICTURE", "got no caption: --text"},
		{usage, "explain --model TINY --text a --text a PICTURE", `"a" is given twice`},
		{usage, "explain --model TINY --text a -o OUT.jpg PICTURE", "want a name that ends with .png"},
		{usage, "explain --model TINY --text a --method gradcam PICTURE", "want relevance, rollout, similarity"},
		{usage, "heatmap x", `did you mean "explain"?`},
		{world, "explain --model nope --text a PICTURE", "no model nope"},
		{world, "explain --model TINY-vision --text a PICTURE", "no text tower, which --text wants"},
		{world, "explain --text a WRONG/broken.png", "broken.png: not an image"},
		{world, "explain --text a nope.png", "nope.png: no such file or directory"},
		{world, "explain --text a -o nope/x/y.png --map WRONG/picture.jpg/x.npy PICTURE", "picture.jpg"},
		{world, "explain --text " + strings.Repeat("a.", 40) + " PICTURE", "tokens with its begin and end, want at most"},

		// classify
		{usage, "classify --model= --labels a,b PICTURE", "--model is empty, want --model DIR"},
		{usage, "classify --model TINY PICTURE", "labels"},
		{usage, "classify --model TINY --labels a PICTURE", "got 1 label, want at least 2"},
		{usage, "classify --model TINY --labels a,a PICTURE", "twice"},
		{usage, "classify --model TINY --labels a,, PICTURE", "empty"},
		{usage, classify + "--template photo PICTURE", "{}"},
		{usage, classify + "--top -1 PICTURE", "--top is -1"},
		{usage, "classify --model nope --labels a,b --batch 0 PICTURE", "--batch is 0, want 1 to 64"},
		{usage, classify + "--json --format csv PICTURE", "--json"},
		{usage, classify + "-o OUT.foo PICTURE", `no format has the extension ".foo"`},
		{usage, classify + "--overwrite PICTURE", "--overwrite goes with -o"},
		{usage, classify + "--labels-file WRONG/labels.txt PICTURE", "give one of them"},
		{world, "classify --model nope PICTURE", "no model nope"},
		{world, "classify --model TINY-vision --labels a,b PICTURE", "text tower"},
		{world, classify + "--vocab WRONG/picture.jpg PICTURE", "not a list of merges as OpenAI's bpe_simple_vocab_16e6.txt.gz: not UTF-8; it is a JPEG picture"},
		{world, classify + "--vocab WRONG/login.pt PICTURE", "it is an HTML page"},
		{world, classify + "--vocab nope PICTURE", "no vocabulary: nope: no such file or directory"},

		// eval
		{usage, "eval PICTURES", "no model: give --model DIR"},
		{usage, "eval --model TINY", "got 0 arguments"},
		{usage, eval + "--top 0 PICTURES", "--top is 0"},
		{usage, eval + "--min-accuracy 2 PICTURES", "--min-accuracy is 2"},
		{usage, eval + "--min-accuracy NaN PICTURES", "--min-accuracy is NaN"},
		{usage, "eval --model nope --batch 0 PICTURES", "--batch is 0, want 1 to 64"},
		{usage, eval + "--overwrite PICTURES", "--overwrite goes with -o"},
		{world, "eval --model nope PICTURES", "no model nope"},

		// convert
		{usage, "convert TINY", "got 1 argument, want SRC and DST"},
		{usage, "convert TINY OUT x", "got 3 arguments, want SRC and DST"},
		{usage, "convert --dtype int8 TINY OUT", "want source, f16, bf16, f32"},
		{usage, "convert --vision-only --vocab x TINY OUT", "--vocab is of the text tower, and --vision-only leaves that out"},
		{world, "convert nope OUT", "no model nope: no such file or directory"},
		{usage, "convert --adapter =1 TINY OUT", `--adapter is "=1", want DIR or DIR=WEIGHT`},
		{usage, "encode --model TINY --adapter= PICTURE", "--adapter is empty, want --adapter DIR[=WEIGHT]"},
		{world, "convert --adapter nope TINY OUT", "no adapter: nope: no such file or directory"},
		{world, "convert TINY TINY", "is not empty, and overwriting was not asked for; give --overwrite"},
		{world, "convert --vocab WRONG/picture.jpg TINY OUT", "not a list of merges"},
		{world, "convert --vocab WRONG/text.pt TINY OUT", `1 lines, want at least 48895; it is text that begins with "just some text"`},
		{done, "convert TINY OUT", "converted in"},

		// export
		{usage, "export TINY OUT", "--to is missing, want "},
		{usage, "export TINY", "got 1 argument, want SRC and"},
		{usage, "export TINY OUT --to onnx", "want openai, huggingface, openclip"},
		{usage, "export TINY OUT --to openclip --format torchscript", "torchscript"},
		{usage, "export TINY OUT --to openclip --projector-only", "projector"},
		{usage, "export TINY OUT.safetensors --to openai", "safetensors"},
		{world, "export nope OUT --to openai", "no model nope: no such file or directory"},
		{world, "export TINY OUT --to gguf", "it lacks the projector"},
		{done, "export TINY OUT --to openclip", "exported in"},

		// inspect and compare, and all that is no model
		{usage, "inspect", "got 0 arguments, want PATH"},
		{usage, "inspect a b", "got 2 arguments, want PATH"},
		{world, "inspect nope", "no model nope: no such file or directory"},
		{world, "inspect WRONG/empty.pt", "not a TorchScript archive, torch.save file, safetensors file, npz or npy file, or model directory; it is empty, of 0 bytes\n"},
		{world, "inspect WRONG/text.pt", `or model directory; it is text that begins with "just some text"`},
		{world, "inspect WRONG/zeros.pt", "zeros alone"},
		{world, "inspect WRONG/login.pt", "an HTML page, as a server gives it in the place of a file"},
		{world, "inspect WRONG/error.json", `JSON that begins with "{\"error\":\"Repository not found\"}"`},
		{world, "inspect WRONG/lfs.safetensors", "a pointer of Git LFS, and the file itself is not here: git lfs pull fetches it"},
		{world, "inspect WRONG/picture.pt", "or model directory; it is a JPEG picture"},
		{world, "inspect WRONG/gguf.bin", "GGUF is written, not read"},
		{world, "inspect WRONG/gz.pt", "compressed by gzip: unpack it"},
		{world, "inspect WRONG/hdf5.h5", "HDF5, as Keras saves weights, which is not read"},
		{world, "inspect WRONG/plain.zip", "plain.zip"},
		{world, "inspect WRONG/cut.safetensors", "the file is cut short"},
		{world, "inspect WRONG/header.safetensors", "truncated: header of "},
		{world, "inspect WRONG/more.safetensors", "2 bytes after the last tensor"},
		{world, "inspect WRONG/cut.pt", "the file is cut short or damaged"},
		{world, "inspect WRONG/legacy.pt", "the file is cut short"},
		{world, "inspect WRONG/nothing", "a directory without model.safetensors, pytorch_model.bin, an index of such files, or a .pt file: it is empty"},
		{world, "inspect WRONG/pictures", "a directory without model.safetensors"},
		{world, "inspect WRONG/unfinished", "its download has not ended, model.safetensors.partial is a part of a file"},
		{world, "inspect WRONG/above", "it has models in it, WRONG/above/tiny: give the path of the one that is meant"},
		{done, "inspect TINY", ""},
		{usage, "compare TINY", "got 1 argument, want A and B"},
		{usage, "compare TINY TINY --plot OUT.bmp", `no plot has the extension ".bmp"`},
		{usage, "compare TINY TINY --json --all", "--all goes without --json"},
		{world, "compare TINY nope", "no model nope: no such file or directory"},
		{world, "compare TINY WRONG/cut.safetensors", "cut.safetensors: safetensors: "},
		{done, "compare TINY TINY", "compared in"},

		// finetune
		{usage, "finetune", "--model is missing"},
		{usage, "finetune --model TINY", "--data is missing"},
		{usage, "finetune --model TINY --data PICTURES", "--out is missing"},
		{usage, finetune, "--recipe is missing"},
		{usage, finetune + "--recipe nope", "want probe, projector, lora"},
		{usage, finetune + "x --recipe full", "got 1 argument"},
		{usage, "finetune --model nope --data PICTURES --out OUT --recipe full --epochs 0", "--epochs"},
		{usage, "finetune --model PICTURE --data PICTURES --out OUT --recipe full", "is an image, want a model directory or a checkpoint"},
		{usage, finetune + "--recipe last-n --blocks 99", "--blocks: more blocks are to learn than are used: the last 99 blocks of 2"},
		{usage, layered + "--layer 99", "--layer: layer is 99, want -3 to 2 for this tower"},
		{usage, layered + "--hd-num 0", "--hd-num is 0, want at least 1"},
		{usage, finetune + "--recipe full --teacher TINY --targets x", "--teacher and --targets exclude each other"},
		{usage, finetune + "--recipe probe --log-every 3", "--log-every goes with --solver adamw"},
		{usage, "finetune recipes x", `recipe is "x", want one of probe`},
		{done, "finetune recipes", ""},
		{world, "finetune --model nope --data PICTURES --out OUT --recipe full", "no model nope"},
		{world, "finetune --model TINY --data nope --out OUT --recipe full", "no pictures: nope: no such file or directory"},
		{world, finetune + "--recipe full --val nope", "to validate on: no pictures: nope: no such file or directory"},
		{world, finetune + "--recipe full --class-weights nope.csv", "the class weights: nope.csv: no such file or directory"},
		{usage, finetune + "--recipe full --class-weights red=1e10", `--class-weights: the weight of "red" is "1e10", want a number above 0, from 1e-09 to 1e+09`},
		{world, finetune + "--recipe full --teacher nope", "the teacher: no model nope"},
		{world, finetune + "--recipe full --targets nope", "the targets: "},
		{world, "finetune --model TINY --data WRONG/nothing --out OUT --recipe full", "no folders of classes"},
		{world, "finetune --model TINY --data PICTURES --out TINY --recipe full", "holds what is learnt from"},

		// index
		{usage, "index --model TINY PICTURE", "no index: give --index INDEX"},
		{usage, "index --index OUT PICTURE", "no model: give --model DIR"},
		{usage, "index --index OUT --model TINY --batch 0 PICTURE", "--batch is 0, want 1 to 64"},
		{usage, "index --index OUT --model TINY -", "standard input has no name by which a picture could be found again"},
		{usage, "index --index OUT --model TINY https://example.com/a.jpg", "addresses are not read"},
		{usage, "index --index OUT --model TINY --metadata WRONG/labels.txt PICTURE", `columns are ["cat"], want one that is called path`},
		{world, "index --index OUT", "no index: the folder is not there"},
		{world, "index --index OUT --verify", "no index: the folder is not there"},
		{usage, "index --index OUT --verify PICTURE", "--verify reads the index alone: got 1 argument, want none"},
		{world, "index --index OUT --model TINY --compact", "no index: the folder is not there"},
		{world, "index --index PICTURES --model TINY PICTURE", "no index: it has no manifest.json, and "},
		{world, "index --index OUT --model TINY nope", "nope: no such file or directory"},
		{world, "index --index OUT --model nope PICTURE", "no model nope"},
		{world, "index --index OUT --model TINY --strict WRONG/broken.png", "broken.png: not an image"},
		{done, "index --index OUT --model TINY WRONG/labels.txt", "0 pictures: nothing was done"},
		{done, "index --index OUT --model TINY PICTURES", "6 pictures: 6 added"},

		// demo, download, models, version
		{usage, "demo x", "got 1 argument, want none"},
		{usage, "demo --overwrite", "--overwrite goes with --dir or --sheet"},
		{done, "demo --dir OUT", ""},
		{usage, "demo --sheet OUT.txt", "--sheet is OUT.txt, want a file that ends with .html"},
		{done, "demo --sheet OUT.html", ""},
		{usage, "download", "no name, want one of ViT-B/32"},
		{usage, "download a b", "got 2 arguments, want NAME"},
		{usage, "download foo", `"foo" is no name of a model`},
		{usage, "download RN50", "RN50 is a ResNet"},
		{usage, "download ViT-B/32 --mirror example", "--mirror: "},
		{usage, "download org/tiny@", "no revision after the @"},
		{usage, "download org/tiny@a --revision b", "the revision is given twice"},
		{world, "download --dir OUT org/tiny --mirror http://127.0.0.1:1", "off line? fetch them by hand"},
		{done, "download --list", ""},
		{usage, "models a b", "got 2 arguments"},
		{world, "models nonesuch", `no model that is known has "nonesuch"`},
		{done, "models", ""},
		{usage, "man", "got 0 arguments, want DIR"},
		{world, "man PICTURES", "is there already: choose another folder"},
		{done, "man OUT", ""},
		{usage, "version x", "got 1 argument, want none"},
		{done, "version", ""},
	}
	for _, v := range []struct{ flag, values string }{
		{"epochs", "0 -1 1.5"}, {"batch", "0 -1"}, {"accumulate", "0 -1"}, {"rate", "-1 nan inf 1e9"}, {"head-rate", "-1 nan"}, {"weight-decay", "-1 nan"}, {"layer-decay", "-1 2 nan"},
		{"ema", "-1 2 nan"}, {"warmup", "-1 2 nan"}, {"clip", "-1 nan inf"}, {"smoothing", "-1 1 nan"}, {"split", "2 -1 1 nan"}, {"augment-crop", "-1 2 nan"},
		{"augment-flip", "-1 2 nan"}, {"augment-colour", "-1 nan"}, {"steps", "-1 x"}, {"val-every", "-1"}, {"patience", "-1"}, {"checkpoint-every", "-1"}, {"log-every", "0 -1"},
		{"wise-ft", "-1 2 nan"}, {"memory", "0 nan inf 1e10"}, {"blocks", "2"}, {"rank", "2"}, {"alpha", "2"}, {"lora-targets", "fc1"}, {"lock", "images"}, {"solver", "lbfgs"},
	} {
		for _, value := range strings.Fields(v.values) {
			cases = append(cases, statusCase{usage, finetune + "--recipe full --" + v.flag + " " + value, "--" + v.flag})
		}
	}
	for _, value := range []string{"--rank 0", "--rank -1", "--rank 100000", "--alpha 0", "--alpha nan", "--lora-targets foo", "--lora-targets q_proj,", "--blocks 1"} {
		cases = append(cases, statusCase{usage, finetune + "--recipe lora " + value, strings.Fields(value)[0]})
	}

	told := troubles(t)
	for _, c := range cases {
		told = slices.DeleteFunc(told, func(message string) bool { return c.want != "" && strings.Contains(c.want, message) })
	}
	if len(told) > 0 {
		t.Errorf("docs/troubleshooting.md has messages that no case here has: %q", told)
	}

	wrong, pictures := wrongFiles(t), colours(t, 2)
	dataset := filepath.Join(t.TempDir(), "dataset")
	vitago("encode", "--model", tinyModel, "--shards", "--per-shard", "3", "-o", dataset, pictures).want(t, exitDone, nil, []string{"2 shards of 2, 6 rows"})
	tried := map[string][]int{}
	for _, c := range cases {
		out := filepath.Join(t.TempDir(), "out")
		names := strings.NewReplacer("DATASET", dataset, "TINY", tinyModel, "LLAVA", golden.Path(t, "testdata/families/llava"), "PICTURES", pictures, "PICTURE", "testdata/demo/cat.png", "WRONG", wrong, "OUT", out)
		args := strings.Fields(names.Replace(c.line))
		r := vitago(args...)
		if len(args) > 0 {
			tried[args[0]] = append(tried[args[0]], c.status)
		}
		fail := func(format string, a ...any) {
			t.Helper()
			t.Errorf("vitago %s: status %d, %s; standard error:\n%s", c.line, r.status, fmt.Sprintf(format, a...), r.err)
		}
		switch {
		case r.status != c.status:
			fail("want %d", c.status)
		case !strings.Contains(r.err, filepath.FromSlash(names.Replace(c.want))) && !strings.Contains(r.err, names.Replace(c.want)):
			fail("want %q", c.want)
		case c.status == done:
		case r.out != "":
			fail("and standard output has %q", r.out)
		case c.status == usage && !strings.Contains(r.err, " --help' for usage.\n"):
			fail("without how to come to the help")
		case leftovers.MatchString(r.err):
			fail("with %q", leftovers.FindString(r.err))
		case !strings.HasSuffix(r.err, "\n"):
			fail("without a line's end")
		}
	}
	// Every verb has been used wrongly, has failed if it can, and has done what it should, here or in a test of its own.
	neverFail := []string{"version", "help", "completion", "demo"}
	for _, cmd := range newRoot(nil, nil, nil).Commands() {
		if !slices.Contains(tried[cmd.Name()], usage) || !slices.Contains(neverFail, cmd.Name()) && !slices.Contains(tried[cmd.Name()], world) {
			t.Errorf("%s: only the statuses %v", cmd.Name(), tried[cmd.Name()])
		}
	}
}

// TestKernelVariable: an implementation that this processor lacks is called so, and one that is mistyped is recognised.
func TestKernelVariable(t *testing.T) {
	for _, name := range []string{"amx", "avx512", "avx2", "neon"} {
		if slices.Contains(kernel.Available(), name) {
			t.Setenv(kernel.Env, strings.ToUpper(name))
			vitago("version").want(t, exitUsage, nil, []string{fmt.Sprintf("%s is %q (did you mean %q?), want ", kernel.Env, strings.ToUpper(name), name)})
			continue
		}
		t.Setenv(kernel.Env, name)
		vitago("version").want(t, exitUsage, nil, []string{fmt.Sprintf("%s is %q: this p", kernel.Env, name), "has no ", "generic, or nothing"})
	}
}
