#!/usr/bin/env bash
# Builds what a release has, from the commit that is checked out: a static program for each platform, twice, in two folders, which have to be the
# same bytes; an archive of each with its pages, manual and completions; the texts of all licences; what is in the programs, as SBOM in CycloneDX
# with the licence of each dependency; SHA-256 of it all.
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
sbom=v1.10.0 # of cyclonedx-gomod
GOTOOLCHAIN=$(cat deploy/release/toolchain) # whoever builds it, whatever Go is installed
export GOTOOLCHAIN

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
(
	cd "$dir/a"
	export GOCACHE=$dir/a.cache CGO_ENABLED=0
	go run "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$sbom" app -json -licenses -main cmd/vitago -output "$out/vitago.cdx.json" . 2>/dev/null
	go build -trimpath -o "$dir/vitago" ./cmd/vitago # of this machine, which writes the same pages as all
)
parts=$(grep -c '"purl"' "$out/vitago.cdx.json") known=$(grep -c '"licenses"' "$out/vitago.cdx.json")
[ "$parts" -gt 10 ] && [ "$known" -ge $((parts - 1)) ] || { echo "release.sh: licences of $known of $parts modules were found" >&2; exit 1; }
go build -C deploy -o "$dir/" ./release/licences ./release/archive
"$dir/licences" "$out/THIRD-PARTY-LICENCES.txt" "$dir"/a.bin/*

version=$("$dir/vitago" version --json | sed -n 's/^ *"version": "\([^"]*\)".*/\1/p')
[[ $version == v* ]] || { echo "release.sh: the version of the build is \"$version\", want that of a tag or a commit" >&2; exit 1; }
"$dir/vitago" man "$dir/man1"
mkdir "$dir/completions"
"$dir/vitago" completion bash >"$dir/completions/vitago.bash"
"$dir/vitago" completion zsh >"$dir/completions/_vitago"
"$dir/vitago" completion fish >"$dir/completions/vitago.fish"
"$dir/vitago" completion powershell >"$dir/completions/vitago.ps1"
for p in $platforms; do
	os=${p%/*} arch=${p#*/} exe='' ext=tar.gz
	[ "$os" != windows ] || { exe=.exe ext=zip; }
	folder=$dir/vitago-$version-$os-$arch
	mkdir -p "$folder/man"
	cp "$dir/a.bin/vitago-$os-$arch$exe" "$folder/vitago$exe"
	cp "$dir"/a/{README.md,README.zh-CN.md,CHANGELOG.md,LICENSE} "$dir/a/internal/ftfy/NOTICE" "$out/THIRD-PARTY-LICENCES.txt" "$folder"
	cp -r "$dir/man1" "$folder/man/man1"
	cp -r "$dir/completions" "$folder"
	"$dir/archive" "$folder" "$out/${folder##*/}.$ext" "$(git log -1 --format=%ct)"
done
(cd "$out" && sha256sum THIRD-PARTY-LICENCES.txt vitago* >SHA256SUMS)
cat "$out/SHA256SUMS"
