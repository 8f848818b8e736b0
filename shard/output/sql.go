package output

import (
	"fmt"
	"strings"
)

// SQL returns what makes a table of Postgres with pgvector for a dataset in csv, and what loads a file of a shard into it:
//
//	psql -f create.sql && for f in csv/*.csv; do psql -c "$load" <"$f"; done
//
// A text is NULL where it is missing, and else as it was, the empty one as well. The key of a row is that of its shard alone, so that the
// table has no primary key.
func (s Spec) SQL(table string) (create, load string) {
	var columns []string
	for _, f := range s.fields(true) {
		of := map[Type]string{Text: "text", Int64: "bigint", Float64: "double precision", Bool: "boolean", vector: fmt.Sprintf("vector(%d)", s.Dim)}[f.kind]
		if !f.optional {
			of += " NOT NULL"
		}
		columns = append(columns, identifier(f.name)+" "+of)
	}
	create = fmt.Sprintf("CREATE EXTENSION IF NOT EXISTS vector;\nCREATE TABLE %s (%s);\n", identifier(table), strings.Join(columns, ", "))
	return create, fmt.Sprintf("COPY %s FROM STDIN WITH (FORMAT csv, HEADER %v)", identifier(table), s.Header)
}

// identifier returns a name as SQL has it.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
