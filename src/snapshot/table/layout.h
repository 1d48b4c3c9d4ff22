/* snapshot/table/layout.h - tables in memory: what is large or changes fast and is mostly read.
 * A table has two memfds:
 *
 *   generation  header | buckets | records        sealed: never changes
 *   delta       header | records, in order ...    of fixed size; one writer appends
 *
 * A lookup hashes the key (SipHash under the generation's random key). The bucket of the hash says
 * where its records begin, the next bucket where they end: one on the average, side by side. So a
 * search costs one miss of the cache in the buckets, which are small, and one in the records.
 *
 * The delta has what changed since: a later record of a key counts, one without value deletes. A
 * reader takes the records up to `published` for good; what lies behind was never said. When the
 * delta fills up the writer makes a generation with everything in it and an empty delta.
 *
 * All offsets are from the beginning of the memfd. Keys and values are any bytes. */
#ifndef VF_SNAPSHOT_TABLE_LAYOUT_H
#define VF_SNAPSHOT_TABLE_LAYOUT_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/siphash.h"

/* Which table. Numbers are never reused: processes of two binaries talk about them. */
enum vf_table_kind {
    VF_TABLE_CONSUMERS = 0,   /* "c" NUL tenant NUL name -> JSON */
    VF_TABLE_CREDENTIALS = 1, /* type NUL tenant NUL id -> JSON */
    VF_TABLES = 16            /* places; those without a name are for tables to come */
};

#define VF_TABLE_MAGIC 0x314c42544658464cULL /* of a generation */
#define VF_DELTA_MAGIC 0x314c44544658464cULL

#define VF_TABLE_DELETED UINT32_MAX /* value_bytes of a record in a delta: the key is gone */

enum {
    VF_TABLE_KEY_BYTES = 4096,
    VF_TABLE_VALUE_BYTES = 1024 * 1024,
    VF_TABLE_ALIGN = 8,               /* of records */
    VF_DELTA_BYTES = 4 * 1024 * 1024, /* header included; untouched pages cost nothing */
};

struct vf_table_header {
    uint64_t magic, layout_hash;
    uint64_t size; /* of the memfd */
    struct vf_siphash_key hash_key;
    uint64_t sequence; /* of the content: grows with every change */
    uint64_t n_entries;
    uint64_t n_buckets;
    uint64_t buckets_offset; /* uint32_t[n_buckets + 1]: places, in units of VF_TABLE_ALIGN */
    uint32_t kind;           /* enum vf_table_kind */
    uint32_t reserved;
};

struct vf_table_record {
    uint16_t key_bytes;
    uint16_t tag; /* low bits of the key's hash; in a delta 0 */
    uint32_t value_bytes;
    /* key, value, zeros up to VF_TABLE_ALIGN */
};

struct vf_delta_header {
    uint64_t magic, layout_hash;
    uint64_t size;
    struct vf_siphash_key hash_key; /* of the generation it belongs to */
    uint64_t sequence;              /* the same */
    uint64_t reserved;
    /* Low half: bytes of records; high half: number of changes, each of one or more records. Stored
     * last, with release: who sees it sees the records. */
    _Atomic uint64_t published;
};

/* Returns the bucket of a hash: by its high bits. */
static inline uint64_t vf_table_bucket(uint64_t hash, uint64_t n_buckets)
{
    return (uint64_t)(((unsigned __int128)hash * n_buckets) >> 64);
}

/* Bytes of a record with its key and value, padding included. */
static inline uint64_t vf_table_record_bytes(uint64_t key_bytes, uint64_t value_bytes)
{
    uint64_t bytes = sizeof(struct vf_table_record) + key_bytes +
                     (value_bytes == VF_TABLE_DELETED ? 0 : value_bytes);
    return (bytes + VF_TABLE_ALIGN - 1) & ~(uint64_t)(VF_TABLE_ALIGN - 1);
}

#endif
