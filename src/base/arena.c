#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

struct vf_arena_chunk {
    struct vf_arena_chunk *next;
    size_t size; /* bytes of `data` */
    _Alignas(8) char data[];
};

/* Enough for the exchanges in flight of a busy worker; what is above goes back to malloc. */
enum { KEPT_CHUNKS = 256 };

static struct vf_arena_chunk *kept;
static size_t n_kept;

static struct vf_arena_chunk *take_chunk(size_t size)
{
    struct vf_arena_chunk *chunk;
    if (size == VF_ARENA_CHUNK_BYTES && kept != NULL) {
        chunk = kept;
        kept = chunk->next;
        n_kept--;
        return chunk;
    }
    chunk = malloc(sizeof(*chunk) + size);
    if (chunk != NULL)
        chunk->size = size;
    return chunk;
}

static void give_chunk(struct vf_arena_chunk *chunk)
{
    if (chunk->size != VF_ARENA_CHUNK_BYTES || n_kept >= KEPT_CHUNKS) {
        free(chunk);
        return;
    }
    chunk->next = kept;
    kept = chunk;
    n_kept++;
}

void vf_arena_init(struct vf_arena *arena)
{
    *arena = (struct vf_arena){0};
}

extern inline void *vf_arena_alloc(struct vf_arena *arena, size_t size);

void *vf_arena_alloc_anew(struct vf_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + 7) & ~(size_t)7;
    bool large = size > VF_ARENA_CHUNK_BYTES / 4;
    struct vf_arena_chunk *chunk = take_chunk(large ? size : VF_ARENA_CHUNK_BYTES);
    if (chunk == NULL)
        return NULL;
    if (large && arena->chunks != NULL) { /* keep filling the current chunk */
        chunk->next = arena->chunks->next;
        arena->chunks->next = chunk;
        return chunk->data;
    }
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->next = chunk->data + size;
    arena->left = chunk->size - size;
    return chunk->data;
}

void *vf_arena_zalloc(struct vf_arena *arena, size_t size)
{
    void *slice = vf_arena_alloc(arena, size);
    if (slice != NULL)
        memset(slice, 0, size);
    return slice;
}

char *vf_arena_strndup(struct vf_arena *arena, const char *data, size_t len)
{
    char *copy = vf_arena_alloc(arena, len + 1);
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

void vf_arena_deinit(struct vf_arena *arena)
{
    struct vf_arena_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        struct vf_arena_chunk *next = chunk->next;
        give_chunk(chunk);
        chunk = next;
    }
    vf_arena_init(arena);
}

void vf_arena_trim(void)
{
    while (kept != NULL) {
        struct vf_arena_chunk *next = kept->next;
        free(kept);
        kept = next;
    }
    n_kept = 0;
}
