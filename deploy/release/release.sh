#!/usr/bin/env bash
# Builds what a release has, from the commit that is checked out: a static program for each platform, twice, in two folders, which have to be the
# same bytes; their SHA-256; what is in them, as SBOM in CycloneDX with the licence of each dependency.
#
#   deploy/release/release.sh OUT                        all platforms
#   PLATFORMS="linux/amd64" deploy/release/release.sh OUT
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: release.sh OUT" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
[ -z "$(ls -A "$out")" ] || { echo "release.sh: $out is not empty" >&2; exit 1; }
cd "$(dirname "$0")/../.."
platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}
sbom=v1.10.0    # of cyclonedx-gomod

[ -z "$(git status --porcelain)" ] || { echo "release.sh: the work tree has changes that are in no commit" >&2; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for copy in a b; do # other paths, times and caches, the same commit
	git clone -q . "$dir/$copy"
	for p in $platforms; do
		os=${p%/*} arch=${p#*/} name=vitago-${p%/*}-${p#*/}
		[ "$os" != windows ] || name=$name.exe
		mkdir -p "$dir/$copy.bin"
		(cd "$dir/$copy" && GOCACHE=$dir/$copy.cache CGO_ENABLED=0 GOOS=$os GOARCH=$arch GOFLAGS=-trimpath go build -ldflags='-s -w -buildid=' -o "$dir/$copy.bin/$name" ./cmd/vitago)
	done
done
for f in "$dir"/a.bin/*; do
	cmp "$f" "$dir/b.bin/${f##*/}" || { echo "release.sh: two builds of ${f##*/} differ" >&2; exit 1; }
done
cp "$dir"/a.bin/* "$out"
(
	cd "$dir/a"
	go run "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$sbom" app -json -licenses -main cmd/vitago -output "$out/vitago.cdx.json" . 2>/dev/null
)
parts=$(grep -c '"purl"' "$out/vitago.cdx.json") known=$(grep -c '"licenses"' "$out/vitago.cdx.json")
[ "$parts" -gt 10 ] && [ "$known" -ge $((parts - 1)) ] || { echo "release.sh: licences of $known of $parts modules were found" >&2; exit 1; }
(cd "$out" && sha256sum vitago* >SHA256SUMS)
cat "$out/SHA256SUMS"
