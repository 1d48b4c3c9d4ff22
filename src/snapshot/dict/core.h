/* snapshot/dict/core.h - what the parts of a dictionary share.
 *
 *   dicts.c       sets of dictionaries by name
 *   dict.c        single values: get, set, swap, delete, times to live
 *   count.c       numbers, budgets, sliding windows
 *   list.c        lists
 *   whole.c       flushing, keys, figures
 *   shard.c, chunks.c, check.c   one shard: see shard.h
 *
 * Other code includes snapshot/dict/dict.h only. */
#ifndef VF_SNAPSHOT_DICT_CORE_H
#define VF_SNAPSHOT_DICT_CORE_H

#include "base/siphash.h"
#include "snapshot/dict/dict.h"
#include "snapshot/dict/shard.h"

enum {
    VF_DICT_HEAD_BYTES = 4096,
    VF_DICT_MAX_SHARDS = 16,
    VF_DICT_SLICE = 1024 /* buckets that are swept in one critical section */
};

struct vf_dict { /* a page; shards follow */
    char name[VF_DICT_NAME_BYTES];
    uint64_t bytes, shard_bytes;
    uint32_t n_shards, reserved;
    struct vf_siphash_key key;
};

struct vf_dict_key { /* a key and where it belongs */
    struct vf_shard *shard;
    uint64_t hash;
    const char *data;
    size_t len;
};

struct vf_shard *vf_dict_shard(const struct vf_dict *dict, uint32_t index);

/* Makes a dictionary in `bytes` of zeroed memory, aligned to a page. */
void vf_dict_init(struct vf_dict *dict, const char *name, size_t bytes);

/* Finds the shard of a key and locks it. Returns VF_DICT_OK or VF_DICT_TOO_LARGE; then nothing is
 * locked. */
int vf_dict_enter(const struct vf_dict *dict, const char *key, size_t key_len,
                  struct vf_dict_key *out);

/* Returns the entry of a key that has not expired, now the one used last; or 0. */
uint32_t vf_dict_use(const struct vf_dict_key *key, uint64_t now_ns);

/* Finds the entry of a key, which is now the one used last, when it is of `type`. Returns
 * VF_DICT_OK with *out the entry, or NULL when there is none; or VF_DICT_TYPE. */
static inline int vf_dict_use_as(const struct vf_dict_key *key, uint32_t type, uint64_t now_ns,
                                 struct vf_shard_entry **out)
{
    uint32_t at = vf_dict_use(key, now_ns);
    *out = at != 0 ? vf_shard_entry_at(key->shard, at) : NULL;
    return *out == NULL || (*out)->type == type ? VF_DICT_OK : VF_DICT_TYPE;
}

/* Makes an entry for a key in a chain of chunks that was taken, and links it. */
struct vf_shard_entry *vf_dict_begin_entry(const struct vf_dict_key *key, uint32_t chain,
                                           uint32_t type, uint64_t expires_ns);

/* Returns when what lives for `ttl_ns` expires. */
uint64_t vf_dict_expiry(uint64_t ttl_ns, uint64_t now_ns);

/* Returns the longest key and value that a shard keeps. */
size_t vf_dict_max_bytes(const struct vf_shard *shard);

/* Counts a refusal. Returns VF_DICT_NO_MEMORY. */
int vf_dict_refuse(struct vf_shard *shard);

#endif
