/* net/resolver.h - names to addresses, without ever waiting: c-ares on the libuv loop.
 * A watched name is resolved at once and again whenever its TTL is over (at least 1 s, at most
 * 300 s, 5 s for answers without one, such as the hosts file's, or with a TTL of 0). When that
 * fails the last good answer stays, and the next try follows after 1 s, 2 s, 4 s, up to 30 s.
 * Watchers of one host share its state. Literal addresses need no resolver.
 *
 * IPv4 and IPv6 addresses are asked for together; those without a route from here are left out when
 * others have one. One resolver per loop; not thread-safe. */
#ifndef VF_NET_RESOLVER_H
#define VF_NET_RESOLVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/str.h"

struct vf_resolver;
struct vf_name; /* one watch */

/* All zeros is the usual: the system's servers and the times above. Borrowed during `new`. */
struct vf_resolver_options {
    const char *servers;        /* "127.0.0.1:5353,...": instead of /etc/resolv.conf; NULL: that */
    _Atomic uint64_t *failures; /* counts failed resolutions; may be NULL; outlives the resolver */
    uint32_t floor_ms, ceiling_ms, default_ms; /* of a TTL; 0: as above */
};

/* Makes a resolver on `loop`. `options` may be NULL. When it names no servers, the environment
 * variable VF_DNS_SERVERS may. Owned by the caller. Returns 0, UV_ENOMEM, or UV_EINVAL when c-ares
 * refuses its configuration. */
int vf_resolver_new(uv_loop_t *loop, const struct vf_resolver_options *options,
                    struct vf_resolver **out);

/* Ends everything; no callback follows. Names still watched are freed with it. Its handles close
 * when the loop runs on. NULL is left alone. */
void vf_resolver_free(struct vf_resolver *resolver);

/* Watches `host` (a name; copied) for connections to `port`. `on_change` (may be NULL) is called
 * from the loop, never from here, when the addresses have changed, and once when the first
 * resolution fails. Stores a handle in *out, owned by the caller: see unwatch. Returns 0, UV_EINVAL
 * for a name longer than 253 bytes or empty, or UV_ENOMEM. */
int vf_resolver_watch(struct vf_resolver *resolver, struct vf_str host, uint16_t port,
                      void (*on_change)(void *owner, struct vf_name *name), void *owner,
                      struct vf_name **out);

/* Ends a watch and frees the handle; NULL is left alone. May be called from on_change. */
void vf_resolver_unwatch(struct vf_name *name);

/* Returns how many addresses the name has now; 0: not resolved (yet). */
size_t vf_name_count(const struct vf_name *name);

/* Returns why the last resolution failed ("Domain name not found"), or NULL when it succeeded or is
 * under way for the first time. Static memory. */
const char *vf_name_error(const struct vf_name *name);

/* Notes that no connection could be made to an address of the name, given by its tag
 * (vf_addresses_tag): for 30 s `take` gives it only when all are like that. */
void vf_name_failed(struct vf_name *name, uint32_t tag);

/* Returns true when the address with that tag is one of the name's. */
bool vf_name_has(const struct vf_name *name, uint32_t tag);

/* Returns true while the name has an address that has not failed of late. "localhost" is two
 * addresses, and most servers listen on one; so try the others before giving up on a backend. */
bool vf_name_has_other(const struct vf_name *name);

/* Writes address `index` (below the count) with the port of the watch. Returns its length. */
socklen_t vf_name_address(const struct vf_name *name, size_t index, struct sockaddr_storage *out);

/* Writes the next address in turn, with the port of the watch, and its length: the IPv4 addresses
 * take turns, those of IPv6 when there are no others or the others failed. Returns 0, or
 * VF_ENOADDRESS while there is none. */
int vf_name_take(struct vf_name *name, struct sockaddr_storage *out, socklen_t *len);

#endif
