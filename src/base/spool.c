#define _GNU_SOURCE
#include "base/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct vf_spool {
    int fd; /* -1 once it is mapped */
    void *map;
    size_t len;
    enum vf_spool_kind kind;
};

static int n_open[VF_SPOOL_OWN + 1];

/* File systems without O_TMPFILE get a name that is gone at once. */
static int open_unlinked(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd >= 0 ? fd : -errno;
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/spool.XXXXXX", folder);
    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENAMETOOLONG;
    if ((fd = mkostemp(path, O_CLOEXEC)) < 0)
        return -errno;
    unlink(path);
    return fd;
}

/* Makes one of a file, which it owns from here on; `fd` may be -errno. */
static int adopt(int fd, size_t len, enum vf_spool_kind kind, struct vf_spool **out)
{
    if (fd < 0)
        return fd;
    struct vf_spool *spool = calloc(1, sizeof(*spool));
    if (spool == NULL) {
        close(fd);
        return -ENOMEM;
    }
    spool->fd = fd;
    spool->len = len;
    spool->kind = kind;
    n_open[kind]++;
    *out = spool;
    return 0;
}

int vf_spool_new(const char *folder, enum vf_spool_kind kind, struct vf_spool **out)
{
    if (n_open[kind] == VF_SPOOLS)
        return -EBUSY;
    return adopt(open_unlinked(folder), 0, kind, out);
}

int vf_spool_open(const char *path, struct vf_spool **out)
{
    struct stat facts;
    if (n_open[VF_SPOOL_OUT] == VF_SPOOLS)
        return -EBUSY;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int rc = fstat(fd, &facts) < 0 ? -errno : S_ISREG(facts.st_mode) ? 0 : -EINVAL;
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return adopt(fd, (size_t)facts.st_size, VF_SPOOL_OUT, out);
}

int vf_spool_write(struct vf_spool *spool, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(spool->fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
        spool->len += (size_t)n;
    }
    return 0;
}

uint64_t vf_spool_len(const struct vf_spool *spool)
{
    return spool->len;
}

ssize_t vf_spool_read(struct vf_spool *spool, uint64_t offset, char *out, size_t len)
{
    if (offset >= spool->len)
        return 0;
    if (len > spool->len - offset)
        len = spool->len - (size_t)offset;
    if (spool->map != NULL) {
        memcpy(out, (const char *)spool->map + offset, len);
        return (ssize_t)len;
    }
    ssize_t n;
    do {
        n = pread(spool->fd, out, len, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int vf_spool_map(struct vf_spool *spool, struct vf_str *out)
{
    if (spool->len > 0 && spool->map == NULL) {
        void *map = mmap(NULL, spool->len, PROT_READ, MAP_PRIVATE, spool->fd, 0);
        if (map == MAP_FAILED)
            return -errno;
        spool->map = map;
    }
    if (spool->fd >= 0)
        close(spool->fd);
    spool->fd = -1;
    *out = vf_str_make(spool->map != NULL ? spool->map : "", spool->len);
    return 0;
}

void vf_spool_free(struct vf_spool *spool)
{
    if (spool == NULL)
        return;
    if (spool->map != NULL)
        munmap(spool->map, spool->len);
    if (spool->fd >= 0)
        close(spool->fd);
    n_open[spool->kind]--;
    free(spool);
}
