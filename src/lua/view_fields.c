/* lua/view_fields.c - header fields of an exchange, for plugins: found and edited. */
#include "lua/view_parts.h"

#include "http/message.h"
#include "http/target.h"
#include "proxy/exchange.h"

static struct vf_fields *fields_of(struct vf_exchange *ex, int side)
{
    if (side == VF_VIEW_REQUEST)
        return &ex->request.fields;
    if (side == VF_VIEW_RESPONSE && ex->response.status == 0)
        return &ex->early_fields; /* for whatever answer comes */
    return &ex->response.fields;
}

/* Of the backend's answer the fields count that came, whatever became of them; of the request those
 * that the client has sent or plugins have set, forwarded or not; of what leaves those that are not
 * dropped. */
static bool is_shown(const struct vf_exchange *ex, int side, uint32_t index,
                     const struct vf_field *field)
{
    if (side == VF_VIEW_UPSTREAM)
        return index < ex->n_upstream_fields;
    if (side == VF_VIEW_REQUEST)
        return !field->removed && !field->is_ours;
    return !field->dropped;
}

/* Content-Length of what leaves is written with the framing, not kept as a field. */
static bool has_length(const struct vf_exchange *ex, int side)
{
    const struct vf_head *head = &ex->response;
    return side == VF_VIEW_RESPONSE && head->status >= 200 && !ex->filters_body &&
           (head->framing == VF_FRAMING_LENGTH ||
            (head->framing == VF_FRAMING_NONE && head->has_content_length)) &&
           head->status != 204;
}

static struct vf_str length_of(struct vf_exchange *ex)
{
    char *text = vf_arena_alloc(&ex->arena, 20);
    if (text == NULL)
        return vf_str_make("", 0);
    return vf_str_make(text, vf_u64_format(ex->response.content_length, text));
}

static char fold(char c)
{
    return c == '_' ? '-' : vf_lower(c);
}

static bool is_called(struct vf_str name, const char *wanted, size_t len)
{
    if (name.len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name.data[i] != wanted[i] && fold(name.data[i]) != fold(wanted[i]))
            return false;
    return true;
}

int vf_view_field(struct vf_exchange *ex, int side, const char *name, size_t len, uint32_t nth,
                  struct vf_str *value)
{
    const struct vf_fields *fields = fields_of(ex, side);
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct vf_field *field = &fields->list[i];
        if (!is_shown(ex, side, i, field) || !is_called(field->name, name, len) || nth-- > 0)
            continue;
        *value = field->value;
        return 1;
    }
    if (nth > 0 || !has_length(ex, side) || !is_called(VF_STR("content-length"), name, len))
        return 0;
    *value = length_of(ex);
    return 1;
}

uint32_t vf_view_field_at(struct vf_exchange *ex, int side, uint32_t index, struct vf_str *name,
                          struct vf_str *value)
{
    const struct vf_fields *fields = fields_of(ex, side);
    for (; index < fields->count; index++) {
        const struct vf_field *field = &fields->list[index];
        if (!is_shown(ex, side, index, field))
            continue;
        *name = field->name;
        *value = field->value;
        return index + 1;
    }
    if (index > fields->count || !has_length(ex, side))
        return 0;
    *name = VF_STR("Content-Length");
    *value = length_of(ex);
    return fields->count + 1;
}

static bool is_ours(enum vf_field_id id)
{
    switch (id) {
    case VF_FIELD_CONNECTION:
    case VF_FIELD_CONTENT_LENGTH:
    case VF_FIELD_HTTP2_SETTINGS:
    case VF_FIELD_KEEP_ALIVE:
    case VF_FIELD_PROXY_CONNECTION:
    case VF_FIELD_TE:
    case VF_FIELD_TRANSFER_ENCODING:
    case VF_FIELD_UPGRADE:
        return true;
    default:
        return false;
    }
}

int vf_view_edit(struct vf_exchange *ex, struct vf_fields *fields, int how, struct vf_str name,
                 struct vf_str value)
{
    if (!vf_is_token(name))
        return VF_VIEW_BAD_NAME;
    if (!vf_is_field_value(value))
        return VF_VIEW_BAD_VALUE;
    if (is_ours(vf_field_id(name)))
        return VF_VIEW_OURS;
    if (how != VF_VIEW_ADD)
        for (uint32_t i = 0; i < fields->count; i++)
            if (is_called(fields->list[i].name, name.data, name.len))
                fields->list[i].dropped = fields->list[i].removed = true;
    if (how == VF_VIEW_CLEAR)
        return VF_VIEW_OK;
    name = vf_view_keep(ex, name.data, name.len);
    value = vf_view_keep(ex, value.data, value.len);
    if (name.data == NULL || value.data == NULL)
        return VF_VIEW_NO_MEMORY;
    return vf_fields_add(fields, &ex->arena, name, value) == 0 ? VF_VIEW_OK : VF_VIEW_NO_MEMORY;
}

int vf_view_edit_field(struct vf_exchange *ex, int side, int how, const char *name, size_t name_len,
                       const char *value, size_t value_len)
{
    struct vf_str field = vf_str_make(name, name_len), text = vf_str_make(value, value_len);
    if (side == VF_VIEW_REQUEST ? ex->upstream != NULL : ex->head_sent)
        return VF_VIEW_TOO_LATE;
    if (side != VF_VIEW_REQUEST || vf_field_id(field) != VF_FIELD_HOST)
        return vf_view_edit(ex, fields_of(ex, side), how, field, text);
    if (how == VF_VIEW_CLEAR || !vf_host_is_valid(text))
        return VF_VIEW_BAD_VALUE;
    int rc = vf_view_edit(ex, &ex->request.fields, VF_VIEW_SET, field, text);
    if (rc != VF_VIEW_OK)
        return rc;
    struct vf_field *host = &ex->request.fields.list[ex->request.fields.count - 1];
    host->dropped = true; /* its line is ours to write */
    ex->forward_host = host->value;
    return VF_VIEW_OK;
}
