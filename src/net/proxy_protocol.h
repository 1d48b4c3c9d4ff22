/* net/proxy_protocol.h - the PROXY protocol: who the client behind a load balancer is.
 * Source: "The PROXY protocol, versions 1 and 2" (HAProxy, 2020-03-05). */
#ifndef VF_NET_PROXY_PROTOCOL_H
#define VF_NET_PROXY_PROTOCOL_H

#include <stddef.h>
#include <sys/socket.h>

enum {
    VF_PROXY_HEADER_MAX = 4096, /* longest accepted: v2 with TLVs, which may hold certificates */
    VF_PROXY_HEADER_OUT = 108   /* longest written */
};

/* AF_INET, AF_INET6; or AF_UNSPEC when the header says nothing (LOCAL, UNKNOWN, another transport):
 * the connection's own addresses count then. */
struct vf_proxy_header {
    struct sockaddr_storage source, destination;
};

/* Reads a header, v1 or v2, at the start of `len` bytes. Returns its length, 0 when more bytes are
 * needed, or -1 when these bytes do not begin a valid header (v1: section 2.1, v2: section 2.2). */
int vf_proxy_header_read(const char *data, size_t len, struct vf_proxy_header *out);

/* Writes a header of version 1 or 2 at `out` (VF_PROXY_HEADER_OUT bytes). Returns its length. */
size_t vf_proxy_header_write(unsigned version, const struct vf_proxy_header *header, char *out);

#endif
