#include "proxy/errand.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/error.h"
#include "http/method.h"
#include "net/op.h"
#include "net/proxy_protocol.h"
#include "net/resolver.h"
#include "net/socket.h"
#include "proxy/account.h"
#include "proxy/balance/balance.h"
#include "proxy/core.h"
#include "proxy/dispatch.h"
#include "proxy/downstream.h"
#include "proxy/lending.h"
#include "proxy/secure.h"
#include "proxy/passive.h"
#include "proxy/upstream_conn.h"
#include "snapshot/address.h"

struct vf_errand {
    struct vf_proxy *proxy;
    struct vf_snapshot *snapshot; /* pinned */
    const struct vf_snap_pool *pool;
    const struct vf_snap_backend *backend; /* NULL: none was chosen yet */
    uint32_t pool_index, backend_index, method;
    uint32_t tried[VF_TRIES], n_tried, n_addresses;
    uint32_t address_tag; /* of a backend with a name: which of its addresses */
    uint32_t status;      /* 0: no answer came */
    enum vf_upstream_failure last_failure;
    bool in_flight, was_full, has_failed, was_opened;
    bool is_kept;    /* the connection served before */
    bool has_broken; /* the answer did not come, or not as a whole */
    struct vf_balance_key key;
    struct sockaddr_storage client; /* for PROXY headers; family UNSPEC: nobody's */
    uint64_t start_ns, sent_ns;
    uint64_t bytes_sent, bytes_received;
    char hash_key[]; /* what `key` points at */
};

/* Making */

/* On whose behalf it goes. */
static void note_client(struct vf_errand *errand, const struct vf_exchange *ex)
{
    errand->key.family = ex->client_address.family;
    memcpy(errand->key.ip, ex->client_address.ip, sizeof(errand->key.ip));
    if (ex->client != NULL)
        vf_address_to_socket(&ex->client->conn->peer, &errand->client);
}

int vf_errand_new(struct vf_proxy *proxy, const struct vf_errand_wish *wish, struct vf_exchange *ex,
                  struct vf_errand **out)
{
    struct vf_snapshot *snapshot =
        ex != NULL && ex->snapshot != NULL ? ex->snapshot : proxy->snapshot;
    if (proxy->balancers == NULL || snapshot == NULL)
        return UV_ENOTSUP;
    uint32_t index = vf_snapshot_find_pool(snapshot, wish->tenant, wish->pool, wish->pool_hint);
    if (index == VF_SNAP_NONE)
        return UV_ENOENT;
    const struct vf_snap_pool *pool = vf_snap_pool(snapshot, index);
    struct vf_str hash_key = wish->hash_key;
    if (hash_key.data == NULL && ex != NULL && ex->snapshot != NULL)
        hash_key = vf_dispatch_hash_key(ex, pool);
    struct vf_errand *errand = calloc(1, sizeof(*errand) + hash_key.len);
    if (errand == NULL)
        return UV_ENOMEM;
    errand->proxy = proxy;
    errand->snapshot = vf_snapshot_retain(snapshot);
    errand->pool = pool;
    errand->pool_index = index;
    int method = vf_method_read(wish->method.data, wish->method.len);
    errand->method = method < 0 ? VF_METHOD_GET : (uint32_t)method;
    errand->start_ns = vf_proxy_now_ns(proxy);
    if (hash_key.data != NULL) {
        memcpy(errand->hash_key, hash_key.data, hash_key.len);
        errand->key.hash_key = vf_str_make(errand->hash_key, hash_key.len);
    }
    if (ex != NULL)
        note_client(errand, ex);
    *out = errand;
    return 0;
}

uint32_t vf_errand_pool_index(const struct vf_errand *errand)
{
    return errand->pool_index;
}

void vf_errand_limits(const struct vf_errand *errand, struct vf_errand_limits *out)
{
    const struct vf_snap_policy *policy = vf_snap_policy(errand->snapshot, errand->pool->policy);
    *out = (struct vf_errand_limits){
        .connect_ms = policy->value[VF_POLICY_CONNECT_MS],
        .response_ms = policy->value[VF_POLICY_RESPONSE_MS],
        .response_body_ms = policy->value[VF_POLICY_RESPONSE_BODY_MS],
        .idle_ms = policy->value[VF_POLICY_UPSTREAM_IDLE_MS],
    };
}

void vf_errand_backend(const struct vf_errand *errand, struct vf_str *out)
{
    *out = errand->backend != NULL ? vf_snap_str(errand->snapshot, errand->backend->address_text)
                                   : vf_str_make("", 0);
}

/* Opening */

static struct vf_state_backend *counters_of(const struct vf_errand *errand)
{
    return &errand->proxy->block->backends[errand->backend->slot];
}

static struct vf_state_pool *pool_counters_of(const struct vf_errand *errand)
{
    return &errand->proxy->block->pools[errand->pool->slot];
}

static struct vf_peer *peer_of(const struct vf_errand *errand)
{
    return vf_upstreams_peer(errand->proxy->upstreams, errand->backend,
                             vf_snap_str(errand->snapshot, errand->backend->host));
}

static void enter_backend(struct vf_errand *errand)
{
    errand->in_flight = true;
    vf_count_add(&counters_of(errand)->in_flight, 1);
}

static void leave_backend(struct vf_errand *errand)
{
    if (errand->in_flight)
        vf_count_add(&counters_of(errand)->in_flight, (uint64_t)-1);
    errand->in_flight = false;
}

static int pick(struct vf_errand *errand)
{
    if (errand->n_tried >= VF_TRIES)
        return VF_ENOBACKEND;
    int rc = vf_balance_pick(errand->proxy->balancers, errand->snapshot, errand->pool_index,
                             &errand->key, vf_proxy_now_ns(errand->proxy), errand->tried,
                             errand->n_tried, &errand->backend_index);
    if (rc < 0)
        return rc;
    errand->backend = vf_snap_backend(errand->snapshot, errand->backend_index);
    errand->tried[errand->n_tried++] = errand->backend_index;
    if (errand->n_tried > 1)
        vf_count_add(&pool_counters_of(errand)->failovers, 1);
    return 0;
}

static uint64_t tls_id_of(const struct vf_errand *errand)
{
    uint32_t tls = errand->pool->tls;
    return tls == VF_SNAP_NONE ? 0 : vf_snap_upstream_tls(errand->snapshot, tls)->id;
}

static size_t make_proxy_header(const struct vf_errand *errand, char *text)
{
    struct vf_proxy_header header = {.source = errand->client, .destination = errand->client};
    return vf_proxy_header_write(errand->pool->proxy_protocol, &header, text);
}

/* Puts TLS below a socket that connects, behind a PROXY header, where the pool wants that. */
static int put_tls(struct vf_errand *errand, struct vf_socket *socket)
{
    char text[VF_PROXY_HEADER_OUT];
    uint32_t tls = errand->pool->tls;
    if (tls == VF_SNAP_NONE)
        return 0;
    int rc = vf_secure_connect(errand->proxy, errand->snapshot,
                               vf_snap_upstream_tls(errand->snapshot, tls), VF_TLS_ASK_NOTHING,
                               vf_snap_str(errand->snapshot, errand->backend->host),
                               vf_socket_stream(socket));
    if (rc == 0 && errand->pool->proxy_protocol != 0)
        rc = vf_tls_send_ahead(vf_socket_stream(socket), text, make_proxy_header(errand, text));
    return rc;
}

static int connect_new(struct vf_errand *errand, struct vf_peer *peer, struct vf_sockets *sockets,
                       uint64_t connect_ms, struct vf_socket **out)
{
    struct sockaddr_storage address;
    socklen_t len;
    if (peer->n_open - peer->n_idle >= errand->pool->max_connections)
        return VF_ENOBACKEND;
    int rc = vf_peer_address(peer, errand->backend, &address, &len, &errand->address_tag);
    if (rc < 0)
        return rc;
    struct vf_socket *socket = vf_socket_new(sockets);
    if (socket == NULL && vf_lending_make_room(errand->proxy->upstreams))
        socket = vf_socket_new(sockets);
    if (socket == NULL)
        return UV_EMFILE;
    rc = vf_socket_connect_to(socket, &address, len, connect_ms);
    if (rc < 0) {
        vf_socket_free(socket);
        return rc;
    }
    int secured = put_tls(errand, socket);
    if (secured < 0) {
        vf_socket_free(socket);
        return secured;
    }
    vf_lend_new(peer, socket, tls_id_of(errand));
    *out = socket;
    return rc;
}

/* A backend with a name may answer at another of its addresses: it does not count as tried yet. */
static bool has_other_address(struct vf_errand *errand, struct vf_peer *peer)
{
    if (peer == NULL || peer->name == NULL)
        return false;
    if (errand->address_tag != 0)
        vf_name_failed(peer->name, errand->address_tag);
    if (errand->n_addresses >= VF_TRIES || !vf_name_has_other(peer->name))
        return false;
    errand->n_addresses++;
    errand->n_tried--;
    return true;
}

static void note_connect_failure(struct vf_errand *errand, enum vf_upstream_failure failure)
{
    errand->last_failure = failure;
    errand->has_failed = true;
    vf_count_add(&counters_of(errand)->connect_failures, 1);
    if (!has_other_address(errand, peer_of(errand)))
        vf_account_connect_failure(errand->proxy, errand->snapshot, errand->pool_index,
                                   errand->backend_index, errand->n_tried);
}

/* Tries the backend that was chosen. Returns as vf_errand_open; VF_ENOBACKEND: it is full. */
static int try_backend(struct vf_errand *errand, struct vf_sockets *sockets, bool fresh,
                       uint64_t connect_ms, struct vf_socket **socket)
{
    struct vf_peer *peer = peer_of(errand);
    int rc = 0;
    if (peer == NULL)
        return UV_ENOMEM;
    *socket = fresh || errand->pool->proxy_protocol != 0
                  ? NULL
                  : vf_lend_kept(peer, sockets, tls_id_of(errand));
    errand->is_kept = *socket != NULL;
    if (!errand->is_kept)
        rc = connect_new(errand, peer, sockets, connect_ms, socket);
    if (rc >= 0)
        enter_backend(errand);
    return rc;
}

int vf_errand_open(struct vf_errand *errand, struct vf_sockets *sockets, uint64_t connect_ms,
                   struct vf_socket **socket)
{
    errand->was_opened = true;
    while (pick(errand) == 0) {
        int rc = try_backend(errand, sockets, false, connect_ms, socket);
        if (rc >= 0 || rc == UV_EMFILE || rc == UV_ENOMEM)
            return rc;
        if (rc == VF_ENOBACKEND)
            errand->was_full = true;
        else
            note_connect_failure(errand, VF_UPSTREAM_CONNECT);
    }
    vf_count_add(&pool_counters_of(errand)->unavailable, 1);
    return VF_ENOBACKEND;
}

int vf_errand_reopen(struct vf_errand *errand, struct vf_sockets *sockets, uint64_t connect_ms,
                     struct vf_socket **socket)
{
    leave_backend(errand);
    vf_count_add(&pool_counters_of(errand)->retries, 1);
    int rc = try_backend(errand, sockets, true, connect_ms, socket);
    if (rc >= 0 || rc == UV_EMFILE || rc == UV_ENOMEM)
        return rc;
    errand->was_full = rc == VF_ENOBACKEND;
    if (rc != VF_ENOBACKEND)
        note_connect_failure(errand, VF_UPSTREAM_CONNECT);
    return VF_ENOBACKEND;
}

const char *vf_errand_why(const struct vf_errand *errand)
{
    if (errand->was_full)
        return "pool_full";
    if (!errand->has_failed)
        return "no_backend";
    return errand->last_failure == VF_UPSTREAM_CONNECT_TIMEOUT ? "connect_timeout"
                                                               : "backend_unreachable";
}

/* Its way */

/* Tells a backend that wants it who the client is, or that there is none. */
static void send_proxy_header(struct vf_errand *errand, struct vf_socket *socket)
{
    char text[VF_PROXY_HEADER_OUT];
    vf_socket_add(socket, text, make_proxy_header(errand, text));
    vf_socket_flush(socket); /* `text` is ours */
}

void vf_errand_connected(struct vf_errand *errand, struct vf_socket *socket)
{
    if (errand->pool->proxy_protocol != 0 && vf_stream_is_plain(vf_socket_stream(socket)))
        send_proxy_header(errand, socket);
}

void vf_errand_sent(struct vf_errand *errand)
{
    errand->sent_ns = vf_proxy_now_ns(errand->proxy);
}

void vf_errand_answered(struct vf_errand *errand, uint32_t status)
{
    uint64_t now_ns = vf_proxy_now_ns(errand->proxy);
    errand->status = status;
    if (errand->sent_ns != 0 && now_ns > errand->sent_ns)
        vf_balance_observe(errand->proxy->balancers, errand->snapshot, errand->backend_index,
                           (now_ns - errand->sent_ns) / 1000, now_ns);
}

void vf_errand_passed(struct vf_errand *errand, uint64_t bytes_sent, uint64_t bytes_received)
{
    errand->bytes_sent += bytes_sent;
    errand->bytes_received += bytes_received;
}

void vf_errand_failed(struct vf_errand *errand, int failure, bool is_broken_off)
{
    struct vf_state_backend *counts;
    uint64_t now_ns = vf_proxy_now_ns(errand->proxy);
    if (errand->backend == NULL)
        return;
    leave_backend(errand);
    if (failure == VF_UPSTREAM_CONNECT || failure == VF_UPSTREAM_CONNECT_TIMEOUT) {
        note_connect_failure(errand, (enum vf_upstream_failure)failure);
        return;
    }
    errand->has_broken = true;
    counts = counters_of(errand);
    vf_count_add(failure == VF_UPSTREAM_TIMEOUT     ? &counts->timeouts
                 : failure == VF_UPSTREAM_MALFORMED ? &counts->malformed
                                                    : &counts->aborted,
                 1);
    vf_balance_failed(errand->proxy->balancers, errand->snapshot, errand->backend_index, now_ns);
    if (is_broken_off && (failure == VF_UPSTREAM_CUT || !errand->is_kept))
        vf_passive_failed(errand->proxy->state, errand->snapshot, errand->pool_index,
                          errand->backend_index, now_ns);
}

/* The end */

static void count(struct vf_errand *errand)
{
    uint64_t now_ns = vf_proxy_now_ns(errand->proxy), us = (now_ns - errand->start_ns) / 1000;
    struct vf_state_pool *pool = pool_counters_of(errand);
    vf_count_add(&pool->requests, 1);
    vf_count_add(&pool->bytes_in, errand->bytes_sent);
    vf_count_add(&pool->bytes_out, errand->bytes_received);
    vf_state_observe(&pool->latency[vf_state_method(errand->method)], us);
    vf_state_count_status(pool, errand->method, errand->status);
    if (errand->status == 0)
        return;
    vf_account_backend(counters_of(errand), errand->status, errand->bytes_sent, us, now_ns);
    if (!errand->has_broken)
        vf_passive_ok(errand->proxy->state, errand->snapshot, errand->backend_index);
}

void vf_errand_free(struct vf_errand *errand)
{
    if (errand == NULL)
        return;
    leave_backend(errand);
    if (errand->was_opened)
        count(errand);
    vf_snapshot_release(&errand->snapshot);
    free(errand);
}
