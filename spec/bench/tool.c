/* spec/bench/tool.c - what the benchmark needs besides wrk, in one program:
 *   tool origin PORT          answers /SIZE with SIZE bytes, and any POST; one epoll thread
 *   tool idle PORT COUNT      opens COUNT connections, one request on each, prints "ready", waits
 *   tool probe PORT HOST PATH WANT LIMIT_MS
 *                             a new connection about every millisecond until the answer's status is
 *                             WANT; prints "live_ms slowest_ms failed"
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FDS = 65536, MAX_BODY = 4 * 1024 * 1024 };

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* --- origin --- */

struct conn {
    size_t skip;     /* request content still to come */
    size_t head_len; /* answer under way */
    size_t left;     /* of head and body */
    size_t total;
    size_t buffered; /* incomplete request head */
    char head[128], input[2048];
};

static struct conn *conns[MAX_FDS];
static char *body;

static void answer(int epoll_fd, int fd, struct conn *conn)
{
    size_t sent = conn->total - conn->left;
    struct iovec parts[2];
    int n = 0;
    size_t body_at = sent > conn->head_len ? sent - conn->head_len : 0;
    if (sent < conn->head_len)
        parts[n++] = (struct iovec){conn->head + sent, conn->head_len - sent};
    if (conn->total > conn->head_len + body_at)
        parts[n++] = (struct iovec){body + body_at, conn->total - conn->head_len - body_at};
    ssize_t written = writev(fd, parts, n);
    if (written > 0)
        conn->left -= (size_t)written;
    if (conn->left > 0) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
    }
}

static void begin_answer(int epoll_fd, int fd, struct conn *conn, const char *request)
{
    const char *slash = strchr(request, '/');
    const char *last = slash;
    for (const char *at = slash; at != NULL && *at != ' ' && *at != '\r'; at++)
        if (*at == '/')
            last = at;
    size_t size = last != NULL ? strtoul(last + 1, NULL, 10) : 0;
    if (size > MAX_BODY)
        size = MAX_BODY;
    conn->head_len = (size_t)snprintf(conn->head, sizeof(conn->head),
                                      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                      "Content-Length: %zu\r\n\r\n",
                                      size);
    conn->left = conn->total = conn->head_len + size;
    answer(epoll_fd, fd, conn);
}

/* Requests come one at a time: the clients here do not pipeline. */
static void on_input(int epoll_fd, int fd, char *data, size_t len)
{
    struct conn *conn = conns[fd];
    size_t skipped = len < conn->skip ? len : conn->skip;
    conn->skip -= skipped;
    if (skipped > 0 && conn->skip == 0) {
        begin_answer(epoll_fd, fd, conn, conn->input);
        conn->buffered = 0;
    }
    data += skipped;
    len -= skipped;
    if (len == 0)
        return;
    if (conn->buffered + len >= sizeof(conn->input) && memmem(data, len, "\r\n\r\n", 4) == NULL)
        len = sizeof(conn->input) - 1 - conn->buffered;
    size_t room = sizeof(conn->input) - 1 - conn->buffered, kept = len < room ? len : room;
    memcpy(conn->input + conn->buffered, data, kept);
    conn->buffered += kept;
    conn->input[conn->buffered] = '\0';
    char *end = strstr(conn->input, "\r\n\r\n");
    if (end == NULL)
        return;
    size_t head_len = (size_t)(end + 4 - conn->input);
    char *length = strcasestr(conn->input, "\r\nContent-Length:");
    size_t content = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t have = conn->buffered - kept + len - head_len;
    if (content > have) {
        conn->skip = content - have;
        conn->input[head_len] = '\0';
        return;
    }
    conn->buffered = 0;
    begin_answer(epoll_fd, fd, conn, conn->input);
}

static void on_ready(int epoll_fd, int fd, uint32_t events)
{
    static char buffer[256 * 1024];
    struct conn *conn = conns[fd];
    if (events & EPOLLOUT) {
        if (conn->left > 0)
            answer(epoll_fd, fd, conn);
        if (conn->left == 0) {
            struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
            epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
        }
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n > 0) {
        on_input(epoll_fd, fd, buffer, (size_t)n);
    } else if (n == 0 || errno != EAGAIN) {
        close(fd);
        free(conn);
        conns[fd] = NULL;
    }
}

static void accept_all(int epoll_fd, int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= MAX_FDS || (conns[fd] = calloc(1, sizeof(struct conn))) == NULL) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static _Noreturn void origin(int port)
{
    struct sockaddr_in address = loopback(port);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    int epoll_fd = epoll_create1(0);
    struct epoll_event events[128], event = {.events = EPOLLIN, .data.fd = listener};
    signal(SIGPIPE, SIG_IGN);
    body = malloc(MAX_BODY);
    memset(body, 'x', MAX_BODY);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 4096) < 0)
        die("origin");
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 128, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll_fd, listener);
            else
                on_ready(epoll_fd, events[i].data.fd, events[i].events);
        }
    }
}

/* --- clients --- */

static int dial(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Sends one GET and reads until `bytes` of body came. Returns the status, 0 when it failed. */
static int get(int fd, const char *host, const char *path, const char *connection)
{
    char buffer[16384];
    int len = snprintf(buffer, sizeof(buffer), "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, host,
                       connection);
    size_t have = 0;
    if (write(fd, buffer, (size_t)len) != len)
        return 0;
    for (;;) {
        ssize_t n = read(fd, buffer + have, sizeof(buffer) - 1 - have);
        if (n <= 0)
            return 0;
        have += (size_t)n;
        buffer[have] = '\0';
        char *end = strstr(buffer, "\r\n\r\n");
        char *length = strcasestr(buffer, "\r\ncontent-length:");
        if (end == NULL)
            continue;
        size_t content = length != NULL ? strtoul(length + 17, NULL, 10) : 0;
        if (have >= (size_t)(end + 4 - buffer) + content || have >= sizeof(buffer) - 1)
            return atoi(buffer + 9);
    }
}

static int idle(int port, int count)
{
    for (int i = 0; i < count; i++) {
        int fd = dial(port);
        if (fd < 0 || get(fd, "localhost", "/64", "") != 200) {
            fprintf(stderr, "connection %d failed\n", i);
            return 1;
        }
    }
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}

static int probe(int port, const char *host, const char *path, int want, int limit_ms)
{
    uint64_t start = now_us(), slowest = 0, live = 0;
    unsigned failed = 0;
    while (now_us() - start < (uint64_t)limit_ms * 1000 && live == 0) {
        uint64_t before = now_us();
        int fd = dial(port);
        int status = fd >= 0 ? get(fd, host, path, "Connection: close\r\n") : 0;
        uint64_t took = now_us() - before;
        if (fd >= 0)
            close(fd);
        failed += status == 0 || status >= 500;
        slowest = took > slowest ? took : slowest;
        if (status == want)
            live = now_us() - start;
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    printf("%.1f %.1f %u\n", live / 1000.0, slowest / 1000.0, failed);
    return live == 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "origin") == 0)
        origin(atoi(argv[2]));
    if (argc == 4 && strcmp(argv[1], "idle") == 0)
        return idle(atoi(argv[2]), atoi(argv[3]));
    if (argc == 7 && strcmp(argv[1], "probe") == 0)
        return probe(atoi(argv[2]), argv[3], argv[4], atoi(argv[5]), atoi(argv[6]));
    fprintf(stderr, "usage: tool origin PORT | idle PORT COUNT | probe PORT HOST PATH WANT MS\n");
    return 2;
}
