#include "proxy/balance/balance.h"

#include <stdlib.h>
#include <uv.h>

#include "base/error.h"
#include "proxy/availability.h"
#include "proxy/balance/algorithms.h"
#include "snapshot/snapshot.h"

/* How long the list of leased blocks is believed. A worker that came counts a moment later; one
 * that ended has zeros. */
static const uint64_t BLOCKS_NS = 100 * 1000 * 1000;

int vf_balancers_new(struct vf_state *state, int block, uint64_t seed, struct vf_balancers **out)
{
    struct vf_balancers *balancers = calloc(1, sizeof(*balancers));
    if (balancers == NULL)
        return UV_ENOMEM;
    balancers->state = state;
    balancers->block = block;
    balancers->seed = seed;
    balancers->random.state = seed;
    *out = balancers;
    return 0;
}

void vf_balancers_free(struct vf_balancers *balancers)
{
    free(balancers);
}

static void list_blocks(struct vf_balancers *balancers, uint64_t now_ns)
{
    const struct vf_state *state = balancers->state;
    balancers->n_blocks = 0;
    for (int i = 0; i < VF_STATE_BLOCKS; i++) {
        const struct vf_state_block *block = &state->blocks[i];
        uint32_t lease = atomic_load_explicit(&block->lease, memory_order_acquire);
        if (lease == VF_BLOCK_NEVER && i > balancers->block)
            break; /* nor was any behind it; looking would cost each a page */
        if (i == balancers->block || (lease == VF_BLOCK_LEASED && block->kind == VF_PROCESS_WORKER))
            balancers->blocks[balancers->n_blocks++] = (uint32_t)i;
    }
    balancers->blocks_until_ns = now_ns + BLOCKS_NS;
}

/* Drained backends are for sticky sessions only, so they are never candidates. */
static bool is_eligible(const struct vf_backend_state *backend, bool ejected_too, uint64_t now_ns)
{
    enum vf_availability availability = vf_backend_availability(backend, now_ns);
    return availability == VF_AVAILABLE || (ejected_too && availability == VF_EJECTED);
}

static bool was_tried(const uint32_t *tried, size_t n_tried, uint32_t index)
{
    for (size_t i = 0; i < n_tried; i++)
        if (tried[i] == index)
            return true;
    return false;
}

/* Makes the list of candidates. */
static void collect(struct vf_balancers *balancers, const struct vf_snapshot *snapshot,
                    const struct vf_snap_pool *pool, const uint32_t *tried, size_t n_tried,
                    bool ejected_too, uint64_t now_ns)
{
    const struct vf_snap_backend *backends = vf_snap_section(snapshot, VF_SNAP_BACKENDS);
    uint32_t end = pool->backends.first + pool->backends.count;
    struct vf_candidate *candidate = balancers->candidates;
    balancers->total_weight = 0;
    for (uint32_t i = pool->backends.first; i < end; i++) {
        const struct vf_backend_state *state = &balancers->state->backends[backends[i].slot];
        uint32_t override = atomic_load_explicit(&state->weight, memory_order_relaxed);
        uint32_t weight = override != 0 ? override - 1 : backends[i].weight;
        if (weight == 0 || !is_eligible(state, ejected_too, now_ns) || was_tried(tried, n_tried, i))
            continue;
        *candidate++ = (struct vf_candidate){backends[i].id, i, backends[i].slot, weight, 0};
        balancers->total_weight += weight;
    }
    balancers->n_candidates = (uint32_t)(candidate - balancers->candidates);
}

static uint64_t hash_of_address(const struct vf_balance_key *key)
{
    if (key->family == VF_FAMILY_IPV4)
        return vf_hash(key->ip, 4, 4);
    return key->family == VF_FAMILY_IPV6 ? vf_hash(key->ip, 8, 6) : 0;
}

static uint64_t hash_of(const struct vf_balance_key *key)
{
    if (key == NULL)
        return 0;
    if (key->hash_key.data != NULL)
        return vf_hash(key->hash_key.data, key->hash_key.len, 0);
    return hash_of_address(key);
}

static struct vf_candidate *choose(struct vf_balancers *balancers, uint32_t algorithm,
                                   const struct vf_balance_key *key, uint64_t now_ns)
{
    switch (algorithm) {
    case VF_BALANCE_LEAST_CONN:
        return vf_balance_least_conn(balancers);
    case VF_BALANCE_RANDOM:
        return vf_balance_random(balancers);
    case VF_BALANCE_IP_HASH:
        return vf_balance_rendezvous(balancers, key != NULL ? hash_of_address(key) : 0);
    case VF_BALANCE_CONSISTENT_HASH:
        return vf_balance_bounded(balancers, hash_of(key));
    case VF_BALANCE_PEAK_EWMA:
        return vf_balance_peak_ewma(balancers, now_ns);
    default:
        return vf_balance_round_robin(balancers);
    }
}

int vf_balance_pick(struct vf_balancers *balancers, const struct vf_snapshot *snapshot,
                    uint32_t pool_index, const struct vf_balance_key *key, uint64_t now_ns,
                    const uint32_t *tried, size_t n_tried, uint32_t *backend_index)
{
    const struct vf_snap_pool *pool = vf_snap_pool(snapshot, pool_index);
    collect(balancers, snapshot, pool, tried, n_tried, false, now_ns);
    if (balancers->n_candidates == 0)
        collect(balancers, snapshot, pool, tried, n_tried, true, now_ns);
    if (balancers->n_candidates == 0)
        return VF_ENOBACKEND;
    if (now_ns >= balancers->blocks_until_ns)
        list_blocks(balancers, now_ns);
    *backend_index = choose(balancers, pool->algorithm, key, now_ns)->index;
    return 0;
}

static struct vf_balance_memory *memory_of(struct vf_balancers *balancers,
                                           const struct vf_snap_backend *backend)
{
    return vf_balance_memory_of(balancers, backend->slot, backend->id);
}

/* The latency that people see: an average over about eight answers. Workers may overwrite each
 * other's; the next answer mends it. */
static void observe_shared(struct vf_backend_state *backend, uint64_t latency_us)
{
    uint64_t old = atomic_load_explicit(&backend->latency_us, memory_order_relaxed);
    uint64_t mean = old == 0 ? latency_us : (old * 7 + latency_us + 4) / 8;
    if (mean != old)
        atomic_store_explicit(&backend->latency_us, mean, memory_order_relaxed);
}

static bool is_peak_ewma(const struct vf_snapshot *snapshot, const struct vf_snap_backend *backend)
{
    return vf_snap_pool(snapshot, backend->pool)->algorithm == VF_BALANCE_PEAK_EWMA;
}

void vf_balance_observe(struct vf_balancers *balancers, const struct vf_snapshot *snapshot,
                        uint32_t backend_index, uint64_t latency_us, uint64_t now_ns)
{
    const struct vf_snap_backend *backend = vf_snap_backend(snapshot, backend_index);
    observe_shared(&balancers->state->backends[backend->slot], latency_us);
    if (is_peak_ewma(snapshot, backend))
        vf_balance_peak_ewma_observe(memory_of(balancers, backend), latency_us, now_ns);
}

void vf_balance_failed(struct vf_balancers *balancers, const struct vf_snapshot *snapshot,
                       uint32_t backend_index, uint64_t now_ns)
{
    const struct vf_snap_backend *backend = vf_snap_backend(snapshot, backend_index);
    if (is_peak_ewma(snapshot, backend))
        vf_balance_peak_ewma_failed(memory_of(balancers, backend), now_ns);
}
