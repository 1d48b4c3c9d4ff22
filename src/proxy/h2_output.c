/* proxy/h2_output.c - what streams have to say becomes frames, and these the connection's bytes.
 * Content is not copied on its way when its window is open: the frame points to where it lies. */
#include <stdlib.h>
#include <uv.h>

#include "proxy/h2_conn.h"

enum { SCRATCH_BYTES = 64 * 1024 };

void vf_h2_pend(struct vf_h2 *h2)
{
    if (h2->is_pending)
        return;
    h2->is_pending = true;
    h2->next_pending = h2->proxy->pending_h2;
    h2->proxy->pending_h2 = h2;
}

int vf_h2_scratch(struct vf_proxy *proxy)
{
    if (proxy->h2_scratch == NULL)
        proxy->h2_scratch = malloc(SCRATCH_BYTES);
    return proxy->h2_scratch != NULL ? 0 : UV_ENOMEM;
}

/* Copies short pieces to where they may lie until the next flush. */
static void put(struct vf_h2 *h2, const uint8_t *data, size_t len)
{
    struct vf_proxy *proxy = h2->proxy;
    while (len > 0 && !h2->conn->is_dead) {
        if (proxy->h2_scratch_used == SCRATCH_BYTES) {
            vf_net_flush(&proxy->net);
            proxy->h2_scratch_used = 0;
            continue;
        }
        size_t n = SCRATCH_BYTES - proxy->h2_scratch_used;
        if (n > len)
            n = len;
        char *at = proxy->h2_scratch + proxy->h2_scratch_used;
        memcpy(at, data, n);
        proxy->h2_scratch_used += n;
        vf_stream_add(&h2->conn->stream, vf_str_make(at, n));
        data += n;
        len -= n;
    }
}

static size_t available(const struct vf_h2_stream *stream)
{
    return stream->kept_end - stream->kept_begin + stream->slice.len;
}

ssize_t vf_h2_read_content(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t room,
                           uint32_t *flags, nghttp2_data_source *source, void *owner)
{
    struct vf_h2_stream *stream = source->ptr;
    size_t len = available(stream);
    bool is_last = stream->has_ended && len <= room;
    (void)buffer, (void)owner;
    if (len == 0 && !stream->has_ended)
        return NGHTTP2_ERR_DEFERRED;
    if (len > room)
        len = room;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!is_last)
        return (ssize_t)len;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream->n_trailers > 0 &&
        nghttp2_submit_trailer(session, id, stream->trailers, stream->n_trailers) == 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return (ssize_t)len;
}

int vf_h2_send_content(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                       size_t len, nghttp2_data_source *source, void *owner)
{
    struct vf_h2 *h2 = owner;
    struct vf_h2_stream *stream = source->ptr;
    struct vf_stream *out = &h2->conn->stream;
    size_t kept = stream->kept_end - stream->kept_begin, from_kept = len < kept ? len : kept;
    (void)session, (void)frame;
    vf_h2_guard_sent(&h2->guard, len);
    put(h2, header, VF_H2_FRAME_HEADER_BYTES);
    if (from_kept > 0) {
        vf_stream_add(out, vf_str_make(stream->kept + stream->kept_begin, from_kept));
        stream->kept_begin += from_kept;
        h2->proxy->net.buffered_bytes -= from_kept;
        h2->has_lent = true;
    }
    if (len > from_kept) {
        vf_stream_add(out, vf_str_make(stream->slice.data, len - from_kept));
        stream->slice.data += len - from_kept;
        stream->slice.len -= len - from_kept;
    }
    stream->sent_bytes += len;
    return h2->conn->is_dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void free_dead(struct vf_h2 *h2)
{
    while (h2->dead != NULL) {
        struct vf_h2_stream *stream = h2->dead;
        h2->dead = stream->next;
        vf_h2_stream_free(stream);
    }
}

/* What is queued no longer points into streams: their memory may move and go. */
static void take_back(struct vf_h2 *h2)
{
    bool had_lent = h2->has_lent;
    if (had_lent)
        vf_stream_flush(&h2->conn->stream);
    h2->has_lent = false;
    if (h2->conn->is_dead)
        return;
    free_dead(h2);
    if (!had_lent)
        return;
    for (struct vf_h2_stream *stream = h2->streams; stream != NULL; stream = stream->next)
        if (stream->kept_begin == stream->kept_end && stream->kept != NULL) {
            free(stream->kept);
            stream->kept = NULL;
            stream->kept_begin = stream->kept_end = stream->kept_room = 0;
        }
}

/* The exchanges that waited for room may send again. One of them may end others. */
static void wake(struct vf_h2 *h2)
{
    struct vf_h2_stream *stream = h2->streams;
    while (h2->n_full > 0 && stream != NULL && !h2->conn->is_dead && !h2->conn->stream.blocked) {
        if (stream->was_full && available(stream) == 0) {
            stream->was_full = false;
            h2->n_full--;
            vf_h2_stream_on_drained(stream);
            stream = h2->streams; /* the list may be another now */
            continue;
        }
        stream = stream->next;
    }
}

static void make_frames(struct vf_h2 *h2)
{
    const uint8_t *data;
    ssize_t n = 0;
    h2->is_sending = true;
    while (!h2->conn->is_dead && !h2->conn->stream.blocked &&
           (n = nghttp2_session_mem_send(h2->session, &data)) > 0)
        put(h2, data, (size_t)n);
    h2->is_sending = false;
    if (n < 0 && !h2->conn->is_dead)
        vf_downstream_close(h2->conn, "out_of_memory");
}

void vf_h2_pump(struct vf_h2 *h2)
{
    if (h2->depth > 0 || h2->is_sending || h2->conn->is_dead) {
        vf_h2_pend(h2);
        return;
    }
    make_frames(h2);
    if (!h2->conn->is_dead)
        take_back(h2);
    if (!h2->conn->is_dead)
        wake(h2);
}

void vf_h2_flush(struct vf_proxy *proxy)
{
    while (proxy->pending_h2 != NULL) {
        struct vf_h2 *h2 = proxy->pending_h2;
        proxy->pending_h2 = h2->next_pending;
        h2->is_pending = false;
        vf_h2_resume_streams(h2);
        if (!h2->conn->is_dead)
            vf_h2_pump(h2);
        if (!h2->conn->is_dead)
            vf_h2_end_if_over(h2);
    }
}
