#include "net/addresses.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/hash.h"

void vf_addresses_deinit(struct vf_addresses *addresses)
{
    free(addresses->list);
    *addresses = (struct vf_addresses){NULL, 0};
}

static bool are_same(const struct vf_addresses *addresses, const union vf_dns_address *values,
                     size_t n)
{
    if (addresses->n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (memcmp(&addresses->list[i].value, &values[i], sizeof(*values)) != 0)
            return false;
    return true;
}

int vf_addresses_set(struct vf_addresses *addresses, const union vf_dns_address *values, size_t n)
{
    if (are_same(addresses, values, n))
        return 0;
    struct vf_address_entry *list = calloc(n, sizeof(*list));
    if (list == NULL)
        return UV_ENOMEM;
    for (size_t i = 0; i < n; i++)
        list[i].value = values[i];
    free(addresses->list);
    *addresses = (struct vf_addresses){list, n};
    return 1;
}

socklen_t vf_addresses_get(const struct vf_addresses *addresses, size_t index, uint16_t port,
                           struct sockaddr_storage *out)
{
    union vf_dns_address address = addresses->list[index].value;
    bool is_ipv4 = address.plain.sa_family == AF_INET;
    if (is_ipv4)
        address.ipv4.sin_port = htons(port);
    else
        address.ipv6.sin6_port = htons(port);
    memset(out, 0, sizeof(*out));
    memcpy(out, &address, sizeof(address));
    return is_ipv4 ? sizeof(address.ipv4) : sizeof(address.ipv6);
}

static sa_family_t family_of(const struct vf_address_entry *entry)
{
    return entry->value.plain.sa_family;
}

/* Returns the first address that is not avoided, or the very first: its family is to be used. */
static const struct vf_address_entry *first_choice(const struct vf_addresses *addresses,
                                                   uint64_t now_ms)
{
    for (size_t i = 0; i < addresses->n; i++)
        if (addresses->list[i].avoid_until_ms <= now_ms)
            return &addresses->list[i];
    return addresses->list;
}

size_t vf_addresses_take(const struct vf_addresses *addresses, size_t *cursor, uint64_t now_ms)
{
    const struct vf_address_entry *first = first_choice(addresses, now_ms);
    bool all_failed = first->avoid_until_ms > now_ms;
    for (size_t i = 1; i < addresses->n && !all_failed; i++, (*cursor)++) {
        const struct vf_address_entry *next = &addresses->list[*cursor % addresses->n];
        if (family_of(next) == family_of(first) && next->avoid_until_ms <= now_ms)
            break;
    }
    return (*cursor)++ % addresses->n;
}

uint32_t vf_addresses_tag(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *ipv6 = (const struct sockaddr_in6 *)address;
    if (address->ss_family == AF_INET)
        return (uint32_t)vf_hash(&ipv4->sin_addr, sizeof(ipv4->sin_addr), AF_INET);
    return (uint32_t)vf_hash(&ipv6->sin6_addr, sizeof(ipv6->sin6_addr), AF_INET6);
}

bool vf_addresses_have(const struct vf_addresses *addresses, uint32_t tag)
{
    struct sockaddr_storage address;
    for (size_t i = 0; i < addresses->n; i++) {
        vf_addresses_get(addresses, i, 0, &address);
        if (vf_addresses_tag(&address) == tag)
            return true;
    }
    return false;
}

void vf_addresses_avoid(struct vf_addresses *addresses, uint32_t tag, uint64_t until_ms)
{
    struct sockaddr_storage address;
    for (size_t i = 0; i < addresses->n; i++) {
        vf_addresses_get(addresses, i, 0, &address);
        if (vf_addresses_tag(&address) == tag)
            addresses->list[i].avoid_until_ms = until_ms;
    }
}

bool vf_addresses_has_good(const struct vf_addresses *addresses, uint64_t now_ms)
{
    return addresses->n > 0 && first_choice(addresses, now_ms)->avoid_until_ms <= now_ms;
}
