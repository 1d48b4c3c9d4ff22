/* net/addresses.h - the addresses that a name has come to, and whose turn it is.
 * The IPv4 addresses take turns; those of IPv6 when there are no others, or the others could not be
 * connected to of late ("localhost" is two addresses, and most servers listen on one). An address
 * that failed is avoided for a while, unless all are like that. Clocks are passed in. */
#ifndef VF_NET_ADDRESSES_H
#define VF_NET_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "net/dns.h"

struct vf_address_entry {
    union vf_dns_address value;
    uint64_t avoid_until_ms;
};

/* Embedded by its owner; all zeros is none. */
struct vf_addresses {
    struct vf_address_entry *list; /* in the order of the answer; owned */
    size_t n;
};

void vf_addresses_deinit(struct vf_addresses *addresses);

/* Replaces them by those of an answer, none of which has failed. Returns 1; 0 when they are the
 * same, and stay with what is known of them; UV_ENOMEM: the old ones stay, too. */
int vf_addresses_set(struct vf_addresses *addresses, const union vf_dns_address *values, size_t n);

/* Writes address `index` with a port. Returns its length. */
socklen_t vf_addresses_get(const struct vf_addresses *addresses, size_t index, uint16_t port,
                           struct sockaddr_storage *out);

/* Returns the index of the next one in turn, of one at least; *cursor, zero at first, moves on. */
size_t vf_addresses_take(const struct vf_addresses *addresses, size_t *cursor, uint64_t now_ms);

/* Returns a number that stands for an address, its port aside. */
uint32_t vf_addresses_tag(const struct sockaddr_storage *address);

/* Returns true when the address with that tag is among them. */
bool vf_addresses_have(const struct vf_addresses *addresses, uint32_t tag);

/* Avoids the address with that tag. */
void vf_addresses_avoid(struct vf_addresses *addresses, uint32_t tag, uint64_t until_ms);

/* Returns true while there is one that is not avoided. */
bool vf_addresses_has_good(const struct vf_addresses *addresses, uint64_t now_ms);

#endif
