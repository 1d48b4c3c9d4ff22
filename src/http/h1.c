#include "http/h1.h"

#include <uv.h>

#include "http/method.h"
#include "http/target.h"

/* Callbacks of llhttp: they collect spans; everything is judged after the head is complete. */

static int add_span(struct vf_h1 *h1, struct vf_str *span, const char *at, size_t len)
{
    if (span->len == 0) {
        *span = vf_str_make(at, len);
        return 0;
    }
    if (span->data + span->len == at) { /* the usual case: same memory, next bytes */
        span->len += len;
        return 0;
    }
    char *joined = vf_arena_alloc(h1->arena, span->len + len);
    if (joined == NULL) {
        h1->failed = UV_ENOMEM;
        return HPE_USER;
    }
    memcpy(joined, span->data, span->len);
    memcpy(joined + span->len, at, len);
    *span = vf_str_make(joined, span->len + len);
    return 0;
}

/* Trailers arrive in the read buffer, which is gone before the message ends: copy them. */
static int add_piece(struct vf_h1 *h1, struct vf_str *span, const char *at, size_t len)
{
    if (h1->is_trailer && len > 0) {
        at = vf_arena_strndup(h1->arena, at, len);
        if (at == NULL) {
            h1->failed = UV_ENOMEM;
            return HPE_USER;
        }
    }
    return add_span(h1, span, at, len);
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct vf_h1 *h1 = parser->data;
    return add_span(h1, &h1->head->target, at, len);
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    struct vf_h1 *h1 = parser->data;
    return add_piece(h1, &h1->name, at, len);
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    struct vf_h1 *h1 = parser->data;
    return add_piece(h1, &h1->value, at, len);
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct vf_h1 *h1 = parser->data;
    struct vf_fields *fields = h1->is_trailer ? &h1->trailers : &h1->head->fields;
    h1->failed = vf_fields_add(fields, h1->arena, h1->name, vf_str_trim(h1->value));
    h1->name = h1->value = vf_str_make(NULL, 0);
    return h1->failed < 0 ? HPE_USER : 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static int on_chunk_header(llhttp_t *parser)
{
    struct vf_h1 *h1 = parser->data;
    h1->is_trailer = parser->content_length == 0;
    if (parser->content_length <= INT64_MAX)
        return 0;
    llhttp_set_error_reason(parser, "a chunk size larger than any message");
    return HPE_USER;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct vf_h1 *h1 = parser->data;
    h1->content_end = at + len;
    h1->on_data(h1->owner, vf_str_make(at, len));
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct vf_h1 *h1 = parser->data;
    h1->is_done = true;
    return HPE_PAUSED; /* the bytes behind belong to the next message */
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* Faults */

static int refuse(struct vf_fault *fault, uint32_t status, const char *code, const char *rule,
                  const char *section, size_t offset)
{
    *fault = (struct vf_fault){status, code, rule, section, offset};
    return -1;
}

static int malformed(struct vf_fault *fault, const char *rule, const char *section, size_t offset)
{
    return refuse(fault, 400, "malformed_request", rule, section, offset);
}

/* Where a field's value stands in its head: `start` is the head's first byte. */
static size_t offset_of(const char *start, const struct vf_field *field)
{
    return field != NULL && field->value.data >= start ? (size_t)(field->value.data - start) : 0;
}

static const char *section_of(llhttp_errno_t error)
{
    switch (error) {
    case HPE_INVALID_METHOD:
        return "RFC 9112 section 3.1";
    case HPE_INVALID_URL:
        return "RFC 9112 section 3.2";
    case HPE_INVALID_VERSION:
    case HPE_INVALID_CONSTANT:
        return "RFC 9112 section 2.3";
    case HPE_INVALID_STATUS:
        return "RFC 9112 section 4";
    case HPE_INVALID_HEADER_TOKEN:
    case HPE_UNEXPECTED_SPACE:
        return "RFC 9112 section 5.1";
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return "RFC 9112 section 6.3";
    case HPE_INVALID_TRANSFER_ENCODING:
        return "RFC 9112 section 6.1";
    case HPE_INVALID_CHUNK_SIZE:
    case HPE_STRICT:
        return "RFC 9112 section 7.1";
    default:
        return "RFC 9112 section 2.2";
    }
}

static int refuse_by_llhttp(struct vf_h1 *h1, const char *data, struct vf_fault *fault)
{
    if (h1->failed < 0)
        return h1->failed;
    llhttp_errno_t error = llhttp_get_errno(&h1->parser);
    const char *at = llhttp_get_error_pos(&h1->parser);
    return malformed(fault, h1->parser.reason != NULL ? h1->parser.reason : "malformed",
                     section_of(error), at != NULL && at >= data ? (size_t)(at - data) : 0);
}

/* Heads */

size_t vf_h1_head_len(const char *data, size_t len, size_t seen)
{
    size_t at = seen > 3 ? seen - 3 : 0;
    const char *lf;
    if (at == 0 && len >= 2 && data[0] == '\r' && data[1] == '\n')
        at = 2; /* one empty line before a message is no head, RFC 9112 section 2.2 */
    while (at < len && (lf = memchr(data + at, '\n', len - at)) != NULL) {
        at = (size_t)(lf - data) + 1;
        if (at < len && data[at] == '\n')
            return at + 1; /* bare line feeds: complete, and to be refused */
        if (at + 1 < len && data[at] == '\r' && data[at + 1] == '\n')
            return at + 2;
    }
    return 0;
}

bool vf_h1_may_be_request(const char *data, size_t len)
{
    size_t at = 0;
    if (len > 0 && data[0] == '\r')
        at = len > 1 && data[1] == '\n' ? 2 : 1;
    for (size_t i = at; i < len && i < at + 24; i++) {
        if (data[i] == ' ')
            return i > at;
        if (!vf_is_token(vf_str_make(data + i, 1)))
            return false;
    }
    return true;
}

const char *vf_h1_bare_cr(const char *data, size_t len)
{
    const char *end = data + len, *cr;
    while (data < end && (cr = memchr(data, '\r', (size_t)(end - data))) != NULL) {
        if (cr + 1 < end && cr[1] != '\n')
            return cr;
        data = cr + 1;
    }
    return NULL;
}

/* Every line ends with CR LF, CR stands nowhere else, no line is folded. */
static int check_lines(const char *data, size_t len, const char **rule, size_t *offset)
{
    const char *end = data + len, *at = data, *lf;
    while (at < end && (lf = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        *offset = (size_t)(lf - data);
        if (lf == at || lf[-1] != '\r') {
            *rule = "a line ends with a bare line feed";
            return -1;
        }
        if (memchr(at, '\r', (size_t)(lf - at - 1)) != NULL) {
            *rule = "a carriage return within a line";
            return -1;
        }
        at = lf + 1;
        if (at < end && (*at == ' ' || *at == '\t')) {
            *offset += 1;
            *rule = "a folded header line";
            return -1;
        }
    }
    return 0;
}

static void begin(struct vf_h1 *h1, llhttp_type_t type, struct vf_arena *arena,
                  const struct vf_h1_limits *limits, struct vf_head *head)
{
    llhttp_init(&h1->parser, type, &settings);
    h1->parser.data = h1;
    h1->arena = arena;
    h1->head = head;
    h1->limits = *limits;
    h1->name = h1->value = vf_str_make(NULL, 0);
    h1->is_trailer = h1->is_done = false;
    h1->failed = 0;
    h1->left = h1->overhead_bytes = 0;
    h1->trailers = (struct vf_fields){0};
    *head = (struct vf_head){.framing = VF_FRAMING_NONE};
}

/* A tab around a value is white space (RFC 9112 section 5), which llhttp takes for a part of
 * codings and lengths: makes it a space. The head is our copy; a NUL stands behind it. */
static void blank_tabs(char *data, size_t len)
{
    char *end = data + len, *tab = data;
    while ((tab = memchr(tab, '\t', (size_t)(end - tab))) != NULL) {
        char *at = tab;
        while (at > data && (at[-1] == ' ' || at[-1] == '\t'))
            at--;
        char *behind = tab + strspn(tab, " \t");
        if ((at > data && at[-1] == ':') || *behind == '\r')
            *tab = ' ';
        tab++;
    }
}

/* Feeds the head to llhttp, which must stop exactly at its end. */
static int parse_head(struct vf_h1 *h1, const char *data, size_t len, struct vf_fault *fault)
{
    blank_tabs((char *)(uintptr_t)data, len);
    llhttp_errno_t error = llhttp_execute(&h1->parser, data, len);
    if (error != HPE_PAUSED || h1->is_done)
        return refuse_by_llhttp(h1, data, fault);
    if (h1->head->fields.count > h1->limits.header_count)
        return refuse(fault, 431, "too_many_headers", "more header fields than allowed",
                      "RFC 6585 section 5", len);
    return 0;
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
        return malformed(fault, "Transfer-Encoding in an HTTP/1.0 message", "RFC 9112 section 6.1",
                         at);
    if (head->has_content_length)
        return malformed(fault, "both Transfer-Encoding and Content-Length", "RFC 9112 section 6.3",
                         at);
    while (vf_str_next_item(&rest, &coding)) {
        last = coding;
        count++;
        chunked += vf_str_ieq(coding, VF_STR("chunked"));
    }
    if (count == 0 || !vf_str_ieq(last, VF_STR("chunked")) || chunked > 1)
        return malformed(fault, "Transfer-Encoding does not end in one chunked coding",
                         "RFC 9112 section 6.3", at);
    if (count == 1 && codings.len != last.len)
        return malformed(fault, "an empty element in Transfer-Encoding", "RFC 9112 section 6.1",
                         at);
    if (count > 1)
        return refuse(fault, 501, "unknown_transfer_coding", "a transfer coding other than chunked",
                      "RFC 9112 section 6.1", at);
    head->framing = VF_FRAMING_CHUNKED;
    return 0;
}

static int read_content_length(struct vf_head *head, const char *start, struct vf_fault *fault)
{
    const struct vf_field *found = NULL;
    for (uint32_t i = 0; i < head->fields.count; i++) {
        const struct vf_field *field = &head->fields.list[i];
        if (field->id != VF_FIELD_CONTENT_LENGTH)
            continue;
        if (found != NULL)
            return malformed(fault, "more than one Content-Length", "RFC 9112 section 6.3",
                             offset_of(start, field));
        found = field;
    }
    if (found == NULL)
        return 0;
    if (!vf_str_to_u64(found->value, &head->content_length) || head->content_length > INT64_MAX)
        return malformed(fault, "Content-Length is not a decimal number", "RFC 9110 section 8.6",
                         offset_of(start, found));
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
            return malformed(fault, "more than one Host field", "RFC 9112 section 3.2",
                             offset_of(start, field));
        found = field;
    }
    if (found == NULL && head->version_minor >= 1)
        return malformed(fault, "no Host field", "RFC 9112 section 3.2", 0);
    if (found != NULL && found->value.len > 0 && !vf_host_is_valid(found->value))
        return malformed(fault, "Host is not a valid host and port", "RFC 9110 section 7.2",
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
        return refuse(fault, 417, "expectation_failed", "an expectation other than 100-continue",
                      "RFC 9110 section 10.1.1",
                      offset_of(start, vf_fields_get(&head->fields, VF_FIELD_EXPECT)));
    head->expects_continue = head->version_minor >= 1 && head->framing != VF_FRAMING_NONE;
    return 0;
}

/* "METHOD SP target SP HTTP/1.x CRLF" with exactly these two spaces. Judges method, target length
 * and version before llhttp does, because their statuses differ from 400. */
static int check_request_line(const char *data, size_t len, const struct vf_h1_limits *limits,
                              struct vf_head *head, struct vf_fault *fault)
{
    const char *end = memchr(data, '\r', len);
    struct vf_str line = vf_str_make(data, end != NULL ? (size_t)(end - data) : len);
    const char *first = memchr(line.data, ' ', line.len);
    if (first == NULL || first == line.data)
        return malformed(fault, "no method and target in the request line", "RFC 9112 section 3",
                         0);
    size_t rest = line.len - (size_t)(first + 1 - line.data);
    const char *second = memchr(first + 1, ' ', rest);
    head->method_name = vf_str_make(line.data, (size_t)(first - line.data));
    if (!vf_is_token(head->method_name))
        return malformed(fault, "the method is not a token", "RFC 9110 section 9.1", 0);
    if (second == NULL)
        return malformed(fault, "no HTTP version in the request line", "RFC 9112 section 3",
                         line.len);
    if ((size_t)(second - first - 1) > limits->uri_bytes)
        return refuse(fault, 414, "uri_too_long", "the request target is longer than allowed",
                      "RFC 9110 section 15.5.15", (size_t)(first + 1 - data));
    struct vf_str version = vf_str_make(second + 1, line.len - (size_t)(second + 1 - line.data));
    size_t at = (size_t)(second + 1 - data);
    if (version.len != 8 || memcmp(version.data, "HTTP/", 5) != 0 || version.data[6] != '.' ||
        version.data[5] < '0' || version.data[5] > '9' || version.data[7] < '0' ||
        version.data[7] > '9')
        return malformed(fault, "the request line does not end in an HTTP version",
                         "RFC 9112 section 2.3", at);
    if (version.data[5] != '1' || version.data[7] > '1')
        return refuse(fault, 505, "version_not_supported",
                      "only HTTP/1.0 and HTTP/1.1 are spoken here", "RFC 9110 section 15.6.6", at);
    int method = vf_method_from_name(head->method_name.data, head->method_name.len);
    if (method < 0)
        return refuse(fault, 501, "method_not_implemented", "the method is not known",
                      "RFC 9110 section 9.1", 0);
    head->method = (uint32_t)method;
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

int vf_h1_request(struct vf_h1 *h1, struct vf_arena *arena, const struct vf_h1_limits *limits,
                  const char *data, size_t len, struct vf_head *head, struct vf_fault *fault)
{
    const char *rule;
    size_t skip = 0, offset = 0;
    int rc;
    begin(h1, HTTP_REQUEST, arena, limits, head);
    if (len >= 2 && data[0] == '\r' && data[1] == '\n')
        skip = 2;
    if ((rc = check_request_line(data + skip, len - skip, limits, head, fault)) < 0)
        return rc;
    if (check_lines(data + skip, len - skip, &rule, &offset) < 0)
        return malformed(fault, rule, "RFC 9112 section 2.2", skip + offset);
    uint32_t method = head->method;
    if ((rc = parse_head(h1, data + skip, len - skip, fault)) < 0)
        return rc;
    head->method = method;
    head->version_minor = h1->parser.http_minor;
    if ((rc = read_framing(head, arena, data, fault)) < 0 ||
        (rc = read_host(head, data, fault)) < 0 || (rc = read_expect(head, arena, data, fault)) < 0)
        return rc;
    read_connection(head, arena);
    prepare_body(h1);
    return 0;
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
static int check_status_line(const char *data, size_t len, struct vf_head *head,
                             struct vf_fault *fault)
{
    const char *end = memchr(data, '\r', len);
    size_t line = end != NULL ? (size_t)(end - data) : len;
    if (line < 12 || memcmp(data, "HTTP/1.", 7) != 0 || (data[7] != '0' && data[7] != '1') ||
        data[8] != ' ' || (line > 12 && data[12] != ' '))
        return malformed(fault, "the status line is not HTTP/1.x SP 3DIGIT SP reason",
                         "RFC 9112 section 4", 0);
    for (int i = 9; i < 12; i++)
        if (data[i] < '0' || data[i] > '9')
            return malformed(fault, "the status is not three digits", "RFC 9112 section 4",
                             (size_t)i);
    head->status = (uint32_t)((data[9] - '0') * 100 + (data[10] - '0') * 10 + (data[11] - '0'));
    if (head->status < 100 || head->status > 599)
        return malformed(fault, "the status is not within 100 and 599", "RFC 9110 section 15", 9);
    if (line > 13)
        head->reason = vf_str_make(data + 13, line - 13);
    if (!vf_is_field_value(head->reason))
        return malformed(fault, "a control character in the reason phrase", "RFC 9112 section 4",
                         13);
    return 0;
}

static int read_response(struct vf_h1 *h1, uint32_t method, const char *data, size_t len,
                         struct vf_head *head, struct vf_fault *fault)
{
    const char *rule;
    size_t offset = 0;
    int rc;
    if ((rc = check_status_line(data, len, head, fault)) < 0)
        return rc;
    if (check_lines(data, len, &rule, &offset) < 0)
        return malformed(fault, rule, "RFC 9112 section 2.2", offset);
    if ((rc = parse_head(h1, data, len, fault)) < 0)
        return rc;
    head->version_minor = h1->parser.http_minor;
    if ((head->status < 200 || head->status == 204) &&
        (head->fields.present & (1U << VF_FIELD_TRANSFER_ENCODING)))
        return malformed(fault, "Transfer-Encoding in an answer without content",
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
    begin(h1, HTTP_RESPONSE, arena, limits, head);
    int rc = read_response(h1, method, data, len, head, fault);
    if (rc == -1) {
        fault->status = 502;
        fault->code = "malformed_response";
    }
    return rc;
}

/* Bodies */

static int refuse_overhead(struct vf_fault *fault)
{
    return refuse(fault, 431, "trailers_too_large",
                  "chunk extensions or trailers larger than allowed", "RFC 9112 section 7.1", 0);
}

/* Feeds `len` bytes, which hold at most one limit's worth of what is not content. */
static int chunked_piece(struct vf_h1 *h1, const char *data, size_t len, size_t *used,
                         struct vf_fault *fault)
{
    h1->content_end = NULL;
    llhttp_errno_t error = llhttp_execute(&h1->parser, data, len);
    *used = error == HPE_OK ? len : (size_t)(llhttp_get_error_pos(&h1->parser) - data);
    if (error != HPE_OK && !h1->is_done)
        return refuse_by_llhttp(h1, data, fault);
    if (h1->content_end != NULL)
        h1->overhead_bytes = (uint64_t)(data + *used - h1->content_end);
    else
        h1->overhead_bytes += *used;
    if (h1->overhead_bytes > h1->limits.header_bytes)
        return refuse_overhead(fault);
    if (h1->trailers.count > h1->limits.header_count)
        return refuse(fault, 431, "too_many_headers", "more trailer fields than allowed",
                      "RFC 6585 section 5", *used);
    return 0;
}

static int chunked_body(struct vf_h1 *h1, const char *data, size_t len, size_t *used,
                        struct vf_fault *fault)
{
    while (*used < len && !h1->is_done) {
        uint64_t most = h1->parser.content_length + h1->limits.header_bytes;
        size_t left = len - *used, taken = 0;
        int rc = chunked_piece(h1, data + *used, left < most ? left : (size_t)most, &taken, fault);
        *used += taken;
        if (rc < 0)
            return rc;
    }
    return 0;
}

int vf_h1_body(struct vf_h1 *h1, const char *data, size_t len, size_t *used, struct vf_fault *fault)
{
    *used = 0;
    if (h1->is_done || len == 0)
        return 0;
    switch (h1->head->framing) {
    case VF_FRAMING_LENGTH:
        *used = len < h1->left ? len : (size_t)h1->left;
        h1->left -= *used;
        h1->is_done = h1->left == 0;
        h1->on_data(h1->owner, vf_str_make(data, *used));
        return 0;
    case VF_FRAMING_CHUNKED:
        return chunked_body(h1, data, len, used, fault);
    case VF_FRAMING_CLOSE:
        *used = len;
        h1->on_data(h1->owner, vf_str_make(data, len));
        return 0;
    default:
        return 0;
    }
}

bool vf_h1_finish(struct vf_h1 *h1)
{
    if (h1->head->framing == VF_FRAMING_CLOSE)
        h1->is_done = true;
    return h1->is_done;
}
