#include "lua/files.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Makes a renamed or created name survive a power cut. */
static int sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    if (len >= sizeof(folder))
        return -ENAMETOOLONG;
    memcpy(folder, slash == NULL ? "." : path, len);
    folder[len] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

int vf_file_create(const char *path, const char *data, size_t len, uint32_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    if (fd < 0)
        return -errno;
    int rc = fchmod(fd, (mode_t)mode) == 0 ? write_all(fd, data, len) : -errno;
    if (rc == 0 && fsync(fd) != 0)
        rc = -errno;
    close(fd);
    if (rc < 0)
        unlink(path);
    return rc < 0 ? rc : sync_folder_of(path);
}

int vf_file_replace(const char *path, const char *data, size_t len, uint32_t mode)
{
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof(temporary), "%s.%ld.new", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof(temporary))
        return -ENAMETOOLONG;
    unlink(temporary); /* of an earlier process with our number */
    int rc = vf_file_create(temporary, data, len, mode);
    if (rc < 0)
        return rc;
    if (rename(temporary, path) != 0) {
        rc = -errno;
        unlink(temporary);
        return rc;
    }
    return sync_folder_of(path);
}

int vf_file_append(const char *path, const char *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, data, len);
    close(fd);
    return rc;
}

int vf_file_make_folder(const char *path, uint32_t mode)
{
    char partial[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof(partial))
        return -ENAMETOOLONG;
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(partial, path, i);
        partial[i] = '\0';
        if (mkdir(partial, (mode_t)mode) != 0 && errno != EEXIST)
            return -errno;
    }
    return vf_file_kind(path) == VF_FILE_FOLDER ? 0 : -ENOTDIR;
}

int vf_file_real_path(const char *path, char *out, size_t room)
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL)
        return -errno;
    size_t len = strlen(real);
    if (len >= room)
        return -ENAMETOOLONG;
    memcpy(out, real, len + 1);
    return (int)len;
}

int vf_file_kind(const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0)
        return VF_FILE_NONE;
    if (S_ISREG(found.st_mode))
        return VF_FILE_REGULAR;
    return S_ISDIR(found.st_mode) ? VF_FILE_FOLDER : VF_FILE_OTHER;
}

int vf_file_mode(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 ? (int)(found.st_mode & 07777) : -errno;
}

static int join_paths(const glob_t *found, char *out, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < found->gl_pathc; i++) {
        size_t len = strlen(found->gl_pathv[i]);
        if (strchr(found->gl_pathv[i], '\n') != NULL)
            continue;
        if (len + 1 > room - used)
            return -ENOBUFS;
        memcpy(out + used, found->gl_pathv[i], len);
        used += len;
        out[used++] = '\n';
    }
    return (int)used;
}

/* A folder that is not there has no matches; one that cannot be read is an error. */
static int on_glob_error(const char *path, int error)
{
    (void)path;
    return error != ENOENT && error != ENOTDIR;
}

int vf_file_glob(const char *pattern, char *out, size_t room)
{
    glob_t found;
    int rc = glob(pattern, 0, on_glob_error, &found);
    if (rc == GLOB_NOMATCH)
        return 0;
    if (rc != 0)
        return rc == GLOB_NOSPACE ? -ENOMEM : -EACCES;
    int len = join_paths(&found, out, room);
    globfree(&found);
    return len;
}
