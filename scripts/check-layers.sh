#!/bin/sh
# Fails when an include under src/ points upward, or sideways between two processes:
#   base <- net <- tls <- http <- snapshot <- proxy <- lua <- worker, control, kit, checker, supervisor <- main.c
# checker stands on proxy and supervisor on snapshot: neither may know Lua.
# lua/embedded.h is data of the build, but Lua all the same.
set -eu
cd "$(dirname "$0")/.."

grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' src --include='*.[ch]' | awk '
    BEGIN {
        count = split("base net tls http snapshot proxy lua", order, " ")
        for (i = 1; i <= count; i++) rank[order[i]] = i
        reach["worker"] = reach["control"] = reach["kit"] = rank["lua"] # the highest layer that each process may use
        reach["checker"] = rank["proxy"]
        reach["supervisor"] = rank["snapshot"]
    }
    {
        split($0, part, ":")
        file = part[1]
        split(file, path, "/")
        from = path[2]
        match($0, /"[^"]+"/)
        target = substr($0, RSTART + 1, RLENGTH - 2)
        if (from == "main.c") next
        if (target !~ /\//) {
            complain("write the include from src/ on: \"" from "/" target "\"")
            next
        }
        split(target, goal, "/")
        to = goal[1]
        if (from == to) next
        limit = (from in rank) ? rank[from] : reach[from]
        if (limit == "") complain("the folder src/" from " has no place among the layers")
        else if (!(to in rank)) complain(from " may not know " to)
        else if (rank[to] > limit) complain(from " may not know " to ": arrows point down")
    }
    function complain(what) {
        print file ":" part[2] ": " what
        bad = 1
    }
    END { exit bad }'
