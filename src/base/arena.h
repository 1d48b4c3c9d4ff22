/* base/arena.h - memory that goes in one step: what lives as long as an exchange.
 * An arena hands out slices of chunks and frees none of them singly. Chunks of the usual size come
 * from and return to a per-process free list (a worker has one thread), so a steady load allocates
 * nothing. */
#ifndef VF_BASE_ARENA_H
#define VF_BASE_ARENA_H

#include <stddef.h>

#include "base/str.h"

enum { VF_ARENA_CHUNK_BYTES = 8192 };

struct vf_arena_chunk;

struct vf_arena {
    struct vf_arena_chunk *chunks; /* newest first; owned */
    char *next;                    /* first free byte of the newest chunk */
    size_t left;                   /* bytes free there */
};

/* Makes `*arena` empty. Allocates nothing. */
void vf_arena_init(struct vf_arena *arena);

/* As vf_arena_alloc, of an arena whose newest chunk has no room for it. */
void *vf_arena_alloc_anew(struct vf_arena *arena, size_t size);

/* Returns `size` bytes aligned to 8, valid until `vf_arena_deinit`; NULL when out of memory. */
inline void *vf_arena_alloc(struct vf_arena *arena, size_t size)
{
    size_t taken = (size + 7) & ~(size_t)7;
    if (taken < size || taken > arena->left)
        return vf_arena_alloc_anew(arena, size);
    void *slice = arena->next;
    arena->next += taken;
    arena->left -= taken;
    return slice;
}

/* As vf_arena_alloc, filled with zeros. */
void *vf_arena_zalloc(struct vf_arena *arena, size_t size);

/* Returns a copy of `len` bytes with a NUL behind them; NULL when out of memory. */
char *vf_arena_strndup(struct vf_arena *arena, const char *data, size_t len);

/* Gives everything back at once. The arena is empty and usable afterwards. */
void vf_arena_deinit(struct vf_arena *arena);

/* Frees the chunks that the free list of this process keeps (at exit, for leak checkers). */
void vf_arena_trim(void);

#endif
