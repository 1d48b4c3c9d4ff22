/* proxy/downstream_input.c - what a client sends: to whom bytes go, in order. Heads and content of
 * HTTP/1 are read by downstream_request.c. */
#include <stdlib.h>
#include <uv.h>

#include "base/error.h"
#include "net/proxy_protocol.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/downstream_conn.h"
#include "proxy/h2/conn.h"
#include "proxy/hello.h"
#include "proxy/tcp.h"
#include "snapshot/address.h"

enum {
    READS_PER_EVENT = 8,      /* then others get their turn */
    EXCHANGES_PER_EVENT = 32, /* of one connection's pipeline */
    FIRST_INPUT_BYTES = 2048
};

/* Keeps the `len` bytes at `data` (which may lie in the kept input) as the only kept input. */
static int keep_input(struct vf_downstream *client, const char *data, size_t len)
{
    if (len == 0) {
        vf_downstream_drop_input(client);
        return 0;
    }
    if (client->input != NULL && data >= client->input &&
        data < client->input + client->input_room) {
        vf_net_flush(&client->proxy->net); /* slices may point into it */
        if (client->is_dead)
            return 0;
        memmove(client->input, data, len);
        client->input_len = (uint32_t)len;
        return 0;
    }
    if (len > client->input_room) {
        size_t room = len < FIRST_INPUT_BYTES ? FIRST_INPUT_BYTES : len;
        char *input = realloc(client->input, room);
        if (input == NULL)
            return UV_ENOMEM;
        client->input = input;
        client->input_room = (uint32_t)room;
    }
    memcpy(client->input, data, len);
    client->input_len = (uint32_t)len;
    return 0;
}

/* Appends to the kept input. */
static int append_input(struct vf_downstream *client, const char *data, size_t len)
{
    size_t total = client->input_len + len;
    if (total > client->input_room) {
        vf_net_flush(&client->proxy->net); /* slices may point into it */
        if (client->is_dead)
            return 0;
        size_t room = client->input_room * 2;
        if (room < total)
            room = total;
        char *input = realloc(client->input, room);
        if (input == NULL)
            return UV_ENOMEM;
        client->input = input;
        client->input_room = (uint32_t)room;
    }
    memcpy(client->input + client->input_len, data, len);
    client->input_len = (uint32_t)total;
    return 0;
}

static size_t read_proxy_header(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_proxy_header header;
    int used = vf_proxy_header_read(data, len, &header);
    if (used < 0 || (used == 0 && len > VF_PROXY_HEADER_MAX)) {
        vf_log_warn(&client->proxy->log, "client.bad_proxy_header",
                    "listener=%s peer=%s section=%s", client->acceptor->name,
                    vf_downstream_peer_text(client).data, "PROXY protocol section 2");
        vf_count_add(&vf_downstream_counters(client)->refused, 1);
        vf_downstream_close_now(client, true);
        return 0;
    }
    if (used == 0)
        return 0;
    if (header.source.ss_family != AF_UNSPEC) {
        client->peer = vf_address_from_socket(&header.source);
        client->peer_text[0] = '\0';
    }
    client->expects_proxy_header = false;
    if (client->mode == VF_LISTENER_TCP)
        return vf_tcp_begin(client) ? (size_t)used : 0;
    if (client->acceptor->tls == NULL)
        return (size_t)used;
    if (!vf_downstream_start_tls(client, data + used, len - (size_t)used))
        return 0;
    return client->at_hello ? (size_t)used : len;
}

/* The first bytes say which HTTP it is (RFC 9113 section 3.3). */
static size_t read_first(struct vf_downstream *client, const char *data, size_t len)
{
    switch (vf_h2_is_preface(data, len)) {
    case 1:
        if (!vf_h2_start(client))
            return 0;
        vf_h2_feed(client->h2, data, len);
        return len;
    case 0:
        if (client->input_len == 0)
            vf_downstream_set_timer(
                client, vf_downstream_policy(client)->value[VF_POLICY_CLIENT_HEADER_MS]);
        return 0;
    default:
        return vf_downstream_read_head(client, data, len);
    }
}

/* One step of the connection's machine on `len` > 0 bytes. Returns how many were used; 0 when it
 * needs more bytes, has to wait, or the connection ended. */
static size_t step(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_exchange *ex = client->ex;
    if (client->lingering)
        return len;
    if (client->h2 != NULL) {
        vf_h2_feed(client->h2, data, len);
        return len;
    }
    if (client->expects_proxy_header)
        return read_proxy_header(client, data, len);
    if (client->at_hello)
        return vf_hello_read(client, data, len);
    if (ex == NULL && client->mode != VF_LISTENER_HTTP)
        return vf_tcp_read_hello(client, data, len);
    if (ex == NULL && client->n_requests == 0 && !client->proxy->has_handler)
        return read_first(client, data, len);
    if (ex == NULL)
        return vf_downstream_read_head(client, data, len);
    if (ex->is_raw && !vf_exchange_wants_body(ex))
        return 0;
    if (ex->is_tunnel) {
        vf_exchange_on_request_data(ex, vf_str_make(data, len));
        return len;
    }
    if (ex->request_state == VF_FLOW_BODY && vf_exchange_wants_body(ex))
        return vf_downstream_read_body(client, data, len);
    return 0;
}

/* Works on input until it is used up, more is needed, or an answer has to be waited for. */
void vf_downstream_feed(struct vf_downstream *client, const char *data, size_t len)
{
    uint32_t last = client->n_requests + EXCHANGES_PER_EVENT;
    client->in_feed = true;
    while (len > 0 && !client->is_dead && client->n_requests != last) {
        size_t used = step(client, data, len);
        if (used == 0)
            break;
        data += used;
        len -= used;
    }
    client->in_feed = false;
    if (client->is_dead)
        return;
    if (client->lingering)
        len = 0;
    if (keep_input(client, data, len) < 0) {
        vf_downstream_close(client, "out_of_memory");
        return;
    }
    if (client->n_requests == last && len > 0)
        vf_stream_yield(&client->stream);
}

/* True when bytes from the client can be worked on now. */
bool vf_downstream_may_read(const struct vf_downstream *client)
{
    const struct vf_exchange *ex = client->ex;
    if (client->at_hello)
        return vf_hello_may_read(client);
    if (ex == NULL) /* and for all streams of HTTP/2 */
        return !client->closing || client->lingering;
    if (ex->is_tunnel || ex->request_state == VF_FLOW_BODY)
        return vf_exchange_wants_body(ex);
    return false;
}

static void on_end(struct vf_downstream *client)
{
    struct vf_exchange *ex = client->ex;
    client->saw_eof = true;
    if (client->at_hello)
        vf_hello_gone(client, "cut");
    else if (ex == NULL && client->input_len > 0 && client->mode != VF_LISTENER_HTTP)
        vf_tcp_give_up(client, "closed");
    else if (ex == NULL)
        vf_downstream_close(client, "client_closed");
    else if (ex->is_tunnel)
        vf_exchange_on_request_end(ex);
    else if (ex->request_state == VF_FLOW_BODY)
        vf_downstream_refuse_cut(client);
    else
        ex->close_client = true;
}

/* Returns false when reading is over for this event. */
static bool read_once(struct vf_downstream *client)
{
    char *data;
    ssize_t n = vf_stream_read(&client->stream, &data);
    if (client->is_handshaking && !client->at_hello && !client->is_dead &&
        !vf_downstream_follow_handshake(client, n))
        return false;
    if (client->is_dead || n == UV_EAGAIN || n == UV_ECANCELED)
        return false;
    if (n == 0) {
        on_end(client);
        return false;
    }
    if (n < 0) {
        if (client->at_hello)
            vf_hello_gone(client, "reset");
        else if (n == VF_ETLS)
            vf_downstream_fail_tls(client);
        else
            vf_downstream_close(client, "client_reset");
        return false;
    }
    if (!client->at_hello)
        vf_count_add(&vf_downstream_counters(client)->bytes_in, (uint64_t)n);
    if (client->input_len == 0) {
        vf_downstream_feed(client, data, (size_t)n);
    } else if (append_input(client, data, (size_t)n) < 0) {
        vf_downstream_close(client, "out_of_memory");
    } else if (!client->is_dead) {
        vf_downstream_feed(client, client->input, client->input_len);
    }
    return !client->is_dead;
}

static void on_readable(struct vf_stream *stream)
{
    struct vf_downstream *client = (struct vf_downstream *)stream;
    if (client->is_dead)
        return;
    if (stream->broken && !vf_downstream_may_read(client)) {
        vf_downstream_close(client, "client_reset");
        return;
    }
    if (client->input_len > 0 && client->ex == NULL && !client->lingering &&
        client->input_seen == 0) { /* a pipeline that was interrupted */
        vf_downstream_feed(client, client->input, client->input_len);
        if (client->is_dead)
            return;
    }
    for (int i = 0; i < READS_PER_EVENT; i++) {
        if (!stream->readable || !vf_downstream_may_read(client))
            return;
        if (!read_once(client))
            return;
    }
    if (stream->readable && vf_downstream_may_read(client))
        vf_stream_yield(stream);
}

static void on_drained(struct vf_stream *stream)
{
    struct vf_downstream *client = (struct vf_downstream *)stream;
    client->stall_mark = 0;
    if (client->h2 != NULL && !client->closing)
        vf_h2_on_drained(client->h2);
    else if (client->ex != NULL)
        vf_exchange_on_client_drained(client->ex);
    else if (client->lingering)
        vf_downstream_await_end(client);
    else if (client->closing)
        vf_downstream_close_now(client, false);
}

static void on_failed(struct vf_stream *stream, int error)
{
    struct vf_downstream *client = (struct vf_downstream *)stream;
    (void)error;
    vf_downstream_close(client, "client_reset");
}

void vf_downstream_resume(struct vf_exchange *ex)
{
    struct vf_downstream *client = ex->client->conn;
    if (client->in_feed)
        return;
    vf_downstream_await_content(client); /* its turn begins */
    if (client->input_len > 0)
        vf_downstream_feed(client, client->input, client->input_len);
    if (!client->is_dead && client->stream.readable && vf_downstream_may_read(client))
        vf_stream_yield(&client->stream);
}

/* Between two requests nothing but the next one decides about a connection. */
static bool will_read(const struct vf_stream *stream)
{
    const struct vf_downstream *client = (const struct vf_downstream *)stream;
    return client->ex == NULL && client->input_len == 0 && client->h2 == NULL &&
           client->mode == VF_LISTENER_HTTP && !client->expects_proxy_header &&
           !client->is_handshaking && !client->at_hello && !client->closing && !client->lingering;
}

const struct vf_stream_events vf_downstream_events = {
    .on_readable = on_readable,
    .on_drained = on_drained,
    .on_failed = on_failed,
    .will_read = will_read,
    .rank = VF_IO_CLIENT,
};
