/* proxy/downstream_tls.c - the handshake of a client connection: begun, finished, failed. */
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/gcra.h"
#include "base/hash.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/downstream_conn.h"
#include "proxy/h2/conn.h"
#include "proxy/hello.h"
#include "snapshot/cells.h"
#include "tls/transport.h"

static const uint64_t HANDSHAKES = 0x7e5;

/* Handshakes cost much more than they cost who begins them: each address has its share. */
static bool is_admitted(struct vf_downstream *client)
{
    const struct vf_acceptor *acceptor = client->acceptor;
    const struct vf_snap_address *peer = &client->peer;
    struct {
        uint64_t what; /* keeps this limit apart from others with the same key */
        uint8_t network[8];
    } key = {vf_hash(acceptor->name, strlen(acceptor->name), HANDSHAKES), {0}};
    struct vf_cells_answer answer;
    if (acceptor->handshake_rate == 0 || peer->family == VF_FAMILY_NONE)
        return true;
    uint64_t interval_ns = UINT64_C(1000000000) / acceptor->handshake_rate;
    struct vf_gcra limit = {interval_ns, (acceptor->handshake_burst - 1) * interval_ns};
    memcpy(key.network, peer->ip, peer->family == VF_FAMILY_IPV4 ? 4 : 8);
    return vf_cells_take(vf_state_cells(client->proxy->state), &key, sizeof(key), &limit, 1,
                         vf_clock_ns(), &answer) == VF_CELLS_ADMITTED;
}

bool vf_downstream_open_tls(struct vf_downstream *client, struct vf_tls_server *server,
                            const char *data, size_t len)
{
    int rc = server == NULL ? UV_ENOMEM : vf_tls_accept(server, &client->stream);
    if (rc == 0 && len > 0)
        rc = vf_tls_preload(&client->stream, data, len);
    if (rc == 0)
        return true;
    vf_count_add(&client->proxy->block->totals.out_of_memory, 1);
    vf_downstream_close_now(client, true);
    return false;
}

bool vf_downstream_start_tls(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_acceptor *acceptor = client->acceptor;
    if (!is_admitted(client)) {
        vf_count_add(&vf_downstream_counters(client)->handshakes_limited, 1);
        vf_downstream_close_now(client, true);
        return false;
    }
    client->at_hello = vf_hello_is_wanted(client);
    if (!client->at_hello && !vf_downstream_open_tls(client, acceptor->tls, data, len))
        return false;
    client->is_handshaking = true;
    vf_downstream_set_timer(client, acceptor->handshake_ms);
    return true;
}

/* The name that the client asked for, as far as known. */
static const char *name_of(struct vf_downstream *client, struct vf_tls_info *info)
{
    if (vf_stream_is_plain(&client->stream))
        return client->ex == NULL || client->ex->server_name.len == 0
                   ? ""
                   : client->ex->server_name.data;
    vf_tls_info(&client->stream, info);
    return info->name;
}

void vf_downstream_log_handshake(struct vf_downstream *client, const char *reason)
{
    struct vf_tls_info info;
    vf_count_add(&vf_downstream_counters(client)->handshakes_failed, 1);
    vf_log_info(&client->proxy->log, "tls.handshake_failed",
                "listener=%s client=%s name=%s reason=%s", client->acceptor->name,
                vf_downstream_peer_text(client).data, name_of(client, &info), reason);
}

void vf_downstream_handshake_timeout(struct vf_downstream *client)
{
    vf_downstream_log_handshake(client, "timeout");
    vf_downstream_close(client, "timeout");
}

/* Counts a connection that has ended for a flood of records. Returns false when it has not. */
static bool count_flood(struct vf_downstream *client)
{
    uint32_t kind = vf_tls_flood_of(&client->stream);
    if (kind == VF_TLS_FLOOD_NONE)
        return false;
    vf_count_add(&vf_downstream_counters(client)->record_floods[kind - 1], 1);
    return true;
}

/* Who floods may do so on many connections: the log has ten of them, then one each second. */
static void log_flood(struct vf_downstream *client)
{
    static const struct vf_gcra lines = {UINT64_C(1000000000), UINT64_C(9000000000)};
    struct vf_proxy *proxy = client->proxy;
    if (!vf_gcra_admit(&lines, vf_clock_ns(), &proxy->flood_due_ns)) {
        proxy->floods_unlogged++;
        return;
    }
    vf_log_warn(&proxy->log, "tls.record_flood", "listener=%s client=%s kind=%s unlogged=%lu",
                client->acceptor->name, vf_downstream_peer_text(client).data,
                vf_tls_flood_word(vf_tls_flood_of(&client->stream)), proxy->floods_unlogged);
    proxy->floods_unlogged = 0;
}

void vf_downstream_fail_tls(struct vf_downstream *client)
{
    bool is_flood = count_flood(client);
    if (is_flood)
        log_flood(client);
    vf_downstream_close(client, is_flood ? "record_flood" : "client_reset");
}

/* The alert is on its way: what the client still sends is read and dropped for a while, so that it
 * gets the alert and no reset. */
static void fail(struct vf_downstream *client, int error)
{
    char reason[64];
    bool is_gone = error != VF_ETLS;
    vf_downstream_log_handshake(client, vf_tls_reason(&client->stream, reason, sizeof(reason)));
    count_flood(client);
    client->is_handshaking = false;
    if (is_gone) {
        vf_downstream_close_now(client, false);
        return;
    }
    vf_stream_drop_transport(&client->stream);
    client->stream.readable = true;
    vf_downstream_end(client);
}

void vf_downstream_describe_tls(struct vf_downstream *client, struct vf_exchange *ex)
{
    struct vf_tls_info info;
    vf_tls_info(&client->stream, &info);
    ex->is_secure = true;
    ex->tls_version = vf_str_from(info.version);
    ex->tls_cipher = vf_str_from(info.cipher);
    size_t len = strlen(info.name);
    const char *name = vf_arena_strndup(&ex->arena, info.name, len);
    ex->server_name = vf_str_make(name, name == NULL ? 0 : len);
}

bool vf_downstream_follow_handshake(struct vf_downstream *client, ssize_t n)
{
    struct vf_state_listener *counters = vf_downstream_counters(client);
    if (client->stream.transport->is_open) {
        struct vf_tls_info info;
        vf_tls_info(&client->stream, &info);
        client->is_handshaking = false;
        vf_count_add(&counters->handshakes, 1);
        if (info.is_resumed)
            vf_count_add(&counters->handshakes_resumed, 1);
        if (client->input_len == 0)
            vf_downstream_set_timer(
                client, vf_downstream_policy(client)->value[VF_POLICY_CLIENT_HEADER_MS]);
        return strcmp(info.alpn, "h2") != 0 || vf_h2_start(client);
    }
    if (n >= 0 || n == UV_EAGAIN)
        return n != 0;
    fail(client, (int)n);
    return false;
}
