/* lua/re.h - regular expressions (PCRE2, with JIT where there is one) for Lua. A match limit bounds
 * what a pattern may cost, and so do the sizes here. */
#ifndef VF_LUA_RE_H
#define VF_LUA_RE_H

#include <stddef.h>
#include <stdint.h>

/* Mirrored by lua/veloflux/pdk/re.lua. */
enum vf_re_option {
    VF_RE_CASELESS = 1,
    VF_RE_MULTILINE = 2,
    VF_RE_DOTALL = 4,
    VF_RE_EXTENDED = 8,
    VF_RE_UTF = 16, /* characters instead of bytes */
    VF_RE_ANCHORED = 32,
    VF_RE_SAME_NAMES = 64 /* groups may share a name */
};

enum vf_re_flag {
    VF_RE_NOT_EMPTY = 1, /* no empty match where the search begins: one was found there */
    VF_RE_CHECKED = 2    /* an earlier search found the subject to be UTF-8 */
};

enum { VF_RE_MAX_GROUPS = 127, VF_RE_MAX_PATTERN_BYTES = 64 * 1024 };

struct vf_re;         /* a pattern, compiled */
struct vf_re_matcher; /* what searching needs besides: one serves all patterns of a Lua state */

/* Returns a matcher, owned by the caller, or NULL when out of memory. */
struct vf_re_matcher *vf_re_matcher_new(void);
void vf_re_matcher_free(struct vf_re_matcher *matcher);

/* Compiles a pattern. Returns it, owned by the caller; or NULL, and the message, NUL-terminated, in
 * `error`, and in *offset the byte where it went wrong. */
struct vf_re *vf_re_compile(const char *pattern, size_t len, int options, char *error,
                            size_t error_size, uint32_t *offset);
void vf_re_free(struct vf_re *re);

/* Returns how many groups a pattern has, the whole match not counted. */
int vf_re_groups(const struct vf_re *re);

/* Returns the name at `index` of those a pattern has, in byte order, and its group in *number; NULL
 * when there are no more. Valid as long as the pattern. */
const char *vf_re_name(const struct vf_re *re, uint32_t index, int *number);

/* Searches `subject` (below 2^31 bytes) from the byte `from` on, which is at most `len`. Returns 1
 * and fills `offsets` with start and end of the whole match and every group, -1 for one that took
 * no part; 0 when there is no match; or a negative code of PCRE2. */
int vf_re_search(const struct vf_re *re, struct vf_re_matcher *matcher, const char *subject,
                 size_t len, size_t from, int flags, int32_t offsets[2 * (VF_RE_MAX_GROUPS + 1)]);

/* Writes the message of a code, NUL-terminated. */
void vf_re_message(int code, char *out, size_t size);

#endif
