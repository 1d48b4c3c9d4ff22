/* proxy/h2/wire.h - a connection that speaks HTTP/2, whichever end of it we are: nghttp2 between
 * its bytes and the flows (h2/flow.h) of its streams.
 *
 *   bytes -> guard -> nghttp2 -> the owner's callbacks
 *   bytes <- queue <- nghttp2 <- flows           content is not copied while windows and socket
 *                                                take it: the frame points to where it lies
 *
 * nghttp2 is not entered from its own callbacks, nor are frames made while an exchange is told
 * something: `depth` counts both, and the owner tries again at the end of the turn.
 *
 * Embedded by h2/conn.c (to a client) and h2/link.c (to a backend). What is sent may close its
 * stream, by the owner's on_failed: vf_h2_wire_is_gone. */
#ifndef VF_PROXY_H2_WIRE_H
#define VF_PROXY_H2_WIRE_H

#include "http/h2_guard.h"
#include "net/stream.h"
#include "proxy/h2/flow.h"

enum {
    VF_H2_STREAM_WINDOW = 256 * 1024,     /* content that may wait on a stream */
    VF_H2_CONNECTION_WINDOW = 1024 * 1024 /* and on all of a connection together */
};

/* What differs between the two. */
struct vf_h2_wire_ops {
    bool is_client;                                       /* we are */
    void (*listen)(nghttp2_session_callbacks *callbacks); /* to what comes: sets the callbacks */
    void (*pend)(struct vf_h2_wire *wire);                /* pump again at the end of the turn */
    void (*on_room)(struct vf_h2_flow *flow);             /* it may send again */
    void (*on_taken_back)(struct vf_h2_wire *wire);       /* nothing queued points to flows */
    void (*on_out_of_memory)(struct vf_h2_wire *wire);    /* for frames: it has to end */
};

struct vf_h2_wire {
    const struct vf_h2_wire_ops *ops;
    struct vf_stream *stream; /* not owned */
    nghttp2_session *session; /* NULL: not begun */
    struct vf_h2_guard guard;
    struct vf_h2_flow *flows;        /* the newest first */
    struct vf_h2_flow *in_hand;      /* whose slice is being sent; NULL when it ended by that */
    struct vf_h2_flow *next_of_walk; /* vf_h2_wire_walk */
    uint32_t n_flows;
    uint32_t n_full; /* whose exchange waits for room */
    uint32_t depth;  /* of calls into exchanges or nghttp2: no frame is made meanwhile */
    bool has_lent;   /* what is queued points into memory of flows */
    bool is_broken;  /* nothing can be sent any more */
    bool was_heard;  /* since vf_h2_wire_pulse */
    bool was_pinged; /* and has not answered yet */
};

/* Begins a session on wire->stream, whose callbacks get `owner`: our SETTINGS and the window of the
 * connection are what is sent first. Returns 0 or UV_ENOMEM. */
int vf_h2_wire_open(struct vf_h2_wire *wire, const nghttp2_settings_entry *settings, size_t n,
                    void *owner);

/* Frees the session. Flows are their owners'. */
void vf_h2_wire_deinit(struct vf_h2_wire *wire);

/* The stream is closed. */
static inline bool vf_h2_wire_is_gone(const struct vf_h2_wire *wire)
{
    return wire->stream->io.fd < 0;
}

/* Calls into exchanges are enclosed by these two. */
static inline void vf_h2_wire_enter(struct vf_h2_wire *wire)
{
    wire->depth++;
}

static inline void vf_h2_wire_leave(struct vf_h2_wire *wire)
{
    wire->depth--;
}

/* A stream begins, and ends. */
void vf_h2_wire_add(struct vf_h2_wire *wire, struct vf_h2_flow *flow);
void vf_h2_wire_remove(struct vf_h2_flow *flow);

/* Walks over the flows, any of which may be removed meanwhile: sets wire->next_of_walk to the first
 * one, then this returns each, and NULL at the end. One walk at a time. */
struct vf_h2_flow *vf_h2_wire_walk(struct vf_h2_wire *wire);

/* Bytes of the peer. Returns 0; a negative code of nghttp2's: the connection has to end; or 1, with
 * the word of the guard for it in *word and the error in guard.code. */
int vf_h2_wire_recv(struct vf_h2_wire *wire, const char *data, size_t len, uint64_t now_ns,
                    const char **word);

/* Makes frames of what there is and queues them, as much as windows and socket take; what is queued
 * points into no flow then, and those that waited for room are told (ops->on_room, which may remove
 * flows). From inside of a call (`depth`) that is put off. */
void vf_h2_wire_pump(struct vf_h2_wire *wire);

/* What nghttp2 asks for the content of a flow. */
nghttp2_data_provider vf_h2_wire_provider(struct vf_h2_flow *flow);

/* Sends of *slice, content of the flow, what can leave at once, and leaves the rest in it: all of
 * it from inside of a call, or behind what is kept. Returns false when the flow was removed by
 * that, or the connection closed. */
bool vf_h2_wire_send(struct vf_h2_flow *flow, struct vf_str *slice);

/* Keeps the rest of it; the exchange waits for room. Returns 0; UV_ENOMEM; or UV_ECANCELED: the
 * connection was closed by that. */
int vf_h2_wire_keep(struct vf_h2_flow *flow, struct vf_str slice);

/* The peer has been silent for a while: is it still there? */
enum vf_h2_pulse {
    VF_H2_HEARD = 0, /* it has said something since the last call */
    VF_H2_ASKED,     /* a PING is on its way */
    VF_H2_SILENT     /* and was not answered */
};
enum vf_h2_pulse vf_h2_wire_pulse(struct vf_h2_wire *wire);

#endif
