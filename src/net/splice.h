/* net/splice.h - moves bytes from one plain socket to another without copying them (splice(2)).
 * Worth its pipe and extra calls for large bodies only: -20 % CPU at 1 MiB, a loss at 1 KiB. */
#ifndef VF_NET_SPLICE_H
#define VF_NET_SPLICE_H

#include "net/stream.h"

enum { VF_SPLICE_MIN_BYTES = 256 * 1024 };

/* A pipe between two streams. Owned by who took it. */
struct vf_splice {
    struct vf_splice *next; /* in the free list */
    int ends[2];            /* read, write */
    size_t held;            /* bytes in the pipe */
};

/* Returns an empty pipe, or NULL when there is none to be had: copy then. */
struct vf_splice *vf_splice_take(struct vf_net *net);

/* Gives a pipe back; one that still holds bytes is closed. NULL is left alone. */
void vf_splice_give(struct vf_net *net, struct vf_splice *splice);

/* Moves at most `len` bytes from `from` into the pipe. Returns their number, 0 at end of file,
 * UV_EAGAIN (from->readable is false then) or UV_E*. */
ssize_t vf_splice_fill(struct vf_splice *splice, struct vf_stream *from, size_t len);

/* Moves what the pipe holds to `to`, which has no output queued. Returns the number of bytes moved,
 * which is less than held when `to` is blocked (on_drained follows), or UV_E*. `more` tells that
 * bytes will follow soon. */
ssize_t vf_splice_drain(struct vf_splice *splice, struct vf_stream *to, bool more);

/* Closes the pipes of the free list. */
void vf_splice_trim(struct vf_net *net);

#endif
