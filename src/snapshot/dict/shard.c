#include "snapshot/dict/undo.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/dict/dict.h"

enum { GARBAGE_PIECES = 8 /* list elements given back along with other work */ };

_Static_assert(sizeof(struct vf_shard_entry) == 56, "room for a key of 72 bytes in one chunk");
_Static_assert(offsetof(struct vf_shard_entry, chain) == 0 &&
                   offsetof(struct vf_shard_element, chain) == 0,
               "chains are of first words");

static uint32_t *bucket_of(const struct vf_shard *shard, uint64_t hash)
{
    return (uint32_t *)((char *)shard + shard->buckets_at) + (hash & (shard->n_buckets - 1));
}

/* --- Changes that were not finished --- */

static void undo(struct vf_shard *shard)
{
    while (shard->n_undo > 0) {
        const struct vf_shard_undo *last = &shard->undo[shard->n_undo - 1];
        ((uint32_t *)(void *)shard)[last->place] = last->old;
        vf_shard_barrier();
        shard->n_undo--;
        vf_shard_barrier();
    }
}

void vf_shard_empty(struct vf_shard *shard)
{
    shard->is_emptying = 1;
    vf_shard_barrier();
    shard->n_undo = shard->writing = 0;
    shard->fresh = shard->free = shard->n_free = 0;
    shard->newest = shard->oldest = shard->n_entries = 0;
    shard->garbage = shard->cursor = 0;
    memset(bucket_of(shard, 0), 0, shard->n_buckets * sizeof(uint32_t));
    vf_shard_barrier();
    shard->is_emptying = 0;
    vf_shard_barrier();
}

/* --- The lock --- */

static void drop_half_written(struct vf_shard *shard)
{
    uint32_t entry = shard->writing;
    if (entry == 0)
        return;
    vf_shard_drop(shard, entry);
    vf_shard_put(shard, &shard->writing, 0);
    vf_shard_commit(shard);
    shard->lost++;
}

static void repair(struct vf_shard *shard)
{
    shard->repairs++;
    if (!shard->is_emptying) {
        undo(shard);
        drop_half_written(shard);
    }
    if (shard->is_emptying || !vf_shard_check(shard)) {
        shard->emptied += !shard->is_emptying;
        vf_shard_empty(shard);
    }
}

void vf_shard_lock(struct vf_shard *shard)
{
    if (pthread_mutex_lock(&shard->lock) != EOWNERDEAD)
        return;
    repair(shard);
    pthread_mutex_consistent(&shard->lock);
}

void vf_shard_unlock(struct vf_shard *shard)
{
    vf_shard_commit(shard);
    pthread_mutex_unlock(&shard->lock);
}

/* --- Beginning --- */

static uint32_t power_of_two_from(uint32_t n)
{
    uint32_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

void vf_shard_init(struct vf_shard *shard, size_t bytes)
{
    pthread_mutexattr_t attributes;
    size_t head = (sizeof(*shard) + VF_SHARD_CHUNK - 1) / VF_SHARD_CHUNK * VF_SHARD_CHUNK;
    uint32_t most = (uint32_t)((bytes - head) / VF_SHARD_CHUNK);
    shard->n_buckets = power_of_two_from(most / 2 + 1);
    shard->buckets_at = (uint32_t)head;
    size_t chunks_at = head + shard->n_buckets * sizeof(uint32_t);
    chunks_at = (chunks_at + VF_SHARD_CHUNK - 1) / VF_SHARD_CHUNK * VF_SHARD_CHUNK;
    shard->chunks_at = (uint32_t)chunks_at;
    shard->n_chunks = (uint32_t)((bytes - chunks_at) / VF_SHARD_CHUNK);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shard->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

/* --- Entries --- */

uint32_t vf_shard_first(const struct vf_shard *shard, uint32_t index)
{
    return *bucket_of(shard, index);
}

uint32_t vf_shard_find(const struct vf_shard *shard, uint64_t hash, const char *key, size_t key_len)
{
    for (uint32_t at = *bucket_of(shard, hash); at != 0;) {
        const struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
        if (entry->hash == hash && entry->key_len == key_len &&
            vf_shard_equal(shard, at, sizeof(*entry), 0, key, key_len))
            return at;
        at = entry->next;
    }
    return 0;
}

bool vf_shard_has_expired(const struct vf_shard_entry *entry, uint64_t now_ns)
{
    return entry->expires_ns != 0 && entry->expires_ns <= now_ns;
}

static void expire(struct vf_shard *shard, uint32_t entry)
{
    vf_shard_drop(shard, entry);
    vf_shard_commit(shard);
    shard->expirations++;
}

uint32_t vf_shard_find_alive(struct vf_shard *shard, uint64_t hash, const char *key, size_t key_len,
                             uint64_t now_ns)
{
    uint32_t entry = vf_shard_find(shard, hash, key, key_len);
    if (entry == 0 || !vf_shard_has_expired(vf_shard_entry_at(shard, entry), now_ns))
        return entry;
    expire(shard, entry);
    return 0;
}

static void put_first(struct vf_shard *shard, uint32_t at)
{
    struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
    vf_shard_put(shard, &entry->newer, 0);
    vf_shard_put(shard, &entry->older, shard->newest);
    if (shard->newest != 0)
        vf_shard_put(shard, &vf_shard_entry_at(shard, shard->newest)->newer, at);
    else
        vf_shard_put(shard, &shard->oldest, at);
    vf_shard_put(shard, &shard->newest, at);
}

static void take_out_of_order(struct vf_shard *shard, const struct vf_shard_entry *entry)
{
    uint32_t newer = entry->newer, older = entry->older;
    vf_shard_put(shard, newer != 0 ? &vf_shard_entry_at(shard, newer)->older : &shard->newest,
                 older);
    vf_shard_put(shard, older != 0 ? &vf_shard_entry_at(shard, older)->newer : &shard->oldest,
                 newer);
}

void vf_shard_link(struct vf_shard *shard, uint32_t at)
{
    struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
    uint32_t *bucket = bucket_of(shard, entry->hash);
    vf_shard_put(shard, &entry->next, *bucket);
    vf_shard_put(shard, bucket, at);
    put_first(shard, at);
    vf_shard_put(shard, &shard->n_entries, shard->n_entries + 1);
}

void vf_shard_touch(struct vf_shard *shard, uint32_t at)
{
    if (shard->newest == at)
        return;
    take_out_of_order(shard, vf_shard_entry_at(shard, at));
    put_first(shard, at);
}

void vf_shard_drop(struct vf_shard *shard, uint32_t at)
{
    struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
    uint32_t *place = bucket_of(shard, entry->hash);
    while (*place != at)
        place = &vf_shard_entry_at(shard, *place)->next;
    vf_shard_put(shard, place, entry->next);
    take_out_of_order(shard, entry);
    vf_shard_put(shard, &shard->n_entries, shard->n_entries - 1);
    if (entry->type == VF_DICT_LIST && entry->list.head != 0) {
        vf_shard_put(shard, &vf_shard_element_at(shard, entry->list.tail)->next, shard->garbage);
        vf_shard_put(shard, &shard->garbage, entry->list.head);
    }
    vf_shard_give(shard, at);
}

/* --- Making room --- */

static void give_garbage(struct vf_shard *shard)
{
    uint32_t at = shard->garbage;
    vf_shard_put(shard, &shard->garbage, vf_shard_element_at(shard, at)->next);
    vf_shard_give(shard, at);
    vf_shard_commit(shard);
}

uint32_t vf_shard_sweep(struct vf_shard *shard, uint32_t n_buckets, uint32_t max, uint64_t now_ns)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < GARBAGE_PIECES && shard->garbage != 0; i++)
        give_garbage(shard);
    for (uint32_t i = 0; i < n_buckets && n < max; i++) {
        uint32_t next;
        for (uint32_t at = *bucket_of(shard, shard->cursor++); at != 0 && n < max; at = next) {
            const struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
            next = entry->next;
            if (vf_shard_has_expired(entry, now_ns)) {
                expire(shard, at);
                n++;
            }
        }
    }
    return n;
}

static bool evict(struct vf_shard *shard, uint32_t keep, uint64_t now_ns, uint32_t *n_evicted)
{
    uint32_t at = shard->oldest;
    if (at != 0 && at == keep)
        at = vf_shard_entry_at(shard, at)->newer;
    if (at == 0)
        return false;
    if (vf_shard_has_expired(vf_shard_entry_at(shard, at), now_ns)) {
        expire(shard, at);
        return true;
    }
    vf_shard_drop(shard, at);
    vf_shard_commit(shard);
    shard->evictions++;
    ++*n_evicted;
    return true;
}

bool vf_shard_make_room(struct vf_shard *shard, uint32_t n, uint32_t keep, bool evicts,
                        uint64_t now_ns, uint32_t *n_evicted)
{
    while (vf_shard_n_free(shard) < n)
        if (shard->garbage != 0)
            give_garbage(shard);
        else if (!evicts || !evict(shard, keep, now_ns, n_evicted))
            return false;
    return true;
}
