/* snapshot/extract.h - copies of a snapshot without its secrets, for the processes that serve no
 * client: the supervisor and the checker. A copy is a snapshot itself, with the same records under
 * the same indexes, but for routes and their tables, which it has not; what is secret are empty
 * texts there, and holes where the bytes stood.
 *
 * Secret are the keys of certificates, configurations and sources of plugins, values of header
 * field edits and of conditions, and the key of sticky cookies. A health check of a backend that
 * wants to see a certificate cannot do without its key, so the checker's copy has these keys.
 *
 * The copies are read from the file piece by piece, around keys and sources: whoever makes them
 * never has a byte of a left out key in its own memory. Short secrets are wiped once read. */
#ifndef VF_SNAPSHOT_EXTRACT_H
#define VF_SNAPSHOT_EXTRACT_H

#include <stddef.h>

struct vf_extract {
    int bare_fd;    /* sealed memfd without any secret; owned by the caller */
    int checker_fd; /* the same with the keys that health checks need; owned by the caller */
};

/* Copies the snapshot in the sealed memfd `fd`. What it copies may be broken as what it was made
 * of: who opens it checks. Returns 0; -errno; or UV_EINVAL when it is no snapshot of this build,
 * with the reason in `fault` (at most `fault_size` bytes, NUL-terminated; else left empty). */
int vf_extract_make(int fd, struct vf_extract *out, char *fault, size_t fault_size);

#endif
