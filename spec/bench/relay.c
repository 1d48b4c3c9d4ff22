/* spec/bench/relay.c - what a proxy costs that reads nothing of what it forwards:
 *   relay PORT ORIGIN_PORT
 * One epoll thread. Each client has a connection to the origin; what one of the two sends goes to
 * the other, with one receive and one send for each event. No proxy with the same calls can cost
 * less: its ratio is the limit. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FDS = 65536, BATCH = 128, BUFFER = 256 * 1024 };

static int other[MAX_FDS]; /* by descriptor; 0: none */
static char buffer[BUFFER];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_at(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, 4096) < 0)
        die("listen");
    return fd;
}

static void watch(int epoll_fd, int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void accept_clients(int epoll_fd, int listener, int origin_port)
{
    struct sockaddr_in origin = loopback(origin_port);
    for (int client; (client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        int server = socket(AF_INET, SOCK_STREAM, 0);
        if (server < 0 || client >= MAX_FDS || server >= MAX_FDS ||
            connect(server, (struct sockaddr *)&origin, sizeof(origin)) < 0)
            die("connect");
        other[client] = server;
        other[server] = client;
        watch(epoll_fd, client);
        watch(epoll_fd, server);
    }
}

static void close_pair(int fd)
{
    int peer = other[fd];
    other[fd] = other[peer] = 0;
    close(fd);
    close(peer);
}

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
            continue;
        }
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* One event: a receive that did not fill the buffer took all there was, but for an end. */
static void forward(int fd, bool has_ended)
{
    if (other[fd] == 0) /* closed by an event of the same batch */
        return;
    ssize_t n;
    do {
        n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0 || !send_all(other[fd], buffer, (size_t)n)) {
            close_pair(fd);
            return;
        }
    } while (n == sizeof(buffer) || has_ended);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: relay PORT ORIGIN_PORT\n");
        return 2;
    }
    int epoll_fd = epoll_create1(0), listener = listen_at(atoi(argv[1]));
    watch(epoll_fd, listener);
    for (;;) {
        struct epoll_event events[BATCH];
        int n = epoll_wait(epoll_fd, events, BATCH, -1);
        for (int i = 0; i < n; i++)
            if (events[i].data.fd == listener)
                accept_clients(epoll_fd, listener, atoi(argv[2]));
            else
                forward(events[i].data.fd, (events[i].events & EPOLLRDHUP) != 0);
    }
}
