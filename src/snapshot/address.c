#include "snapshot/address.h"

#include <arpa/inet.h>

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

enum { MAPPED_PREFIX_BYTES = 12 };

/* Socket addresses are copied and not cast: a pointer to one type may not alias another. */

static socklen_t to_ipv4(const struct vf_snap_address *address, struct sockaddr_storage *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    memcpy(&in.sin_addr, address->ip, sizeof(in.sin_addr));
    memcpy(out, &in, sizeof(in));
    return sizeof(in);
}

static socklen_t to_ipv6(const struct vf_snap_address *address, struct sockaddr_storage *out)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(address->port)};
    memcpy(&in.sin6_addr, address->ip, sizeof(in.sin6_addr));
    memcpy(out, &in, sizeof(in));
    return sizeof(in);
}

socklen_t vf_address_to_socket(const struct vf_snap_address *address, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (address->family == VF_FAMILY_IPV4)
        return to_ipv4(address, out);
    return address->family == VF_FAMILY_IPV6 ? to_ipv6(address, out) : 0;
}

static void from_ipv4(const struct sockaddr_storage *from, struct vf_snap_address *out)
{
    struct sockaddr_in in;
    memcpy(&in, from, sizeof(in));
    out->family = VF_FAMILY_IPV4;
    out->port = ntohs(in.sin_port);
    memcpy(out->ip, &in.sin_addr, sizeof(in.sin_addr));
}

static void from_ipv6(const struct sockaddr_storage *from, struct vf_snap_address *out)
{
    struct sockaddr_in6 in;
    memcpy(&in, from, sizeof(in));
    bool is_mapped = IN6_IS_ADDR_V4MAPPED(&in.sin6_addr);
    size_t skipped = is_mapped ? MAPPED_PREFIX_BYTES : 0;
    out->family = is_mapped ? VF_FAMILY_IPV4 : VF_FAMILY_IPV6;
    out->port = ntohs(in.sin6_port);
    memcpy(out->ip, in.sin6_addr.s6_addr + skipped, sizeof(in.sin6_addr) - skipped);
}

struct vf_snap_address vf_address_from_socket(const struct sockaddr_storage *from)
{
    struct vf_snap_address address = {.family = VF_FAMILY_NONE};
    if (from->ss_family == AF_INET)
        from_ipv4(from, &address);
    else if (from->ss_family == AF_INET6)
        from_ipv6(from, &address);
    return address;
}

bool vf_address_parse_ip(struct vf_str text, struct vf_snap_address *out)
{
    char copy[INET6_ADDRSTRLEN];
    memset(out, 0, sizeof(*out));
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, out->ip) == 1)
        out->family = VF_FAMILY_IPV4;
    else if (inet_pton(AF_INET6, copy, out->ip) == 1)
        out->family = VF_FAMILY_IPV6;
    return out->family != VF_FAMILY_NONE;
}
