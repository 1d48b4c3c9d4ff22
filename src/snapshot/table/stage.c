#include "snapshot/table/stage.h"

#include <unistd.h>
#include <uv.h>

#include "snapshot/table/set.h"
#include "snapshot/table/writer.h"

static uint64_t next_sequence(uint32_t kind)
{
    struct vf_table *table = vf_table_of(kind);
    return table == NULL ? 1 : vf_table_sequence(table) + 1;
}

struct merging {
    struct vf_tableb *whole;
    const struct vf_stage *stage;
};

static int on_kept(void *owner, struct vf_str key, struct vf_str value)
{
    struct merging *merging = owner;
    struct vf_str other;
    if (vf_tableb_get(merging->stage->builder, key, &other) ||
        vf_tableb_get(merging->stage->gone, key, &other))
        return 0;
    return vf_tableb_add(merging->whole, key.data, key.len, value.data, value.len);
}

static int on_put(void *owner, struct vf_str key, struct vf_str value)
{
    struct merging *merging = owner;
    return vf_tableb_add(merging->whole, key.data, key.len, value.data, value.len);
}

/* Fills `whole` with what the table says and the stage changes. */
static int merge(const struct vf_stage *stage, struct vf_tableb *whole)
{
    struct merging merging = {whole, stage};
    struct vf_table *table = vf_table_of(stage->kind);
    int rc = table != NULL ? vf_table_each(table, on_kept, &merging) : 0;
    return rc == 0 ? vf_tableb_each(stage->builder, on_put, &merging) : rc;
}

static int make_generation(struct vf_stage *stage)
{
    stage->way = VF_STAGE_GENERATION;
    stage->sequence = next_sequence(stage->kind);
    if (stage->gone == NULL)
        return vf_tableb_finish(stage->builder, stage->kind, stage->sequence, stage->fds);
    struct vf_tableb *whole = vf_tableb_new();
    int rc = whole != NULL ? merge(stage, whole) : UV_ENOMEM;
    if (rc == 0)
        rc = vf_tableb_finish(whole, stage->kind, stage->sequence, stage->fds);
    vf_tableb_free(whole);
    return rc;
}

int vf_stage_init(struct vf_stage *stage, uint32_t kind, const struct vf_tableb *builder,
                  const struct vf_tableb *gone)
{
    struct vf_table *table = vf_table_of(kind);
    struct vf_table_diff diff;
    *stage = (struct vf_stage){.kind = kind, .builder = builder, .gone = gone, .fds = {-1, -1}};
    if (kind >= VF_TABLES)
        return UV_EINVAL;
    stage->stamp = vf_table_stamp(kind);
    int rc = vf_table_compare(table, builder, gone, &diff);
    if (rc < 0)
        return rc;
    stage->puts = diff.puts;
    stage->deletes = diff.deletes;
    if (diff.puts + diff.deletes == 0)
        return 0;
    if (table == NULL || vf_table_is_crowded(table, diff.bytes))
        return make_generation(stage);
    stage->way = VF_STAGE_DELTA;
    return 0;
}

void vf_stage_deinit(struct vf_stage *stage)
{
    for (int i = 0; i < 2; i++) {
        if (stage->fds[i] >= 0)
            close(stage->fds[i]);
        stage->fds[i] = -1;
    }
    stage->way = VF_STAGE_NOTHING;
}

static int compare_again(struct vf_stage *stage)
{
    struct vf_stage again;
    if (stage->gone != NULL)
        return UV_EAGAIN;
    int rc = vf_stage_init(&again, stage->kind, stage->builder, NULL);
    if (rc < 0)
        return rc;
    vf_stage_deinit(stage);
    *stage = again;
    return 0;
}

/* Ours is mapped first: what follows is compared with it. */
static int hand_out(struct vf_stage *stage, vf_table_offer offer)
{
    int rc = vf_table_adopt(stage->kind, stage->fds[0], stage->fds[1]);
    if (rc == 0)
        offer(stage->kind, stage->sequence, stage->fds[0], stage->fds[1]);
    return rc;
}

int vf_stage_publish(struct vf_stage *stage, vf_table_offer offer)
{
    int rc = 0;
    if (vf_table_stamp(stage->kind) != stage->stamp && (rc = compare_again(stage)) < 0)
        return rc;
    if (stage->way == VF_STAGE_DELTA) {
        rc = vf_table_assimilate(vf_table_of(stage->kind), stage->builder, stage->gone);
        if (rc == UV_ENOSPC) /* another process has written meanwhile */
            rc = make_generation(stage);
    }
    if (rc == 0 && stage->way == VF_STAGE_GENERATION)
        rc = hand_out(stage, offer);
    if (rc == 0)
        vf_stage_deinit(stage);
    return rc;
}

/* --- One entry -------------------------------------------------------------------------------- */

int vf_table_change(uint32_t kind, struct vf_str key, const struct vf_str *value,
                    vf_table_offer offer)
{
    struct vf_tableb *puts = vf_tableb_new(), *gone = vf_tableb_new();
    struct vf_stage stage = {.fds = {-1, -1}};
    int rc = UV_ENOMEM;
    if (puts != NULL && gone != NULL)
        rc = value != NULL ? vf_tableb_add(puts, key.data, key.len, value->data, value->len)
                           : vf_tableb_add(gone, key.data, key.len, "", 0);
    if (rc == 0)
        rc = vf_stage_init(&stage, kind, puts, gone);
    if (rc == 0)
        rc = vf_stage_publish(&stage, offer);
    vf_stage_deinit(&stage);
    vf_tableb_free(puts);
    vf_tableb_free(gone);
    return rc;
}
