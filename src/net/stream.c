#define _GNU_SOURCE
#include "net/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/op.h"
#include "net/outq.h"
#include "net/stream_parts.h"
#include "net/transport.h"

enum {
    SCRATCH_BYTES = 64 * 1024, /* the heads and frame headers of a turn */
    JOIN_BYTES = 8192          /* up to here a copy costs less than sending slices */
};

int vf_net_init(struct vf_net *net, struct vf_reactor *reactor, uint64_t max_buffered_bytes)
{
    *net = (struct vf_net){.reactor = reactor, .max_buffered_bytes = max_buffered_bytes};
    net->read_buffer = malloc(VF_STREAM_TURN_BYTES + 2 * (VF_NET_ROOM_BYTES + VF_NET_READ_BYTES));
    net->scratch = malloc(SCRATCH_BYTES);
    net->joined = malloc(JOIN_BYTES);
    if (net->read_buffer == NULL || net->scratch == NULL || net->joined == NULL) {
        vf_net_deinit(net);
        return UV_ENOMEM;
    }
    return 0;
}

void vf_net_deinit(struct vf_net *net)
{
    vf_outq_free_spare(net);
    free(net->read_buffer);
    free(net->scratch);
    free(net->joined);
    net->read_buffer = net->scratch = net->joined = NULL;
}

char *vf_net_scratch(struct vf_net *net, size_t size)
{
    if (net->scratch_used + size > SCRATCH_BYTES)
        vf_net_flush(net);
    char *piece = net->scratch + net->scratch_used;
    net->scratch_used += size;
    return piece;
}

static void release_if_empty(struct vf_stream *stream)
{
    struct vf_outq *out = stream->out;
    if (out == NULL || out->end > out->begin || out->n_slices > 0)
        return;
    stream->out = NULL;
    vf_outq_give(stream->net, out);
}

/* The owner may take what was not sent (vf_stream_move_output); the rest is dropped. */
static void fail(struct vf_stream *stream, int error)
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
    else if (out->end == out->begin && out->slice_bytes <= JOIN_BYTES)
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

/* Returns true when everything was sent. */
static bool offer(struct vf_stream *stream)
{
    struct vf_outq *out = stream->out;
    size_t total = vf_stream_pending(stream) - unsent_below(stream);
    ssize_t n = 0;
    if (!stream->blocked && !stream->connecting && total + unsent_below(stream) > 0)
        n = send_once(stream);
    if (n == UV_EAGAIN)
        n = 0;
    if (n < 0) {
        fail(stream, (int)n);
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
        fail(stream, UV_ENOMEM);
    else
        release_if_empty(stream);
    return false;
}

static void unlink_dirty(struct vf_stream *stream)
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
    unlink_dirty(stream);
    if (stream->out != NULL && stream->io.fd >= 0)
        offer(stream);
}

void vf_net_flush(struct vf_net *net)
{
    while (net->dirty != NULL) {
        struct vf_stream *stream = net->dirty;
        net->dirty = stream->next_dirty;
        stream->is_dirty = false;
        if (stream->out != NULL && stream->io.fd >= 0)
            offer(stream);
    }
    net->scratch_used = 0;
}

static void on_connect_event(struct vf_stream *stream)
{
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(stream->io.fd, SOL_SOCKET, SO_ERROR, &error, &len);
    int rc = uv_translate_sys_error(error);
    if (rc == 0 && stream->transport != NULL)
        rc = stream->transport->ops->start(stream);
    if (rc == VF_PENDING)
        return;
    if (rc < 0) {
        fail(stream, rc);
        return;
    }
    stream->connecting = false;
    stream->events->on_connected(stream);
    if (stream->io.fd >= 0 && stream->out != NULL)
        vf_stream_flush(stream);
}

static void on_ready(struct vf_io *io, uint32_t events)
{
    struct vf_stream *stream = (struct vf_stream *)io;
    if (stream->connecting) {
        uint32_t due = EPOLLOUT | EPOLLERR | EPOLLHUP | (stream->transport != NULL ? EPOLLIN : 0);
        if ((events & due) == 0)
            return;
        stream->readable = stream->readable || (events & ~(uint32_t)EPOLLOUT) != 0;
        stream->blocked = stream->blocked && (events & EPOLLOUT) == 0;
        on_connect_event(stream);
        if (io->fd < 0 || stream->connecting)
            return;
    }
    if ((events & EPOLLOUT) != 0 && stream->blocked) {
        stream->blocked = false;
        if (vf_stream_pending(stream) == 0 || offer(stream))
            stream->events->on_drained(stream);
        if (io->fd < 0)
            return;
    }
    /* after our own end of file the peer's announces HUP too: its bytes are still to be read */
    if ((events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && !stream->shut))
        stream->broken = true;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        stream->hung_up = true;
    if (stream->is_dirty) /* an answer goes before the end that the peer may have announced */
        vf_stream_flush(stream);
    if (io->fd < 0)
        return;
    if (stream->yielded || (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        stream->yielded = false;
        stream->readable = true;
        stream->events->on_readable(stream);
        if (stream->has_gathered) { /* against the rules: better an end than a gap */
            vf_stream_forget_gathered(stream);
            shutdown(io->fd, SHUT_RDWR);
        }
    }
}

void vf_stream_init(struct vf_stream *stream, struct vf_net *net,
                    const struct vf_stream_events *events, int fd)
{
    *stream = (struct vf_stream){
        .io = {fd, events->rank, on_ready, vf_stream_gather}, .net = net, .events = events};
}

int vf_stream_watch(struct vf_stream *stream)
{
    return vf_reactor_add(stream->net->reactor, &stream->io);
}

int vf_stream_open(struct vf_stream *stream, struct vf_net *net,
                   const struct vf_stream_events *events, int fd)
{
    vf_stream_init(stream, net, events, fd);
    int rc = vf_stream_watch(stream);
    if (rc < 0)
        stream->io.fd = -1;
    return rc;
}

ssize_t vf_transport_send(struct vf_stream *stream, const char *data, size_t len)
{
    ssize_t n = send(stream->io.fd, data, len, MSG_NOSIGNAL);
    return n >= 0 ? n : uv_translate_sys_error(errno);
}

void vf_stream_set_transport(struct vf_stream *stream, struct vf_transport *transport)
{
    stream->transport = transport;
}

void vf_stream_drop_transport(struct vf_stream *stream)
{
    stream->transport->ops->free(stream, false);
    stream->transport = NULL;
}

int vf_stream_start_transport(struct vf_stream *stream)
{
    int rc = stream->transport->ops->start(stream);
    stream->connecting = rc == VF_PENDING;
    return rc;
}

void vf_stream_yield(struct vf_stream *stream)
{
    stream->yielded = true;
    vf_reactor_rearm(stream->net->reactor, &stream->io);
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
    unlink_dirty(from);
    if (vf_outq_keep_slices(from->out, from->net) == 0) {
        struct vf_outq *out = from->out;
        vf_stream_add(to, vf_str_make(out->buffer + out->begin, out->end - out->begin));
        vf_stream_flush(to); /* copies at once: the buffer is about to be reused */
    }
    vf_outq_give(from->net, from->out);
    from->out = NULL;
}

int vf_stream_move(struct vf_stream *from, struct vf_stream *to,
                   const struct vf_stream_events *events)
{
    struct vf_stream moved = *from;
    moved.io.fd = -1;
    moved.io.rank = events->rank;
    moved.events = events;
    moved.out = NULL;
    moved.next_dirty = NULL;
    moved.is_dirty = false;
    *to = moved;
    int rc = vf_reactor_move(from->net->reactor, &from->io, &to->io);
    if (rc < 0) {
        to->transport = NULL;
        return rc;
    }
    unlink_dirty(from);
    from->transport = NULL;
    if (to->transport != NULL)
        to->transport->ops->moved(to);
    return 0;
}

void vf_stream_shutdown(struct vf_stream *stream)
{
    stream->shut = true;
    vf_stream_flush(stream);
    if (stream->io.fd >= 0 && vf_stream_pending(stream) == 0)
        send_end(stream);
}

void vf_stream_close(struct vf_stream *stream, bool reset)
{
    if (stream->io.fd < 0)
        return;
    unlink_dirty(stream);
    bool is_clean = !reset && vf_stream_pending(stream) == 0;
    vf_stream_forget_gathered(stream);
    if (stream->out != NULL) {
        vf_outq_give(stream->net, stream->out);
        stream->out = NULL;
    }
    if (stream->transport != NULL) {
        stream->transport->ops->free(stream, is_clean);
        stream->transport = NULL;
    }
    if (reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(stream->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    stream->blocked = false;
    vf_reactor_close(stream->net->reactor, &stream->io);
}
