/* demo_backend.c - a small web server that says its name, for `make run` and the tour.
 *   demo-backend --port 9001 --name demo-1 [--address 127.0.0.1]
 * HTTP/1.1 with keep-alive, one thread a connection. Any request is answered with
 * "demo-1: GET /path\n", /health with "ok\n"; request bodies are read and dropped. Whatever it does
 * not understand gets 400 and the end of the connection. It ends with whoever started it. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_BYTES = 64 * 1024, STACK_BYTES = 256 * 1024 };

static const char *name = "demo";

/* What was read from one connection and not used yet. */
struct peer {
    int fd;
    size_t len;
    char data[HEAD_BYTES + 1]; /* NUL-terminated at `len` */
};

struct request {
    char method[16];
    char target[2048];
    bool keep_alive, chunked, wants_continue;
    uint64_t body_bytes;
};

static bool fill(struct peer *peer)
{
    if (peer->len == HEAD_BYTES)
        return false;
    ssize_t n = recv(peer->fd, peer->data + peer->len, HEAD_BYTES - peer->len, 0);
    if (n <= 0)
        return false;
    peer->len += (size_t)n;
    peer->data[peer->len] = '\0';
    return true;
}

static void consume(struct peer *peer, size_t bytes)
{
    peer->len -= bytes;
    memmove(peer->data, peer->data + bytes, peer->len + 1);
}

/* Reads up to and including CRLF; returns the length of the line without it, or -1. */
static ssize_t read_line(struct peer *peer)
{
    char *end;
    while ((end = strstr(peer->data, "\r\n")) == NULL)
        if (!fill(peer))
            return -1;
    return end - peer->data;
}

static bool skip(struct peer *peer, uint64_t bytes)
{
    while (bytes > 0) {
        if (peer->len == 0 && !fill(peer))
            return false;
        size_t n = bytes < peer->len ? (size_t)bytes : peer->len;
        consume(peer, n);
        bytes -= n;
    }
    return true;
}

static bool skip_chunks(struct peer *peer)
{
    for (;;) {
        ssize_t len = read_line(peer);
        char *end;
        if (len < 1 || !isxdigit((unsigned char)peer->data[0]))
            return false;
        uint64_t size = strtoull(peer->data, &end, 16);
        if (end != peer->data + len && *end != ';' && *end != ' ')
            return false;
        consume(peer, (size_t)len + 2);
        if (size == 0)
            break;
        if (size > UINT64_MAX / 2 || !skip(peer, size) || read_line(peer) != 0)
            return false;
        consume(peer, 2);
    }
    for (ssize_t len; (len = read_line(peer)) >= 0;) { /* trailers, then an empty line */
        consume(peer, (size_t)len + 2);
        if (len == 0)
            return true;
    }
    return false;
}

/* Takes one field line into `request`. Returns false when it cannot be trusted. */
static bool take_field(struct request *request, char *line)
{
    char *value = strchr(line, ':');
    if (value == NULL || value == line || strpbrk(line, " \t") == line)
        return false;
    *value++ = '\0';
    value += strspn(value, " \t");
    if (strcasecmp(line, "content-length") == 0) {
        char *end;
        request->body_bytes = strtoull(value, &end, 10);
        return isdigit((unsigned char)*value) && end[strspn(end, " \t")] == '\0';
    }
    if (strcasecmp(line, "transfer-encoding") == 0)
        return request->chunked = strcasecmp(value, "chunked") == 0;
    if (strcasecmp(line, "connection") == 0) {
        if (strcasestr(value, "close") != NULL)
            request->keep_alive = false;
        else if (strcasestr(value, "keep-alive") != NULL)
            request->keep_alive = true;
    }
    if (strcasecmp(line, "expect") == 0)
        request->wants_continue = strcasecmp(value, "100-continue") == 0;
    return true;
}

/* Returns 1 with a request, 0 at the end of the connection, -1 when what came is no request. */
static int read_head(struct peer *peer, struct request *request)
{
    int minor;
    ssize_t len = read_line(peer);
    if (len < 0)
        return peer->len == 0 ? 0 : -1;
    peer->data[len] = '\0';
    if (sscanf(peer->data, "%15[A-Z] %2047[^ ] HTTP/1.%1d", request->method, request->target,
               &minor) != 3)
        return -1;
    request->keep_alive = minor > 0;
    for (;;) {
        consume(peer, (size_t)len + 2);
        len = read_line(peer);
        if (len < 0)
            return -1;
        if (len == 0)
            break;
        peer->data[len] = '\0';
        if (!take_field(request, peer->data))
            return -1;
    }
    consume(peer, 2);
    return 1;
}

static bool send_text(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return true;
}

static bool answer(int fd, const struct request *request, const char *status)
{
    char body[4096], text[8192];
    int size =
        strcmp(request->target, "/health") == 0
            ? snprintf(body, sizeof(body), "ok\n")
            : snprintf(body, sizeof(body), "%s: %s %s\n", name, request->method, request->target);
    int len = snprintf(text, sizeof(text),
                       "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                       "X-Backend: %s\r\n%s\r\n%s",
                       status, size, name, request->keep_alive ? "" : "Connection: close\r\n",
                       strcmp(request->method, "HEAD") == 0 ? "" : body);
    return send_text(fd, text, (size_t)len);
}

static void *serve(void *arg)
{
    struct peer *peer = arg;
    struct request request;
    int rc;
    do {
        request = (struct request){0};
        rc = read_head(peer, &request);
        if (rc > 0 && request.wants_continue &&
            !send_text(peer->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
            break;
        if (rc > 0 && !(request.chunked ? skip_chunks(peer) : skip(peer, request.body_bytes)))
            rc = -1;
        if (rc < 0)
            request.keep_alive = false;
    } while (rc != 0 && answer(peer->fd, &request, rc > 0 ? "200 OK" : "400 Bad Request") &&
             request.keep_alive);
    close(peer->fd);
    free(peer);
    return NULL;
}

static int listen_on(const char *address, int port)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || inet_pton(AF_INET, address, &where.sin_addr) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&where, sizeof(where)) != 0 || listen(fd, 511) != 0) {
        fprintf(stderr, "demo-backend: cannot listen on %s:%d: %s\n", address, port,
                strerror(errno));
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    const char *address = "127.0.0.1";
    int port = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--name") == 0)
            name = argv[i + 1];
        else if (strcmp(argv[i], "--address") == 0)
            address = argv[i + 1];
    }
    if (port < 1 || port > 65535 || strlen(name) > 64) {
        fprintf(stderr, "usage: demo-backend --port N [--name NAME] [--address IPV4]\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is for the one that started us */

    int listener = listen_on(address, port);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int on = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        struct peer *peer = calloc(1, sizeof(*peer));
        pthread_t thread;
        if (peer != NULL)
            peer->fd = fd;
        if (peer == NULL || pthread_create(&thread, &attributes, serve, peer) != 0) {
            close(fd);
            free(peer);
        }
    }
}
