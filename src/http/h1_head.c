/* http/h1_head.c - heads: what h1_plain.c or llhttp read is judged by the rules that those do not
 * know. */
#include <uv.h>

#include "http/h1_parse.h"
#include "http/method.h"
#include "http/target.h"

/* Where a field's value stands in its head: `start` is the head's first byte. */
static size_t offset_of(const char *start, const struct vf_field *field)
{
    return field != NULL && field->value.data >= start ? (size_t)(field->value.data - start) : 0;
}

/* What Transfer-Encoding says: only "chunked", alone and once, is understood. */
static int check_transfer_encoding(struct vf_head *head, struct vf_arena *arena, const char *start,
                                   struct vf_fault *fault)
{
    struct vf_str codings = vf_fields_joined(&head->fields, VF_FIELD_TRANSFER_ENCODING, arena);
    struct vf_str rest = codings, coding, last = {0};
    unsigned count = 0, chunked = 0;
    size_t at = offset_of(start, vf_fields_get(&head->fields, VF_FIELD_TRANSFER_ENCODING));
    if (head->version_minor == 0)
        return vf_h1_malformed(fault, "Transfer-Encoding in an HTTP/1.0 message",
                               "RFC 9112 section 6.1", at);
    if (head->has_content_length)
        return vf_h1_malformed(fault, "both Transfer-Encoding and Content-Length",
                               "RFC 9112 section 6.3", at);
    while (vf_str_next_item(&rest, &coding)) {
        last = coding;
        count++;
        chunked += vf_str_ieq(coding, VF_STR("chunked"));
    }
    if (count == 0 || !vf_str_ieq(last, VF_STR("chunked")) || chunked > 1)
        return vf_h1_malformed(fault, "Transfer-Encoding does not end in one chunked coding",
                               "RFC 9112 section 6.3", at);
    if (count == 1 && codings.len != last.len)
        return vf_h1_malformed(fault, "an empty element in Transfer-Encoding",
                               "RFC 9112 section 6.1", at);
    if (count > 1)
        return vf_h1_refuse(fault, 501, "unknown_transfer_coding",
                            "a transfer coding other than chunked", "RFC 9112 section 6.1", at);
    head->framing = VF_FRAMING_CHUNKED;
    return 0;
}

static int read_content_length(struct vf_head *head, const char *start, struct vf_fault *fault)
{
    const struct vf_field *found = NULL;
    if (!vf_fields_have(&head->fields, VF_FIELD_CONTENT_LENGTH))
        return 0;
    for (uint32_t i = 0; i < head->fields.count; i++) {
        const struct vf_field *field = &head->fields.list[i];
        if (field->id != VF_FIELD_CONTENT_LENGTH)
            continue;
        if (found != NULL)
            return vf_h1_malformed(fault, "more than one Content-Length", "RFC 9112 section 6.3",
                                   offset_of(start, field));
        found = field;
    }
    if (!vf_str_to_u64(found->value, &head->content_length) || head->content_length > INT64_MAX)
        return vf_h1_malformed(fault, "Content-Length is not a decimal number",
                               "RFC 9110 section 8.6", offset_of(start, found));
    head->has_content_length = true;
    return 0;
}

static int read_framing(struct vf_head *head, struct vf_arena *arena, const char *start,
                        struct vf_fault *fault)
{
    int rc = read_content_length(head, start, fault);
    if (rc < 0)
        return rc;
    if (vf_fields_have(&head->fields, VF_FIELD_TRANSFER_ENCODING))
        return check_transfer_encoding(head, arena, start, fault);
    if (head->has_content_length)
        head->framing = head->content_length > 0 ? VF_FRAMING_LENGTH : VF_FRAMING_NONE;
    return 0;
}

/* Reads Connection, Upgrade and TE (RFC 9110 sections 7.6.1, 7.8 and 10.1.4). */
static void read_connection(struct vf_head *head, struct vf_arena *arena)
{
    const uint32_t read_here =
        1U << VF_FIELD_CONNECTION | 1U << VF_FIELD_UPGRADE | 1U << VF_FIELD_TE;
    head->keep_alive = head->version_minor >= 1;
    if ((head->fields.present & read_here) == 0)
        return;
    struct vf_str options = vf_fields_joined(&head->fields, VF_FIELD_CONNECTION, arena);
    bool has_close = false, has_keep_alive = false, has_upgrade = false;
    struct vf_str option;
    while (vf_str_next_item(&options, &option)) {
        has_close |= vf_str_ieq(option, VF_STR("close"));
        has_keep_alive |= vf_str_ieq(option, VF_STR("keep-alive"));
        has_upgrade |= vf_str_ieq(option, VF_STR("upgrade"));
    }
    head->keep_alive = !has_close && (head->version_minor >= 1 || has_keep_alive);
    if (has_upgrade && head->version_minor >= 1 &&
        vf_fields_have(&head->fields, VF_FIELD_UPGRADE)) {
        head->connection_upgrade = vf_fields_joined(&head->fields, VF_FIELD_UPGRADE, arena);
        head->wants_upgrade = head->connection_upgrade.len > 0;
    }
    if (vf_fields_have(&head->fields, VF_FIELD_TE))
        head->te_trailers = vf_str_has_token(vf_fields_joined(&head->fields, VF_FIELD_TE, arena),
                                             VF_STR("trailers"));
}

static int read_host(struct vf_head *head, const char *start, struct vf_fault *fault)
{
    const struct vf_field *found = NULL;
    for (uint32_t i = 0; i < head->fields.count; i++) {
        const struct vf_field *field = &head->fields.list[i];
        if (field->id != VF_FIELD_HOST)
            continue;
        if (found != NULL)
            return vf_h1_malformed(fault, "more than one Host field", "RFC 9112 section 3.2",
                                   offset_of(start, field));
        found = field;
    }
    if (found == NULL && head->version_minor >= 1)
        return vf_h1_malformed(fault, "no Host field", "RFC 9112 section 3.2", 0);
    if (found != NULL && found->value.len > 0 && !vf_host_is_valid(found->value))
        return vf_h1_malformed(fault, "Host is not a valid host and port", "RFC 9110 section 7.2",
                               offset_of(start, found));
    if (found != NULL)
        head->host = found->value;
    return 0;
}

static int read_expect(struct vf_head *head, struct vf_arena *arena, const char *start,
                       struct vf_fault *fault)
{
    if (!vf_fields_have(&head->fields, VF_FIELD_EXPECT))
        return 0;
    struct vf_str expectation = vf_fields_joined(&head->fields, VF_FIELD_EXPECT, arena);
    if (!vf_str_ieq(expectation, VF_STR("100-continue")))
        return vf_h1_refuse(fault, 417, "expectation_failed",
                            "an expectation other than 100-continue", "RFC 9110 section 10.1.1",
                            offset_of(start, vf_fields_get(&head->fields, VF_FIELD_EXPECT)));
    head->expects_continue = head->version_minor >= 1 && head->framing != VF_FRAMING_NONE;
    return 0;
}

/* "METHOD SP target SP HTTP/1.x CRLF" with exactly these two spaces. Judges method, target length
 * and version before llhttp does, because their statuses differ from 400. A higher minor version is
 * taken as the highest that we know (RFC 9110 section 2.5). */
static int check_request_line(struct vf_str line, const struct vf_h1_limits *limits,
                              struct vf_head *head, struct vf_fault *fault)
{
    const char *first = memchr(line.data, ' ', line.len);
    if (first == NULL || first == line.data)
        return vf_h1_malformed(fault, "no method and target in the request line",
                               "RFC 9112 section 3", 0);
    size_t rest = line.len - (size_t)(first + 1 - line.data);
    const char *second = memchr(first + 1, ' ', rest);
    head->method_name = vf_str_make(line.data, (size_t)(first - line.data));
    if (!vf_is_token(head->method_name))
        return vf_h1_malformed(fault, "the method is not a token", "RFC 9110 section 9.1", 0);
    if (second == NULL)
        return vf_h1_malformed(fault, "no HTTP version in the request line", "RFC 9112 section 3",
                               line.len);
    if ((size_t)(second - first - 1) > limits->uri_bytes)
        return vf_h1_refuse(fault, 414, "uri_too_long", "the request target is longer than allowed",
                            "RFC 9110 section 15.5.15", (size_t)(first + 1 - line.data));
    struct vf_str version = vf_str_make(second + 1, line.len - (size_t)(second + 1 - line.data));
    size_t at = (size_t)(second + 1 - line.data);
    if (version.len != 8 || memcmp(version.data, "HTTP/", 5) != 0 || version.data[6] != '.' ||
        version.data[5] < '0' || version.data[5] > '9' || version.data[7] < '0' ||
        version.data[7] > '9')
        return vf_h1_malformed(fault, "the request line does not end in an HTTP version",
                               "RFC 9112 section 2.3", at);
    if (version.data[5] != '1')
        return vf_h1_refuse(fault, 505, "version_not_supported", "only HTTP/1.x is spoken here",
                            "RFC 9110 section 15.6.6", at);
    int method = vf_method_read(head->method_name.data, head->method_name.len);
    if (method < 0)
        return vf_h1_refuse(fault, 501, "method_not_implemented",
                            "the method is too long, or a known one in other case",
                            "RFC 9110 section 9.1", 0);
    head->method = (uint32_t)method;
    head->version_minor = version.data[7] != '0';
    head->target = vf_str_make(first + 1, (size_t)(second - first - 1));
    return 0;
}

static void prepare_body(struct vf_h1 *h1)
{
    struct vf_head *head = h1->head;
    h1->is_done = head->framing == VF_FRAMING_NONE;
    h1->left = head->framing == VF_FRAMING_LENGTH ? head->content_length : 0;
    if (head->framing == VF_FRAMING_CHUNKED)
        llhttp_resume(&h1->parser);
}

/* llhttp knows a list of methods. The name of another was judged by check_request_line: POST goes
 * in its place, which frames content as any method does. */
static int parse_extension(struct vf_h1 *h1, const char *data, size_t len, struct vf_fault *fault)
{
    size_t name = h1->head->method_name.len;
    llhttp_execute(&h1->parser, "POST", 4);
    int rc = vf_h1_parse_head(h1, data + name, len - name, fault);
    if (rc == -1)
        fault->offset += name;
    return rc;
}

/* What is not plain. */
static int ask_llhttp(struct vf_h1 *h1, llhttp_type_t type, const char *data, size_t len,
                      struct vf_fault *fault)
{
    const char *rule;
    size_t offset = 0;
    if (vf_h1_check_lines(data, len, &rule, &offset) < 0)
        return vf_h1_malformed(fault, rule, "RFC 9112 section 2.2", offset);
    vf_h1_begin_llhttp(h1, type);
    if (type == HTTP_REQUEST && h1->head->method == VF_METHOD_OTHER)
        return parse_extension(h1, data, len, fault);
    return vf_h1_parse_head(h1, data, len, fault);
}

/* The first line of a head, without its end. */
static struct vf_str first_line(const char *data, size_t len)
{
    const char *end = memchr(data, '\r', len);
    return vf_str_make(data, end != NULL ? (size_t)(end - data) : len);
}

/* Reads the fields of a head of `len` bytes whose first line has been judged. */
static int read_fields(struct vf_h1 *h1, llhttp_type_t type, struct vf_str line, size_t len,
                       struct vf_fault *fault)
{
    const char *data = line.data;
    struct vf_fields *fields = &h1->head->fields;
    size_t taken = line.len + 2;
    int rc;
    bool is_plain = taken < len && data[taken - 1] == '\n' &&
                    (type != HTTP_REQUEST || vf_h1_is_plain_target(h1->head->target));
    is_plain = is_plain && vf_h1_read_plain(fields, h1->arena, data + taken, len - taken);
    if (!is_plain && (rc = ask_llhttp(h1, type, data, len, fault)) < 0)
        return rc;
    if (fields->count > h1->limits.header_count)
        return vf_h1_refuse(fault, 431, "too_many_headers", "more header fields than allowed",
                            "RFC 6585 section 5", len);
    return 0;
}

static int read_request(struct vf_h1 *h1, const char *data, size_t len, struct vf_fault *fault)
{
    struct vf_head *head = h1->head;
    struct vf_str line = first_line(data, len);
    int rc;
    if ((rc = check_request_line(line, &h1->limits, head, fault)) < 0 ||
        (rc = read_fields(h1, HTTP_REQUEST, line, len, fault)) < 0 ||
        (rc = read_framing(head, h1->arena, data, fault)) < 0 ||
        (rc = read_host(head, data, fault)) < 0 ||
        (rc = read_expect(head, h1->arena, data, fault)) < 0)
        return rc;
    read_connection(head, h1->arena);
    prepare_body(h1);
    return 0;
}

int vf_h1_request(struct vf_h1 *h1, struct vf_arena *arena, const struct vf_h1_limits *limits,
                  const char *data, size_t len, struct vf_head *head, struct vf_fault *fault)
{
    size_t skip = len >= 2 && data[0] == '\r' && data[1] == '\n' ? 2 : 0;
    vf_h1_begin(h1, arena, limits, head);
    int rc = read_request(h1, data + skip, len - skip, fault);
    if (rc == -1)
        fault->offset += skip;
    return rc;
}

/* RFC 9112 section 6.3, rules 1 to 8 for answers. */
static void frame_response(struct vf_head *head, uint32_t method)
{
    bool bodiless = method == VF_METHOD_HEAD || head->status == 204 || head->status == 304 ||
                    head->status < 200;
    if (bodiless)
        head->framing = VF_FRAMING_NONE;
    else if (head->framing == VF_FRAMING_NONE && !head->has_content_length)
        head->framing = VF_FRAMING_CLOSE;
}

/* "HTTP/1.x SP 3DIGIT SP [reason] CRLF" (RFC 9112 section 4). */
static int check_status_line(struct vf_str line, struct vf_head *head, struct vf_fault *fault)
{
    const char *data = line.data;
    if (line.len < 12 || memcmp(data, "HTTP/1.", 7) != 0 || data[7] < '0' || data[7] > '9' ||
        data[8] != ' ' || (line.len > 12 && data[12] != ' '))
        return vf_h1_malformed(fault, "the status line is not HTTP/1.x SP 3DIGIT SP reason",
                               "RFC 9112 section 4", 0);
    for (int i = 9; i < 12; i++)
        if (data[i] < '0' || data[i] > '9')
            return vf_h1_malformed(fault, "the status is not three digits", "RFC 9112 section 4",
                                   (size_t)i);
    head->status = (uint32_t)((data[9] - '0') * 100 + (data[10] - '0') * 10 + (data[11] - '0'));
    if (head->status < 100 || head->status > 599)
        return vf_h1_malformed(fault, "the status is not within 100 and 599", "RFC 9110 section 15",
                               9);
    if (line.len > 13)
        head->reason = vf_str_make(data + 13, line.len - 13);
    head->version_minor = data[7] != '0';
    if (!vf_is_field_value(head->reason))
        return vf_h1_malformed(fault, "a control character in the reason phrase",
                               "RFC 9112 section 4", 13);
    return 0;
}

static int read_response(struct vf_h1 *h1, uint32_t method, const char *data, size_t len,
                         struct vf_head *head, struct vf_fault *fault)
{
    struct vf_str line = first_line(data, len);
    int rc;
    if ((rc = check_status_line(line, head, fault)) < 0 ||
        (rc = read_fields(h1, HTTP_RESPONSE, line, len, fault)) < 0)
        return rc;
    if ((head->status < 200 || head->status == 204) &&
        (head->fields.present & (1U << VF_FIELD_TRANSFER_ENCODING)))
        return vf_h1_malformed(fault, "Transfer-Encoding in an answer without content",
                               "RFC 9112 section 6.1", 0);
    if ((rc = read_framing(head, h1->arena, data, fault)) < 0)
        return rc;
    read_connection(head, h1->arena);
    if (head->status == 426) /* it must say what to upgrade to, RFC 9110 section 15.5.22 */
        head->connection_upgrade = vf_fields_joined(&head->fields, VF_FIELD_UPGRADE, h1->arena);
    frame_response(head, method);
    prepare_body(h1);
    return 0;
}

int vf_h1_response(struct vf_h1 *h1, struct vf_arena *arena, const struct vf_h1_limits *limits,
                   uint32_t method, const char *data, size_t len, struct vf_head *head,
                   struct vf_fault *fault)
{
    vf_h1_begin(h1, arena, limits, head);
    int rc = read_response(h1, method, data, len, head, fault);
    if (rc == -1) {
        fault->status = 502;
        fault->code = "malformed_response";
    }
    return rc;
}
