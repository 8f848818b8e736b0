#!/usr/bin/env bash
# Runs the tests of packages as arm64 programs, on a Linux machine that is none: under QEMU's user mode.
#
#	internal/kernel/qemu.sh [FOLDER]...   by default those that compute
#
# LONG=1 has what is long computed too; at full size that takes hours.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ $# -gt 0 ] || set -- internal/kernel internal/op clipvit converter internal/pillow
command -v qemu-aarch64-static >/dev/null || { apt-get update -qq && apt-get install -y -qq qemu-user-static; }

short=-test.short
[ -z "${LONG:-}" ] || short=
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
for folder; do
	program=$programs/${folder//\//-}.test
	GOARCH=arm64 CGO_ENABLED=0 go test -c -o "$program" "./$folder"
	echo "$folder"
	(cd "$folder" && qemu-aarch64-static "$program" $short)
done
