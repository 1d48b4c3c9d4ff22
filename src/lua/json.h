/* lua/json.h - JSON (RFC 8259) for Lua: a text as one flat array of nodes, which Lua turns into
 * tables, and the leaves of a text that Lua writes. Strict: what two parsers could read differently
 * (bytes that are no UTF-8, lone surrogates, control characters, numbers beyond a double) is
 * refused. Names that occur twice are found by Lua, which has the tables. */
#ifndef VF_LUA_JSON_H
#define VF_LUA_JSON_H

#include <stddef.h>
#include <stdint.h>

enum { VF_JSON_MAX_DEPTH = 1000, VF_JSON_NUMBER_BYTES = 32 };

/* Mirrored by lua/veloflux/pdk/json.lua. */
enum vf_json_kind {
    VF_JSON_NULL = 0,
    VF_JSON_FALSE,
    VF_JSON_TRUE,
    VF_JSON_NUMBER,
    VF_JSON_SIGNED,   /* an integer that a double has not exactly, as int64_t */
    VF_JSON_UNSIGNED, /* the same, as uint64_t */
    VF_JSON_STRING,
    VF_JSON_NAME, /* of the member whose value follows */
    VF_JSON_OBJECT,
    VF_JSON_ARRAY,
    VF_JSON_END /* of the innermost object or array */
};

struct vf_json_node { /* read by Lua */
    union {
        double number;
        int64_t integer;
        const char *text; /* of strings and names, `len` bytes: in the source, or in the reader */
    } value;
    uint32_t len;
    uint32_t at; /* offset in the source */
    uint32_t kind;
    uint32_t unused;
};

struct vf_json { /* read by Lua; what a reader knows besides is its own */
    const struct vf_json_node *nodes;
    const char *error; /* static memory */
    uint32_t error_at; /* offset of the byte where it went wrong */
};

/* Returns a reader, owned by the caller, or NULL when out of memory. It keeps its memory, up to a
 * bound, from one text to the next. */
struct vf_json *vf_json_new(void);
void vf_json_free(struct vf_json *json);

/* Reads a text of at most 2^30 bytes with a NUL behind it. `exact` not 0: integers between 2^53 and
 * 2^64 come as SIGNED and UNSIGNED. Returns how many nodes there are, which are valid until the
 * next call and as long as the text; or UV_EINVAL with error and error_at set, UV_ENOMEM. */
int vf_json_read(struct vf_json *json, const char *text, size_t len, int max_depth, int exact);

/* Returns 1 when the text can stand between quotes as it is. */
int vf_json_is_plain(const char *text, size_t len);

/* Writes the text as a JSON string with its quotes: at most 6 * len + 2 bytes. Returns the bytes
 * written; -1 - offset of the first byte that is not UTF-8, which with `repair` becomes U+FFFD. */
int vf_json_quote(const char *text, size_t len, char *out, int repair);

/* Writes a finite number in the fewest digits that give the same double, in the form of ECMAScript
 * (RFC 8785 section 3.2.2.3). Returns the bytes written. */
int vf_json_number(double number, char out[VF_JSON_NUMBER_BYTES]);

#endif
