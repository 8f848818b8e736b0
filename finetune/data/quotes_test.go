package data

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestTableQuotes: what is refused though csv and pandas read it: quotes that swallow rows; and what neither could read.
func TestTableQuotes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		// Case of a TSV of captions; the values are csv's.
		{"a.tsv", "filepath\ttitle\ni0.jpg\t\"Big\" sale sign\ni1.jpg\ta dog\ni2.jpg\tthe sign says \"stop\"\ni3.jpg\t6\" pipe\n",
			`i0.jpg"Big sale sign" i1.jpg"a dog" i2.jpg"the sign says \"stop\"" i3.jpg"6\" pipe"`},
		{"a.csv", "path\tlabel\na.png\tcat, black\nb.png\tdog\n", "a.png=cat, black b.png=dog"},
		{"a.csv", "path,label\na.png,\"black\ncat\"\nb.png,\"dog\t\"\n", "a.png=black\ncat b.png=dog\t"},
		{"a.csv", "path,caption\rb.png,\"a cat,\rasleep\"\ra.png,x\r", `b.png"a cat,\rasleep" a.png"x"`},
		{"a.csv", "path,label\n\"a, b.png\",NA\nb.png,null\n", "a, b.png=NA b.png=null"},

		{"a.tsv", "path\tcaption\na.png\t\"Big sale\nb.png\ta dog\nc.png\t6\" pipe\nd.png\tx\n",
			`data: a.tsv: line 2: a quote opens a field, closes on line 4, and text follows there: lines between would be part of the field; a quote that is meant as one is doubled in quotes: "6"" pipe"`},
		{"a.tsv", "path\tcaption\na.png\t\"Big sale\nthere.png\ta dog\nc.png\tpipe of 6\"\nd.png\tx\n",
			`data: a.tsv: line 2: a quote opens a field that swallows line 3, the row of there.png; a quote that is meant as one is doubled in quotes: "6"" pipe"`},
		{"a.csv", "path,caption\na.png,\"Big sale\nc.png,x\n", `data: a.csv: line 2: a quote opens a field and is never closed; a quote that is meant as one is doubled in quotes: "6"" pipe"`},
		{"a.csv", "path,label\na.png,cat\nb.png,caf\xe9\n", "data: a.csv: line 3: byte 10 of the line is 0xe9, which is no UTF-8; save the table as UTF-8"},
		{"a.csv", "path,label\r\ra.png,\xff\r", "data: a.csv: line 3: byte 7 of the line is 0xff, which is no UTF-8; save the table as UTF-8"},
		{"a.csv", "\xff\xfep\x00a\x00", "data: a.csv: begins as UTF-16 does, want UTF-8"},
		{"a.csv", "p\x00a\x00t\x00h\x00", "data: a.csv: is UTF-16 by its NUL bytes, want UTF-8"},
		{"a.csv", "path,label\na.png,c\x00t\n", "data: a.csv: line 2 has a NUL byte, want text"},
		{"a.csv", "path;label\na.png;cat\n", `data: a.csv: first line is ["path;label"], want a column path, filepath, file_name, filename, file or image; its fields seem to be separated by semicolons, want commas`},
		{"a.csv", "path,label\na.png,cat\nb.png, cat\n", `data: a.csv: line 3: the label " cat" differs from the "cat" of line 2 in nothing but spaces around it`},
		{"a.csv", "path,label\na.png,cat\nb.png,\u00a0cat\n", `data: a.csv: line 3: the label "\u00a0cat" differs from the "cat" of line 2 in nothing but spaces around it`},
		// pandas has one class of 1 and 1.0, and of 01 and 1; csv two. Python's json has 1 == 1.0.
		{"a.csv", "path,label\na.png,1\nb.png,2\nc.png,1.0\n", `data: a.csv: line 4: the label "1.0" is the number of the "1" of line 2: one class to pandas, two to csv; write them alike`},
		{"a.csv", "path,label\na.png,01\nb.png,2\nc.png,1\n", `data: a.csv: line 4: the label "1" is the number of the "01" of line 2: one class to pandas, two to csv; write them alike`},
		{"a.csv", "path,label\na.png,01\nb.png,x\nc.png,1\n", "a.png=01 b.png=x c.png=1"}, // text to both
		{"a.csv", "path,label\na.png,1e3\nb.png,1e4\n", "a.png=1e3 b.png=1e4"},
		{"a.jsonl", `{"path":"a.png","label":1}` + "\n" + `{"path":"b.png","label":1.0}`, `data: a.jsonl: line 2: the label "1.0" is the number of the "1" of line 1: one class to pandas, two to csv; write them alike`},
		{"a.csv", "path,label\nhttps://example.com/a.png,x\nb.png,y\n", "data: a.csv: line 2: https://example.com/a.png is an address, want the path of a file; bring the pictures first"},
		{"a.jsonl", `{"image":"s3://bucket/a.png","label":1}`, "data: a.jsonl: line 1: s3://bucket/a.png is an address, want the path of a file; bring the pictures first"},
		{"a.tsv", "path,label\na.png,x\n", `data: a.tsv: first line is ["path,label"], want a column path, filepath, file_name, filename, file or image; its fields seem to be separated by commas, want tabs`},
		{"a.csv", "path|label\na.png|x\n", `data: a.csv: first line is ["path|label"], want a column path, filepath, file_name, filename, file or image; its fields seem to be separated by bars, want commas`},
		{"a.jsonl", "{\n\"path\": \"a.png\"}", "data: a.jsonl: line 1: unexpected end of JSON input, want a whole object on the line"},
		{"a.csv", "path,label\na.png,\"x\ny\",z\n", "data: a.csv: lines 2 to 3 have 3 fields, the first line has 2"},
		{"a.csv", "\npath,label\n", "data: a.csv: line 1 is blank, want a first line that names the columns"},
		{"a.csv", "path,label\na.png," + strings.Repeat("x", 128*1024+1) + "\n", "data: a.csv: line 2: a field of 131073 characters, want at most 131072"},
		{"a.jsonl", `{"path":"a.png","label":"caf` + "\xe9\"}", "data: a.jsonl: line 1: byte 29 of the line is 0xe9, which is no UTF-8; save the table as UTF-8"},
		{"a.jsonl", `{"path":"a.png","label":"\udce9"}`, `data: a.jsonl: line 1: "\xe9" is not UTF-8`},
		{"a.jsonl", `{"path":"a.png","label":"\ud800"}`, `data: a.jsonl: line 1: \ud800 is half a character, want \udc80 to \udcff for a byte that is no UTF-8`},
		{"a.jsonl", `{"path":"a.png","label":"NaN","score":NaN,"size":Infinity,"x":1e999}`, `data: a.jsonl: line 1: "label" is NaN, want a string or a finite number`}, // in doubt
		{"a.jsonl", `{"path":"a.png","label":NaN}`, `data: a.jsonl: line 1: "label" is NaN, want a string or a finite number`},
		{"a.jsonl", `{"path":"a.png","label":"NaN"}` + "\r\n" + `{"path":"b.png","label":"x","score":NaN,"size":-Infinity}`, "a.png=NaN b.png=x"},
		{"a.jsonl", `{"path":"caf\udce9.png","caption":"\ud83d\ude00 \\ud800"}`, "caf\xe9.png" + `"😀 \\ud800"`}, // as Python's json writes os.listdir's names
	} {
		dir := write(t, map[string]string{"t/" + c.name: c.text, "t/there.png": ""})
		d, err := Table(filepath.Join(dir, "t", c.name))
		check(t, fmt.Sprintf("%s %.60q", c.name, c.text), d, err, filepath.Join(dir, "t"), c.want)
	}
	// A file whose name begins with a space is found.
	dir := write(t, map[string]string{"a.csv": "path,label\n a.png ,x\n b.png,y\n", " b.png": ""})
	d, err := Table(filepath.Join(dir, "a.csv"))
	check(t, "spaces", d, err, dir, "a.png=x  b.png=y")
}
