package cliptext_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/internal/scenes"
)

// TestRestrict: texts of the words that were kept get the tokens that the whole vocabulary gives them, by every library's rules; a word that
// was not is an error that names it.
func TestRestrict(t *testing.T) {
	for _, rules := range []cliptext.Rules{cliptext.OpenAI, cliptext.OpenCLIP, cliptext.Transformers} {
		whole := cliptext.NewOpenAI(rules)
		small, ids, err := whole.Restrict(scenes.Texts())
		if err != nil {
			t.Fatal(err)
		}
		if small.Rules() != rules || small.Len() != len(ids) || ids[small.Start()] != whole.Start() || ids[small.End()] != whole.End() || !slices.IsSorted(ids) {
			t.Errorf("rules %v, %d tokens, %d ids, start %d, end %d", small.Rules(), small.Len(), len(ids), small.Start(), small.End())
		}
		for i := range 2000 {
			x := scenes.New(scenes.Train, i)
			for _, text := range []string{x.Caption(), strings.ToUpper(x.Full()), x.Full() + "."} {
				want, err := whole.Encode(text)
				if err != nil {
					t.Fatal(err)
				}
				got, err := small.Encode(text)
				if err != nil {
					t.Fatal(err)
				}
				for k, n := range got {
					got[k] = ids[n]
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%v: %q: %v, want %v", rules, text, got, want)
				}
			}
		}
		for _, text := range []string{"a red zebra", "a zebra!"} {
			if _, err := small.Encode(text); !errors.Is(err, cliptext.ErrText) || !strings.Contains(err.Error(), `lacks "zebra": none of them is "z`) {
				t.Errorf("%q: %v", text, err)
			}
		}
		// Parts of tokens stand behind them, and are no tokens of a text.
		for text, token := range map[string]string{"a gree": "gre", "an i": "i", "re": "re"} {
			word := text[strings.LastIndex(text, " ")+1:]
			if _, err := small.Encode(text); !errors.Is(err, cliptext.ErrText) || !strings.Contains(err.Error(), fmt.Sprintf("vocabulary of %d tokens lacks %q", len(ids), word)) || !strings.Contains(err.Error(), token) {
				t.Errorf("%q: %v", text, err)
			}
		}
		read, err := cliptext.NewTokenizerFiles(small.Files(32))
		if err != nil {
			t.Fatal(err)
		}
		if read.Len() <= len(ids) {
			t.Errorf("%d tokens in files, want more than %d", read.Len(), len(ids))
		}
		if within, err := read.Within(len(ids)); err != nil || within.Len() != len(ids) || within.Fingerprint() != small.Fingerprint() {
			t.Errorf("read again: %v", err)
		} else if _, err := within.Encode("gree"); !errors.Is(err, cliptext.ErrText) {
			t.Errorf("read again, a part has the error %v", err)
		}
		if _, err := read.Within(len(ids) - 1); err == nil {
			t.Error("the token that ends a text has no row, and there is no error")
		}
		if _, err := whole.Within(whole.Len() - 1000); err == nil {
			t.Error("tokens of texts have no rows, and there is no error")
		}
		if _, _, err := small.Restrict([]string{"zebra"}); !errors.Is(err, cliptext.ErrText) {
			t.Errorf("restricted to what it has not: %v", err)
		}
	}
}
