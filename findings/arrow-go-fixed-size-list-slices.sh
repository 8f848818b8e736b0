#!/usr/bin/env bash
# github.com/apache/arrow-go/v18 v18.8.0, pqarrow: of a column of fixed_size_list, the parquet writer writes the first rows of the array for
# every slice of it, and so for every row group but the first. Other columns of the same row are right, and there is no error.
#
#   ids [0 1 2 3 4 5], vectors [[0] [10] [20] [30] [40] [50]]
#   WriteTable, chunks of 6    [[0] [10] [20] [30] [40] [50]]
#   WriteTable, chunks of 2    [[0] [10] [0] [10] [0] [10]]      with the ids 0 to 5
#   Write of NewSlice(2, 4)    [[0] [10]]                        with the ids 2 and 3
#
# Cause: parquet/pqarrow/path_builder.go, Visit: list begins at the offset of the array; fixed_size_list gets fixedSizeRangeSelector, which has
# the size of a list alone, and counts from 0.
#
# Embeddings are what has this type: Arrow's tables for LanceDB, DuckDB's arrays and Milvus have it. A file of more rows than one row group has
# the vectors of its first rows again and again, beside the right keys. A column of list is right; so is one whose chunks were copied before they
# are written, each of them from its first row on.
#
# Seen on 2026-11-30, linux/amd64, Go 1.26.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOFLAGS=

cat >main.go <<'GO'
package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// record has six rows: i and the vector [10·i].
func record(schema *arrow.Schema) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	lists := b.Field(1).(interface {
		Append(bool)
		ValueBuilder() array.Builder
	})
	for i := range 6 {
		b.Field(0).(*array.Int32Builder).Append(int32(i))
		lists.Append(true)
		lists.ValueBuilder().(*array.Float32Builder).Append(float32(10 * i))
	}
	return b.NewRecordBatch()
}

func main() {
	for _, of := range []arrow.DataType{arrow.ListOf(arrow.PrimitiveTypes.Float32), arrow.FixedSizeListOf(1, arrow.PrimitiveTypes.Float32)} {
		schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int32}, {Name: "vector", Type: of}}, nil)
		all := record(schema)
		table := array.NewTableFromRecords(schema, []arrow.RecordBatch{all})
		for _, c := range []struct {
			what  string
			write func(*pqarrow.FileWriter) error
		}{
			{"WriteTable 6", func(w *pqarrow.FileWriter) error { return w.WriteTable(table, 6) }},
			{"WriteTable 2", func(w *pqarrow.FileWriter) error { return w.WriteTable(table, 2) }},
			{"Write of a slice", func(w *pqarrow.FileWriter) error { return w.Write(all.NewSlice(2, 4)) }},
		} {
			var b bytes.Buffer
			w, err := pqarrow.NewFileWriter(schema, &b, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
			check(err)
			check(c.write(w))
			check(w.Close())
			f, err := file.NewParquetReader(bytes.NewReader(b.Bytes()))
			check(err)
			r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
			check(err)
			t, err := r.ReadTable(context.Background())
			check(err)
			fmt.Println(of.ID(), c.what, t.Column(0).Data().Chunks(), t.Column(1).Data().Chunks())
		}
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/apache/arrow-go/v18@v18.8.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run . >got

cat >want <<'TXT'
LIST WriteTable 6 [[0 1 2 3 4 5]] [[[0] [10] [20] [30] [40] [50]]]
LIST WriteTable 2 [[0 1 2 3 4 5]] [[[0] [10] [20] [30] [40] [50]]]
LIST Write of a slice [[2 3]] [[[20] [30]]]
FIXED_SIZE_LIST WriteTable 6 [[0 1 2 3 4 5]] [[[0] [10] [20] [30] [40] [50]]]
FIXED_SIZE_LIST WriteTable 2 [[0 1 2 3 4 5]] [[[0] [10] [0] [10] [0] [10]]]
FIXED_SIZE_LIST Write of a slice [[2 3]] [[[0] [10]]]
TXT
diff want got || { echo "arrow-go v18.8.0 writes slices of fixed_size_list in another way than was seen" >&2; exit 1; }
echo "as seen: arrow-go v18.8.0 writes the first rows of a fixed_size_list for every slice and row group"
