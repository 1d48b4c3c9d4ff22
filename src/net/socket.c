#define _GNU_SOURCE
#include "net/socket.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "net/outside.h"
#include "net/socket_parts.h"
#include "net/udp.h"

static struct vf_socket *of_stream(struct vf_stream *stream)
{
    return (struct vf_socket *)stream;
}

/* Events */

static void on_connected(struct vf_stream *stream)
{
    vf_op_end(&of_stream(stream)->writing, 0);
}

static void on_readable(struct vf_stream *stream)
{
    struct vf_socket *socket = of_stream(stream);
    if (socket->parked) {
        vf_socket_close(socket);
        return;
    }
    if (socket->reading.pending) {
        int rc = vf_socket_pump(socket);
        if (rc != VF_PENDING)
            vf_op_end(&socket->reading, rc);
    }
    if (socket->until_input)
        vf_op_end(&socket->writing, 0);
}

static void on_drained(struct vf_stream *stream)
{
    vf_op_end(&of_stream(stream)->writing, 0);
}

/* What the peer said before is still there to be received. */
static void on_failed(struct vf_stream *stream, int error)
{
    struct vf_socket *socket = of_stream(stream);
    socket->write_end = error;
    if (stream->connecting)
        socket->may_retry = vf_dial_failed(&socket->dial);
    vf_op_end(&socket->writing, error);
}

const struct vf_stream_events vf_socket_events = {.on_connected = on_connected,
                                                  .on_readable = on_readable,
                                                  .on_drained = on_drained,
                                                  .on_failed = on_failed};

static void on_reading_expired(struct vf_op *op)
{
    struct vf_socket *socket =
        (struct vf_socket *)((char *)op - offsetof(struct vf_socket, reading));
    if (socket->parked)
        vf_socket_close(socket);
}

static void on_writing_expired(struct vf_op *op)
{
    struct vf_socket *socket =
        (struct vf_socket *)((char *)op - offsetof(struct vf_socket, writing));
    if (socket->stream.connecting)
        socket->may_retry = vf_dial_failed(&socket->dial);
}

/* All of them */

static void on_reap(struct vf_timer *timer)
{
    struct vf_sockets *sockets =
        (struct vf_sockets *)((char *)timer - offsetof(struct vf_sockets, reaper));
    while (sockets->dead != NULL) {
        struct vf_socket *socket = sockets->dead;
        sockets->dead = socket->next;
        free(socket);
    }
}

int vf_sockets_new(struct vf_net *net, struct vf_resolver *resolver, uint32_t max_sockets,
                   struct vf_sockets **out)
{
    struct vf_sockets *sockets = calloc(1, sizeof(*sockets));
    if (sockets == NULL)
        return UV_ENOMEM;
    sockets->net = net;
    sockets->max_sockets = max_sockets;
    sockets->reaper.on_fire = on_reap;
    sockets->scratch = malloc(VF_SOCKET_SCRATCH_BYTES);
    if (sockets->scratch == NULL || vf_dials_new(resolver, &sockets->dials) < 0) {
        free(sockets->scratch);
        free(sockets);
        return UV_ENOMEM;
    }
    *out = sockets;
    return 0;
}

void vf_sockets_free(struct vf_sockets *sockets)
{
    if (sockets == NULL)
        return;
    while (sockets->list != NULL) {
        struct vf_socket *socket = sockets->list;
        vf_socket_close(socket);
        if (sockets->list != socket) /* whoever was told has freed it */
            continue;
        sockets->list = socket->next;
        socket->owner = NULL;
    }
    vf_udps_close(sockets);
    vf_reactor_timer_stop(sockets->net->reactor, &sockets->reaper);
    on_reap(&sockets->reaper);
    vf_dials_free(sockets->dials);
    free(sockets->scratch);
    free(sockets);
}

struct vf_socket *vf_socket_new(struct vf_sockets *sockets)
{
    if (sockets->n_sockets >= sockets->max_sockets)
        return NULL;
    struct vf_socket *socket = calloc(1, sizeof(*socket));
    if (socket == NULL)
        return NULL;
    socket->owner = sockets;
    socket->stream.io.fd = -1;
    socket->max_input = VF_SOCKET_INPUT_BYTES;
    vf_op_init(&socket->reading, sockets->net->reactor);
    vf_op_init(&socket->writing, sockets->net->reactor);
    socket->reading.on_expire = on_reading_expired;
    socket->writing.on_expire = on_writing_expired;
    socket->next = sockets->list;
    if (socket->next != NULL)
        socket->next->prev = socket;
    sockets->list = socket;
    sockets->n_sockets++;
    return socket;
}

static void tell_end(struct vf_socket *socket)
{
    void (*on_end)(void *owner) = socket->on_end;
    socket->on_end = NULL;
    if (on_end != NULL)
        on_end(socket->end_owner);
}

void vf_socket_on_end(struct vf_socket *socket, void (*on_end)(void *owner), void *owner)
{
    socket->on_end = on_end;
    socket->end_owner = owner;
}

void *vf_socket_end_owner(const struct vf_socket *socket)
{
    return socket->on_end != NULL ? socket->end_owner : NULL;
}

void vf_socket_close(struct vf_socket *socket)
{
    if (socket->owner == NULL)
        return;
    socket->parked = false;
    if (socket->stream.io.fd >= 0)
        vf_stream_close(&socket->stream, false);
    tell_end(socket);
    socket->read_end = socket->write_end = UV_ENOTCONN;
    vf_dial_end(&socket->dial);
    vf_socket_drop_input(socket);
    vf_op_end(&socket->reading, UV_ECANCELED);
    vf_op_end(&socket->writing, UV_ECANCELED);
}

/* The memory may be on the stack of the event that ended it: it goes a little later. */
void vf_socket_free(struct vf_socket *socket)
{
    if (socket == NULL)
        return;
    struct vf_sockets *sockets = socket->owner;
    if (sockets == NULL) {
        free(socket);
        return;
    }
    vf_socket_close(socket);
    if (socket->prev != NULL)
        socket->prev->next = socket->next;
    else
        sockets->list = socket->next;
    if (socket->next != NULL)
        socket->next->prev = socket->prev;
    sockets->n_sockets--;
    socket->next = sockets->dead;
    sockets->dead = socket;
    vf_reactor_timer(sockets->net->reactor, &sockets->reaper, 0);
}

struct vf_op *vf_socket_reading(struct vf_socket *socket)
{
    return &socket->reading;
}

struct vf_op *vf_socket_writing(struct vf_socket *socket)
{
    return &socket->writing;
}

void vf_socket_set_max_input(struct vf_socket *socket, size_t bytes)
{
    socket->max_input = bytes;
}

const char *vf_socket_why(const struct vf_socket *socket, int rc)
{
    if (rc == VF_ENOADDRESS && socket->dial.error != NULL)
        return socket->dial.error;
    return vf_error_text(rc);
}

bool vf_socket_may_retry(const struct vf_socket *socket)
{
    return socket->may_retry;
}

bool vf_socket_is_open(const struct vf_socket *socket)
{
    return vf_socket_stands(socket);
}

/* Connecting */

static int connect_to(struct vf_socket *socket, const struct sockaddr_storage *address,
                      socklen_t len)
{
    int fd = vf_outside_connect(SOCK_STREAM, address, len);
    int rc =
        fd < 0 ? fd : vf_stream_open(&socket->stream, socket->owner->net, &vf_socket_events, fd);
    if (rc < 0) {
        if (fd >= 0)
            close(fd);
        socket->may_retry = vf_dial_failed(&socket->dial);
        return rc;
    }
    socket->stream.connecting = true; /* also when it stands: the event is under way */
    socket->read_end = socket->write_end = 0;
    return VF_PENDING;
}

static void on_resolved(struct vf_dial *dial)
{
    struct vf_socket *socket =
        (struct vf_socket *)((char *)dial - offsetof(struct vf_socket, dial));
    struct sockaddr_storage address;
    socklen_t len;
    int rc = vf_dial_take(dial, &address, &len);
    if (rc == 0)
        rc = connect_to(socket, &address, len);
    if (rc != VF_PENDING)
        vf_op_end(&socket->writing, rc);
}

int vf_socket_connect(struct vf_socket *socket, const char *host, size_t len, int port,
                      uint64_t timeout_ms)
{
    struct sockaddr_storage address;
    socklen_t address_len;
    int rc;
    if (socket->owner == NULL)
        return UV_ECANCELED;
    if (socket->writing.pending || socket->stream.io.fd >= 0)
        return UV_EBUSY;
    socket->may_retry = false;
    if (port < 0) {
        rc = vf_unix_address(host, len, &address, &address_len);
        if (rc == 0)
            rc = connect_to(socket, &address, address_len);
    } else {
        socket->dial.on_resolved = on_resolved;
        rc = vf_dial_start(&socket->dial, socket->owner->dials, vf_str_make(host, len),
                           (uint16_t)port, &address, &address_len);
        if (rc == 0)
            rc = connect_to(socket, &address, address_len);
    }
    return rc == VF_PENDING ? vf_op_begin(&socket->writing, timeout_ms) : rc;
}

int vf_socket_connect_to(struct vf_socket *socket, const struct sockaddr_storage *address,
                         socklen_t len, uint64_t timeout_ms)
{
    if (socket->owner == NULL)
        return UV_ECANCELED;
    if (socket->writing.pending || socket->stream.io.fd >= 0)
        return UV_EBUSY;
    socket->may_retry = false;
    int rc = connect_to(socket, address, len);
    return rc == VF_PENDING ? vf_op_begin(&socket->writing, timeout_ms) : rc;
}

struct vf_stream *vf_socket_stream(struct vf_socket *socket)
{
    return &socket->stream;
}

int vf_socket_start_transport(struct vf_socket *socket, uint64_t timeout_ms)
{
    int rc = vf_stream_start_transport(&socket->stream);
    if (rc < 0)
        socket->write_end = rc;
    return rc == VF_PENDING ? vf_op_begin(&socket->writing, timeout_ms) : rc;
}

bool vf_socket_at_end(const struct vf_socket *socket)
{
    return socket->read_end != 0;
}

/* Sending */

void vf_socket_add(struct vf_socket *socket, const char *data, size_t len)
{
    if (socket->write_end == 0)
        vf_stream_add(&socket->stream, vf_str_make(data, len));
}

void vf_socket_flush(struct vf_socket *socket)
{
    vf_stream_flush(&socket->stream);
}

size_t vf_socket_unsent(const struct vf_socket *socket)
{
    return vf_stream_pending(&socket->stream);
}

int vf_socket_send(struct vf_socket *socket, uint64_t timeout_ms, bool until_input)
{
    if (!vf_socket_is_open(socket))
        return UV_ENOTCONN;
    vf_stream_flush(&socket->stream);
    if (socket->write_end != 0)
        return socket->write_end;
    if (vf_socket_unsent(socket) == 0)
        return 0;
    if (socket->writing.pending)
        return UV_EBUSY;
    socket->until_input = until_input;
    if (until_input && (socket->stream.readable || vf_socket_input_len(socket) > 0))
        return 0;
    return vf_op_begin(&socket->writing, timeout_ms);
}

int vf_socket_shutdown(struct vf_socket *socket)
{
    if (!vf_socket_is_open(socket))
        return UV_ENOTCONN;
    vf_stream_shutdown(&socket->stream);
    socket->write_end = UV_EPIPE;
    return 0;
}
