/* base/spool.h - bytes that come piece by piece and are too many for memory: a file without a name,
 * mapped or read when it is whole. It goes with its owner, and with the process whatever happens.
 * Of each kind there are at most VF_SPOOLS at a time in a process, so that who reads slowly what we
 * have for him keeps neither others from sending nor the process from its own work. */
#ifndef VF_BASE_SPOOL_H
#define VF_BASE_SPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

enum { VF_SPOOLS = 4 };

enum vf_spool_kind {
    VF_SPOOL_IN = 0, /* content of requests */
    VF_SPOOL_OUT,    /* what is sent */
    VF_SPOOL_OWN     /* what nobody waits for who might be slow */
};

struct vf_spool;

/* Makes an empty one in `folder`. Stores it in *out, owned by the caller. Returns 0; -EBUSY when
 * there are VF_SPOOLS of the kind already, or another -errno. */
int vf_spool_new(const char *folder, enum vf_spool_kind kind, struct vf_spool **out);

/* The same of a file that is there, to be sent or read: of kind VF_SPOOL_OUT. It may be changed or
 * deleted meanwhile. Returns also -EINVAL for what is no regular file. */
int vf_spool_open(const char *path, struct vf_spool **out);

/* Appends. Returns 0 or -errno (-ENOSPC: the disk is full); then it is of no more use. */
int vf_spool_write(struct vf_spool *spool, const char *data, size_t len);

/* How many bytes it has. */
uint64_t vf_spool_len(const struct vf_spool *spool);

/* Reads up to `len` bytes from `offset` on. Returns how many, 0 at the end, or -errno. */
ssize_t vf_spool_read(struct vf_spool *spool, uint64_t offset, char *out, size_t len);

/* Maps what was written; nothing is written afterwards. The bytes in *out live as long as the
 * spool. Not for one of vf_spool_open: others may cut its file short. Returns 0 or -errno. */
int vf_spool_map(struct vf_spool *spool, struct vf_str *out);

/* Accepts NULL. */
void vf_spool_free(struct vf_spool *spool);

#endif
