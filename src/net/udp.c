#define _GNU_SOURCE
#include "net/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "net/outside.h"

struct vf_udp {
    struct vf_io io;          /* first member */
    struct vf_sockets *owner; /* NULL: they have gone */
    struct vf_udp *next, *prev;
    struct vf_op op;
    struct vf_dial dial;
    struct vf_str got; /* what the operation received */
    char *kept;        /* `got` of an operation that had to wait */
};

static void drop_kept(struct vf_udp *udp)
{
    free(udp->kept);
    udp->kept = NULL;
    udp->got = vf_str_make(NULL, 0);
}

/* Receives into the shared memory. Returns 0, UV_EAGAIN or UV_E*. */
static int receive_now(struct vf_udp *udp)
{
    char *scratch = udp->owner->scratch;
    ssize_t n = recv(udp->io.fd, scratch, VF_SOCKET_SCRATCH_BYTES, 0);
    if (n < 0)
        return uv_translate_sys_error(errno);
    udp->got = vf_str_make(scratch, (size_t)n);
    return 0;
}

/* Others will use the shared memory before the receiver runs. */
static int keep_got(struct vf_udp *udp)
{
    udp->kept = malloc(udp->got.len + 1);
    if (udp->kept == NULL)
        return UV_ENOMEM;
    if (udp->got.len > 0)
        memcpy(udp->kept, udp->got.data, udp->got.len);
    udp->got.data = udp->kept;
    return 0;
}

static void on_ready(struct vf_io *io, uint32_t ready)
{
    struct vf_udp *udp = (struct vf_udp *)io;
    if (!udp->op.pending || (ready & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0)
        return;
    int rc = receive_now(udp);
    if (rc == UV_EAGAIN)
        return;
    vf_op_end(&udp->op, rc == 0 ? keep_got(udp) : rc);
}

struct vf_udp *vf_udp_new(struct vf_sockets *sockets)
{
    if (sockets->n_sockets >= sockets->max_sockets)
        return NULL;
    struct vf_udp *udp = calloc(1, sizeof(*udp));
    if (udp == NULL)
        return NULL;
    udp->owner = sockets;
    udp->io.fd = -1;
    udp->io.on_ready = on_ready;
    vf_op_init(&udp->op, sockets->net->reactor);
    udp->next = sockets->udps;
    if (udp->next != NULL)
        udp->next->prev = udp;
    sockets->udps = udp;
    sockets->n_sockets++;
    return udp;
}

void vf_udp_close(struct vf_udp *udp)
{
    if (udp->owner == NULL)
        return;
    vf_reactor_close(udp->owner->net->reactor, &udp->io);
    vf_dial_end(&udp->dial);
    drop_kept(udp);
    vf_op_end(&udp->op, UV_ECANCELED);
}

void vf_udp_free(struct vf_udp *udp)
{
    if (udp == NULL)
        return;
    struct vf_sockets *sockets = udp->owner;
    vf_udp_close(udp);
    if (sockets != NULL) {
        if (udp->prev != NULL)
            udp->prev->next = udp->next;
        else
            sockets->udps = udp->next;
        if (udp->next != NULL)
            udp->next->prev = udp->prev;
        sockets->n_sockets--;
    }
    free(udp);
}

void vf_udps_close(struct vf_sockets *sockets)
{
    while (sockets->udps != NULL) {
        struct vf_udp *udp = sockets->udps;
        vf_udp_close(udp);
        sockets->udps = udp->next;
        udp->owner = NULL;
    }
}

bool vf_udp_is_open(const struct vf_udp *udp)
{
    return udp->io.fd >= 0;
}

struct vf_op *vf_udp_op(struct vf_udp *udp)
{
    return &udp->op;
}

const char *vf_udp_why(const struct vf_udp *udp, int rc)
{
    return rc == VF_ENOADDRESS && udp->dial.error != NULL ? udp->dial.error : vf_error_text(rc);
}

static int connect_to(struct vf_udp *udp, const struct sockaddr_storage *address, socklen_t len)
{
    int fd = vf_outside_connect(SOCK_DGRAM, address, len);
    if (fd < 0)
        return fd;
    udp->io.fd = fd;
    int rc = vf_reactor_add(udp->owner->net->reactor, &udp->io);
    if (rc < 0) {
        close(fd);
        udp->io.fd = -1;
    }
    return rc;
}

static void on_resolved(struct vf_dial *dial)
{
    struct vf_udp *udp = (struct vf_udp *)((char *)dial - offsetof(struct vf_udp, dial));
    struct sockaddr_storage address;
    socklen_t len;
    if (!udp->op.pending) /* nobody waits any more */
        return;
    int rc = vf_dial_take(dial, &address, &len);
    vf_op_end(&udp->op, rc == 0 ? connect_to(udp, &address, len) : rc);
}

int vf_udp_connect(struct vf_udp *udp, const char *host, size_t len, int port, uint64_t timeout_ms)
{
    struct sockaddr_storage address;
    socklen_t address_len;
    if (udp->owner == NULL)
        return UV_ECANCELED;
    if (udp->op.pending || udp->io.fd >= 0)
        return UV_EBUSY;
    vf_dial_end(&udp->dial); /* of a name that was given up */
    if (port < 0) {
        int rc = vf_unix_address(host, len, &address, &address_len);
        return rc < 0 ? rc : connect_to(udp, &address, address_len);
    }
    udp->dial.on_resolved = on_resolved;
    int rc = vf_dial_start(&udp->dial, udp->owner->dials, vf_str_make(host, len), (uint16_t)port,
                           &address, &address_len);
    if (rc == VF_PENDING)
        return vf_op_begin(&udp->op, timeout_ms);
    return rc < 0 ? rc : connect_to(udp, &address, address_len);
}

int vf_udp_send(struct vf_udp *udp, const char *data, size_t len)
{
    if (udp->io.fd < 0)
        return UV_ENOTCONN;
    return send(udp->io.fd, data, len, MSG_NOSIGNAL) < 0 ? uv_translate_sys_error(errno) : 0;
}

int vf_udp_receive(struct vf_udp *udp, uint64_t timeout_ms)
{
    if (udp->op.pending)
        return UV_EBUSY;
    if (udp->io.fd < 0)
        return UV_ENOTCONN;
    drop_kept(udp);
    int rc = receive_now(udp);
    return rc == UV_EAGAIN ? vf_op_begin(&udp->op, timeout_ms) : rc;
}

void vf_udp_take(struct vf_udp *udp, struct vf_str *out)
{
    *out = udp->got;
    udp->got = vf_str_make(NULL, 0);
}
