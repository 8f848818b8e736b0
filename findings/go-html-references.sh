#!/usr/bin/env bash
# Go 1.26.8, package html of the standard library: UnescapeString reads some of HTML's character references as other
# characters, or not at all. golang.org/x/net/html v0.62.0, whose tables and code are a sibling of these, reads them as
# the HTML standard, browsers and Python's html.unescape do.
#
#   &#x10000003c;  "<"      numbers are taken modulo 2^32; the standard wants U+FFFD of all above 10FFFF
#   &#4294967361;  "A"      the same
#   &nGt; &nLt;    stay     valid names of two characters, which take more bytes than the name: left out of the table, since
#                           the characters are written over the reference
#   &#9x           stays    one digit without a semicolon (golang/go issue 66058, open)
#   &#x;           U+FFFD   no digit at all; the standard keeps it
#
# So a text that was searched for &lt;, &#60; and &#x3c; can still become markup, and one that was unescaped can still have
# references. Who needs the standard's rules takes x/net/html, or reads numbers before this does.
#
# Seen on 2026-11-30, linux/amd64.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOTOOLCHAIN=go1.26.8 GOFLAGS=

cat >main.go <<'GO'
package main

import (
	"fmt"
	"html"

	xhtml "golang.org/x/net/html"
)

func main() {
	for _, s := range []string{"&#x10000003c;b&#x10000003e;", "&#4294967361;", "&#1114112;", "&nGt;", "&nLt;", "&nGtv;", "&#9x", "&#65x", "&#x;"} {
		fmt.Printf("%s %+q %+q\n", s, html.UnescapeString(s), xhtml.UnescapeString(s))
	}
}
GO
go mod init finding >/dev/null 2>&1
go get golang.org/x/net@v0.62.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run . >got

# By the standard library, and by x/net/html.
cat >want <<'TXT'
&#x10000003c;b&#x10000003e; "<b>" "\ufffdb\ufffd"
&#4294967361; "A" "\ufffd"
&#1114112; "\ufffd" "\ufffd"
&nGt; "&nGt;" "\u226b\u20d2"
&nLt; "&nLt;" "\u226a\u20d2"
&nGtv; "\u226b\u0338" "\u226b\u0338"
&#9x "&#9x" "\tx"
&#65x "Ax" "Ax"
&#x; "\ufffd" "&#x;"
TXT
diff want got || { echo "html of Go 1.26.8 or x/net/html v0.62.0 reads references in another way than was seen" >&2; exit 1; }
echo "as seen: of 9 texts html.UnescapeString of Go 1.26.8 reads 6 in another way than x/net/html v0.62.0 does"
