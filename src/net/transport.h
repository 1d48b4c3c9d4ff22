/* net/transport.h - what may lie between a stream and its socket: an encryption (src/tls). A stream
 * without one is plain and pays a test of a pointer.
 *
 *   closed -> (handshake) -> open -> ended        `is_open` from the end of the handshake on
 *
 * The accepting side shakes hands inside `recv`, which returns UV_EAGAIN until it has content; the
 * connecting side inside `start`, and the stream is `connecting` until that is over. A transport
 * never calls the stream's events: what failed is returned. It reads and writes the socket with the
 * two functions below, which keep the flags of the stream. */
#ifndef VF_NET_TRANSPORT_H
#define VF_NET_TRANSPORT_H

#include <sys/uio.h>

#include "net/stream.h"

struct vf_transport_ops {
    /* Of a connecting stream whose socket stands or became readable: goes on with the handshake.
     * Returns 0 when it is over, VF_PENDING or a negative code. */
    int (*start)(struct vf_stream *stream);
    /* As vf_stream_recv. */
    ssize_t (*recv)(struct vf_stream *stream, char *buffer, size_t len);
    /* Takes bytes of `n` parts, none of which it keeps, and offers them to the kernel. Returns how
     * many it took; or a negative code. What the kernel did not take is kept (`unsent`), and
     * stream->blocked is true then. Without parts only what is kept is offered. */
    ssize_t (*send)(struct vf_stream *stream, const struct iovec *parts, int n);
    /* Says that no more content follows. */
    void (*end)(struct vf_stream *stream);
    /* Another stream has the connection and the transport now (vf_stream_move). */
    void (*moved)(struct vf_stream *stream);
    /* The stream closes, or goes on without it; says the end first when `is_clean`. Frees it. */
    void (*free)(struct vf_stream *stream, bool is_clean);
};

struct vf_transport {
    const struct vf_transport_ops *ops;
    size_t unsent; /* bytes that the kernel has not taken yet */
    bool is_open;  /* the handshake is over */
};

/* recv(2) and send(2) on the stream's socket: the number of bytes, 0 at end of file, UV_EAGAIN or
 * UV_E*. */
ssize_t vf_transport_recv(struct vf_stream *stream, char *buffer, size_t len);
ssize_t vf_transport_send(struct vf_stream *stream, const char *data, size_t len);

#endif
