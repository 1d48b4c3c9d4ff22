#include "http/h2_head.h"

#include <uv.h>

#include "http/h2_fields.h"
#include "http/method.h"
#include "http/target.h"

enum { LINE_BYTES = 4 /* ": " and CRLF of a line of HTTP/1, which limits count */ };

static int refuse(struct vf_fault *fault, uint32_t status, const char *code, const char *rule,
                  const char *section)
{
    *fault = (struct vf_fault){status, code, rule, section, 0};
    return -1;
}

static int malformed(struct vf_fault *fault, const char *rule, const char *section)
{
    return refuse(fault, 400, "malformed_request", rule, section);
}

/* --- Requests --- */

void vf_h2_request_begin(struct vf_h2_request *request, struct vf_arena *arena,
                         struct vf_head *head)
{
    *request = (struct vf_h2_request){.arena = arena, .head = head};
    *head = (struct vf_head){
        .framing = VF_FRAMING_NONE, .version_minor = 1, .is_h2 = true, .keep_alive = true};
}

static struct vf_str *pseudo_field(struct vf_h2_request *request, struct vf_str name)
{
    if (vf_str_eq(name, VF_STR(":method")))
        return &request->head->method_name;
    if (vf_str_eq(name, VF_STR(":path")))
        return &request->path;
    if (vf_str_eq(name, VF_STR(":scheme")))
        return &request->scheme;
    if (vf_str_eq(name, VF_STR(":authority")))
        return &request->authority;
    return &request->protocol; /* there is no other that nghttp2 lets pass */
}

int vf_h2_request_add(struct vf_h2_request *request, const struct vf_h1_limits *limits,
                      struct vf_str name, struct vf_str value)
{
    struct vf_fields *fields = &request->head->fields;
    request->bytes += name.len + value.len + LINE_BYTES;
    if (request->bytes > limits->header_bytes || fields->count > limits->header_count)
        return 0; /* vf_h2_request_end refuses it */
    char *copy = vf_arena_alloc(request->arena, name.len + value.len + 1);
    if (copy == NULL)
        return UV_ENOMEM;
    memcpy(copy, name.data, name.len);
    if (value.len > 0)
        memcpy(copy + name.len, value.data, value.len);
    name.data = copy;
    value.data = copy + name.len;
    if (name.len > 0 && name.data[0] == ':') {
        *pseudo_field(request, name) = value;
        return 0;
    }
    return vf_fields_add(fields, request->arena, name, value);
}

/* RFC 9113 section 8.2.3: a cookie may come in pieces, which are one field for everybody else. */
static int join_cookies(struct vf_h2_request *request)
{
    struct vf_fields *fields = &request->head->fields;
    struct vf_field *first = vf_fields_get(fields, VF_FIELD_COOKIE);
    size_t len = 0;
    uint32_t pieces = 0, kept = 0;
    if (first == NULL)
        return 0;
    for (uint32_t i = 0; i < fields->count; i++)
        if (fields->list[i].id == VF_FIELD_COOKIE) {
            len += fields->list[i].value.len + 2;
            pieces++;
        }
    if (pieces == 1)
        return 0;
    char *joined = vf_arena_alloc(request->arena, len), *at = joined;
    if (joined == NULL)
        return UV_ENOMEM;
    for (uint32_t i = 0; i < fields->count; i++) {
        struct vf_field field = fields->list[i];
        if (field.id == VF_FIELD_COOKIE) {
            if (at > joined) {
                memcpy(at, "; ", 2);
                at += 2;
            }
            memcpy(at, field.value.data, field.value.len);
            at += field.value.len;
            if (&fields->list[i] != first)
                continue;
        }
        fields->list[kept++] = field;
    }
    fields->count = kept;
    first->value = vf_str_make(joined, (size_t)(at - joined));
    return 0;
}

/* :authority and Host, of which one must be there; both say the same (RFC 9113 section 8.3.1). */
static int read_host(struct vf_h2_request *request, struct vf_fault *fault)
{
    struct vf_head *head = request->head;
    const struct vf_field *host = vf_fields_get(&head->fields, VF_FIELD_HOST);
    struct vf_str authority = request->authority;
    uint32_t hosts = 0;
    for (uint32_t i = 0; i < head->fields.count; i++)
        hosts += head->fields.list[i].id == VF_FIELD_HOST;
    if (hosts > 1)
        return malformed(fault, "more than one Host field", "RFC 9110 section 7.2");
    if (authority.data == NULL && host == NULL)
        return malformed(fault, "neither :authority nor Host", "RFC 9113 section 8.3.1");
    if (authority.data != NULL && host != NULL && !vf_str_ieq(authority, host->value))
        return malformed(fault, ":authority and Host differ", "RFC 9113 section 8.3.1");
    head->host = authority.data != NULL ? authority : host->value;
    if (head->host.len == 0 || !vf_host_is_valid(head->host))
        return malformed(fault, ":authority is not a valid host and port",
                         "RFC 9113 section 8.3.1");
    if (host == NULL)
        return vf_fields_add(&head->fields, request->arena, VF_STR("host"), head->host);
    return 0;
}

static int read_content_length(struct vf_head *head, struct vf_fault *fault)
{
    const struct vf_field *found = vf_fields_get(&head->fields, VF_FIELD_CONTENT_LENGTH);
    if (found == NULL)
        return 0;
    if (!vf_str_to_u64(found->value, &head->content_length) || head->content_length > INT64_MAX)
        return malformed(fault, "Content-Length is not a decimal number", "RFC 9110 section 8.6");
    head->has_content_length = true;
    return 0;
}

static int read_framing(struct vf_head *head, bool has_content, struct vf_fault *fault)
{
    int rc = read_content_length(head, fault);
    if (rc < 0 || !has_content)
        return rc;
    if (!head->has_content_length)
        head->framing = VF_FRAMING_CHUNKED;
    else if (head->content_length > 0)
        head->framing = VF_FRAMING_LENGTH;
    return 0;
}

static int read_expect(struct vf_h2_request *request, struct vf_fault *fault)
{
    struct vf_head *head = request->head;
    if (!vf_fields_have(&head->fields, VF_FIELD_EXPECT))
        return 0;
    if (!vf_str_ieq(vf_fields_joined(&head->fields, VF_FIELD_EXPECT, request->arena),
                    VF_STR("100-continue")))
        return refuse(fault, 417, "expectation_failed", "an expectation other than 100-continue",
                      "RFC 9110 section 10.1.1");
    head->expects_continue = head->framing != VF_FRAMING_NONE;
    return 0;
}

static int check_limits(const struct vf_h2_request *request, const struct vf_h1_limits *limits,
                        struct vf_fault *fault)
{
    if (request->path.len > limits->uri_bytes)
        return refuse(fault, 414, "uri_too_long", "the request target is longer than allowed",
                      "RFC 9110 section 15.5.15");
    if (request->bytes > limits->header_bytes)
        return refuse(fault, 431, "header_too_large", "the header section is larger than allowed",
                      "RFC 6585 section 5");
    if (request->head->fields.count > limits->header_count)
        return refuse(fault, 431, "too_many_headers", "more header fields than allowed",
                      "RFC 6585 section 5");
    return 0;
}

/* RFC 6455 section 4.1: 16 bytes in base64. */
static struct vf_str make_key(struct vf_arena *arena, const uint8_t nonce[16])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *key = vf_arena_alloc(arena, 24);
    if (key == NULL)
        return vf_str_make(NULL, 0);
    for (int i = 0; i < 6; i++) {
        uint32_t bits = (uint32_t)nonce[i * 3] << 16;
        if (i < 5)
            bits |= (uint32_t)nonce[i * 3 + 1] << 8 | nonce[i * 3 + 2];
        for (int digit = 0; digit < 4; digit++)
            key[i * 4 + digit] = digits[bits >> (18 - 6 * digit) & 63];
    }
    key[22] = key[23] = '=';
    return vf_str_make(key, 24);
}

/* RFC 8441 section 5: the handshake of RFC 6455, without its key. */
static int begin_websocket(struct vf_h2_request *request, const uint8_t nonce[16],
                           struct vf_fault *fault)
{
    struct vf_head *head = request->head;
    struct vf_str key = make_key(request->arena, nonce);
    if (!vf_str_ieq(request->protocol, VF_STR("websocket")))
        return refuse(fault, 501, "protocol_not_implemented",
                      "extended CONNECT for a protocol other than websocket", "RFC 8441 section 4");
    if (key.data == NULL)
        return UV_ENOMEM;
    head->method_name = VF_STR("GET");
    head->method = VF_METHOD_GET;
    head->wants_upgrade = true;
    head->connection_upgrade = VF_STR("websocket");
    return vf_fields_add(&head->fields, request->arena, VF_STR("sec-websocket-key"), key);
}

static int read_method(struct vf_h2_request *request, struct vf_fault *fault)
{
    struct vf_head *head = request->head;
    int method = vf_method_read(head->method_name.data, head->method_name.len);
    if (method < 0)
        return refuse(fault, 501, "method_not_implemented",
                      "the method is too long, or a known one in other case",
                      "RFC 9110 section 9.1");
    head->method = (uint32_t)method;
    return 0;
}

int vf_h2_request_end(struct vf_h2_request *request, const struct vf_h1_limits *limits,
                      bool has_content, const uint8_t nonce[16], struct vf_fault *fault)
{
    struct vf_head *head = request->head;
    bool is_extended = request->protocol.data != NULL;
    int rc;
    if ((rc = check_limits(request, limits, fault)) < 0 || (rc = read_method(request, fault)) < 0)
        return rc;
    if (request->scheme.data != NULL && !vf_str_ieq(request->scheme, VF_STR("http")) &&
        !vf_str_ieq(request->scheme, VF_STR("https")))
        return malformed(fault, ":scheme is neither http nor https", "RFC 9113 section 8.3.1");
    head->target = request->path.data != NULL ? request->path : request->authority;
    if ((rc = join_cookies(request)) < 0 || (rc = read_host(request, fault)) < 0 ||
        (rc = read_framing(head, has_content && !is_extended, fault)) < 0 ||
        (rc = read_expect(request, fault)) < 0)
        return rc;
    if (vf_fields_have(&head->fields, VF_FIELD_TE))
        head->te_trailers = true; /* nothing else may stand there */
    return is_extended ? begin_websocket(request, nonce, fault) : 0;
}

/* --- Answers --- */

static bool has_upper(struct vf_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] >= 'A' && name.data[i] <= 'Z')
            return true;
    return false;
}

/* Names are lower case on the wire (RFC 9113 section 8.2.1). Returns NULL data without memory. */
static struct vf_str lowered(struct vf_arena *arena, struct vf_str name)
{
    if (!has_upper(name))
        return name;
    char *copy = vf_arena_alloc(arena, name.len);
    if (copy == NULL)
        return vf_str_make(NULL, 0);
    vf_h2_put_lower(copy, name);
    return vf_str_make(copy, name.len);
}

static struct vf_str number(struct vf_arena *arena, uint64_t value)
{
    char *text = vf_arena_alloc(arena, 20);
    return vf_str_make(text, text != NULL ? vf_u64_format(value, text) : 0);
}

size_t vf_h2_write_response(struct vf_arena *arena, const struct vf_head *head, uint32_t status,
                            bool has_length, nghttp2_nv **out)
{
    const struct vf_fields *fields = &head->fields;
    nghttp2_nv *list = vf_arena_alloc(arena, (fields->count + 2) * sizeof(*list));
    struct vf_str text = number(arena, status);
    size_t n = 0;
    if (list == NULL || text.data == NULL)
        return 0;
    list[n++] = vf_h2_pair(VF_STR(":status"), text);
    for (uint32_t i = 0; i < fields->count; i++) {
        if (!vf_h2_may_be_sent(&fields->list[i]))
            continue;
        struct vf_str name = lowered(arena, fields->list[i].name);
        if (name.data == NULL)
            return 0;
        list[n++] = vf_h2_pair(name, fields->list[i].value);
    }
    if (has_length) {
        struct vf_str length = number(arena, head->content_length);
        if (length.data == NULL)
            return 0;
        list[n++] = vf_h2_pair(VF_STR("content-length"), length);
    }
    *out = list;
    return n;
}
