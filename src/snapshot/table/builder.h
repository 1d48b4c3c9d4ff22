/* snapshot/table/builder.h - makes the generation of a table: entries in any order, then a sealed
 * memfd. Of two entries with the same key the later counts. A builder can be compared with a table
 * (snapshot/table/writer.h), so that what says the same as before is not made. */
#ifndef VF_SNAPSHOT_TABLE_BUILDER_H
#define VF_SNAPSHOT_TABLE_BUILDER_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "snapshot/table/table.h"

struct vf_tableb;

/* Makes an empty builder with a random hash key. Returns NULL when out of memory. */
struct vf_tableb *vf_tableb_new(void);

/* Frees it; NULL is left alone. */
void vf_tableb_free(struct vf_tableb *builder);

/* Adds an entry; the bytes are copied. Returns 0; UV_E2BIG for a key or value beyond
 * VF_TABLE_KEY_BYTES and VF_TABLE_VALUE_BYTES, or 16 GiB together; UV_ENOMEM. */
int vf_tableb_add(struct vf_tableb *builder, const char *key, size_t key_len, const char *value,
                  size_t value_len);

/* Returns 1 and sets *value, borrowed until the next add; or 0. */
int vf_tableb_get(const struct vf_tableb *builder, struct vf_str key, struct vf_str *value);

/* Calls `visit` for every entry, as vf_table_each. */
int vf_tableb_each(const struct vf_tableb *builder, vf_table_visit visit, void *owner);

/* Returns how many keys there are. */
uint64_t vf_tableb_count(const struct vf_tableb *builder);

/* Writes the generation of table `kind` with the number `sequence`, and an empty delta to it. Their
 * descriptors, owned by the caller, go to fds[0] and fds[1]. The builder stays as it is. Returns 0,
 * UV_ENOMEM or another UV_E*. */
int vf_tableb_finish(const struct vf_tableb *builder, uint32_t kind, uint64_t sequence, int fds[2]);

#endif
