package job

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/shapes"
)

// severalLabels writes pictures of shapes and a table in which each has its shape, every third has "third" and every fourth none.
func severalLabels(t *testing.T) (csv, jsonl string) {
	t.Helper()
	dir := t.TempDir()
	if err := shapes.Write(dir, 0, 6, 24, false, 1); err != nil {
		t.Fatal(err)
	}
	a, b := "path,labels\n", ""
	i := 0
	for _, class := range []string{"circle", "ring", "square"} {
		names, _ := filepath.Glob(filepath.Join(dir, class, "*"))
		for _, name := range names {
			labels := []string{class}
			if i%3 == 0 {
				labels = append(labels, "third")
			}
			if i%4 == 3 {
				labels = nil
			}
			rel, _ := filepath.Rel(dir, name)
			a += filepath.ToSlash(rel) + "," + strings.Join(labels, ";") + "\n"
			quoted := []string{}
			for _, l := range labels {
				quoted = append(quoted, fmt.Sprintf("%q", l))
			}
			b += fmt.Sprintf(`{"path": %q, "labels": [%s]}`, filepath.ToSlash(rel), strings.Join(quoted, ", ")) + "\n"
			i++
		}
	}
	csv, jsonl = filepath.Join(dir, "a.csv"), filepath.Join(dir, "b.jsonl")
	os.WriteFile(csv, []byte(a), 0o666)
	os.WriteFile(jsonl, []byte(b), 0o666)
	return csv, jsonl
}

// TestMultiLabel: labels that do not exclude each other are learnt by every recipe of classes, from both kinds of tables alike; what
// is written says so, the report has the mean average precision, and such a head is where the next run begins.
func TestMultiLabel(t *testing.T) {
	csv, jsonl := severalLabels(t)
	model := golden.Path(t, "testdata/tiny/huggingface")
	var last string
	for _, r := range []Request{
		{Recipe: "probe", Data: csv, LabelSeparator: ";"}, {Recipe: "probe", Data: jsonl, ClassWeights: "balanced"},
		{Recipe: "probe", Solver: AdamW, Data: jsonl}, {Recipe: "lora", Data: csv, LabelSeparator: ";"}, {Recipe: "lora", Data: jsonl, ClassWeights: "third=2"},
		{Recipe: "last-n", Data: jsonl, Overrides: Overrides{Blocks: new(1)}}, {Recipe: "full", Data: jsonl},
	} {
		r.Model, r.Output, r.Split, r.Seed = model, filepath.Join(t.TempDir(), "out"), 0.3, 1
		if r.Recipe != "probe" || r.Solver != "" {
			r.Overrides.Epochs = new(2)
		}
		var w Written
		if lbfgs, _ := r.ByLBFGS(); lbfgs {
			p, err := OpenProbe(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			f, err := p.Run(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			p.Close()
			if w = f.Written; f.Facts()[1][0] != "best mAP" || f.Train.Value() < 0.5 {
				t.Errorf("facts %v", f.Facts())
			}
		} else {
			w, _ = run(t, r)
		}
		h, err := probe.LoadHead(w.Model)
		if err != nil || !h.Multi || !slices.Equal(h.Classes, []string{"circle", "ring", "square", "third"}) {
			t.Errorf("%s: head %+v, %v", r.Recipe, h, err)
		}
		page, _ := os.ReadFile(w.Report)
		want := []string{"mAP"}
		if r.ClassWeights != "" {
			want = append(want, "| class weights | circle ")
		}
		for _, text := range want {
			if !strings.Contains(string(page), text) {
				t.Errorf("%s: the report has no %q:\n%s", r.Recipe, text, page)
			}
		}
		if r.Recipe == "probe" {
			last = w.Model
		}
	}
	for _, c := range []struct {
		data, note string
	}{{jsonl, "of the same 4 classes"}, {draw(t), "is dropped: its classes do not exclude each other, and those of the data exclude each other"}} {
		j, err := Open(t.Context(), Request{Model: last, Recipe: "lora", Data: c.data, Output: filepath.Join(t.TempDir(), "out"), DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(j.Notes, " "), c.note) {
			t.Errorf("notes %q, want %q", j.Notes, c.note)
		}
		j.Close()
	}
}

// TestClassesRefused: what does not go with classes, or with labels that do not exclude each other, is named.
func TestClassesRefused(t *testing.T) {
	csv, jsonl := severalLabels(t)
	one := draw(t)
	table := filepath.Join(t.TempDir(), "weights.csv")
	os.WriteFile(table, []byte("class,weight\ncircle,2\nring,x\n"), 0o666)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "weights.csv")
		os.WriteFile(path, []byte(text), 0o666)
		return path
	}
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Data: csv, Recipe: "lora"}, `label_separator: a.csv: column "labels" of the first line has several labels of a picture`},
		{Request{Data: jsonl, Recipe: "lora", LabelSeparator: "|"}, "label_separator: b.jsonl: separator"},
		{Request{Data: one, Recipe: "lora", LabelSeparator: "|"}, "label_separator: "},
		{Request{Data: jsonl, Recipe: "lora", Overrides: Overrides{Smoothing: new(0.1)}}, "overrides.smoothing is of classes that exclude each other, and the pictures have lists of labels"},
		{Request{Data: one, Recipe: "lora", ClassWeights: "balance"}, `class_weights: "balance", want balanced, CLASS=WEIGHT,... or a .csv`},
		{Request{Data: one, Recipe: "lora", ClassWeights: "circle=2,cat=3"}, `class_weights: "cat" is none of the 2 classes (["circle" "ring"])`},
		{Request{Data: one, Recipe: "lora", ClassWeights: "circle=-1"}, `class_weights: the weight of "circle" is "-1", want a number above 0`},
		{Request{Data: one, Recipe: "lora", ClassWeights: "circle=1,circle=2"}, `class_weights: "circle" has two weights`},
		{Request{Data: one, Recipe: "probe", ClassWeights: table}, `weights.csv: the weight of "ring" is "x", want a number above 0`},
		{Request{Data: one, Recipe: "lora", ClassWeights: "circle=1e10"}, `class_weights: the weight of "circle" is "1e10", want a number above 0, from 1e-09 to 1e+09`},
		{Request{Data: one, Recipe: "probe", ClassWeights: "circle=1e300"}, `the weight of "circle" is "1e300"`}, // by which L-BFGS would not end
		{Request{Data: one, Recipe: "lora", ClassWeights: "circle=1e-300"}, `the weight of "circle" is "1e-300"`},
		{Request{Data: one, Recipe: "lora", ClassWeights: file("class,weight,class\ncircle,2,ring\n")}, `first line is ["class" "weight" "class"], with the column class twice`},
		{Request{Data: one, Recipe: "lora", ClassWeights: file("class,weight\n")}, "no line after the first, want a class and its weight"},
		{Request{Data: one, Recipe: "lora", Given: func(f string) bool { return f == "class_weights" }}, "class_weights is empty"},
		{Request{Data: one, Recipe: "full", Teacher: "x", ClassWeights: "balanced"}, "class_weights is of classes, and it is something else that is learnt"},
		{Request{Data: one, Recipe: "contrastive", LabelSeparator: "|"}, "label_separator is of classes"},
		{Request{Data: one, Recipe: "full", Targets: "x", InitHead: true}, "init_head is of classes"},
	} {
		c.r.Model, c.r.Output = golden.Path(t, "testdata/tiny/huggingface"), filepath.Join(t.TempDir(), "out")
		err := c.r.Check()
		if err == nil {
			if lbfgs, _ := c.r.ByLBFGS(); lbfgs {
				_, err = OpenProbe(t.Context(), c.r)
			} else {
				_, err = Open(t.Context(), c.r)
			}
		}
		if !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v, want %s", c.r, err, c.want)
		}
	}
	for _, path := range []string{"nowhere.csv", filepath.Join(t.TempDir(), "folder.csv")} { // as pictures that are not there
		if filepath.Dir(path) != "." {
			os.Mkdir(path, 0o777)
		}
		_, err := Open(t.Context(), Request{Data: one, Recipe: "lora", ClassWeights: path, Model: golden.Path(t, "testdata/tiny/huggingface"), Output: filepath.Join(t.TempDir(), "out")})
		if errors.Is(err, ErrRequest) || !errors.Is(err, ErrData) || !strings.Contains(err.Error(), "job: the class weights: ") || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("error is %v, want that of data", err)
		}
	}
}

// TestHeadStart: rows of a head go to the classes of their names, and a run that began with another head is another run.
func TestHeadStart(t *testing.T) {
	tiny := golden.Path(t, "testdata/tiny/huggingface")
	model := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(model, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	was := finetune.NewClassifier(10, []string{"star", "ring", "circle"})
	for i := range was.Linear.W.Data().F32() {
		was.Linear.W.Data().F32()[i] = float32(i)
	}
	copy(was.Linear.B.Data().F32(), []float32{7, 8, 9})
	if err := was.Save(model); err != nil {
		t.Fatal(err)
	}
	r := Request{Model: model, Data: draw(t), Recipe: "lora", Output: filepath.Join(t.TempDir(), "out"), Overrides: Overrides{Epochs: new(2)}}
	j, err := Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	h := j.Trainer.Head.(*finetune.Classifier) // of circle and ring
	if w, b := h.Linear.W.Data().F32(), h.Linear.B.Data().F32(); w[0] != 20 || w[10] != 10 || b[0] != 9 || b[1] != 8 {
		t.Errorf("weights %v, bias %v", w, b)
	}
	if want := `where the classes are the same, 2 of 2; without its ["star"]`; !strings.Contains(strings.Join(j.Notes, " "), want) {
		t.Errorf("notes %q, want %s", j.Notes, want)
	}
	j.Close()
	run(t, r)
	r.InitHead, r.Resume = true, true
	if _, err := Open(t.Context(), r); !errors.Is(err, finetune.ErrOtherRun) || !strings.Contains(err.Error(), "init_head: ") || !strings.Contains(err.Error(), ", now zeros") {
		t.Errorf("error is %v, want that the run began with another head", err)
	}
}

// hinge is an objective of a test.
type hinge struct{ finetune.Classification }

func (hinge) Name() string { return "hinge" }

// TestObjective: a loss of one's own is that of a whole run, which goes on with it alone.
func TestObjective(t *testing.T) {
	asked := [][]string(nil)
	r := Request{
		Model: golden.Path(t, "testdata/tiny/huggingface"), Data: draw(t), Recipe: "probe", Split: 0.3, Output: filepath.Join(t.TempDir(), "out"), Overrides: Overrides{Epochs: new(2)},
		Objective: func(d *data.Dataset) (finetune.Objective, error) {
			asked = append(asked, d.Classes)
			return hinge{}, nil
		},
	}
	w, result := run(t, r)
	if page, _ := os.ReadFile(w.Report); result.Steps < 2 || !reflect.DeepEqual(asked, [][]string{{"circle", "ring"}}) || !strings.Contains(string(page), "| learns | by hinge |") {
		t.Errorf("%d steps, asked for %v", result.Steps, asked)
	}
	r.Resume = true
	run(t, r)
	other := r
	other.Objective, other.Solver = nil, AdamW
	if _, err := Open(t.Context(), other); !errors.Is(err, finetune.ErrOtherRun) || !strings.Contains(err.Error(), "objective: hinge, now classification") {
		t.Errorf("error is %v, want that it is another run", err)
	}
	for _, c := range []struct {
		change func(r *Request)
		want   string
	}{
		{func(r *Request) { r.Solver = LBFGS }, "solver lbfgs fits a head for classes by their probabilities"},
		{func(r *Request) { r.ClassWeights = "balanced" }, "class_weights is of classification, and there is a loss of one's own"},
		{func(r *Request) { r.Overrides.Smoothing = new(0.1) }, "overrides.smoothing is of classification, and there is a loss of one's own"},
		{func(r *Request) { r.Recipe, r.Teacher = "full", "x" }, "a loss of one's own is of classes, and it is something else that is learnt"},
		{func(r *Request) { r.Objective = func(*data.Dataset) (finetune.Objective, error) { return nil, nil } }, "the function of the objective returned none"},
		{func(r *Request) {
			r.Objective = func(*data.Dataset) (finetune.Objective, error) { return nil, errors.New("too few pictures") }
		}, "too few pictures"},
	} {
		x := r
		x.Resume, x.Output = false, filepath.Join(t.TempDir(), "out")
		c.change(&x)
		if _, err := Open(t.Context(), x); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %s", err, c.want)
		}
	}
}

// TestWeightsTable: class weights are read as the tables of pictures are, by Python's csv.
func TestWeightsTable(t *testing.T) {
	want := []classWeight{{"6\" pipe", 2}, {"a \"cat\",\nasleep", 0.5}, {"Big dog", 3}}
	for _, text := range []string{
		"\ufeffclass,weight\n6\" pipe,2\n\n\"a \"\"cat\"\",\nasleep\",0.5\n\"Big\" dog,3",
		"weight,class\r\n2,6\" pipe\r\n\"0.5\",\"a \"\"cat\"\",\nasleep\"\r\n3,\"Big\" dog\r\n",
		"class,weight\r\"6\"\" pipe\",2\r\"a \"\"cat\"\",\nasleep\",0.5\rBig dog,3\r",
	} {
		if got, err := parseTable(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                                  "empty file, want the columns class and weight",
		"class,weight\ncat,\"2\ndog,3\n":    "line 2: a quote opens a field and is never closed",
		"class,weight\n\"cat\nx\" dog,2\n":  "line 2: a quote opens a field, closes on line 3, and text follows there",
		"class,weight\ncat,2\ndog\n":        "line 3 has 1 fields, the first line has 2",
		"class,weight\ncat,2\ncaf\xe9,1\n":  "line 3: byte 4 of the line is 0xe9, which is no UTF-8",
		"\xff\xfec\x00l\x00a\x00s\x00s\x00": "begins as UTF-16 does, want UTF-8",
	} {
		if _, err := parseTable(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

// FuzzWeights: whatever is said of weights is read or refused.
func FuzzWeights(f *testing.F) {
	for _, s := range []string{"cat=2,dog=0.5", "balanced", "a=b=3", "class,weight\ncat,2\n", "weight,class\n\"1\",\"a,b\"\n", "class,weight\ncat"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, read := range []func(string) ([]classWeight, error){parseTable, func(s string) ([]classWeight, error) { return readWeights(strings.ReplaceAll(s, ".csv", "")) }} {
			all, err := read(text)
			for i, w := range all {
				if err == nil && (w.class == "" || !(w.weight > 0) || slices.ContainsFunc(all[:i], func(o classWeight) bool { return o.class == w.class })) {
					t.Errorf("%q: %+v", text, all)
				}
			}
		}
	})
}
