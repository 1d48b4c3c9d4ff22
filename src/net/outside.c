#define _GNU_SOURCE
#include "net/outside.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>
#include <uv.h>

static const struct vf_outside *replaced;

void vf_outside_replace(const struct vf_outside *outside)
{
    replaced = outside;
}

const struct vf_outside *vf_outside_replaced(void)
{
    return replaced;
}

int vf_outside_connect(int type, const struct sockaddr_storage *address, socklen_t len)
{
    int on = 1;
    if (replaced != NULL)
        return replaced->connect(replaced->owner, type, address);
    int fd = socket(address->ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    if (type == SOCK_STREAM && address->ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (const struct sockaddr *)address, len) < 0 && errno != EINPROGRESS) {
        int rc = uv_translate_sys_error(errno);
        close(fd);
        return rc;
    }
    return fd;
}
