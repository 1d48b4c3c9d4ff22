#!/bin/sh
# Installs what specs take from npm, into build/npm, where there is an npm; specs that miss it are pending.
set -eu
cd "$(dirname "$0")/.."

command -v npm >/dev/null || { echo "there is no npm here: specs that need packages of it are pending" && exit 0; }
npm install --prefix build/npm --no-audit --no-fund --ignore-scripts --silent @grpc/grpc-js@1.14.7
