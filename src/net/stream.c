#define _GNU_SOURCE
#include "net/stream.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/op.h"
#include "net/outq.h"
#include "net/stream_parts.h"
#include "net/transport.h"

enum { SCRATCH_BYTES = 64 * 1024 /* the heads and frame headers of a turn */ };

int vf_net_init(struct vf_net *net, struct vf_reactor *reactor, uint64_t max_buffered_bytes)
{
    *net = (struct vf_net){.reactor = reactor, .max_buffered_bytes = max_buffered_bytes};
    net->read_buffer = malloc(VF_STREAM_TURN_BYTES + 2 * (VF_NET_ROOM_BYTES + VF_NET_READ_BYTES));
    net->scratch = malloc(SCRATCH_BYTES);
    net->joined = malloc(VF_STREAM_JOIN_BYTES);
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
        vf_stream_fail(stream, rc);
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
        if (vf_stream_pending(stream) == 0 || vf_stream_offer(stream))
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
    vf_stream_unlink_dirty(from);
    from->transport = NULL;
    if (to->transport != NULL)
        to->transport->ops->moved(to);
    return 0;
}

void vf_stream_close(struct vf_stream *stream, bool reset)
{
    if (stream->io.fd < 0)
        return;
    vf_stream_unlink_dirty(stream);
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
