#include "http/h1_write.h"

static char *put(char *at, struct vf_str text)
{
    if (text.len > 0)
        memcpy(at, text.data, text.len);
    return at + text.len;
}

static size_t fields_bytes(const struct vf_fields *fields)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < fields->count; i++)
        if (!fields->list[i].dropped)
            bytes += fields->list[i].name.len + fields->list[i].value.len + 4;
    return bytes;
}

static char *put_field(char *at, struct vf_str name, struct vf_str value)
{
    at = put(at, name);
    *at++ = ':';
    *at++ = ' ';
    at = put(at, value);
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static char *put_fields(char *at, const struct vf_fields *fields)
{
    for (uint32_t i = 0; i < fields->count; i++)
        if (!fields->list[i].dropped)
            at = put_field(at, fields->list[i].name, fields->list[i].value);
    return at;
}

/* Upper bound of what put_framing writes, the Upgrade value apart. */
enum { FRAMING_BYTES = 160 };

static char *put_framing(char *at, const struct vf_head *head,
                         const struct vf_h1_framing_lines *lines)
{
    if (lines->length) {
        at = put(at, VF_STR("Content-Length: "));
        at += vf_u64_format(head->content_length, at);
        at = put(at, VF_STR("\r\n"));
    }
    if (lines->chunked)
        at = put(at, VF_STR("Transfer-Encoding: chunked\r\n"));
    switch (lines->connection) {
    case VF_H1_KEEP_ALIVE:
        return put(at, VF_STR("Connection: keep-alive\r\n\r\n"));
    case VF_H1_CLOSE:
        return put(at, VF_STR("Connection: close\r\n\r\n"));
    case VF_H1_TRAILERS:
        return put(at, VF_STR("TE: trailers\r\nConnection: TE\r\n\r\n"));
    case VF_H1_UPGRADE:
        at = put_field(at, VF_STR("Upgrade"), head->connection_upgrade);
        return put(at, VF_STR("Connection: Upgrade\r\n\r\n"));
    case VF_H1_CLOSE_UPGRADE:
        at = put_field(at, VF_STR("Upgrade"), head->connection_upgrade);
        return put(at, VF_STR("Connection: close, Upgrade\r\n\r\n"));
    default:
        return put(at, VF_STR("\r\n"));
    }
}

struct vf_str vf_h1_write_request(struct vf_arena *arena, const struct vf_head *head,
                                  struct vf_str method, struct vf_str target, struct vf_str host,
                                  const struct vf_h1_framing_lines *lines)
{
    size_t room = method.len + target.len + host.len + 32 + fields_bytes(&head->fields) +
                  FRAMING_BYTES + head->connection_upgrade.len;
    char *text = vf_arena_alloc(arena, room), *at = text;
    if (text == NULL)
        return vf_str_make(NULL, 0);
    at = put(at, method);
    *at++ = ' ';
    at = put(at, target);
    at = put(at, VF_STR(" HTTP/1.1\r\nHost: "));
    at = put(at, host);
    at = put(at, VF_STR("\r\n"));
    at = put_fields(at, &head->fields);
    at = put_framing(at, head, lines);
    return vf_str_make(text, (size_t)(at - text));
}

/* Three digits, as any status has. */
static char *put_status(char *at, uint32_t status)
{
    at[0] = (char)('0' + status / 100);
    at[1] = (char)('0' + status / 10 % 10);
    at[2] = (char)('0' + status % 10);
    return at + 3;
}

struct vf_str vf_h1_write_response(struct vf_arena *arena, const struct vf_head *head,
                                   const struct vf_h1_framing_lines *lines)
{
    size_t room = head->reason.len + 32 + fields_bytes(&head->fields) + FRAMING_BYTES +
                  head->connection_upgrade.len;
    char *text = vf_arena_alloc(arena, room), *at = text;
    if (text == NULL)
        return vf_str_make(NULL, 0);
    at = put(at, VF_STR("HTTP/1.1 "));
    at = put_status(at, head->status);
    *at++ = ' ';
    at = put(at, head->reason);
    at = put(at, VF_STR("\r\n"));
    at = put_fields(at, &head->fields);
    at = put_framing(at, head, lines);
    return vf_str_make(text, (size_t)(at - text));
}

/* RFC 9110 section 6.5.1: what decides about framing, routing or the request itself. */
static bool may_be_trailer(const struct vf_field *field)
{
    static const char *const forbidden[] = {"authorization", "cache-control", "content-encoding",
                                            "content-range", "content-type",  "set-cookie",
                                            "age",           "expires",       "location",
                                            "retry-after",   "vary"};
    switch (field->id) {
    case VF_FIELD_OTHER:
        break;
    case VF_FIELD_VIA:
    case VF_FIELD_DATE:
        return field->id == VF_FIELD_VIA;
    default:
        return false;
    }
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
        if (vf_str_ieq(field->name, vf_str_from(forbidden[i])))
            return false;
    return true;
}

struct vf_str vf_h1_write_last_chunk(struct vf_arena *arena, const struct vf_fields *trailers)
{
    if (trailers == NULL || trailers->count == 0)
        return VF_STR("0\r\n\r\n");
    char *text = vf_arena_alloc(arena, 8 + fields_bytes(trailers)), *at = text;
    if (text == NULL)
        return VF_STR("0\r\n\r\n");
    at = put(at, VF_STR("0\r\n"));
    for (uint32_t i = 0; i < trailers->count; i++)
        if (may_be_trailer(&trailers->list[i]))
            at = put_field(at, trailers->list[i].name, trailers->list[i].value);
    at = put(at, VF_STR("\r\n"));
    return vf_str_make(text, (size_t)(at - text));
}

size_t vf_h1_chunk_line(uint64_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    char reversed[16];
    size_t n = 0, at = 0;
    do {
        reversed[n++] = digits[len & 15];
        len >>= 4;
    } while (len > 0);
    while (n > 0)
        out[at++] = reversed[--n];
    out[at++] = '\r';
    out[at++] = '\n';
    return at;
}
