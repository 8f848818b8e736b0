package main

import (
	"archive/tar"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// headed returns a model with a head for colours.
func headed(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	vitago("finetune", "--model", tinyModel, "--data", colours(t, 4), "--out", out, "--recipe", "probe", "--split", "0.5").want(t, exitDone, []string{"model"}, []string{""})
	return filepath.Join(out, "model")
}

// An evaluated is what eval says as JSON.
type evaluated struct {
	Model, Data, Classifier string
	Pictures, Right, Top    int
	Accuracy, Loss          float64
	TopAccuracy             *float64 `json:"top_accuracy"`
	Skipped                 []struct{ Path, Error string }
	Classes                 []struct {
		Class                      string
		Pictures, Predicted, Right int
		Recall, Precision, F1      float64
	}
	Confusion [][]int
	Wrong     []struct {
		Path, Wanted, Got string
		Probability       float64
		OfWanted          float64 `json:"probability_of_wanted"`
	}
}

func object(t *testing.T, r ran) (e evaluated) {
	t.Helper()
	if strings.Count(r.out, "\n") != 1 {
		t.Errorf("%d lines, want 1:\n%s", strings.Count(r.out, "\n"), r.out)
	}
	if err := json.Unmarshal([]byte(r.out), &e); err != nil {
		t.Fatalf("%v\n%s%s", err, r.out, r.err)
	}
	return e
}

// TestEval: what eval says of each picture is what classify says; of a folder, a table and shards alike; and a directory has it all.
func TestEval(t *testing.T) {
	model, pictures := headed(t), filepath.Join(t.TempDir(), "pictures")
	if err := os.CopyFS(pictures, os.DirFS(colours(t, 9))); err != nil {
		t.Fatal(err)
	}
	os.Rename(filepath.Join(pictures, "red", "02.png"), filepath.Join(pictures, "blue", "x02.png")) // which will be wrong
	got := object(t, vitago("eval", "--model", model, "--json", pictures))

	r := vitago("classify", "--model", model, "--json", pictures)
	right, wrong := 0, map[string]string{}
	for line := range strings.Lines(r.out) {
		var c struct {
			Image  string
			Labels []struct{ Label string }
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		if c.Labels[0].Label == filepath.Base(filepath.Dir(c.Image)) {
			right++
		} else {
			wrong[c.Image] = c.Labels[0].Label
		}
	}
	if got.Pictures != 27 || got.Right != right || len(got.Wrong) != len(wrong) || len(wrong) == 0 || got.Classifier != "its head" || got.TopAccuracy != nil {
		t.Errorf("got %+v, want %d of 27 right", got, right)
	}
	for _, w := range got.Wrong {
		if wrong[w.Path] != w.Got || w.Wanted != filepath.Base(filepath.Dir(w.Path)) || w.Probability < w.OfWanted {
			t.Errorf("%+v, want %s", w, wrong[w.Path])
		}
	}
	total := 0
	for i, row := range got.Confusion {
		for _, n := range row {
			total += n
		}
		if row[i] != got.Classes[i].Right {
			t.Errorf("row %d is %v, and %d are right", i, row, got.Classes[i].Right)
		}
	}
	if total != 27 {
		t.Errorf("%d pictures in the matrix", total)
	}

	// A name that is no UTF-8, as Linux has them, is in JSON what other verbs make of it.
	if odd := filepath.Join(t.TempDir(), "\xff"); os.CopyFS(odd, os.DirFS(pictures)) == nil {
		vitago("eval", "--model", model, "--json", odd).want(t, exitDone, []string{`\udcff","classifier"`}, []string{""})
	}

	// A table and shards of the same pictures.
	table := filepath.Join(t.TempDir(), "pictures.csv")
	rows := "path,label\n"
	shard, err := os.Create(filepath.Join(t.TempDir(), "pictures-000.tar"))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(shard)
	add := func(name, text string) {
		if err := archive.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o666}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for i, path := range files(t, pictures) {
		path = filepath.Join(pictures, path)
		if filepath.Ext(path) != ".png" {
			continue
		}
		label := filepath.Base(filepath.Dir(path))
		rows += path + "," + label + "\n"
		add(fmt.Sprintf("%02d.png", i), read(t, path))
		add(fmt.Sprintf("%02d.cls", i), label)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	shard.Close()
	os.WriteFile(table, []byte(rows), 0o666)
	for _, data := range []string{table, shard.Name()} {
		same := object(t, vitago("eval", "--model", model, "--json", data))
		if same.Right != got.Right || same.Loss-got.Loss > 1e-6 || got.Loss-same.Loss > 1e-6 || len(same.Wrong) != len(got.Wrong) || same.Wrong[0].Probability != got.Wrong[0].Probability {
			t.Errorf("%s: %+v, want %+v", data, same, got)
		}
	}

	// The directory, from which the same is read.
	out := filepath.Join(t.TempDir(), "deep", "out")
	text := vitago("eval", "--model", model, "-o", out, pictures)
	text.want(t, exitDone, []string{fmt.Sprintf("| %.4f, %d right", got.Accuracy, right), "## Confusion", "(" + filepath.ToSlash(out) + "/wrong.jpg)"}, []string{"27 pictures in"})
	if names := strings.Join(files(t, out), " "); names != "classes.csv confusion.csv evaluation.json report.md wrong.csv wrong.jpg" {
		t.Errorf("files %s", names)
	}
	if page := read(t, filepath.Join(out, "report.md")); strings.ReplaceAll(text.out, filepath.ToSlash(out)+"/", "") != page {
		t.Errorf("the page of the directory is\n%s\nthat on standard output\n%s", page, text.out)
	}
	if again := vitago("eval", "--model", model, "--json", pictures); read(t, filepath.Join(out, evaluationFile)) != again.out {
		t.Error("evaluation.json is another than what --json prints")
	}
	matrix, err := csv.NewReader(strings.NewReader(read(t, filepath.Join(out, "confusion.csv")))).ReadAll()
	if err != nil || len(matrix) != 4 || matrix[1][1] != strconv.Itoa(got.Confusion[0][0]) {
		t.Errorf("matrix %v, %v", matrix, err)
	}
	f, err := os.Open(filepath.Join(out, "wrong.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := jpeg.Decode(f); err != nil {
		t.Error(err)
	}

	// What is there is replaced only by what was asked for, and only if it is an evaluation.
	before := outcome(t, ran{}, filepath.Dir(out))
	vitago("eval", "--model", model, "-o", out, pictures).want(t, exitFailed, nil, []string{"has an evaluation", "give --overwrite"})
	vitago("eval", "--model", model, "-o", pictures, "--overwrite", pictures).want(t, exitFailed, nil, []string{"has something else than an evaluation"})
	vitago("eval", "--model", model, "-o", table, pictures).want(t, exitUsage, nil, []string{"-o wants a directory"})
	if after := outcome(t, ran{}, filepath.Dir(out)); len(after) != len(before) || after["/out/evaluation.json"] != before["/out/evaluation.json"] {
		t.Error("something has changed")
	}
	one := filepath.Join(t.TempDir(), "one")
	if err := os.CopyFS(filepath.Join(one, "red"), os.DirFS(filepath.Join(pictures, "red"))); err != nil {
		t.Fatal(err)
	}
	vitago("eval", "--model", model, "-o", out, "--overwrite", one).want(t, exitDone, []string{"| pictures "}, []string{"8 pictures in"})
	if names := strings.Join(files(t, out), " "); !strings.HasPrefix(names, "classes.csv confusion.csv evaluation.json report.md") {
		t.Errorf("files %s", names)
	}
}

// TestEvalStatus: how eval ends, and what it says.
func TestEvalStatus(t *testing.T) {
	model, pictures := headed(t), colours(t, 3)
	text := withVocabulary(t, fewWords)
	parts := t.TempDir()
	for _, part := range []string{"train", "test"} {
		if err := os.CopyFS(filepath.Join(parts, part), os.DirFS(pictures)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	at := func(class string) string { return filepath.Join(pictures, class, "00.png") }
	write := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	table := func(labels ...string) string {
		rows := "path,label\n"
		for i, l := range labels {
			rows += fmt.Sprintf("%s,%q\n", at([]string{"blue", "green", "red"}[i]), l)
		}
		return write("table.csv", rows)
	}
	broken := write("broken.csv", fmt.Sprintf("path,label\n%s,red\n%s,blue\n%s,green\n", at("red"), at("blue"), write("broken.png", "no picture")))
	hopeless := write("hopeless.csv", fmt.Sprintf("path,label\n%s,red\n", write("broken.png", "no picture")))
	empty := t.TempDir()
	for _, c := range []struct {
		name   string
		args   []string
		status int
		out    []string
		err    string
	}{
		{"no data", []string{"--model", model}, exitUsage, nil, "got 0 arguments, want DATA: a folder"},
		{"data twice", []string{"--model", model, pictures, pictures}, exitUsage, nil, "got 2 arguments"},
		{"no model", []string{pictures}, exitUsage, nil, "no model: give --model DIR"},
		{"an empty folder", []string{"--model", model, empty}, exitFailed, nil, "no folders of classes, and 0 pictures without"},
		{"a folder of classes", []string{"--model", model, filepath.Dir(filepath.Dir(at("red")))}, exitDone, []string{"| accuracy"}, "9 pictures"},
		{"captions", []string{"--model", model, write("captions.csv", "path,caption\n"+at("red")+",red\n")}, exitFailed, nil, "pictures without labels"},
		{"classes that the head does not know", []string{"--model", model, table("red", "Blue", "teal")}, exitFailed, nil,
			`2 of the 3 classes of the pictures are no label of the classifier: "Blue" "teal"; it has the 3 labels "blue" "green" "red"`},
		{"one class", []string{"--model", model, table("red")}, exitDone, []string{"| red "}, "1 picture"},
		{"an accuracy that is reached", []string{"--model", model, "--min-accuracy", "0.01", table("blue")}, exitDone, []string{"1.0000, 1 right"}, "1 picture"},
		{"an accuracy that is not reached", []string{"--model", model, "--min-accuracy", "0.9", table("red")}, exitFailed, []string{"0.0000, 0 right"}, "the accuracy is 0.0000, want at least 0.9, which --min-accuracy says"},
		{"no wrong picture", []string{"--model", model, "-o", out + "-right", table("blue")}, exitDone, []string{"1.0000"}, "1 picture"},
		{"an accuracy that is none", []string{"--model", model, "--min-accuracy", "0", pictures}, exitUsage, nil, "--min-accuracy is 0, want above 0"},
		{"a top that is none", []string{"--model", model, "--top", "0", pictures}, exitUsage, nil, "--top is 0, want 1 or more"},
		{"an output in the data", []string{"--model", model, "-o", filepath.Join(pictures, "out"), pictures}, exitUsage, nil, "where it would be taken for a class"},
		{"a cache in the data", []string{"--model", text, "--cache", filepath.Join(pictures, "cache"), pictures}, exitUsage, nil, "where it would be taken for a class"},
		{"a top of all", []string{"--model", model, "--top", "3", pictures}, exitUsage, nil, "--top is 3, and there are 3 classes"},
		{"a picture that cannot be read", []string{"--model", model, "-o", out, broken}, exitFailed, nil, "broken.png"},
		{"one that is skipped", []string{"--model", model, "--skip-errors", broken}, exitFailed, []string{"| pictures        | 2 ", "| skipped         | 1 that could not be read", "could not be read\n\n- "}, "1 of 3 images could not be read"},
		{"all of them", []string{"--model", model, "--skip-errors", "-o", out, hopeless}, exitFailed, nil, "1 picture, and none can be read: "},
		{"a model without head or text", []string{"--model", tinyVision(t), pictures}, exitFailed, nil, "has neither a head, nor a text tower for labels"},

		{"labels by the classes", []string{"--model", text, "--template", "{}", "--json", table("cat", "dog", "a_dog")}, exitDone, []string{`"class":"a dog"`, "zero-shot, 3 labels, 1 template"}, ""},
		{"classes that are one label", []string{"--model", text, table("a dog", "a_dog")}, exitUsage, nil, `the classes "a dog" and "a_dog" are one label, "a dog"`},
		{"labels for one class", []string{"--model", text, table("cat")}, exitUsage, nil, `has one class, "cat", and no picture could be wrong: give --labels`},
		{"labels for one class beside others", []string{"--model", text, "--none", "a_dog", "--min-cosine", "0.5", table("a_dog", "cat")}, exitUsage, nil, `has one class, "cat", and no picture could be wrong`},
		{"labels beside one class", []string{"--model", text, "--labels", "dog,cat", "--json", table("cat")}, exitDone, []string{`{"class":"dog","pictures":0`}, ""},
		{"one label", []string{"--model", text, "--labels", "cat", table("cat", "dog")}, exitUsage, nil, "got 1 labels, want at least 2"},
		{"a label for each class", []string{"--model", text, "--labels", "dog,photo", table("cat", "dog")}, exitUsage, nil, `1 of the 2 classes of `},
		{"a label twice", []string{"--model", text, "--labels", "dog,cat,dog", table("cat", "dog")}, exitUsage, nil, `the label "dog" is given twice, as number 1 and 3`},
		{"an empty label", []string{"--model", text, "--labels", "dog,,cat", table("cat", "dog")}, exitUsage, nil, "label 2 of 3 is empty"},
		{"a label that cannot be written", []string{"--model", text, table("猫", "dog")}, exitFailed, nil, "猫"},
		{"a head with labels", []string{"--model", model, "--labels", "red,blue,green", pictures}, exitFailed, nil, "has no vocabulary"},
		{"labels by classes", []string{"--model", text, "--labels-file", write("labels.tsv", "n01\tcat\nn02\t a dog \nphoto\n"), "--json", table("n02", "n01")}, exitDone, []string{`"class":"a dog"`, `"confusion":[[`, "zero-shot, 3 labels"}, ""},
		{"a class with two labels", []string{"--model", text, "--labels-file", write("labels.tsv", "n01\tcat\nn01\tdog\n"), table("n01")}, exitUsage, nil, `the class "n01" has two labels, "cat" and "dog"`},
		{"two classes with one label", []string{"--model", text, "--labels-file", write("labels.tsv", "n01\tcat\ndog\n"), table("n01", "cat")}, exitUsage, nil, `the classes "cat" and "n01" have one label, "cat"`},
		{"classes that are numbers", []string{"--model", text, "--labels", "cat,dog,photo", "--json", table("2", "0")}, exitDone, []string{`{"class":"cat","pictures":1,`, `{"class":"dog","pictures":0,`, `{"class":"photo","pictures":1,`}, ""},
		{"a number too large", []string{"--model", text, "--labels", "cat,dog,photo", table("3", "0")}, exitUsage, nil, "2 of the 2 classes"},
		{"a template without a place", []string{"--model", text, "--template", "a photo", table("cat", "dog")}, exitUsage, nil, `--template "a photo" has no {}`},
		{"standard input twice", []string{"--model", text, "--labels-file", "-", "--templates-file", "-", pictures}, exitUsage, nil, "standard input is named twice"},
		{"parts of a data set", []string{"--model", text, parts}, exitFailed, nil, "; eval judges by one of them"},
		{"no such labels", []string{"--model", text, "--labels-file", "nope", pictures}, exitFailed, nil, "nope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			vitago(append([]string{"eval"}, c.args...)...).want(t, c.status, c.out, []string{c.err})
		})
	}
	t.Run("the working directory", func(t *testing.T) {
		pictures, err := filepath.Abs(pictures)
		if err != nil {
			t.Fatal(err)
		}
		t.Chdir(t.TempDir())
		if err := os.Mkdir("in", 0o777); err != nil {
			t.Fatal(err)
		}
		t.Chdir("in")
		for _, dir := range []string{".", "../in"} {
			vitago("eval", "--model", model, "-o", dir, pictures).want(t, exitUsage, nil, []string{"-o " + dir + " is the working directory, or above it"})
		}
	})
	if _, err := os.Stat(out); err == nil {
		t.Error("an evaluation that failed left something")
	}
	if names := strings.Join(files(t, out+"-right"), " "); names != "classes.csv confusion.csv evaluation.json report.md" {
		t.Errorf("where nothing is wrong there are %s", names)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	vitagoContext(ctx, strings.NewReader(""), "eval", "--model", model, "-o", out, pictures).want(t, exitInterrupted, nil, []string{"interrupted"})
	if _, err := os.Stat(out); err == nil {
		t.Error("an evaluation that was interrupted left something")
	}
}

// tinyVision returns a model without a text tower.
func tinyVision(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "vision")
	vitago("convert", "--vision-only", tinyModel, dir).want(t, exitDone, []string{"written"}, []string{""})
	return dir
}

// TestEvalZeroShot: what eval says without training is what classify says with the same labels and templates.
func TestEvalZeroShot(t *testing.T) {
	text, pictures := withVocabulary(t, fewWords), colours(t, 4)
	for from, to := range map[string]string{"red": "a_photo", "green": "dog", "blue": "cat"} {
		os.Rename(filepath.Join(pictures, from), filepath.Join(pictures, to))
	}
	got := object(t, vitago("eval", "--model", text, "--template", "a photo of a {}.", "--template", "{}", "--json", pictures))
	r := vitago("classify", "--model", text, "--labels", "a photo,cat,dog", "--template", "a photo of a {}.", "--template", "{}", "--top", "1", pictures)
	r.want(t, exitDone, []string{"%"}, []string{""})
	right := 0
	for line := range strings.Lines(r.out) {
		parts := strings.Split(line, "\t")
		if strings.ReplaceAll(filepath.Base(filepath.Dir(parts[0])), "_", " ") == parts[1] {
			right++
		}
	}
	var classes []string
	for _, c := range got.Classes {
		classes = append(classes, c.Class)
	}
	if got.Right != right || got.Pictures != 12 || !slices.Equal(classes, []string{"a photo", "cat", "dog"}) {
		t.Errorf("%d of %d are right of %q, want %d of 12", got.Right, got.Pictures, classes, right)
	}
	if !regexp.MustCompile(`zero-shot, 3 labels, 2 templates`).MatchString(got.Classifier) {
		t.Errorf("classifier %q", got.Classifier)
	}
}

// TestEvalNone: a picture below the threshold is taken for the class of those that are none of the labels.
func TestEvalNone(t *testing.T) {
	model := withVocabulary(t, fewWords)
	pictures := colours(t, 3)
	at, second := filepath.Join(pictures, "red", "00.png"), filepath.Join(pictures, "blue", "00.png")
	other, err := filepath.Abs("testdata/demo/cat.png")
	if err != nil {
		t.Fatal(err)
	}
	table := filepath.Join(t.TempDir(), "t.csv")
	os.WriteFile(table, []byte(fmt.Sprintf("path,label\n%s,cat\n%s,dog\n%s,else\n", at, second, other)), 0o666)
	args := []string{"eval", "--model", model, "--labels", "cat,dog", "--template", "{}", "--json", "--none", "else", table}
	got := object(t, vitago(append(args, "--min-probability", "1")...))
	if n := got.Classes[2]; got.Right != 1 || n.Class != "else" || n.Predicted != 3 || n.Recall != 1 || !strings.HasSuffix(got.Classifier, `, or "else"`) {
		t.Errorf("all are refused: %+v", got)
	}
	// What classify accepts, eval does.
	for _, threshold := range []string{"0.6", "0.75", "0.9", "0.99"} {
		refused := 0
		for _, picture := range []string{at, second, other} {
			r := vitago("classify", "--model", model, "--labels", "cat,dog", "--template", "{}", "--json", "--min-probability", threshold, picture)
			if strings.Contains(r.out, `"accepted":[]`) {
				refused++
			}
		}
		if got := object(t, vitago(append(args, "--min-probability", threshold)...)); got.Classes[2].Predicted != refused {
			t.Errorf("at %s %d are refused, want %d", threshold, got.Classes[2].Predicted, refused)
		}
	}
	// Without labels those are of the other classes.
	r := vitago("eval", "--model", model, "--template", "{}", "--json", "--none", "else", "--min-cosine", "0.99", table)
	if got := object(t, r); len(got.Classes) != 3 || got.Classes[0].Class != "cat" || got.Classes[2].Predicted != 3 {
		t.Errorf("by the classes: %+v", got)
	}
	vitago("eval", "--model", model, "--labels", "cat,else", "--min-cosine", "0.5", "--none", "else", table).want(t, exitUsage, nil, []string{"else"})
}

// TestEvalMulti: with the bias that is found, as many labels are expected as there are, and with the same bias given the result
// is the same.
func TestEvalMulti(t *testing.T) {
	model := withVocabulary(t, fewWords)
	pictures := colours(t, 3)
	table, single := filepath.Join(t.TempDir(), "t.jsonl"), filepath.Join(t.TempDir(), "t.csv")
	rows, row := "", "path,label\n"
	for i, labels := range []string{`"cat","dog"`, `"cat"`, ``} {
		path := filepath.Join(pictures, []string{"red", "green", "blue"}[i], "00.png")
		rows += fmt.Sprintf(`{"path":%q,"label":[%s]}`+"\n", path, labels)
		row += fmt.Sprintf("%s,%s\n", path, []string{"cat", "dog", "cat"}[i])
	}
	os.WriteFile(table, []byte(rows), 0o666)
	os.WriteFile(single, []byte(row), 0o666)
	type multi struct {
		evaluated
		Bias   *float64
		MeanAP float64 `json:"mean_average_precision"`
	}
	judge := func(args ...string) (e multi) {
		t.Helper()
		r := vitago(append([]string{"eval", "--model", model, "--labels", "cat,dog", "--template", "{}", "--multi-label", "--negative", "photo", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(r.out), &e); err != nil {
			t.Fatal(err, r.err)
		}
		return e
	}
	fitted := judge("--fit-bias", table)
	if fitted.Bias == nil || fitted.Pictures != 3 || fitted.MeanAP == 0 || !strings.Contains(fitted.Classifier, "2 labels, 1 template, each by itself, 1 negative text, a bias of ") {
		t.Fatalf("%+v", fitted)
	}
	given := judge("--bias", number(*fitted.Bias), table)
	if given.Loss != fitted.Loss || given.Right != fitted.Right || *given.Bias != *fitted.Bias {
		t.Errorf("with the bias given %+v, want %+v", given, fitted)
	}
	sum := 0.0
	r := vitago("classify", "--model", model, "--labels", "cat,dog", "--template", "{}", "--multi-label", "--negative", "photo", "--bias", number(*fitted.Bias), "--format", "csv",
		filepath.Join(pictures, "red", "00.png"), filepath.Join(pictures, "green", "00.png"), filepath.Join(pictures, "blue", "00.png"))
	all, err := csv.NewReader(strings.NewReader(r.out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range all[1:] {
		p, err := strconv.ParseFloat(row[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += p
	}
	if sum < 2.9999 || sum > 3.0001 {
		t.Errorf("the probabilities sum to %v, want the 3 labels that there are", sum)
	}
	for _, bias := range []string{"-3", "3"} {
		if other := judge("--bias", bias, table); other.Loss <= fitted.Loss {
			t.Errorf("the loss is %v with the bias %s, want above %v", other.Loss, bias, fitted.Loss)
		}
	}
	if e := judge("--fit-bias", single); e.Bias == nil || e.MeanAP == 0 {
		t.Errorf("of one class a picture: %+v", e)
	}
	vitago("eval", "--model", model, "--labels", "cat,dog", table).want(t, exitFailed, nil, []string{"or --multi-label"})
	vitago("eval", "--model", headed(t), "--multi-label", pictures).want(t, exitUsage, nil, []string{"--multi-label goes with --labels"})
}
