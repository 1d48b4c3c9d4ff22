/* spec/bench/handshake.c - a client of TLS for the benchmark, on OpenSSL:
 *   handshake loop PORT SECONDS VERSION full|resumed
 *                             one connection after the other, each with a handshake, one request
 *                             and an end; prints "connections resumed"
 *   handshake idle PORT COUNT opens COUNT connections, one request on each, prints "ready", waits
 * VERSION is 1.2 or 1.3. Certificates are not checked. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: ", what);
    ERR_print_errors_fp(stderr);
    perror("");
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static SSL *open_connection(SSL_CTX *ctx, int port, SSL_SESSION *session)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1)
        die("SSL_new");
    SSL_set_tlsext_host_name(ssl, "bench.example.com");
    if (session != NULL)
        SSL_set_session(ssl, session);
    if (SSL_connect(ssl) != 1)
        die("SSL_connect");
    return ssl;
}

/* Sends a request and reads its answer: to the end of the connection, or as much as comes first. */
static void exchange(SSL *ssl, const char *request, int to_the_end)
{
    char answer[4096];
    size_t total = 0;
    int n;
    if (SSL_write(ssl, request, (int)strlen(request)) <= 0)
        die("SSL_write");
    while ((n = SSL_read(ssl, answer, sizeof(answer))) > 0) {
        if (total == 0 && (n < 15 || memcmp(answer, "HTTP/1.1 200", 12) != 0)) {
            fprintf(stderr, "no answer: %.*s\n", n, answer);
            exit(1);
        }
        total += (size_t)n;
        if (!to_the_end)
            return;
    }
    if (total == 0)
        die("SSL_read");
}

static void close_connection(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
}

static SSL_SESSION *kept;

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(kept);
    kept = session;
    return 1; /* it is ours now */
}

static void loop(SSL_CTX *ctx, int port, double seconds, int resumes)
{
    static const char request[] =
        "GET /64 HTTP/1.1\r\nHost: bench.example.com\r\nConnection: close\r\n\r\n";
    unsigned long count = 0, resumed = 0;
    if (resumes) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, on_session);
    }
    for (double end = now_s() + seconds; now_s() < end; count++) {
        SSL *ssl = open_connection(ctx, port, resumes ? kept : NULL);
        resumed += (unsigned long)SSL_session_reused(ssl);
        exchange(ssl, request, 1);
        close_connection(ssl);
    }
    printf("%lu %lu\n", count, resumed);
}

static void idle(SSL_CTX *ctx, int port, int count)
{
    static const char request[] = "GET /64 HTTP/1.1\r\nHost: bench.example.com\r\n\r\n";
    for (int i = 0; i < count; i++)
        exchange(open_connection(ctx, port, NULL), request, 0);
    printf("ready\n");
    fflush(stdout);
    pause();
}

int main(int argc, char **argv)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL)
        die("SSL_CTX_new");
    if (argc == 6 && strcmp(argv[1], "loop") == 0) {
        int version = strcmp(argv[4], "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
        SSL_CTX_set_min_proto_version(ctx, version);
        SSL_CTX_set_max_proto_version(ctx, version);
        loop(ctx, atoi(argv[2]), atof(argv[3]), strcmp(argv[5], "resumed") == 0);
    } else if (argc == 4 && strcmp(argv[1], "idle") == 0) {
        idle(ctx, atoi(argv[2]), atoi(argv[3]));
    } else {
        fputs("usage: see the head of handshake.c\n", stderr);
        return 2;
    }
    return 0;
}
