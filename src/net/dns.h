/* net/dns.h - c-ares on a libuv loop: one question at a time to addresses and a TTL.
 * Knows the hosts file and /etc/resolv.conf, and reads the latter again when it has changed: a
 * machine may boot before its network is configured. What is kept, and for how long, is the
 * resolver's business. */
#ifndef VF_NET_DNS_H
#define VF_NET_DNS_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum { VF_DNS_ADDRESSES = 64 /* of one name; further ones are left out */ };

/* An address without port, all bytes that are not used zero: comparable with memcmp. */
union vf_dns_address {
    struct sockaddr plain;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

struct vf_dns;

/* A lookup, embedded in its owner, who keeps it until on_done: that is called exactly once, with
 * ARES_EDESTRUCTION when the dns is freed meanwhile. Possibly from within vf_dns_lookup. It may
 * neither free the dns nor begin another lookup. */
struct vf_dns_lookup {
    struct vf_dns *dns;
    /* `status` is 0 or an ARES_E* code; `addresses` are sorted and valid during the call; `ttl_s`
     * is the smallest of the answer, 0 when it has none. */
    void (*on_done)(struct vf_dns_lookup *lookup, int status, const union vf_dns_address *addresses,
                    size_t n_addresses, uint32_t ttl_s);
};

/* Makes a dns on `loop`; `servers` as in resolver.h, NULL: the system's; borrowed. `on_closed` is
 * called after free, when the loop has closed its handles. Returns 0, UV_ENOMEM or UV_EINVAL. */
int vf_dns_new(uv_loop_t *loop, const char *servers, void (*on_closed)(void *owner), void *owner,
               struct vf_dns **out);

/* Fails what is under way and closes the handles. */
void vf_dns_free(struct vf_dns *dns);

/* Asks for the IPv4 and IPv6 addresses of `name`. */
void vf_dns_lookup(struct vf_dns *dns, const char *name, struct vf_dns_lookup *lookup);

/* Returns what a status means. Static memory. */
const char *vf_dns_error(int status);

#endif
