#include "supervisor/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char lock_name[] = "veloflux.pid";
static const char socket_name[] = "control.sock";

enum { DIRECTORY_MODE = 0750, SOCKET_BACKLOG = 64, PID_BYTES = 24 };

/* Creates `path` and the folders above it that are missing. */
static int make_folders(const char *path)
{
    char part[PATH_MAX];
    if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
        return -ENAMETOOLONG;
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdir(part, DIRECTORY_MODE) < 0 && errno != EEXIST ? -errno : 0;
}

/* Gives a regular file away. One with a second name is left alone: it may be a link that somebody
 * made to a file which is not ours. */
static void give_file(int folder, const char *name, uid_t uid, gid_t gid)
{
    struct stat info;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 1 &&
        info.st_uid != uid && fchown(fd, uid, gid) < 0)
        fprintf(stderr, "cannot change the owner of %s: %s\n", name, strerror(errno));
    close(fd);
}

void vf_datadir_give(const struct vf_datadir *dir, uid_t uid, gid_t gid)
{
    DIR *folder = opendir(dir->path);
    if (folder == NULL)
        return;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        if (entry->d_type == DT_REG)
            give_file(dirfd(folder), entry->d_name, uid, gid);
    if (fchown(dirfd(folder), uid, gid) < 0)
        fprintf(stderr, "cannot change the owner of %s: %s\n", dir->path, strerror(errno));
    closedir(folder);
}

static int write_pid(int fd)
{
    char text[PID_BYTES];
    int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
        return errno != 0 ? -errno : -EIO;
    return 0;
}

static void explain_lock(int fd, const char *path, char *fault, size_t fault_bytes)
{
    char text[PID_BYTES] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    long pid = n > 0 ? strtol(text, NULL, 10) : 0;
    if (pid > 0)
        snprintf(fault, fault_bytes, "data_dir: %s is in use by process %ld", path, pid);
    else
        snprintf(fault, fault_bytes, "data_dir: %s is in use by another instance", path);
}

/* An instance that ends removes the file: whoever locked it in that moment has a file without name
 * and must begin anew. */
static bool is_named(int fd, const char *name)
{
    struct stat ours, theirs;
    return fstat(fd, &ours) == 0 && lstat(name, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
           ours.st_dev == theirs.st_dev;
}

/* Returns the locked file, -EBUSY (with the file in *holder) or another -errno. */
static int lock_file(const char *name, int *holder)
{
    for (;;) {
        int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            int rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
            *holder = fd;
            return rc;
        }
        if (is_named(fd, name))
            return fd;
        close(fd);
    }
}

static int open_lock(const char *path, char *fault, size_t fault_bytes)
{
    char name[PATH_MAX + sizeof(lock_name)];
    int holder = -1;
    snprintf(name, sizeof(name), "%s/%s", path, lock_name);
    int fd = lock_file(name, &holder);
    int rc = fd < 0 ? fd : write_pid(fd);
    if (rc == -EBUSY)
        explain_lock(holder, path, fault, fault_bytes);
    else if (rc < 0)
        snprintf(fault, fault_bytes, "data_dir: %s: %s", name, strerror(-rc));
    if (holder >= 0)
        close(holder);
    if (rc < 0 && fd >= 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

int vf_datadir_open(struct vf_datadir *dir, const char *path, bool change_user, uid_t uid,
                    gid_t gid, char *fault, size_t fault_bytes)
{
    int rc = make_folders(path);
    if (rc < 0) {
        snprintf(fault, fault_bytes, "data_dir: cannot create %s: %s", path, strerror(-rc));
        return rc;
    }
    int fd = open_lock(path, fault, fault_bytes);
    if (fd < 0)
        return fd;
    snprintf(dir->path, sizeof(dir->path), "%s", path);
    dir->lock_fd = fd;
    if (change_user)
        vf_datadir_give(dir, uid, gid);
    return 0;
}

/* A unix socket's name is short (108 bytes), a path need not be: /proc/self/fd names the folder. */
static int bind_in(int folder, int fd)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d/%s", folder, socket_name);
    if (unlinkat(folder, socket_name, 0) < 0 && errno != ENOENT)
        return -errno;
    mode_t mask = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0 ? -errno : 0;
    umask(mask);
    return rc;
}

int vf_datadir_socket(const struct vf_datadir *dir, bool change_user, uid_t uid, gid_t gid)
{
    int folder = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return -errno;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? -errno : bind_in(folder, fd);
    if (rc == 0 && change_user && fchownat(folder, socket_name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        rc = -errno;
    if (rc == 0 && listen(fd, SOCKET_BACKLOG) < 0)
        rc = -errno;
    close(folder);
    if (rc < 0 && fd >= 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

void vf_datadir_close(struct vf_datadir *dir)
{
    char name[PATH_MAX + sizeof(socket_name)];
    if (dir->lock_fd < 0)
        return;
    snprintf(name, sizeof(name), "%s/%s", dir->path, socket_name);
    unlink(name);
    snprintf(name, sizeof(name), "%s/%s", dir->path, lock_name);
    unlink(name);
    close(dir->lock_fd);
    dir->lock_fd = -1;
}

void vf_datadir_remove(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        unlinkat(dirfd(folder), entry->d_name, 0); /* "." and ".." refuse */
    closedir(folder);
    rmdir(path);
}

int vf_datadir_write_pid(const char *path)
{
    char temporary[PATH_MAX + 8];
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return -errno;
    int rc = write_pid(fd);
    close(fd);
    if (rc == 0 && rename(temporary, path) < 0)
        rc = -errno;
    if (rc < 0)
        unlink(temporary);
    return rc;
}
