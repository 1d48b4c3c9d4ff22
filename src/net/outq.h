/* net/outq.h - what a stream has still to send: bytes that were copied, and behind them slices of
 * borrowed memory. Made and kept in the free list of the net, whose buffered_bytes counts what was
 * copied. For net/stream_output.c, on the way of every message: the short parts are inline. */
#ifndef VF_NET_OUTQ_H
#define VF_NET_OUTQ_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "net/stream.h"

enum {
    VF_OUTQ_SLICES = 64, /* of one writev */
    VF_OUTQ_SPARE = 64   /* kept in the free list */
};

/* Order on the wire: buffer[begin .. end), then the slices. */
struct vf_outq {
    struct vf_outq *next;
    int n_slices;
    struct iovec slices[VF_OUTQ_SLICES];
    size_t slice_bytes;
    char *buffer;
    size_t begin, end, size;
};

/* Makes one; vf_outq_take is for callers. Returns NULL when out of memory. */
struct vf_outq *vf_outq_new(void);
void vf_outq_free(struct vf_outq *out);

/* Frees the free list. */
void vf_outq_free_spare(struct vf_net *net);

/* Copies the slices behind what is buffered: the borrowed memory is about to go. Returns 0 or
 * UV_ENOMEM. */
int vf_outq_keep_slices(struct vf_outq *out, struct vf_net *net);

/* Returns an empty one, or NULL when out of memory. */
static inline struct vf_outq *vf_outq_take(struct vf_net *net)
{
    struct vf_outq *out = net->spare;
    if (out == NULL)
        return vf_outq_new();
    net->spare = out->next;
    net->n_spare--;
    return out;
}

/* Takes one back; what it holds is dropped. */
static inline void vf_outq_give(struct vf_net *net, struct vf_outq *out)
{
    net->buffered_bytes -= out->end - out->begin;
    out->n_slices = 0;
    out->slice_bytes = out->begin = out->end = 0;
    if (net->n_spare >= VF_OUTQ_SPARE || out->size > VF_NET_READ_BYTES) {
        vf_outq_free(out);
        return;
    }
    out->next = net->spare;
    net->spare = out;
    net->n_spare++;
}

/* Returns how much is to be sent. */
static inline size_t vf_outq_bytes(const struct vf_outq *out)
{
    return out->end - out->begin + out->slice_bytes;
}

/* Adds a slice; there is room: n_slices is below VF_OUTQ_SLICES. */
static inline void vf_outq_add(struct vf_outq *out, struct vf_str slice)
{
    out->slices[out->n_slices++] = (struct iovec){(void *)(uintptr_t)slice.data, slice.len};
    out->slice_bytes += slice.len;
}

/* Takes `n` sent bytes off the front: first the buffer, then slices. */
static inline void vf_outq_drop(struct vf_outq *out, struct vf_net *net, size_t n)
{
    size_t buffered = out->end - out->begin, first = n < buffered ? n : buffered;
    out->begin += first;
    net->buffered_bytes -= first;
    n -= first;
    if (n == out->slice_bytes) { /* the usual case: all of it */
        out->n_slices = 0;
        out->slice_bytes = 0;
        return;
    }
    out->slice_bytes -= n;
    int i = 0;
    while (i < out->n_slices && n >= out->slices[i].iov_len)
        n -= out->slices[i++].iov_len;
    if (i < out->n_slices && n > 0) {
        out->slices[i].iov_base = (char *)out->slices[i].iov_base + n;
        out->slices[i].iov_len -= n;
    }
    if (i > 0)
        memmove(out->slices, out->slices + i, (size_t)(out->n_slices - i) * sizeof(out->slices[0]));
    out->n_slices -= i;
}

/* Fills VF_OUTQ_SLICES + 1 parts with all that is queued; returns their number. */
static inline size_t vf_outq_list(const struct vf_outq *out, struct iovec *parts)
{
    size_t n = 0;
    if (out->end > out->begin)
        parts[n++] = (struct iovec){out->buffer + out->begin, out->end - out->begin};
    memcpy(parts + n, out->slices, (size_t)out->n_slices * sizeof(parts[0]));
    return n + (size_t)out->n_slices;
}

#endif
