#include "snapshot/table/overlay.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { FIRST_SLOTS = 64 };

void vf_overlay_init(struct vf_overlay *overlay, const struct vf_delta_header *delta, size_t size)
{
    *overlay = (struct vf_overlay){.delta = delta, .size = size, .hash_key = delta->hash_key};
}

void vf_overlay_deinit(struct vf_overlay *overlay)
{
    free(overlay->slots);
    overlay->slots = NULL;
}

/* The lengths are read once: the memory is shared, and what was compared must be what is used. */
static bool read_record(const struct vf_overlay *overlay, uint64_t offset,
                        struct vf_overlay_record *out, uint64_t *bytes)
{
    const char *start = (const char *)overlay->delta + offset;
    const struct vf_table_record *record = (const void *)start;
    if (offset > overlay->size - sizeof(*record))
        return false;
    uint16_t key_bytes = __atomic_load_n(&record->key_bytes, __ATOMIC_RELAXED);
    uint32_t value_bytes = __atomic_load_n(&record->value_bytes, __ATOMIC_RELAXED);
    *bytes = vf_table_record_bytes(key_bytes, value_bytes);
    if (*bytes > overlay->size - offset)
        return false;
    const char *key = start + sizeof(*record);
    out->is_deleted = value_bytes == VF_TABLE_DELETED;
    out->key = vf_str_make(key, key_bytes);
    out->value = vf_str_make(key + key_bytes, out->is_deleted ? 0 : value_bytes);
    return true;
}

static bool record_of(const struct vf_overlay *overlay, const struct vf_overlay_slot *slot,
                      struct vf_overlay_record *out)
{
    uint64_t bytes;
    return slot->place != 0 &&
           read_record(overlay, (uint64_t)slot->place * VF_TABLE_ALIGN, out, &bytes);
}

/* Returns the slot of `key`, or the empty one where it belongs. */
static struct vf_overlay_slot *find_slot(const struct vf_overlay *overlay, struct vf_str key,
                                         uint64_t hash)
{
    uint32_t mask = overlay->n_slots - 1, at = (uint32_t)(hash >> 32) & mask;
    struct vf_overlay_record record;
    for (; overlay->slots[at].place != 0; at = (at + 1) & mask)
        if (overlay->slots[at].tag == (uint32_t)hash &&
            record_of(overlay, &overlay->slots[at], &record) && vf_str_eq(record.key, key))
            break;
    return &overlay->slots[at];
}

static int grow(struct vf_overlay *overlay)
{
    struct vf_overlay grown = *overlay;
    struct vf_overlay_record record;
    grown.n_slots = overlay->n_slots == 0 ? FIRST_SLOTS : 2 * overlay->n_slots;
    grown.slots = calloc(grown.n_slots, sizeof(*grown.slots));
    if (grown.slots == NULL)
        return UV_ENOMEM;
    for (uint32_t i = 0; i < overlay->n_slots; i++)
        if (record_of(overlay, &overlay->slots[i], &record)) {
            uint64_t hash = vf_siphash(&overlay->hash_key, record.key.data, record.key.len);
            *find_slot(&grown, record.key, hash) = overlay->slots[i];
        }
    free(overlay->slots);
    *overlay = grown;
    return 0;
}

static int enter(struct vf_overlay *overlay, struct vf_str key, uint64_t offset)
{
    if (2 * overlay->used >= overlay->n_slots && grow(overlay) < 0)
        return UV_ENOMEM;
    uint64_t hash = vf_siphash(&overlay->hash_key, key.data, key.len);
    struct vf_overlay_slot *slot = find_slot(overlay, key, hash);
    if (slot->place == 0)
        overlay->used++;
    *slot = (struct vf_overlay_slot){(uint32_t)hash, (uint32_t)(offset / VF_TABLE_ALIGN)};
    return 0;
}

/* Where the records of a delta end that has said `published`. */
static uint64_t end_of(uint64_t published)
{
    uint32_t used = (uint32_t)published;
    return sizeof(struct vf_delta_header) + used - used % VF_TABLE_ALIGN;
}

/* A record that does not fit ends the delta: an honest writer publishes none. */
int vf_overlay_catch_up(struct vf_overlay *overlay)
{
    struct vf_delta_header *delta = (struct vf_delta_header *)overlay->delta;
    uint64_t published = atomic_load_explicit(&delta->published, memory_order_acquire);
    uint64_t offset = end_of(overlay->seen), end = end_of(published), bytes;
    struct vf_overlay_record record;
    while (offset < end && offset < overlay->size &&
           read_record(overlay, offset, &record, &bytes)) {
        if (enter(overlay, record.key, offset) < 0)
            return UV_ENOMEM; /* what is entered twice next time does no harm */
        offset += bytes;
    }
    overlay->seen = published;
    return 0;
}

bool vf_overlay_find(const struct vf_overlay *overlay, struct vf_str key, uint64_t hash,
                     struct vf_overlay_record *out)
{
    return overlay->used > 0 && record_of(overlay, find_slot(overlay, key, hash), out);
}

bool vf_overlay_at(const struct vf_overlay *overlay, uint32_t index, struct vf_overlay_record *out)
{
    return record_of(overlay, &overlay->slots[index], out);
}
