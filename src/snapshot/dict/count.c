/* What counts in a dictionary: numbers, budgets, sliding windows. Plain sums are one
 * store of 64 bits, so a kill finds the old or the new one. */
#include "snapshot/dict/core.h"
#include "snapshot/dict/undo.h"

enum { ROUNDING_NS = 1000 }; /* added to times that were computed as fractions */

static int begin_number(const struct vf_dict_key *key, uint32_t type, uint64_t ttl_ns,
                        uint64_t now_ns, bool evicts, struct vf_shard_entry **out)
{
    struct vf_shard *shard = key->shard;
    uint32_t need = vf_shard_chunks_for(sizeof(struct vf_shard_entry), key->len), n_evicted = 0;
    vf_shard_sweep(shard, 1, 2, now_ns);
    if (!vf_shard_make_room(shard, need, 0, evicts, now_ns, &n_evicted))
        return vf_dict_refuse(shard);
    uint32_t chain = vf_shard_take(shard, need);
    *out = vf_dict_begin_entry(key, chain, type, vf_dict_expiry(ttl_ns, now_ns));
    return VF_DICT_OK;
}

/* --- Numbers --- */

static int incr(const struct vf_dict_key *key, double by, const double *init, uint64_t ttl_ns,
                uint64_t now_ns, double *out)
{
    struct vf_shard_entry *entry;
    int rc = vf_dict_use_as(key, VF_DICT_NUMBER, now_ns, &entry);
    if (rc != VF_DICT_OK)
        return rc;
    if (entry == NULL && init == NULL)
        return VF_DICT_ABSENT;
    double sum = (entry != NULL ? entry->number : *init) + by;
    if (entry == NULL)
        rc = begin_number(key, VF_DICT_NUMBER, ttl_ns, now_ns, true, &entry);
    if (rc == VF_DICT_OK)
        *out = entry->number = sum;
    return rc;
}

int vf_dict_incr(struct vf_dict *dict, const char *key, size_t key_len, double by,
                 const double *init, uint64_t init_ttl_ns, uint64_t now_ns, double *out)
{
    struct vf_dict_key place;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    rc = incr(&place, by, init, init_ttl_ns, now_ns, out);
    vf_shard_unlock(place.shard);
    return rc;
}

/* --- Budgets --- */

static int spend(const struct vf_dict_key *key, uint64_t limit, uint64_t window_ns, uint64_t n,
                 uint64_t now_ns, struct vf_dict_budget *out)
{
    struct vf_shard_entry *entry;
    int rc = vf_dict_use_as(key, VF_DICT_INTEGER, now_ns, &entry);
    if (rc != VF_DICT_OK)
        return rc;
    if (entry != NULL && entry->integer < 0)
        return VF_DICT_TYPE;
    uint64_t used = entry != NULL ? (uint64_t)entry->integer : 0;
    limit = limit < INT64_MAX ? limit : INT64_MAX;
    *out = (struct vf_dict_budget){.left = used < limit ? limit - used : 0};
    out->granted = n <= out->left;
    if (out->granted && n > 0) {
        if (entry == NULL)
            rc = begin_number(key, VF_DICT_INTEGER, window_ns, now_ns, false, &entry);
        if (rc != VF_DICT_OK)
            return rc;
        entry->integer = (int64_t)(used + n);
        out->left -= n;
    }
    if (entry != NULL && entry->expires_ns != 0)
        out->reset_ns = entry->expires_ns - now_ns;
    return VF_DICT_OK;
}

int vf_dict_spend(struct vf_dict *dict, const char *key, size_t key_len, uint64_t limit,
                  uint64_t window_ns, uint64_t n, uint64_t now_ns, struct vf_dict_budget *out)
{
    struct vf_dict_key place;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    rc = spend(&place, limit, window_ns, n, now_ns, out);
    vf_shard_unlock(place.shard);
    return rc;
}

/* --- Sliding windows --- */

/* Brings the counts up to window `index`, a running number of which 32 bits tell the last ones
 * apart: what is older has expired. Returns false when the entry is ahead: the clock of who wrote
 * it is. */
static bool turn_to(struct vf_shard *shard, struct vf_shard_entry *entry, uint32_t index)
{
    uint32_t gone = index - entry->flags;
    if (gone == 0 || gone > INT32_MAX)
        return gone == 0;
    vf_shard_put(shard, &entry->value_len, gone == 1 ? entry->value_len << 16 : 0);
    vf_shard_put(shard, &entry->window.previous, gone == 1 ? entry->window.current : 0);
    vf_shard_put(shard, &entry->window.current, 0);
    vf_shard_put(shard, &entry->flags, index);
    return true;
}

struct window { /* where in which window a call comes */
    uint64_t length_ns, elapsed_ns;
    uint32_t index;
};

/* Where the last events of this window and of the one before were, in 65535ths of a window, rounded
 * up, stands in value_len: of the window before nothing counts once its last event is out. */
enum { PARTS = 65535 };

static uint32_t part_of(const struct window *window)
{
    double part = (double)window->elapsed_ns / (double)window->length_ns * PARTS;
    uint32_t whole = (uint32_t)part;
    return whole < PARTS && (double)whole < part ? whole + 1 : whole;
}

static double ns_of(const struct window *window, uint32_t part)
{
    return (double)part / PARTS * (double)window->length_ns;
}

static int charge(const struct vf_dict_key *key, struct vf_shard_entry *entry,
                  const struct window *window, uint32_t cost, uint64_t now_ns)
{
    if (entry == NULL) {
        int rc = begin_number(key, VF_SHARD_WINDOW, 0, now_ns, false, &entry);
        if (rc != VF_DICT_OK)
            return rc;
        vf_shard_put(key->shard, &entry->flags, window->index);
    }
    uint32_t last = part_of(window), before = entry->value_len & PARTS;
    last = last > before ? last : before; /* clocks differ */
    vf_shard_put(key->shard, &entry->value_len, (entry->value_len & ~(uint32_t)PARTS) | last);
    vf_shard_put(key->shard, &entry->window.current, entry->window.current + cost);
    entry->expires_ns = vf_dict_expiry(2 * window->length_ns - window->elapsed_ns, now_ns);
    return VF_DICT_OK;
}

static double lesser(double a, double b)
{
    return a < b ? a : b;
}

/* Returns how long it takes until `cost` more are below the limit, with what this window and the
 * one before have counted, and where their last events were. */
static uint64_t wait_of(const struct window *window, uint32_t current, uint32_t previous,
                        uint32_t lasts, double limit, double cost)
{
    double room = limit - cost, length = (double)window->length_ns, wait;
    double elapsed = (double)window->elapsed_ns;
    if (room < 0)
        return UINT64_MAX;
    if (current <= room) /* in this window: the one before has to weigh less */
        wait = lesser((1 - (room - current) / previous) * length, ns_of(window, lasts >> 16)) -
               elapsed;
    else
        wait =
            length - elapsed + lesser((1 - room / current) * length, ns_of(window, lasts & PARTS));
    return wait > 0 ? (uint64_t)wait + ROUNDING_NS : ROUNDING_NS;
}

static int slide(const struct vf_dict_key *key, uint64_t limit, struct window *window,
                 uint64_t cost, uint64_t now_ns, struct vf_dict_window *out)
{
    uint32_t current = 0, previous = 0, lasts = 0;
    struct vf_shard_entry *entry;
    *out = (struct vf_dict_window){0};
    int rc = vf_dict_use_as(key, VF_SHARD_WINDOW, now_ns, &entry);
    if (rc != VF_DICT_OK)
        return rc;
    if (entry != NULL) {
        if (!turn_to(key->shard, entry, window->index))
            window->elapsed_ns = 0;
        double weight = 1 - (double)window->elapsed_ns / (double)window->length_ns;
        current = entry->window.current;
        lasts = entry->value_len;
        if ((double)window->elapsed_ns < ns_of(window, lasts >> 16))
            previous = entry->window.previous;
        out->used = current + previous * weight;
    }
    if (out->used + (double)(cost > 0 ? cost : 1) > (double)limit)
        out->retry_ns =
            wait_of(window, current, previous, lasts, (double)limit, cost > 0 ? cost : 1);
    out->reset_ns = window->length_ns - window->elapsed_ns;
    out->admitted = out->used + (double)cost <= (double)limit && cost <= UINT32_MAX - current;
    if (!out->admitted || cost == 0)
        return VF_DICT_OK;
    out->used += (double)cost;
    return charge(key, entry, window, (uint32_t)cost, now_ns);
}

int vf_dict_slide(struct vf_dict *dict, const char *key, size_t key_len, uint64_t limit,
                  uint64_t window_ns, uint64_t cost, uint64_t now_ns, struct vf_dict_window *out)
{
    struct vf_dict_key place;
    if (window_ns == 0 || window_ns > UINT64_MAX / 4)
        return VF_DICT_TOO_LARGE;
    struct window window = {window_ns, now_ns % window_ns, (uint32_t)(now_ns / window_ns)};
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    rc = slide(&place, limit, &window, cost, now_ns, out);
    vf_shard_unlock(place.shard);
    return rc;
}
