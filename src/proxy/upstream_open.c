/* proxy/upstream_open.c - an exchange gets its connection to a backend: one that is kept, one that
 * others are on, too, or a new one. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/error.h"
#include "net/op.h"
#include "net/outside.h"
#include "net/proxy_protocol.h"
#include "net/resolver.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/h2/link.h"
#include "proxy/upstream_tls.h"
#include "snapshot/address.h"

static struct vf_peer *peer_of(struct vf_upstreams *upstreams, const struct vf_exchange *ex)
{
    return vf_upstreams_peer(upstreams, ex->backend,
                             ex->has_target ? ex->target_host
                                            : vf_snap_str(ex->snapshot, ex->backend->host));
}

/* Takes a connection that is kept, the one that was used last; NULL: there is none. One whose TLS
 * is not what the pool wants by now goes. What others have kept has the pool's. */
static struct vf_upstream_conn *take_kept(struct vf_peer *peer, const struct vf_tls_choice *tls)
{
    struct vf_upstream_conn *up = vf_peer_find_idle(peer, tls->id, tls->is_own);
    if (up != NULL)
        vf_peer_take_idle(up);
    else if (!tls->is_own)
        up = vf_loan_take(peer, tls->id);
    if (up == NULL)
        return NULL;
    vf_count_add(&vf_upstream_counters(up)->reused, 1);
    vf_peer_show(peer);
    return up;
}

static int start_connection(struct vf_exchange *ex, struct vf_peer *peer, uint32_t *tag)
{
    struct sockaddr_storage address;
    socklen_t len;
    int rc = vf_peer_address(peer, ex->backend, &address, &len, tag);
    if (rc < 0)
        return rc;
    int fd = vf_outside_connect(SOCK_STREAM, &address, len);
    if (fd < 0 && *tag != 0)
        vf_name_failed(peer->name, *tag);
    return fd;
}

bool vf_upstream_has_other_address(struct vf_exchange *ex)
{
    struct vf_peer *peer = peer_of(ex->proxy->upstreams, ex);
    return peer != NULL && peer->name != NULL && vf_name_has_other(peer->name);
}

/* Tells a backend that wants it who the client is. */
static void send_proxy_header(struct vf_exchange *ex, struct vf_upstream_conn *up)
{
    struct vf_proxy_header header;
    socklen_t len = sizeof(header.destination);
    char text[VF_PROXY_HEADER_OUT];
    vf_address_to_socket(&ex->client->conn->peer, &header.source);
    if (getsockname(ex->client->conn->stream.io.fd, (struct sockaddr *)&header.destination, &len) <
        0)
        header.destination.ss_family = AF_UNSPEC;
    size_t n = vf_proxy_header_write(ex->pool->proxy_protocol, &header, text);
    if (!vf_stream_is_plain(&up->stream)) {
        vf_tls_send_ahead(&up->stream, text, n); /* without memory the backend refuses */
        return;
    }
    vf_stream_add(&up->stream, vf_str_make(text, n));
    vf_stream_flush(&up->stream); /* `text` is ours: copied while connecting */
}

void vf_upstream_log_tls(const struct vf_upstream_conn *up, const struct vf_exchange *ex)
{
    char reason[64];
    if (!ex->has_target && ex->snapshot == NULL) /* a tunnel stands */
        return;
    struct vf_str address =
        ex->has_target ? ex->target_text : vf_snap_str(ex->snapshot, ex->backend->address_text);
    vf_log_warn(&up->proxy->log, "backend.tls_failed", "backend=%.*s reason=%s", (int)address.len,
                address.data, vf_tls_reason(&up->stream, reason, sizeof(reason)));
}

/* Begins a connection to the exchange's backend. Returns as vf_upstream_open. */
static int connect_new(struct vf_exchange *ex, struct vf_peer *peer,
                       const struct vf_tls_choice *tls, enum vf_tls_ask ask,
                       struct vf_upstream_conn **out)
{
    struct vf_proxy *proxy = ex->proxy;
    struct vf_upstream_conn *up;
    uint32_t tag = 0;
    int fd, rc;
    if (peer->n_open - peer->n_idle >= ex->pool->max_connections)
        return VF_ENOBACKEND;
    if ((fd = start_connection(ex, peer, &tag)) < 0)
        return fd;
    if ((up = vf_upstream_new(peer)) == NULL) {
        close(fd);
        return UV_ENOMEM;
    }
    if ((rc = vf_stream_open(&up->stream, &proxy->net, &vf_upstream_events, fd)) < 0) {
        close(fd);
        free(up);
        return rc;
    }
    up->stream.connecting = true;
    up->address_tag = tag;
    up->moves = peer->moves;
    up->tls_id = tls->id;
    up->has_own_tls = tls->is_own;
    if ((rc = vf_upstream_tls_put(ex, tls, ask, &up->stream)) < 0) {
        vf_stream_close(&up->stream, true);
        free(up);
        return rc;
    }
    ex->on_reused = false;
    ex->connect_ns = vf_proxy_now_ns(proxy);
    vf_count_add(&vf_upstream_counters(up)->connects, 1);
    vf_peer_opened(peer);
    vf_upstream_set_timer(up, ex->policy->value[VF_POLICY_CONNECT_MS]);
    if (ex->pool->proxy_protocol != 0 && ex->client != NULL)
        send_proxy_header(ex, up); /* in front of the handshake */
    *out = up;
    return 0;
}

static int open_h1(struct vf_exchange *ex, struct vf_peer *peer, const struct vf_tls_choice *tls,
                   bool fresh)
{
    struct vf_upstream_conn *up =
        fresh || ex->pool->proxy_protocol != 0 ? NULL : take_kept(peer, tls);
    if (up != NULL) {
        up->sent_mark = up->stream.bytes_out;
        ex->on_reused = true;
        ex->connect_ns = ex->connected_ns = vf_proxy_now_ns(ex->proxy);
    } else {
        int rc = connect_new(ex, peer, tls, VF_TLS_ASK_NOTHING, &up);
        if (rc < 0)
            return rc;
    }
    up->ex = ex;
    ex->upstream = &up->upstream;
    return 0;
}

/* `is_sure`: else what the TLS of the connection comes to. */
static int open_h2(struct vf_exchange *ex, struct vf_peer *peer, const struct vf_tls_choice *tls,
                   bool is_sure)
{
    bool is_private = ex->pool->proxy_protocol != 0;
    struct vf_h2_link *link = is_private ? NULL : vf_h2_link_find(peer, tls->id, tls->is_own);
    if (link == NULL) {
        struct vf_upstream_conn *up;
        int rc = connect_new(ex, peer, tls, is_sure ? VF_TLS_ASK_H2 : VF_TLS_ASK_ANY, &up);
        if (rc < 0)
            return rc;
        if ((link = vf_h2_link_new(up, ex, !is_sure, is_private)) == NULL) {
            vf_upstream_close(up);
            return UV_ENOMEM;
        }
    }
    return vf_h2_link_call(link, ex);
}

int vf_upstream_open(struct vf_exchange *ex, bool fresh)
{
    struct vf_peer *peer = peer_of(ex->proxy->upstreams, ex);
    uint32_t protocol = ex->is_raw ? VF_PROTOCOL_H1 : ex->pool->protocol; /* or none at all */
    if (peer == NULL)
        return UV_ENOMEM;
    if (peer->is_resolving && ex->has_target) {
        vf_peer_wait_for_name(peer, ex);
        return VF_PENDING;
    }
    struct vf_tls_choice tls;
    int rc = vf_upstream_tls_choose(ex, &tls);
    ex->own_tls_failed = rc < 0;
    if (rc < 0)
        return rc;
    bool may_be_h2 = tls.tls != NULL && !peer->speaks_h1 && !ex->request.wants_upgrade;
    if (protocol == VF_PROTOCOL_H2 || (protocol == VF_PROTOCOL_AUTO && may_be_h2))
        return open_h2(ex, peer, &tls, protocol == VF_PROTOCOL_H2);
    return open_h1(ex, peer, &tls, fresh || ex->is_raw);
}
