/* The memory of a shard: chunks, chains of them, and what is written across their borders. */
#include "snapshot/dict/undo.h"

#include <string.h>

enum {
    LINK = sizeof(uint32_t), /* the first word of each chunk of a chain */
    BODY = VF_SHARD_CHUNK - LINK
};

/* --- Places --- */

void *vf_shard_at(const struct vf_shard *shard, uint32_t chunk)
{
    return (char *)shard + shard->chunks_at + (size_t)(chunk - 1) * VF_SHARD_CHUNK;
}

struct vf_shard_entry *vf_shard_entry_at(const struct vf_shard *shard, uint32_t entry)
{
    return vf_shard_at(shard, entry);
}

struct vf_shard_element *vf_shard_element_at(const struct vf_shard *shard, uint32_t element)
{
    return vf_shard_at(shard, element);
}

static uint32_t *link_of(const struct vf_shard *shard, uint32_t chunk)
{
    return vf_shard_at(shard, chunk);
}

/* --- Chains --- */

uint32_t vf_shard_chunks_for(size_t head, size_t len)
{
    size_t first = VF_SHARD_CHUNK - head;
    return len <= first ? 1 : (uint32_t)(1 + (len - first + BODY - 1) / BODY);
}

uint32_t vf_shard_n_free(const struct vf_shard *shard)
{
    return shard->n_free + shard->n_chunks - shard->fresh;
}

/* Chains `n` chunks that were never used. Nobody has a word in them to be kept. */
static uint32_t take_fresh(struct vf_shard *shard, uint32_t n)
{
    uint32_t first = shard->fresh + 1;
    for (uint32_t i = 0; i < n; i++)
        *link_of(shard, first + i) = i + 1 < n ? first + i + 1 : 0;
    vf_shard_put(shard, &shard->fresh, shard->fresh + n);
    return first;
}

uint32_t vf_shard_take(struct vf_shard *shard, uint32_t n)
{
    uint32_t used = n < shard->n_free ? n : shard->n_free, chain = shard->free, last = chain;
    if (used == 0)
        return take_fresh(shard, n);
    for (uint32_t i = 1; i < used; i++)
        last = *link_of(shard, last);
    vf_shard_put(shard, &shard->free, *link_of(shard, last));
    vf_shard_put(shard, &shard->n_free, shard->n_free - used);
    vf_shard_put(shard, link_of(shard, last), used < n ? take_fresh(shard, n - used) : 0);
    return chain;
}

void vf_shard_give(struct vf_shard *shard, uint32_t chain)
{
    uint32_t n = 1, last = chain;
    for (uint32_t next = *link_of(shard, last); next != 0; next = *link_of(shard, last)) {
        last = next;
        n++;
    }
    vf_shard_put(shard, link_of(shard, last), shard->free);
    vf_shard_put(shard, &shard->free, chain);
    vf_shard_put(shard, &shard->n_free, shard->n_free + n);
}

/* --- Content of chains --- */

struct piece { /* where a part of the content is */
    uint32_t chunk;
    char *data;
    size_t len;
};

static struct piece first_piece(const struct vf_shard *shard, uint32_t chain, size_t head)
{
    return (struct piece){chain, (char *)vf_shard_at(shard, chain) + head, VF_SHARD_CHUNK - head};
}

static void next_piece(const struct vf_shard *shard, struct piece *piece)
{
    piece->chunk = *link_of(shard, piece->chunk);
    piece->data = (char *)vf_shard_at(shard, piece->chunk) + LINK;
    piece->len = BODY;
}

static struct piece piece_at(const struct vf_shard *shard, uint32_t chain, size_t head,
                             size_t offset)
{
    struct piece piece = first_piece(shard, chain, head);
    for (; offset > piece.len; next_piece(shard, &piece))
        offset -= piece.len;
    piece.data += offset;
    piece.len -= offset;
    return piece;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void vf_shard_write(struct vf_shard *shard, uint32_t chain, size_t head, size_t offset,
                    const char *data, size_t len)
{
    struct piece piece = piece_at(shard, chain, head, offset);
    while (len > 0) {
        size_t n = least(len, piece.len);
        memcpy(piece.data, data, n);
        data += n;
        len -= n;
        if (len > 0)
            next_piece(shard, &piece);
    }
}

void vf_shard_read(const struct vf_shard *shard, uint32_t chain, size_t head, size_t offset,
                   char *data, size_t len)
{
    struct piece piece = piece_at(shard, chain, head, offset);
    while (len > 0) {
        size_t n = least(len, piece.len);
        memcpy(data, piece.data, n);
        data += n;
        len -= n;
        if (len > 0)
            next_piece(shard, &piece);
    }
}

bool vf_shard_equal(const struct vf_shard *shard, uint32_t chain, size_t head, size_t offset,
                    const char *data, size_t len)
{
    struct piece piece = piece_at(shard, chain, head, offset);
    while (len > 0) {
        size_t n = least(len, piece.len);
        if (memcmp(piece.data, data, n) != 0)
            return false;
        data += n;
        len -= n;
        if (len > 0)
            next_piece(shard, &piece);
    }
    return true;
}
