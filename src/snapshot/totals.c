#include "snapshot/totals.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "http/method.h"
#include "snapshot/snapshot.h"

enum { READ_TRIES = 100 /* of a text that its writer is just changing */ };

/* Summed counters come in the same order in the state area and in totals.h, so both are added as
 * arrays of numbers. */
#define WORDS(type) (sizeof(type) / sizeof(uint64_t))
_Static_assert(sizeof(struct vf_state_totals) == sizeof(struct vf_totals_counts), "same counters");

static void add_words(uint64_t *sum, const vf_count *counts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += vf_count_get(&counts[i]);
}

/* Blocks that were ever leased; they are taken in order. */
static uint32_t used_blocks(const struct vf_state *state)
{
    uint32_t n = 0;
    while (n < VF_STATE_BLOCKS && atomic_load(&state->blocks[n].lease) != VF_BLOCK_NEVER)
        n++;
    return n;
}

static bool is_leased(const struct vf_state_block *block)
{
    return atomic_load(&block->lease) == VF_BLOCK_LEASED;
}

/* True when nobody wrote under the sequence lock `seq` since it was `before`. */
static bool was_quiet(const _Atomic uint32_t *seq, uint32_t before)
{
    atomic_thread_fence(memory_order_acquire);
    return (before & 1) == 0 && atomic_load_explicit(seq, memory_order_relaxed) == before;
}

static uint64_t ago_ms(uint64_t now_ns, uint64_t then_ns)
{
    if (then_ns == 0)
        return UINT64_MAX;
    return now_ns > then_ns ? (now_ns - then_ns) / 1000000 : 0;
}

uint32_t vf_totals_size(uint32_t which)
{
    static const uint32_t sizes[] = {
        sizeof(struct vf_totals_counts),       sizeof(struct vf_totals_node),
        sizeof(struct vf_totals_process),      sizeof(struct vf_totals_listener),
        sizeof(struct vf_totals_pool),         sizeof(struct vf_totals_status),
        sizeof(struct vf_totals_backend),      sizeof(struct vf_totals_route),
        sizeof(struct vf_totals_tenant),       sizeof(struct vf_totals_error),
        sizeof(struct vf_totals_plugin_phase), sizeof(struct vf_totals_plugin),
        sizeof(struct vf_totals_duration),
    };
    return which < sizeof(sizes) / sizeof(*sizes) ? sizes[which] : 0;
}

void vf_totals_numbers(const struct vf_snapshot *snapshot, struct vf_totals_numbers *out)
{
    out->listeners = vf_snap_count(snapshot, VF_SNAP_LISTENERS);
    out->pools = vf_snap_count(snapshot, VF_SNAP_POOLS);
    out->backends = vf_snap_count(snapshot, VF_SNAP_BACKENDS);
    out->routes = vf_snap_count(snapshot, VF_SNAP_ROUTES);
    out->tenants = vf_snap_count(snapshot, VF_SNAP_TENANTS);
    out->plugins = vf_snap_count(snapshot, VF_SNAP_PLUGINS);
}

/* Records of the three kinds begin with their id. */
static uint64_t id_at(const char *records, size_t record_bytes, uint32_t index)
{
    uint64_t id;
    memcpy(&id, records + index * record_bytes, sizeof(id));
    return id;
}

_Static_assert(offsetof(struct vf_snap_pool, id) == 0, "the id comes first");
_Static_assert(offsetof(struct vf_snap_backend, id) == 0, "the id comes first");
_Static_assert(offsetof(struct vf_snap_route, id) == 0, "the id comes first");

uint32_t vf_totals_find(const struct vf_snapshot *snapshot, uint32_t kind, uint64_t id,
                        uint32_t hint)
{
    static const enum vf_snap_section sections[] = {VF_SNAP_POOLS, VF_SNAP_BACKENDS,
                                                    VF_SNAP_ROUTES};
    assert(kind <= VF_TOTALS_ROUTES);
    const char *records = vf_snap_section(snapshot, sections[kind]);
    size_t bytes = vf_snap_record_bytes(sections[kind]);
    uint32_t count = vf_snap_count(snapshot, sections[kind]);
    if (hint < count && id_at(records, bytes, hint) == id)
        return hint;
    for (uint32_t i = 0; i < count; i++)
        if (id_at(records, bytes, i) == id)
            return i;
    return UINT32_MAX;
}

/* --- Node and processes --- */

static void add_process(struct vf_totals_node *out, const struct vf_state_block *block)
{
    const struct vf_state_process *process = &block->process;
    if (block->kind != VF_PROCESS_WORKER)
        return;
    out->connections += vf_count_get(&process->connections);
    out->exchanges += vf_count_get(&process->exchanges);
    out->tunnels += vf_count_get(&process->tunnels);
    out->upstream_connections += vf_count_get(&process->upstream_connections);
    out->buffered_bytes += vf_count_get(&process->buffered_bytes);
    if (atomic_load(&process->draining) != 0)
        return;
    out->n_workers++;
    out->n_ready += atomic_load(&process->running_version) != 0;
}

/* The three fields are written together; a torn reading is tried again. */
static void read_config(const struct vf_state *state, struct vf_totals_node *out)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before = atomic_load_explicit(&state->config_seq, memory_order_acquire);
        out->config_ok = *(const volatile uint32_t *)&state->config_ok;
        out->config_wall_ms = *(const volatile uint64_t *)&state->config_wall_ms;
        memcpy(out->config_message, state->config_message, sizeof(out->config_message));
        if (was_quiet(&state->config_seq, before))
            break;
    }
    out->config_message[sizeof(out->config_message) - 1] = '\0';
}

void vf_totals_node(const struct vf_state *state, struct vf_totals_node *out)
{
    uint64_t now_ns = vf_clock_ns();
    memset(out, 0, sizeof(*out));
    out->n_blocks = used_blocks(state);
    for (uint32_t i = 0; i < out->n_blocks; i++) {
        const struct vf_state_block *block = &state->blocks[i];
        if (block->kind != VF_PROCESS_CONTROL) /* whose connections are not traffic */
            add_words((uint64_t *)&out->counts, (const vf_count *)&block->totals,
                      WORDS(out->counts));
        if (is_leased(block))
            add_process(out, block);
    }
    out->version = atomic_load(&state->published_version);
    out->started_wall_ms = atomic_load(&state->started_wall_ms);
    out->uptime_ms = ago_ms(now_ns, atomic_load(&state->started_ns));
    out->wall_ms = vf_clock_wall_ms();
    out->generation = atomic_load(&state->generation);
    out->is_stopping = atomic_load(&state->stopping);
    for (int i = 0; i < 3; i++)
        out->restarts[i] = atomic_load(&state->restarts[i]);
    read_config(state, out);
}

bool vf_totals_process(const struct vf_state *state, uint32_t index, struct vf_totals_process *out)
{
    if (index >= VF_STATE_BLOCKS || !is_leased(&state->blocks[index]))
        return false;
    const struct vf_state_block *block = &state->blocks[index];
    const struct vf_state_process *process = &block->process;
    memset(out, 0, sizeof(*out));
    add_words((uint64_t *)&out->counts, (const vf_count *)&block->totals, WORDS(out->counts));
    out->pid = block->pid;
    out->kind = block->kind;
    out->worker = block->worker;
    out->generation = block->generation;
    out->heartbeat_age_ms = ago_ms(vf_clock_ns(), atomic_load(&process->heartbeat_ns));
    out->running_version = atomic_load(&process->running_version);
    out->n_snapshots = atomic_load(&process->n_snapshots);
    out->is_draining = atomic_load(&process->draining);
    out->connections = vf_count_get(&process->connections);
    out->exchanges = vf_count_get(&process->exchanges);
    out->tunnels = vf_count_get(&process->tunnels);
    out->upstream_connections = vf_count_get(&process->upstream_connections);
    out->buffered_bytes = vf_count_get(&process->buffered_bytes);
    out->loop_lag_us = vf_count_get(&process->loop_lag_us);
    return true;
}

/* --- Listeners --- */

void vf_totals_listener(const struct vf_state *state, const struct vf_snapshot *snapshot,
                        uint32_t index, struct vf_totals_listener *out)
{
    const struct vf_snap_listener *listener = vf_snap_listener(snapshot, index);
    uint32_t n = used_blocks(state);
    memset(out, 0, sizeof(*out));
    out->name = vf_snap_str(snapshot, listener->name);
    out->address = vf_snap_str(snapshot, listener->address_text);
    out->is_admin = listener->kind == VF_LISTENER_ADMIN;
    out->is_tls = listener->tls != VF_SNAP_NONE;
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_state_listener *counts = &state->blocks[i].listeners[listener->slot];
        add_words(&out->accepted, &counts->accepted, 15);
        if (is_leased(&state->blocks[i]))
            out->connections += vf_count_get(&counts->connections);
    }
}

/* --- Pools --- */

static void add_pool(const struct vf_state *state, uint32_t n_blocks, uint32_t slot,
                     struct vf_totals_pool *out)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct vf_state_pool *counts = &state->blocks[i].pools[slot];
        if (vf_count_get(&counts->requests) + vf_count_get(&counts->unavailable) == 0)
            continue; /* also keeps the pages of unused blocks untouched beyond the first */
        add_words(&out->requests, &counts->requests, 6);
        for (int k = 0; k < VF_STATE_METHODS; k++) {
            add_words(out->buckets, counts->latency[k].buckets, VF_STATE_BUCKETS);
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
    add_pool(state, used_blocks(state), pool->slot, out);
}

void vf_totals_pools_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                          uint32_t first, struct vf_totals_pool *out)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_POOLS), n_blocks = used_blocks(state);
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
            add_words(out[k].buckets, counts->latency[k].buckets, VF_STATE_BUCKETS);
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
    add_durations(state, used_blocks(state), vf_snap_pool(snapshot, index)->slot, out);
    return keep_seen(out);
}

uint32_t vf_totals_durations_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                                  uint32_t first, struct vf_totals_duration *out)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_POOLS), n_blocks = used_blocks(state);
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
    uint32_t slot = vf_snap_pool(snapshot, index)->slot, n = 0, n_blocks = used_blocks(state);
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

/* --- Backends --- */

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
        add_words(&out->requests, &counts->requests, COUNTERS);
        if (is_leased(&state->blocks[i]))
            add_words(&out->in_flight, &counts->in_flight, 3);
    }
}

static void read_reason(const struct vf_backend_state *shared, struct vf_totals_backend *out)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before = atomic_load_explicit(&shared->reason_seq, memory_order_acquire);
        memcpy(out->reason, shared->reason, sizeof(out->reason));
        if (was_quiet(&shared->reason_seq, before))
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
    out->checked_ago_ms = ago_ms(now_ns, atomic_load(&shared->checked_ns));
    out->changed_ago_ms = ago_ms(now_ns, atomic_load(&shared->changed_ns));
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
    read_health(shared, vf_clock_ns(), out);
    add_backend(state, used_blocks(state), backend->slot, out);
}

void vf_totals_backends_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                             uint32_t first, struct vf_totals_backend *out)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_BACKENDS), n_blocks = used_blocks(state);
    memset(out, 0, sizeof(*out));
    for (uint32_t i = first; i < n; i++)
        add_backend(state, n_blocks, vf_snap_backend(snapshot, i)->slot, out);
}

/* --- Routes and tenants --- */

static void add_route(const struct vf_state *state, uint32_t n_blocks, uint32_t slot,
                      struct vf_totals_route *out)
{
    for (uint32_t i = 0; i < n_blocks; i++)
        add_words(&out->requests, &state->blocks[i].routes[slot].requests,
                  WORDS(struct vf_state_route));
}

void vf_totals_route(const struct vf_state *state, const struct vf_snapshot *snapshot,
                     uint32_t index, struct vf_totals_route *out)
{
    const struct vf_snap_route *route = vf_snap_route(snapshot, index);
    memset(out, 0, sizeof(*out));
    out->name = vf_snap_str(snapshot, route->name);
    out->tenant = vf_snap_str(snapshot, vf_snap_tenant(snapshot, route->tenant)->name);
    add_route(state, used_blocks(state), route->slot, out);
}

void vf_totals_routes_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                           uint32_t first, struct vf_totals_route *out)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_ROUTES), n_blocks = used_blocks(state);
    memset(out, 0, sizeof(*out));
    for (uint32_t i = first; i < n; i++)
        add_route(state, n_blocks, vf_snap_route(snapshot, i)->slot, out);
}

/* No usage file (yet): zeros. */
static void add_tenant(const struct vf_usage *usage, uint64_t id, struct vf_totals_tenant *out)
{
    uint64_t counts[VF_USAGE_KINDS] = {0};
    if (usage != NULL)
        vf_usage_add(usage, id, counts);
    out->requests += counts[VF_USAGE_REQUESTS];
    out->bytes_in += counts[VF_USAGE_BYTES_IN];
    out->bytes_out += counts[VF_USAGE_BYTES_OUT];
}

void vf_totals_tenant(const struct vf_usage *usage, const struct vf_snapshot *snapshot,
                      uint32_t index, struct vf_totals_tenant *out)
{
    const struct vf_snap_tenant *tenant = vf_snap_tenant(snapshot, index);
    memset(out, 0, sizeof(*out));
    out->name = vf_snap_str(snapshot, tenant->name);
    add_tenant(usage, tenant->id, out);
}

void vf_totals_tenants_from(const struct vf_usage *usage, const struct vf_snapshot *snapshot,
                            uint32_t first, struct vf_totals_tenant *out)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_TENANTS);
    memset(out, 0, sizeof(*out));
    for (uint32_t i = first; i < n; i++)
        add_tenant(usage, vf_snap_tenant(snapshot, i)->id, out);
}

/* --- Plugins --- */

void vf_totals_plugin(const struct vf_state *state, const struct vf_snapshot *snapshot,
                      uint32_t index, struct vf_totals_plugin *out)
{
    const struct vf_snap_plugin *plugin = vf_snap_plugin(snapshot, index);
    uint32_t n_blocks = used_blocks(state);
    _Static_assert((int)VF_STATE_PHASES == (int)VF_PHASES, "the same phases");
    _Static_assert(sizeof(struct vf_state_plugin_phase) == sizeof(struct vf_totals_plugin_phase),
                   "same counters");
    memset(out, 0, sizeof(*out));
    out->name = vf_snap_str(snapshot, plugin->name);
    out->has_phases = plugin->phases;
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct vf_state_plugin *counts = &state->blocks[i].plugins[plugin->slot];
        for (int phase = 0; phase < VF_STATE_PHASES; phase++)
            add_words(&out->phases[phase].calls, &counts->phases[phase].calls,
                      WORDS(struct vf_state_plugin_phase));
        out->trips += vf_count_get(&counts->trips);
    }
}

/* --- Recent errors --- */

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
    uint32_t n_blocks = used_blocks(state);
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
