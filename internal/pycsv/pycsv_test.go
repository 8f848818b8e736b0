package pycsv

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestRecords: tables are read as Python's csv and pandas both read them. Where they differ, or refuse a table, it is
// refused with a line. The values are Python 3.13's and pandas 3.0.6's.
func TestRecords(t *testing.T) {
	text, err := os.ReadFile("../../testdata/tiny/tables.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text, Sep string
		Rows      [][]string
		Long      []any // what LONG stands for, and how often
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, c := range cases {
		long := "LONG"
		if c.Long != nil {
			long = strings.Repeat(c.Long[0].(string), int(c.Long[1].(float64)))
		}
		table, err := Decode([]byte(strings.ReplaceAll(c.Text, "LONG", long)))
		if err != nil {
			t.Errorf("%q: %v", c.Text, err)
			continue
		}
		var got [][]string
		err = Read(table, c.Sep[0], func(r Record) error {
			for i, f := range r.Fields {
				r.Fields[i] = strings.ReplaceAll(f, long, "LONG")
			}
			got = append(got, r.Fields)
			return nil
		})
		switch {
		case c.Rows == nil && err == nil:
			t.Errorf("%q: got %q, want an error: csv and pandas differ", c.Text, got)
		case c.Rows == nil:
			if !strings.Contains(err.Error(), "line") {
				t.Errorf("%q: error %v, want one with the line", c.Text, err)
			}
		case err != nil:
			t.Errorf("%q: %v, want %q", c.Text, err, c.Rows)
		case !reflect.DeepEqual(got, c.Rows):
			t.Errorf("%q:\n got %q\nwant %q", c.Text, got, c.Rows)
		default:
			read++
		}
	}
	t.Logf("%d of %d tables are read", read, len(cases))
}

// FuzzRecords: records that were read are read again as they were when they are written with quotes around each field.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{"path,title\na,\"Big\" sale\n", "p,q\r\n\"a\r\nb\",c\r\n", "p\tq\n\"a\"\"\"\tb", "p,q\n\n\r\ra,\"b\nc\" d\n"} {
		f.Add(s, byte(','))
		f.Add(s, byte('\t'))
	}
	f.Fuzz(func(t *testing.T, text string, comma byte) {
		if comma != '\t' {
			comma = ','
		}
		var b strings.Builder
		var want [][]string
		line := 0
		if err := Read(text, comma, func(r Record) error {
			if r.Line <= line || r.Last < r.Line || r.torn != 0 && (r.torn <= r.Line || r.torn > r.Last) {
				t.Fatalf("record on lines %d to %d, torn on %d, after line %d", r.Line, r.Last, r.torn, line)
			}
			line = r.Last
			want = append(want, r.Fields)
			for i, s := range r.Fields {
				if i > 0 {
					b.WriteByte(comma)
				}
				b.WriteString(`"` + strings.ReplaceAll(s, `"`, `""`) + `"`)
			}
			b.WriteByte('\n')
			return nil
		}); err != nil {
			return
		}
		var got [][]string
		if err := Read(b.String(), comma, func(r Record) error {
			got = append(got, r.Fields)
			return nil
		}); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	})
}

func BenchmarkRecords(b *testing.B) {
	text := "path,caption\n" + strings.Repeat("train/0000/000000.jpg,\"a photo of a \"\"cat\"\", asleep\"\n", 10000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if err := Read(text, ',', func(Record) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
