/* lua/json_escape.h - the escapes of JSON strings (RFC 8259 section 7) to the UTF-8 that they stand
 * for. */
#ifndef VF_LUA_JSON_ESCAPE_H
#define VF_LUA_JSON_ESCAPE_H

/* Writes what the escape whose backslash is at `at` stands for to *out, which it moves on: at most
 * 4 bytes, and never more than the escape has. Returns the end of the escape; NULL when it is none,
 * or half of a surrogate pair alone. */
const char *vf_json_unescape(const char *at, const char *end, char **out);

#endif
