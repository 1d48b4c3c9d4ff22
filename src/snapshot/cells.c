#include "snapshot/cells.h"

#include <assert.h>
#include <stdatomic.h>
#include <sys/random.h>

#include "base/siphash.h"

enum {
    BUCKET = 8, /* cells */
    PAGE_CELLS = 512,
    TRIES = 64, /* then so many others change the bucket at once that refusing is fair */
    DUE_BITS = 44,
    EPOCH_AGE_US = 1000 /* of a new table: no time in it is 0 */
};

static const uint64_t DUE_MASK = (1ULL << DUE_BITS) - 1;
static const uint64_t DUE_HALF = 1ULL << (DUE_BITS - 1);

typedef _Atomic uint64_t cell;

struct vf_cells {
    struct vf_siphash_key key;
    uint64_t epoch_ns; /* when time 0 of the cells was */
    uint32_t n_cells, reserved;
    _Atomic uint64_t claims, full;
    uint64_t cells_at, touched_at; /* bytes from here */
};

/* --- Words: tag << 44 | due; tag 0: nobody's --- */

static uint64_t word_of(uint64_t tag, uint64_t due_us)
{
    return tag << DUE_BITS | (due_us & DUE_MASK);
}

static uint64_t tag_of(uint64_t word)
{
    return word >> DUE_BITS;
}

/* What the owner of a cell owes: how far its due time is ahead of now, 0 when it is past. Times are
 * on a circle of 203 days, of which one half is ahead and the other past. */
static uint64_t owed_us(uint64_t word, uint64_t now_us)
{
    uint64_t ahead = (word - now_us) & DUE_MASK;
    return word == 0 || ahead >= DUE_HALF ? 0 : ahead;
}

/* --- Places --- */

static cell *cells_of(const struct vf_cells *cells)
{
    return (cell *)((char *)cells + cells->cells_at);
}

/* Which pages of cells were ever written: reading the others would cost memory. */
static _Atomic uint8_t *touched_of(const struct vf_cells *cells)
{
    return (_Atomic uint8_t *)((char *)cells + cells->touched_at);
}

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

static uint32_t pages_of(uint32_t n_cells)
{
    return (n_cells + PAGE_CELLS - 1) / PAGE_CELLS;
}

size_t vf_cells_bytes(uint32_t n_cells)
{
    return round_up(sizeof(struct vf_cells) + pages_of(n_cells), 4096) + n_cells * sizeof(cell);
}

void vf_cells_init(struct vf_cells *cells, uint32_t n_cells, uint64_t now_ns)
{
    assert(n_cells >= 64 && (n_cells & (n_cells - 1)) == 0);
    if (getrandom(&cells->key, sizeof(cells->key), 0) != sizeof(cells->key))
        cells->key.k0 = now_ns;
    cells->n_cells = n_cells;
    cells->touched_at = sizeof(*cells);
    cells->cells_at = round_up(sizeof(*cells) + pages_of(n_cells), 4096);
    uint64_t age_ns = EPOCH_AGE_US * 1000ULL;
    cells->epoch_ns = now_ns > age_ns ? now_ns - age_ns : 0;
}

static uint64_t us_of(const struct vf_cells *cells, uint64_t now_ns)
{
    return now_ns > cells->epoch_ns ? (now_ns - cells->epoch_ns) / 1000 : 0;
}

/* --- Deciding --- */

struct request {
    struct vf_cells *cells;
    cell *bucket;
    struct vf_gcra limit;
    uint64_t tag, cost, now_us;
};

struct view { /* a bucket as it was read */
    uint64_t words[BUCKET];
    int own;             /* the cell of the key, the one that owes most if there are more; or -1 */
    int free;            /* a cell that owes nothing, or -1 */
    bool has_doubles;    /* more cells have our tag */
    uint64_t soonest_us; /* until a cell is free */
};

static void look(const struct request *request, struct view *view)
{
    uint64_t most = 0;
    view->own = view->free = -1;
    view->has_doubles = false;
    view->soonest_us = UINT64_MAX;
    for (int i = 0; i < BUCKET; i++) {
        uint64_t word = view->words[i] = atomic_load(&request->bucket[i]);
        uint64_t owed = owed_us(word, request->now_us);
        if (tag_of(word) == request->tag) {
            view->has_doubles |= view->own >= 0;
            if (view->own < 0 || owed > most) {
                view->own = i;
                most = owed;
            }
        } else if (owed == 0 && view->free < 0) {
            view->free = i;
        }
        if (owed < view->soonest_us)
            view->soonest_us = owed;
    }
}

static bool replace(const struct request *request, const struct view *view, int index,
                    uint64_t word)
{
    uint64_t seen = view->words[index];
    return atomic_compare_exchange_strong(&request->bucket[index], &seen, word);
}

/* How a cell with `word` stands, in nanoseconds of the table's clock. */
static void fill(const struct request *request, uint64_t word, struct vf_cells_answer *out)
{
    uint64_t now_ns = request->now_us * 1000;
    uint64_t due_ns = now_ns + owed_us(word, request->now_us) * 1000;
    out->left = vf_gcra_left(&request->limit, now_ns, due_ns);
    out->reset_ns = due_ns - now_ns;
    out->retry_ns = vf_gcra_wait_ns(&request->limit, request->cost, now_ns, due_ns);
}

/* Drops other cells of our tag that owe nothing: claims of processes that are just as far as we
 * are, or were killed then. Returns false when one has changed meanwhile. */
static bool drop_doubles(const struct request *request, const struct view *view)
{
    for (int i = 0; i < BUCKET && view->has_doubles; i++)
        if (i != view->own && tag_of(view->words[i]) == request->tag &&
            owed_us(view->words[i], request->now_us) == 0 &&
            !replace(request, view, i, word_of(0, request->now_us)))
            return false;
    return true;
}

/* Charges the key's cell. Whoever charges a cell has seen, since that cell got its word, no other
 * cell of the tag that owes more, and has dropped those that owe nothing; so of two claims of one
 * key only one is ever charged. A dropped cell gets a word that it never had: nobody who looked
 * before takes it for what it was. Returns false when the bucket has to be looked at again. */
static bool charge(const struct request *request, const struct view *view,
                   struct vf_cells_answer *out)
{
    uint64_t word = view->words[view->own], now_ns = request->now_us * 1000;
    uint64_t due_ns = now_ns + owed_us(word, request->now_us) * 1000;
    if (!drop_doubles(request, view))
        return false;
    if (!vf_gcra_take(&request->limit, request->cost, now_ns, &due_ns)) {
        out->status = VF_CELLS_REFUSED;
    } else if (request->cost > 0) {
        word = word_of(request->tag, (due_ns + 999) / 1000);
        if (!replace(request, view, view->own, word))
            return false;
    }
    fill(request, word, out);
    if (out->status == VF_CELLS_ADMITTED)
        out->retry_ns = 0;
    return true;
}

static void claim(const struct request *request, const struct view *view)
{
    struct vf_cells *cells = request->cells;
    size_t page = (size_t)(request->bucket - cells_of(cells)) / PAGE_CELLS;
    _Atomic uint8_t *touched = &touched_of(cells)[page];
    if (atomic_load_explicit(touched, memory_order_relaxed) == 0)
        atomic_store_explicit(touched, 1, memory_order_relaxed);
    if (replace(request, view, view->free, word_of(request->tag, request->now_us)))
        atomic_fetch_add_explicit(&cells->claims, 1, memory_order_relaxed);
}

static void refuse_full(const struct request *request, uint64_t retry_us,
                        struct vf_cells_answer *out)
{
    atomic_fetch_add_explicit(&request->cells->full, 1, memory_order_relaxed);
    *out = (struct vf_cells_answer){.status = VF_CELLS_FULL, .retry_ns = retry_us * 1000};
}

/* A key without a cell owes nothing. Returns true when that is the answer. */
static bool answer_absent(const struct request *request, struct vf_cells_answer *out)
{
    fill(request, 0, out);
    if (out->retry_ns != UINT64_MAX && request->cost > 0)
        return false;
    out->status = request->cost > 0 ? VF_CELLS_REFUSED : VF_CELLS_ADMITTED;
    return true;
}

static void decide(const struct request *request, struct vf_cells_answer *out)
{
    struct view view;
    for (int i = 0; i < TRIES; i++) {
        look(request, &view);
        if (view.own >= 0) {
            if (charge(request, &view, out))
                return;
        } else if (answer_absent(request, out)) {
            return;
        } else if (view.free >= 0) {
            claim(request, &view);
        } else {
            refuse_full(request, view.soonest_us, out);
            return;
        }
    }
    refuse_full(request, 1, out);
}

int vf_cells_take(struct vf_cells *cells, const void *key, size_t key_len,
                  const struct vf_gcra *limit, uint64_t cost, uint64_t now_ns,
                  struct vf_cells_answer *out)
{
    uint64_t hash = vf_siphash(&cells->key, key, key_len), tag = hash >> DUE_BITS;
    uint32_t bucket = (uint32_t)hash & (cells->n_cells / BUCKET - 1);
    struct request request = {.cells = cells,
                              .bucket = cells_of(cells) + (size_t)bucket * BUCKET,
                              .limit = *limit,
                              .tag = tag != 0 ? tag : 1,
                              .cost = cost,
                              .now_us = us_of(cells, now_ns)};
    if (request.limit.interval_ns > VF_CELLS_MAX_NS)
        request.limit.interval_ns = VF_CELLS_MAX_NS;
    if (request.limit.slack_ns > VF_CELLS_MAX_NS - request.limit.interval_ns)
        request.limit.slack_ns = VF_CELLS_MAX_NS - request.limit.interval_ns;
    *out = (struct vf_cells_answer){.status = VF_CELLS_ADMITTED};
    decide(&request, out);
    return (int)out->status;
}

/* --- The whole table --- */

void vf_cells_sweep(struct vf_cells *cells, uint64_t now_ns)
{
    uint64_t now_us = us_of(cells, now_ns);
    for (uint32_t i = 0; i < cells->n_cells; i++) {
        if (i % PAGE_CELLS == 0 && touched_of(cells)[i / PAGE_CELLS] == 0) {
            i += PAGE_CELLS - 1;
            continue;
        }
        cell *place = &cells_of(cells)[i];
        uint64_t word = atomic_load_explicit(place, memory_order_relaxed);
        if (word != 0 && owed_us(word, now_us) == 0)
            atomic_compare_exchange_strong(place, &word, word_of(0, now_us));
    }
}

void vf_cells_info(const struct vf_cells *cells, uint64_t now_ns, struct vf_cells_info *out)
{
    uint64_t now_us = us_of(cells, now_ns);
    *out = (struct vf_cells_info){.cells = cells->n_cells,
                                  .claims = atomic_load(&cells->claims),
                                  .full = atomic_load(&cells->full)};
    for (uint32_t i = 0; i < cells->n_cells; i++) {
        if (i % PAGE_CELLS == 0 && touched_of(cells)[i / PAGE_CELLS] == 0) {
            i += PAGE_CELLS - 1;
            continue;
        }
        uint64_t word = atomic_load_explicit(&cells_of(cells)[i], memory_order_relaxed);
        out->busy += tag_of(word) != 0 && owed_us(word, now_us) > 0;
    }
}
