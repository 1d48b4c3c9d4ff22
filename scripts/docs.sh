#!/bin/sh
# Renews what docs/ has from the sources: the references in docs/configuration.md and docs/api.md, below their
# markers, from the schemas and declarations; docs/plugins/api.md from the annotations of the plugin API; the examples that other
# pages of docs/plugins show; docs/plugins/reference from the schemas of the shipped plugins.
set -eu
cd "$(dirname "$0")/.."

marker='<!-- From here on made by'
new=$(mktemp)
trap 'rm -f "$new"' EXIT

# Renews the page $1 below its marker: what `veloflux docs $2` prints.
renew() {
    {
        sed "/^$marker/q" "$1"
        echo
        "${VF_BINARY:-build/veloflux}" docs "$2"
    } >"$new"
    cat "$new" >"$1"
}
renew docs/configuration.md conf
renew docs/api.md api

multiarch=$("${CC:-cc}" -print-multiarch)
LUA_PATH="./lua/?.lua;./lua/?/init.lua;./build/deps/share/luajit-2.1/?.lua" \
LUA_CPATH="/usr/lib/$multiarch/lua/5.1/?.so" \
    build/deps/bin/luajit scripts/pdk_reference.lua >"$new"
cat "$new" >docs/plugins/api.md
build/deps/bin/luajit scripts/docs_examples.lua docs/plugins/*.md

# A page for each shipped plugin; those of plugins that are gone go, too.
rm -f docs/plugins/reference/*.md
mkdir -p docs/plugins/reference
"${VF_BINARY:-build/veloflux}" plugin docs --all --to docs/plugins/reference >/dev/null
