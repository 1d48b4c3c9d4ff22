#!/bin/sh
# Benchmarks VeloFlux beside nginx and HAProxy: `make bench`. See docs/benchmark.md.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/bench
cc -O2 -o build/bench/tool spec/bench/tool.c
exec build/deps/bin/luajit spec/bench/run.lua "$@"
