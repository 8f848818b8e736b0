package main

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestSearch: vectors are the same each time, and ours finds in them what float64 finds, of both kinds.
func TestSearch(t *testing.T) {
	for _, data := range searchData {
		path, err := searchRows(t.TempDir(), data, 300)
		if err != nil {
			t.Fatal(err)
		}
		again, err := searchRows(t.TempDir(), data, 300)
		if err != nil {
			t.Fatal(err)
		}
		a, err1 := os.ReadFile(path)
		b, err2 := os.ReadFile(again)
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(a, b) || len(a) != 364*searchWidth*2 {
			t.Fatalf("%s: %d bytes, and %d others, %v", data, len(a), len(b), err)
		}
		want, err := inFloat64(path)
		if err != nil || len(want) != searchChecked || len(want[0]) != searchHits {
			t.Fatal(want, err)
		}
		for _, codes := range []bool{false, true} {
			s, err := newSearcher(path, codes)
			if err != nil {
				t.Fatal(err)
			}
			for _, queries := range []int{searchChecked, searchQueries} {
				_, got, exact, err := s.find(queries, 2)
				if err != nil || len(got) != queries || !slices.EqualFunc(got[:searchChecked], want, slices.Equal) || exact < searchHits {
					t.Errorf("%s, codes %v: %v, %v products, %v, want %v", data, codes, got[:searchChecked], exact, err, want)
				}
			}
		}
	}
}

func TestRecall(t *testing.T) {
	if r := recall([][]int{{1, 2}, {3, 4}}, [][]int{{2, 1}, {3, 5}}); r != 0.75 {
		t.Errorf("got %v, want 0.75", r)
	}
	if r := recall([][]int{{1}}, nil); r != 1 {
		t.Errorf("of nothing: got %v, want 1", r)
	}
}

// TestSearchTable has a line for each contender, with what the peer takes beside it.
func TestSearchTable(t *testing.T) {
	r := &searchRace{Runs: []searchRun{
		{searchContenders[0].name, 1000, "random", 2, 1, 0, 9, 1, 5e9, 20}, {searchContenders[0].name, 1000, "random", 2, 1, 1, 0.001, 1, 5e9, 20},
		{searchPeer, 1000, "random", 2, 1, 1, 0.004, 0.9, 6e9, 0},
	}}
	got := r.markdown()
	for _, want := range []string{"| vitago, float16 | 1.00 | 1000.00 | 4.00 | 1.0000 | 5.00 | 20 |", "| " + searchPeer + " | 4.00 | 4000.00 | 1.00 | 0.9000 | 6.00 |  |"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}
