#include "snapshot/texts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <uv.h>

#include "base/hash.h"

struct vf_text_entry {
    struct vf_snap_text text; /* offset 0: empty */
    uint32_t hash;
};

enum { FIRST_ENTRIES = 1024, FIRST_BYTES = 1 << 16 };

/* Addresses, not memory: they cost nothing until they are used. */
#define MAX_BYTES ((size_t)1 << 31)

static void destroy(struct vf_texts *texts)
{
    free(texts->entries);
    if (texts->data != NULL)
        munmap(texts->data, MAX_BYTES);
    free(texts);
}

/* Sets addresses aside, of which the first `room` bytes are memory (zeros). NULL: there is none. */
static char *set_aside(size_t room)
{
    char *data =
        mmap(NULL, MAX_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
        return NULL;
    if (mprotect(data, room, PROT_READ | PROT_WRITE) == 0)
        return data;
    munmap(data, MAX_BYTES);
    return NULL;
}

struct vf_texts *vf_texts_new(size_t first)
{
    struct vf_texts *texts = calloc(1, sizeof(*texts));
    if (texts == NULL)
        return NULL;
    *texts = (struct vf_texts){
        .size = first, .room = FIRST_BYTES, .first = first, .n_entries = FIRST_ENTRIES, .refs = 1};
    texts->data = set_aside(texts->room);
    texts->entries = calloc(texts->n_entries, sizeof(*texts->entries));
    if (texts->data != NULL && texts->entries != NULL)
        return texts;
    destroy(texts);
    return NULL;
}

struct vf_texts *vf_texts_retain(struct vf_texts *texts)
{
    texts->refs++;
    return texts;
}

void vf_texts_release(struct vf_texts **texts)
{
    struct vf_texts *held = *texts;
    *texts = NULL;
    if (held != NULL && --held->refs == 0)
        destroy(held);
}

static bool reserve(struct vf_texts *texts, size_t bytes)
{
    size_t room = texts->room;
    while (room - texts->size < bytes)
        room *= 2;
    if (room == texts->room)
        return true;
    if (mprotect(texts->data, room, PROT_READ | PROT_WRITE) != 0)
        return false;
    texts->room = room;
    return true;
}

/* Returns the entry of a known text, or the empty one where it belongs. */
static struct vf_text_entry *find(const struct vf_texts *texts, struct vf_str text, uint32_t hash)
{
    uint32_t mask = texts->n_entries - 1, at = hash & mask;
    for (; texts->entries[at].text.offset != 0; at = (at + 1) & mask) {
        struct vf_text_entry *entry = &texts->entries[at];
        if (entry->hash == hash && entry->text.len == text.len &&
            memcmp(texts->data + entry->text.offset, text.data, text.len) == 0)
            break;
    }
    return &texts->entries[at];
}

static bool grow(struct vf_texts *texts)
{
    uint32_t mask = 2 * texts->n_entries - 1;
    struct vf_text_entry *old = texts->entries, *grown = calloc((size_t)mask + 1, sizeof(*grown));
    if (grown == NULL)
        return false;
    for (uint32_t i = 0; i < texts->n_entries; i++) {
        uint32_t at = old[i].hash & mask;
        if (old[i].text.offset == 0)
            continue;
        while (grown[at].text.offset != 0)
            at = (at + 1) & mask;
        grown[at] = old[i];
    }
    free(old);
    texts->entries = grown;
    texts->n_entries = mask + 1;
    return true;
}

int vf_texts_add(struct vf_texts *texts, struct vf_str text, struct vf_snap_text *out)
{
    *out = (struct vf_snap_text){0, 0};
    if (text.len == 0)
        return 0;
    if (text.len > MAX_BYTES - texts->size)
        return UV_E2BIG;
    if (2 * texts->n_texts >= texts->n_entries && !grow(texts))
        return UV_ENOMEM;
    uint32_t hash = (uint32_t)vf_hash(text.data, text.len, 0);
    struct vf_text_entry *entry = find(texts, text, hash);
    if (entry->text.offset == 0) {
        if (!reserve(texts, text.len))
            return UV_ENOMEM;
        *entry = (struct vf_text_entry){{(uint32_t)texts->size, (uint32_t)text.len}, hash};
        memcpy(texts->data + texts->size, text.data, text.len);
        texts->size += text.len;
        texts->n_texts++;
    }
    *out = entry->text;
    return 0;
}
