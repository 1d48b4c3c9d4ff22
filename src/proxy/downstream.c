#include "proxy/downstream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "http/h1_write.h"
#include "http/method.h"
#include "net/proxy_protocol.h"
#include "proxy/core.h"
#include "snapshot/address.h"

enum {
    READS_PER_EVENT = 8,       /* then others get their turn */
    EXCHANGES_PER_EVENT = 32,  /* of one connection's pipeline */
    DISCARD_BYTES = 64 * 1024, /* of request content nobody wants, to keep the connection */
    LINGER_MS = 2000, /* how long a closed connection is listened to (RFC 9112 section 9.6) */
    SPARE_CONNECTIONS = 64,
    FIRST_INPUT_BYTES = 2048
};

static void on_readable(struct vf_stream *stream);
static void on_drained(struct vf_stream *stream);
static void on_failed(struct vf_stream *stream, int error);

static const struct vf_stream_events stream_events = {
    .on_readable = on_readable, .on_drained = on_drained, .on_failed = on_failed};

/* Life of a connection */

static const struct vf_snap_policy *policy_of(const struct vf_downstream *client)
{
    const struct vf_proxy *proxy = client->proxy;
    return vf_snap_policy(proxy->snapshot, client->acceptor->listener->policy);
}

static void set_timer(struct vf_downstream *client, uint64_t delay_ms)
{
    vf_reactor_timer(client->proxy->reactor, &client->timer, delay_ms);
}

/* The next piece of the request's content is due, where there is one. */
static void await_content(struct vf_downstream *client)
{
    const struct vf_exchange *ex = client->ex;
    if (ex->request_state == VF_FLOW_BODY && !ex->is_tunnel)
        set_timer(client, ex->policy->value[VF_POLICY_CLIENT_BODY_MS]);
}

static struct vf_state_listener *counters(struct vf_downstream *client)
{
    return &client->proxy->block->listeners[client->listener_slot];
}

static void drop_input(struct vf_downstream *client)
{
    if (client->input == NULL)
        return;
    vf_net_flush(&client->proxy->net); /* slices may point into it */
    free(client->input);
    client->input = NULL;
    client->input_len = client->input_room = client->input_seen = 0;
}

/* Closes the socket; the memory goes after the event. */
static void close_now(struct vf_downstream *client, bool reset)
{
    struct vf_proxy *proxy = client->proxy;
    if (client->is_dead)
        return;
    client->is_dead = true;
    vf_reactor_timer_stop(proxy->reactor, &client->timer);
    vf_stream_close(&client->stream, reset);
    drop_input(client);
    if (client->prev != NULL)
        client->prev->next = client->next;
    else
        proxy->connections = client->next;
    if (client->next != NULL)
        client->next->prev = client->prev;
    client->next = proxy->dead_connections;
    proxy->dead_connections = client;
    vf_count_add(&counters(client)->connections, (uint64_t)-1);
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
    close_now(client, false);
}

void vf_downstream_reap(struct vf_proxy *proxy)
{
    while (proxy->dead_connections != NULL) {
        struct vf_downstream *client = proxy->dead_connections;
        proxy->dead_connections = client->next;
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
static void await_end(struct vf_downstream *client)
{
    bool is_sent = vf_stream_pending(&client->stream) == 0;
    client->stall_mark = 0;
    set_timer(client, is_sent ? LINGER_MS : policy_of(client)->value[VF_POLICY_RESPONSE_BODY_MS]);
}

/* Ends after the answer: nothing to read is left, or what comes is read and dropped for a while, so
 * that the client gets the answer and no reset. */
static void end_connection(struct vf_downstream *client)
{
    client->closing = true;
    if (client->input_len == 0 && !client->stream.readable && client->saw_eof) {
        vf_stream_flush(&client->stream);
        if (!client->is_dead && vf_stream_pending(&client->stream) == 0)
            close_now(client, false);
        return;
    }
    drop_input(client);
    client->lingering = true;
    vf_stream_shutdown(&client->stream);
    if (client->is_dead)
        return;
    await_end(client);
    if (client->stream.readable)
        vf_stream_yield(&client->stream);
}

/* The answer is complete and no byte of the client is due: close without waiting for it. */
static void end_cleanly(struct vf_downstream *client)
{
    client->closing = true;
    vf_stream_flush(&client->stream);
    if (client->is_dead)
        return;
    if (vf_stream_pending(&client->stream) == 0)
        close_now(client, false);
    else
        await_end(client); /* on_drained closes */
}

/* Timers */

static void answer_timeout(struct vf_downstream *client)
{
    struct vf_proxy *proxy = client->proxy;
    struct vf_exchange *ex = client->ex;
    vf_count_add(&proxy->block->totals.client_timeouts, 1);
    if (ex == NULL) {
        ex = vf_exchange_new(proxy, client, client->acceptor->listener);
        if (ex == NULL) {
            close_now(client, false);
            return;
        }
        client->ex = ex;
        vf_count_add(&counters(client)->refused, 1);
    }
    vf_exchange_on_client_timeout(ex);
}

/* Returns true when the client took nothing since it was last looked at; looks again in a while. */
static bool is_stalled(struct vf_downstream *client, uint64_t patience_ms)
{
    if (client->stream.blocked && client->stall_mark == client->stream.bytes_out + 1)
        return true;
    client->stall_mark = client->stream.blocked ? client->stream.bytes_out + 1 : 0;
    set_timer(client, patience_ms);
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
        close_now(client, false);
    else if (is_stalled(client, policy_of(client)->value[VF_POLICY_RESPONSE_BODY_MS]))
        close_now(client, true);
}

static void on_timer(struct vf_timer *timer)
{
    struct vf_downstream *client =
        (struct vf_downstream *)((char *)timer - offsetof(struct vf_downstream, timer));
    struct vf_exchange *ex = client->ex;
    if (client->expects_proxy_header)
        close_now(client, false);
    else if (client->closing && ex == NULL)
        check_end(client);
    else if (ex == NULL && client->input_len > 0)
        answer_timeout(client);
    else if (ex == NULL)
        close_now(client, false); /* idle */
    else if (ex->request_state == VF_FLOW_BODY && !ex->is_tunnel && vf_exchange_wants_body(ex))
        answer_timeout(client);
    else
        check_stall(client);
}

/* Accepting */

static int open_stream(struct vf_downstream *client, int fd)
{
    int rc = vf_stream_open(&client->stream, &client->proxy->net, &stream_events, fd);
    if (rc < 0)
        close(fd);
    return rc;
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
    if (open_stream(client, fd) < 0) {
        free(client);
        return;
    }
    client->acceptor = acceptor;
    acceptor->refs++;
    client->listener_slot = acceptor->listener->slot;
    client->peer = *peer;
    client->expects_proxy_header =
        acceptor->listener->proxy_protocol != 0 && peer->family != VF_FAMILY_NONE;
    client->timer.on_fire = on_timer;
    client->next = proxy->connections;
    if (client->next != NULL)
        client->next->prev = client;
    proxy->connections = client;
    proxy->n_connections++;
    vf_count_add(&proxy->block->totals.accepted, 1);
    vf_count_add(&proxy->block->process.connections, 1);
    vf_count_add(&counters(client)->accepted, 1);
    vf_count_add(&counters(client)->connections, 1);
    /* a new connection has as long as a head may take (RFC 9110 section 15.5.9) */
    set_timer(client, policy_of(client)->value[VF_POLICY_CLIENT_HEADER_MS]);
}

/* Input */

/* Keeps the `len` bytes at `data` (which may lie in the kept input) as the only kept input. */
static int keep_input(struct vf_downstream *client, const char *data, size_t len)
{
    if (len == 0) {
        drop_input(client);
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
        vf_count_add(&counters(client)->refused, 1);
        close_now(client, true);
        return 0;
    }
    if (used == 0)
        return 0;
    if (header.source.ss_family != AF_UNSPEC) {
        client->peer = vf_address_from_socket(&header.source);
        client->peer_text[0] = '\0';
    }
    client->expects_proxy_header = false;
    return (size_t)used;
}

static bool begin_exchange(struct vf_downstream *client)
{
    client->ex = vf_exchange_new(client->proxy, client, client->acceptor->listener);
    if (client->ex == NULL) {
        vf_count_add(&client->proxy->block->totals.out_of_memory, 1);
        close_now(client, true);
        return false;
    }
    client->n_requests++;
    return true;
}

static void refuse(struct vf_downstream *client, const struct vf_fault *fault)
{
    vf_count_add(&counters(client)->refused, 1);
    vf_exchange_on_fault(client->ex, fault);
}

/* Judges an incomplete head. Returns true when it may still become one. */
static bool may_grow(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_h1_limits limits =
        vf_proxy_head_limits(client->proxy->snapshot, client->acceptor->listener);
    struct vf_fault fault = {400, "malformed_request", "these bytes do not begin a request",
                             "RFC 9112 section 3", 0};
    if (len >= limits.header_bytes) {
        size_t line = limits.uri_bytes < limits.header_bytes ? (size_t)limits.uri_bytes : len;
        bool long_line = memchr(data, '\n', line < len ? line : len) == NULL;
        fault = (struct vf_fault){
            long_line ? 414 : 431, long_line ? "uri_too_long" : "header_too_large",
            long_line ? "the request line is longer than allowed"
                      : "the header section is larger than allowed",
            long_line ? "RFC 9110 section 15.5.15" : "RFC 6585 section 5", len};
    } else if (vf_h1_may_be_request(data, len)) {
        const char *cr = vf_h1_bare_cr(data, len);
        if (cr == NULL)
            return true;
        fault.rule = "a carriage return that does not end a line";
        fault.section = "RFC 9112 section 2.2";
        fault.offset = (size_t)(cr - data);
    }
    if (begin_exchange(client))
        refuse(client, &fault);
    return false;
}

static int parse_head(struct vf_downstream *client, const char *data, size_t head_len,
                      struct vf_fault *fault)
{
    struct vf_exchange *ex = client->ex;
    struct vf_h1_limits limits = vf_proxy_head_limits(ex->snapshot, ex->listener);
    char *head = vf_arena_strndup(&ex->arena, data, head_len);
    if (head == NULL)
        return UV_ENOMEM;
    if (head_len > limits.header_bytes) {
        *fault =
            (struct vf_fault){431, "header_too_large", "the header section is larger than allowed",
                              "RFC 6585 section 5", (size_t)limits.header_bytes};
        const char *lf = memchr(data, '\n', head_len);
        if (lf != NULL && (uint64_t)(lf - data) > limits.uri_bytes + 24) {
            fault->status = 414;
            fault->code = "uri_too_long";
            fault->rule = "the request target is longer than allowed";
            fault->section = "RFC 9110 section 15.5.15";
        }
        return -1;
    }
    return vf_h1_request(&ex->request_parser, &ex->arena, &limits, head, head_len, &ex->request,
                         fault);
}

static void on_body_data(void *owner, struct vf_str slice)
{
    vf_exchange_on_request_data(owner, slice);
}

/* Returns the bytes of a complete head that was taken, or 0. */
static size_t read_head(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_fault fault;
    size_t head_len = vf_h1_head_len(data, len, client->input_seen);
    if (client->closing || client->acceptor->listener == NULL) {
        end_connection(client);
        return 0;
    }
    if (head_len == 0) {
        client->input_seen = (uint32_t)len;
        if (may_grow(client, data, len) && client->input_len == 0) /* its first bytes */
            set_timer(client, policy_of(client)->value[VF_POLICY_CLIENT_HEADER_MS]);
        return 0;
    }
    client->input_seen = 0;
    if (!begin_exchange(client))
        return 0;
    struct vf_exchange *ex = client->ex;
    int rc = parse_head(client, data, head_len, &fault);
    if (rc == UV_ENOMEM) {
        vf_downstream_close(client, "out_of_memory");
        return 0;
    }
    if (rc < 0) {
        refuse(client, &fault);
        return head_len;
    }
    ex->request_parser.owner = ex;
    ex->request_parser.on_data = on_body_data;
    ex->request_state = ex->request_parser.is_done ? VF_FLOW_DONE : VF_FLOW_BODY;
    vf_exchange_on_request(ex);
    if (client->ex == ex)
        await_content(client);
    return head_len;
}

static size_t read_body(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_exchange *ex = client->ex;
    struct vf_fault fault;
    size_t used = 0;
    int rc = vf_h1_body(&ex->request_parser, data, len, &used, &fault);
    if (client->ex != ex) /* it ended meanwhile; what is left is for end_connection */
        return client->is_dead ? 0 : used;
    if (rc < 0) {
        if (rc == UV_ENOMEM)
            vf_downstream_close(client, "out_of_memory");
        else
            refuse(client, &fault);
        return 0;
    }
    if (ex->request_parser.is_done) {
        ex->request_state = VF_FLOW_DONE;
        vf_exchange_on_request_end(ex);
    } else {
        await_content(client);
    }
    return used;
}

/* One step of the connection's machine on `len` > 0 bytes. Returns how many were used; 0 when it
 * needs more bytes, has to wait, or the connection ended. */
static size_t step(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_exchange *ex = client->ex;
    if (client->lingering)
        return len;
    if (client->expects_proxy_header)
        return read_proxy_header(client, data, len);
    if (ex == NULL)
        return read_head(client, data, len);
    if (ex->is_tunnel) {
        vf_exchange_on_request_data(ex, vf_str_make(data, len));
        return len;
    }
    if (ex->request_state == VF_FLOW_BODY && vf_exchange_wants_body(ex))
        return read_body(client, data, len);
    return 0;
}

/* Works on input until it is used up, more is needed, or an answer has to be waited for. */
static void feed(struct vf_downstream *client, const char *data, size_t len)
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
static bool may_read(const struct vf_downstream *client)
{
    const struct vf_exchange *ex = client->ex;
    if (ex == NULL)
        return !client->closing || client->lingering;
    if (ex->is_tunnel || ex->request_state == VF_FLOW_BODY)
        return vf_exchange_wants_body(ex);
    return false;
}

/* End of file within the content: the request is incomplete (RFC 9112 section 8). */
static void refuse_cut_request(struct vf_downstream *client)
{
    struct vf_fault fault = {400, "incomplete_request", "the connection ended within the content",
                             "RFC 9112 section 8", 0};
    if (client->ex->head_sent)
        vf_downstream_close(client, "client_closed");
    else
        refuse(client, &fault);
}

static void on_end(struct vf_downstream *client)
{
    struct vf_exchange *ex = client->ex;
    client->saw_eof = true;
    if (ex == NULL)
        close_now(client, false);
    else if (ex->is_tunnel)
        vf_exchange_on_request_end(ex);
    else if (ex->request_state == VF_FLOW_BODY)
        refuse_cut_request(client);
    else
        ex->close_client = true;
}

/* Returns false when reading is over for this event. */
static bool read_once(struct vf_downstream *client)
{
    struct vf_net *net = &client->proxy->net;
    char *buffer = net->read_buffer;
    ssize_t n = vf_stream_read(&client->stream, buffer, vf_net_read_size(net));
    if (client->is_dead || n == UV_EAGAIN || n == UV_ECANCELED)
        return false;
    if (n == 0) {
        on_end(client);
        return false;
    }
    if (n < 0) {
        vf_downstream_close(client, "client_reset");
        return false;
    }
    vf_count_add(&counters(client)->bytes_in, (uint64_t)n);
    if (client->input_len == 0) {
        feed(client, buffer, (size_t)n);
    } else if (append_input(client, buffer, (size_t)n) == 0) {
        feed(client, client->input, client->input_len);
    } else {
        vf_downstream_close(client, "out_of_memory");
    }
    return !client->is_dead;
}

static void on_readable(struct vf_stream *stream)
{
    struct vf_downstream *client = (struct vf_downstream *)stream;
    if (client->is_dead)
        return;
    if (stream->broken && !may_read(client)) {
        vf_downstream_close(client, "client_reset");
        return;
    }
    if (client->input_len > 0 && client->ex == NULL && !client->lingering &&
        client->input_seen == 0) { /* a pipeline that was interrupted */
        feed(client, client->input, client->input_len);
        if (client->is_dead)
            return;
    }
    for (int i = 0; i < READS_PER_EVENT; i++) {
        if (!stream->readable || !may_read(client))
            return;
        if (!read_once(client))
            return;
    }
    if (stream->readable && may_read(client))
        vf_stream_yield(stream);
}

static void on_drained(struct vf_stream *stream)
{
    struct vf_downstream *client = (struct vf_downstream *)stream;
    client->stall_mark = 0;
    if (client->ex != NULL)
        vf_exchange_on_client_drained(client->ex);
    else if (client->lingering)
        await_end(client);
    else if (client->closing)
        close_now(client, false);
}

static void on_failed(struct vf_stream *stream, int error)
{
    struct vf_downstream *client = (struct vf_downstream *)stream;
    (void)error;
    vf_downstream_close(client, "client_reset");
}

void vf_client_resume(struct vf_exchange *ex)
{
    struct vf_downstream *client = ex->client;
    if (client == NULL || client->in_feed)
        return;
    await_content(client); /* its turn begins */
    if (client->input_len > 0)
        feed(client, client->input, client->input_len);
    if (!client->is_dead && client->stream.readable && may_read(client))
        vf_stream_yield(&client->stream);
}

/* Output */

bool vf_client_is_blocked(const struct vf_exchange *ex)
{
    return ex->client != NULL && ex->client->stream.blocked;
}

/* Content that is still to come although the answer begins: the backend goes on reading it, or it
 * is short enough to be read past. A client that waits for 100 Continue may not send it at all. */
static bool takes_the_rest(const struct vf_exchange *ex)
{
    if (ex->request_state != VF_FLOW_BODY || ex->request.expects_continue)
        return false;
    if (!ex->is_local)
        return ex->upstream != NULL && ex->response.keep_alive;
    return ex->request.framing == VF_FRAMING_CHUNKED || ex->request_parser.left <= DISCARD_BYTES;
}

static bool persists(const struct vf_exchange *ex)
{
    const struct vf_downstream *client = ex->client;
    return ex->request.keep_alive && !ex->close_client && !client->closing &&
           !client->acceptor->is_gone && !client->proxy->draining && !client->saw_eof &&
           (ex->request_state == VF_FLOW_DONE || takes_the_rest(ex));
}

/* How the end of the answer is shown to the client (RFC 9112 section 6). */
static void choose_framing(struct vf_exchange *ex, struct vf_h1_framing_lines *lines)
{
    const struct vf_head *head = &ex->response;
    bool has_content = head->framing != VF_FRAMING_NONE;
    if (head->framing == VF_FRAMING_LENGTH || (!has_content && head->has_content_length)) {
        lines->length = head->status >= 200 && head->status != 204;
    } else if (has_content && ex->request.version_minor >= 1) {
        lines->chunked = ex->chunk_answer = true;
    } else if (has_content) {
        ex->close_client = true; /* until the connection closes */
    }
}

static void send_text(struct vf_exchange *ex, struct vf_str text)
{
    if (text.data == NULL) {
        vf_downstream_close(ex->client, "out_of_memory");
        return;
    }
    vf_stream_add(&ex->client->stream, text);
}

void vf_client_send_interim(struct vf_exchange *ex)
{
    struct vf_h1_framing_lines lines = {.connection = VF_H1_PERSIST};
    if (ex->request.version_minor >= 1 && ex->client != NULL)
        send_text(ex, vf_h1_write_response(&ex->arena, &ex->response, &lines));
}

void vf_client_send_head(struct vf_exchange *ex)
{
    struct vf_h1_framing_lines lines = {.connection = VF_H1_PERSIST};
    ex->head_sent = true;
    if (ex->client == NULL)
        return;
    if (ex->is_tunnel) {
        lines.connection = VF_H1_UPGRADE;
        ex->close_client = true;
    } else {
        choose_framing(ex, &lines);
        if (!persists(ex)) {
            ex->close_client = true;
            lines.connection = VF_H1_CLOSE;
        } else if (ex->request.version_minor == 0) {
            lines.connection = VF_H1_KEEP_ALIVE;
        }
        if (ex->response.status == 426 && ex->response.connection_upgrade.len > 0)
            lines.connection = ex->close_client ? VF_H1_CLOSE_UPGRADE : VF_H1_UPGRADE;
    }
    send_text(ex, vf_h1_write_response(&ex->arena, &ex->response, &lines));
}

void vf_client_send_data(struct vf_exchange *ex, struct vf_str slice)
{
    if (ex->client == NULL || slice.len == 0)
        return;
    struct vf_stream *stream = &ex->client->stream;
    ex->bytes_out += slice.len;
    if (!ex->chunk_answer) {
        vf_stream_add(stream, slice);
        return;
    }
    char *line = vf_net_scratch(stream->net, VF_H1_CHUNK_LINE_BYTES);
    vf_stream_add(stream, vf_str_make(line, vf_h1_chunk_line(slice.len, line)));
    vf_stream_add(stream, slice);
    vf_stream_add(stream, VF_STR("\r\n"));
}

/* Forgets the exchange; the connection goes on with the next, or ends. */
static void finish(struct vf_downstream *client, struct vf_exchange *ex)
{
    bool close_client = ex->close_client;
    bool complete = ex->request_state == VF_FLOW_DONE;
    bool expects_more = ex->request.keep_alive && !client->saw_eof && !ex->is_tunnel;
    client->ex = NULL;
    vf_exchange_free(ex);
    if (client->is_dead)
        return;
    if (close_client && complete && !expects_more && client->input_len == 0 && !client->in_feed) {
        end_cleanly(client);
        return;
    }
    if (close_client) {
        end_connection(client);
        return;
    }
    set_timer(client, policy_of(client)->value[VF_POLICY_CLIENT_IDLE_MS]);
    if (client->in_feed)
        return;
    if (client->input_len > 0)
        feed(client, client->input, client->input_len);
    if (!client->is_dead && client->stream.readable && may_read(client))
        vf_stream_yield(&client->stream);
}

void vf_client_send_end(struct vf_exchange *ex, const struct vf_fields *trailers)
{
    struct vf_downstream *client = ex->client;
    if (client == NULL) {
        vf_exchange_free(ex);
        return;
    }
    if (ex->chunk_answer)
        vf_stream_add(&client->stream, vf_h1_write_last_chunk(&ex->arena, trailers));
    if (ex->request_state == VF_FLOW_BODY && !ex->close_client && !ex->is_tunnel) {
        ex->answer_ended = true; /* the rest of the request is awaited: vf_client_finish */
        await_content(client);
        return;
    }
    finish(client, ex);
}

void vf_client_finish(struct vf_exchange *ex)
{
    finish(ex->client, ex);
}

bool vf_client_discard(struct vf_exchange *ex, size_t len)
{
    ex->discarded_bytes += len;
    if (ex->discarded_bytes <= DISCARD_BYTES)
        return true;
    ex->close_client = true;
    finish(ex->client, ex);
    return false;
}

void vf_client_abort(struct vf_exchange *ex)
{
    struct vf_downstream *client = ex->client;
    if (client != NULL) {
        /* without chunks or a length only a reset tells that the answer is not complete */
        bool reset =
            !ex->chunk_answer && !ex->answer_ended && ex->response.framing != VF_FRAMING_LENGTH;
        client->ex = NULL;
        vf_stream_flush(&client->stream);
        close_now(client, reset);
    }
    vf_exchange_free(ex);
}

void vf_client_tunnel_end(struct vf_exchange *ex)
{
    if (ex->client != NULL)
        vf_stream_shutdown(&ex->client->stream);
}

void vf_downstream_drain(struct vf_downstream *client, bool now)
{
    if (client->ex != NULL) {
        client->ex->close_client = !client->ex->head_sent || client->ex->close_client;
        client->closing = true;
        return;
    }
    if (now && client->input_len == 0 && !client->stream.readable && !client->lingering) {
        client->closing = true;
        end_connection(client);
    }
}
