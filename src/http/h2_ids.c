#include "http/h2_ids.h"

#include <stdbool.h>

static bool is_known(const struct vf_h2_ids *ids, uint32_t id)
{
    return (ids->last - id) / 2 < VF_H2_IDS;
}

static void set(struct vf_h2_ids *ids, uint32_t id, enum vf_h2_fate fate)
{
    uint32_t at = id / 2 % VF_H2_IDS, shift = at % 4 * 2;
    uint8_t *byte = &ids->fates[at / 4];
    *byte = (uint8_t)((*byte & ~(3U << shift)) | (uint32_t)fate << shift);
}

void vf_h2_ids_begin(struct vf_h2_ids *ids, uint32_t id)
{
    uint32_t next = ids->last == 0 ? 1 : ids->last + 2;
    ids->last = id;
    if (id - next >= 2 * VF_H2_IDS)
        next = id - 2 * (VF_H2_IDS - 1);
    for (; next < id; next += 2)
        set(ids, next, VF_H2_SKIPPED);
    set(ids, id, VF_H2_BEGUN);
}

void vf_h2_ids_end(struct vf_h2_ids *ids, uint32_t id)
{
    if (is_known(ids, id))
        set(ids, id, VF_H2_ENDED);
}

enum vf_h2_fate vf_h2_ids_get(const struct vf_h2_ids *ids, uint32_t id)
{
    uint32_t at = id / 2 % VF_H2_IDS;
    return is_known(ids, id) ? (enum vf_h2_fate)(ids->fates[at / 4] >> (at % 4 * 2) & 3)
                             : VF_H2_BEGUN;
}
