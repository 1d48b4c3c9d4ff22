/* Does a shard add up? Asked after a repair, and by specs. What is read may be any garbage:
 * every reference is looked at before it is followed, and no walk takes more steps than
 * there are chunks. */
#include "snapshot/dict/dict.h"
#include "snapshot/dict/shard.h"

#include <stdlib.h>

struct census {
    const struct vf_shard *shard;
    uint8_t *seen; /* a bit for each chunk */
    uint32_t n_seen;
};

static bool is_chunk(const struct vf_shard *shard, uint32_t chunk)
{
    return chunk >= 1 && chunk <= shard->fresh;
}

/* Counts a chunk in. False when it is none, or was counted before. */
static bool count_chunk(struct census *census, uint32_t chunk)
{
    if (!is_chunk(census->shard, chunk))
        return false;
    uint8_t bit = (uint8_t)(1u << chunk % 8), *byte = &census->seen[chunk / 8];
    if ((*byte & bit) != 0)
        return false;
    *byte |= bit;
    census->n_seen++;
    return true;
}

/* Counts a chain in, of which *n chunks are told. */
static bool count_chain(struct census *census, uint32_t chain, uint32_t *n)
{
    for (*n = 0; chain != 0; ++*n) {
        if (!count_chunk(census, chain))
            return false;
        chain = *(const uint32_t *)vf_shard_at(census->shard, chain);
    }
    return true;
}

static bool count_elements(struct census *census, uint32_t element, uint32_t *n, uint32_t *last)
{
    uint32_t n_chunks;
    *last = 0;
    for (*n = 0; element != 0; ++*n) {
        if (!count_chain(census, element, &n_chunks))
            return false;
        const struct vf_shard_element *at = vf_shard_element_at(census->shard, element);
        uint32_t len = at->type == VF_DICT_STRING ? at->len : 0;
        if (n_chunks != vf_shard_chunks_for(sizeof(*at), len))
            return false;
        *last = element;
        element = at->next;
    }
    return true;
}

static bool count_entry(struct census *census, uint32_t entry)
{
    uint32_t n_chunks, n_elements, last;
    if (!count_chain(census, entry, &n_chunks))
        return false;
    const struct vf_shard_entry *at = vf_shard_entry_at(census->shard, entry);
    size_t len = at->key_len + (at->type == VF_DICT_STRING ? (size_t)at->value_len : 0);
    if (n_chunks != vf_shard_chunks_for(sizeof(*at), len))
        return false;
    if (at->type != VF_DICT_LIST)
        return true;
    return count_elements(census, at->list.head, &n_elements, &last) &&
           n_elements == at->value_len && last == at->list.tail;
}

static bool count_buckets(struct census *census)
{
    const struct vf_shard *shard = census->shard;
    const uint32_t *buckets = (const uint32_t *)((const char *)shard + shard->buckets_at);
    uint32_t n = 0;
    for (uint32_t i = 0; i < shard->n_buckets; i++)
        for (uint32_t at = buckets[i]; at != 0; n++) {
            if (!count_entry(census, at))
                return false;
            const struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
            if ((entry->hash & (shard->n_buckets - 1)) != i)
                return false;
            at = entry->next;
        }
    return n == shard->n_entries;
}

static bool is_order_whole(const struct vf_shard *shard)
{
    uint32_t n = 0, newer = 0;
    for (uint32_t at = shard->newest; at != 0; n++) {
        if (!is_chunk(shard, at) || n == shard->n_entries ||
            vf_shard_entry_at(shard, at)->newer != newer)
            return false;
        newer = at;
        at = vf_shard_entry_at(shard, at)->older;
    }
    return n == shard->n_entries && shard->oldest == newer;
}

static bool adds_up(struct census *census)
{
    const struct vf_shard *shard = census->shard;
    uint32_t n_free, n_elements, last;
    return shard->fresh <= shard->n_chunks && count_chain(census, shard->free, &n_free) &&
           n_free == shard->n_free && count_elements(census, shard->garbage, &n_elements, &last) &&
           count_buckets(census) && is_order_whole(shard) && census->n_seen == shard->fresh;
}

bool vf_shard_check(const struct vf_shard *shard)
{
    struct census census = {shard, calloc(1, shard->n_chunks / 8 + 1), 0};
    if (census.seen == NULL)
        return true; /* nothing speaks against it */
    bool is_whole = adds_up(&census);
    free(census.seen);
    return is_whole;
}
