#!/bin/sh
# Renews what docs/ has from the schemas: the reference in docs/configuration.md, below its marker.
set -eu
cd "$(dirname "$0")/.."

page=docs/configuration.md
marker='<!-- From here on made by'
new=$(mktemp)
trap 'rm -f "$new"' EXIT
{
    sed "/^$marker/q" "$page"
    echo
    "${VF_BINARY:-build/veloflux}" docs conf
} >"$new"
cat "$new" >"$page"
