#!/usr/bin/env bash
# gopickle v0.3.0 (github.com/nlpodyssey/gopickle) reads torch's half-precision storages. Normal numbers are right.
# Others are wrong, without an error:
#
#   - positive subnormals, below 6.1e-05, become numbers from 6.1e-05 to 1.2e-04;
#   - negative subnormals and -0 become numbers from -6.1e-05 to -3.1e-05;
#   - +Inf becomes 65536, and a positive NaN a number.
#
# Cause: pytorch/float_conversion.go fills the tables of van der Zijp's "Fast Half Float Conversions" with the condition of
# a loop inverted and with the bounds of two others shifted. Published weights in half precision have subnormals: small
# biases, and rows of a vocabulary that were hardly trained. A reader of such files should convert the bits itself.
#
# Seen on 2026-11-30, linux/amd64, go 1.26: the lines in "want" below. Decoded with IEEE 754 they would be
# 1 -2 65504 5.9604645e-08 3.0517578e-05 -5.9604645e-08 -0 -Inf +Inf.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat >main.go <<'GO'
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/nlpodyssey/gopickle/pytorch"
)

func main() {
	for _, h := range []uint16{0x3c00, 0xc000, 0x7bff, 0x0001, 0x0200, 0x8001, 0x8000, 0xfc00, 0x7c00} {
		s := (&pytorch.HalfStorageClass{}).New(1, "cpu").(*pytorch.HalfStorage)
		if err := s.SetFromFileWithSize(bytes.NewReader(binary.LittleEndian.AppendUint16(nil, h)), 1); err != nil {
			panic(err)
		}
		fmt.Printf("%04x %v\n", h, s.Data[0])
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/nlpodyssey/gopickle@v0.3.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run . >got

cat >want <<'TXT'
3c00 1
c000 -2
7bff 65504
0001 6.109476e-05
0200 9.1552734e-05
8001 -3.054738e-05
8000 -3.0517578e-05
fc00 -Inf
7c00 65536
TXT
diff want got || { echo "gopickle v0.3.0 decodes half precision in another way than was seen" >&2; exit 1; }
echo "as seen: of 9 half-precision numbers gopickle v0.3.0 decodes 5 wrong"
