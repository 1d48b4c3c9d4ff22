/* snapshot/table/set.h - the tables of this process, one place for each kind: what a worker and
 * control have been given, or what control has made itself. Lua looks here through FFI.
 *
 * What a lookup returns is borrowed until the next turn of the loop, when a message may replace the
 * table; callers copy what they keep, so no exchange pins one. */
#ifndef VF_SNAPSHOT_TABLE_SET_H
#define VF_SNAPSHOT_TABLE_SET_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/table/table.h"

/* Takes a table in its place, instead of the one that is there. The descriptors stay the caller's.
 * Returns 0 or what vf_table_open does; UV_EPROTO also when it is another kind: then the place is
 * as it was. */
int vf_table_adopt(uint32_t kind, int generation_fd, int delta_fd);

/* Returns the table of a kind, or NULL while there is none. */
struct vf_table *vf_table_of(uint32_t kind);

/* As vf_table_get; 0 while there is no table. */
int vf_table_find(uint32_t kind, const char *key, size_t key_len, struct vf_str *value);

/* Returns a number that is another whenever the table of a kind may say something else: what was
 * copied from it is good as long as this is the same. Of this process alone; 0: no table yet. */
uint64_t vf_table_stamp(uint32_t kind);

/* Fills *out. Returns 1; 0 while there is no table; UV_ENOMEM. */
int vf_table_figures(uint32_t kind, struct vf_table_stats *out);

/* Closes all. */
void vf_table_set_close(void);

#endif
