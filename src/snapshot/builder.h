/* snapshot/builder.h - writes a snapshot: records and texts are added in any order, `finish` ranks
 * the routes, makes the lookup tables and lays everything out in one block. Plain functions on
 * pointers and numbers, so that the compiler in Lua calls them through FFI on its hot path.
 * Every record begins as zeros; an index that shall refer to nothing is set to VF_SNAP_NONE.
 * The builder does not judge what it is given beyond what the layout needs: the caller validates.
 * Finish refuses what would be a broken snapshot all the same. */
#ifndef VF_SNAPSHOT_BUILDER_H
#define VF_SNAPSHOT_BUILDER_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/layout.h"

struct vf_snapb;

/* Returns an empty builder, owned by the caller, or NULL when out of memory. */
struct vf_snapb *vf_snapb_new(void);

/* The same with the texts of `base`, a finished builder: records may be carried over from there
 * (snapshot/carry.h). It does not matter which of the two is freed first. */
struct vf_snapb *vf_snapb_new_after(const struct vf_snapb *base);

/* Returns 1 when so many texts of `base` mean nothing any more that a new beginning is better, or
 * it is not finished; else 0. */
int vf_snapb_is_worn(const struct vf_snapb *base);

void vf_snapb_free(struct vf_snapb *builder);

/* Appends `count` zeroed records to `section` (one of those before VF_SNAP_HOSTS). Stores the index
 * of the first in *first. Returns a pointer to it, valid until the next add to the same section;
 * NULL when out of memory or the section is the builder's own. */
void *vf_snapb_add(struct vf_snapb *builder, uint32_t section, uint32_t count, uint32_t *first);

/* Returns the record `index` of `section`, valid as above; NULL when there is none. */
void *vf_snapb_record(struct vf_snapb *builder, uint32_t section, uint32_t index);

/* Stores a copy of `len` bytes in the snapshot, once for equal texts, and its place in *out, to be
 * put into any record or the settings. Returns 0, UV_ENOMEM, or UV_E2BIG beyond 2 GiB of texts. */
int vf_snapb_text(struct vf_snapb *builder, const char *data, size_t len, struct vf_snap_text *out);

/* The same for a field of snapshot/secret_fields.h: the text is not passed on to builders that
 * begin with the texts of this one. Its place is known when the snapshot is finished. */
int vf_snapb_secret(struct vf_snapb *builder, const char *data, size_t len,
                    struct vf_snap_text *out);

/* Returns the settings, to be filled in before finish: zeroed at first but for `chain`, which is
 * VF_SNAP_NONE, as are those of plugin_tls. */
struct vf_snap_settings *vf_snapb_settings(struct vf_snapb *builder);

/* Ranks the routes (DESIGN section 6: priority, kind of path, longer prefix, more conditions, name,
 * tenant), builds the tables and lays out the snapshot as `version`. Called once; nothing may be
 * added afterwards. Returns 0; UV_ENOMEM or another error of the system; UV_EINVAL when it would be
 * broken. The reason is in `error` (at most `error_size` bytes, NUL-terminated).
 *
 * This may be done on another thread, while the builder and what was carried over to it are left
 * alone. Other builders with the same texts may be filled meanwhile. */
int vf_snapb_finish(struct vf_snapb *builder, uint64_t version, char *error, size_t error_size);

/* After a finish that failed: 1 when that was because the snapshot would be broken; 0: it lacked
 * memory or the like. */
int vf_snapb_is_unsound(const struct vf_snapb *builder);

/* After finish: the snapshot, read-only, valid until free. */
const void *vf_snapb_data(const struct vf_snapb *builder);
size_t vf_snapb_size(const struct vf_snapb *builder);

/* After finish: returns the sealed memfd that the snapshot is in, a descriptor owned by the caller,
 * or -errno. */
int vf_snapb_memfd(const struct vf_snapb *builder);

/* After finish: frees the builder, but for what holds the snapshot: *map, of *size bytes, and *fd
 * are the caller's from here on. To unmap and close them may take long, which any thread can do. */
void vf_snapb_free_but_block(struct vf_snapb *builder, void **map, size_t *size, int *fd);

/* vf_hash of base/hash.h for callers without inline functions: stable ids of entities. */
uint64_t vf_snapb_hash(const char *data, size_t len, uint64_t seed);

#endif
