/* lua/yaml.h - YAML (and so JSON) as a flat array of nodes that Lua walks through FFI.
 * One call parses a whole text, so 10,000 routes are a few milliseconds of C and no Lua objects.
 * Aliases are resolved (they share the children of what they name); tags, merge keys, several
 * documents, keys that are not scalars, and what is deeper, larger or expands further than the
 * limits below are refused with a message. Scalars are not typed: the schema does that.
 * The syntax is YAML 1.1 as libyaml reads it. */
#ifndef VF_LUA_YAML_H
#define VF_LUA_YAML_H

#include <stddef.h>
#include <stdint.h>

enum {
    VF_YAML_MAX_DEPTH = 64,
    VF_YAML_MAX_BYTES = 64 * 1024 * 1024,
    VF_YAML_MAX_ANCHORS = 64 * 1024,
    VF_YAML_MAX_NODES = 8 * 1024 * 1024 /* aliases counted with all that they stand for */
};

enum vf_yaml_kind { VF_YAML_SCALAR = 0, VF_YAML_LIST, VF_YAML_MAP };

enum vf_yaml_flags {
    VF_YAML_NULL = 1,   /* plain and empty, ~, null, Null or NULL */
    VF_YAML_QUOTED = 2, /* a quoted or block scalar */
    VF_YAML_DOLLAR = 4  /* has "${" */
};

struct vf_yaml_node {
    uint32_t kind;         /* enum vf_yaml_kind */
    uint32_t flags;        /* enum vf_yaml_flags, of scalars */
    uint32_t line, column; /* from 1 */
    uint32_t text;         /* scalar: offset in the texts */
    uint32_t len;          /* scalar: bytes; list: elements; map: pairs */
    uint32_t first; /* list, map: index of the first child, 0: none. Map: key, value, key, ... */
    uint32_t next;  /* index of the next sibling, 0: none */
};

struct vf_yaml {
    struct vf_yaml_node *nodes; /* the root is nodes[0] */
    char *texts;
    uint32_t n_nodes; /* 0 when there is an error */
    uint32_t error_line, error_column;
    char error[256]; /* NUL-terminated; empty: parsed */
};

/* Parses `len` bytes. An empty text is one null scalar. Returns the result, owned by the caller,
 * with `error` set when the text is refused; NULL when out of memory. */
struct vf_yaml *vf_yaml_parse(const char *data, size_t len);
void vf_yaml_free(struct vf_yaml *yaml);

#endif
