#include "http/h1.h"

#include <uv.h>

#include "http/h1_parse.h"

/* Callbacks of llhttp: they collect spans; everything is judged after the head is complete. */

static int join_span(struct vf_h1 *h1, struct vf_str *span, const char *at, size_t len)
{
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

static int add_span(struct vf_h1 *h1, struct vf_str *span, const char *at, size_t len)
{
    if (span->len == 0)
        *span = vf_str_make(at, len);
    else if (span->data + span->len == at) /* same memory, next bytes */
        span->len += len;
    else
        return join_span(h1, span, at, len);
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
    struct vf_fields *fields = h1->is_trailer ? &h1->head->trailers : &h1->head->fields;
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
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* Faults */

int vf_h1_refuse(struct vf_fault *fault, uint32_t status, const char *code, const char *rule,
                 const char *section, size_t offset)
{
    *fault = (struct vf_fault){status, code, rule, section, offset};
    return -1;
}

int vf_h1_malformed(struct vf_fault *fault, const char *rule, const char *section, size_t offset)
{
    return vf_h1_refuse(fault, 400, "malformed_request", rule, section, offset);
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
    return vf_h1_malformed(fault, h1->parser.reason != NULL ? h1->parser.reason : "malformed",
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

int vf_h1_check_lines(const char *data, size_t len, const char **rule, size_t *offset)
{
    const char *end = data + len;
    for (const char *at = data; (at = vf_h1_find_control(at, end)) < end;) {
        *offset = (size_t)(at - data);
        if (*at == '\n') {
            *rule = "a line ends with a bare line feed";
            return -1;
        }
        if (*at++ != '\r')
            continue; /* judged with the field that it is in */
        if (at == end || *at++ != '\n') {
            *rule = "a carriage return within a line";
            return -1;
        }
        if (at < end && (*at == ' ' || *at == '\t')) {
            *offset += 2;
            *rule = "a folded header line";
            return -1;
        }
    }
    return 0;
}

void vf_h1_begin(struct vf_h1 *h1, struct vf_arena *arena, const struct vf_h1_limits *limits,
                 struct vf_head *head)
{
    h1->arena = arena;
    h1->head = head;
    h1->limits = *limits;
    h1->is_trailer = h1->is_done = false;
    h1->failed = 0;
    h1->left = h1->overhead_bytes = 0;
    *head = (struct vf_head){.framing = VF_FRAMING_NONE};
}

void vf_h1_begin_llhttp(struct vf_h1 *h1, llhttp_type_t type)
{
    llhttp_init(&h1->parser, type, &settings);
    llhttp_set_lenient_version(&h1->parser, 1); /* h1_head.c has judged it before */
    h1->parser.data = h1;
    h1->name = h1->value = vf_str_make(NULL, 0);
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

int vf_h1_parse_head(struct vf_h1 *h1, const char *data, size_t len, struct vf_fault *fault)
{
    blank_tabs((char *)(uintptr_t)data, len);
    llhttp_errno_t error = llhttp_execute(&h1->parser, data, len);
    if (error != HPE_PAUSED || h1->is_done)
        return refuse_by_llhttp(h1, data, fault);
    return 0;
}

/* Bodies */

static int refuse_overhead(struct vf_fault *fault)
{
    return vf_h1_refuse(fault, 431, "trailers_too_large",
                        "chunk extensions or trailers larger than allowed", "RFC 9112 section 7.1",
                        0);
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
    if (h1->head->trailers.count > h1->limits.header_count)
        return vf_h1_refuse(fault, 431, "too_many_headers", "more trailer fields than allowed",
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
