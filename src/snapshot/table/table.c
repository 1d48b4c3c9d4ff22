#include "snapshot/table/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/hash.h"
#include "base/shm.h"
#include "snapshot/table/core.h"

uint64_t vf_table_layout_hash(void)
{
    static const uint64_t shape[] = {
        sizeof(struct vf_table_header),
        offsetof(struct vf_table_header, hash_key),
        offsetof(struct vf_table_header, sequence),
        offsetof(struct vf_table_header, kind),
        offsetof(struct vf_table_header, buckets_offset),
        sizeof(struct vf_table_record),
        sizeof(struct vf_delta_header),
        offsetof(struct vf_delta_header, hash_key),
        offsetof(struct vf_delta_header, published),
        VF_TABLE_ALIGN,
    };
    return vf_hash(shape, sizeof(shape), 0);
}

/* --- Opening ---------------------------------------------------------------------------------- */

static bool is_generation(const struct vf_table_header *header, size_t size)
{
    return size >= sizeof(*header) && header->magic == VF_TABLE_MAGIC &&
           header->layout_hash == vf_table_layout_hash() && header->size == size &&
           header->kind < VF_TABLES && header->n_buckets > 0 &&
           header->buckets_offset >= sizeof(*header) && header->buckets_offset <= size &&
           header->buckets_offset % VF_TABLE_ALIGN == 0 &&
           header->n_buckets < (size - header->buckets_offset) / sizeof(uint32_t);
}

static bool is_delta(const struct vf_delta_header *delta, size_t size,
                     const struct vf_table_header *header)
{
    return size >= sizeof(*delta) && size <= UINT32_MAX && delta->magic == VF_DELTA_MAGIC &&
           delta->layout_hash == vf_table_layout_hash() && delta->size == size &&
           delta->sequence == header->sequence && delta->hash_key.k0 == header->hash_key.k0 &&
           delta->hash_key.k1 == header->hash_key.k1;
}

static int adopt(struct vf_table *table)
{
    if (!is_generation(table->header, table->size) ||
        !is_delta(table->delta, table->delta_size, table->header))
        return UV_EPROTO;
    table->hash_key = table->header->hash_key;
    table->n_buckets = table->header->n_buckets;
    table->buckets = (const void *)((const char *)table->header + table->header->buckets_offset);
    vf_overlay_init(&table->overlay, table->delta, table->delta_size);
    return vf_overlay_catch_up(&table->overlay);
}

/* Memory that can shrink under a reader would kill it. */
static bool cannot_shrink(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

static int map(struct vf_table *table, int generation_fd, int delta_fd)
{
    if (!cannot_shrink(generation_fd) || !cannot_shrink(delta_fd))
        return UV_EPERM;
    table->header = vf_shm_map(generation_fd, 0, &table->size);
    if (table->header == NULL)
        return -errno;
    int mode = fcntl(delta_fd, F_GETFL);
    table->is_writable = mode >= 0 && (mode & O_ACCMODE) == O_RDWR;
    table->delta = table->is_writable ? vf_shm_map(delta_fd, 1, &table->delta_size)
                                      : vf_shm_map_shared(delta_fd, &table->delta_size);
    if (table->delta == NULL)
        return -errno;
    table->lock_fd = table->is_writable ? fcntl(delta_fd, F_DUPFD_CLOEXEC, 0) : -1;
    return table->is_writable && table->lock_fd < 0 ? -errno : adopt(table);
}

int vf_table_open(int generation_fd, int delta_fd, struct vf_table **out)
{
    struct vf_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return UV_ENOMEM;
    table->is_mapped = true;
    table->lock_fd = -1;
    int rc = map(table, generation_fd, delta_fd);
    if (rc < 0) {
        vf_table_close(table);
        return rc;
    }
    *out = table;
    return 0;
}

int vf_table_open_memory(const void *generation, size_t generation_size, const void *delta,
                         size_t delta_size, struct vf_table **out)
{
    struct vf_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return UV_ENOMEM;
    table->header = generation;
    table->size = generation_size;
    table->delta = (struct vf_delta_header *)delta;
    table->delta_size = delta_size;
    table->lock_fd = -1;
    int rc = adopt(table);
    if (rc < 0) {
        vf_table_close(table);
        return rc;
    }
    *out = table;
    return 0;
}

void vf_table_close(struct vf_table *table)
{
    if (table == NULL)
        return;
    vf_overlay_deinit(&table->overlay);
    if (table->is_mapped) {
        vf_shm_unmap((void *)table->header, table->size);
        vf_shm_unmap(table->delta, table->delta_size);
    }
    if (table->lock_fd >= 0)
        close(table->lock_fd);
    free(table);
}

/* --- Looking up ------------------------------------------------------------------------------- */

enum { LINE_BYTES = 64, FETCH_BYTES = 1024 };

struct cursor { /* over the records of one bucket */
    uint64_t offset, end;
    uint16_t tag;
    struct vf_str key, value;
};

static struct cursor open_bucket(const struct vf_table *table, uint64_t bucket)
{
    uint64_t end = (uint64_t)table->buckets[bucket + 1] * VF_TABLE_ALIGN;
    return (struct cursor){.offset = (uint64_t)table->buckets[bucket] * VF_TABLE_ALIGN,
                           .end = end < table->size ? end : table->size};
}

/* The lines of a bucket come side by side, not one after the other. */
static void fetch_ahead(const struct vf_table *table, const struct cursor *cursor)
{
    const char *base = (const char *)table->header;
    uint64_t end = cursor->offset + FETCH_BYTES;
    if (end > cursor->end)
        end = cursor->end;
    for (uint64_t at = cursor->offset; at < end; at += LINE_BYTES)
        __builtin_prefetch(base + at);
}

/* Goes to the next record. Returns false at the end, and when the record would leave the bucket. */
static bool next_record(const struct vf_table *table, struct cursor *cursor)
{
    const struct vf_table_record *record;
    if (cursor->offset + sizeof(*record) > cursor->end)
        return false;
    record = (const void *)((const char *)table->header + cursor->offset);
    uint64_t bytes = vf_table_record_bytes(record->key_bytes, record->value_bytes);
    if (bytes > cursor->end - cursor->offset || record->value_bytes == VF_TABLE_DELETED)
        return false;
    cursor->offset += bytes;
    cursor->tag = record->tag;
    cursor->key = vf_str_make((const char *)(record + 1), record->key_bytes);
    cursor->value = vf_str_make(cursor->key.data + cursor->key.len, record->value_bytes);
    return true;
}

bool vf_table_find_sealed(const struct vf_table *table, struct vf_str key, uint64_t hash,
                          struct vf_str *value)
{
    struct cursor cursor = open_bucket(table, vf_table_bucket(hash, table->n_buckets));
    fetch_ahead(table, &cursor);
    while (next_record(table, &cursor))
        if (cursor.tag == (uint16_t)hash && vf_str_eq(cursor.key, key)) {
            *value = cursor.value;
            return true;
        }
    return false;
}

int vf_table_get(struct vf_table *table, struct vf_str key, struct vf_str *value)
{
    struct vf_overlay_record changed;
    if (vf_overlay_is_behind(&table->overlay) && vf_overlay_catch_up(&table->overlay) < 0)
        return UV_ENOMEM;
    uint64_t hash = vf_siphash(&table->hash_key, key.data, key.len);
    if (!vf_overlay_find(&table->overlay, key, hash, &changed))
        return vf_table_find_sealed(table, key, hash, value);
    *value = changed.value;
    return !changed.is_deleted;
}

/* --- All of them ------------------------------------------------------------------------------ */

static bool is_overlaid(const struct vf_table *table, struct vf_str key)
{
    struct vf_overlay_record changed;
    return table->overlay.used > 0 &&
           vf_overlay_find(&table->overlay, key, vf_siphash(&table->hash_key, key.data, key.len),
                           &changed);
}

static int each_sealed(struct vf_table *table, vf_table_visit visit, void *owner)
{
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < table->n_buckets; i++) {
        struct cursor cursor = open_bucket(table, i);
        while (rc == 0 && next_record(table, &cursor))
            if (!is_overlaid(table, cursor.key))
                rc = visit(owner, cursor.key, cursor.value);
    }
    return rc;
}

int vf_table_each(struct vf_table *table, vf_table_visit visit, void *owner)
{
    struct vf_overlay_record changed;
    if (vf_overlay_is_behind(&table->overlay) && vf_overlay_catch_up(&table->overlay) < 0)
        return UV_ENOMEM;
    int rc = each_sealed(table, visit, owner);
    for (uint32_t i = 0; rc == 0 && i < table->overlay.n_slots; i++)
        if (vf_overlay_at(&table->overlay, i, &changed) && !changed.is_deleted)
            rc = visit(owner, changed.key, changed.value);
    return rc;
}

/* --- Figures ---------------------------------------------------------------------------------- */

uint64_t vf_table_changes(const struct vf_table *table)
{
    return atomic_load_explicit(&table->delta->published, memory_order_acquire) >> 32;
}

uint64_t vf_table_sequence(const struct vf_table *table)
{
    return table->header->sequence + vf_table_changes(table);
}

uint32_t vf_table_kind(const struct vf_table *table)
{
    return table->header->kind;
}

int vf_table_stats(struct vf_table *table, struct vf_table_stats *out)
{
    const struct vf_overlay *overlay = &table->overlay;
    struct vf_overlay_record changed;
    struct vf_str ignored;
    if (vf_overlay_is_behind(overlay) && vf_overlay_catch_up(&table->overlay) < 0)
        return UV_ENOMEM;
    *out = (struct vf_table_stats){.sequence = vf_table_sequence(table),
                                   .entries = table->header->n_entries,
                                   .bytes = table->size,
                                   .delta_bytes = (uint32_t)overlay->seen,
                                   .delta_room = table->delta_size - sizeof(*table->delta),
                                   .delta_overlay = overlay->used};
    for (uint32_t i = 0; i < overlay->n_slots; i++) {
        if (!vf_overlay_at(overlay, i, &changed))
            continue;
        uint64_t hash = vf_siphash(&table->hash_key, changed.key.data, changed.key.len);
        out->entries -= vf_table_find_sealed(table, changed.key, hash, &ignored);
        out->entries += !changed.is_deleted;
    }
    return 0;
}
