#!/bin/bash
# Makes a bare Debian below DIR, the way a fresh machine or an image starts: for checks only.
#   scripts/debian-root.sh SUITE DIR        (as root; needs debootstrap)
# Packages come from the mirror that this machine's apt is configured for. The bare system is kept
# in build/roots/SUITE.tar, so a second root of the same suite takes a second.
set -euo pipefail

suite=$1 dir=$2
cd "$(dirname "$0")/.."
cache=build/roots/$suite.tar
[ "$(id -u)" = 0 ] || { echo "debian-root: needs root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "debian-root: needs the package debootstrap" >&2; exit 1; }

if [ ! -e "$cache" ]; then
    mirror=$(apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
        awk -F'|' '$1 == "Debian" { print $2; exit }')
    [ -n "$mirror" ] || { echo "debian-root: apt names no Debian mirror: run apt-get update" >&2; exit 1; }
    mkdir -p build/roots
    rm -rf "build/roots/$suite"
    debootstrap --variant=minbase "$suite" "build/roots/$suite" "$mirror" >"build/roots/$suite.log" 2>&1 ||
        { tail -n 20 "build/roots/$suite.log" >&2; exit 1; }
    tar -C "build/roots/$suite" -cf "$cache.part" .
    mv "$cache.part" "$cache"
    rm -rf "build/roots/$suite"
fi
mkdir -p "$dir"
tar -C "$dir" -xf "$cache"
cp -L /etc/resolv.conf "$dir/etc/resolv.conf"
cp /etc/hosts "$dir/etc/hosts"
