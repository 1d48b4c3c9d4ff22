#include "snapshot/table/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <uv.h>

#include "snapshot/table/core.h"

/* --- Changes ---------------------------------------------------------------------------------- */

static int set_lock(int fd, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    int rc;
    do
        rc = fcntl(fd, F_SETLKW, &lock);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int vf_change_begin(struct vf_change *change, struct vf_table *table)
{
    if (!table->is_writable)
        return UV_EPERM;
    int rc = set_lock(table->lock_fd, F_WRLCK);
    if (rc < 0)
        return rc;
    *change = (struct vf_change){.table = table};
    change->published = atomic_load_explicit(&table->delta->published, memory_order_acquire);
    change->begun = change->offset = sizeof(*table->delta) + (uint32_t)change->published;
    return 0;
}

static int append(struct vf_change *change, struct vf_str key, struct vf_str value,
                  uint32_t value_bytes)
{
    struct vf_table *table = change->table;
    struct vf_table_record record = {(uint16_t)key.len, 0, value_bytes};
    if (key.len > VF_TABLE_KEY_BYTES || value.len > VF_TABLE_VALUE_BYTES)
        return UV_E2BIG;
    uint64_t bytes = vf_table_record_bytes(key.len, value_bytes);
    if (change->offset > table->delta_size || bytes > table->delta_size - change->offset)
        return UV_ENOSPC;
    char *at = (char *)table->delta + change->offset;
    memcpy(at, &record, sizeof(record));
    memcpy(at + sizeof(record), key.data, key.len);
    if (value.len > 0)
        memcpy(at + sizeof(record) + key.len, value.data, value.len);
    change->offset += bytes;
    return 0;
}

int vf_change_put(struct vf_change *change, struct vf_str key, struct vf_str value)
{
    return append(change, key, value, (uint32_t)value.len);
}

int vf_change_delete(struct vf_change *change, struct vf_str key)
{
    return append(change, key, VF_STR(""), VF_TABLE_DELETED);
}

void vf_change_publish(struct vf_change *change)
{
    struct vf_table *table = change->table;
    uint64_t used = change->offset - sizeof(*table->delta);
    uint64_t n_changes = (change->published >> 32) + 1;
    if (change->offset != change->begun)
        atomic_store_explicit(&table->delta->published, n_changes << 32 | used,
                              memory_order_release);
    vf_change_abort(change);
}

void vf_change_abort(struct vf_change *change)
{
    set_lock(change->table->lock_fd, F_UNLCK);
    change->table = NULL;
}

bool vf_table_is_crowded(const struct vf_table *table, uint64_t bytes)
{
    uint64_t published = atomic_load_explicit(&table->delta->published, memory_order_acquire);
    return sizeof(*table->delta) + (uint32_t)published + bytes > table->delta_size / 2;
}

/* --- Differences ------------------------------------------------------------------------------ */

struct comparison {
    struct vf_table *table; /* NULL: empty */
    const struct vf_tableb *builder;
    const struct vf_tableb *gone; /* NULL: all that `builder` has not */
    struct vf_change *change;     /* NULL: count only */
    struct vf_table_diff diff;
};

static int on_wanted(void *owner, struct vf_str key, struct vf_str value)
{
    struct comparison *comparison = owner;
    struct vf_str now;
    int rc = comparison->table != NULL ? vf_table_get(comparison->table, key, &now) : 0;
    if (rc < 0 || (rc == 1 && vf_str_eq(now, value)))
        return rc < 0 ? rc : 0;
    comparison->diff.puts++;
    comparison->diff.bytes += vf_table_record_bytes(key.len, value.len);
    return comparison->change != NULL ? vf_change_put(comparison->change, key, value) : 0;
}

static int on_present(void *owner, struct vf_str key, struct vf_str value)
{
    struct comparison *comparison = owner;
    if (vf_tableb_get(comparison->builder, key, &value))
        return 0;
    comparison->diff.deletes++;
    comparison->diff.bytes += vf_table_record_bytes(key.len, VF_TABLE_DELETED);
    return comparison->change != NULL ? vf_change_delete(comparison->change, key) : 0;
}

static int on_gone(void *owner, struct vf_str key, struct vf_str value)
{
    struct comparison *comparison = owner;
    int rc = vf_table_get(comparison->table, key, &value);
    return rc == 1 ? on_present(owner, key, value) : rc;
}

static int compare(struct comparison *comparison)
{
    int rc = vf_tableb_each(comparison->builder, on_wanted, comparison);
    if (rc != 0 || comparison->table == NULL)
        return rc;
    if (comparison->gone != NULL)
        return vf_tableb_each(comparison->gone, on_gone, comparison);
    return vf_table_each(comparison->table, on_present, comparison);
}

int vf_table_compare(struct vf_table *table, const struct vf_tableb *builder,
                     const struct vf_tableb *gone, struct vf_table_diff *out)
{
    struct comparison comparison = {.table = table, .builder = builder, .gone = gone};
    int rc = compare(&comparison);
    if (rc == 0)
        *out = comparison.diff;
    return rc;
}

int vf_table_assimilate(struct vf_table *table, const struct vf_tableb *builder,
                        const struct vf_tableb *gone)
{
    struct vf_change change;
    struct comparison comparison = {
        .table = table, .builder = builder, .gone = gone, .change = &change};
    int rc = vf_change_begin(&change, table);
    if (rc < 0)
        return rc;
    if ((rc = compare(&comparison)) < 0)
        vf_change_abort(&change);
    else
        vf_change_publish(&change);
    return rc;
}

static int on_kept(void *owner, struct vf_str key, struct vf_str value)
{
    return vf_tableb_add(owner, key.data, key.len, value.data, value.len);
}

int vf_tableb_add_table(struct vf_tableb *builder, struct vf_table *table)
{
    return vf_table_each(table, on_kept, builder);
}
