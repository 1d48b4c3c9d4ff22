/* proxy/upstream_h2_send.c - what calls have to say becomes frames, and these bytes of the
 * connection. Content is not copied while windows are open: a frame points to where it lies. */
#include <stdlib.h>

#include "proxy/upstream_h2_link.h"

enum { PIECE_BYTES = 1024 /* of a frame that nghttp2 has made */ };

void vf_h2_link_pend(struct vf_h2_link *link)
{
    struct vf_upstreams *upstreams = link->up->owner;
    if (link->is_pending || link->up->is_dead)
        return;
    link->is_pending = true;
    link->next_pending = upstreams->pending_links;
    upstreams->pending_links = link;
}

/* Copies to where it may lie until the next flush. */
static void put(struct vf_h2_link *link, const uint8_t *data, size_t len)
{
    while (len > 0 && !link->up->is_dead) {
        size_t n = len < PIECE_BYTES ? len : PIECE_BYTES;
        char *at = vf_net_scratch(&link->proxy->net, n);
        memcpy(at, data, n);
        vf_stream_add(&link->up->stream, vf_str_make(at, n));
        data += n;
        len -= n;
    }
}

static size_t available(const struct vf_h2_call *call)
{
    return call->kept_end - call->kept_begin + call->slice.len;
}

ssize_t vf_h2_call_read_content(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t room,
                                uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    struct vf_h2_call *call = source->ptr;
    size_t len = available(call);
    bool is_last = call->has_ended && len <= room;
    (void)buffer, (void)owner;
    if (len == 0 && !call->has_ended)
        return NGHTTP2_ERR_DEFERRED;
    if (len > room)
        len = room;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!is_last)
        return (ssize_t)len;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (call->n_trailers > 0 &&
        nghttp2_submit_trailer(session, id, call->trailers, call->n_trailers) == 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return (ssize_t)len;
}

int vf_h2_link_send_content(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                            size_t len, nghttp2_data_source *source, void *owner)
{
    struct vf_h2_link *link = owner;
    struct vf_h2_call *call = source->ptr;
    struct vf_stream *out = &link->up->stream;
    size_t kept = call->kept_end - call->kept_begin, from_kept = len < kept ? len : kept;
    (void)session, (void)frame;
    vf_h2_guard_sent(&link->guard, len);
    put(link, header, VF_H2_FRAME_HEADER_BYTES);
    if (from_kept > 0) {
        vf_stream_add(out, vf_str_make(call->kept + call->kept_begin, from_kept));
        call->kept_begin += from_kept;
        link->proxy->net.buffered_bytes -= from_kept;
        link->has_lent = true;
    }
    if (len > from_kept) {
        vf_stream_add(out, vf_str_make(call->slice.data, len - from_kept));
        call->slice.data += len - from_kept;
        call->slice.len -= len - from_kept;
    }
    call->sent_bytes += len;
    return link->up->is_dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* What is queued no longer points into calls: their memory may move and go. */
static void take_back(struct vf_h2_link *link)
{
    if (!link->has_lent)
        return;
    vf_stream_flush(&link->up->stream);
    link->has_lent = false;
    for (struct vf_h2_call *call = link->calls; call != NULL; call = call->next)
        if (call->kept != NULL && !vf_h2_call_has_kept(call)) {
            free(call->kept);
            call->kept = NULL;
            call->kept_begin = call->kept_end = call->kept_room = 0;
        }
}

/* Exchanges that waited for room may send again. One of them may end others. */
static void wake(struct vf_h2_link *link)
{
    struct vf_h2_call *call = link->calls;
    while (link->n_full > 0 && call != NULL && !link->up->is_dead && !link->up->stream.blocked) {
        if (call->was_full && available(call) == 0) {
            call->was_full = false;
            link->n_full--;
            vf_h2_call_on_drained(call);
            call = link->calls; /* the list may be another now */
            continue;
        }
        call = call->next;
    }
}

void vf_h2_link_pump(struct vf_h2_link *link)
{
    const uint8_t *data;
    ssize_t n = 0;
    if (link->session == NULL || link->is_broken || link->up->is_dead)
        return;
    if (link->depth > 0) {
        vf_h2_link_pend(link);
        return;
    }
    link->depth++;
    while (!link->up->is_dead && !link->is_broken && !link->up->stream.blocked &&
           (n = nghttp2_session_mem_send(link->session, &data)) > 0)
        put(link, data, (size_t)n);
    if (!link->up->is_dead)
        take_back(link);
    link->depth--;
    if (n < 0 && !link->up->is_dead)
        vf_h2_link_fail(link, VF_UPSTREAM_CUT, NULL); /* no memory */
    if (!link->up->is_dead)
        wake(link);
}
