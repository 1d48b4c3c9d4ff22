#include "http/method.h"

#include <llhttp.h>

#include "http/message.h"

static const struct vf_str names[VF_METHODS] = {
#define METHOD_NAME(number, name, string) [number] = {#string, sizeof(#string) - 1},
    HTTP_METHOD_MAP(METHOD_NAME)
#undef METHOD_NAME
};

_Static_assert((int)VF_METHOD_DELETE == HTTP_DELETE && (int)VF_METHOD_GET == HTTP_GET &&
                   (int)VF_METHOD_HEAD == HTTP_HEAD && (int)VF_METHOD_POST == HTTP_POST &&
                   (int)VF_METHOD_PUT == HTTP_PUT && (int)VF_METHOD_CONNECT == HTTP_CONNECT &&
                   (int)VF_METHOD_OPTIONS == HTTP_OPTIONS && (int)VF_METHOD_TRACE == HTTP_TRACE &&
                   (int)VF_METHOD_PATCH == HTTP_PATCH,
               "the numbers are llhttp's");

#define BIT(method) (UINT64_C(1) << (method))

static const uint64_t safe_methods = BIT(HTTP_GET) | BIT(HTTP_HEAD) | BIT(HTTP_OPTIONS) |
                                     BIT(HTTP_TRACE) | BIT(HTTP_PROPFIND) | BIT(HTTP_REPORT) |
                                     BIT(HTTP_SEARCH) | BIT(HTTP_QUERY);

/* Idempotent but not safe. MERGE is what the registry says, PURGE what caches make of it. */
static const uint64_t repeatable_methods =
    BIT(HTTP_PUT) | BIT(HTTP_DELETE) | BIT(HTTP_COPY) | BIT(HTTP_MKCOL) | BIT(HTTP_MOVE) |
    BIT(HTTP_PROPPATCH) | BIT(HTTP_UNLOCK) | BIT(HTTP_BIND) | BIT(HTTP_REBIND) | BIT(HTTP_UNBIND) |
    BIT(HTTP_ACL) | BIT(HTTP_MKACTIVITY) | BIT(HTTP_CHECKOUT) | BIT(HTTP_MERGE) | BIT(HTTP_PURGE) |
    BIT(HTTP_MKCALENDAR) | BIT(HTTP_LINK) | BIT(HTTP_UNLINK);

static bool is_in(int method, uint64_t mask)
{
    return method >= 0 && method < VF_METHODS && (mask & BIT(method)) != 0;
}

struct vf_str vf_method_name(int method)
{
    if (method < 0 || method >= VF_METHODS || method == HTTP_SOURCE)
        return (struct vf_str){NULL, 0}; /* SOURCE is Icecast's: llhttp takes it as ICE only */
    return names[method];
}

int vf_method_from_name(const char *name, size_t len)
{
    struct vf_str wanted = {name, len};
    if (len == 0)
        return -1;
    for (int method = 0; method < VF_METHODS; method++)
        if (vf_str_eq(vf_method_name(method), wanted))
            return method;
    return -1;
}

/* Of a token that vf_method_from_name does not know. */
static bool is_extension(struct vf_str name)
{
    if (name.len > VF_METHOD_BYTES || !vf_is_token(name) || vf_str_eq(name, VF_STR("PRI")))
        return false;
    for (int method = 0; method < VF_METHODS; method++)
        if (vf_str_ieq(vf_method_name(method), name))
            return false;
    return true;
}

int vf_method_read(const char *name, size_t len)
{
    int method = vf_method_from_name(name, len);
    if (method < 0 && is_extension(vf_str_make(name, len)))
        method = VF_METHOD_OTHER;
    return method;
}

bool vf_method_is_safe(int method)
{
    return is_in(method, safe_methods);
}

bool vf_method_is_idempotent(int method)
{
    return is_in(method, safe_methods | repeatable_methods);
}

size_t vf_method_list(uint64_t mask, char *out)
{
    size_t len = 0;
    for (int method = 0; method < VF_METHODS; method++) {
        struct vf_str name = vf_method_name(method);
        if (!is_in(method, mask) || name.len == 0)
            continue;
        if (len > 0) {
            memcpy(out + len, ", ", 2);
            len += 2;
        }
        memcpy(out + len, name.data, name.len);
        len += name.len;
    }
    return len;
}
