/* proxy/h2/flow.h - a stream of HTTP/2 as both ends of it are alike: the content that leaves, and
 * the content that has come and waits. Embedded by who serves the stream: a client's is
 * h2/stream.c's, a backend's h2/call.c's.
 *
 *   exchange -> slice, kept -> DATA frames     what has no room yet is kept: the exchange waits
 *   exchange <- input       <- DATA frames     what the exchange does not take yet, as much as
 *                                              the stream's window allows
 *
 * Memory only: frames are h2/wire.h's. What is kept and what waits is counted in *buffered. */
#ifndef VF_PROXY_H2_FLOW_H
#define VF_PROXY_H2_FLOW_H

#include <nghttp2/nghttp2.h>

#include "base/str.h"

struct vf_arena;
struct vf_fields;
struct vf_h1_limits;
struct vf_h2_wire;

struct vf_h2_flow {
    struct vf_h2_wire *wire;        /* NULL: it is on none, any more */
    struct vf_h2_flow *next, *prev; /* of its wire; `next` is its owner's when it is on none */
    int32_t id;                     /* 0: not submitted yet */

    struct vf_str slice; /* being sent, borrowed */
    char *kept;          /* begin..end: content that has not become frames yet */
    size_t kept_begin, kept_end, kept_room;
    nghttp2_nv *trailers; /* malloc; NULL: none */
    size_t n_trailers;
    uint64_t sent_bytes;
    bool has_ended; /* no more content will come */
    bool was_full;  /* the exchange waits for room */

    char *input; /* content that the exchange does not take yet */
    size_t input_len, input_room;
    size_t unreturned;    /* bytes that it took, but whose window waits until it takes more */
    size_t trailer_bytes; /* of all that came, passed on or not */
    bool input_ended;     /* END_STREAM came */
};

/* True while content waits that has not become frames. */
static inline bool vf_h2_flow_has_kept(const struct vf_h2_flow *flow)
{
    return flow->kept_end > flow->kept_begin;
}

static inline struct vf_str vf_h2_flow_kept(const struct vf_h2_flow *flow)
{
    return vf_str_make(flow->kept + flow->kept_begin, flow->kept_end - flow->kept_begin);
}

/* How much content can become frames. */
static inline size_t vf_h2_flow_available(const struct vf_h2_flow *flow)
{
    return flow->kept_end - flow->kept_begin + flow->slice.len;
}

/* Copies content behind what is kept. Nothing that is queued may point there: it may move. Returns
 * false without memory. */
bool vf_h2_flow_keep(struct vf_h2_flow *flow, uint64_t *buffered, struct vf_str slice);

/* Frees the memory of content that has left. Nothing that is queued may point there. */
void vf_h2_flow_shrink(struct vf_h2_flow *flow);

/* Keeps content that came behind what waits. Returns false without memory. */
bool vf_h2_flow_keep_input(struct vf_h2_flow *flow, uint64_t *buffered, const char *data,
                           size_t len);

/* Takes what waits off the flow, which begins anew. The caller frees input.data. */
struct vf_str vf_h2_flow_take_input(struct vf_h2_flow *flow, uint64_t *buffered);

/* Adds a trailer field that came to those of a head, copied to its arena, within the limits for
 * heads: what is too much is not passed on. Returns 0 or UV_ENOMEM. */
int vf_h2_flow_add_trailer(struct vf_h2_flow *flow, const struct vf_h1_limits *limits,
                           struct vf_arena *arena, struct vf_fields *trailers, struct vf_str name,
                           struct vf_str value);

/* Frees what it has. */
void vf_h2_flow_deinit(struct vf_h2_flow *flow, uint64_t *buffered);

#endif
