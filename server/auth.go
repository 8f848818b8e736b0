package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/vitago/vitago/server/page"
)

// minToken is of how many characters a token is at least: 16 of base64 are 96 bits, which nobody guesses over a network.
const minToken = 16

// Tokens are what clients show to be let in. Of a token its SHA-256 alone is kept.
type Tokens struct {
	hashes [][sha256.Size]byte
	names  []string
}

// ReadTokens reads a file of tokens, one a line, with its name before it if it has one: NAME TOKEN. In the place of a token there may be
// sha256: and the SHA-256 of it in hexadecimal digits. Empty lines and those that begin with # are left out. Errors name the line and
// never what is in it.
func ReadTokens(path string) (*Tokens, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("server: tokens: %w", err)
	}
	t, err := parseTokens(b)
	if err != nil {
		return nil, fmt.Errorf("server: %s: %w", path, err)
	}
	return t, nil
}

func parseTokens(file []byte) (*Tokens, error) {
	t := &Tokens{}
	seen := map[[sha256.Size]byte]int{}
	file = bytes.TrimPrefix(file, []byte("\ufeff")) // Windows' editors put it there, and no client has it in its token
	lines := bufio.NewScanner(bytes.NewReader(file))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) > 2 {
			return nil, fmt.Errorf("line %d: got %d words, want TOKEN or NAME TOKEN", n, len(fields))
		}
		token, name := fields[len(fields)-1], fmt.Sprintf("line %d", n)
		if len(fields) == 2 {
			name = fields[0]
		}
		var hash [sha256.Size]byte
		if digits, ok := strings.CutPrefix(token, "sha256:"); ok {
			sum, err := hex.DecodeString(digits)
			if err != nil || len(sum) != len(hash) {
				return nil, fmt.Errorf("line %d: sha256: has %d characters after it, want %d hexadecimal digits", n, len(digits), 2*len(hash))
			}
			hash = [sha256.Size]byte(sum)
		} else {
			if len(token) < minToken {
				return nil, fmt.Errorf("line %d: the token has %d characters, want at least %d", n, len(token), minToken)
			}
			hash = sha256.Sum256([]byte(token))
		}
		if at, ok := seen[hash]; ok {
			return nil, fmt.Errorf("line %d: the token stands in line %d already", n, at)
		}
		seen[hash] = n
		t.hashes, t.names = append(t.hashes, hash), append(t.names, name)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(t.hashes) == 0 {
		return nil, fmt.Errorf("no tokens, want one a line")
	}
	return t, nil
}

// Len returns how many tokens there are.
func (t *Tokens) Len() int { return len(t.hashes) }

// Find returns the name of a token, and whether it is known. It takes as long for every token of a length.
func (t *Tokens) Find(token string) (name string, ok bool) {
	hash, at := sha256.Sum256([]byte(token)), -1
	for i := range t.hashes { // all, whichever it is
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], t.hashes[i][:]), i, at)
	}
	if at < 0 {
		return "", false
	}
	return t.names[at], true
}

// tokenOf returns the token that a request shows, "" if it shows none: Authorization: Bearer, as most clients send it, or the headers
// of Anthropic's and Azure's clients.
func tokenOf(h http.Header) string {
	if scheme, token, ok := strings.Cut(h.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	for _, name := range []string{"X-Api-Key", "Api-Key"} {
		if token := h.Get(name); token != "" {
			return token
		}
	}
	return ""
}

// isOpen says whether a path asks for no token: probes, and the page, in which a token is entered.
func isOpen(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	switch r.URL.Path {
	case "/favicon.ico", "/healthz", "/readyz", "/ping", "/.well-known/live", "/.well-known/ready":
		return true
	}
	return page.Open(r.URL.Path)
}
