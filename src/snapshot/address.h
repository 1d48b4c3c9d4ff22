/* snapshot/address.h - addresses as snapshots hold them, and as the kernel wants them. */
#ifndef VF_SNAPSHOT_ADDRESS_H
#define VF_SNAPSHOT_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/str.h"
#include "snapshot/layout.h"

/* Writes `address` to *out, the rest of which becomes zero. Returns the bytes that count; 0, and
 * AF_UNSPEC in *out, for VF_FAMILY_NONE. */
socklen_t vf_address_to_socket(const struct vf_snap_address *address, struct sockaddr_storage *out);

/* Returns the address in *from. An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) becomes the
 * IPv4 address that it stands for; families other than these two become VF_FAMILY_NONE. */
struct vf_snap_address vf_address_from_socket(const struct sockaddr_storage *from);

/* Reads an IP address without port and brackets into *out, whose port becomes 0. Returns false, and
 * the family is VF_FAMILY_NONE, when it is none. */
bool vf_address_parse_ip(struct vf_str text, struct vf_snap_address *out);

#endif
