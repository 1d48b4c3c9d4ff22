#include "snapshot/overview.h"

#include "base/clock.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"

enum { FNV_PRIME = 0x100000001b3 };
static const uint64_t FNV_BASIS = 0xcbf29ce484222325;

void vf_overview(const struct vf_state *state, const struct vf_snapshot *snapshot,
                 struct vf_overview *out)
{
    uint64_t now_ns = vf_clock_ns();
    *out = (struct vf_overview){.pools = vf_snap_count(snapshot, VF_SNAP_POOLS),
                                .backends = vf_snap_count(snapshot, VF_SNAP_BACKENDS),
                                .health_mark = FNV_BASIS,
                                .version = snapshot->version};
    for (uint32_t i = 0; i < out->pools; i++)
        out->algorithms |= 1u << vf_snap_pool(snapshot, i)->algorithm;
    for (uint32_t i = 0; i < out->backends; i++) {
        const struct vf_snap_backend *backend = vf_snap_backend(snapshot, i);
        const struct vf_backend_state *shared = &state->backends[backend->slot];
        bool is_usable = vf_backend_is_usable(shared, now_ns);
        uint64_t said = atomic_load_explicit(&shared->health, memory_order_relaxed) << 8 |
                        atomic_load_explicit(&shared->drain, memory_order_relaxed) << 1 | is_usable;
        out->usable += is_usable;
        out->health_mark = (out->health_mark ^ said) * FNV_PRIME;
    }
}
