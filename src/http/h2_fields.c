#include "http/h2_fields.h"

#include <stdlib.h>

static const uint32_t unsendable =
    1U << VF_FIELD_CONNECTION | 1U << VF_FIELD_CONTENT_LENGTH | 1U << VF_FIELD_HOST |
    1U << VF_FIELD_HTTP2_SETTINGS | 1U << VF_FIELD_KEEP_ALIVE | 1U << VF_FIELD_PROXY_CONNECTION |
    1U << VF_FIELD_TE | 1U << VF_FIELD_TRANSFER_ENCODING | 1U << VF_FIELD_UPGRADE;

bool vf_h2_may_be_sent(const struct vf_field *field)
{
    return !field->dropped && field->name.len > 0 && field->name.data[0] != ':' &&
           (field->id == VF_FIELD_OTHER || (unsendable >> field->id & 1) == 0);
}

nghttp2_nv vf_h2_pair(struct vf_str name, struct vf_str value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.data,
                        .value = (uint8_t *)(uintptr_t)value.data,
                        .namelen = name.len,
                        .valuelen = value.len,
                        .flags = NGHTTP2_NV_FLAG_NONE};
}

void vf_h2_put_lower(char *at, struct vf_str name)
{
    for (size_t i = 0; i < name.len; i++)
        at[i] = vf_lower(name.data[i]);
}

size_t vf_h2_copy_trailers(const struct vf_fields *trailers, nghttp2_nv **out)
{
    size_t bytes = 0, n = 0;
    *out = NULL;
    for (uint32_t i = 0; trailers != NULL && i < trailers->count; i++)
        if (vf_h2_may_be_sent(&trailers->list[i])) {
            bytes += trailers->list[i].name.len + trailers->list[i].value.len;
            n++;
        }
    if (n == 0)
        return 0;
    nghttp2_nv *list = malloc(n * sizeof(*list) + bytes);
    if (list == NULL)
        return 0;
    char *at = (char *)(list + n);
    n = 0;
    for (uint32_t i = 0; i < trailers->count; i++) {
        const struct vf_field *field = &trailers->list[i];
        if (!vf_h2_may_be_sent(field))
            continue;
        char *value = at + field->name.len;
        vf_h2_put_lower(at, field->name);
        memcpy(value, field->value.data, field->value.len);
        list[n++] =
            vf_h2_pair(vf_str_make(at, field->name.len), vf_str_make(value, field->value.len));
        at = value + field->value.len;
    }
    *out = list;
    return n;
}
