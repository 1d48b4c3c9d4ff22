#include "snapshot/usage_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "snapshot/snapshot.h"
#include "snapshot/usage.h"

static const char file_name[] = "usage.counters";
static const char new_name[] = "usage.counters.new";

enum { FILE_MODE = 0640 };

/* The directory as the file has it, for the one who writes it. */
struct vf_usage_book {
    uint32_t n;
    uint32_t n_told; /* of these, how many the file says that there are, with their index */
    uint64_t check;  /* of the last entry */
    uint64_t ids[VF_USAGE_TENANTS];
    uint32_t index[VF_USAGE_INDEX];
};

#define PLACE(member) ((off_t)offsetof(struct vf_usage_map, member))

static int read_at(int fd, void *out, size_t bytes, off_t at)
{
    for (char *to = out; bytes > 0;) {
        ssize_t n = pread(fd, to, bytes, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        to += n;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int write_at(int fd, const void *data, size_t bytes, off_t at)
{
    for (const char *from = data; bytes > 0;) {
        ssize_t n = pwrite(fd, from, bytes, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        from += n;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* --- Reading --- */

/* Returns the place of `id` in the index, or of the free entry where it belongs. */
static uint32_t *index_place(struct vf_usage_book *book, uint64_t id)
{
    uint32_t at = (uint32_t)vf_hash_mix(id) % VF_USAGE_INDEX;
    while (book->index[at] != 0 && book->ids[book->index[at] - 1] != id)
        at = (at + 1) % VF_USAGE_INDEX;
    return &book->index[at];
}

static void add_to_book(struct vf_usage_book *book, const struct vf_usage_tenant *tenant)
{
    book->ids[book->n] = tenant->id;
    *index_place(book, tenant->id) = ++book->n;
    book->check = tenant->check;
}

/* Reads the directory as far as its checksums hold. Returns NULL or what is wrong. */
static const char *read_directory(int fd, const struct vf_usage_head *head,
                                  struct vf_usage_book *book)
{
    struct vf_usage_tenant tenant;
    uint32_t n = atomic_load(&head->n_tenants);
    if (n > VF_USAGE_TENANTS)
        return "the directory is damaged";
    book->check = head->check;
    while (book->n < n) {
        off_t at = PLACE(tenants) + (off_t)(book->n * sizeof(tenant));
        if (read_at(fd, &tenant, sizeof(tenant), at) < 0)
            return "it cannot be read";
        if (tenant.check != vf_usage_check_tenant(&tenant, book->check))
            return "the directory is damaged";
        add_to_book(book, &tenant);
    }
    return NULL;
}

/* Returns NULL and fills the book, or says why the file is of no use. */
static const char *judge(int fd, struct vf_usage_book *book)
{
    struct vf_usage_head head;
    struct stat info;
    memset(book, 0, sizeof(*book));
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode))
        return "it is not a file";
    if (info.st_size < (off_t)sizeof(head))
        return "it is cut short";
    if (read_at(fd, &head, sizeof(head), 0) < 0)
        return "it cannot be read";
    if (!vf_usage_is_ours(&head))
        return "it is damaged, or of another version";
    if (vf_usage_rows_of((uint64_t)info.st_size) == 0 ||
        ((uint64_t)info.st_size - (uint64_t)PLACE(rows)) % sizeof(struct vf_usage_row) != 0)
        return "it is cut short";
    return read_directory(fd, &head, book);
}

/* --- Beginning --- */

static int allocate(int fd, uint32_t n_rows)
{
    return vf_usage_allocate(fd, n_rows < 1 ? 1 : n_rows > VF_USAGE_ROWS ? VF_USAGE_ROWS : n_rows);
}

/* Writes a whole new file beside the place and then moves it there. */
static int begin(int folder, uint32_t n_rows)
{
    struct vf_usage_head head;
    unlinkat(folder, new_name, 0);
    int fd =
        openat(folder, new_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    int rc = fd < 0 ? -errno : allocate(fd, n_rows);
    vf_usage_make_head(&head);
    if (rc == 0)
        rc = write_at(fd, &head, sizeof(head), 0);
    if (rc == 0 && (fsync(fd) < 0 || renameat(folder, new_name, folder, file_name) < 0))
        rc = -errno;
    if (rc < 0 && fd >= 0) {
        unlinkat(folder, new_name, 0);
        close(fd);
    }
    return rc < 0 ? rc : fd;
}

static int set_aside(int folder, const char *dir, const char *why)
{
    char aside[sizeof(file_name) + 24];
    snprintf(aside, sizeof(aside), "%s.%llu", file_name, (unsigned long long)vf_clock_wall_ms());
    if (renameat(folder, file_name, folder, aside) < 0)
        return -errno;
    vf_log_warn(NULL, "usage.begun_anew", "path=%s/%s kept_as=%s reason=%s", dir, file_name, aside,
                why);
    return 0;
}

/* Returns the descriptor of a file of use, or -errno; -ENOENT when there is none (any more). */
static int open_present(int folder, const char *dir, int present, struct vf_usage_book *book)
{
    int fd = present;
    if (fd < 0)
        fd = openat(folder, file_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno != ELOOP && errno != EISDIR && errno != ENXIO)
        return -errno;
    const char *why = fd >= 0 ? judge(fd, book) : "it is not a file";
    if (why == NULL)
        return fd;
    if (fd >= 0)
        close(fd);
    int rc = set_aside(folder, dir, why);
    return rc < 0 ? rc : -ENOENT;
}

static int open_or_begin(int folder, const char *dir, int present, uint32_t n_rows,
                         struct vf_usage_book *book)
{
    int fd = open_present(folder, dir, present, book);
    if (fd == -ENOENT) {
        memset(book, 0, sizeof(*book));
        if ((fd = begin(folder, n_rows)) >= 0)
            judge(fd, book);
    }
    if (fd < 0)
        return fd;
    int rc = allocate(fd, n_rows);
    if (rc == 0)
        rc = write_at(fd, book->index, sizeof(book->index), PLACE(index));
    if (rc < 0)
        close(fd);
    book->n_told = book->n;
    return rc < 0 ? rc : fd;
}

int vf_usage_file_adopt(struct vf_usage_file *file, int present, const char *dir, uint32_t n_rows,
                        char *fault, size_t fault_bytes)
{
    *file = (struct vf_usage_file){.fd = -1};
    struct vf_usage_book *book = malloc(sizeof(*book));
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = book == NULL ? -ENOMEM : folder < 0 ? -errno : 0;
    if (fd == 0)
        fd = open_or_begin(folder, dir, present, n_rows, book);
    if (folder >= 0)
        close(folder);
    if (fd < 0) {
        snprintf(fault, fault_bytes, "data_dir: cannot make %s/%s (usage counters): %s", dir,
                 file_name, strerror(-fd));
        free(book);
        return fd;
    }
    file->fd = fd;
    file->book = book;
    return 0;
}

int vf_usage_file_open(struct vf_usage_file *file, const char *dir, uint32_t n_rows, char *fault,
                       size_t fault_bytes)
{
    return vf_usage_file_adopt(file, -1, dir, n_rows, fault, fault_bytes);
}

/* --- Entering tenants --- */

static void make_entry(struct vf_usage_tenant *entry, uint64_t id, struct vf_str name,
                       uint64_t before)
{
    size_t len = name.len < sizeof(entry->name) ? name.len : sizeof(entry->name) - 1;
    memset(entry, 0, sizeof(*entry));
    entry->id = id;
    entry->since_wall_ms = vf_clock_wall_ms();
    memcpy(entry->name, name.data, len);
    entry->check = vf_usage_check_tenant(entry, before);
}

/* Writes an entry behind the last; it counts when n_tenants does. */
static int append(struct vf_usage_file *file, const struct vf_snapshot *snapshot,
                  const struct vf_snap_tenant *tenant)
{
    struct vf_usage_book *book = file->book;
    struct vf_usage_tenant entry;
    if (book->n == VF_USAGE_TENANTS)
        return -ENOSPC;
    make_entry(&entry, tenant->id, vf_snap_str(snapshot, tenant->name), book->check);
    off_t at = PLACE(tenants) + (off_t)(book->n * sizeof(entry));
    int rc = write_at(file->fd, &entry, sizeof(entry), at);
    if (rc == 0)
        add_to_book(book, &entry);
    return rc;
}

static int append_unknown(struct vf_usage_file *file, const struct vf_snapshot *snapshot)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_TENANTS);
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        const struct vf_snap_tenant *tenant = vf_snap_tenant(snapshot, i);
        if (*index_place(file->book, tenant->id) == 0)
            rc = append(file, snapshot, tenant);
    }
    return rc;
}

/* Entries reach the disk before the number that makes them count. */
static int write_number(const struct vf_usage_file *file)
{
    struct vf_usage_book *book = file->book;
    if (fdatasync(file->fd) < 0)
        return -errno;
    int rc = write_at(file->fd, &book->n, sizeof(book->n), PLACE(head.n_tenants));
    if (rc == 0)
        rc = write_at(file->fd, book->index, sizeof(book->index), PLACE(index));
    if (rc == 0)
        book->n_told = book->n;
    return rc;
}

int vf_usage_file_enter(struct vf_usage_file *file, const struct vf_snapshot *snapshot,
                        uint32_t n_rows, char *fault, size_t fault_bytes)
{
    int rc = append_unknown(file, snapshot);
    if (file->book->n > file->book->n_told) { /* also what could not be written before */
        int written = write_number(file);
        rc = rc < 0 ? rc : written;
    }
    if (rc == -ENOSPC && file->book->n == VF_USAGE_TENANTS) {
        snprintf(fault, fault_bytes,
                 "tenants: %s has counted for %d tenants and has no room for another: "
                 "restart with this file moved away",
                 file_name, VF_USAGE_TENANTS);
        return rc;
    }
    if (rc == 0)
        rc = allocate(file->fd, n_rows);
    if (rc < 0)
        snprintf(fault, fault_bytes, "data_dir: cannot write %s (usage counters): %s", file_name,
                 strerror(-rc));
    return rc;
}

void vf_usage_file_give(const struct vf_usage_file *file, uint32_t uid, uint32_t gid)
{
    if (fchown(file->fd, uid, gid) < 0)
        vf_log_warn(NULL, "usage.owner", "reason=%s", strerror(errno));
}

void vf_usage_file_close(struct vf_usage_file *file)
{
    if (file->book == NULL)
        return;
    if (fdatasync(file->fd) < 0)
        vf_log_error(NULL, "usage.sync_failed", "reason=%s", strerror(errno));
    close(file->fd);
    free(file->book);
    *file = (struct vf_usage_file){.fd = -1};
}
