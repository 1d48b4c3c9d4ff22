/* Recent errors: each process keeps its last ones; the newest of all are collected. */
#include <string.h>

#include "snapshot/snapshot.h"
#include "snapshot/totals.h"
#include "snapshot/totals_core.h"

static struct vf_str pool_of_slot(const struct vf_snapshot *snapshot, uint32_t slot)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_POOLS);
    for (uint32_t i = 0; i < n && slot != UINT32_MAX; i++)
        if (vf_snap_pool(snapshot, i)->slot == slot)
            return vf_snap_str(snapshot, vf_snap_pool(snapshot, i)->name);
    return vf_str_make("", 0);
}

static struct vf_str backend_of_slot(const struct vf_snapshot *snapshot, uint32_t slot)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_BACKENDS);
    for (uint32_t i = 0; i < n && slot != UINT32_MAX; i++)
        if (vf_snap_backend(snapshot, i)->slot == slot)
            return vf_snap_str(snapshot, vf_snap_backend(snapshot, i)->address_text);
    return vf_str_make("", 0);
}

struct recent {
    struct vf_totals_error *list;
    uint32_t n, room;
};

/* Inserts by time, the newest first; the oldest falls off. */
static void insert_error(struct recent *recent, const struct vf_totals_error *error)
{
    uint32_t at = recent->n;
    while (at > 0 && recent->list[at - 1].wall_ms < error->wall_ms)
        at--;
    if (at == recent->room)
        return;
    uint32_t behind = recent->n - at - (recent->n == recent->room);
    memmove(&recent->list[at + 1], &recent->list[at], behind * sizeof(*error));
    recent->list[at] = *error;
    recent->n += recent->n < recent->room;
}

/* Returns false for an entry that is being written. */
static bool read_error(const struct vf_state_error *entry, const struct vf_snapshot *snapshot,
                       struct vf_totals_error *out)
{
    uint64_t seq = atomic_load_explicit(&entry->seq, memory_order_acquire);
    uint32_t pool_slot = entry->pool_slot, backend_slot = entry->backend_slot;
    memset(out, 0, sizeof(*out));
    out->wall_ms = entry->wall_ms;
    out->status = entry->status;
    memcpy(out->reason, entry->reason, sizeof(out->reason));
    memcpy(out->path, entry->path, sizeof(out->path));
    atomic_thread_fence(memory_order_acquire);
    if ((seq & 1) != 0 || atomic_load_explicit(&entry->seq, memory_order_relaxed) != seq)
        return false;
    out->reason[sizeof(out->reason) - 1] = out->path[sizeof(out->path) - 1] = '\0';
    out->pool = pool_of_slot(snapshot, pool_slot);
    out->backend = backend_of_slot(snapshot, backend_slot);
    return true;
}

uint32_t vf_totals_errors(const struct vf_state *state, const struct vf_snapshot *snapshot,
                          struct vf_totals_error *out, uint32_t room)
{
    struct recent recent = {.list = out, .room = room};
    struct vf_totals_error error;
    uint32_t n_blocks = vf_totals_used_blocks(state);
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct vf_state_block *block = &state->blocks[i];
        uint64_t n = atomic_load_explicit(&block->n_errors, memory_order_acquire);
        uint64_t kept = n < VF_STATE_ERRORS ? n : VF_STATE_ERRORS;
        for (uint64_t k = n - kept; k < n && room > 0; k++)
            if (read_error(&block->errors[k % VF_STATE_ERRORS], snapshot, &error))
                insert_error(&recent, &error);
    }
    return recent.n;
}
