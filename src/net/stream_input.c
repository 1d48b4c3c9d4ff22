/* Receiving: into the buffer that all streams of a net share, when it is asked for or before. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/stream_parts.h"
#include "net/transport.h"

/* Without output no slice points into the read buffer: what was queued was sent, or copied. */
static void rewind_input(struct vf_net *net)
{
    if (net->dirty == NULL)
        net->read_used = net->gathered;
}

/* Receives behind what is in use. Stores where that begins in *at. */
static ssize_t receive(struct vf_stream *stream, size_t *at)
{
    struct vf_net *net = stream->net;
    *at = net->read_used + VF_NET_ROOM_BYTES;
    ssize_t n = vf_stream_recv(stream, net->read_buffer + *at, vf_net_read_size(net));
    if (n > 0)
        net->read_used = *at + (size_t)n;
    return n;
}

void vf_net_used_up(struct vf_net *net, const char *start, const char *end)
{
    const char *buffer_end = net->read_buffer + net->read_used;
    if (start < net->last_read || end > buffer_end)
        return;
    net->used_up = (char *)(uintptr_t)start - (start == net->last_read ? VF_NET_ROOM_BYTES : 0);
    net->used_up_end = (char *)(uintptr_t)end;
}

void vf_stream_gather(struct vf_io *io, uint32_t events)
{
    struct vf_stream *stream = (struct vf_stream *)io;
    struct vf_net *net = stream->net;
    if (events != (EPOLLIN | EPOLLOUT) || stream->connecting || stream->blocked ||
        stream->transport != NULL || stream->has_gathered || stream->events->will_read == NULL)
        return;
    rewind_input(net);
    if (net->read_used >= VF_STREAM_TURN_BYTES || !stream->events->will_read(stream))
        return;
    size_t at;
    stream->readable = true;
    stream->gathered = (int32_t)receive(stream, &at);
    stream->gathered_at = (uint32_t)at;
    stream->gathered_all = !stream->readable;
    stream->has_gathered = stream->readable = true;
    net->n_gathered++;
    if (stream->gathered > 0)
        net->gathered = net->read_used;
}

ssize_t vf_transport_recv(struct vf_stream *stream, char *buffer, size_t len)
{
    ssize_t n = recv(stream->io.fd, buffer, len, 0);
    if (n < 0) {
        n = uv_translate_sys_error(errno);
        stream->readable = false;
    } else if ((size_t)n < len && !stream->hung_up) {
        stream->readable = false; /* drained: the next byte raises a new edge */
    } else if (n == 0) {
        stream->readable = false;
    }
    return n;
}

ssize_t vf_stream_recv(struct vf_stream *stream, char *buffer, size_t len)
{
    if (stream->transport != NULL)
        return stream->transport->ops->recv(stream, buffer, len);
    return vf_transport_recv(stream, buffer, len);
}

/* Returns what was gathered. */
static ssize_t take_gathered(struct vf_stream *stream, size_t *at)
{
    *at = stream->gathered_at;
    stream->readable = !stream->gathered_all;
    vf_stream_forget_gathered(stream);
    return stream->gathered;
}

ssize_t vf_stream_read(struct vf_stream *stream, char **data)
{
    struct vf_net *net = stream->net;
    size_t at;
    ssize_t n;
    if (stream->is_dirty) /* an answer goes before the end of file that may be read next */
        vf_stream_flush(stream);
    if (net->read_used >= VF_STREAM_TURN_BYTES && !stream->has_gathered)
        vf_net_flush(net);
    if (stream->io.fd < 0) /* a write failed and the owner closed */
        return UV_ECANCELED;
    if (stream->has_gathered) {
        n = take_gathered(stream, &at);
    } else {
        rewind_input(net);
        n = receive(stream, &at);
    }
    *data = net->last_read = net->read_buffer + at;
    net->used_up_end = NULL;
    return n;
}
