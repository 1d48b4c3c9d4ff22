#include "http/message.h"

#include <uv.h>

enum { FIRST_ROOM = 24 };

static const struct vf_str usual_names[VF_FIELD_IDS] = {
#define NAME(id, text) [id] = {text, sizeof(text) - 1}
    NAME(VF_FIELD_ACCEPT, "Accept"),
    NAME(VF_FIELD_CONNECTION, "Connection"),
    NAME(VF_FIELD_CONTENT_LENGTH, "Content-Length"),
    NAME(VF_FIELD_COOKIE, "Cookie"),
    NAME(VF_FIELD_DATE, "Date"),
    NAME(VF_FIELD_EXPECT, "Expect"),
    NAME(VF_FIELD_FORWARDED, "Forwarded"),
    NAME(VF_FIELD_HOST, "Host"),
    NAME(VF_FIELD_HTTP2_SETTINGS, "HTTP2-Settings"),
    NAME(VF_FIELD_KEEP_ALIVE, "Keep-Alive"),
    NAME(VF_FIELD_MAX_FORWARDS, "Max-Forwards"),
    NAME(VF_FIELD_PROXY_CONNECTION, "Proxy-Connection"),
    NAME(VF_FIELD_TE, "TE"),
    NAME(VF_FIELD_TRAILER, "Trailer"),
    NAME(VF_FIELD_TRANSFER_ENCODING, "Transfer-Encoding"),
    NAME(VF_FIELD_UPGRADE, "Upgrade"),
    NAME(VF_FIELD_VIA, "Via"),
    NAME(VF_FIELD_X_FORWARDED_FOR, "X-Forwarded-For"),
    NAME(VF_FIELD_X_FORWARDED_HOST, "X-Forwarded-Host"),
    NAME(VF_FIELD_X_FORWARDED_PROTO, "X-Forwarded-Proto"),
    NAME(VF_FIELD_X_REQUEST_ID, "X-Request-Id"),
#undef NAME
};

static enum vf_field_id match(struct vf_str name, const char *usual, enum vf_field_id id)
{
    return vf_same_letters(name.data, usual, name.len) ? id : VF_FIELD_OTHER;
}

/* Length first, then a distinguishing letter, then one comparison. */
enum vf_field_id vf_field_id(struct vf_str name)
{
    if (name.len == 0)
        return VF_FIELD_OTHER;
    char first = vf_lower(name.data[0]);
    switch (name.len) {
    case 2:
        return match(name, "TE", VF_FIELD_TE);
    case 3:
        return match(name, "Via", VF_FIELD_VIA);
    case 4:
        return first == 'h' ? match(name, "Host", VF_FIELD_HOST)
                            : match(name, "Date", VF_FIELD_DATE);
    case 6:
        if (first == 'a')
            return match(name, "Accept", VF_FIELD_ACCEPT);
        return first == 'c' ? match(name, "Cookie", VF_FIELD_COOKIE)
                            : match(name, "Expect", VF_FIELD_EXPECT);
    case 7:
        return first == 'u' ? match(name, "Upgrade", VF_FIELD_UPGRADE)
                            : match(name, "Trailer", VF_FIELD_TRAILER);
    case 9:
        return match(name, "Forwarded", VF_FIELD_FORWARDED);
    case 10:
        return first == 'c' ? match(name, "Connection", VF_FIELD_CONNECTION)
                            : match(name, "Keep-Alive", VF_FIELD_KEEP_ALIVE);
    case 12:
        return first == 'm' ? match(name, "Max-Forwards", VF_FIELD_MAX_FORWARDS)
                            : match(name, "X-Request-Id", VF_FIELD_X_REQUEST_ID);
    case 14:
        return first == 'c' ? match(name, "Content-Length", VF_FIELD_CONTENT_LENGTH)
                            : match(name, "HTTP2-Settings", VF_FIELD_HTTP2_SETTINGS);
    case 15:
        return match(name, "X-Forwarded-For", VF_FIELD_X_FORWARDED_FOR);
    case 16:
        if (first == 'p')
            return match(name, "Proxy-Connection", VF_FIELD_PROXY_CONNECTION);
        return match(name, "X-Forwarded-Host", VF_FIELD_X_FORWARDED_HOST);
    case 17:
        return first == 't' ? match(name, "Transfer-Encoding", VF_FIELD_TRANSFER_ENCODING)
                            : match(name, "X-Forwarded-Proto", VF_FIELD_X_FORWARDED_PROTO);
    default:
        return VF_FIELD_OTHER;
    }
}

static int grow(struct vf_fields *fields, struct vf_arena *arena)
{
    uint32_t room = fields->room == 0 ? FIRST_ROOM : fields->room * 2;
    struct vf_field *list = vf_arena_alloc(arena, room * sizeof(*list));
    if (list == NULL)
        return UV_ENOMEM;
    if (fields->count > 0)
        memcpy(list, fields->list, fields->count * sizeof(*list));
    fields->list = list;
    fields->room = room;
    return 0;
}

static inline void put(struct vf_fields *fields, struct vf_str name, struct vf_str value,
                       enum vf_field_id id)
{
    fields->list[fields->count++] = (struct vf_field){.name = name, .value = value, .id = id};
    fields->present |= 1U << id & ~(1U << VF_FIELD_OTHER);
}

/* Apart from the functions below, which have next to nothing to do without it. */
static __attribute__((noinline)) int put_grown(struct vf_fields *fields, struct vf_arena *arena,
                                               struct vf_str name, struct vf_str value,
                                               enum vf_field_id id)
{
    if (grow(fields, arena) < 0)
        return UV_ENOMEM;
    put(fields, name, value, id);
    return 0;
}

static inline int append(struct vf_fields *fields, struct vf_arena *arena, struct vf_str name,
                         struct vf_str value, enum vf_field_id id)
{
    if (fields->count == fields->room)
        return put_grown(fields, arena, name, value, id);
    put(fields, name, value, id);
    return 0;
}

int vf_fields_add(struct vf_fields *fields, struct vf_arena *arena, struct vf_str name,
                  struct vf_str value)
{
    return append(fields, arena, name, value, vf_field_id(name));
}

int vf_fields_add_known(struct vf_fields *fields, struct vf_arena *arena, enum vf_field_id id,
                        struct vf_str value)
{
    return append(fields, arena, usual_names[id], value, id);
}

struct vf_field *vf_fields_find(const struct vf_fields *fields, struct vf_str name)
{
    for (uint32_t i = 0; i < fields->count; i++)
        if (vf_str_ieq(fields->list[i].name, name))
            return &fields->list[i];
    return NULL;
}

struct vf_field *vf_fields_get(const struct vf_fields *fields, enum vf_field_id id)
{
    if (!vf_fields_have(fields, id))
        return NULL;
    for (uint32_t i = 0; i < fields->count; i++)
        if (fields->list[i].id == id)
            return &fields->list[i];
    return NULL;
}

struct vf_str vf_fields_joined(const struct vf_fields *fields, enum vf_field_id id,
                               struct vf_arena *arena)
{
    struct vf_field *first = vf_fields_get(fields, id);
    size_t len = 0, count = 0;
    if (first == NULL)
        return vf_str_make("", 0);
    for (uint32_t i = 0; i < fields->count; i++)
        if (fields->list[i].id == id) {
            len += fields->list[i].value.len + 2;
            count++;
        }
    if (count == 1)
        return first->value;
    char *joined = vf_arena_alloc(arena, len);
    if (joined == NULL)
        return vf_str_make(NULL, 0);
    size_t used = 0;
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct vf_field *field = &fields->list[i];
        if (field->id != id)
            continue;
        if (used > 0) {
            memcpy(joined + used, ", ", 2);
            used += 2;
        }
        memcpy(joined + used, field->value.data, field->value.len);
        used += field->value.len;
    }
    return vf_str_make(joined, used);
}

/* Their lines are ours to write, or they end at this hop. */
static const uint32_t always_dropped =
    1U << VF_FIELD_CONNECTION | 1U << VF_FIELD_CONTENT_LENGTH | 1U << VF_FIELD_HTTP2_SETTINGS |
    1U << VF_FIELD_KEEP_ALIVE | 1U << VF_FIELD_PROXY_CONNECTION | 1U << VF_FIELD_TE |
    1U << VF_FIELD_TRANSFER_ENCODING | 1U << VF_FIELD_UPGRADE | 1U << VF_FIELD_HOST;

static void drop_named(struct vf_fields *fields, struct vf_str options)
{
    struct vf_str option;
    while (vf_str_next_item(&options, &option))
        for (uint32_t i = 0; i < fields->count; i++)
            if (vf_str_ieq(fields->list[i].name, option))
                fields->list[i].dropped = true;
}

void vf_fields_drop_hop_by_hop(struct vf_fields *fields)
{
    if ((fields->present & always_dropped) == 0)
        return;
    for (uint32_t i = 0; i < fields->count; i++) {
        struct vf_field *field = &fields->list[i];
        if (field->id == VF_FIELD_OTHER || (always_dropped >> field->id & 1) == 0)
            continue;
        if (field->id == VF_FIELD_CONNECTION && !field->dropped)
            drop_named(fields, field->value);
        field->dropped = true;
    }
}

const bool vf_token_chars[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true,  ['#'] = true,
    ['$'] = true,         ['%'] = true,         ['&'] = true,         ['\''] = true, ['*'] = true,
    ['+'] = true,         ['-'] = true,         ['.'] = true,         ['^'] = true,  ['_'] = true,
    ['`'] = true,         ['|'] = true,         ['~'] = true,
};

bool vf_is_token(struct vf_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!vf_is_token_char(name.data[i]))
            return false;
    return name.len > 0;
}

bool vf_is_field_value(struct vf_str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

struct vf_str vf_status_reason(uint32_t status)
{
    static const struct {
        uint32_t status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {103, "Early Hints"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
        {508, "Loop Detected"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return vf_str_from(reasons[i].reason);
    return VF_STR("Unknown");
}
