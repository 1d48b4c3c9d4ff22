/* base/shm.h - memory that processes share: memfds, sealed when they are immutable. */
#ifndef VF_BASE_SHM_H
#define VF_BASE_SHM_H

#include <stddef.h>

struct iovec;

/* Creates a memfd called `name` of `size` bytes (zeros, close-on-exec) and maps it read-write.
 * Returns the descriptor, owned by the caller, and stores the mapping in *map; or -errno. Pages
 * cost memory only when they are touched. */
int vf_shm_create(const char *name, size_t size, void **map);

/* Creates a memfd called `name` with a copy of `size` bytes at `data`, sealed against any further
 * change (F_SEAL_WRITE, GROW, SHRINK, SEAL). Returns the descriptor or -errno. */
int vf_shm_create_sealed(const char *name, const void *data, size_t size);

/* The same with copies of `n` pieces, one behind the other. They are used up: both fields of each
 * change. */
int vf_shm_gather(const char *name, struct iovec *pieces, size_t n);

/* Maps `fd` entirely, read-only unless `writable`. Stores its size in *size. Returns the mapping or
 * NULL with errno set. A read-only mapping is refused (EPERM) unless the memfd is sealed against
 * writing and shrinking, so that what was validated can neither change nor go afterwards. */
void *vf_shm_map(int fd, int writable, size_t *size);

/* Maps `fd` entirely for reading what somebody else writes. The caller makes sure that it cannot
 * shrink. As vf_shm_map otherwise. */
void *vf_shm_map_shared(int fd, size_t *size);

/* Seals a memfd that nobody has mapped for writing, nor has a descriptor of but the caller, against
 * any further change. Where the kernel does not let go of its pages `fd` becomes that of a copy.
 * Returns 0 or -errno. */
int vf_shm_seal(int fd);

/* Fixes the size of a memfd that is written to. Returns 0 or -errno. */
int vf_shm_fix_size(int fd);

void vf_shm_unmap(void *map, size_t size);

#endif
