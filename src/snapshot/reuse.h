/* snapshot/reuse.h - the lookup tables of a snapshot, taken from the one before: most changes leave
 * alone which host and path each route is for, and to find that out takes a fraction of the time
 * that it takes to make the tables. */
#ifndef VF_SNAPSHOT_REUSE_H
#define VF_SNAPSHOT_REUSE_H

#include <stdbool.h>

#include "snapshot/tables.h"

struct vf_snapshot;

/* Returns true when the tables of `old`, whose texts have the same places, are right for `input`,
 * whose routes have their ranks: each route is where it was, under the same hosts and path, and all
 * lists are in order of preference still. */
bool vf_reuse_fits(const struct vf_tables_input *input, const struct vf_snapshot *old);

/* Fills *out with copies of those tables, as vf_tables_init does. Returns 0 or UV_ENOMEM. */
int vf_reuse_tables(const struct vf_snapshot *old, struct vf_tables *out);

#endif
