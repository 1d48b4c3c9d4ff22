/* TLS clients that stay connected and send records which no library would, and backends that do.
 * Clients block: the server is another process. */
#include <arpa/inet.h>
#include <errno.h>
#include <mbedtls/ssl.h>
#include <psa/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* What mbedTLS has for itself: writes ssl->out_msg as a record of the type ssl->out_msgtype. */
int mbedtls_ssl_write_record(mbedtls_ssl_context *ssl, int force_flush);

struct tls {
    int fd;
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
    char *queue; /* records, to be sent at once */
    size_t queued, room;
};

static int on_random(void *owner, unsigned char *out, size_t len)
{
    (void)owner;
    return getrandom(out, len, 0) == (ssize_t)len ? 0 : -1;
}

static int on_send(void *owner, const unsigned char *data, size_t len)
{
    struct tls *tls = owner;
    if (tls->queued + len > tls->room) {
        tls->room = tls->room * 2 + len;
        tls->queue = realloc(tls->queue, tls->room);
    }
    memcpy(tls->queue + tls->queued, data, len);
    tls->queued += len;
    return (int)len;
}

/* Returns 0, or -1 when the peer takes no more. */
static int flush(struct tls *tls)
{
    size_t sent = 0;
    while (sent < tls->queued) {
        ssize_t n = send(tls->fd, tls->queue + sent, tls->queued - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue; /* a signal: sockets with a time limit are not restarted */
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    int rc = sent == tls->queued ? 0 : -1;
    tls->queued = 0;
    return rc;
}

static int on_recv(void *owner, unsigned char *out, size_t len)
{
    struct tls *tls = owner;
    flush(tls);
    ssize_t n;
    do
        n = recv(tls->fd, out, len, 0);
    while (n < 0 && errno == EINTR);
    return n > 0 ? (int)n : MBEDTLS_ERR_SSL_CONN_EOF;
}

void tlsr_close(struct tls *tls)
{
    if (tls->fd >= 0)
        close(tls->fd);
    mbedtls_ssl_free(&tls->ssl);
    mbedtls_ssl_config_free(&tls->config);
    mbedtls_x509_crt_free(&tls->chain);
    mbedtls_pk_free(&tls->key);
    free(tls->queue);
    free(tls);
}

/* Makes one end of a connection in TLS 1.2 or 1.3; `chain` and `key` are paths, or NULL. */
static struct tls *make(int fd, int endpoint, int version, const char *chain, const char *key)
{
    struct tls *tls = calloc(1, sizeof(*tls));
    struct timeval patience = {60, 0};
    mbedtls_ssl_protocol_version as =
        version == 13 ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2;
    psa_crypto_init();
    tls->fd = fd;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    mbedtls_ssl_init(&tls->ssl);
    mbedtls_x509_crt_init(&tls->chain);
    mbedtls_pk_init(&tls->key);
    mbedtls_ssl_config_init(&tls->config);
    mbedtls_ssl_config_defaults(&tls->config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM,
                                MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_rng(&tls->config, on_random, NULL);
    mbedtls_ssl_conf_authmode(&tls->config, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_min_tls_version(&tls->config, as);
    mbedtls_ssl_conf_max_tls_version(&tls->config, as);
    if (chain != NULL && (mbedtls_x509_crt_parse_file(&tls->chain, chain) != 0 ||
                          mbedtls_pk_parse_keyfile(&tls->key, key, NULL, on_random, NULL) != 0 ||
                          mbedtls_ssl_conf_own_cert(&tls->config, &tls->chain, &tls->key) != 0))
        abort();
    if (mbedtls_ssl_setup(&tls->ssl, &tls->config) != 0)
        abort();
    mbedtls_ssl_set_hostname(&tls->ssl, "a.test");
    mbedtls_ssl_set_bio(&tls->ssl, tls, on_send, on_recv, NULL);
    return tls;
}

/* Connects to 127.0.0.1 and shakes hands in TLS 1.2 or 1.3, with a certificate unless `chain` (a
 * path) is NULL; NULL when that fails. */
struct tls *tlsr_open_as(int port, int version, const char *chain, const char *key)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct tls *tls =
        make(socket(AF_INET, SOCK_STREAM, 0), MBEDTLS_SSL_IS_CLIENT, version, chain, key);
    if (connect(tls->fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
        mbedtls_ssl_handshake(&tls->ssl) == 0 && flush(tls) == 0)
        return tls;
    tlsr_close(tls);
    return NULL;
}

struct tls *tlsr_open(int port, int version)
{
    return tlsr_open_as(port, version, NULL, NULL);
}

/* Encrypts `count` records of a content type with this content. Returns 0 when all were sent. */
int tlsr_send(struct tls *tls, int type, const char *data, size_t len, int count)
{
    mbedtls_ssl_context *ssl = &tls->ssl;
    for (int i = 0; i < count; i++) {
        ssl->MBEDTLS_PRIVATE(out_msgtype) = type;
        ssl->MBEDTLS_PRIVATE(out_msglen) = len;
        memcpy(ssl->MBEDTLS_PRIVATE(out_msg), data, len);
        if (mbedtls_ssl_write_record(ssl, 1) != 0)
            return -1;
    }
    return flush(tls);
}

/* Sends bytes as they are, `count` times. */
int tlsr_send_raw(struct tls *tls, const char *data, size_t len, int count)
{
    for (int i = 0; i < count; i++)
        on_send(tls, (const unsigned char *)data, len);
    return flush(tls);
}

/* Reads content. Returns its bytes; 0 at the end; -1000 - the alert that ended it; another negative
 * number when it was reset. Warnings are passed over. */
int tlsr_read(struct tls *tls, char *out, size_t room)
{
    int rc;
    do
        rc = mbedtls_ssl_read(&tls->ssl, (unsigned char *)out, room);
    while (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
    if (rc == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
        return -1000 - tls->ssl.MBEDTLS_PRIVATE(in_msg)[1];
    return rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY ? 0 : rc;
}

/* A backend in a thread, one connection after the other. */
struct backend {
    int fd;
    pthread_t thread;
    char *chain, *key; /* NULL: plain */
    int warnings;
};

static void drink(int fd)
{
    char buffer[65536];
    while (recv(fd, buffer, sizeof(buffer), 0) > 0)
        ;
    close(fd);
}

/* Answers one request, behind a number of warnings. */
static void warn(const struct backend *backend, int fd)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct tls *tls = make(fd, MBEDTLS_SSL_IS_SERVER, 12, backend->chain, backend->key);
    char buffer[16384];
    if (mbedtls_ssl_handshake(&tls->ssl) == 0 && tlsr_read(tls, buffer, sizeof(buffer)) > 0 &&
        tlsr_send(tls, MBEDTLS_SSL_MSG_ALERT, "\1\132", 2, backend->warnings) == 0 &&
        tlsr_send(tls, MBEDTLS_SSL_MSG_APPLICATION_DATA, answer, sizeof(answer) - 1, 1) == 0)
        tlsr_read(tls, buffer, sizeof(buffer));
    tlsr_close(tls);
}

static void *serve(void *owner)
{
    struct backend *backend = owner;
    int fd;
    while ((fd = accept(backend->fd, NULL, NULL)) >= 0) {
        if (backend->chain == NULL)
            drink(fd);
        else
            warn(backend, fd);
    }
    return NULL;
}

/* Starts one that takes all that comes and says nothing; with a certificate (paths), one
 * that answers behind so many warnings. Returns its port through *port. */
struct backend *tlsr_backend_start(int *port, const char *chain, const char *key, int warnings)
{
    struct backend *backend = calloc(1, sizeof(*backend));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    backend->chain = chain == NULL ? NULL : strdup(chain);
    backend->key = key == NULL ? NULL : strdup(key);
    backend->warnings = warnings;
    backend->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(backend->fd, (struct sockaddr *)&at, len) != 0 || listen(backend->fd, 16) != 0 ||
        getsockname(backend->fd, (struct sockaddr *)&at, &len) != 0 ||
        pthread_create(&backend->thread, NULL, serve, backend) != 0)
        abort();
    *port = ntohs(at.sin_port);
    return backend;
}

/* After its connections have ended. */
void tlsr_backend_stop(struct backend *backend)
{
    shutdown(backend->fd, SHUT_RDWR);
    pthread_join(backend->thread, NULL);
    close(backend->fd);
    free(backend->chain);
    free(backend->key);
    free(backend);
}
