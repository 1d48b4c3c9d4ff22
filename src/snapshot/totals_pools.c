/* Pools, how long their exchanges took, and their answers by method and status. */
#include <stdlib.h>
#include <string.h>

#include "http/method.h"
#include "snapshot/snapshot.h"
#include "snapshot/totals.h"
#include "snapshot/totals_core.h"

static void add_pool(const struct vf_state *state, uint32_t n_blocks, uint32_t slot,
                     struct vf_totals_pool *out)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct vf_state_pool *counts = &state->blocks[i].pools[slot];
        if (vf_count_get(&counts->requests) + vf_count_get(&counts->unavailable) == 0)
            continue; /* also keeps the pages of unused blocks untouched beyond the first */
        vf_totals_add_words(&out->requests, &counts->requests, 6);
        for (int k = 0; k < VF_STATE_METHODS; k++) {
            vf_totals_add_words(out->buckets, counts->latency[k].buckets, VF_STATE_BUCKETS);
            out->sum_us += vf_count_get(&counts->latency[k].sum_us);
        }
    }
}

void vf_totals_pool(const struct vf_state *state, const struct vf_snapshot *snapshot,
                    uint32_t index, struct vf_totals_pool *out)
{
    const struct vf_snap_pool *pool = vf_snap_pool(snapshot, index);
    memset(out, 0, sizeof(*out));
    out->name = vf_snap_str(snapshot, pool->name);
    out->tenant = vf_snap_str(snapshot, vf_snap_tenant(snapshot, pool->tenant)->name);
    out->algorithm = pool->algorithm;
    out->first_backend = pool->backends.first;
    out->n_backends = pool->backends.count;
    out->is_sticky = (pool->flags & VF_POOL_STICKY) != 0;
    add_pool(state, vf_totals_used_blocks(state), pool->slot, out);
}

void vf_totals_pools_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                          uint32_t first, struct vf_totals_pool *out)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_POOLS), n_blocks = vf_totals_used_blocks(state);
    memset(out, 0, sizeof(*out));
    for (uint32_t i = first; i < n; i++)
        add_pool(state, n_blocks, vf_snap_pool(snapshot, i)->slot, out);
}

static void add_durations(const struct vf_state *state, uint32_t n_blocks, uint32_t slot,
                          struct vf_totals_duration *out)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct vf_state_pool *counts = &state->blocks[i].pools[slot];
        if (vf_count_get(&counts->requests) == 0)
            continue;
        for (int k = 0; k < VF_STATE_METHODS; k++) {
            vf_totals_add_words(out[k].buckets, counts->latency[k].buckets, VF_STATE_BUCKETS);
            out[k].sum_us += vf_count_get(&counts->latency[k].sum_us);
        }
    }
}

/* Keeps the methods that were seen, in front. Returns how many. */
static uint32_t keep_seen(struct vf_totals_duration *out)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < VF_STATE_METHODS; k++) {
        uint64_t count = 0;
        for (int i = 0; i < VF_STATE_BUCKETS; i++)
            count += out[k].buckets[i];
        if (count == 0)
            continue;
        int method = vf_state_method_at(k);
        out[k].method = method >= 0 ? vf_method_name(method) : vf_str_make("", 0);
        out[n++] = out[k];
    }
    return n;
}

uint32_t vf_totals_durations(const struct vf_state *state, const struct vf_snapshot *snapshot,
                             uint32_t index, struct vf_totals_duration *out)
{
    memset(out, 0, VF_STATE_METHODS * sizeof(*out));
    add_durations(state, vf_totals_used_blocks(state), vf_snap_pool(snapshot, index)->slot, out);
    return keep_seen(out);
}

uint32_t vf_totals_durations_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                                  uint32_t first, struct vf_totals_duration *out)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_POOLS), n_blocks = vf_totals_used_blocks(state);
    memset(out, 0, VF_STATE_METHODS * sizeof(*out));
    for (uint32_t i = first; i < n; i++)
        add_durations(state, n_blocks, vf_snap_pool(snapshot, i)->slot, out);
    return keep_seen(out);
}

static void add_status(struct vf_totals_status *out, uint32_t room, uint32_t *n,
                       const struct vf_totals_status *status)
{
    for (uint32_t i = 0; i < *n; i++)
        if (out[i].status == status->status && vf_str_eq(out[i].method, status->method)) {
            out[i].count += status->count;
            return;
        }
    if (*n < room) {
        out[(*n)++] = *status;
        return;
    }
    out[room - 1].method = vf_str_make("", 0);
    out[room - 1].status = 0;
    out[room - 1].count += status->count;
}

static int by_method_and_status(const void *left, const void *right)
{
    const struct vf_totals_status *a = left, *b = right;
    size_t len = a->method.len < b->method.len ? a->method.len : b->method.len;
    int order = len > 0 ? memcmp(a->method.data, b->method.data, len) : 0;
    if (order == 0 && a->method.len != b->method.len)
        order = a->method.len < b->method.len ? -1 : 1;
    if (order == 0 && a->status != b->status)
        order = a->status < b->status ? -1 : 1;
    return order;
}

uint32_t vf_totals_statuses(const struct vf_state *state, const struct vf_snapshot *snapshot,
                            uint32_t index, struct vf_totals_status *out, uint32_t room)
{
    uint32_t slot = vf_snap_pool(snapshot, index)->slot, n = 0,
             n_blocks = vf_totals_used_blocks(state);
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct vf_state_pool *pool = &state->blocks[i].pools[slot];
        if (vf_count_get(&pool->requests) == 0)
            continue;
        for (uint32_t k = 0; k < VF_STATE_STATUS_CELLS; k++) {
            uint32_t key = atomic_load_explicit(&pool->statuses[k].key, memory_order_relaxed);
            struct vf_totals_status status = {.method = vf_str_make("", 0),
                                              .count = vf_count_get(&pool->statuses[k].count)};
            if (key == 0 || status.count == 0)
                continue;
            if (key != UINT32_MAX) {
                status.method = vf_method_name((int)(key >> 16));
                status.status = key & 0xffff;
            }
            add_status(out, room, &n, &status);
        }
    }
    qsort(out, n, sizeof(*out), by_method_and_status);
    return n;
}
