/* snapshot/secret_fields.h - the fields whose texts are not for every process: the supervisor and
 * the checker get a snapshot without them (snapshot/extract.h), the builder keeps them apart. */
#ifndef VF_SNAPSHOT_SECRET_FIELDS_H
#define VF_SNAPSHOT_SECRET_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "snapshot/layout.h"

struct vf_secret_field {
    uint32_t section; /* enum vf_snap_section */
    uint32_t offset;  /* of the struct vf_snap_text, within the record */
};

static const struct vf_secret_field vf_secret_fields[] = {
    {VF_SNAP_IDENTITIES, offsetof(struct vf_snap_identity, key)},
    {VF_SNAP_INSTANCES, offsetof(struct vf_snap_instance, config)},
    {VF_SNAP_INSTANCES, offsetof(struct vf_snap_instance, meta)},
    {VF_SNAP_PLUGIN_FILES, offsetof(struct vf_snap_plugin_file, source)},
    {VF_SNAP_FIELD_OPS, offsetof(struct vf_snap_field_op, value)},
    {VF_SNAP_CONDITIONS, offsetof(struct vf_snap_condition, value)},
};

enum { VF_SECRET_FIELDS = sizeof(vf_secret_fields) / sizeof(vf_secret_fields[0]) };

#endif
