#include "net/dial.h"

#include <stdlib.h>
#include <sys/un.h>

#include "base/error.h"
#include "net/addresses.h"
#include "net/op.h"

struct kept {
    struct vf_name *name; /* NULL: a free place */
    char host[256];
    uint64_t used; /* turn of the last use */
};

struct vf_dials {
    struct vf_resolver *resolver;
    uint64_t turn;
    struct kept kept[VF_DIALS_NAMES];
};

int vf_dials_new(struct vf_resolver *resolver, struct vf_dials **out)
{
    struct vf_dials *dials = calloc(1, sizeof(*dials));
    if (dials == NULL)
        return UV_ENOMEM;
    dials->resolver = resolver;
    *out = dials;
    return 0;
}

void vf_dials_free(struct vf_dials *dials)
{
    if (dials == NULL)
        return;
    for (size_t i = 0; i < VF_DIALS_NAMES; i++)
        vf_resolver_unwatch(dials->kept[i].name);
    free(dials);
}

/* Keeps a watch on the host, so that its addresses outlive this connection. The newcomer is watched
 * before the eldest goes: they may be the same host in other letters. */
static void keep(struct vf_dials *dials, struct vf_str host)
{
    struct kept *place = &dials->kept[0];
    dials->turn++;
    for (size_t i = 0; i < VF_DIALS_NAMES; i++) {
        struct kept *at = &dials->kept[i];
        if (at->name != NULL && vf_str_ieq(vf_str_from(at->host), host)) {
            at->used = dials->turn;
            return;
        }
        if (at->used < place->used)
            place = at;
    }
    struct vf_name *name;
    if (vf_resolver_watch(dials->resolver, host, 0, NULL, NULL, &name) < 0)
        return;
    vf_resolver_unwatch(place->name);
    place->name = name;
    place->used = dials->turn;
    memcpy(place->host, host.data, host.len); /* a watched name is at most 253 bytes */
    place->host[host.len] = '\0';
}

static void on_change(void *owner, struct vf_name *name)
{
    struct vf_dial *dial = owner;
    (void)name;
    if (!dial->waits)
        return;
    dial->waits = false;
    dial->on_resolved(dial);
}

static bool is_literal(struct vf_str host, uint16_t port, struct sockaddr_storage *out,
                       socklen_t *len)
{
    char text[64];
    if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = vf_str_make(host.data + 1, host.len - 2);
    if (host.len >= sizeof(text) || memchr(host.data, '\0', host.len) != NULL)
        return false;
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    memset(out, 0, sizeof(*out));
    if (uv_ip4_addr(text, port, (struct sockaddr_in *)out) == 0) {
        *len = sizeof(struct sockaddr_in);
        return true;
    }
    *len = sizeof(struct sockaddr_in6);
    return uv_ip6_addr(text, port, (struct sockaddr_in6 *)out) == 0;
}

int vf_dial_take(struct vf_dial *dial, struct sockaddr_storage *out, socklen_t *len)
{
    int rc = vf_name_take(dial->name, out, len);
    if (rc == 0)
        dial->tag = vf_addresses_tag(out);
    else
        dial->error = vf_name_error(dial->name);
    return rc;
}

int vf_dial_start(struct vf_dial *dial, struct vf_dials *dials, struct vf_str host, uint16_t port,
                  struct sockaddr_storage *out, socklen_t *len)
{
    vf_dial_end(dial);
    if (is_literal(host, port, out, len))
        return 0;
    int rc = vf_resolver_watch(dials->resolver, host, port, on_change, dial, &dial->name);
    if (rc < 0)
        return rc;
    keep(dials, host);
    if (vf_name_count(dial->name) > 0 || vf_name_error(dial->name) != NULL)
        return vf_dial_take(dial, out, len);
    dial->waits = true;
    return VF_PENDING;
}

bool vf_dial_failed(struct vf_dial *dial)
{
    if (dial->name == NULL || dial->tag == 0)
        return false;
    vf_name_failed(dial->name, dial->tag);
    return vf_name_has_other(dial->name);
}

void vf_dial_end(struct vf_dial *dial)
{
    vf_resolver_unwatch(dial->name);
    dial->name = NULL;
    dial->tag = 0;
    dial->waits = false;
    dial->error = NULL;
}

int vf_unix_address(const char *path, size_t len, struct sockaddr_storage *out, socklen_t *out_len)
{
    struct sockaddr_un *address = (struct sockaddr_un *)out;
    if (len == 0 || memchr(path, '\0', len) != NULL)
        return UV_EINVAL;
    if (len >= sizeof(address->sun_path))
        return UV_ENAMETOOLONG;
    memset(out, 0, sizeof(*out));
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, len);
    *out_len = sizeof(*address);
    return 0;
}
