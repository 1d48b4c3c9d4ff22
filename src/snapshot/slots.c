/* The slot directory of state.h: which entity a slot belongs to, and slots whose entity is gone.
 * Control is its one writer, so what makes it quick stays in that process: a table from id to slot
 * and the queue of the dead, both made from the directory whenever they do not fit it. */
#include "snapshot/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct known { /* an entry of the table by id (open addressing) */
    uint64_t id;
    uint32_t slot_plus_1; /* 0: empty */
};

struct dead { /* stale when the slot's death is another by now */
    uint64_t death;
    uint32_t slot;
};

struct index {
    const struct vf_state *state; /* that the rest was made from */
    uint32_t n_slots;
    struct known *known;
    uint32_t entries, used; /* used: with entries whose slot got another entity */
    struct dead *queue;     /* by death; those before `head` were reused */
    size_t head, n_dead, queue_room;
};

static struct index indexes[VF_ENTITY_KINDS];

static struct vf_state_slot *slots_of(struct vf_state *state, enum vf_entity_kind kind,
                                      uint32_t *capacity)
{
    switch (kind) {
    case VF_ENTITY_POOL:
        *capacity = VF_STATE_POOLS;
        return state->pool_slots;
    case VF_ENTITY_BACKEND:
        *capacity = VF_STATE_BACKENDS;
        return state->backend_slots;
    case VF_ENTITY_ROUTE:
        *capacity = VF_STATE_ROUTES;
        return state->route_slots;
    case VF_ENTITY_TENANT:
        *capacity = VF_STATE_TENANTS;
        return state->tenant_slots;
    case VF_ENTITY_LISTENER:
        *capacity = VF_STATE_LISTENERS;
        return state->listener_slots;
    case VF_ENTITY_PLUGIN:
        *capacity = VF_STATE_PLUGINS;
        return state->plugin_slots;
    default:
        *capacity = 0;
        return NULL;
    }
}

/* --- The queue of the dead -------------------------------------------------------------------- */

static bool push_dead(struct index *index, uint32_t slot, uint64_t death)
{
    if (index->n_dead == index->queue_room) {
        size_t room = index->queue_room == 0 ? 64 : index->queue_room * 2;
        struct dead *queue = realloc(index->queue, room * sizeof(*queue));
        if (queue == NULL)
            return false; /* the slot is found again when the index is made anew */
        index->queue = queue;
        index->queue_room = room;
    }
    index->queue[index->n_dead++] = (struct dead){death, slot};
    return true;
}

/* Forgets what was taken from the front once that is most of the queue. */
static void compact_queue(struct index *index)
{
    if (index->head < 64 || index->head < index->n_dead / 2)
        return;
    index->n_dead -= index->head;
    memmove(index->queue, index->queue + index->head, index->n_dead * sizeof(*index->queue));
    index->head = 0;
}

/* Tunnels and connections outlive their snapshot, and leave the gauges that they came into: a slot
 * with a gauge that is not 0 is not given to anybody, or it would be below 0 for him. */
static bool is_in_use(const struct vf_state *state, enum vf_entity_kind kind, uint32_t slot)
{
    uint64_t in_use = 0;
    for (int i = 0; i < VF_STATE_BLOCKS && in_use == 0; i++) {
        const struct vf_state_block *block = &state->blocks[i];
        uint32_t lease = atomic_load(&block->lease);
        if (lease == VF_BLOCK_NEVER)
            break;
        if (lease == VF_BLOCK_LEASED && kind == VF_ENTITY_BACKEND)
            in_use = vf_count_get(&block->backends[slot].in_flight) |
                     vf_count_get(&block->backends[slot].open);
        else if (lease == VF_BLOCK_LEASED && kind == VF_ENTITY_LISTENER)
            in_use = vf_count_get(&block->listeners[slot].connections);
    }
    return in_use != 0;
}

/* Takes a slot whose entity no mapped snapshot knows, and that nobody uses. Those in use stay at
 * the front of the queue. Returns UINT32_MAX when there is none. */
static uint32_t take_dead(struct index *index, enum vf_entity_kind kind,
                          const struct vf_state_slot *slots, uint64_t oldest_pinned)
{
    uint32_t found = UINT32_MAX;
    for (size_t i = index->head; found == UINT32_MAX && i < index->n_dead; i++) {
        struct dead dead = index->queue[i];
        bool is_stale = slots[dead.slot].death_version != dead.death;
        if (!is_stale && dead.death > oldest_pinned)
            break;
        if (!is_stale && is_in_use(index->state, kind, dead.slot))
            continue;
        index->queue[i] = index->queue[index->head++]; /* all before it are in use */
        if (!is_stale)
            found = dead.slot;
    }
    compact_queue(index);
    return found;
}

/* --- The table by id -------------------------------------------------------------------------- */

static struct known *find_known(const struct index *index, uint64_t id)
{
    uint32_t mask = index->entries - 1, at = (uint32_t)vf_hash_mix(id) & mask;
    while (index->known[at].slot_plus_1 != 0 && index->known[at].id != id)
        at = (at + 1) & mask;
    return &index->known[at];
}

static void set_known(struct index *index, uint64_t id, uint32_t slot)
{
    struct known *known = find_known(index, id);
    index->used += known->slot_plus_1 == 0;
    *known = (struct known){id, slot + 1};
}

static int compare_deaths(const void *left, const void *right)
{
    const struct dead *a = left, *b = right;
    return (a->death > b->death) - (a->death < b->death);
}

static bool rebuild(struct index *index, const struct vf_state *state,
                    const struct vf_state_slot *slots, uint32_t n_slots)
{
    uint32_t entries = 64;
    while (entries < 4 * (n_slots + 1))
        entries *= 2;
    struct known *known = calloc(entries, sizeof(*known));
    if (known == NULL)
        return false;
    free(index->known);
    *index =
        (struct index){state, n_slots, known, entries, 0, index->queue, 0, 0, index->queue_room};
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        set_known(index, slots[slot].id, slot);
        if (slots[slot].death_version != 0 && !push_dead(index, slot, slots[slot].death_version))
            return false;
    }
    if (index->n_dead > 1)
        qsort(index->queue, index->n_dead, sizeof(*index->queue), compare_deaths);
    return true;
}

/* Returns the index of `kind` for `state`, made anew when it is another's or overfull; NULL when
 * out of memory. */
static struct index *index_of(const struct vf_state *state, enum vf_entity_kind kind,
                              const struct vf_state_slot *slots)
{
    struct index *index = &indexes[kind];
    uint32_t n_slots = atomic_load(&state->n_slots[kind]);
    bool fits = index->state == state && index->n_slots == n_slots &&
                index->used < index->entries / 2 && index->known != NULL;
    if (fits || rebuild(index, state, slots, n_slots))
        return index;
    index->state = NULL;
    return NULL;
}

/* --- Slots ------------------------------------------------------------------------------------ */

#define ZERO_SLOT(array) memset((void *)&(array)[slot], 0, sizeof((array)[slot]))

/* Makes the counters of `slot` begin again. Nobody writes to them: no snapshot names the slot. */
static void zero_counters(struct vf_state *state, enum vf_entity_kind kind, uint32_t slot)
{
    if (kind == VF_ENTITY_BACKEND)
        ZERO_SLOT(state->backends);
    for (int i = 0; i < VF_STATE_BLOCKS; i++) {
        struct vf_state_block *block = &state->blocks[i];
        if (atomic_load(&block->lease) == VF_BLOCK_NEVER)
            break;
        if (kind == VF_ENTITY_POOL)
            ZERO_SLOT(block->pools);
        else if (kind == VF_ENTITY_BACKEND)
            ZERO_SLOT(block->backends);
        else if (kind == VF_ENTITY_ROUTE)
            ZERO_SLOT(block->routes);
        else if (kind == VF_ENTITY_LISTENER)
            ZERO_SLOT(block->listeners);
        else if (kind == VF_ENTITY_PLUGIN)
            ZERO_SLOT(block->plugins);
    }
}

/* Gives `slot` to entity `id`, which is written last: then the rest is true. */
static void give_slot(struct vf_state_slot *slot, uint64_t id, uint64_t version)
{
    slot->birth_version = version;
    slot->death_version = 0;
    slot->generation = slot->generation + 1;
    slot->id = id;
}

/* Returns the slot that entity `id` has already, alive again; UINT32_MAX when there is none. */
static uint32_t find_own(const struct index *index, struct vf_state_slot *slots, uint64_t id,
                         uint64_t version)
{
    const struct known *known = find_known(index, id);
    if (known->slot_plus_1 == 0 || slots[known->slot_plus_1 - 1].id != id)
        return UINT32_MAX;
    struct vf_state_slot *own = &slots[known->slot_plus_1 - 1];
    if (own->death_version != 0) { /* it is back before anybody else took its place */
        own->birth_version = version;
        own->death_version = 0;
    }
    return known->slot_plus_1 - 1;
}

/* Counts a slot in that was never used; readers see it once its entity is known. */
static uint32_t take_new(struct vf_state *state, enum vf_entity_kind kind, struct index *index,
                         struct vf_state_slot *slots, uint64_t id, uint64_t version)
{
    uint32_t slot = index->n_slots++;
    give_slot(&slots[slot], id, version);
    atomic_store(&state->n_slots[kind], index->n_slots);
    return slot;
}

uint32_t vf_state_slot_take(struct vf_state *state, enum vf_entity_kind kind, uint64_t id,
                            uint64_t version, uint64_t oldest_pinned)
{
    uint32_t capacity;
    struct vf_state_slot *slots = slots_of(state, kind, &capacity);
    struct index *index = slots != NULL ? index_of(state, kind, slots) : NULL;
    if (index == NULL)
        return UINT32_MAX;
    uint32_t slot = find_own(index, slots, id, version);
    if (slot != UINT32_MAX)
        return slot;
    slot = take_dead(index, kind, slots, oldest_pinned);
    if (slot != UINT32_MAX) {
        slots[slot].id = 0;
        zero_counters(state, kind, slot);
        give_slot(&slots[slot], id, version);
    } else if (index->n_slots < capacity) {
        slot = take_new(state, kind, index, slots, id, version);
    }
    if (slot != UINT32_MAX)
        set_known(index, id, slot);
    return slot;
}

int vf_state_override(struct vf_state *state, uint64_t id, int drain, int64_t weight)
{
    uint32_t n_slots = atomic_load(&state->n_slots[VF_ENTITY_BACKEND]);
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        const struct vf_state_slot *owner = &state->backend_slots[slot];
        if (owner->id != id || owner->death_version != 0)
            continue;
        struct vf_backend_state *backend = &state->backends[slot];
        if (drain >= 0)
            atomic_store(&backend->drain, (uint32_t)drain);
        if (weight == VF_STATE_CONFIGURED)
            atomic_store(&backend->weight, 0);
        else if (weight >= 0)
            atomic_store(&backend->weight, (uint32_t)weight + 1);
        return 0;
    }
    return -ENOENT;
}

/* Returns a byte for each of `n_slots` slots, 1 when it is in use; NULL without memory. */
static uint8_t *mark_used(const uint32_t *slots, uint32_t count, size_t stride, uint32_t n_slots)
{
    uint8_t *used = calloc((size_t)n_slots + 1, 1);
    for (uint32_t i = 0; used != NULL && i < count; i++) {
        uint32_t slot;
        memcpy(&slot, (const char *)slots + i * stride, sizeof(slot));
        if (slot < n_slots)
            used[slot] = 1;
    }
    return used;
}

/* Without memory nothing dies now: the next publication sweeps again. */
void vf_state_slot_sweep(struct vf_state *state, enum vf_entity_kind kind, const uint32_t *in_use,
                         uint32_t count, size_t stride, uint64_t version)
{
    uint32_t capacity;
    struct vf_state_slot *slots = slots_of(state, kind, &capacity);
    struct index *index = slots != NULL ? index_of(state, kind, slots) : NULL;
    uint32_t n_slots = slots != NULL ? atomic_load(&state->n_slots[kind]) : 0;
    uint8_t *used = mark_used(in_use, count, stride, n_slots);
    for (uint32_t slot = 0; used != NULL && slot < n_slots; slot++) {
        if (slots[slot].death_version != 0 || used[slot])
            continue;
        slots[slot].death_version = version;
        if (index != NULL && !push_dead(index, slot, version))
            index->state = NULL;
    }
    free(used);
}

uint64_t vf_state_slot_id(struct vf_state *state, enum vf_entity_kind kind, uint32_t slot)
{
    uint32_t capacity;
    const struct vf_state_slot *slots = slots_of(state, kind, &capacity);
    return slot < capacity ? slots[slot].id : 0;
}
