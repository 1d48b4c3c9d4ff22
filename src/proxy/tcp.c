#include "proxy/tcp.h"

#include <string.h>

#include "proxy/account.h"
#include "proxy/core.h"
#include "proxy/dispatch.h"
#include "proxy/downstream.h"
#include "proxy/downstream_conn.h"
#include "proxy/forward.h"
#include "proxy/labels.h"
#include "tls/client_hello.h"

/* Destinations */

static int compare(struct vf_str a, struct vf_str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.data, b.data, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static const struct vf_snap_destination *find_name(const struct vf_snapshot *snapshot,
                                                   struct vf_snap_list list, struct vf_str name)
{
    uint32_t low = list.first, high = list.first + list.count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct vf_snap_destination *at = vf_snap_destination(snapshot, middle);
        int order = compare(vf_snap_str(snapshot, at->name), name);
        if (order == 0)
            return at;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The exact name, then "*." for its first label, then what is for all. */
static const struct vf_snap_destination *find_destination(const struct vf_downstream *client,
                                                          struct vf_str name)
{
    const struct vf_snapshot *snapshot = client->proxy->snapshot;
    struct vf_snap_list list = client->acceptor->listener->destinations;
    char wildcard[VF_CLIENT_HELLO_NAME + 1];
    const struct vf_snap_destination *found = NULL;
    if (client->acceptor->is_gone)
        return NULL;
    if (name.len > 0)
        found = find_name(snapshot, list, name);
    const char *dot = name.len > 0 ? memchr(name.data, '.', name.len) : NULL;
    if (found == NULL && dot != NULL) {
        size_t len = name.len - (size_t)(dot - name.data);
        wildcard[0] = '*';
        memcpy(wildcard + 1, dot, len);
        found = find_name(snapshot, list, vf_str_make(wildcard, len + 1));
    }
    return found != NULL ? found : find_name(snapshot, list, VF_STR(""));
}

/* Exchanges */

static struct vf_exchange *new_exchange(struct vf_downstream *client, struct vf_str name)
{
    struct vf_proxy *proxy = client->proxy;
    struct vf_exchange *ex = vf_exchange_new(proxy, &client->client, client->acceptor->listener);
    if (ex == NULL) {
        vf_count_add(&proxy->block->totals.out_of_memory, 1);
        vf_downstream_close_now(client, true);
        return NULL;
    }
    client->ex = ex;
    client->n_requests++;
    ex->is_raw = ex->is_tunnel = ex->close_client = true;
    ex->request_state = VF_FLOW_BODY;
    vf_count_add(&proxy->block->process.tunnels, 1);
    vf_forward_identify(ex);
    ex->request.method_name =
        client->mode == VF_LISTENER_TCP ? VF_STR("TCP") : VF_STR("TLS"); /* for the access log */
    const char *copy = vf_arena_strndup(&ex->arena, name.data, name.len);
    ex->host = ex->server_name = vf_str_make(copy, copy == NULL ? 0 : name.len);
    return ex;
}

/* Returns false when the connection was closed. */
static bool forward(struct vf_downstream *client, struct vf_str name,
                    const struct vf_snap_destination *destination)
{
    struct vf_exchange *ex = new_exchange(client, name);
    if (ex == NULL)
        return false;
    ex->pool_index = destination->pool;
    ex->pool = vf_snap_pool(ex->snapshot, destination->pool);
    ex->policy = vf_snap_policy(ex->snapshot, destination->policy);
    vf_account_meter(ex);
    uint64_t total_ms = vf_policy_get(ex->policy, VF_POLICY_TOTAL_MS);
    if (total_ms != UINT64_MAX)
        vf_exchange_limit_total(ex, total_ms);
    vf_dispatch(ex);
    return client->ex == ex;
}

bool vf_tcp_begin(struct vf_downstream *client)
{
    const struct vf_snap_destination *destination = find_destination(client, VF_STR(""));
    if (destination != NULL)
        return forward(client, VF_STR(""), destination);
    vf_count_add(&vf_downstream_counters(client)->refused, 1); /* its listener has just gone */
    vf_downstream_close_now(client, true);
    return false;
}

void vf_tcp_on_connected(struct vf_exchange *ex)
{
    ex->head_sent = true; /* no other backend is possible */
    vf_account_answer(ex);
    vf_labels_unpin(ex);
}

/* ClientHello */

static void log_refusal(struct vf_downstream *client, const char *name, const char *reason)
{
    vf_count_add(&vf_downstream_counters(client)->refused, 1);
    vf_log_info(&client->proxy->log, "tls.hello_refused", "listener=%s client=%s name=%s reason=%s",
                client->acceptor->name, vf_downstream_peer_text(client).data,
                name[0] != '\0' ? name : "-", reason);
}

void vf_tcp_give_up(struct vf_downstream *client, const char *reason)
{
    log_refusal(client, "", reason);
    vf_downstream_close_now(client, false);
}

/* The client gets the alert, and no reset: what it still sends is read and dropped for a while. */
static void refuse(struct vf_downstream *client, const struct vf_client_hello *hello,
                   enum vf_alert alert, const char *reason)
{
    char record[VF_CLIENT_HELLO_ALERT];
    log_refusal(client, hello->name, reason);
    vf_client_hello_alert(alert, record);
    vf_stream_add(&client->stream, vf_str_make(record, sizeof(record)));
    vf_stream_flush(&client->stream);
    if (!client->is_dead)
        vf_downstream_end(client);
}

size_t vf_tcp_read_hello(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_client_hello hello;
    if (client->closing) {
        vf_downstream_end(client);
        return 0;
    }
    int rc = vf_client_hello_read(data, len, &hello);
    client->input_seen = rc == 0 ? (uint32_t)len : 0;
    if (rc == 0)
        return 0;
    if (rc < 0) {
        refuse(client, &hello, hello.alert, hello.fault);
        return 0;
    }
    struct vf_str name = vf_str_make(hello.name, hello.name_len);
    const struct vf_snap_destination *destination = find_destination(client, name);
    if (destination == NULL)
        refuse(client, &hello, VF_ALERT_UNRECOGNIZED_NAME,
               hello.name_len > 0 ? "unknown_name" : "no_name");
    else
        forward(client, name, destination);
    return 0;
}
