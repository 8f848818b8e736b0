package cliptext

import (
	"strings"
	"testing"
)

// TestClean is with what openai-clip 1.0.1 makes of texts with ftfy 6.3.1: whitespace_clean(basic_clean(text)).lower().
func TestClean(t *testing.T) {
	for _, c := range [][2]string{
		{"A photo of a cafÃ©", "a photo of a café"},
		{"l’humanitÃ©", "l'humanité"},
		{"The Mona Lisa doesnÃƒÂ¢Ã¢â€šÂ¬Ã¢â€žÂ¢t have eyebrows.", "the mona lisa doesn't have eyebrows."},
		{"â€œ like this â€\ufffd", "\" like this \ufffd"},
		{"voilÃ le travail", "voilà le travail"},
		{"ÐŸÑ€Ð¸Ð²ÐµÑ‚", "привет"},
		{"Ã©tÃ© Àµ 中 Ã¼ber", "été àµ 中 über"},
		{"P&EACUTE;REZ &amp;amp;lt; &nGt; &#4294967361; x", "pérez < ≫⃒ \ufffd x"},
		{"a&#7;b &#x81; \u0092s", "ab \u0081 's"},
		{"<b>caf&eacute;</b>\n&amp;amp;", "<b>café</b> &"},
		{"ΑΣ ΑΣ. ΑΣΑ Σ Α'Σ ⁴ₛΣ Αₛ·Σ ΑΣ́!", "ας ας. ασα σ α'ς ⁴ₛσ αₛ·ς ας́!"},
		{"ＦＵＬＬ ﬁlm “ok”", "full film \"ok\""},
		{"e" + strings.Repeat("\u0301", 3) + strings.Repeat("\u0316", 29), "é" + strings.Repeat("\u0316", 29) + "\u0301\u0301"},
	} {
		if got := clean(c[0]); got != c[1] {
			t.Errorf("clean(%+q) = %+q, want %+q", c[0], got, c[1])
		}
	}
}
