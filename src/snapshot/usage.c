#include "snapshot/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"

static const char MAGIC[8] = {'V', 'F', 'X', 'U', 'S', 'A', 'G', 'E'};

_Static_assert(sizeof(struct vf_usage_head) <= 4096, "a page");
_Static_assert(sizeof(struct vf_usage_tenant) == 128, "no padding: checksums cover all bytes");
_Static_assert(offsetof(struct vf_usage_map, rows) % 4096 == 0, "rows begin with a page");

/* --- Format --- */

uint64_t vf_usage_check_head(const struct vf_usage_head *head)
{
    return vf_hash(head, offsetof(struct vf_usage_head, check), 1);
}

uint64_t vf_usage_check_tenant(const struct vf_usage_tenant *tenant, uint64_t before)
{
    return vf_hash(tenant, offsetof(struct vf_usage_tenant, check), before);
}

bool vf_usage_is_ours(const struct vf_usage_head *head)
{
    return memcmp(head->magic, MAGIC, sizeof(MAGIC)) == 0 && head->format == VF_USAGE_FORMAT &&
           head->tenants == VF_USAGE_TENANTS && head->index == VF_USAGE_INDEX &&
           head->kinds == VF_USAGE_KINDS && head->check == vf_usage_check_head(head);
}

void vf_usage_make_head(struct vf_usage_head *head)
{
    memset(head, 0, sizeof(*head));
    memcpy(head->magic, MAGIC, sizeof(MAGIC));
    head->format = VF_USAGE_FORMAT;
    head->tenants = VF_USAGE_TENANTS;
    head->index = VF_USAGE_INDEX;
    head->kinds = VF_USAGE_KINDS;
    head->begun_wall_ms = vf_clock_wall_ms();
    head->check = vf_usage_check_head(head);
}

uint32_t vf_usage_rows_of(uint64_t bytes)
{
    uint64_t before = offsetof(struct vf_usage_map, rows);
    uint64_t n = bytes > before ? (bytes - before) / sizeof(struct vf_usage_row) : 0;
    return n < VF_USAGE_ROWS ? (uint32_t)n : VF_USAGE_ROWS;
}

/* What posix_fallocate does where the file system cannot allocate, reading and writing every block,
 * would undo what others count meanwhile: there only the new end is made so. */
int vf_usage_allocate(int fd, uint32_t n_rows)
{
    struct stat info;
    off_t end = (off_t)(offsetof(struct vf_usage_map, rows) + n_rows * sizeof(struct vf_usage_row));
    int rc;
    do
        rc = fallocate(fd, 0, 0, end) < 0 ? -errno : 0;
    while (rc == -EINTR);
    if (rc != -EOPNOTSUPP)
        return rc;
    if (fstat(fd, &info) < 0)
        return -errno;
    return info.st_size >= end ? 0 : -posix_fallocate(fd, info.st_size, end - info.st_size);
}

/* --- A process's view --- */

static uint32_t count_rows(const struct vf_usage *usage)
{
    struct stat info;
    return fstat(usage->fd, &info) < 0 ? 0 : vf_usage_rows_of((uint64_t)info.st_size);
}

int vf_usage_open(struct vf_usage *usage, int fd)
{
    struct stat info;
    *usage = (struct vf_usage){.fd = fd};
    int rc = fstat(fd, &info) < 0 ? -errno : 0;
    if (rc == 0 && vf_usage_rows_of((uint64_t)info.st_size) == 0)
        rc = -EPROTO;
    if (rc == 0) {
        /* behind the end of the file too: rows that come are in the mapping already */
        void *map = mmap(NULL, sizeof(*usage->map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        rc = map == MAP_FAILED ? -errno : 0;
        usage->map = rc == 0 ? map : NULL;
    }
    if (rc == 0 && !vf_usage_is_ours(&usage->map->head))
        rc = -EPROTO;
    if (rc < 0)
        vf_usage_close(usage);
    return rc;
}

void vf_usage_close(struct vf_usage *usage)
{
    if (usage->map != NULL)
        munmap(usage->map, sizeof(*usage->map));
    if (usage->fd > 0)
        close(usage->fd);
    *usage = (struct vf_usage){.fd = -1};
}

/* Returns 0, -EAGAIN when another process has it, or another -errno. */
static int lock_row(int fd, uint32_t row)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = row, .l_len = 1};
    if (fcntl(fd, F_SETLK, &lock) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

int vf_usage_take_row(struct vf_usage *usage)
{
    uint32_t row = 0;
    int rc;
    while ((rc = lock_row(usage->fd, row)) == -EAGAIN)
        if (++row == VF_USAGE_ROWS)
            return -ENOSPC;
    if (rc == 0 && row >= count_rows(usage))
        rc = vf_usage_allocate(usage->fd, row + 1);
    if (rc == 0)
        usage->row = &usage->map->rows[row];
    return rc;
}

/* --- Looking up --- */

uint32_t vf_usage_find(const struct vf_usage_map *map, uint64_t tenant_id)
{
    uint32_t at = (uint32_t)vf_hash_mix(tenant_id);
    for (uint32_t i = 0; i < VF_USAGE_INDEX; i++) {
        uint32_t column =
            atomic_load_explicit(&map->index[(at + i) % VF_USAGE_INDEX], memory_order_acquire);
        if (column == 0 || column > VF_USAGE_TENANTS)
            break;
        if (map->tenants[column - 1].id == tenant_id)
            return column - 1;
    }
    return UINT32_MAX;
}

struct vf_usage_cell *vf_usage_cell(const struct vf_usage *usage, uint64_t tenant_id)
{
    uint32_t column = usage->row != NULL ? vf_usage_find(usage->map, tenant_id) : UINT32_MAX;
    return column != UINT32_MAX ? &usage->row->cells[column] : NULL;
}

void vf_usage_add(const struct vf_usage *usage, uint64_t tenant_id, uint64_t out[VF_USAGE_KINDS])
{
    uint32_t column = usage->map != NULL ? vf_usage_find(usage->map, tenant_id) : UINT32_MAX;
    if (column == UINT32_MAX)
        return;
    uint32_t n_rows = count_rows(usage);
    for (uint32_t row = 0; row < n_rows; row++)
        for (uint32_t kind = 0; kind < VF_USAGE_KINDS; kind++)
            out[kind] += vf_count_get(&usage->map->rows[row].cells[column].counts[kind]);
}
