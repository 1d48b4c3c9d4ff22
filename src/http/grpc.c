#include "http/grpc.h"

static const struct vf_str grpc_type = {"application/grpc", 16};

bool vf_grpc_is_content_type(struct vf_str value)
{
    if (value.len < grpc_type.len || !vf_str_ieq(vf_str_make(value.data, grpc_type.len), grpc_type))
        return false;
    if (value.len == grpc_type.len)
        return true;
    char next = value.data[grpc_type.len];
    return next == '+' || next == ';' || next == ' ' || next == '\t';
}

struct vf_str vf_grpc_status(uint32_t http_status)
{
    switch (http_status) {
    case 400:
        return VF_STR("13"); /* INTERNAL */
    case 401:
        return VF_STR("16"); /* UNAUTHENTICATED */
    case 403:
        return VF_STR("7"); /* PERMISSION_DENIED */
    case 404:
        return VF_STR("12"); /* UNIMPLEMENTED */
    case 429:
    case 502:
    case 503:
    case 504:
        return VF_STR("14"); /* UNAVAILABLE */
    default:
        return VF_STR("2"); /* UNKNOWN */
    }
}

struct vf_str vf_grpc_message(struct vf_arena *arena, struct vf_str text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = vf_arena_alloc(arena, text.len * 3 + 1), *at = out;
    if (out == NULL)
        return vf_str_make(NULL, 0);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c >= ' ' && c <= '~' && c != '%') {
            *at++ = (char)c;
            continue;
        }
        *at++ = '%';
        *at++ = digits[c >> 4];
        *at++ = digits[c & 15];
    }
    return vf_str_make(out, (size_t)(at - out));
}
