/* snapshot/table/writer.h - changing a table: records appended to its delta.
 * A change is begun, gets its records and is published as one: readers see all of it or nothing,
 * and nothing when the writer dies before that. The kernel's record lock on the delta keeps
 * writers apart (control and its successor at an upgrade), and goes with the process that held
 * it. */
#ifndef VF_SNAPSHOT_TABLE_WRITER_H
#define VF_SNAPSHOT_TABLE_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/table/table.h"
#include "snapshot/table/builder.h"

struct vf_change {
    struct vf_table *table;
    uint64_t offset, begun; /* in the delta: where the next record goes, where the first went */
    uint64_t published;     /* before the change */
};

/* Begins a change of a table that is mapped writable. Waits while another process is at it. Returns
 * 0; UV_EPERM when the table is not writable; or another UV_E*. */
int vf_change_begin(struct vf_change *change, struct vf_table *table);

/* Adds a record. Returns 0; UV_ENOSPC when the delta is full; UV_E2BIG. The change stays as it was
 * then. */
int vf_change_put(struct vf_change *change, struct vf_str key, struct vf_str value);
int vf_change_delete(struct vf_change *change, struct vf_str key);

/* Lets readers see it, or forgets it. */
void vf_change_publish(struct vf_change *change);
void vf_change_abort(struct vf_change *change);

/* What stands between a table and a builder. */
struct vf_table_diff {
    uint64_t puts, deletes;
    uint64_t bytes; /* of records in a delta */
};

/* Compares: what would make the content of `table` (NULL: empty) that of `builder`? With `gone`, a
 * builder too, only some entries are told of: what would put all of `builder`, and delete the keys
 * of `gone` that are not in it (the values there mean nothing)? Returns 0 or UV_ENOMEM. */
int vf_table_compare(struct vf_table *table, const struct vf_tableb *builder,
                     const struct vf_tableb *gone, struct vf_table_diff *out);

/* Publishes that difference as one change. Returns 0, UV_ENOSPC when it does not fit, or another
 * UV_E*; then nothing has changed. */
int vf_table_assimilate(struct vf_table *table, const struct vf_tableb *builder,
                        const struct vf_tableb *gone);

/* Adds all entries of `table` to `builder`. Returns 0 or UV_E*. */
int vf_tableb_add_table(struct vf_tableb *builder, struct vf_table *table);

/* Would `bytes` more make the delta more than half full? Then it is time for a new generation. */
bool vf_table_is_crowded(const struct vf_table *table, uint64_t bytes);

#endif
