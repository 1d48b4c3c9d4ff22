#include "proxy/passive.h"

#include "base/log.h"

/* Returns true when a backend of the pool other than `backend_index` can take exchanges. */
static bool has_other_usable(const struct vf_state *state, const struct vf_snapshot *snapshot,
                             uint32_t pool_index, uint32_t backend_index, uint64_t now_ns)
{
    struct vf_snap_list backends = vf_snap_pool(snapshot, pool_index)->backends;
    for (uint32_t i = backends.first; i < backends.first + backends.count; i++) {
        const struct vf_snap_backend *backend = vf_snap_backend(snapshot, i);
        const struct vf_backend_state *other = &state->backends[backend->slot];
        if (i != backend_index && vf_backend_weight(other, backend->weight) > 0 &&
            vf_backend_is_usable(other, now_ns))
            return true;
    }
    return false;
}

static uint64_t ejection_ms(uint32_t ejections)
{
    uint64_t ms = VF_PASSIVE_FIRST_MS;
    for (uint32_t i = 0; i < ejections && ms < VF_PASSIVE_LONGEST_MS; i++)
        ms *= 2;
    return ms < VF_PASSIVE_LONGEST_MS ? ms : VF_PASSIVE_LONGEST_MS;
}

static void log_ejection(const struct vf_snapshot *snapshot, uint32_t pool_index,
                         const struct vf_snap_backend *backend, uint32_t failures, uint64_t ms)
{
    struct vf_str pool = vf_snap_str(snapshot, vf_snap_pool(snapshot, pool_index)->name);
    struct vf_str address = vf_snap_str(snapshot, backend->address_text);
    vf_log_warn(NULL, "backend.ejected", "pool=%.*s backend=%.*s failures=%u for_ms=%llu",
                (int)pool.len, pool.data, (int)address.len, address.data, failures,
                (unsigned long long)ms);
}

bool vf_passive_failed(struct vf_state *state, const struct vf_snapshot *snapshot,
                       uint32_t pool_index, uint32_t backend_index, uint64_t now_ns)
{
    const struct vf_snap_backend *record = vf_snap_backend(snapshot, backend_index);
    struct vf_backend_state *backend = &state->backends[record->slot];
    if ((vf_snap_pool(snapshot, pool_index)->flags & VF_POOL_PASSIVE_HEALTH) == 0)
        return false;
    uint64_t until_ns = atomic_load(&backend->ejected_until_ns);
    if (until_ns > now_ns) /* a connection from before the ejection: known already */
        return false;
    uint32_t failures = atomic_fetch_add(&backend->failures, 1) + 1;
    if (failures < VF_PASSIVE_FAILURES ||
        !has_other_usable(state, snapshot, pool_index, backend_index, now_ns))
        return false;
    uint64_t ms = ejection_ms(atomic_load(&backend->ejections));
    /* of several workers that come here at once, one ejects */
    if (!atomic_compare_exchange_strong(&backend->ejected_until_ns, &until_ns,
                                        now_ns + ms * 1000000))
        return false;
    atomic_fetch_add(&backend->ejections, 1);
    log_ejection(snapshot, pool_index, record, failures, ms);
    return true;
}
