#include "snapshot/table/set.h"

#include <uv.h>

/* One per process: there is one house, and Lua has no other way to name it. */
static struct place {
    struct vf_table *table; /* owned, or NULL */
    uint64_t n_adopted;
} places[VF_TABLES];

int vf_table_adopt(uint32_t kind, int generation_fd, int delta_fd)
{
    struct vf_table *table;
    if (kind >= VF_TABLES)
        return UV_EPROTO;
    int rc = vf_table_open(generation_fd, delta_fd, &table);
    if (rc < 0)
        return rc;
    if (vf_table_kind(table) != kind) {
        vf_table_close(table);
        return UV_EPROTO;
    }
    vf_table_close(places[kind].table);
    places[kind].table = table;
    places[kind].n_adopted++;
    return 0;
}

struct vf_table *vf_table_of(uint32_t kind)
{
    return kind < VF_TABLES ? places[kind].table : NULL;
}

int vf_table_find(uint32_t kind, const char *key, size_t key_len, struct vf_str *value)
{
    struct vf_table *table = vf_table_of(kind);
    return table == NULL ? 0 : vf_table_get(table, vf_str_make(key, key_len), value);
}

/* A delta of VF_DELTA_BYTES has less than 2^19 changes. */
uint64_t vf_table_stamp(uint32_t kind)
{
    struct vf_table *table = vf_table_of(kind);
    return table == NULL ? 0 : places[kind].n_adopted << 32 | vf_table_changes(table);
}

int vf_table_figures(uint32_t kind, struct vf_table_stats *out)
{
    struct vf_table *table = vf_table_of(kind);
    int rc = table == NULL ? 0 : vf_table_stats(table, out);
    return rc < 0 ? rc : table != NULL;
}

void vf_table_set_close(void)
{
    for (uint32_t kind = 0; kind < VF_TABLES; kind++) {
        vf_table_close(places[kind].table);
        places[kind].table = NULL;
    }
}
