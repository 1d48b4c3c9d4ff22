#include "snapshot/table/builder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <uv.h>

#include "base/shm.h"

enum { FIRST_BYTES = 1 << 16, FIRST_PLACES = 1024 };

struct slot {
    uint32_t tag;   /* low bits of the key's hash */
    uint32_t place; /* of the record, counted from 1, in units of VF_TABLE_ALIGN; 0: empty */
};

/* Records as they will lie in the memfd, in the order in which they came. Replaced ones stay behind
 * unused; finish leaves them out. */
struct vf_tableb {
    struct vf_siphash_key hash_key;
    char *records;
    uint64_t size, room;
    struct slot *slots; /* open addressing, at most half used */
    uint64_t n_slots, count;
};

struct vf_tableb *vf_tableb_new(void)
{
    struct vf_tableb *builder = calloc(1, sizeof(*builder));
    if (builder == NULL)
        return NULL;
    builder->room = FIRST_BYTES;
    builder->n_slots = FIRST_PLACES;
    builder->records = malloc(builder->room);
    builder->slots = calloc(builder->n_slots, sizeof(*builder->slots));
    if (builder->records != NULL && builder->slots != NULL &&
        getrandom(&builder->hash_key, sizeof(builder->hash_key), 0) == sizeof(builder->hash_key))
        return builder;
    vf_tableb_free(builder);
    return NULL;
}

void vf_tableb_free(struct vf_tableb *builder)
{
    if (builder == NULL)
        return;
    free(builder->records);
    free(builder->slots);
    free(builder);
}

/* --- Entries ---------------------------------------------------------------------------------- */

static const struct vf_table_record *record_at(const struct vf_tableb *builder, uint32_t place)
{
    return (const void *)(builder->records + (uint64_t)(place - 1) * VF_TABLE_ALIGN);
}

static struct vf_str key_of(const struct vf_table_record *record)
{
    return vf_str_make((const char *)(record + 1), record->key_bytes);
}

static struct vf_str value_of(const struct vf_table_record *record)
{
    return vf_str_make((const char *)(record + 1) + record->key_bytes, record->value_bytes);
}

static uint64_t next_slot(uint64_t at, uint64_t n_slots)
{
    return at + 1 == n_slots ? 0 : at + 1;
}

/* Returns the slot of `key`, or the empty one where it belongs. */
static struct slot *find_slot(const struct vf_tableb *builder, struct vf_str key, uint64_t hash)
{
    uint64_t at = vf_table_bucket(hash, builder->n_slots);
    for (; builder->slots[at].place != 0; at = next_slot(at, builder->n_slots)) {
        struct slot *slot = &builder->slots[at];
        if (slot->tag == (uint32_t)hash && vf_str_eq(key_of(record_at(builder, slot->place)), key))
            break;
    }
    return &builder->slots[at];
}

static uint64_t hash_of(const struct vf_tableb *builder, struct vf_str key)
{
    return vf_siphash(&builder->hash_key, key.data, key.len);
}

/* Enters all living places of `builder` in `slots`; no two of them have the same key. */
static void spread(const struct vf_tableb *builder, struct slot *slots, uint64_t n_slots)
{
    for (uint64_t i = 0; i < builder->n_slots; i++) {
        struct slot slot = builder->slots[i];
        if (slot.place == 0)
            continue;
        uint64_t hash = hash_of(builder, key_of(record_at(builder, slot.place)));
        uint64_t at = vf_table_bucket(hash, n_slots);
        while (slots[at].place != 0)
            at = next_slot(at, n_slots);
        slots[at] = slot;
    }
}

static int grow_slots(struct vf_tableb *builder)
{
    uint64_t n_slots = 2 * builder->n_slots;
    struct slot *slots = calloc(n_slots, sizeof(*slots));
    if (slots == NULL)
        return UV_ENOMEM;
    spread(builder, slots, n_slots);
    free(builder->slots);
    builder->slots = slots;
    builder->n_slots = n_slots;
    return 0;
}

static int reserve(struct vf_tableb *builder, uint64_t bytes)
{
    uint64_t room = builder->room;
    while (room - builder->size < bytes)
        room *= 2;
    if (room == builder->room)
        return 0;
    char *records = realloc(builder->records, room);
    if (records == NULL)
        return UV_ENOMEM;
    builder->records = records;
    builder->room = room;
    return 0;
}

static void append(struct vf_tableb *builder, struct vf_str key, struct vf_str value, uint16_t tag,
                   uint64_t bytes)
{
    struct vf_table_record record = {(uint16_t)key.len, tag, (uint32_t)value.len};
    char *at = builder->records + builder->size;
    memcpy(at, &record, sizeof(record));
    memcpy(at + sizeof(record), key.data, key.len);
    memcpy(at + sizeof(record) + key.len, value.data, value.len);
    size_t used = sizeof(record) + key.len + value.len;
    memset(at + used, 0, bytes - used);
    builder->size += bytes;
}

int vf_tableb_add(struct vf_tableb *builder, const char *key, size_t key_len, const char *value,
                  size_t value_len)
{
    static const uint64_t most_bytes = (uint64_t)(UINT32_MAX / 2) * VF_TABLE_ALIGN;
    struct vf_str name = vf_str_make(key, key_len);
    if (key_len > VF_TABLE_KEY_BYTES || value_len > VF_TABLE_VALUE_BYTES ||
        builder->size > most_bytes)
        return UV_E2BIG;
    uint64_t bytes = vf_table_record_bytes(key_len, value_len);
    if (2 * builder->count >= builder->n_slots && grow_slots(builder) < 0)
        return UV_ENOMEM;
    if (reserve(builder, bytes) < 0)
        return UV_ENOMEM;
    uint64_t hash = hash_of(builder, name);
    struct slot *slot = find_slot(builder, name, hash);
    builder->count += slot->place == 0;
    *slot = (struct slot){(uint32_t)hash, (uint32_t)(builder->size / VF_TABLE_ALIGN) + 1};
    append(builder, name, vf_str_make(value, value_len), (uint16_t)hash, bytes);
    return 0;
}

int vf_tableb_get(const struct vf_tableb *builder, struct vf_str key, struct vf_str *value)
{
    const struct slot *slot = find_slot(builder, key, hash_of(builder, key));
    if (slot->place == 0)
        return 0;
    *value = value_of(record_at(builder, slot->place));
    return 1;
}

int vf_tableb_each(const struct vf_tableb *builder, vf_table_visit visit, void *owner)
{
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < builder->n_slots; i++) {
        if (builder->slots[i].place == 0)
            continue;
        const struct vf_table_record *record = record_at(builder, builder->slots[i].place);
        rc = visit(owner, key_of(record), value_of(record));
    }
    return rc;
}

uint64_t vf_tableb_count(const struct vf_tableb *builder)
{
    return builder->count;
}

/* --- Finishing -------------------------------------------------------------------------------- */

static uint64_t bytes_of(const struct vf_table_record *record)
{
    return vf_table_record_bytes(record->key_bytes, record->value_bytes);
}

static uint64_t living_bytes(const struct vf_tableb *builder)
{
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < builder->n_slots; i++)
        if (builder->slots[i].place != 0)
            bytes += bytes_of(record_at(builder, builder->slots[i].place));
    return bytes;
}

/* Both kinds of places follow the same bits of the hash, so a slot is never far behind its bucket
 * and the living records need no sorting but this: first sizes, then sums, then the records. */
static void write_records(const struct vf_tableb *builder, char *base, uint32_t *buckets,
                          uint64_t n_buckets)
{
    uint64_t first = (uint64_t)((char *)(buckets + n_buckets + 1) - base);
    first = (first + VF_TABLE_ALIGN - 1) & ~(uint64_t)(VF_TABLE_ALIGN - 1);
    for (uint64_t i = 0; i < builder->n_slots; i++) {
        if (builder->slots[i].place == 0)
            continue;
        const struct vf_table_record *record = record_at(builder, builder->slots[i].place);
        uint64_t bucket = vf_table_bucket(hash_of(builder, key_of(record)), n_buckets);
        buckets[bucket + 1] += (uint32_t)(bytes_of(record) / VF_TABLE_ALIGN);
    }
    buckets[0] = (uint32_t)(first / VF_TABLE_ALIGN);
    for (uint64_t i = 0; i < n_buckets; i++)
        buckets[i + 1] += buckets[i];
    for (uint64_t i = 0; i < builder->n_slots; i++) {
        if (builder->slots[i].place == 0)
            continue;
        const struct vf_table_record *record = record_at(builder, builder->slots[i].place);
        uint64_t bucket = vf_table_bucket(hash_of(builder, key_of(record)), n_buckets);
        memcpy(base + (uint64_t)buckets[bucket] * VF_TABLE_ALIGN, record, bytes_of(record));
        buckets[bucket] += (uint32_t)(bytes_of(record) / VF_TABLE_ALIGN);
    }
    memmove(buckets + 1, buckets, n_buckets * sizeof(*buckets)); /* ends were reached: begins */
    buckets[0] = (uint32_t)(first / VF_TABLE_ALIGN);
}

static int write_generation(const struct vf_tableb *builder, uint32_t kind, uint64_t sequence)
{
    struct vf_table_header header = {.magic = VF_TABLE_MAGIC,
                                     .layout_hash = vf_table_layout_hash(),
                                     .hash_key = builder->hash_key,
                                     .sequence = sequence,
                                     .n_entries = builder->count,
                                     .n_buckets = builder->count + 1,
                                     .buckets_offset = sizeof(header),
                                     .kind = kind};
    uint64_t bucket_bytes = (header.n_buckets + 2) * sizeof(uint32_t) & ~(uint64_t)7;
    void *map;
    header.size = sizeof(header) + bucket_bytes + living_bytes(builder);
    int fd = vf_shm_create("veloflux-table", header.size, &map);
    if (fd < 0)
        return fd;
    memcpy(map, &header, sizeof(header));
    write_records(builder, map, (uint32_t *)((struct vf_table_header *)map + 1), header.n_buckets);
    vf_shm_unmap(map, header.size);
    int rc = vf_shm_seal(fd);
    if (rc < 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

static int write_delta(const struct vf_tableb *builder, uint64_t sequence)
{
    void *map;
    int fd = vf_shm_create("veloflux-delta", VF_DELTA_BYTES, &map);
    if (fd < 0)
        return fd;
    struct vf_delta_header header = {.magic = VF_DELTA_MAGIC,
                                     .layout_hash = vf_table_layout_hash(),
                                     .size = VF_DELTA_BYTES,
                                     .hash_key = builder->hash_key,
                                     .sequence = sequence};
    memcpy(map, &header, sizeof(header));
    vf_shm_unmap(map, VF_DELTA_BYTES);
    int rc = vf_shm_fix_size(fd);
    if (rc < 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

int vf_tableb_finish(const struct vf_tableb *builder, uint32_t kind, uint64_t sequence, int fds[2])
{
    int generation = write_generation(builder, kind, sequence);
    if (generation < 0)
        return generation;
    int delta = write_delta(builder, sequence);
    if (delta < 0) {
        close(generation);
        return delta;
    }
    fds[0] = generation;
    fds[1] = delta;
    return 0;
}
