#include "http/h1_client.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "http/h1_write.h"
#include "http/method.h"
#include "http/target.h"

enum { MAX_INTERIM = 32, FIRST_BODY_ROOM = 4096 };

struct vf_h1_client {
    struct vf_arena arena; /* the request until its answer is read, then the answer's head */
    struct vf_h1 parser;
    struct vf_h1_limits limits;
    struct vf_head request, answer;
    struct vf_str target, host;
    int method;  /* -1: none that is known by number */
    size_t seen; /* bytes of an incomplete head looked at */
    uint32_t n_interim;
    bool has_begun, has_head;
    bool no_memory; /* in on_data */
    char *body;
    size_t body_len, body_room;
    uint64_t max_body;
    char rule[160];
};

static int invalid(struct vf_h1_client *client, const char *rule)
{
    snprintf(client->rule, sizeof(client->rule), "%s", rule);
    return UV_EINVAL;
}

static int refuse(struct vf_h1_client *client, const struct vf_fault *fault)
{
    snprintf(client->rule, sizeof(client->rule), "%s, %s", fault->rule, fault->section);
    return fault->status == 431 ? VF_ETOOLARGE : VF_EMALFORMED;
}

static int malformed(struct vf_h1_client *client, const char *rule, const char *section)
{
    struct vf_fault fault = {502, "malformed_response", rule, section, 0};
    return refuse(client, &fault);
}

static int head_too_large(struct vf_h1_client *client)
{
    struct vf_fault fault = {431, "", "the header section is larger than allowed",
                             "RFC 6585 section 5", 0};
    return refuse(client, &fault);
}

struct vf_h1_client *vf_h1_client_new(uint64_t header_bytes, uint64_t header_count)
{
    struct vf_h1_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return NULL;
    vf_arena_init(&client->arena);
    client->limits.header_bytes = header_bytes;
    client->limits.header_count = header_count;
    return client;
}

void vf_h1_client_free(struct vf_h1_client *client)
{
    if (client == NULL)
        return;
    vf_arena_deinit(&client->arena);
    free(client->body);
    free(client);
}

/* Requests */

static bool copy(struct vf_h1_client *client, struct vf_str text, struct vf_str *out)
{
    const char *data = vf_arena_strndup(&client->arena, text.data, text.len);
    *out = vf_str_make(data, text.len);
    return data != NULL;
}

int vf_h1_client_begin(struct vf_h1_client *client, const char *method_text, size_t method_len,
                       const char *target_text, size_t target_len, const char *host_text,
                       size_t host_len)
{
    struct vf_str method = vf_str_make(method_text, method_len);
    struct vf_str target = vf_str_make(target_text, target_len);
    struct vf_str host = vf_str_make(host_text, host_len);
    struct vf_target parts;
    size_t at;
    client->method = vf_method_from_name(method.data, method.len);
    if (!vf_is_token(method))
        return invalid(client, "the method is no token, RFC 9110 section 9.1");
    if (client->method == VF_METHOD_CONNECT)
        return invalid(client, "CONNECT makes a tunnel: not by this client");
    int rc = vf_target_parse(target, client->method, &parts, &at);
    if (rc < 0)
        return invalid(client, vf_target_rule(rc).reason);
    if (parts.form != VF_TARGET_ORIGIN && parts.form != VF_TARGET_ASTERISK)
        return invalid(client, "the target is no path, RFC 9112 section 3.2.1");
    if (!vf_host_is_valid(host))
        return invalid(client, "the host is not valid, RFC 9110 section 7.2");
    vf_arena_deinit(&client->arena);
    client->request = (struct vf_head){.framing = VF_FRAMING_NONE};
    client->has_begun = client->has_head = false;
    client->seen = client->n_interim = 0;
    client->body_len = 0;
    if (!copy(client, method, &client->request.method_name) ||
        !copy(client, target, &client->target) || !copy(client, host, &client->host))
        return UV_ENOMEM;
    return 0;
}

static bool is_ours(enum vf_field_id id)
{
    switch (id) {
    case VF_FIELD_HOST:
    case VF_FIELD_CONTENT_LENGTH:
    case VF_FIELD_TRANSFER_ENCODING:
    case VF_FIELD_CONNECTION:
    case VF_FIELD_KEEP_ALIVE:
    case VF_FIELD_PROXY_CONNECTION:
    case VF_FIELD_HTTP2_SETTINGS:
    case VF_FIELD_UPGRADE:
    case VF_FIELD_TRAILER:
    case VF_FIELD_EXPECT:
    case VF_FIELD_TE:
        return true;
    default:
        return false;
    }
}

int vf_h1_client_field(struct vf_h1_client *client, const char *name_text, size_t name_len,
                       const char *value_text, size_t value_len)
{
    struct vf_str name_copy, value_copy;
    struct vf_str name = vf_str_make(name_text, name_len);
    struct vf_str value = vf_str_trim(vf_str_make(value_text, value_len));
    if (!vf_is_token(name))
        return invalid(client, "the name is no token, RFC 9110 section 5.1");
    if (is_ours(vf_field_id(name)))
        return invalid(client, "this field is the client's own to write");
    if (!vf_is_field_value(value))
        return invalid(client, "the value has a control character, RFC 9110 section 5.5");
    if (!copy(client, name, &name_copy) || !copy(client, value, &value_copy))
        return UV_ENOMEM;
    return vf_fields_add(&client->request.fields, &client->arena, name_copy, value_copy);
}

int vf_h1_client_write_head(struct vf_h1_client *client, struct vf_socket *socket, int64_t length)
{
    struct vf_h1_framing_lines lines = {.length = length >= 0,
                                        .chunked = length == VF_H1_CLIENT_CHUNKED,
                                        .connection = VF_H1_PERSIST};
    client->request.content_length = length >= 0 ? (uint64_t)length : 0;
    struct vf_str text =
        vf_h1_write_request(&client->arena, &client->request, client->request.method_name,
                            client->target, client->host, &lines);
    if (text.data == NULL)
        return UV_ENOMEM;
    vf_socket_add(socket, text.data, text.len);
    return 0;
}

/* Answers */

/* Judges input that holds no whole head. */
static int wait_for_head(struct vf_h1_client *client, struct vf_socket *socket, struct vf_str input,
                         uint64_t timeout_ms)
{
    size_t known = input.len < 7 ? input.len : 7;
    if (input.len > 0 && memcmp(input.data, "HTTP/1.", known) != 0)
        return malformed(client, "these bytes do not begin an answer", "RFC 9112 section 4");
    if (input.len >= client->limits.header_bytes)
        return head_too_large(client);
    if (vf_socket_at_end(socket))
        return client->has_begun ? malformed(client, "the head ends early", "RFC 9112 section 8")
                                 : UV_EOF;
    client->seen = input.len;
    return vf_socket_receive(socket, VF_SOCKET_MORE, NULL, 0, timeout_ms);
}

/* Reads one head. */
static int parse_head(struct vf_h1_client *client, struct vf_socket *socket, const char *data,
                      size_t len)
{
    struct vf_fault fault;
    uint32_t method = client->method < 0 ? VF_METHOD_POST : (uint32_t)client->method;
    if (len > client->limits.header_bytes)
        return head_too_large(client);
    vf_arena_deinit(&client->arena); /* an interim answer; the request was sent */
    char *head = vf_arena_strndup(&client->arena, data, len);
    if (head == NULL)
        return UV_ENOMEM;
    int rc = vf_h1_response(&client->parser, &client->arena, &client->limits, method, head, len,
                            &client->answer, &fault);
    vf_socket_consume(socket, len);
    client->seen = 0;
    if (rc == -1)
        return refuse(client, &fault);
    return rc;
}

int vf_h1_client_read_head(struct vf_h1_client *client, struct vf_socket *socket,
                           uint64_t timeout_ms)
{
    int rc;
    if (!client->has_begun && client->seen == 0)
        vf_arena_deinit(&client->arena); /* what waits for long holds little */
    for (;;) {
        struct vf_str input = vf_socket_input(socket);
        size_t len = vf_h1_head_len(input.data, input.len, client->seen);
        client->has_begun = client->has_begun || input.len > 0;
        if (len == 0) {
            rc = wait_for_head(client, socket, input, timeout_ms);
            if (rc == 0 || (rc == UV_EOF && client->has_begun))
                continue;
            return rc;
        }
        if ((rc = parse_head(client, socket, input.data, len)) < 0)
            return rc;
        if (client->answer.status >= 200)
            break;
        if (client->answer.status == 101)
            return malformed(client, "an upgrade that nobody asked for", "RFC 9110 section 7.8");
        if (++client->n_interim > MAX_INTERIM)
            return malformed(client, "too many interim answers", "RFC 9110 section 15.2");
    }
    client->has_head = true;
    return 0;
}

static bool grow_body(struct vf_h1_client *client, size_t more)
{
    size_t room = client->body_room == 0 ? FIRST_BODY_ROOM : client->body_room;
    if (client->body_len + more <= client->body_room)
        return true;
    while (room < client->body_len + more)
        room *= 2;
    char *body = realloc(client->body, room);
    if (body == NULL)
        return false;
    client->body = body;
    client->body_room = room;
    return true;
}

static void on_data(void *owner, struct vf_str slice)
{
    struct vf_h1_client *client = owner;
    if (client->body_len + slice.len > client->max_body) {
        client->body_len = (size_t)client->max_body + 1; /* more than that: it fails */
        return;
    }
    if (!grow_body(client, slice.len)) {
        client->no_memory = true;
        return;
    }
    memcpy(client->body + client->body_len, slice.data, slice.len);
    client->body_len += slice.len;
}

/* Works on the input. Returns 0 when it was used. */
static int parse_body(struct vf_h1_client *client, struct vf_socket *socket, struct vf_str input)
{
    struct vf_fault fault;
    size_t used = 0;
    client->parser.owner = client;
    client->parser.on_data = on_data;
    int rc = vf_h1_body(&client->parser, input.data, input.len, &used, &fault);
    vf_socket_consume(socket, used);
    if (rc == -1)
        return refuse(client, &fault);
    if (rc == 0 && client->no_memory)
        return UV_ENOMEM;
    return rc == 0 && client->body_len > client->max_body ? VF_ETOOLARGE : rc;
}

int vf_h1_client_read_body(struct vf_h1_client *client, struct vf_socket *socket, bool whole,
                           uint64_t max_bytes, uint64_t timeout_ms)
{
    int rc;
    client->max_body = max_bytes;
    if (whole && client->answer.framing == VF_FRAMING_LENGTH &&
        client->answer.content_length > max_bytes)
        return VF_ETOOLARGE;
    while (!client->parser.is_done && (whole || client->body_len == 0)) {
        struct vf_str input = vf_socket_input(socket);
        if (!whole && input.len > max_bytes) /* a piece of content is no longer than its bytes */
            input.len = (size_t)max_bytes;
        if (input.len > 0) {
            if ((rc = parse_body(client, socket, input)) < 0)
                return rc;
            continue;
        }
        rc = vf_socket_receive(socket, VF_SOCKET_MORE, NULL, 0, timeout_ms);
        if (rc == UV_EOF && vf_h1_finish(&client->parser))
            return 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}

void vf_h1_client_take_body(struct vf_h1_client *client, struct vf_str *out)
{
    *out = vf_str_make(client->body, client->body_len);
    client->body_len = 0;
}

bool vf_h1_client_is_done(const struct vf_h1_client *client)
{
    return client->has_head && client->parser.is_done;
}

bool vf_h1_client_may_keep(const struct vf_h1_client *client)
{
    return vf_h1_client_is_done(client) && client->answer.keep_alive &&
           client->answer.framing != VF_FRAMING_CLOSE;
}

bool vf_h1_client_has_begun(const struct vf_h1_client *client)
{
    return client->has_begun;
}

uint32_t vf_h1_client_status(const struct vf_h1_client *client, struct vf_str *reason)
{
    *reason = client->answer.reason;
    return client->answer.status;
}

static const struct vf_fields *fields_of(const struct vf_h1_client *client, bool trailers)
{
    return trailers ? &client->answer.trailers : &client->answer.fields;
}

uint32_t vf_h1_client_n_fields(const struct vf_h1_client *client, bool trailers)
{
    return fields_of(client, trailers)->count;
}

void vf_h1_client_field_at(const struct vf_h1_client *client, bool trailers, uint32_t index,
                           struct vf_str *name, struct vf_str *value)
{
    const struct vf_field *field = &fields_of(client, trailers)->list[index];
    *name = field->name;
    *value = field->value;
}

const char *vf_h1_client_rule(const struct vf_h1_client *client)
{
    return client->rule;
}
