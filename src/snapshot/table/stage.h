/* snapshot/table/stage.h - how control changes its tables: by the delta while there is room, else
 * by a new generation, which is offered to the others.
 * A stage is the difference between a table and what it shall say: made before a configuration is
 * offered, so that what can fail has not failed when it is published. */
#ifndef VF_SNAPSHOT_TABLE_STAGE_H
#define VF_SNAPSHOT_TABLE_STAGE_H

#include <stdint.h>

#include "snapshot/table/builder.h"

/* Hands a new table to the other processes. The descriptors are borrowed. */
typedef void (*vf_table_offer)(uint32_t kind, uint64_t sequence, int generation_fd, int delta_fd);

enum vf_stage_way { VF_STAGE_NOTHING = 0, VF_STAGE_DELTA, VF_STAGE_GENERATION };

struct vf_stage {
    uint32_t kind;
    uint32_t way;   /* enum vf_stage_way */
    uint64_t stamp; /* of the table when it was compared */
    uint64_t sequence;
    uint64_t puts, deletes;
    const struct vf_tableb *builder; /* borrowed */
    const struct vf_tableb *gone;    /* borrowed; NULL: `builder` is all that the table shall say */
    int fds[2];                      /* of a generation; owned; -1: none */
};

/* Fills *stage with what makes table `kind` of this process say what `builder` does; with `gone`,
 * what puts the entries of `builder` and deletes those whose keys are in `gone` and not in it,
 * while all others stay: then it costs what these do, however many there are. Both outlive the
 * stage.
 * Returns 0 or UV_E*, and then there is nothing to undo. */
int vf_stage_init(struct vf_stage *stage, uint32_t kind, const struct vf_tableb *builder,
                  const struct vf_tableb *gone);

/* Makes it so: readers see all of it from here on, or as soon as the offer has reached them. What
 * was changed since the comparison is compared again; a stage of some entries is refused then with
 * UV_EAGAIN, as nobody knows what the others say now. Returns 0, or UV_E* and nothing has
 * changed. */
int vf_stage_publish(struct vf_stage *stage, vf_table_offer offer);

/* Gives back what it holds; published or not. */
void vf_stage_deinit(struct vf_stage *stage);

/* Puts or, with `value` NULL, deletes one entry. Returns 0 or UV_E*. */
int vf_table_change(uint32_t kind, struct vf_str key, const struct vf_str *value,
                    vf_table_offer offer);

#endif
