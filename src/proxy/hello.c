#include "proxy/hello.h"

#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/downstream_conn.h"
#include "proxy/forward.h"
#include "tls/client_hello.h"

static bool has_phase(const struct vf_snapshot *snapshot)
{
    uint32_t chain = vf_snap_settings(snapshot)->chain;
    return chain != VF_SNAP_NONE &&
           (vf_snap_chain(snapshot, chain)->phases >> VF_PHASE_CERTIFICATE & 1) != 0;
}

bool vf_hello_is_wanted(const struct vf_downstream *client)
{
    const struct vf_proxy *proxy = client->proxy;
    return proxy->phases.attach != NULL && has_phase(proxy->snapshot);
}

bool vf_hello_may_read(const struct vf_downstream *client)
{
    return client->input_len <= VF_CLIENT_HELLO_MAX;
}

void vf_hello_gone(struct vf_downstream *client, const char *reason)
{
    vf_downstream_log_handshake(client, reason);
    vf_downstream_close(client, reason);
}

/* The connection's ways of failing, for its exchange */

/* The client gets the alert, and no reset: what it still sends is read and dropped for a while. */
static void refuse(struct vf_downstream *client, enum vf_alert alert, const char *reason)
{
    char record[VF_CLIENT_HELLO_ALERT];
    struct vf_exchange *ex = client->ex;
    vf_downstream_log_handshake(client, reason);
    client->at_hello = client->is_handshaking = false;
    client->ex = NULL;
    if (ex != NULL)
        vf_exchange_free(ex);
    vf_client_hello_alert(alert, record);
    vf_stream_add(&client->stream, vf_str_make(record, sizeof(record)));
    vf_stream_flush(&client->stream);
    if (!client->is_dead)
        vf_downstream_end(client);
}

static void on_abort(struct vf_exchange *ex)
{
    refuse(ex->client->conn, VF_ALERT_INTERNAL_ERROR, ex->reason);
}

static void on_close(struct vf_exchange *ex, const char *reason)
{
    vf_downstream_close(ex->client->conn, reason);
}

static const struct vf_client_codec codec = {.abort = on_abort, .close = on_close};

/* Steps */

/* As docs/tls.md has the reasons; mbedTLS never sees these hellos. */
static const char *reason_of(const struct vf_client_hello *hello, const char *data)
{
    if ((unsigned char)data[0] != VF_CLIENT_HELLO_RECORD)
        return "not_tls";
    return hello->alert == VF_ALERT_ILLEGAL_PARAMETER    ? "illegal_parameter"
           : hello->alert == VF_ALERT_UNEXPECTED_MESSAGE ? "unexpected_message"
                                                         : "decode_error";
}

/* Returns NULL when the connection was closed. */
static struct vf_exchange *new_exchange(struct vf_downstream *client,
                                        const struct vf_client_hello *hello)
{
    struct vf_proxy *proxy = client->proxy;
    struct vf_exchange *ex = vf_exchange_new(proxy, &client->client, client->acceptor->listener);
    if (ex == NULL) {
        vf_count_add(&proxy->block->totals.out_of_memory, 1);
        vf_downstream_close_now(client, true);
        return NULL;
    }
    client->ex = ex;
    client->client.codec = &codec;
    ex->is_handshake = ex->is_secure = true;
    vf_forward_identify(ex);
    const char *copy = vf_arena_strndup(&ex->arena, hello->name, hello->name_len);
    ex->server_name = vf_str_make(copy, copy == NULL ? 0 : hello->name_len);
    return ex;
}

/* The plugins are through: TLS gets the bytes. Returns false when the connection was closed. */
static bool start_tls(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_exchange *ex = client->ex;
    struct vf_tls_server *server = client->acceptor->tls;
    if (server != NULL && (ex->asks_certificate || ex->forbids_tickets))
        server = vf_tls_server_variant(server, ex->asks_certificate);
    client->ex = NULL;
    vf_exchange_free(ex);
    client->at_hello = false;
    client->client.codec = &vf_h1_codec;
    client->input_seen = 0;
    if (client->acceptor->tls != NULL)
        return vf_downstream_open_tls(client, server, data, len);
    vf_downstream_close_now(client, false); /* the listener has changed meanwhile */
    return false;
}

size_t vf_hello_read(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_client_hello hello;
    if (client->ex != NULL) /* its plugins wait */
        return 0;
    int rc = vf_client_hello_read(data, len, &hello);
    client->input_seen = (uint32_t)len;
    if (rc < 0)
        refuse(client, hello.alert, reason_of(&hello, data));
    if (rc <= 0)
        return 0;
    struct vf_exchange *ex = new_exchange(client, &hello);
    if (ex == NULL)
        return 0;
    if (has_phase(ex->snapshot)) {
        vf_phases_attach(ex, vf_snap_settings(ex->snapshot)->chain);
        ex->phases &= 1U << VF_PHASE_CERTIFICATE;
        if (ex->phases == 0) { /* the plugins cannot run: they must not be gone by */
            vf_exchange_fail(ex, "plugin_error");
            return 0;
        }
    }
    if (vf_phases_run(ex, VF_PHASE_CERTIFICATE) != VF_VERDICT_GO)
        return 0;
    return start_tls(client, data, len) ? len : 0;
}

void vf_hello_go_on(struct vf_exchange *ex)
{
    struct vf_downstream *client = ex->client->conn;
    if (!start_tls(client, client->input, client->input_len))
        return;
    vf_downstream_drop_input(client); /* TLS has a copy */
    if (!client->is_dead)
        vf_stream_yield(&client->stream);
}
