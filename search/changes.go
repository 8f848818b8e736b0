package search

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// A change is what has become of a row since its shard was written: a line of a file of changes.
type change struct {
	Row      int               `json:"row"`
	Dead     bool              `json:"dead,omitempty"`
	Path     string            `json:"path,omitempty"` // the new name, "" if it has the old
	Size     int64             `json:"size,omitempty"` // with Modified
	Modified int64             `json:"modified,omitempty"`
	Caption  *string           `json:"caption,omitempty"` // the new one, "" for none; nil if it has the old
	Columns  map[string]string `json:"columns,omitempty"` // of the user, all of them, if not nil
}

// changes are those of all rows.
type changes struct {
	of   map[int]*change // those that are not dead
	gone []uint64        // a bit for each row that is dead, as far as there are any
	dead int
}

func (c *changes) isDead(row int) bool {
	return row>>6 < len(c.gone) && c.gone[row>>6]>>(row&63)&1 != 0
}

// kill deletes a row.
func (c *changes) kill(row int) {
	for row>>6 >= len(c.gone) {
		c.gone = append(c.gone, make([]uint64, row>>6-len(c.gone)+1)...)
	}
	if !c.isDead(row) {
		c.gone[row>>6] |= 1 << (row & 63)
		c.dead++
		delete(c.of, row)
	}
}

// at returns the change of a row that is not dead, to be made. It panics for one that is: a file of changes has either.
func (c *changes) at(row int) *change {
	if c.isDead(row) {
		panic(fmt.Sprintf("search: row %d is deleted", row))
	}
	if c.of == nil {
		c.of = map[int]*change{}
	}
	if c.of[row] == nil {
		c.of[row] = &change{Row: row}
	}
	return c.of[row]
}

// apply puts the change of a row into its record.
func (c *changes) apply(row int, r *Record) {
	x := c.of[row]
	if x == nil {
		return
	}
	if x.Path != "" {
		r.Path = x.Path
	}
	if x.Modified != 0 {
		r.Size, r.Modified = x.Size, x.Modified
	}
	if x.Caption != nil {
		r.Caption = *x.Caption
	}
	if x.Columns != nil {
		r.Columns = maps.Clone(x.Columns)
	}
}

// encode returns the lines of a file.
func (c *changes) encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for word, bits := range c.gone {
		for bit := range 64 {
			if bits>>bit&1 != 0 {
				_ = e.Encode(change{Row: word<<6 + bit, Dead: true}) // of numbers and strings
			}
		}
	}
	for _, row := range slices.Sorted(maps.Keys(c.of)) {
		_ = e.Encode(c.of[row])
	}
	return b.Bytes()
}

// maxChange is how long a line may be.
const maxChange = 16 << 20

// parseChanges reads the changes of rows.
func parseChanges(text []byte, rows int) (c changes, err error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxChange)
	for n := 1; lines.Scan(); n++ {
		var x change
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return c, fmt.Errorf("line %d: %w", n, err)
		}
		if x.Row < 0 || x.Row >= rows || c.isDead(x.Row) || c.of[x.Row] != nil {
			return c, fmt.Errorf("line %d is of row %d, want each of %d once", n, x.Row, rows)
		}
		if x.Dead {
			c.kill(x.Row)
		} else {
			*c.at(x.Row) = x
		}
	}
	return c, lines.Err()
}

// readChanges reads the changes that a manifest names.
func readChanges(dir string, m *manifest) (c changes, err error) {
	if m.Changes == nil {
		return c, nil
	}
	path := filepath.Join(dir, changesDir, m.Changes.File)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, damaged(path, "is not there: %w", reason(err))
	}
	if err != nil {
		return c, fmt.Errorf("search: %s: %w", path, reason(err))
	}
	if h := sha256.Sum256(text); hex.EncodeToString(h[:]) != m.Changes.SHA256 {
		return c, damaged(path, "has %d bytes with the SHA-256 %x, want %d with %.64s", len(text), h, m.Changes.Bytes, m.Changes.SHA256)
	}
	if c, err = parseChanges(text, m.rows()); err != nil {
		return c, damaged(path, "%w", err)
	}
	if n := c.dead + len(c.of); n != m.Changes.Rows {
		return c, damaged(path, "is of %d rows, want %d", n, m.Changes.Rows)
	}
	return c, nil
}
