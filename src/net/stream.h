/* net/stream.h - a connected socket with an output queue: write first, queue only what did not fit.
 * Output is added as slices of borrowed memory and leaves at once when the current turn of events
 * is over (vf_net_flush); what the kernel does not take is copied then, so borrowed memory needs to
 * live until that flush only. Who frees or changes it earlier flushes first; what goes in the
 * owner's after_events hook (net/reactor.h) is safe. Idle streams own no buffers.
 * What is below, a plain socket or an encryption on it (net/transport.h), is hidden here. */
#ifndef VF_NET_STREAM_H
#define VF_NET_STREAM_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/str.h"
#include "net/reactor.h"

enum {
    VF_NET_READ_BYTES = 256 * 1024,
    VF_NET_SMALL_READ_BYTES = 8 * 1024, /* while unsent bytes fill the budget */
    VF_NET_ROOM_BYTES = 512             /* free in front of what was read: for a longer head */
};

struct vf_splice;
struct vf_outq; /* slices and unsent bytes of one stream */
struct vf_stream;
struct vf_transport;

/* What the streams of a process share. Embedded in its owner. */
struct vf_net {
    struct vf_reactor *reactor;
    struct vf_stream *dirty; /* have output that was not offered to the kernel yet */
    struct vf_outq *spare;   /* free list */
    unsigned n_spare;
    struct vf_splice *spare_pipes; /* net/splice.h */
    unsigned n_spare_pipes;
    uint64_t buffered_bytes; /* unsent, copied: bounded by max_buffered_bytes */
    uint64_t max_buffered_bytes;
    char *scratch; /* small pieces that live until the next flush */
    size_t scratch_used;
    char *read_buffer;   /* shared by all reads */
    size_t read_used;    /* bytes of it that slices may point into */
    size_t gathered;     /* bytes of it that have input of streams that has_gathered */
    unsigned n_gathered; /* those streams */
    char *last_read;     /* where what was read last begins */
    char *used_up;       /* see vf_net_used_up: from here .. */
    char *used_up_end;   /* .. to here; NULL: nothing */
    char *joined;        /* short slices, to be sent in one piece */
};

/* Events of a stream, the same for all of one kind. */
struct vf_stream_events {
    void (*on_connected)(struct vf_stream *stream); /* a connecting one; NULL for accepted ones */
    void (*on_readable)(struct vf_stream *stream);  /* read until short, or stop: see `readable` */
    void (*on_drained)(struct vf_stream *stream);   /* everything queued was sent, after a wait */
    void (*on_failed)(struct vf_stream *stream, int error); /* a write failed: UV_E* */
    /* Asked when input has come, before the turn of events in which on_readable follows: true when
     * that will read at once, whatever happens before in the turn, unless the stream is closed. It
     * is received then already, together with that of others. NULL: never. */
    bool (*will_read)(const struct vf_stream *stream);
    enum vf_io_rank rank; /* of struct vf_io, to begin with */
};

struct vf_stream {
    struct vf_io io; /* first member */
    struct vf_net *net;
    const struct vf_stream_events *events;
    struct vf_outq *out;            /* NULL: nothing queued */
    struct vf_transport *transport; /* owned; NULL: the socket itself */
    struct vf_stream *next_dirty;
    uint64_t bytes_out;   /* taken from the queue, before any encryption */
    uint32_t gathered_at; /* where in the shared buffer its input is, when has_gathered */
    int32_t gathered;     /* bytes of it, or what else receiving came to */
    bool has_gathered;    /* its input of this turn was received, and not read yet */
    bool gathered_all;    /* nothing was left to be received then */
    bool is_dirty;
    bool yielded;    /* on_readable is due even without an event */
    bool readable;   /* there may be input that was not read yet */
    bool hung_up;    /* the peer's end of file was announced: read up to it */
    bool broken;     /* reset, or closed without our doing: nothing can be sent any more */
    bool blocked;    /* the kernel's buffer is full: on_drained follows */
    bool shut;       /* shutdown(SHUT_WR) when drained */
    bool connecting; /* output waits for the connection, its handshake included */
};

/* A stream that failed or was closed must not be freed within the event: its memory goes in the
 * owner's after_events hook. */

/* Prepares what the streams of `reactor` share. Returns 0 or UV_ENOMEM. */
int vf_net_init(struct vf_net *net, struct vf_reactor *reactor, uint64_t max_buffered_bytes);
void vf_net_deinit(struct vf_net *net);

/* Offers all queued output to the kernel. Called after every turn of events. */
void vf_net_flush(struct vf_net *net);

/* Returns `size` bytes (at most 1024) that live until the next flush; may flush first. */
char *vf_net_scratch(struct vf_net *net, size_t size);

/* Returns how much to read at once. When unsent bytes fill the budget it is little, so that those
 * who can pass bytes on still do: readers that stand still, and hold the budget, do not stop the
 * others. What is held is bounded by the budget, what is read in a turn, and two small reads for
 * each stream. */
static inline size_t vf_net_read_size(const struct vf_net *net)
{
    return net->buffered_bytes >= net->max_buffered_bytes ? VF_NET_SMALL_READ_BYTES
                                                          : VF_NET_READ_BYTES;
}

/* The bytes `start` .. `end` of what vf_stream_read gave last are not needed any more: a head that
 * was copied. What is to be sent in front of the content that follows them may be put in their
 * place, so that both leave in one piece. Other memory than the shared buffer's is let alone. */
void vf_net_used_up(struct vf_net *net, const char *start, const char *end);

/* Makes *stream of a connected non-blocking socket, which it owns. It can be read from and written
 * to at once; events come from vf_stream_watch on, which reports what is ready by then. */
void vf_stream_init(struct vf_stream *stream, struct vf_net *net,
                    const struct vf_stream_events *events, int fd);

/* Registers it. Returns 0 or UV_E*. */
int vf_stream_watch(struct vf_stream *stream);

/* From here on bytes go through `transport`, which the stream owns; before the first byte was
 * queued or read. A connecting stream is connected when its transport is, too. */
void vf_stream_set_transport(struct vf_stream *stream, struct vf_transport *transport);

/* For a transport that connects on a socket that is connected already: begins its handshake.
 * Returns 0 when it is over, VF_PENDING (on_connected or on_failed follows) or a negative code. */
int vf_stream_start_transport(struct vf_stream *stream);

/* Bytes pass as they are from here on; what the transport held is dropped. */
void vf_stream_drop_transport(struct vf_stream *stream);

/* Returns true when bytes pass as they are: they may go from socket to socket (net/splice.h). */
static inline bool vf_stream_is_plain(const struct vf_stream *stream)
{
    return stream->transport == NULL;
}

/* Both in one, also for a socket that is still connecting. Returns 0 or UV_E* (the socket stays the
 * caller's then). */
int vf_stream_open(struct vf_stream *stream, struct vf_net *net,
                   const struct vf_stream_events *events, int fd);

/* Reads into a buffer that all share. Returns the number of bytes, which begin at *data and are
 * valid until the next read, or as long as queued slices point to them; 0 at end of file, UV_EAGAIN
 * or UV_E*. May flush first, to fill the buffer anew: then a write may fail, and `stream` be
 * closed. */
ssize_t vf_stream_read(struct vf_stream *stream, char **data);

/* The same into memory of the caller's own, to which no queued slice points: nothing is flushed, so
 * no callback is called. */
ssize_t vf_stream_recv(struct vf_stream *stream, char *buffer, size_t len);

/* Asks for another on_readable although input is left (fairness between streams). */
void vf_stream_yield(struct vf_stream *stream);

/* Queues borrowed bytes, see above. */
void vf_stream_add(struct vf_stream *stream, struct vf_str slice);

/* Offers queued output to the kernel now; afterwards no borrowed memory is referred to. */
void vf_stream_flush(struct vf_stream *stream);

/* Returns the unsent bytes. */
size_t vf_stream_pending(const struct vf_stream *stream);

/* Moves what `from` has queued, unsent, in front of what `to` has. */
void vf_stream_move_output(struct vf_stream *from, struct vf_stream *to);

/* Moves a connection that stands, and of which nothing is queued, to another stream of the same
 * vf_net: `from` is closed afterwards, without any event. Returns 0 or UV_E*: nothing changed. */
int vf_stream_move(struct vf_stream *from, struct vf_stream *to,
                   const struct vf_stream_events *events);

/* Sends end of file once everything queued was sent. */
void vf_stream_shutdown(struct vf_stream *stream);

/* Closes at once and drops what is queued; no event follows. `reset` sends RST instead of FIN. */
void vf_stream_close(struct vf_stream *stream, bool reset);

#endif
