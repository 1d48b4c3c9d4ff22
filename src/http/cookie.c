#include "http/cookie.h"

static struct vf_str unquote(struct vf_str value)
{
    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
        return vf_str_make(value.data + 1, value.len - 2);
    return value;
}

/* Takes what stands before the next semicolon off the front. */
static struct vf_str take_pair(struct vf_str *rest)
{
    const char *end = memchr(rest->data, ';', rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->data) : rest->len;
    struct vf_str pair = vf_str_trim(vf_str_make(rest->data, len));
    size_t taken = end != NULL ? len + 1 : len;
    *rest = vf_str_make(rest->data + taken, rest->len - taken);
    return pair;
}

bool vf_cookie_next(struct vf_str *rest, struct vf_str *name, struct vf_str *value)
{
    while (rest->len > 0) {
        struct vf_str pair = take_pair(rest);
        if (pair.len == 0)
            continue;
        const char *sign = memchr(pair.data, '=', pair.len);
        size_t name_len = sign != NULL ? (size_t)(sign - pair.data) : 0;
        size_t skip = sign != NULL ? name_len + 1 : 0;
        *name = vf_str_trim(vf_str_make(pair.data, name_len));
        *value = unquote(vf_str_trim(vf_str_make(pair.data + skip, pair.len - skip)));
        return true;
    }
    return false;
}

bool vf_cookie_find(struct vf_str cookie, struct vf_str name, struct vf_str *value)
{
    struct vf_str found_name, found;
    while (vf_cookie_next(&cookie, &found_name, &found)) {
        if (!vf_str_eq(found_name, name))
            continue;
        *value = found;
        return true;
    }
    return false;
}
