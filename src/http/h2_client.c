#include "http/h2_client.h"

#include <stdlib.h>
#include <uv.h>

#include "http/h2_fields.h"
#include "http/method.h"

enum {
    LINE_BYTES = 4, /* ": " and CRLF of a line of HTTP/1, which limits count */
    PSEUDO_FIELDS = 4
};

/* --- Requests --- */

/* Copies the names, in lower case (RFC 9113 section 8.2.1), to `names`. */
static size_t put_fields(nghttp2_nv *list, char *names, const struct vf_fields *fields)
{
    size_t n = 0;
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct vf_field *field = &fields->list[i];
        if (!vf_h2_may_be_sent(field))
            continue;
        vf_h2_put_lower(names, field->name);
        list[n++] = vf_h2_pair(vf_str_make(names, field->name.len), field->value);
        names += field->name.len;
    }
    return n;
}

static size_t names_bytes(const struct vf_fields *fields)
{
    size_t len = 0;
    for (uint32_t i = 0; i < fields->count; i++)
        len += fields->list[i].name.len;
    return len;
}

static bool has_length(const struct vf_head *head)
{
    return head->framing == VF_FRAMING_LENGTH ||
           (head->framing == VF_FRAMING_NONE && head->has_content_length);
}

size_t vf_h2_client_request(struct vf_arena *arena, const struct vf_head *head,
                            struct vf_str scheme, struct vf_str target, struct vf_str host,
                            nghttp2_nv **out)
{
    const struct vf_fields *fields = &head->fields;
    nghttp2_nv *list =
        vf_arena_alloc(arena, (fields->count + PSEUDO_FIELDS + 2) * sizeof(nghttp2_nv));
    char *names = vf_arena_alloc(arena, names_bytes(fields) + 20), *length = names;
    size_t n = 0;
    if (list == NULL || names == NULL)
        return 0;
    list[n++] = vf_h2_pair(VF_STR(":method"), head->method_name);
    list[n++] = vf_h2_pair(VF_STR(":scheme"), scheme);
    if (host.len > 0)
        list[n++] = vf_h2_pair(VF_STR(":authority"), host);
    list[n++] = vf_h2_pair(VF_STR(":path"), target);
    if (head->te_trailers)
        list[n++] = vf_h2_pair(VF_STR("te"), VF_STR("trailers"));
    if (has_length(head)) {
        size_t len = vf_u64_format(head->content_length, length);
        list[n++] = vf_h2_pair(VF_STR("content-length"), vf_str_make(length, len));
    }
    *out = list;
    return n + put_fields(list + n, names + 20, fields);
}

/* --- Answers --- */

void vf_h2_answer_begin(struct vf_h2_answer *answer, struct vf_arena *arena, struct vf_head *head)
{
    *answer = (struct vf_h2_answer){.arena = arena, .head = head};
    *head = (struct vf_head){
        .framing = VF_FRAMING_NONE, .version_minor = 1, .is_h2 = true, .keep_alive = true};
}

/* nghttp2 lets nothing but three digits pass. */
static uint32_t read_status(struct vf_str text)
{
    uint32_t status = 0;
    for (size_t i = 0; i < text.len && i < 3; i++)
        status = status * 10 + (uint32_t)(text.data[i] - '0');
    return status;
}

int vf_h2_answer_add(struct vf_h2_answer *answer, const struct vf_h1_limits *limits,
                     struct vf_str name, struct vf_str value)
{
    struct vf_fields *fields = &answer->head->fields;
    answer->bytes += name.len + value.len + LINE_BYTES;
    if (vf_str_eq(name, VF_STR(":status"))) {
        answer->head->status = read_status(value);
        return 0;
    }
    if (answer->bytes > limits->header_bytes || fields->count > limits->header_count)
        return 0; /* vf_h2_answer_end refuses it */
    char *copy = vf_arena_alloc(answer->arena, name.len + value.len + 1);
    if (copy == NULL)
        return UV_ENOMEM;
    memcpy(copy, name.data, name.len);
    if (value.len > 0)
        memcpy(copy + name.len, value.data, value.len);
    return vf_fields_add(fields, answer->arena, vf_str_make(copy, name.len),
                         vf_str_make(copy + name.len, value.len));
}

static int refuse(struct vf_fault *fault, const char *rule, const char *section)
{
    *fault = (struct vf_fault){502, "malformed_response", rule, section, 0};
    return -1;
}

static int read_length(struct vf_head *head, struct vf_fault *fault)
{
    const struct vf_field *field = vf_fields_get(&head->fields, VF_FIELD_CONTENT_LENGTH);
    if (field == NULL)
        return 0;
    if (!vf_str_to_u64(field->value, &head->content_length) || head->content_length > INT64_MAX)
        return refuse(fault, "Content-Length is not a decimal number", "RFC 9110 section 8.6");
    head->has_content_length = true;
    return 0;
}

/* How whoever does not speak HTTP/2 learns of the end. */
static void frame(struct vf_head *head, uint32_t method, bool is_last)
{
    bool is_bodiless = method == VF_METHOD_HEAD || head->status == 204 || head->status == 304;
    if (is_bodiless)
        return;
    if (is_last && !head->has_content_length) {
        head->has_content_length = true;
        head->content_length = 0;
    } else if (!head->has_content_length) {
        head->framing = VF_FRAMING_CHUNKED;
    } else if (head->content_length > 0) {
        head->framing = VF_FRAMING_LENGTH;
    }
}

int vf_h2_answer_end(struct vf_h2_answer *answer, const struct vf_h1_limits *limits,
                     uint32_t method, bool is_last, struct vf_fault *fault)
{
    struct vf_head *head = answer->head;
    if (answer->bytes > limits->header_bytes)
        return refuse(fault, "the header section is larger than allowed", "RFC 6585 section 5");
    if (head->fields.count > limits->header_count)
        return refuse(fault, "more header fields than allowed", "RFC 6585 section 5");
    if (head->status < 100 || head->status > 599)
        return refuse(fault, "the status is not within 100 and 599", "RFC 9110 section 15");
    if (head->status == 101)
        return refuse(fault, "101, which HTTP/2 does not have", "RFC 9113 section 8.6");
    head->reason = vf_status_reason(head->status);
    if (head->status < 200)
        return is_last ? refuse(fault, "an interim answer that ends", "RFC 9113 section 8.1") : 0;
    if (read_length(head, fault) < 0)
        return -1;
    frame(head, method, is_last);
    return 0;
}
