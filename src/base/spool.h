/* base/spool.h - bytes that come piece by piece and are too many for memory: a file without a name,
 * mapped when it is whole. It goes with its owner, and with the process whatever happens. At most
 * VF_SPOOLS at a time in a process. */
#ifndef VF_BASE_SPOOL_H
#define VF_BASE_SPOOL_H

#include <stddef.h>

#include "base/str.h"

enum { VF_SPOOLS = 4 };

struct vf_spool;

/* Makes an empty one in `folder`. Stores it in *out, owned by the caller. Returns 0; -EBUSY when
 * there are VF_SPOOLS already, or another -errno. */
int vf_spool_new(const char *folder, struct vf_spool **out);

/* Appends. Returns 0 or -errno (-ENOSPC: the disk is full); then it is of no more use. */
int vf_spool_write(struct vf_spool *spool, const char *data, size_t len);

/* Maps what was written; nothing is written afterwards. The bytes in *out live as long as the
 * spool. Returns 0 or -errno. */
int vf_spool_map(struct vf_spool *spool, struct vf_str *out);

/* Accepts NULL. */
void vf_spool_free(struct vf_spool *spool);

#endif
