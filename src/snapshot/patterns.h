/* snapshot/patterns.h - compiled regular expressions, made on first use and kept by their text.
 * PCRE2 on bytes (no UTF mode), with JIT where there is one. A match limit bounds what a pattern
 * may cost; a pattern that cannot be compiled matches nothing. One per process and thread. */
#ifndef VF_SNAPSHOT_PATTERNS_H
#define VF_SNAPSHOT_PATTERNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct vf_patterns;

/* Returns an empty set, owned by the caller, or NULL when out of memory. */
struct vf_patterns *vf_patterns_new(void);
void vf_patterns_free(struct vf_patterns *patterns);

/* Matches `pattern` anywhere in `subject`. Returns 0 when it does not match, else the number of
 * groups set, the whole match included, at most VF_PATTERN_GROUPS. *offsets is set then, valid
 * until the next call: start and end of each group, SIZE_MAX for one that did not take part. */
int vf_patterns_match(struct vf_patterns *patterns, struct vf_str pattern, struct vf_str subject,
                      const size_t **offsets);

enum { VF_PATTERN_GROUPS = 10 };

/* Marks `pattern` as in use, when it is compiled. */
void vf_patterns_mark(struct vf_patterns *patterns, struct vf_str pattern);

/* Drops the patterns that were not marked since the last sweep. */
void vf_patterns_sweep(struct vf_patterns *patterns);

/* Matches given up at the limit so far. */
uint64_t vf_patterns_limit_hits(const struct vf_patterns *patterns);

/* Returns the number of compiled patterns. */
size_t vf_patterns_count(const struct vf_patterns *patterns);

#endif
