#define _GNU_SOURCE
#include "base/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct vf_spool {
    int fd; /* -1 once it is mapped */
    void *map;
    size_t len;
};

static int n_open;

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

int vf_spool_new(const char *folder, struct vf_spool **out)
{
    if (n_open == VF_SPOOLS)
        return -EBUSY;
    struct vf_spool *spool = calloc(1, sizeof(*spool));
    if (spool == NULL)
        return -ENOMEM;
    int fd = open_unlinked(folder);
    if (fd < 0) {
        free(spool);
        return fd;
    }
    spool->fd = fd;
    n_open++;
    *out = spool;
    return 0;
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
    free(spool);
    n_open--;
}
