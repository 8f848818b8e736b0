#!/bin/sh
# Writes testdata/SHA256SUMS; with --check, compares with it.
set -eu
cd "$(dirname "$0")/../.."
if [ "${1:-}" = --check ]; then
	sha256sum --check --quiet testdata/SHA256SUMS
	exit
fi
find testdata/tiny testdata/demo testdata/families testdata/forms testdata/projector testdata/peft testdata/containers demo/model demo/pictures cmd/vitago/testdata/demo cmd/vitago/answers/demo.json cliptext/testdata/texts.json.gz -type f ! -name '*.go' | LC_ALL=C sort | xargs sha256sum >testdata/SHA256SUMS
