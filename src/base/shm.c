#define _GNU_SOURCE
#include "base/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"

enum { MAX_PIECES = 64 }; /* in one call: less than any IOV_MAX */

int vf_shm_create(const char *name, size_t size, void **map)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int rc;
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) < 0)
        goto fail;
    *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (*map == MAP_FAILED)
        goto fail;
    return fd;

fail:
    rc = -errno;
    close(fd);
    return rc;
}

int vf_shm_fix_size(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0 ? -errno : 0;
}

/* Drops `n` written bytes from the front of *pieces, and pieces that are empty. */
static void skip(struct iovec **pieces, size_t *n_pieces, size_t n)
{
    while (*n_pieces > 0 && n >= (*pieces)->iov_len) {
        n -= (*pieces)->iov_len;
        (*pieces)++;
        (*n_pieces)--;
    }
    if (n > 0) {
        (*pieces)->iov_base = (char *)(*pieces)->iov_base + n;
        (*pieces)->iov_len -= n;
    }
}

static int write_all(int fd, struct iovec *pieces, size_t n_pieces)
{
    skip(&pieces, &n_pieces, 0);
    while (n_pieces > 0) {
        ssize_t n = writev(fd, pieces, (int)(n_pieces < MAX_PIECES ? n_pieces : MAX_PIECES));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        skip(&pieces, &n_pieces, (size_t)n);
    }
    return 0;
}

static void *map_all(int fd, int prot, size_t *size)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return NULL;
    void *map = mmap(NULL, (size_t)info.st_size, prot, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (map == MAP_FAILED)
        return NULL;
    *size = (size_t)info.st_size;
    return map;
}

/* Makes `fd` stand for a memfd with the same bytes in other pages. */
static int renew(int fd)
{
    struct iovec piece;
    void *map = map_all(fd, PROT_READ, &piece.iov_len);
    if (map == NULL)
        return -errno;
    size_t size = piece.iov_len;
    piece.iov_base = map;
    int copy = memfd_create("veloflux-renewed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int rc = copy < 0 ? -errno : write_all(copy, &piece, 1);
    munmap(map, size);
    if (rc == 0 && dup3(copy, fd, O_CLOEXEC) < 0)
        rc = -errno;
    if (copy >= 0)
        close(copy);
    return rc;
}

/* The kernel seals no page that somebody else has a hold of: itself, when it moves pages to make
 * room for large ones. It waits some 70 ms for that to pass, then gives up with EBUSY. Who moves
 * them may have lost the processor for longer; other pages are free. */
int vf_shm_seal(int fd)
{
    enum { ALL = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL, MOST_COPIES = 4 };
    int copies = 0;
    for (; fcntl(fd, F_ADD_SEALS, ALL) < 0; copies++) {
        int rc = errno == EBUSY && copies < MOST_COPIES ? renew(fd) : -errno;
        if (rc < 0)
            return rc;
    }
    if (copies > 0)
        vf_log_info(NULL, "memfd.busy", "copies=%d", copies);
    return 0;
}

int vf_shm_gather(const char *name, struct iovec *pieces, size_t n)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, pieces, n);
    if (rc == 0)
        rc = vf_shm_seal(fd);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return fd;
}

int vf_shm_create_sealed(const char *name, const void *data, size_t size)
{
    struct iovec piece = {(void *)data, size};
    return vf_shm_gather(name, &piece, 1);
}

void *vf_shm_map(int fd, int writable, size_t *size)
{
    enum { LASTING = F_SEAL_WRITE | F_SEAL_SHRINK };
    int seals = writable ? LASTING : fcntl(fd, F_GET_SEALS);
    if (seals >= 0 && (seals & LASTING) == LASTING)
        return map_all(fd, writable ? PROT_READ | PROT_WRITE : PROT_READ, size);
    if (fcntl(fd, F_GETFD) >= 0)
        errno = EPERM;
    return NULL;
}

void *vf_shm_map_shared(int fd, size_t *size)
{
    return map_all(fd, PROT_READ, size);
}

void vf_shm_unmap(void *map, size_t size)
{
    if (map != NULL)
        munmap(map, size);
}
