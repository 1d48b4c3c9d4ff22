/* proxy/listen.c - listening sockets: who is let in, up to the ceiling of connections. An acceptor
 * outlives its socket as long as it has connections. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/secure.h"
#include "snapshot/address.h"

enum {
    ACCEPTS_PER_EVENT = 64,
    FULL_LOG_MS = 10 * 1000, /* between two lines that say that the ceiling was reached */
    ACCEPT_RETRY_MS = 200    /* others may give descriptors back, or memory, without our knowing */
};

static void release_acceptor(struct vf_acceptor *acceptor)
{
    if (--acceptor->refs > 0)
        return;
    vf_tls_server_release(&acceptor->tls);
    free(acceptor);
}

/* At the ceiling nobody is accepted: the connections wait in the kernel's queue. */
static void pause_accepting(struct vf_proxy *proxy)
{
    for (struct vf_acceptor *at = proxy->acceptors; at != NULL; at = at->next)
        if (!at->is_paused) {
            at->is_paused = true;
            vf_reactor_remove(proxy->reactor, &at->io);
        }
}

static void resume_accepting(struct vf_proxy *proxy)
{
    for (struct vf_acceptor *at = proxy->acceptors; at != NULL; at = at->next)
        if (at->is_paused && vf_reactor_add_listener(proxy->reactor, &at->io) == 0)
            at->is_paused = false;
}

static void on_accept_timer(struct vf_timer *timer)
{
    resume_accepting((struct vf_proxy *)((char *)timer - offsetof(struct vf_proxy, accept_timer)));
}

/* Until a connection goes away, or some time has passed. */
static void pause_for_want(struct vf_proxy *proxy)
{
    pause_accepting(proxy);
    proxy->accept_timer.on_fire = on_accept_timer;
    vf_reactor_timer(proxy->reactor, &proxy->accept_timer, ACCEPT_RETRY_MS);
}

/* At the ceiling each connection that goes lets one in, and is at the ceiling again. */
static void log_full(struct vf_proxy *proxy)
{
    uint64_t now_ms = vf_reactor_now_ms(proxy->reactor);
    if (proxy->full_logged_ms != 0 && now_ms - proxy->full_logged_ms < FULL_LOG_MS)
        return;
    proxy->full_logged_ms = now_ms;
    vf_log_warn(&proxy->log, "listener.full", "connections=%lu", proxy->n_connections);
}

/* Returns false when the queue is empty, or accepting has to stop. */
static bool accept_one(struct vf_acceptor *acceptor)
{
    struct vf_proxy *proxy = acceptor->proxy;
    struct sockaddr_storage storage = {0};
    socklen_t len = sizeof(storage);
    if (proxy->n_connections >= proxy->max_connections) {
        log_full(proxy);
        pause_accepting(proxy);
        return false;
    }
    int fd =
        accept4(acceptor->io.fd, (struct sockaddr *)&storage, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == ECONNABORTED || errno == EINTR)
            return true;
        if (errno != EAGAIN) {
            vf_count_add(&proxy->block->totals.accept_failures, 1);
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                pause_for_want(proxy);
        }
        return false;
    }
    struct vf_snap_address peer = vf_address_from_socket(&storage);
    vf_downstream_accept(acceptor, fd, &peer);
    return true;
}

static void on_acceptable(struct vf_io *io, uint32_t events)
{
    struct vf_acceptor *acceptor = (struct vf_acceptor *)io;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_EVENT && accept_one(acceptor); i++)
        ;
}

void vf_proxy_connection_closed(struct vf_proxy *proxy, struct vf_acceptor *acceptor)
{
    proxy->n_connections--;
    release_acceptor(acceptor);
    if (proxy->acceptors != NULL && proxy->acceptors->is_paused && !proxy->draining)
        resume_accepting(proxy);
    if (proxy->draining && proxy->n_connections == 0)
        vf_reactor_timer(proxy->reactor, &proxy->drain_timer, 0);
}

/* Its record; sockets of a handler need not be listeners of the configuration. */
static const struct vf_snap_listener *find_acceptable(const struct vf_proxy *proxy,
                                                      const char *name)
{
    const struct vf_snap_listener *listener =
        vf_proxy_find_listener(proxy->snapshot, vf_str_from(name));
    if (listener != NULL || !proxy->has_handler)
        return listener;
    uint32_t n = vf_snap_count(proxy->snapshot, VF_SNAP_LISTENERS);
    for (uint32_t i = 0; i < n; i++) {
        listener = vf_snap_listener(proxy->snapshot, i);
        if (listener->kind == VF_LISTENER_ADMIN)
            return listener;
    }
    return listener; /* any, or NULL */
}

/* One that is gone is accepted from until its socket is closed; limits have to come from somewhere
 * until its connections end. */
static void follow_listener(struct vf_proxy *proxy, struct vf_acceptor *acceptor)
{
    const struct vf_snap_listener *listener = find_acceptable(proxy, acceptor->name);
    acceptor->is_gone = listener == NULL;
    acceptor->listener = acceptor->is_gone ? vf_snap_listener(proxy->snapshot, 0) : listener;
    if (acceptor->is_gone)
        return;
    acceptor->has_proxy_header = listener->proxy_protocol != 0;
    acceptor->mode = listener->mode;
    int rc = vf_secure_follow(proxy, acceptor);
    if (rc < 0)
        vf_log_error(&proxy->log, "tls.unusable", "listener=%s err=%s", acceptor->name,
                     uv_err_name(rc));
}

int vf_proxy_listen(struct vf_proxy *proxy, struct vf_str name, int fd)
{
    struct vf_acceptor *acceptor = calloc(1, sizeof(*acceptor));
    int on = 1, rc = UV_ENOENT;
    if (acceptor == NULL || proxy->snapshot == NULL || name.len >= sizeof(acceptor->name)) {
        rc = acceptor == NULL ? UV_ENOMEM : rc;
        goto fail;
    }
    acceptor->io = (struct vf_io){.fd = fd, .on_ready = on_acceptable};
    acceptor->proxy = proxy;
    acceptor->refs = 1;
    memcpy(acceptor->name, name.data, name.len);
    follow_listener(proxy, acceptor);
    if (acceptor->is_gone)
        goto fail;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* accepted sockets inherit it */
    if ((rc = vf_reactor_add_listener(proxy->reactor, &acceptor->io)) < 0)
        goto fail;
    acceptor->next = proxy->acceptors;
    proxy->acceptors = acceptor;
    return 0;

fail:
    if (acceptor != NULL)
        vf_tls_server_release(&acceptor->tls);
    free(acceptor);
    close(fd);
    return rc;
}

/* Requests that came with their connections begin here, outside of an event. */
static void empty_queue(struct vf_acceptor *acceptor)
{
    vf_reactor_refresh(acceptor->proxy->reactor);
    while (accept_one(acceptor))
        ;
    vf_proxy_flush(acceptor->proxy);
}

void vf_proxy_unlisten(struct vf_proxy *proxy, int fd, bool drain_queue)
{
    struct vf_acceptor **at = &proxy->acceptors;
    while (*at != NULL && (*at)->io.fd != fd)
        at = &(*at)->next;
    struct vf_acceptor *acceptor = *at;
    if (acceptor == NULL)
        return;
    if (drain_queue)
        empty_queue(acceptor);
    *at = acceptor->next;
    if (!acceptor->is_paused)
        vf_reactor_remove(proxy->reactor, &acceptor->io);
    close(fd); /* others may hold the socket: closing alone would not unregister it */
    acceptor->io.fd = -1;
    release_acceptor(acceptor);
}

void vf_proxy_follow_listeners(struct vf_proxy *proxy)
{
    for (struct vf_acceptor *at = proxy->acceptors; at != NULL; at = at->next)
        follow_listener(proxy, at);
    for (struct vf_downstream *client = proxy->connections; client != NULL; client = client->next)
        follow_listener(proxy, client->acceptor);
}
