#include "proxy/downstream.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "proxy/client_cert.h"
#include "proxy/core.h"
#include "proxy/downstream_conn.h"
#include "proxy/h2/conn.h"
#include "proxy/tcp.h"
#include "snapshot/address.h"

enum {
    LINGER_MS = 2000, /* how long a closed connection is listened to (RFC 9112 section 9.6) */
    SPARE_CONNECTIONS = 64
};

/* Life of a connection */

const struct vf_snap_policy *vf_downstream_policy(const struct vf_downstream *client)
{
    const struct vf_proxy *proxy = client->proxy;
    return vf_snap_policy(proxy->snapshot, client->acceptor->listener->policy);
}

void vf_downstream_set_timer(struct vf_downstream *client, uint64_t delay_ms)
{
    vf_reactor_timer(client->proxy->reactor, &client->timer, delay_ms);
}

/* The next piece of the request's content is due, where there is one. */
void vf_downstream_await_content(struct vf_downstream *client)
{
    const struct vf_exchange *ex = client->ex;
    if (ex->request_state == VF_FLOW_BODY && !ex->is_tunnel)
        vf_downstream_set_timer(client, ex->policy->value[VF_POLICY_CLIENT_BODY_MS]);
}

struct vf_state_listener *vf_downstream_counters(struct vf_downstream *client)
{
    return &client->proxy->block->listeners[client->listener_slot];
}

void vf_downstream_drop_input(struct vf_downstream *client)
{
    if (client->input == NULL)
        return;
    vf_net_flush(&client->proxy->net); /* slices may point into it */
    free(client->input);
    client->input = NULL;
    client->input_len = client->input_room = client->input_seen = 0;
}

/* Closes the socket; the memory goes after the event. */
void vf_downstream_close_now(struct vf_downstream *client, bool reset)
{
    struct vf_proxy *proxy = client->proxy;
    if (client->is_dead)
        return;
    client->is_dead = true;
    vf_reactor_timer_stop(proxy->reactor, &client->timer);
    vf_stream_close(&client->stream, reset);
    vf_downstream_drop_input(client);
    if (client->cert != NULL)
        vf_client_cert_free(client->cert);
    if (client->prev != NULL)
        client->prev->next = client->next;
    else
        proxy->connections = client->next;
    if (client->next != NULL)
        client->next->prev = client->prev;
    client->next = proxy->dead_connections;
    proxy->dead_connections = client;
    vf_count_add(&vf_downstream_counters(client)->connections, (uint64_t)-1);
    vf_count_add(&proxy->block->process.connections, (uint64_t)-1);
    vf_proxy_connection_closed(proxy, client->acceptor);
}

void vf_downstream_close(struct vf_downstream *client, const char *reason)
{
    struct vf_exchange *ex = client->ex;
    if (client->is_dead)
        return;
    client->ex = NULL;
    if (ex != NULL)
        vf_exchange_on_client_gone(ex, reason);
    if (client->h2 != NULL)
        vf_h2_abandon(client->h2, reason);
    vf_downstream_close_now(client, false);
}

void vf_downstream_reap(struct vf_proxy *proxy)
{
    while (proxy->dead_connections != NULL) {
        struct vf_downstream *client = proxy->dead_connections;
        proxy->dead_connections = client->next;
        vf_h2_free(client->h2);
        client->h2 = NULL;
        if (proxy->n_spare_connections >= SPARE_CONNECTIONS) {
            free(client);
            continue;
        }
        client->next = proxy->spare_connections;
        proxy->spare_connections = client;
        proxy->n_spare_connections++;
    }
}

static struct vf_downstream *take_memory(struct vf_proxy *proxy)
{
    struct vf_downstream *client = proxy->spare_connections;
    if (client == NULL)
        return calloc(1, sizeof(*client));
    proxy->spare_connections = client->next;
    proxy->n_spare_connections--;
    memset(client, 0, sizeof(*client));
    return client;
}

struct vf_str vf_downstream_peer_text(struct vf_downstream *client)
{
    if (client->peer_text[0] == '\0') {
        int family = client->peer.family == VF_FAMILY_IPV6 ? AF_INET6 : AF_INET;
        inet_ntop(family, client->peer.ip, client->peer_text, sizeof(client->peer_text));
    }
    return vf_str_from(client->peer_text);
}

/* The answer is complete: waits for the client to take what was not sent yet, then for its end. */
void vf_downstream_await_end(struct vf_downstream *client)
{
    bool is_sent = vf_stream_pending(&client->stream) == 0;
    client->stall_mark = 0;
    vf_downstream_set_timer(
        client,
        is_sent ? LINGER_MS : vf_downstream_policy(client)->value[VF_POLICY_RESPONSE_BODY_MS]);
}

/* Ends after the answer: nothing to read is left, or what comes is read and dropped for a while, so
 * that the client gets the answer and no reset. */
void vf_downstream_end(struct vf_downstream *client)
{
    client->closing = true;
    if (client->input_len == 0 && !client->stream.readable && client->saw_eof) {
        vf_stream_flush(&client->stream);
        if (!client->is_dead && vf_stream_pending(&client->stream) == 0)
            vf_downstream_close_now(client, false);
        return;
    }
    vf_downstream_drop_input(client);
    client->lingering = true;
    vf_stream_shutdown(&client->stream);
    if (client->is_dead)
        return;
    vf_downstream_await_end(client);
    if (client->stream.readable)
        vf_stream_yield(&client->stream);
}

/* The answer is complete and no byte of the client is due: close without waiting for it. */
void vf_downstream_end_cleanly(struct vf_downstream *client)
{
    client->closing = true;
    vf_stream_flush(&client->stream);
    if (client->is_dead)
        return;
    if (vf_stream_pending(&client->stream) == 0)
        vf_downstream_close_now(client, false);
    else
        vf_downstream_await_end(client); /* on_drained closes */
}

/* Timers */

static void answer_timeout(struct vf_downstream *client)
{
    struct vf_proxy *proxy = client->proxy;
    struct vf_exchange *ex = client->ex;
    vf_count_add(&proxy->block->totals.client_timeouts, 1);
    if (ex == NULL) {
        ex = vf_exchange_new(proxy, &client->client, client->acceptor->listener);
        if (ex == NULL) {
            vf_downstream_close_now(client, false);
            return;
        }
        client->ex = ex;
        vf_count_add(&vf_downstream_counters(client)->refused, 1);
    }
    vf_exchange_on_client_timeout(ex);
}

/* Returns true when the client took nothing since it was last looked at; looks again in a while. */
static bool is_stalled(struct vf_downstream *client, uint64_t patience_ms)
{
    if (client->stream.blocked && client->stall_mark == client->stream.bytes_out + 1)
        return true;
    client->stall_mark = client->stream.blocked ? client->stream.bytes_out + 1 : 0;
    vf_downstream_set_timer(client, patience_ms);
    return false;
}

/* An exchange runs and the client owes nothing: look whether it takes what we send. */
static void check_stall(struct vf_downstream *client)
{
    const struct vf_exchange *ex = client->ex;
    enum vf_snap_policy_field field =
        ex->is_tunnel ? VF_POLICY_TUNNEL_MS : VF_POLICY_RESPONSE_BODY_MS;
    if (is_stalled(client, ex->policy->value[field]))
        vf_downstream_close(client, "client_stalled");
}

/* The last answer is complete: as long as the client takes what is left of it, the rest is sent. */
static void check_end(struct vf_downstream *client)
{
    if (!client->stream.blocked)
        vf_downstream_close_now(client, false);
    else if (is_stalled(client, vf_downstream_policy(client)->value[VF_POLICY_RESPONSE_BODY_MS]))
        vf_downstream_close_now(client, true);
}

static void on_timer(struct vf_timer *timer)
{
    struct vf_downstream *client =
        (struct vf_downstream *)((char *)timer - offsetof(struct vf_downstream, timer));
    struct vf_exchange *ex = client->ex;
    if (client->expects_proxy_header)
        vf_downstream_close_now(client, false);
    else if (client->is_handshaking)
        vf_downstream_handshake_timeout(client);
    else if (client->closing && ex == NULL)
        check_end(client);
    else if (ex == NULL && client->mode != VF_LISTENER_HTTP)
        vf_tcp_give_up(client, "timeout");
    else if (client->h2 != NULL)
        vf_h2_on_timer(client->h2);
    else if (ex == NULL && client->input_len > 0)
        answer_timeout(client);
    else if (ex == NULL && client->proxy->draining)
        vf_downstream_end(client); /* a request may be on its way: no reset */
    else if (ex == NULL)
        vf_downstream_close_now(client, false); /* idle */
    else if (ex->request_state == VF_FLOW_BODY && !ex->is_tunnel && vf_exchange_wants_body(ex))
        answer_timeout(client);
    else
        check_stall(client);
}

/* Accepting */

/* Most connections are accepted because their first bytes came (TCP_DEFER_ACCEPT): they are read
 * before the socket is registered, which then has no old news to report. */
static void begin(struct vf_downstream *client)
{
    if (client->acceptor->tls != NULL && !client->expects_proxy_header &&
        !vf_downstream_start_tls(client, NULL, 0))
        return;
    if (client->mode == VF_LISTENER_TCP && !client->expects_proxy_header && !vf_tcp_begin(client))
        return;
    client->stream.readable = true;
    vf_downstream_events.on_readable(&client->stream);
    if (!client->is_dead && vf_stream_watch(&client->stream) < 0) {
        vf_count_add(&client->proxy->block->totals.out_of_memory, 1);
        vf_downstream_close(client, "out_of_memory");
    }
}

void vf_downstream_accept(struct vf_acceptor *acceptor, int fd, const struct vf_snap_address *peer)
{
    struct vf_proxy *proxy = acceptor->proxy;
    struct vf_downstream *client = take_memory(proxy);
    if (client == NULL) {
        vf_count_add(&proxy->block->totals.out_of_memory, 1);
        close(fd);
        return;
    }
    client->proxy = proxy;
    client->client = (struct vf_client){&vf_h1_codec, client};
    vf_stream_init(&client->stream, &proxy->net, &vf_downstream_events, fd);
    client->acceptor = acceptor;
    acceptor->refs++;
    client->listener_slot = acceptor->listener->slot;
    client->mode = acceptor->mode;
    client->peer = *peer;
    client->expects_proxy_header = acceptor->has_proxy_header && peer->family != VF_FAMILY_NONE;
    client->timer.on_fire = on_timer;
    client->next = proxy->connections;
    if (client->next != NULL)
        client->next->prev = client;
    proxy->connections = client;
    proxy->n_connections++;
    vf_count_add(&proxy->block->totals.accepted, 1);
    vf_count_add(&proxy->block->process.connections, 1);
    vf_count_add(&vf_downstream_counters(client)->accepted, 1);
    vf_count_add(&vf_downstream_counters(client)->connections, 1);
    /* a new connection has as long as a head may take (RFC 9110 section 15.5.9) */
    vf_downstream_set_timer(client,
                            vf_downstream_policy(client)->value[VF_POLICY_CLIENT_HEADER_MS]);
    begin(client);
}

void vf_downstream_drain(struct vf_downstream *client, bool now)
{
    struct vf_exchange *ex = client->ex;
    if (client->h2 != NULL) {
        vf_h2_drain(client->h2, now);
        return;
    }
    if (ex != NULL) { /* where the answer promised to go on, the next one says close */
        ex->close_client = !ex->head_sent || ex->close_client;
        return;
    }
    if (now && client->input_len == 0 && !client->stream.readable && !client->lingering &&
        !client->is_handshaking) {
        client->closing = true;
        vf_downstream_end(client);
    }
}
