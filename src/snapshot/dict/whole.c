/* What concerns a dictionary as a whole: one shard after the other, each for itself. */
#include <string.h>

#include "base/str.h"
#include "snapshot/dict/core.h"
#include "snapshot/dict/undo.h"

enum { FLUSH_SLICE = 256 }; /* buckets that are emptied in one critical section */

void vf_dict_flush_all(struct vf_dict *dict)
{
    for (uint32_t i = 0; i < dict->n_shards; i++) {
        struct vf_shard *shard = vf_dict_shard(dict, i);
        vf_shard_lock(shard);
        vf_shard_empty(shard);
        vf_shard_unlock(shard);
    }
}

uint32_t vf_dict_flush_expired(struct vf_dict *dict, uint32_t max, uint64_t now_ns)
{
    uint32_t n = 0, most = max != 0 ? max : UINT32_MAX;
    for (uint32_t i = 0; i < dict->n_shards; i++) {
        struct vf_shard *shard = vf_dict_shard(dict, i);
        for (uint32_t at = 0; at < shard->n_buckets && n < most; at += VF_DICT_SLICE) {
            vf_shard_lock(shard);
            n += vf_shard_sweep(shard, VF_DICT_SLICE, most - n, now_ns);
            vf_shard_unlock(shard);
        }
    }
    return n;
}

static bool has_prefix(const struct vf_shard *shard, uint32_t at, struct vf_str prefix)
{
    const struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
    return entry->key_len >= prefix.len &&
           vf_shard_equal(shard, at, sizeof(*entry), 0, prefix.data, prefix.len);
}

/* Drops what stands in a bucket under keys with the prefix. */
static uint32_t flush_bucket(struct vf_shard *shard, uint32_t bucket, struct vf_str prefix)
{
    uint32_t n = 0, at = vf_shard_first(shard, bucket);
    while (at != 0) {
        uint32_t next = vf_shard_entry_at(shard, at)->next;
        if (has_prefix(shard, at, prefix)) {
            vf_shard_drop(shard, at);
            vf_shard_commit(shard);
            n++;
        }
        at = next;
    }
    return n;
}

uint32_t vf_dict_flush_keys(struct vf_dict *dict, const char *prefix, size_t prefix_len)
{
    struct vf_str text = {prefix, prefix_len};
    uint32_t n = 0;
    for (uint32_t i = 0; i < dict->n_shards; i++) {
        struct vf_shard *shard = vf_dict_shard(dict, i);
        for (uint32_t at = 0; at < shard->n_buckets; at++) {
            if (at % FLUSH_SLICE == 0)
                vf_shard_lock(shard);
            n += flush_bucket(shard, at, text);
            if (at % FLUSH_SLICE == FLUSH_SLICE - 1 || at == shard->n_buckets - 1)
                vf_shard_unlock(shard);
        }
    }
    return n;
}

struct listing {
    struct vf_str prefix;
    char *buffer;
    size_t room, used;
    uint32_t n, most;
};

/* Returns false when there is no room for another key. */
static bool list_key(struct listing *listing, const struct vf_shard *shard, uint32_t at)
{
    const struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
    uint32_t len = entry->key_len;
    if (listing->n == listing->most || listing->room - listing->used < sizeof(len) + len)
        return false;
    char *out = listing->buffer + listing->used;
    memcpy(out, &len, sizeof(len));
    vf_shard_read(shard, at, sizeof(*entry), 0, out + sizeof(len), len);
    listing->used += sizeof(len) + len;
    listing->n++;
    return true;
}

static void list_shard(struct listing *listing, const struct vf_shard *shard, uint64_t now_ns)
{
    for (uint32_t at = shard->newest; at != 0; at = vf_shard_entry_at(shard, at)->older)
        if (!vf_shard_has_expired(vf_shard_entry_at(shard, at), now_ns) &&
            has_prefix(shard, at, listing->prefix) && !list_key(listing, shard, at))
            return;
}

uint32_t vf_dict_keys(struct vf_dict *dict, const char *prefix, size_t prefix_len, uint32_t max,
                      uint64_t now_ns, char *buffer, size_t room, size_t *used)
{
    struct listing listing = {{prefix, prefix_len},       buffer, room, 0, 0,
                              max != 0 ? max : UINT32_MAX};
    for (uint32_t i = 0; i < dict->n_shards && listing.n < listing.most; i++) {
        struct vf_shard *shard = vf_dict_shard(dict, i);
        vf_shard_lock(shard);
        list_shard(&listing, shard, now_ns);
        vf_shard_unlock(shard);
    }
    *used = listing.used;
    return listing.n;
}

void vf_dict_info(struct vf_dict *dict, struct vf_dict_info *out)
{
    *out = (struct vf_dict_info){.bytes = dict->bytes, .shards = dict->n_shards};
    memcpy(out->name, dict->name, sizeof(out->name));
    for (uint32_t i = 0; i < dict->n_shards; i++) {
        struct vf_shard *shard = vf_dict_shard(dict, i);
        vf_shard_lock(shard);
        out->capacity_bytes += (uint64_t)shard->n_chunks * VF_SHARD_CHUNK;
        out->free_bytes += (uint64_t)vf_shard_n_free(shard) * VF_SHARD_CHUNK;
        out->max_value_bytes = vf_dict_max_bytes(shard);
        out->entries += shard->n_entries;
        out->evictions += shard->evictions;
        out->expirations += shard->expirations;
        out->refusals += shard->refusals;
        out->repairs += shard->repairs;
        out->lost += shard->lost;
        out->emptied += shard->emptied;
        vf_shard_unlock(shard);
    }
}

bool vf_dict_check(struct vf_dict *dict)
{
    bool is_whole = true;
    for (uint32_t i = 0; i < dict->n_shards && is_whole; i++) {
        struct vf_shard *shard = vf_dict_shard(dict, i);
        vf_shard_lock(shard);
        is_whole = vf_shard_check(shard);
        vf_shard_unlock(shard);
    }
    return is_whole;
}
