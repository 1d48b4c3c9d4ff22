#include "snapshot/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "base/hash.h"
#include "base/shm.h"
#include "snapshot/check.h"

static char fault[96];

static const uint32_t record_bytes[VF_SNAP_SECTIONS] = {
    [VF_SNAP_LISTENERS] = sizeof(struct vf_snap_listener),
    [VF_SNAP_POOLS] = sizeof(struct vf_snap_pool),
    [VF_SNAP_BACKENDS] = sizeof(struct vf_snap_backend),
    [VF_SNAP_ROUTES] = sizeof(struct vf_snap_route),
    [VF_SNAP_BINDINGS] = sizeof(struct vf_snap_binding),
    [VF_SNAP_CONDITIONS] = sizeof(struct vf_snap_condition),
    [VF_SNAP_POLICIES] = sizeof(struct vf_snap_policy),
    [VF_SNAP_FIELD_OPS] = sizeof(struct vf_snap_field_op),
    [VF_SNAP_HEALTH] = sizeof(struct vf_snap_health),
    [VF_SNAP_NETWORKS] = sizeof(struct vf_snap_network),
    [VF_SNAP_TENANTS] = sizeof(struct vf_snap_tenant),
    [VF_SNAP_PLUGINS] = sizeof(struct vf_snap_plugin),
    [VF_SNAP_PLUGIN_FILES] = sizeof(struct vf_snap_plugin_file),
    [VF_SNAP_INSTANCES] = sizeof(struct vf_snap_instance),
    [VF_SNAP_MEMBERS] = sizeof(uint32_t),
    [VF_SNAP_CHAINS] = sizeof(struct vf_snap_chain),
    [VF_SNAP_DESTINATIONS] = sizeof(struct vf_snap_destination),
    [VF_SNAP_TLS] = sizeof(struct vf_snap_tls),
    [VF_SNAP_IDENTITIES] = sizeof(struct vf_snap_identity),
    [VF_SNAP_SERVER_NAMES] = sizeof(struct vf_snap_server_name),
    [VF_SNAP_NAME_IDENTITIES] = sizeof(uint32_t),
    [VF_SNAP_UPSTREAM_TLS] = sizeof(struct vf_snap_upstream_tls),
    [VF_SNAP_TRUSTS] = sizeof(struct vf_snap_trust),
    [VF_SNAP_CLIENT_CERTS] = sizeof(struct vf_snap_client_cert),
    [VF_SNAP_HOSTS] = sizeof(struct vf_snap_host),
    [VF_SNAP_NODES] = sizeof(struct vf_snap_node),
    [VF_SNAP_CANDIDATES] = sizeof(uint32_t),
};

uint32_t vf_snap_record_bytes(enum vf_snap_section section)
{
    return (uint32_t)section < VF_SNAP_SECTIONS ? record_bytes[section] : 0;
}

/* Sizes alone would miss two fields that changed places, hence the offsets; a change that neither
 * shows (a new enum value, another meaning) moves the revision. */
uint64_t vf_snapshot_layout_hash(void)
{
    enum { REVISION = 1 };
    static const uint64_t shape[] = {
        REVISION,
        sizeof(struct vf_snap_header),
        sizeof(struct vf_snap_settings),
        offsetof(struct vf_snap_settings, access_path),
        offsetof(struct vf_snap_settings, connections),
        offsetof(struct vf_snap_settings, sticky_key),
        offsetof(struct vf_snap_listener, policy),
        offsetof(struct vf_snap_listener, tls),
        offsetof(struct vf_snap_listener, mode),
        offsetof(struct vf_snap_destination, pool),
        offsetof(struct vf_snap_tls, client_auth),
        offsetof(struct vf_snap_tls, names),
        offsetof(struct vf_snap_identity, chain),
        offsetof(struct vf_snap_pool, algorithm),
        offsetof(struct vf_snap_pool, flags),
        offsetof(struct vf_snap_pool, backends),
        offsetof(struct vf_snap_pool, tls),
        offsetof(struct vf_snap_upstream_tls, trust),
        offsetof(struct vf_snap_backend, address),
        offsetof(struct vf_snap_backend, weight),
        offsetof(struct vf_snap_health, ranges),
        offsetof(struct vf_snap_route, path),
        offsetof(struct vf_snap_route, rank),
        offsetof(struct vf_snap_route, rewrite),
        offsetof(struct vf_snap_route, edits),
        offsetof(struct vf_snap_route, chain),
        offsetof(struct vf_snap_client_cert, trust),
        offsetof(struct vf_snap_host, asks_clients),
        offsetof(struct vf_snap_settings, plugin_limits),
        offsetof(struct vf_snap_settings, chain),
        offsetof(struct vf_snap_plugin, slot),
        offsetof(struct vf_snap_instance, plugin),
        offsetof(struct vf_snap_instance, config),
        VF_PHASES,
        VF_POLICY_FIELDS,
    };
    return vf_hash(shape, sizeof(shape), vf_hash(record_bytes, sizeof(record_bytes), 0));
}

/* Makes the handle of checked memory. */
static int make(const void *memory, size_t size, uint32_t is_mapped, struct vf_snapshot **out)
{
    struct vf_snapshot *snapshot = malloc(sizeof(*snapshot));
    if (snapshot == NULL)
        return UV_ENOMEM;
    const struct vf_snap_header *header = memory;
    *snapshot = (struct vf_snapshot){header, size, header->version, 1, is_mapped};
    *out = snapshot;
    return 0;
}

static int adopt(const void *memory, size_t size, uint32_t is_mapped, struct vf_snapshot **out)
{
    fault[0] = '\0';
    int rc = vf_snapshot_check(memory, size, fault, sizeof(fault));
    return rc < 0 ? rc : make(memory, size, is_mapped, out);
}

static int open_with(int (*take)(const void *, size_t, uint32_t, struct vf_snapshot **), int fd,
                     struct vf_snapshot **out)
{
    size_t size;
    void *map = vf_shm_map(fd, 0, &size);
    if (map == NULL)
        return uv_translate_sys_error(errno);
    int rc = take(map, size, 1, out);
    if (rc < 0)
        vf_shm_unmap(map, size);
    return rc;
}

int vf_snapshot_open(int fd, struct vf_snapshot **out)
{
    return open_with(adopt, fd, out);
}

int vf_snapshot_open_checked(int fd, struct vf_snapshot **out)
{
    return open_with(make, fd, out);
}

int vf_snapshot_adopt(const void *memory, size_t size, struct vf_snapshot **out)
{
    return adopt(memory, size, 0, out);
}

const char *vf_snapshot_fault(void)
{
    return fault;
}

struct vf_snapshot *vf_snapshot_retain(struct vf_snapshot *snapshot)
{
    snapshot->refs++;
    return snapshot;
}

void vf_snapshot_release(struct vf_snapshot **snapshot)
{
    struct vf_snapshot *held = *snapshot;
    *snapshot = NULL;
    if (held == NULL || --held->refs > 0)
        return;
    if (held->is_mapped)
        vf_shm_unmap((void *)held->header, held->size);
    free(held);
}

static bool has_prefix(const uint8_t *ip, const uint8_t *network, uint32_t bits)
{
    uint32_t bytes = bits / 8, rest = bits % 8;
    if (memcmp(ip, network, bytes) != 0)
        return false;
    return rest == 0 || ((ip[bytes] ^ network[bytes]) >> (8 - rest)) == 0;
}

static bool is_pool(const struct vf_snapshot *snapshot, uint32_t index, struct vf_str tenant,
                    struct vf_str name)
{
    const struct vf_snap_pool *pool = vf_snap_pool(snapshot, index);
    const struct vf_snap_tenant *owner = vf_snap_tenant(snapshot, pool->tenant);
    return vf_str_eq(vf_snap_str(snapshot, pool->name), name) &&
           vf_str_eq(vf_snap_str(snapshot, owner->name), tenant);
}

uint32_t vf_snapshot_find_pool(const struct vf_snapshot *snapshot, struct vf_str tenant,
                               struct vf_str name, uint32_t hint)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_POOLS), shared = VF_SNAP_NONE;
    if (hint < n && is_pool(snapshot, hint, tenant, name))
        return hint;
    for (uint32_t i = 0; i < n; i++) {
        if (is_pool(snapshot, i, tenant, name))
            return i;
        if ((vf_snap_pool(snapshot, i)->flags & VF_POOL_SHARED) != 0 &&
            vf_str_eq(vf_snap_str(snapshot, vf_snap_pool(snapshot, i)->name), name))
            shared = i;
    }
    return shared;
}

bool vf_snapshot_is_trusted(const struct vf_snapshot *snapshot, uint32_t family,
                            const uint8_t ip[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (family == VF_FAMILY_IPV6 && memcmp(ip, mapped, sizeof(mapped)) == 0) {
        family = VF_FAMILY_IPV4;
        ip += sizeof(mapped);
    }
    uint32_t count = vf_snap_count(snapshot, VF_SNAP_NETWORKS);
    for (uint32_t i = 0; i < count; i++) {
        const struct vf_snap_network *network = vf_snap_network(snapshot, i);
        if (network->address.family == family &&
            has_prefix(ip, network->address.ip, network->prefix_bits))
            return true;
    }
    return false;
}

void vf_policy_resolve(const struct vf_snapshot *snapshot, uint32_t base, uint32_t override,
                       struct vf_snap_policy *out)
{
    *out = *vf_snap_policy(snapshot, base);
    if (override == VF_SNAP_NONE)
        return;
    const struct vf_snap_policy *narrow = vf_snap_policy(snapshot, override);
    for (uint64_t left = narrow->set; left != 0; left &= left - 1) {
        int field = __builtin_ctzll(left);
        out->value[field] = narrow->value[field];
    }
    out->set |= narrow->set;
}
