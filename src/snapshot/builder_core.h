/* snapshot/builder_core.h - what the builder is made of, for those who fill it (builder.c and
 * carry.c) and who puts it together (assembly.c); nobody else. */
#ifndef VF_SNAPSHOT_BUILDER_CORE_H
#define VF_SNAPSHOT_BUILDER_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/layout.h"
#include "snapshot/texts.h"

struct vf_snapb_section {
    char *records;
    uint32_t count, room;
};

/* Sets apart the places of secrets, until they have their own. */
#define VF_SNAPB_SECRET UINT32_C(0x80000000)

/* Texts have their final places from the beginning: they follow the header's. Those of secret
 * fields are kept apart, marked, and follow the others when the snapshot is laid out. Of texts that
 * others share and add to, the first `text_bytes` are this snapshot's. */
struct vf_snapb {
    struct vf_texts *texts, *secrets;
    size_t text_bytes;
    struct vf_snap_settings settings;
    struct vf_snapb_section sections[VF_SNAP_SECTIONS];
    const struct vf_snapb *carried_from; /* finished, or NULL: nothing was carried over */
    uint32_t *old_ranks; /* by route: in the snapshot that it was carried over from, or NONE */
    uint32_t n_old_ranks;
    uint32_t n_old_routes; /* for so many routes that is known; all others came later */
    int fd;                /* of the snapshot, once it is finished: a sealed memfd; or -1 */
    const char *data;      /* the same, mapped */
    size_t size;
    bool is_unsound;    /* finish has found a fault in it */
    size_t fresh_texts; /* bytes of texts when their object was new */
};

#endif
