/* proxy/h2/link_parts.h - what the parts of HTTP/2 to backends share: links.c (which connections
 * there are), link.c (a connection), link_start.c (how it begins), link_events.c (what nghttp2
 * tells of it), call.c (a call, and its request), call_answer.c (its answer). Private to them. */
#ifndef VF_PROXY_H2_LINK_PARTS_H
#define VF_PROXY_H2_LINK_PARTS_H

#include "http/h2_client.h"
#include "proxy/core.h"
#include "proxy/exchange.h"
#include "proxy/h2/link.h"
#include "proxy/h2/wire.h"

struct vf_h2_link {
    struct vf_h2_wire wire; /* first member; its flows are the calls: those with an exchange, and
                               those that nghttp2 knows. No session: still connecting */
    struct vf_upstream_conn *up;
    struct vf_proxy *proxy;
    struct vf_h2_link *next; /* of its peer, the oldest first */
    struct vf_h2_link *next_pending;
    uint64_t connect_ms, idle_ms; /* of the exchange that came last */
    const char *fault;            /* what the backend broke; NULL: nothing */
    bool may_fall_back;
    bool is_private;
    bool is_idle;    /* counted as kept */
    bool is_pending; /* in the list */
    bool is_greeted; /* the backend's SETTINGS came */
    bool is_leaving; /* no more calls */
};

struct vf_h2_call {
    struct vf_upstream upstream; /* first member */
    struct vf_h2_flow flow;      /* without a wire: closed behind a complete answer */
    struct vf_upstreams *owner;
    struct vf_h2_call *next_resuming;
    struct vf_exchange *ex;
    struct vf_timer timer;

    nghttp2_nv *fields; /* of the request's head, in the exchange's arena */
    size_t n_fields;
    bool has_content;
    uint64_t sent_mark; /* flow.sent_bytes when the timer last looked */

    struct vf_h2_answer answer; /* while its head is read */
    uint32_t n_interim;
    struct vf_fault fault; /* what makes the answer malformed; rule NULL: nothing */
    bool has_head;         /* the final head came */
    bool was_told;         /* the answer is complete, and the exchange knows that */
    bool is_closed;        /* nghttp2 knows it no more */
    bool wants_resume;     /* in the list */
    bool is_reset;         /* RST_STREAM is on its way */
    bool is_dead;          /* freed after the event */
};

static inline struct vf_h2_call *vf_h2_call_of(struct vf_h2_flow *flow)
{
    return flow == NULL ? NULL
                        : (struct vf_h2_call *)((char *)flow - offsetof(struct vf_h2_call, flow));
}

/* The connection of a call; NULL: closed behind a complete answer. */
static inline struct vf_h2_link *vf_h2_call_link(const struct vf_h2_call *call)
{
    return (struct vf_h2_link *)call->flow.wire; /* its first member */
}

/* Frames are to be sent at the end of this turn, or sooner. */
static inline void vf_h2_link_pend(struct vf_h2_link *link)
{
    struct vf_upstreams *upstreams = link->up->owner;
    if (link->is_pending || link->up->is_dead)
        return;
    link->is_pending = true;
    link->next_pending = upstreams->pending_links;
    upstreams->pending_links = link;
}

/* --- Which there are (links.c) --- */

/* It becomes one of its peer's, and is none any more. */
void vf_h2_links_add(struct vf_h2_link *link);
void vf_h2_links_remove(struct vf_h2_link *link);

/* Without calls it is kept, and counted so. */
void vf_h2_links_count(struct vf_h2_link *link, bool is_idle);

/* --- A connection (link.c, link_start.c, link_events.c) --- */

/* Of a call, to say whom the connection is for; NULL: there is none. */
static inline struct vf_exchange *vf_h2_link_exchange(const struct vf_h2_link *link)
{
    return link->wire.flows != NULL ? vf_h2_call_of(link->wire.flows)->ex : NULL;
}

/* It stands: its calls begin, or it is one of HTTP/1.1 from here on and `link` is gone. Returns 0,
 * UV_ENOMEM or UV_EPROTONOSUPPORT: its TLS has not agreed on HTTP/2, and has to. */
int vf_h2_link_start(struct vf_h2_link *link);

/* Sets the callbacks of a session: what nghttp2 tells goes to the calls. */
void vf_h2_link_listen(nghttp2_session_callbacks *callbacks);

/* It ends, and with it what its calls wait for. */
void vf_h2_link_fail(struct vf_h2_link *link, enum vf_upstream_failure failure,
                     const struct vf_fault *fault);

/* --- A call (call.c, call_answer.c) --- */

/* A call of the exchange's, or NULL without memory. */
struct vf_h2_call *vf_h2_call_new(struct vf_h2_link *link, struct vf_exchange *ex);

/* The connection stands: the request goes to nghttp2. Returns 0, or fails the exchange. */
void vf_h2_call_start(struct vf_h2_call *call);

/* What comes back: a head, a trailer, content, the end of the answer, of the stream. */
int vf_h2_call_on_field(struct vf_h2_call *call, struct vf_str name, struct vf_str value);
void vf_h2_call_on_head(struct vf_h2_call *call, bool is_last);
void vf_h2_call_on_data(struct vf_h2_call *call, const char *data, size_t len);
void vf_h2_call_on_end(struct vf_h2_call *call);
void vf_h2_call_on_close(struct vf_h2_call *call, uint32_t code);
/* What was kept has left: its exchange may send again. */
void vf_h2_call_on_drained(struct vf_h2_call *call);

/* Its exchange takes content again, if it wants to. */
void vf_h2_call_resume(struct vf_h2_call *call);

/* Takes the exchange off, and the call out of its link when nghttp2 does not know it. Returns the
 * exchange, or NULL. */
struct vf_exchange *vf_h2_call_detach(struct vf_h2_call *call);

/* As that, and tells the exchange that the backend failed it. */
void vf_h2_call_fail(struct vf_h2_call *call, enum vf_upstream_failure failure,
                     const struct vf_fault *fault);

/* The connection is gone: the rest of a complete answer is still the exchange's. */
void vf_h2_call_outlive(struct vf_h2_call *call);

/* Its timer starts. */
void vf_h2_call_set_timer(struct vf_h2_call *call, uint64_t delay_ms);

/* The stream ends with `code`, unless it has. */
void vf_h2_call_reset(struct vf_h2_call *call, uint32_t code);

/* What nghttp2 does not know any more goes after the event. */
void vf_h2_call_bury(struct vf_h2_call *call);

#endif
