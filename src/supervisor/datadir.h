/* supervisor/datadir.h - the data directory: one instance at a time, and what it leaves there.
 * `veloflux.pid` is locked (flock) while an instance lives and holds its pid; `control.sock` is
 * where the command line reaches control. The lock goes with its descriptor, also when the process
 * is killed, and survives an upgrade in place. */
#ifndef VF_SUPERVISOR_DATADIR_H
#define VF_SUPERVISOR_DATADIR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct vf_datadir {
    char path[PATH_MAX];
    int lock_fd; /* owned; -1: not open */
};

/* Creates the directory (0750) when it does not exist, locks it and writes our pid. When
 * `change_user`, directory and files in it are given to `uid` and `gid`. Returns 0, or -errno with
 * a message for people in `fault` (-EBUSY: another instance has it; the message names its pid). */
int vf_datadir_open(struct vf_datadir *dir, const char *path, bool change_user, uid_t uid,
                    gid_t gid, char *fault, size_t fault_bytes);

/* Gives what was made in the directory since to the user, as vf_datadir_open does. */
void vf_datadir_give(const struct vf_datadir *dir, uid_t uid, gid_t gid);

/* Binds `control.sock` (0600) in place of one left over. Returns the listening socket, owned by the
 * caller, or -errno. */
int vf_datadir_socket(const struct vf_datadir *dir, bool change_user, uid_t uid, gid_t gid);

/* Removes pid file and socket and gives the lock back. */
void vf_datadir_close(struct vf_datadir *dir);

/* Removes the directory with the files in it (a private one of `veloflux proxy`). */
void vf_datadir_remove(const char *path);

/* Writes our pid to `path`, by way of a temporary file. Returns 0 or -errno. */
int vf_datadir_write_pid(const char *path);

#endif
