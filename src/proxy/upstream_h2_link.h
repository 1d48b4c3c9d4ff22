/* proxy/upstream_h2_link.h - what the parts of HTTP/2 to backends share: upstream_h2.c (the
 * connection), upstream_h2_read.c (what nghttp2 tells about it), upstream_h2_call.c (a call in both
 * directions), upstream_h2_send.c (frames to bytes). Private to them. */
#ifndef VF_PROXY_UPSTREAM_H2_LINK_H
#define VF_PROXY_UPSTREAM_H2_LINK_H

#include "http/h2_client.h"
#include "http/h2_guard.h"
#include "proxy/core.h"
#include "proxy/upstream_h2.h"

struct vf_h2_link {
    struct vf_upstream_conn *up;
    struct vf_proxy *proxy;
    nghttp2_session *session; /* NULL: still connecting */
    struct vf_h2_link *next;  /* of its peer, the oldest first */
    struct vf_h2_link *next_pending;
    struct vf_h2_call *calls;   /* those with an exchange, and those nghttp2 knows */
    struct vf_h2_call *in_hand; /* whose content is being sent; NULL when it ended by that */
    uint32_t n_calls;
    uint32_t n_full;              /* whose exchange waits for room */
    uint32_t depth;               /* of calls into exchanges or nghttp2: no frame is made */
    uint64_t connect_ms, idle_ms; /* of the exchange that came last */
    const char *fault;            /* what the backend broke; NULL: nothing */
    struct vf_h2_guard guard;
    bool may_fall_back;
    bool is_private;
    bool is_idle;    /* counted as kept */
    bool is_pending; /* in the list */
    bool is_greeted; /* the backend's SETTINGS came */
    bool is_leaving;
    bool is_broken;             /* nothing can be sent any more */
    bool was_heard, was_pinged; /* since the timer last looked */
    bool has_lent;              /* what is queued points into memory of calls */
};

struct vf_h2_call {
    struct vf_upstream upstream; /* first member */
    struct vf_upstreams *owner;
    struct vf_h2_link *link;        /* NULL: closed behind a complete answer */
    struct vf_h2_call *next, *prev; /* of its link; `next` among the dead ones */
    struct vf_h2_call *next_resuming;
    struct vf_exchange *ex;
    struct vf_timer timer;
    int32_t id; /* 0: not submitted yet */

    nghttp2_nv *fields; /* of the request's head, in the exchange's arena */
    size_t n_fields;
    bool has_content;
    struct vf_str slice; /* being sent, borrowed */
    char *kept;          /* begin..end: content that has not become frames yet */
    size_t kept_begin, kept_end, kept_room;
    nghttp2_nv *trailers; /* malloc */
    size_t n_trailers;
    uint64_t sent_bytes, sent_mark;
    bool has_ended; /* no more content will come */
    bool was_full;  /* the exchange waits for room */

    struct vf_h2_answer answer; /* while its head is read */
    char *input;                /* content that the exchange does not take yet */
    size_t input_len, input_room;
    size_t trailer_bytes; /* of all that came, passed on or not */
    size_t unreturned;    /* bytes that it took, but whose window waits until it takes more */
    uint32_t n_interim;
    struct vf_fault fault; /* what makes the answer malformed; rule NULL: nothing */
    bool has_head;         /* the final head came */
    bool input_ended;      /* the answer is complete */
    bool was_told;         /* and the exchange knows that */
    bool is_closed;        /* nghttp2 knows it no more */
    bool wants_resume;     /* in the list */
    bool is_reset;         /* RST_STREAM is on its way */
    bool is_dead;          /* freed after the event */
};

/* The timer of a connection starts. */
void vf_h2_link_set_timer(struct vf_h2_link *link, uint64_t delay_ms);

/* nghttp2's side: the callbacks of a session. Returns 0 or UV_ENOMEM. */
int vf_h2_link_make_session(struct vf_h2_link *link);

/* It ends, and with it what its calls wait for. */
void vf_h2_link_fail(struct vf_h2_link *link, enum vf_upstream_failure failure,
                     const struct vf_fault *fault);

/* Nobody calls any more: it is kept, or closed. */
void vf_h2_link_rest(struct vf_h2_link *link);

/* Frames are to be sent at the end of this turn, or sooner. */
void vf_h2_link_pend(struct vf_h2_link *link);

/* Makes frames of what there is and queues them, as much as windows and the socket take; or the
 * same as vf_h2_link_pend, inside of nghttp2's callbacks. */
void vf_h2_link_pump(struct vf_h2_link *link);

/* nghttp2's callbacks for content that leaves. */
ssize_t vf_h2_call_read_content(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t room,
                                uint32_t *flags, nghttp2_data_source *source, void *owner);
int vf_h2_link_send_content(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                            size_t len, nghttp2_data_source *source, void *owner);

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

/* True while content waits that has not become frames. */
static inline bool vf_h2_call_has_kept(const struct vf_h2_call *call)
{
    return call->kept_end > call->kept_begin;
}

#endif
