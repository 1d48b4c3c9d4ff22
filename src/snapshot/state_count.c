/* snapshot/state_count.c - how processes count into their blocks: durations, statuses, what went
 * wrong last. */
#include "base/clock.h"
#include "base/hash.h"
#include "http/method.h"
#include "snapshot/state.h"

/* The defaults of Prometheus clients, with two more below: a proxy is mostly faster than 5 ms. */
const double vf_state_bucket_bounds[VF_STATE_BUCKETS - 1] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
};

static const uint64_t bucket_bounds_us[VF_STATE_BUCKETS - 1] = {
    1000,   2500,   5000,    10000,   25000,   50000,    100000,
    250000, 500000, 1000000, 2500000, 5000000, 10000000,
};

const double vf_state_fine_bounds[VF_STATE_FINE_BUCKETS - 1] = {
    1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 0.025, 0.1, 1,
};

static const uint64_t fine_bounds_ns[VF_STATE_FINE_BUCKETS - 1] = {
    1000,   2500,    5000,    10000,    25000,     50000,      100000,
    250000, 1000000, 5000000, 25000000, 100000000, 1000000000,
};

void vf_state_observe(struct vf_state_histogram *histogram, uint64_t us)
{
    int bucket = 0;
    while (bucket < VF_STATE_BUCKETS - 1 && us > bucket_bounds_us[bucket])
        bucket++;
    vf_count_add(&histogram->buckets[bucket], 1);
    vf_count_add(&histogram->sum_us, us);
}

static const int observed_methods[VF_STATE_METHODS - 1] = {
    VF_METHOD_GET,   VF_METHOD_HEAD,   VF_METHOD_POST,    VF_METHOD_PUT,
    VF_METHOD_PATCH, VF_METHOD_DELETE, VF_METHOD_OPTIONS,
};

uint32_t vf_state_method(uint32_t method)
{
    uint32_t place = 0;
    while (place < VF_STATE_METHODS - 1 && (uint32_t)observed_methods[place] != method)
        place++;
    return place;
}

int vf_state_method_at(uint32_t place)
{
    return place < VF_STATE_METHODS - 1 ? observed_methods[place] : -1;
}

void vf_state_observe_handler(struct vf_state_plugin_phase *phase, uint64_t ns)
{
    int bucket = 0;
    while (bucket < VF_STATE_FINE_BUCKETS - 1 && ns > fine_bounds_ns[bucket])
        bucket++;
    vf_count_add(&phase->buckets[bucket], 1);
    vf_count_add(&phase->sum_ns, ns);
}

void vf_state_count_status(struct vf_state_pool *pool, uint32_t method, uint32_t status)
{
    enum { OWN_CELLS = VF_STATE_STATUS_CELLS - 1 };
    uint32_t key = method << 16 | (status & 0xffff);
    uint32_t start = (uint32_t)(vf_hash_mix(key) % OWN_CELLS);
    for (uint32_t i = 0; i < OWN_CELLS; i++) {
        struct vf_state_status_cell *cell = &pool->statuses[(start + i) % OWN_CELLS];
        uint32_t owner = atomic_load_explicit(&cell->key, memory_order_relaxed);
        if (owner == 0)
            atomic_store_explicit(&cell->key, key, memory_order_relaxed);
        if (owner == 0 || owner == key) {
            vf_count_add(&cell->count, 1);
            return;
        }
    }
    atomic_store_explicit(&pool->statuses[OWN_CELLS].key, UINT32_MAX, memory_order_relaxed);
    vf_count_add(&pool->statuses[OWN_CELLS].count, 1);
}

/* Copies at most size - 1 bytes with a NUL behind them; control characters become '?'. */
static void copy_visible(char *out, size_t size, const char *text, size_t len)
{
    size_t n = len < size ? len : size - 1;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        out[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    out[n] = '\0';
}

void vf_state_add_error(struct vf_state_block *block, uint32_t status, const char *reason,
                        const char *path, size_t path_len, uint32_t pool_slot,
                        uint32_t backend_slot)
{
    uint64_t n = atomic_load_explicit(&block->n_errors, memory_order_relaxed);
    struct vf_state_error *error = &block->errors[n % VF_STATE_ERRORS];
    uint64_t seq = atomic_load_explicit(&error->seq, memory_order_relaxed) | 1;
    atomic_store_explicit(&error->seq, seq, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    error->wall_ms = vf_clock_wall_ms();
    error->status = status;
    error->pool_slot = pool_slot;
    error->backend_slot = backend_slot;
    copy_visible(error->reason, sizeof(error->reason), reason, strlen(reason));
    copy_visible(error->path, sizeof(error->path), path, path_len);
    atomic_store_explicit(&error->seq, seq + 1, memory_order_release);
    atomic_store_explicit(&block->n_errors, n + 1, memory_order_release);
}
