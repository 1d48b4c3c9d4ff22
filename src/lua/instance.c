#include "lua/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { PID_BYTES = 24, READ_BYTES = 65536, MAX_ANSWER = 64 * 1024 * 1024, HOST_BYTES = 256 };

pid_t vf_instance_pid(const char *lock_path)
{
    char text[PID_BYTES] = "";
    int fd = open(lock_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    pid_t pid = 0;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        flock(fd, LOCK_UN); /* nobody holds it */
    else if (errno != EWOULDBLOCK)
        pid = -errno;
    else if (read(fd, text, sizeof(text) - 1) > 0)
        pid = (pid_t)strtol(text, NULL, 10);
    close(fd);
    return pid;
}

static int poll_one(int fd, short events, int timeout_ms)
{
    struct pollfd wanted = {.fd = fd, .events = events};
    int n;
    do {
        n = poll(&wanted, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : 0;
}

int vf_instance_stop(pid_t pid, int timeout_ms)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return -errno;
    int rc = syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) == 0 ? 0 : -errno;
    if (rc == 0)
        rc = poll_one(fd, POLLIN, timeout_ms);
    close(fd);
    return rc;
}

/* Bounds the connection, which the kernel would try for minutes. */
static int connect_bounded(int family, const struct sockaddr *address, socklen_t len,
                           int timeout_ms)
{
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (timeout_ms > 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, address, len) == 0)
        return fd;
    int rc = errno == EINPROGRESS || errno == EAGAIN ? -ETIMEDOUT : -errno;
    close(fd);
    return rc;
}

static int connect_unix(const char *path, int timeout_ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return connect_bounded(AF_UNIX, (struct sockaddr *)&address, sizeof(address), timeout_ms);
}

/* Splits HOST:PORT or [HOST]:PORT; an empty host is this machine. */
static int split_address(const char *address, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon[1] == '\0')
        return -EINVAL;
    size_t len = (size_t)(colon - address);
    if (len > 1 && address[0] == '[' && colon[-1] == ']') {
        address++;
        len -= 2;
    }
    if (len >= size)
        return -ENAMETOOLONG;
    snprintf(host, size, "%.*s", (int)len, address);
    if (len == 0)
        snprintf(host, size, "localhost");
    *port = colon + 1;
    return 0;
}

static int connect_tcp(const char *address, int timeout_ms)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[HOST_BYTES];
    const char *port;
    int rc = split_address(address, host, sizeof(host), &port);
    if (rc < 0)
        return rc;
    if (getaddrinfo(host, port, &wanted, &found) != 0)
        return -ENXIO;
    rc = -ENXIO;
    for (const struct addrinfo *at = found; at != NULL && rc < 0; at = at->ai_next)
        rc = connect_bounded(at->ai_family, at->ai_addr, at->ai_addrlen, timeout_ms);
    freeaddrinfo(found);
    return rc;
}

static int connect_to(const char *address, int timeout_ms)
{
    if (strchr(address, '/') != NULL)
        return connect_unix(address, timeout_ms);
    return connect_tcp(address, timeout_ms);
}

static int send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Reads until the peer closes. Returns the length or -errno; *answer is the caller's either way. */
static ssize_t read_all(int fd, int timeout_ms, char **answer)
{
    size_t used = 0, room = 0;
    for (;;) {
        if (room - used < READ_BYTES) {
            room += 2 * READ_BYTES + used;
            char *grown = realloc(*answer, room + 1);
            if (grown == NULL)
                return -ENOMEM;
            *answer = grown;
        }
        int rc = poll_one(fd, POLLIN, timeout_ms);
        if (rc < 0)
            return rc;
        ssize_t n = read(fd, *answer + used, READ_BYTES);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            break;
        used += n > 0 ? (size_t)n : 0;
        if (used > MAX_ANSWER)
            return -EMSGSIZE;
    }
    (*answer)[used] = '\0';
    return (ssize_t)used;
}

ssize_t vf_instance_ask(const char *address, const char *request, size_t len, int timeout_ms,
                        char **answer)
{
    char *text = NULL;
    int fd = connect_to(address, timeout_ms);
    if (fd < 0)
        return fd;
    ssize_t n = send_all(fd, request, len);
    if (n == 0)
        n = read_all(fd, timeout_ms, &text);
    close(fd);
    if (n < 0)
        free(text);
    else
        *answer = text;
    return n;
}

void vf_instance_free(char *answer)
{
    free(answer);
}
