/* proxy/downstream_request.c - requests of an HTTP/1 client: its bytes to heads and content. */
#include <uv.h>

#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/downstream_conn.h"

static bool begin_exchange(struct vf_downstream *client)
{
    client->ex = vf_exchange_new(client->proxy, &client->client, client->acceptor->listener);
    if (client->ex == NULL) {
        vf_count_add(&client->proxy->block->totals.out_of_memory, 1);
        vf_downstream_close_now(client, true);
        return false;
    }
    client->n_requests++;
    return true;
}

static void refuse(struct vf_downstream *client, const struct vf_fault *fault)
{
    vf_count_add(&vf_downstream_counters(client)->refused, 1);
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

/* Whether these are the first bytes of a head: alone, or behind a request that was answered. Those
 * of a connection are timed from its beginning. */
static bool is_begun(const struct vf_downstream *client)
{
    return client->input_len == 0 || (client->input_seen == 0 && client->n_requests > 0);
}

size_t vf_downstream_read_head(struct vf_downstream *client, const char *data, size_t len)
{
    struct vf_fault fault;
    bool is_first = is_begun(client);
    size_t head_len = vf_h1_head_len(data, len, client->input_seen);
    if (client->closing) {
        vf_downstream_end(client);
        return 0;
    }
    if (head_len == 0) {
        client->input_seen = (uint32_t)len;
        if (may_grow(client, data, len) && is_first)
            vf_downstream_set_timer(
                client, vf_downstream_policy(client)->value[VF_POLICY_CLIENT_HEADER_MS]);
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
    vf_net_used_up(&client->proxy->net, data, data + head_len);
    ex->request_parser.owner = ex;
    ex->request_parser.on_data = on_body_data;
    ex->request_state = ex->request_parser.is_done ? VF_FLOW_DONE : VF_FLOW_BODY;
    vf_exchange_on_request(ex);
    if (client->ex == ex)
        vf_downstream_await_content(client);
    return head_len;
}

size_t vf_downstream_read_body(struct vf_downstream *client, const char *data, size_t len)
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
        vf_downstream_await_content(client);
    }
    return used;
}

void vf_downstream_refuse_cut(struct vf_downstream *client)
{
    struct vf_fault fault = {400, "incomplete_request", "the connection ended within the content",
                             "RFC 9112 section 8", 0};
    if (client->ex->head_sent)
        vf_downstream_close(client, "client_closed");
    else
        refuse(client, &fault);
}
