package clip_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
)

// The model of these examples is a tiny CLIP with random weights, which knows the words "a photo of a cat". OpenAI's archive,
// a directory of Hugging Face's hub, or one that "vitago convert" wrote goes in its place.
const modelDir = "../testdata/families/hf5-clip"

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// A picture and texts as vectors that can be compared. transformers 5.24.0 gives 0.3415 and 0.1209.
func Example() {
	ctx := context.Background()
	model, err := clip.Open(modelDir)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	pictures, err := model.Encode(ctx, clip.File("../cmd/vitago/testdata/demo/cat.jpg"))
	if err != nil {
		log.Fatal(err)
	}
	texts, err := model.EncodeText(ctx, []string{"a photo of a cat", "a"})
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range texts {
		fmt.Printf("%.3f\n", clip.Cosine(pictures[0], text))
	}
	// Output:
	// 0.342
	// 0.121
}

// Pictures from wherever they are.
func ExampleModel_Encode() {
	model := must(clip.Open(modelDir))
	defer model.Close()
	file := must(os.ReadFile("../cmd/vitago/testdata/demo/cat.png"))
	vectors, err := model.Encode(context.Background(),
		clip.File("../cmd/vitago/testdata/demo/cat.jpg"),
		clip.Bytes("cat.png", file),
		clip.Reader("cat.png", bytes.NewReader(file)),
		clip.Image("grey", image.NewGray(image.Rect(0, 0, 30, 20))),
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(vectors), "pictures,", len(vectors[0]), "values each")
	// Output: 4 pictures, 10 values each
}

func ExampleModel_EncodeText() {
	model := must(clip.Open(modelDir))
	defer model.Close()
	vectors, err := model.EncodeText(context.Background(), []string{"a photo of a cat", ""})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(vectors), "texts,", len(vectors[0]), "values each")

	_, err = model.EncodeText(context.Background(), []string{"a dog"})
	fmt.Println(errors.Is(err, clip.ErrText), err)
	// Output:
	// 2 texts, 10 values each
	// true clip: text 1: the vocabulary of 25 tokens lacks "dog": none of them is "d"
}

// The patches of the last block but one, which LLaVA takes, of two pictures at once.
func ExampleModel_Features() {
	model := must(clip.Open(modelDir))
	defer model.Close()
	patches, err := model.Features(context.Background(), clipvit.Features{Kind: clipvit.Patches, Layer: -2},
		clip.File("../cmd/vitago/testdata/demo/cat.jpg"), clip.File("../cmd/vitago/testdata/demo/red-circle.png"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(patches), "pictures,", len(patches[0]), "values each")
	// Output: 2 pictures, 144 values each
}

// All pictures of a folder, in constant memory. What cannot be read is said and skipped.
func ExampleModel_Stream() {
	model := must(clip.Open(modelDir))
	defer model.Close()
	pictures, notes, err := clip.Folder("../cmd/vitago/testdata/demo")
	if err != nil {
		log.Fatal(err)
	}
	pictures = append(pictures, clip.Bytes("notes.txt", []byte("hello")))
	for e, err := range model.Stream(context.Background(), slices.Values(pictures), clip.StreamOptions{SkipErrors: true}) {
		switch {
		case err != nil:
			log.Fatal(err)
		case e.Err != nil:
			fmt.Println(e.Index, e.Err)
		default:
			fmt.Println(e.Index, filepath.Base(e.Name), len(e.Vector))
		}
	}
	fmt.Println(len(notes), "notes")
	// Output:
	// 0 blue-square.png 10
	// 1 cat.jpg 10
	// 2 cat.png 10
	// 3 gradient.png 10
	// 4 orange-circle.png 10
	// 5 red-circle.png 10
	// 6 clip: notes.txt: not an image: the file starts with "hello", want JPEG, PNG, GIF, WebP, TIFF, BMP, ICO, PPM or QOI
	// 0 notes
}

// Pictures that other goroutines send.
func ExampleChannel() {
	model := must(clip.Open(modelDir))
	defer model.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pictures := make(chan clip.Picture)
	go func() {
		defer close(pictures)
		for _, name := range []string{"cat.jpg", "red-circle.png"} {
			select {
			case pictures <- clip.File("../cmd/vitago/testdata/demo/" + name):
			case <-ctx.Done(): // nobody takes any more
				return
			}
		}
	}()
	for e, err := range model.Stream(ctx, clip.Channel(pictures), clip.StreamOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(filepath.Base(e.Name), len(e.Vector))
	}
	// Output:
	// cat.jpg 10
	// red-circle.png 10
}

// The lines of a file, in constant memory.
func ExampleModel_StreamText() {
	model := must(clip.Open(modelDir))
	defer model.Close()
	for e, err := range model.StreamText(context.Background(), strings.Lines("a cat\na photo\n"), clip.StreamOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%q %d\n", e.Name, len(e.Vector))
	}
	// Output:
	// "a cat\n" 10
	// "a photo\n" 10
}

// A handler of HTTP that answers with the vector of the picture in the body, or with what is wrong with that. Many calls at
// once share the processors; who wants to bound their memory lets a few through at a time.
func Example_handler() {
	model := must(clip.Open(modelDir))
	defer model.Close()
	const most = 1 << 20 // bytes
	status := func(err error) int {
		body := (*http.MaxBytesError)(nil)
		switch {
		case errors.Is(err, clip.ErrTooLarge), errors.As(err, &body):
			return http.StatusRequestEntityTooLarge
		case errors.Is(err, clip.ErrImage), errors.Is(err, clip.ErrText):
			return http.StatusUnprocessableEntity
		case errors.Is(err, clip.ErrRequest), errors.Is(err, clip.ErrNoText):
			return http.StatusBadRequest
		}
		return http.StatusInternalServerError
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := clipvit.Features{Kind: clipvit.FeatureKind(r.FormValue("features"))}
		vectors, err := model.Features(r.Context(), f, clip.Reader("body", http.MaxBytesReader(w, r.Body, most)))
		if err != nil {
			http.Error(w, err.Error(), status(err))
			return
		}
		json.NewEncoder(w).Encode(vectors[0])
	})

	cat := must(os.ReadFile("../cmd/vitago/testdata/demo/cat.jpg"))
	ask := func(features string, body io.Reader) {
		r := httptest.NewRequest(http.MethodPost, "/?features="+features, body)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			fmt.Print(w.Code, " ", w.Body)
			return
		}
		fmt.Println(w.Code, strings.Count(w.Body.String(), ",")+1, "values")
	}
	ask("embedding", bytes.NewReader(cat))
	ask("post_norm", bytes.NewReader(cat))
	ask("cats", bytes.NewReader(cat))
	ask("embedding", strings.NewReader("hello"))
	ask("embedding", bytes.NewReader(cat[:len(cat)/2]))
	ask("embedding", io.MultiReader(bytes.NewReader(cat), bytes.NewReader(make([]byte, most))))
	// Output:
	// 200 10 values
	// 200 16 values
	// 400 clip: features are "cats", want embedding, post_norm, cls, mean, patches or all
	// 422 clip: body: not an image: the file starts with "hello", want JPEG, PNG, GIF, WebP, TIFF, BMP, ICO, PPM or QOI
	// 422 clip: body: JPEG: the file is cut short
	// 413 clip: body: http: request body too large
}

// Towers in memory, such as those that are being trained.
func ExampleNew() {
	source := must(converter.Open("../testdata/tiny/huggingface"))
	defer source.Close()
	ctx := context.Background()
	tokenizer := must(cliptext.NewTokenizerOf(map[string]int{"a</w>": 0, "<|startoftext|>": 48, "<|endoftext|>": 49}, nil))
	model := clip.New(must(source.Vision(ctx)), must(source.Text(ctx)), tokenizer)
	vectors, err := model.EncodeText(ctx, []string{"a", "a a"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(vectors), len(vectors[0]))
	// Output: 2 10
}

// The tower in 8 bits, with pictures prepared by rules of one's own.
func ExampleOpen() {
	model, err := clip.Open(modelDir, clip.Int8(), clip.Checkpoint(converter.Prepare(clipvit.Choice{Fit: clipvit.FitSquash})))
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	tower, err := model.Vision(context.Background()) // loaded now, and not with the first picture
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(model.HasText(), tower.Config.Transform.Fit)
	// Output: true squash
}

// What names a model wherever its embeddings are kept.
func ExampleModel_VisionFingerprint() {
	ctx := context.Background()
	for _, path := range []string{"../testdata/tiny/openai_torch1.7.1.pt", "../testdata/tiny/openai_torch2.9.1.pt"} {
		model := must(clip.Open(path))
		fmt.Printf("%.12s\n", must(model.VisionFingerprint(ctx)))
		model.Close()
	}
	// Output:
	// 64966ba80a1d
	// 64966ba80a1d
}

func ExampleNormalize() {
	v := []float32{3, 4}
	clip.Normalize(v)
	fmt.Printf("%v %.2f\n", v, clip.Cosine(v, []float32{0, 10}))
	// Output: [0.6 0.8] 0.80
}

// A picture far away: it is opened when it is encoded, and no earlier.
func ExampleOpened() {
	ctx := context.Background()
	model, err := clip.Open(modelDir)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	archive := os.DirFS("../cmd/vitago/testdata/demo") // or a zip.Reader, or an embed.FS
	picture := clip.Opened("cat.jpg", func() (io.ReadCloser, error) { return archive.Open("cat.jpg") })
	vectors, err := model.Encode(ctx, picture)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(picture.Name(), len(vectors[0]))
	// Output: cat.jpg 10
}
