#!/usr/bin/env bash
# Tries what a user does with a version that is published, without publishing it: the module as a proxy would have it, of the commit that is checked
# out, and in fresh modules and caches of modules "go install …@VERSION", "go get", a program of three lines, and the list of what it depends on.
#
#   deploy/release/proxy.sh
set -euo pipefail
cd "$(dirname "$0")"
module=github.com/vitago/vitago version=v0.0.1
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

git clone -q "$(git rev-parse --show-toplevel)" "$dir/clone"
go run ./proxy "$dir/clone" "$dir/proxy" "$module" "$version"
export GOPROXY="file://$dir/proxy,$(go env GOPROXY)" GONOSUMDB=$module GOFLAGS=-modcacherw CGO_ENABLED=0

GOBIN=$dir/bin go install "$module/cmd/vitago@$version"
"$dir/bin/vitago" version | grep -q "vitago *$version" || { echo "proxy.sh: vitago version is not $version" >&2; exit 1; }
"$dir/bin/vitago" demo | head -3

mkdir "$dir/own"
cd "$dir/own"
go mod init example.com/own 2>/dev/null
cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/vitago/vitago/converter"
	_ "github.com/vitago/vitago/demo"
)

func main() {
	model, err := converter.Load("builtin:demo")
	if err != nil {
		panic(err)
	}
	fmt.Println(model.Config.Width, model.Config.EmbedDim)
}
GO
go get "$module/converter@$version" 2>/dev/null
go mod tidy
go run .

sed -i 's/\t_ "github.com\/vitago\/vitago\/demo"//; s/builtin:demo/model/' main.go
go mod tidy
echo "modules that a program with converter and clipvit compiles:"
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}' . | sort -u
