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

static int make_generation(struct vf_stage *stage)
{
    stage->way = VF_STAGE_GENERATION;
    stage->sequence = next_sequence(stage->kind);
    return vf_tableb_finish(stage->builder, stage->kind, stage->sequence, stage->fds);
}

int vf_stage_init(struct vf_stage *stage, uint32_t kind, const struct vf_tableb *builder)
{
    struct vf_table *table = vf_table_of(kind);
    struct vf_table_diff diff;
    *stage = (struct vf_stage){.kind = kind, .builder = builder, .fds = {-1, -1}};
    if (kind >= VF_TABLES)
        return UV_EINVAL;
    stage->stamp = vf_table_stamp(kind);
    int rc = vf_table_compare(table, builder, &diff);
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
    int rc = vf_stage_init(&again, stage->kind, stage->builder);
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
        rc = vf_table_assimilate(vf_table_of(stage->kind), stage->builder);
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

static int append(struct vf_table *table, struct vf_str key, const struct vf_str *value)
{
    struct vf_change change;
    int rc = vf_change_begin(&change, table);
    if (rc < 0)
        return rc;
    rc = value != NULL ? vf_change_put(&change, key, *value) : vf_change_delete(&change, key);
    if (rc < 0)
        vf_change_abort(&change);
    else
        vf_change_publish(&change);
    return rc;
}

struct copying {
    struct vf_tableb *builder;
    struct vf_str left_out;
};

static int on_entry(void *owner, struct vf_str key, struct vf_str value)
{
    struct copying *copying = owner;
    if (vf_str_eq(key, copying->left_out))
        return 0;
    return vf_tableb_add(copying->builder, key.data, key.len, value.data, value.len);
}

/* A generation with all that there is, but for `key`, which gets `value`. */
static int renew(uint32_t kind, struct vf_str key, const struct vf_str *value, vf_table_offer offer)
{
    struct copying copying = {vf_tableb_new(), key};
    struct vf_table *table = vf_table_of(kind);
    struct vf_stage stage = {.kind = kind, .builder = copying.builder, .fds = {-1, -1}};
    if (copying.builder == NULL)
        return UV_ENOMEM;
    int rc = table != NULL ? vf_table_each(table, on_entry, &copying) : 0;
    if (rc == 0 && value != NULL)
        rc = vf_tableb_add(copying.builder, key.data, key.len, value->data, value->len);
    if (rc == 0)
        rc = make_generation(&stage);
    if (rc == 0)
        rc = hand_out(&stage, offer);
    vf_stage_deinit(&stage);
    vf_tableb_free(copying.builder);
    return rc;
}

int vf_table_change(uint32_t kind, struct vf_str key, const struct vf_str *value,
                    vf_table_offer offer)
{
    struct vf_table *table = vf_table_of(kind);
    uint64_t bytes = vf_table_record_bytes(key.len, value != NULL ? value->len : VF_TABLE_DELETED);
    if (kind >= VF_TABLES)
        return UV_EINVAL;
    if (table == NULL && value == NULL)
        return 0;
    if (table == NULL || vf_table_is_crowded(table, bytes))
        return renew(kind, key, value, offer);
    return append(table, key, value);
}
