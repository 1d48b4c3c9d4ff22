/* net/dial.h - whom to connect to: an address or a name, turned into a socket address.
 * Literal addresses are at hand at once; a name waits for the resolver the first time. Names that
 * were dialled of late stay watched (at most VF_DIALS_NAMES, the least recently used go), so that
 * later connections find their addresses at once and a name is asked for once per TTL, not once
 * per connection. */
#ifndef VF_NET_DIAL_H
#define VF_NET_DIAL_H

#include "net/resolver.h"

enum { VF_DIALS_NAMES = 64 };

struct vf_dials; /* the names of one process */

/* One search for an address. Embedded, zeroed before its first use. */
struct vf_dial {
    struct vf_name *name; /* NULL: a literal address, or idle */
    uint32_t tag;         /* of the address taken: see vf_addresses_tag */
    bool waits;
    const char *error; /* why the name has no address; static memory, or NULL */
    void (*on_resolved)(struct vf_dial *dial); /* see vf_dial_start; set by the owner */
};

/* `resolver` is borrowed and outlives the dials. Returns 0 or UV_ENOMEM. */
int vf_dials_new(struct vf_resolver *resolver, struct vf_dials **out);
void vf_dials_free(struct vf_dials *dials);

/* Looks for an address of `host` ("192.0.2.1", "2001:db8::1", "[2001:db8::1]" or a name). Returns 0
 * with the address in *out; VF_PENDING: on_resolved follows, then call vf_dial_take;
 * VF_ENOADDRESS (see dial->error), UV_EINVAL for what can be no name, or UV_ENOMEM. */
int vf_dial_start(struct vf_dial *dial, struct vf_dials *dials, struct vf_str host, uint16_t port,
                  struct sockaddr_storage *out, socklen_t *len);

/* After on_resolved: 0 with the address, or VF_ENOADDRESS. */
int vf_dial_take(struct vf_dial *dial, struct sockaddr_storage *out, socklen_t *len);

/* No connection could be made to the address taken. Returns true when the name has another one. */
bool vf_dial_failed(struct vf_dial *dial);

/* Makes the address of the unix socket `path`. Returns 0, UV_EINVAL or UV_ENAMETOOLONG. */
int vf_unix_address(const char *path, size_t len, struct sockaddr_storage *out, socklen_t *out_len);

/* Ends the search, or forgets what it found; may be repeated. */
void vf_dial_end(struct vf_dial *dial);

#endif
