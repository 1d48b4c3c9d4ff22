/* snapshot/texts.h - the texts of snapshots while they are built: each once, one behind the other.
 * Texts are added and never removed, so that the place of one stays what it is: a snapshot and
 * those that are made of it (snapshot/carry.h) share one counted object, and no text of what they
 * have in common is looked at again. What none of them refers to any more stays, too.
 *
 * Nor do they move in memory: all the addresses that they may ever need are set aside at first. So
 * a thread may read the texts that were there when it began (snapshot/builder.h) while others are
 * added. Everything but `data` belongs to the thread that adds. */
#ifndef VF_SNAPSHOT_TEXTS_H
#define VF_SNAPSHOT_TEXTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "snapshot/layout.h"

struct vf_text_entry;

struct vf_texts {
    char *data;  /* `first` bytes for the owner, then the texts; stays what it is */
    size_t size; /* bytes that are used */
    size_t room; /* bytes that may be used without asking the kernel for more */
    size_t first;
    struct vf_text_entry *entries; /* open addressing */
    uint32_t n_texts, n_entries;
    uint32_t refs;
};

/* Returns an empty object with one reference, or NULL when out of memory. Places begin at `first`,
 * above 0: a place of 0 is that of the empty text. */
struct vf_texts *vf_texts_new(size_t first);
struct vf_texts *vf_texts_retain(struct vf_texts *texts);
/* Gives a reference back and clears the caller's pointer; NULL is left alone. */
void vf_texts_release(struct vf_texts **texts);

/* Stores a copy of `text`, once for equal ones, and its place in *out. Returns 0, UV_ENOMEM, or
 * UV_E2BIG beyond 2 GiB of texts. */
int vf_texts_add(struct vf_texts *texts, struct vf_str text, struct vf_snap_text *out);

#endif
