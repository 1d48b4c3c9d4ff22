/* A TLS client that stays connected and sends records which no library would. It blocks: the server
 * is another process. */
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

struct client {
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
    struct client *client = owner;
    if (client->queued + len > client->room) {
        client->room = client->room * 2 + len;
        client->queue = realloc(client->queue, client->room);
    }
    memcpy(client->queue + client->queued, data, len);
    client->queued += len;
    return (int)len;
}

/* Returns 0, or -1 when the peer takes no more. */
static int flush(struct client *client)
{
    size_t sent = 0;
    while (sent < client->queued) {
        ssize_t n = send(client->fd, client->queue + sent, client->queued - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    int rc = sent == client->queued ? 0 : -1;
    client->queued = 0;
    return rc;
}

static int on_recv(void *owner, unsigned char *out, size_t len)
{
    struct client *client = owner;
    flush(client);
    ssize_t n = recv(client->fd, out, len, 0);
    return n > 0 ? (int)n : MBEDTLS_ERR_SSL_CONN_EOF;
}

void tlsr_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    mbedtls_ssl_free(&client->ssl);
    mbedtls_ssl_config_free(&client->config);
    mbedtls_x509_crt_free(&client->chain);
    mbedtls_pk_free(&client->key);
    free(client->queue);
    free(client);
}

/* Connects to 127.0.0.1 and shakes hands in TLS 1.2 or 1.3, with a certificate unless `chain` (a
 * path) is NULL; NULL when that fails. */
struct client *tlsr_open_as(int port, int version, const char *chain, const char *key)
{
    struct client *client = calloc(1, sizeof(*client));
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {60, 0};
    mbedtls_ssl_protocol_version as =
        version == 13 ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2;
    psa_crypto_init();
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    mbedtls_ssl_init(&client->ssl);
    mbedtls_x509_crt_init(&client->chain);
    mbedtls_pk_init(&client->key);
    mbedtls_ssl_config_init(&client->config);
    mbedtls_ssl_config_defaults(&client->config, MBEDTLS_SSL_IS_CLIENT,
                                MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_rng(&client->config, on_random, NULL);
    mbedtls_ssl_conf_authmode(&client->config, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_min_tls_version(&client->config, as);
    mbedtls_ssl_conf_max_tls_version(&client->config, as);
    if (chain != NULL &&
        (mbedtls_x509_crt_parse_file(&client->chain, chain) != 0 ||
         mbedtls_pk_parse_keyfile(&client->key, key, NULL, on_random, NULL) != 0 ||
         mbedtls_ssl_conf_own_cert(&client->config, &client->chain, &client->key) != 0))
        abort();
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(client->fd, (struct sockaddr *)&to, sizeof(to)) != 0 ||
        mbedtls_ssl_setup(&client->ssl, &client->config) != 0)
        goto fail;
    mbedtls_ssl_set_hostname(&client->ssl, "a.test");
    mbedtls_ssl_set_bio(&client->ssl, client, on_send, on_recv, NULL);
    if (mbedtls_ssl_handshake(&client->ssl) != 0 || flush(client) != 0)
        goto fail;
    return client;

fail:
    tlsr_close(client);
    return NULL;
}

struct client *tlsr_open(int port, int version)
{
    return tlsr_open_as(port, version, NULL, NULL);
}

/* Encrypts `count` records of a content type with this content. Returns 0 when all were sent. */
int tlsr_send(struct client *client, int type, const char *data, size_t len, int count)
{
    mbedtls_ssl_context *ssl = &client->ssl;
    for (int i = 0; i < count; i++) {
        ssl->MBEDTLS_PRIVATE(out_msgtype) = type;
        ssl->MBEDTLS_PRIVATE(out_msglen) = len;
        memcpy(ssl->MBEDTLS_PRIVATE(out_msg), data, len);
        if (mbedtls_ssl_write_record(ssl, 1) != 0)
            return -1;
    }
    return flush(client);
}

/* Sends bytes as they are, `count` times. */
int tlsr_send_raw(struct client *client, const char *data, size_t len, int count)
{
    for (int i = 0; i < count; i++)
        on_send(client, (const unsigned char *)data, len);
    return flush(client);
}

/* Reads content. Returns its bytes; 0 at the end; -1000 - the alert that ended it; another negative
 * number when it was reset. Warnings are passed over. */
int tlsr_read(struct client *client, char *out, size_t room)
{
    int rc;
    do
        rc = mbedtls_ssl_read(&client->ssl, (unsigned char *)out, room);
    while (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
    if (rc == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
        return -1000 - client->ssl.MBEDTLS_PRIVATE(in_msg)[1];
    return rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY ? 0 : rc;
}

/* A backend that takes all that comes and says nothing, one connection after the other. */
struct sink {
    int fd;
    pthread_t thread;
};

static void *drink(void *owner)
{
    struct sink *sink = owner;
    char buffer[65536];
    int fd;
    while ((fd = accept(sink->fd, NULL, NULL)) >= 0) {
        while (recv(fd, buffer, sizeof(buffer), 0) > 0)
            ;
        close(fd);
    }
    return NULL;
}

/* Returns the port through *port. */
struct sink *tlsr_sink_start(int *port)
{
    struct sink *sink = calloc(1, sizeof(*sink));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    sink->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(sink->fd, (struct sockaddr *)&at, len) != 0 || listen(sink->fd, 16) != 0 ||
        getsockname(sink->fd, (struct sockaddr *)&at, &len) != 0 ||
        pthread_create(&sink->thread, NULL, drink, sink) != 0)
        abort();
    *port = ntohs(at.sin_port);
    return sink;
}

/* After its connections have ended. */
void tlsr_sink_stop(struct sink *sink)
{
    shutdown(sink->fd, SHUT_RDWR);
    pthread_join(sink->thread, NULL);
    close(sink->fd);
    free(sink);
}
