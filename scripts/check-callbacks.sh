#!/bin/sh
# Fails when Lua could make a C function of a Lua function (an FFI callback) where it must not. LuaJIT makes one of
# any function that meets a C type `pointer to function`, so it is these types that are looked for:
#   lua/, plugins/   none: C enters Lua by resuming, never from inside a call (two structs aside, which C fills in)
#   spec/            casts in support/callbacks.lua alone, declarations in files that require it
set -eu
cd "$(dirname "$0")/.."

pointer='\(\*+ *[a-zA-Z_0-9]*\) *\(|typedef [^;{]*[a-z_0-9]\('
filled_by_c='^lua/veloflux/store/(database|redis/wire)\.lua:[0-9]+:struct vf_(database|redis)_host \{'
complaints=$(
    grep -rnE "$pointer" lua plugins --include='*.lua' | grep -vE "$filled_by_c" |
        sed 's/$/  -- a pointer to a function: the program has no callbacks into Lua/'
    grep -rnE "ffi\.[a-z]+ *\(? *[\"'][^\"']*($pointer)" spec scripts --include='*.lua' |
        grep -vE '^spec/support/callbacks\.lua:|: *ffi\.cdef' |
        sed 's/$/  -- callbacks are made by support.callbacks/'
    grep -rlE "$pointer" spec scripts --include='*.lua' | while read -r file; do
        grep -q 'require "support.callbacks"' "$file" || [ "$file" = spec/support/callbacks.lua ] ||
            echo "$file:1: declares a pointer to a function and does not require support.callbacks"
    done
)
[ -z "$complaints" ] || { printf '%s\n' "$complaints"; exit 1; }
