/* snapshot/usage_file.h - the supervisor's side of usage.h: begins the file, enters tenants.
 * The supervisor reads and writes the file by system calls and never maps it: whatever a child does
 * to the file, even cutting it short, cannot end the supervisor. */
#ifndef VF_SNAPSHOT_USAGE_FILE_H
#define VF_SNAPSHOT_USAGE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vf_snapshot;

struct vf_usage_file { /* zeros: none */
    int fd;            /* owned; valid when `book` is not NULL */
    struct vf_usage_book *book;
};

/* Opens `usage.counters` in the folder `dir`, or begins it. One that is damaged, cut short, or of
 * another format is renamed to `usage.counters.NUMBER` beside it (the time in ms), which is logged,
 * and a new one is begun. Room for `n_rows` rows is allocated on the disk. Returns 0, or -errno
 * with what failed in `fault`. */
int vf_usage_file_open(struct vf_usage_file *file, const char *dir, uint32_t n_rows, char *fault,
                       size_t fault_bytes);

/* As vf_usage_file_open for the file that an earlier binary of this process had open as `fd`, which
 * is taken over, or -1. */
int vf_usage_file_adopt(struct vf_usage_file *file, int fd, const char *dir, uint32_t n_rows,
                        char *fault, size_t fault_bytes);

/* Gives every tenant of `snapshot` that is not known yet a column, on the disk before this returns,
 * and allocates room for `n_rows` rows. Returns 0, or -errno with what failed in `fault`. */
int vf_usage_file_enter(struct vf_usage_file *file, const struct vf_snapshot *snapshot,
                        uint32_t n_rows, char *fault, size_t fault_bytes);

/* Gives the file to a user, as the data directory is. */
void vf_usage_file_give(const struct vf_usage_file *file, uint32_t uid, uint32_t gid);

/* Writes what was counted to the disk and closes. */
void vf_usage_file_close(struct vf_usage_file *file);

#endif
