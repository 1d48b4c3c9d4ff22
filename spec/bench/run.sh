#!/bin/sh
# Benchmarks VeloFlux beside nginx and HAProxy: `make bench`. See docs/benchmark.md.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/bench
for program in tool send relay; do
    cc -O2 -o build/bench/$program spec/bench/$program.c
done
cc -O2 -o build/bench/handshake spec/bench/handshake.c -lssl -lcrypto
exec build/deps/bin/luajit spec/bench/run.lua "$@"
