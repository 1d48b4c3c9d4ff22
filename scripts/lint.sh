#!/bin/bash
# Style and layers: luacheck, clang-format, widths, the arrows between the folders of src/.
# Prints every complaint and exits 1 when there was one.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0

mapfile -t lua_paths < <(for path in lua plugins spec scripts; do [ -e $path ] && echo $path; done)
mkdir -p build
find "${lua_paths[@]}" -name '*.lua' -print0 |
    xargs -0 -P "$(nproc)" -n 250 luacheck --quiet --codes || status=1

mapfile -t c_files < <(find src spec scripts -name '*.[ch]' | sort)
# Versions disagree about casts and macros: the one of Debian 12 decides.
case $(clang-format --version) in
*"version 14."*) clang-format --dry-run -Werror "${c_files[@]}" || status=1 ;;
*) echo "lint: the C style is checked with clang-format 14 only" ;;
esac
awk 'length($0) > 100 { print FILENAME ":" FNR ": " length($0) " columns, at most 100"; bad = 1 }
     END { exit bad }' "${c_files[@]}" || status=1

scripts/check-layers.sh || status=1
scripts/check-callbacks.sh || status=1

mapfile -t shell_files < <(ls scripts/*.sh docker/*.sh .ci/run 2>/dev/null)
for file in "${shell_files[@]}"; do bash -n "$file" || status=1; done

if [ $status = 0 ]; then echo "lint: clean"; fi
exit $status
