/* proxy/h2_conn.h - what the parts of an HTTP/2 connection share: h2.c (the connection),
 * h2_stream.c (a stream, and what it gets), h2_answer.c (what it sends), h2_output.c (frames to
 * bytes). Private to them. */
#ifndef VF_PROXY_H2_CONN_H
#define VF_PROXY_H2_CONN_H

#include <nghttp2/nghttp2.h>

#include "base/timer.h"
#include "http/h2_guard.h"
#include "http/h2_head.h"
#include "proxy/core.h"
#include "proxy/downstream_conn.h"
#include "proxy/exchange.h"
#include "proxy/h2.h"

struct vf_h2 {
    struct vf_downstream *conn;
    struct vf_proxy *proxy;
    nghttp2_session *session;
    struct vf_h2 *next_pending;        /* among those that have frames to send */
    struct vf_h2_stream *streams;      /* open ones */
    struct vf_h2_stream *dead;         /* closed: freed once nothing that is queued points there */
    struct vf_h2_stream *next_of_walk; /* over `streams`; NULL: its end, or there is none */
    struct vf_h2_stream *in_hand; /* whose content is being sent; NULL when it was closed by that */
    struct vf_h2_guard guard;
    uint32_t n_streams;
    uint32_t n_full;  /* streams whose exchange waits for room */
    uint32_t depth;   /* of calls into exchanges: no frame is made meanwhile */
    bool is_pending;  /* in the proxy's list */
    bool has_resumes; /* streams that want to */
    bool is_sending;  /* nghttp2 makes frames */
    bool has_lent;    /* what is queued points into memory of streams */
    bool is_acked;    /* the client has our settings */
    bool awaits_head; /* the rest of one that has begun */
    bool was_heard;   /* since the timer last looked */
    bool was_pinged;  /* and has not answered yet */
    bool is_draining; /* the first GOAWAY is on its way */
    bool is_leaving;  /* the last one, too: no stream will begin */
};

/* A stream: idle -> head -> content -> (answered) -> closed. Without an exchange it only waits for
 * its end. */
struct vf_h2_stream {
    struct vf_client client; /* first member */
    struct vf_h2 *h2;
    struct vf_h2_stream *next, *prev;
    struct vf_exchange *ex;
    struct vf_timer timer;
    int32_t id;

    struct vf_h2_request request; /* while its head is read */
    char *input;                  /* begin..end: content that the exchange does not take yet */
    size_t input_begin, input_end, input_room;
    size_t trailer_bytes; /* of all that came, passed on or not */
    size_t unreturned;    /* bytes that it took, but whose window waits until it takes more */
    bool input_ended;     /* END_STREAM came */

    struct vf_str slice; /* being sent, borrowed */
    char *kept;          /* begin..end: content that has not become frames yet */
    size_t kept_begin, kept_end, kept_room;
    uint64_t due; /* content that is still to be sent; UINT64_MAX: who knows */
    uint64_t sent_bytes, stall_mark;
    nghttp2_nv *trailers; /* malloc; NULL: none */
    size_t n_trailers;
    bool has_content;  /* DATA frames follow the head */
    bool stops_input;  /* the rest is not wanted: vf_h2_stream_linger */
    bool has_ended;    /* no more content will come */
    bool wants_resume; /* the exchange takes content again, in a moment */
    bool was_full;     /* the exchange waits until it may send again */
    bool is_closed;    /* nghttp2 knows it no more */
    bool is_extended;  /* CONNECT with :protocol (RFC 8441) */
};

/* Makes the memory for short pieces, once. Returns 0 or UV_ENOMEM. */
int vf_h2_scratch(struct vf_proxy *proxy);

/* Frames are to be sent at the end of this turn, or sooner. */
void vf_h2_pend(struct vf_h2 *h2);

/* Makes frames of what there is and queues them, as much as windows and the client's socket take.
 * Not from inside nghttp2's callbacks or an exchange: then the same as vf_h2_pend. */
void vf_h2_pump(struct vf_h2 *h2);

/* nghttp2's callbacks for content that leaves. */
ssize_t vf_h2_read_content(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t room,
                           uint32_t *flags, nghttp2_data_source *source, void *owner);
int vf_h2_send_content(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                       size_t len, nghttp2_data_source *source, void *owner);

/* Ends a connection that is leaving and has no streams left. */
void vf_h2_end_if_over(struct vf_h2 *h2);

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

/* As an exchange sees a stream, by h2_answer.c. */
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

/* Calls into an exchange are enclosed by these two. */
static inline void vf_h2_enter(struct vf_h2 *h2)
{
    h2->depth++;
}

static inline void vf_h2_leave(struct vf_h2 *h2)
{
    h2->depth--;
}

#endif
