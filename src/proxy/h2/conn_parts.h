/* proxy/h2/conn_parts.h - what the parts of an HTTP/2 connection to a client share: conn.c (the
 * connection), conn_events.c (what nghttp2 tells of it), stream.c (a stream, and what it gets),
 * stream_answer.c (what it sends). Private to them. */
#ifndef VF_PROXY_H2_CONN_PARTS_H
#define VF_PROXY_H2_CONN_PARTS_H

#include "base/timer.h"
#include "http/h2_head.h"
#include "proxy/core.h"
#include "proxy/downstream_conn.h"
#include "proxy/exchange.h"
#include "proxy/h2/conn.h"
#include "proxy/h2/wire.h"

struct vf_h2 {
    struct vf_h2_wire wire; /* first member; its flows are the open streams */
    struct vf_downstream *conn;
    struct vf_proxy *proxy;
    struct vf_h2 *next_pending; /* among those that have frames to send */
    struct vf_h2_flow *dead;    /* of closed streams, freed once nothing queued points there */
    const char *flood;          /* for which the connection has to end; NULL: none */
    bool is_pending;            /* in the proxy's list */
    bool has_resumes;           /* streams that want to */
    bool is_acked;              /* the client has our settings */
    bool awaits_head;           /* the rest of one that has begun */
    bool is_draining;           /* the first GOAWAY is on its way */
    bool is_leaving;            /* the last one, too: no stream will begin */
};

/* A stream: idle -> head -> content -> (answered) -> closed. Without an exchange it only waits for
 * its end. */
struct vf_h2_stream {
    struct vf_client client; /* first member */
    struct vf_h2_flow flow;
    struct vf_h2 *h2;
    struct vf_exchange *ex;
    struct vf_timer timer;
    struct vf_h2_request request; /* while its head is read */
    uint64_t due;                 /* content that is still to be sent; UINT64_MAX: who knows */
    uint64_t stall_mark;          /* bytes sent when nothing moved, and one; 0: it moves */
    bool has_content;             /* DATA frames follow the head */
    bool stops_input;             /* the rest is not wanted: vf_h2_stream_linger */
    bool wants_resume;            /* the exchange takes content again, in a moment */
    bool is_closed;               /* nghttp2 knows it no more */
    bool is_extended;             /* CONNECT with :protocol (RFC 8441) */
};

static inline struct vf_h2_stream *vf_h2_stream_of(struct vf_h2_flow *flow)
{
    return (struct vf_h2_stream *)((char *)flow - offsetof(struct vf_h2_stream, flow));
}

/* Frames are to be sent at the end of this turn, or sooner. */
static inline void vf_h2_pend(struct vf_h2 *h2)
{
    if (h2->is_pending)
        return;
    h2->is_pending = true;
    h2->next_pending = h2->proxy->pending_h2;
    h2->proxy->pending_h2 = h2;
}

/* The time begins in which a client has to say something. */
static inline void vf_h2_await_client(struct vf_h2 *h2)
{
    const struct vf_snap_policy *policy = vf_downstream_policy(h2->conn);
    bool drains = h2->proxy->draining;
    vf_downstream_set_timer(
        h2->conn, policy->value[drains ? VF_POLICY_DRAIN_IDLE_MS : VF_POLICY_CLIENT_IDLE_MS]);
}

/* Sets the callbacks of a session: what nghttp2 tells goes to the streams. */
void vf_h2_listen(nghttp2_session_callbacks *callbacks);

/* A new stream with an exchange, or NULL without memory. */
struct vf_h2_stream *vf_h2_stream_new(struct vf_h2 *h2, int32_t id);

/* What a stream gets: its whole head, content, trailers, its end. */
void vf_h2_stream_on_head(struct vf_h2_stream *stream, bool has_content);
void vf_h2_stream_on_data(struct vf_h2_stream *stream, const char *data, size_t len);
void vf_h2_stream_on_end(struct vf_h2_stream *stream);
/* nghttp2 knows it no more. It goes to h2->dead, now or with the end of its exchange. */
void vf_h2_stream_on_close(struct vf_h2_stream *stream);
/* Content that was kept has left: the exchange may send again. */
void vf_h2_stream_on_drained(struct vf_h2_stream *stream);

/* Hands over what exchanges take again, at the end of a turn. */
void vf_h2_resume_streams(struct vf_h2 *h2);

/* As an exchange sees a stream, by stream_answer.c. */
extern const struct vf_client_codec vf_h2_codec;

/* The client is given up: the exchange is told, the stream ends with `code`. */
void vf_h2_stream_give_up(struct vf_h2_stream *stream, uint32_t code, const char *reason);
/* Takes it from the list of open ones; freed when nothing queued points to it. */
void vf_h2_stream_bury(struct vf_h2_stream *stream);
/* Gives `len` bytes of the client's window back. */
void vf_h2_stream_give_back(struct vf_h2_stream *stream, size_t len);
/* The exchange takes content again. */
void vf_h2_stream_resume(struct vf_exchange *ex);
/* Content is due; and the time for its next piece begins. */
bool vf_h2_stream_awaits_content(const struct vf_h2_stream *stream);
void vf_h2_stream_await_content(struct vf_h2_stream *stream);
void vf_h2_stream_set_timer(struct vf_h2_stream *stream, uint64_t delay_ms);
/* The answer is out before its request was: the client is told, in a moment, to send no more. */
void vf_h2_stream_linger(struct vf_h2_stream *stream);

void vf_h2_stream_free(struct vf_h2_stream *stream);

#endif
