/* Backends: their counters, and what is known of their health. */
#include <stddef.h>
#include <string.h>

#include "base/clock.h"
#include "snapshot/snapshot.h"
#include "snapshot/totals.h"
#include "snapshot/totals_core.h"

static void add_backend(const struct vf_state *state, uint32_t n_blocks, uint32_t slot,
                        struct vf_totals_backend *out)
{
    enum { COUNTERS = 16 /* requests to sum_us */ };
    _Static_assert(offsetof(struct vf_state_backend, in_flight) == COUNTERS * sizeof(vf_count) &&
                       offsetof(struct vf_totals_backend, in_flight) -
                               offsetof(struct vf_totals_backend, requests) ==
                           COUNTERS * sizeof(uint64_t),
                   "same counters");
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct vf_state_backend *counts = &state->blocks[i].backends[slot];
        vf_totals_add_words(&out->requests, &counts->requests, COUNTERS);
        if (vf_totals_is_leased(&state->blocks[i]))
            vf_totals_add_words(&out->in_flight, &counts->in_flight, 3);
    }
}

static void read_reason(const struct vf_backend_state *shared, struct vf_totals_backend *out)
{
    for (int i = 0; i < VF_TOTALS_READ_TRIES; i++) {
        uint32_t before = atomic_load_explicit(&shared->reason_seq, memory_order_acquire);
        memcpy(out->reason, shared->reason, sizeof(out->reason));
        if (vf_totals_was_quiet(&shared->reason_seq, before))
            break;
    }
    out->reason[sizeof(out->reason) - 1] = '\0';
}

static void read_health(const struct vf_backend_state *shared, uint64_t now_ns,
                        struct vf_totals_backend *out)
{
    uint64_t ejected_until = atomic_load(&shared->ejected_until_ns);
    out->latency_us = atomic_load(&shared->latency_us);
    out->health = atomic_load(&shared->health);
    out->checked_ago_ms = vf_totals_ago_ms(now_ns, atomic_load(&shared->checked_ns));
    out->changed_ago_ms = vf_totals_ago_ms(now_ns, atomic_load(&shared->changed_ns));
    out->check_us = atomic_load(&shared->check_us);
    out->ejected_for_ms = ejected_until > now_ns ? (ejected_until - now_ns) / 1000000 + 1 : 0;
    out->is_usable = vf_backend_is_usable(shared, now_ns);
    out->drain = atomic_load(&shared->drain);
    out->failures = atomic_load(&shared->failures);
    out->ejections = atomic_load(&shared->ejections);
    out->last_status = atomic_load(&shared->last_status);
    out->streak = atomic_load(&shared->streak);
    read_reason(shared, out);
}

static uint64_t last_used_ns(const struct vf_state *state, uint32_t n_blocks, uint32_t slot)
{
    uint64_t last_ns = 0;
    for (uint32_t i = 0; i < n_blocks; i++) {
        uint64_t used_ns = vf_count_get(&state->blocks[i].backends[slot].used_ns);
        if (used_ns > last_ns)
            last_ns = used_ns;
    }
    return last_ns;
}

void vf_totals_backend(const struct vf_state *state, const struct vf_snapshot *snapshot,
                       uint32_t index, struct vf_totals_backend *out)
{
    const struct vf_snap_backend *backend = vf_snap_backend(snapshot, index);
    const struct vf_snap_pool *pool = vf_snap_pool(snapshot, backend->pool);
    const struct vf_backend_state *shared = &state->backends[backend->slot];
    memset(out, 0, sizeof(*out));
    out->address = vf_snap_str(snapshot, backend->address_text);
    out->pool = vf_snap_str(snapshot, pool->name);
    out->tenant = vf_snap_str(snapshot, vf_snap_tenant(snapshot, pool->tenant)->name);
    out->has_check = backend->health != (uint32_t)VF_SNAP_NONE;
    out->configured_weight = backend->weight;
    out->weight = vf_backend_weight(shared, backend->weight);
    uint32_t n_blocks = vf_totals_used_blocks(state);
    uint64_t now_ns = vf_clock_ns();
    read_health(shared, now_ns, out);
    out->used_ago_ms = vf_totals_ago_ms(now_ns, last_used_ns(state, n_blocks, backend->slot));
    add_backend(state, n_blocks, backend->slot, out);
}

void vf_totals_backends_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                             uint32_t first, struct vf_totals_backend *out)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_BACKENDS), n_blocks = vf_totals_used_blocks(state);
    memset(out, 0, sizeof(*out));
    for (uint32_t i = first; i < n; i++)
        add_backend(state, n_blocks, vf_snap_backend(snapshot, i)->slot, out);
}
