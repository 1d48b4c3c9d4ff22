/* snapshot/builder_core.h - what the builder is made of, for those who fill it: builder.c and
 * carry.c, nobody else. */
#ifndef VF_SNAPSHOT_BUILDER_CORE_H
#define VF_SNAPSHOT_BUILDER_CORE_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/layout.h"
#include "snapshot/texts.h"

struct vf_snapb_section {
    char *records;
    uint32_t count, room;
};

/* Texts have their final places from the beginning: they follow the header's. Those of secret
 * fields are kept apart, marked, and follow the others when the snapshot is laid out. */
struct vf_snapb {
    struct vf_texts *texts, *secrets;
    struct vf_snap_settings settings;
    struct vf_snapb_section sections[VF_SNAP_SECTIONS];
    const struct vf_snapb *carried_from; /* finished, or NULL: nothing was carried over */
    uint32_t *old_ranks; /* by route: in the snapshot that it was carried over from, or NONE */
    uint32_t n_old_ranks;
    uint32_t n_old_routes; /* for so many routes that is known; all others came later */
    char *data;            /* the snapshot, once it is finished */
    size_t size;
    size_t fresh_texts; /* bytes of texts when their object was new */
};

#endif
