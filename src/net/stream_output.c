/* Sending: what was added leaves at once where it can, and is copied where it cannot. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "net/outq.h"
#include "net/stream_parts.h"
#include "net/transport.h"

static void release_if_empty(struct vf_stream *stream)
{
    struct vf_outq *out = stream->out;
    if (out == NULL || out->end > out->begin || out->n_slices > 0)
        return;
    stream->out = NULL;
    vf_outq_give(stream->net, out);
}

void vf_stream_fail(struct vf_stream *stream, int error)
{
    stream->blocked = false;
    stream->events->on_failed(stream, error);
    if (stream->io.fd >= 0 && stream->out != NULL) {
        vf_outq_give(stream->net, stream->out);
        stream->out = NULL;
    }
}

static ssize_t send_slices(int fd, const struct vf_outq *out)
{
    struct iovec parts[VF_OUTQ_SLICES + 1];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = vf_outq_list(out, parts)};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static ssize_t send_through(struct vf_stream *stream)
{
    struct iovec parts[VF_OUTQ_SLICES + 1];
    size_t n = stream->out == NULL ? 0 : vf_outq_list(stream->out, parts);
    return stream->transport->ops->send(stream, parts, (int)n);
}

static ssize_t send_joined(int fd, const struct vf_outq *out, char *joined)
{
    size_t len = 0;
    for (int i = 0; i < out->n_slices; i++) {
        memcpy(joined + len, out->slices[i].iov_base, out->slices[i].iov_len);
        len += out->slices[i].iov_len;
    }
    return send(fd, joined, len, MSG_NOSIGNAL);
}

static ssize_t send_once(struct vf_stream *stream)
{
    const struct vf_outq *out = stream->out;
    int fd = stream->io.fd;
    ssize_t n;
    if (stream->transport != NULL)
        return send_through(stream);
    if (out->end == out->begin && out->n_slices == 1)
        n = send(fd, out->slices[0].iov_base, out->slices[0].iov_len, MSG_NOSIGNAL);
    else if (out->end == out->begin && out->slice_bytes <= VF_STREAM_JOIN_BYTES)
        n = send_joined(fd, out, stream->net->joined);
    else
        n = send_slices(fd, out);
    return n >= 0 ? n : uv_translate_sys_error(errno);
}

static size_t unsent_below(const struct vf_stream *stream)
{
    return stream->transport == NULL ? 0 : stream->transport->unsent;
}

/* End of file follows everything that was queued. */
static void send_end(struct vf_stream *stream)
{
    if (stream->transport != NULL)
        stream->transport->ops->end(stream);
    if (unsent_below(stream) == 0)
        shutdown(stream->io.fd, SHUT_WR);
}

static void after_drain(struct vf_stream *stream)
{
    release_if_empty(stream);
    if (stream->shut)
        send_end(stream);
}

bool vf_stream_offer(struct vf_stream *stream)
{
    struct vf_outq *out = stream->out;
    size_t total = vf_stream_pending(stream) - unsent_below(stream);
    ssize_t n = 0;
    if (!stream->blocked && !stream->connecting && total + unsent_below(stream) > 0)
        n = send_once(stream);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0) {
        vf_stream_fail(stream, (int)n);
        return false;
    }
    stream->bytes_out += (uint64_t)n;
    if (n > 0)
        vf_outq_drop(out, stream->net, (size_t)n);
    if ((size_t)n == total && unsent_below(stream) == 0) {
        after_drain(stream);
        return true;
    }
    if (!stream->connecting)
        stream->blocked = true;
    if (out != NULL && vf_outq_keep_slices(out, stream->net) < 0)
        vf_stream_fail(stream, UV_ENOMEM);
    else
        release_if_empty(stream);
    return false;
}

void vf_stream_unlink_dirty(struct vf_stream *stream)
{
    if (!stream->is_dirty)
        return;
    struct vf_stream **at = &stream->net->dirty;
    while (*at != stream)
        at = &(*at)->next_dirty;
    *at = stream->next_dirty;
    stream->is_dirty = false;
}

void vf_stream_flush(struct vf_stream *stream)
{
    vf_stream_unlink_dirty(stream);
    if (stream->out != NULL && stream->io.fd >= 0)
        vf_stream_offer(stream);
}

void vf_net_flush(struct vf_net *net)
{
    while (net->dirty != NULL) {
        struct vf_stream *stream = net->dirty;
        net->dirty = stream->next_dirty;
        stream->is_dirty = false;
        if (stream->out != NULL && stream->io.fd >= 0)
            vf_stream_offer(stream);
    }
    net->scratch_used = 0;
}

ssize_t vf_transport_send(struct vf_stream *stream, const char *data, size_t len)
{
    ssize_t n = send(stream->io.fd, data, len, MSG_NOSIGNAL);
    return n >= 0 ? n : uv_translate_sys_error(errno);
}

/* Puts the one slice that is queued in front of `slice`, into memory that is used up. Returns false
 * when that does not fit. */
static __attribute__((noinline)) bool put_in_front(struct vf_stream *stream, struct vf_str slice)
{
    struct vf_net *net = stream->net;
    struct vf_outq *out = stream->out;
    size_t room = (size_t)(net->used_up_end - net->used_up);
    if (out->n_slices != 1 || out->slice_bytes > room)
        return false;
    char *start = net->used_up_end - out->slice_bytes;
    memcpy(start, out->slices[0].iov_base, out->slice_bytes);
    out->slice_bytes += slice.len;
    out->slices[0] = (struct iovec){start, out->slice_bytes};
    net->used_up_end = NULL;
    return true;
}

void vf_stream_add(struct vf_stream *stream, struct vf_str slice)
{
    if (slice.len == 0 || stream->io.fd < 0)
        return;
    if (stream->out == NULL && (stream->out = vf_outq_take(stream->net)) == NULL) {
        shutdown(stream->io.fd, SHUT_RDWR); /* out of memory: the owner sees end of file soon */
        return;
    }
    struct vf_outq *out = stream->out;
    if (out->n_slices == VF_OUTQ_SLICES) {
        vf_stream_flush(stream);
        if ((out = stream->out) == NULL) {
            vf_stream_add(stream, slice);
            return;
        }
    }
    if (slice.data != stream->net->used_up_end || !put_in_front(stream, slice))
        vf_outq_add(out, slice);
    if (!stream->is_dirty) {
        stream->is_dirty = true;
        stream->next_dirty = stream->net->dirty;
        stream->net->dirty = stream;
    }
}

size_t vf_stream_pending(const struct vf_stream *stream)
{
    const struct vf_outq *out = stream->out;
    size_t below = stream->transport == NULL ? 0 : stream->transport->unsent;
    return below + (out == NULL ? 0 : vf_outq_bytes(out));
}

void vf_stream_move_output(struct vf_stream *from, struct vf_stream *to)
{
    if (from->out == NULL)
        return;
    vf_stream_unlink_dirty(from);
    if (vf_outq_keep_slices(from->out, from->net) == 0) {
        struct vf_outq *out = from->out;
        vf_stream_add(to, vf_str_make(out->buffer + out->begin, out->end - out->begin));
        vf_stream_flush(to); /* copies at once: the buffer is about to be reused */
    }
    vf_outq_give(from->net, from->out);
    from->out = NULL;
}

void vf_stream_shutdown(struct vf_stream *stream)
{
    stream->shut = true;
    vf_stream_flush(stream);
    if (stream->io.fd >= 0 && vf_stream_pending(stream) == 0)
        send_end(stream);
}
