#!/bin/sh
# Prints the C source that embeds the files named on standard input (one path per line, below lua/
# or plugins/), as src/lua/embedded.h describes. The assembler reads the files (.incbin), so the
# output is small and compiles at once; *.md files are documentation and stay out.
set -eu

LC_ALL=C awk '
    /^$/ || /\.md$/ { next } # an empty list is one empty line
    {
        name = $0
        sub(/^lua\//, "", name)
        sub(/^plugins\//, "veloflux/plugins/", name)
        if (name ~ /\.lua$/) {
            sub(/\.lua$/, "", name)
            sub(/\/init$/, "", name)
            gsub(/\//, ".", name)
        } else {
            name = "asset:" name
        }
        print name "\t" $0
    }' | LC_ALL=C sort | LC_ALL=C awk -F'\t' '
    BEGIN { print "/* Made by scripts/embed.sh. */\n#include \"lua/embedded.h\"\n" }
    {
        printf "__asm__(\".pushsection .rodata\\nvf_embed_%d:\\n.incbin \\\"%s\\\"\\n\"\n", NR, $2
        printf "        \"vf_embed_%d_end:\\n.byte 0\\n.popsection\\n\");\n", NR
        printf "extern const char vf_embed_%d[] __attribute__((visibility(\"hidden\")));\n", NR
        command = "wc -c <\"" $2 "\""
        command | getline size
        close(command)
        rows = rows sprintf("    {\"%s\", vf_embed_%d, %d},\n", $1, NR, size)
    }
    END {
        printf "\nconst struct vf_embedded vf_embedded_lua[] = {\n%s    {NULL, NULL, 0},\n};\n", rows
        printf "const size_t vf_embedded_lua_count = %d;\n", NR
    }'
