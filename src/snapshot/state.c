#include "snapshot/state.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/shm.h"
#include "http/method.h"
#include "snapshot/cells.h"
#include "snapshot/dict/core.h"

static const uint64_t STATE_MAGIC = 0x31544154535846ULL; /* "FXSTAT1" */

uint64_t vf_state_layout_hash(void)
{
    static const uint64_t shape[] = {
        sizeof(struct vf_state),
        offsetof(struct vf_state, config_message),
        offsetof(struct vf_state, tickets),
        offsetof(struct vf_state, n_slots),
        offsetof(struct vf_state, backends),
        offsetof(struct vf_state, route_slots),
        offsetof(struct vf_state, blocks),
        VF_STATE_CELLS,
        VF_STATE_DICT_SPACE,
        sizeof(pthread_mutex_t),
        sizeof(struct vf_shard_entry),
        sizeof(struct vf_shard_element),
        sizeof(struct vf_dict),
        sizeof(struct vf_backend_state),
        offsetof(struct vf_backend_state, reason),
        offsetof(struct vf_backend_state, drain),
        sizeof(struct vf_state_slot),
        sizeof(struct vf_state_block),
        offsetof(struct vf_state_block, totals),
        offsetof(struct vf_state_block, errors),
        offsetof(struct vf_state_block, listeners),
        offsetof(struct vf_state_block, pools),
        sizeof(struct vf_state_process),
        sizeof(struct vf_state_totals),
        sizeof(struct vf_state_error),
        sizeof(struct vf_state_listener),
        sizeof(struct vf_state_backend),
        sizeof(struct vf_state_pool),
        sizeof(struct vf_state_route),
        sizeof(struct vf_state_plugin),
        offsetof(struct vf_state_block, plugins),
        sizeof(struct vf_series),
        offsetof(struct vf_state_block, series),
        offsetof(struct vf_state, cache_stamps),
    };
    return vf_hash(shape, sizeof(shape), 0);
}

/* --- The area --- */

static size_t pages(size_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

static size_t cells_at(void)
{
    return pages(sizeof(struct vf_state));
}

static size_t dicts_at(void)
{
    return cells_at() + pages(vf_cells_bytes(VF_STATE_CELLS));
}

static size_t area_bytes(void)
{
    return dicts_at() + VF_STATE_DICT_SPACE;
}

struct vf_cells *vf_state_cells(struct vf_state *state)
{
    return (struct vf_cells *)((char *)state + cells_at());
}

struct vf_dicts *vf_state_dicts(struct vf_state *state)
{
    return (struct vf_dicts *)((char *)state + dicts_at());
}

static void init_regions(struct vf_state *state)
{
    struct vf_dict *dict;
    vf_cells_init(vf_state_cells(state), VF_STATE_CELLS, vf_clock_ns());
    vf_dicts_init(vf_state_dicts(state), VF_STATE_DICT_SPACE);
    vf_dicts_open(vf_state_dicts(state), VF_STATE_DICT, VF_STATE_DICT_BYTES, &dict);
}

int vf_state_create(struct vf_state **out)
{
    void *map;
    int fd = vf_shm_create("veloflux-state", area_bytes(), &map);
    if (fd < 0)
        return fd;
    int rc = vf_shm_fix_size(fd); /* who maps it trusts that it stays */
    if (rc < 0) {
        vf_shm_unmap(map, area_bytes());
        close(fd);
        return rc;
    }
    struct vf_state *state = map;
    state->layout_hash = vf_state_layout_hash();
    state->size = area_bytes();
    state->started_wall_ms = vf_clock_wall_ms();
    state->started_ns = vf_clock_ns();
    state->config_ok = 1;
    init_regions(state);
    state->magic = STATE_MAGIC;
    *out = state;
    return fd;
}

void vf_state_unmap(struct vf_state *state)
{
    vf_shm_unmap(state, area_bytes());
}

struct vf_state *vf_state_map(int fd)
{
    size_t size;
    struct vf_state *state = vf_shm_map(fd, 1, &size);
    if (state == NULL)
        return NULL;
    if (size == area_bytes() && state->magic == STATE_MAGIC &&
        state->layout_hash == vf_state_layout_hash() && state->size == size)
        return state;
    vf_shm_unmap(state, size);
    errno = EPROTO;
    return NULL;
}

/* --- What plugins use --- */

static _Atomic uint32_t *stamp_of(struct vf_state *state, const char *key, size_t key_len)
{
    return &state->cache_stamps[vf_hash(key, key_len, 0) % VF_STATE_STAMPS];
}

const uint32_t *vf_state_stamp(struct vf_state *state, const char *key, size_t key_len)
{
    return (const uint32_t *)stamp_of(state, key, key_len);
}

void vf_state_invalidate(struct vf_state *state, const char *key, size_t key_len)
{
    atomic_fetch_add(stamp_of(state, key, key_len), 1);
}

void vf_state_invalidate_all(struct vf_state *state)
{
    for (uint32_t i = 0; i < VF_STATE_STAMPS; i++)
        atomic_fetch_add(&state->cache_stamps[i], 1);
}

struct vf_series *vf_state_series(struct vf_state *state, uint32_t block, uint32_t *is_live)
{
    if (block >= VF_STATE_BLOCKS)
        return NULL;
    struct vf_state_block *found = &state->blocks[block];
    uint32_t lease = atomic_load(&found->lease);
    if (lease == VF_BLOCK_NEVER)
        return NULL;
    if (is_live != NULL)
        *is_live = lease == VF_BLOCK_LEASED &&
                   atomic_load(&found->series.incarnation) == found->incarnation;
    return &found->series;
}

uint32_t vf_state_block_index(const struct vf_state *state, const struct vf_state_block *block)
{
    return (uint32_t)(block - state->blocks);
}

int vf_state_is_alive(const struct vf_state *state, uint32_t block, uint64_t incarnation)
{
    return block < VF_STATE_BLOCKS && atomic_load(&state->blocks[block].lease) == VF_BLOCK_LEASED &&
           state->blocks[block].incarnation == incarnation;
}

uint64_t vf_state_incarnation(const struct vf_state *state, uint32_t block)
{
    return block < VF_STATE_BLOCKS ? state->blocks[block].incarnation : 0;
}

/* --- Blocks ----------------------------------------------------------------------------------- */

/* How well a block suits a new process of `kind`: the best is the lowest, -1 not at all. */
static int unfitness(const struct vf_state_block *block, enum vf_process_kind kind)
{
    switch (atomic_load(&block->lease)) {
    case VF_BLOCK_ENDED:
        return block->kind == (uint32_t)kind ? 0 : 2;
    case VF_BLOCK_NEVER:
        return 1;
    default:
        return -1;
    }
}

static int choose_block(const struct vf_state *state, enum vf_process_kind kind)
{
    int best = -1, best_unfitness = 3;
    for (int i = 0; i < VF_STATE_BLOCKS && best_unfitness > 0; i++) {
        int found = unfitness(&state->blocks[i], kind);
        if (found >= 0 && found < best_unfitness) {
            best = i;
            best_unfitness = found;
        }
        if (found == 1) /* blocks are taken in order: none behind it was ever used */
            break;
    }
    return best;
}

int vf_state_lease(struct vf_state *state, enum vf_process_kind kind, uint32_t worker,
                   uint64_t incarnation)
{
    int index = choose_block(state, kind);
    if (index < 0)
        return -1;
    struct vf_state_block *block = &state->blocks[index];
    block->kind = (uint32_t)kind;
    block->worker = worker;
    block->generation = atomic_load(&state->generation);
    block->incarnation = incarnation;
    block->pid = 0;
    atomic_store(&block->lease, VF_BLOCK_LEASED);
    return index;
}

static void zero_process(struct vf_state_process *process)
{
    process->heartbeat_ns = 0;
    process->pinned_version = 0;
    process->running_version = 0;
    process->n_snapshots = 0;
    process->draining = 0;
    process->phase_owner = 0;
    process->connections = 0;
    process->exchanges = 0;
    process->tunnels = 0;
    process->upstream_connections = 0;
    process->buffered_bytes = 0;
    process->loop_lag_us = 0;
}

void vf_state_end_lease(struct vf_state *state, int index)
{
    struct vf_state_block *block = &state->blocks[index];
    uint32_t n_listeners = atomic_load(&state->n_slots[VF_ENTITY_LISTENER]);
    uint32_t n_backends = atomic_load(&state->n_slots[VF_ENTITY_BACKEND]);
    zero_process(&block->process);
    for (uint32_t i = 0; i < n_listeners && i < VF_STATE_LISTENERS; i++)
        block->listeners[i].connections = 0;
    for (uint32_t i = 0; i < n_backends && i < VF_STATE_BACKENDS; i++) {
        block->backends[i].in_flight = 0;
        block->backends[i].idle = 0;
        block->backends[i].open = 0;
    }
    block->pid = 0;
    atomic_store(&block->lease, VF_BLOCK_ENDED);
}

uint64_t vf_state_oldest_pinned(const struct vf_state *state, uint64_t now)
{
    uint64_t oldest = now;
    for (int i = 0; i < VF_STATE_BLOCKS; i++) {
        const struct vf_state_block *block = &state->blocks[i];
        uint32_t lease = atomic_load(&block->lease);
        if (lease == VF_BLOCK_NEVER)
            break;
        uint64_t pinned = atomic_load(&block->process.pinned_version);
        if (lease == VF_BLOCK_LEASED && pinned != 0 && pinned < oldest)
            oldest = pinned;
    }
    return oldest;
}

/* --- Backends --------------------------------------------------------------------------------- */

static bool is_down(const struct vf_backend_state *backend, uint64_t now_ns)
{
    if (atomic_load_explicit(&backend->health, memory_order_relaxed) != VF_HEALTH_DOWN)
        return false;
    uint64_t checked = atomic_load_explicit(&backend->checked_ns, memory_order_relaxed);
    uint64_t interval = atomic_load_explicit(&backend->interval_ms, memory_order_relaxed);
    return now_ns <= checked || (now_ns - checked) / 1000000 <= 3 * interval;
}

bool vf_backend_is_usable(const struct vf_backend_state *backend, uint64_t now_ns)
{
    return atomic_load_explicit(&backend->drain, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&backend->ejected_until_ns, memory_order_relaxed) <= now_ns &&
           !is_down(backend, now_ns);
}

uint32_t vf_backend_weight(const struct vf_backend_state *backend, uint32_t configured)
{
    uint32_t weight = atomic_load_explicit(&backend->weight, memory_order_relaxed);
    return weight == 0 ? configured : weight - 1;
}
