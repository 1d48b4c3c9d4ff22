/* snapshot/assembly.h - puts the parts of a builder together: one block, in a sealed memfd that is
 * handed to other processes as it is. */
#ifndef VF_SNAPSHOT_ASSEMBLY_H
#define VF_SNAPSHOT_ASSEMBLY_H

#include <stdint.h>

struct vf_snapb;

/* Lays out a builder, whose tables are made, as `version`, in builder->fd, `data` and `size`. The
 * records are freed. Returns 0 or a negative code of the system, UV_ENOMEM among them. */
int vf_assembly_make(struct vf_snapb *builder, uint64_t version);

#endif
