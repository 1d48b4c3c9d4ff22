#include "tls/transport.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "net/op.h"
#include "tls/buffers.h"
#include "tls/failure.h"
#include "tls/handshake.h"
#include "tls/input.h"
#include "tls/output.h"

enum { RECORDS_PER_READ = 256 /* then others get their turn */ };

/* The connection of a stream, which may have moved since the last call (vf_stream_move). */
static struct vf_tls_conn *of_stream(struct vf_stream *stream)
{
    struct vf_tls_conn *conn = (struct vf_tls_conn *)stream->transport;
    conn->stream = stream;
    return conn;
}

/* What every call ends with. `rc` is its result; returned unless something is worse. */
static ssize_t settle(struct vf_tls_conn *conn, ssize_t rc)
{
    int sent = vf_tls_output_push(conn);
    int kept = vf_tls_input_keep(conn);
    if (conn->base.is_open)
        vf_tls_return_buffers(conn);
    if (conn->owns_input || conn->saw_end || conn->failure < 0 ||
        (conn->base.is_open && mbedtls_ssl_check_pending(&conn->ssl) != 0))
        conn->stream->readable = true;
    if (rc >= 0 && sent < 0)
        return sent;
    return rc >= 0 && kept < 0 ? kept : rc;
}

static int start(struct vf_stream *stream)
{
    struct vf_tls_conn *conn = of_stream(stream);
    int rc = vf_tls_output_resume(conn);
    if (rc == 0) {
        stream->readable = true;
        rc = vf_tls_handshake_go_on(conn);
    }
    rc = (int)settle(conn, rc);
    return rc == UV_EAGAIN ? VF_PENDING : rc;
}

/* Content */

/* Returns false when nothing more can be read now. */
static bool read_content(struct vf_tls_conn *conn, char *buffer, size_t len, size_t *got)
{
    conn->wanted = len - *got;
    conn->is_starved = false;
    conn->sent_len = 0;
    int rc = mbedtls_ssl_read(&conn->ssl, (unsigned char *)buffer + *got, len - *got);
    if (rc > 0) {
        *got += (size_t)rc;
        conn->flood.barren = 0;
        return *got < len;
    }
    if (rc == 0 && !conn->is_at_end) /* two empty records */
        return true;
    if (rc == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
        vf_tls_keep_session(conn);
        return true;
    }
    if (rc ==
        MBEDTLS_ERR_SSL_WANT_READ) /* or a ticket is at hand, which it takes when asked again */
        return !conn->is_starved;
    conn->saw_end = true;
    if (rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        return false;
    conn->was_cut = true;
    if (rc != 0 && rc != MBEDTLS_ERR_SSL_CONN_EOF)
        vf_tls_failure_note(conn, rc);
    return false;
}

/* Counts what was read. Returns false when that was one record of a flood too many. */
static bool is_content_fair(struct vf_tls_conn *conn, size_t got)
{
    return !vf_tls_flood_content(&conn->flood, got, conn->is_starved) ||
           vf_tls_flood_window(&conn->flood, vf_clock_ns());
}

static ssize_t receive(struct vf_stream *stream, char *buffer, size_t len)
{
    struct vf_tls_conn *conn = of_stream(stream);
    size_t got = 0;
    if (!conn->base.is_open) {
        int rc = vf_tls_handshake_go_on(conn);
        if (rc < 0)
            return settle(conn, rc);
    }
    if (vf_tls_borrow_input(conn) < 0 || vf_tls_borrow_output(conn) < 0)
        return UV_ENOMEM;
    uint32_t last = conn->flood.records + RECORDS_PER_READ;
    while (!conn->saw_end && read_content(conn, buffer, len, &got) && conn->flood.records < last)
        ;
    if (!is_content_fair(conn, got) && !conn->saw_end) {
        conn->saw_end = conn->was_cut = true;
        vf_tls_failure_note(conn, VF_TLS_CODE_FLOOD);
    }
    if (got > 0 || !conn->saw_end)
        return settle(conn, got > 0 ? (ssize_t)got : UV_EAGAIN);
    ssize_t rc = settle(conn, conn->failure < 0 ? conn->failure : 0);
    stream->readable = false;
    return rc;
}

/* Takes the next piece for one record off the parts: a long one as it is, short ones joined. */
static struct vf_str next_record(struct vf_tls *tls, struct iovec *parts, int n, int *at)
{
    size_t len = 0;
    if (parts[*at].iov_len >= VF_TLS_RECORD_BYTES) {
        struct vf_str piece = vf_str_make(parts[*at].iov_base, VF_TLS_RECORD_BYTES);
        parts[*at].iov_base = (char *)parts[*at].iov_base + VF_TLS_RECORD_BYTES;
        parts[*at].iov_len -= VF_TLS_RECORD_BYTES;
        return piece;
    }
    while (*at < n && len < VF_TLS_RECORD_BYTES) {
        size_t room = VF_TLS_RECORD_BYTES - len;
        size_t piece = parts[*at].iov_len < room ? parts[*at].iov_len : room;
        memcpy(tls->content + len, parts[*at].iov_base, piece);
        len += piece;
        parts[*at].iov_base = (char *)parts[*at].iov_base + piece;
        parts[*at].iov_len -= piece;
        if (parts[*at].iov_len == 0)
            (*at)++;
    }
    return vf_str_make(tls->content, len);
}

/* Returns 0 when all of `record` was written. */
static int write_record(struct vf_tls_conn *conn, struct vf_str record)
{
    while (record.len > 0) {
        int rc = mbedtls_ssl_write(&conn->ssl, (const unsigned char *)record.data, record.len);
        if (rc == MBEDTLS_ERR_SSL_WANT_WRITE || rc == MBEDTLS_ERR_SSL_WANT_READ)
            continue; /* vf_tls_output_add takes everything */
        if (rc <= 0)
            return conn->failure < 0 ? conn->failure : vf_tls_failure_note(conn, rc);
        record = vf_str_make(record.data + rc, record.len - (size_t)rc);
    }
    return 0;
}

static ssize_t send_content(struct vf_stream *stream, const struct iovec *given, int n)
{
    struct vf_tls_conn *conn = of_stream(stream);
    struct vf_tls *tls = conn->tls;
    struct iovec parts[VF_TLS_PARTS];
    int at = 0, rc = vf_tls_output_resume(conn);
    ssize_t taken = 0;
    if (rc < 0 || n == 0 || stream->blocked)
        return rc;
    if (!conn->base.is_open || n > VF_TLS_PARTS)
        return UV_EAGAIN;
    memcpy(parts, given, (size_t)n * sizeof(parts[0]));
    if (vf_tls_borrow_input(conn) < 0 || vf_tls_borrow_output(conn) < 0)
        return UV_ENOMEM;
    while (rc == 0 && at < n && !stream->blocked) {
        struct vf_str record = next_record(tls, parts, n, &at);
        rc = write_record(conn, record);
        taken += (ssize_t)record.len;
        while (at < n && parts[at].iov_len == 0)
            at++;
        if (rc == 0 && tls->output_len + 2 * VF_TLS_RECORD_BYTES > VF_TLS_SEND_BYTES)
            rc = vf_tls_output_push(conn);
    }
    ssize_t done = settle(conn, rc);
    return done < 0 ? done : taken;
}

/* Life */

static void end_output(struct vf_stream *stream)
{
    struct vf_tls_conn *conn = of_stream(stream);
    if (!conn->base.is_open || conn->sent_end || conn->failure < 0)
        return;
    conn->sent_end = true;
    if (vf_tls_borrow_output(conn) < 0)
        return;
    mbedtls_ssl_close_notify(&conn->ssl);
    vf_tls_output_push(conn);
    vf_tls_return_buffers(conn);
}

static void free_conn(struct vf_stream *stream, bool is_clean)
{
    struct vf_tls_conn *conn = of_stream(stream);
    if (is_clean)
        end_output(stream);
    vf_tls_output_drop(conn, conn->base.unsent);
    if (conn->owns_input)
        free(conn->input);
    mbedtls_ssl_free(&conn->ssl);
    vf_tls_handshake_forget(conn);
    vf_tls_server_release(&conn->server);
    vf_tls_client_release(&conn->client);
    free(conn);
}

static void on_moved(struct vf_stream *stream)
{
    of_stream(stream)->stream = stream;
}

static const struct vf_transport_ops ops = {.start = start,
                                            .recv = receive,
                                            .send = send_content,
                                            .end = end_output,
                                            .moved = on_moved,
                                            .free = free_conn};

static int make_conn(struct vf_tls *tls, const mbedtls_ssl_config *config, struct vf_stream *stream,
                     struct vf_tls_conn **out)
{
    struct vf_tls_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return UV_ENOMEM;
    conn->base.ops = &ops;
    conn->tls = tls;
    conn->stream = stream;
    mbedtls_ssl_init(&conn->ssl);
    if (mbedtls_ssl_setup(&conn->ssl, config) != 0) {
        mbedtls_ssl_free(&conn->ssl);
        free(conn);
        return UV_ENOMEM;
    }
    mbedtls_ssl_set_user_data_p(&conn->ssl, conn);
    mbedtls_ssl_set_bio(&conn->ssl, conn, vf_tls_output_add, vf_tls_input_take, NULL);
    *out = conn;
    return 0;
}

int vf_tls_accept(struct vf_tls_server *server, struct vf_stream *stream)
{
    struct vf_tls_conn *conn;
    int rc = make_conn(server->tls, &server->config, stream, &conn);
    if (rc < 0)
        return rc;
    conn->server = vf_tls_server_retain(server);
    vf_stream_set_transport(stream, &conn->base);
    return 0;
}

int vf_tls_preload(struct vf_stream *stream, const char *data, size_t len)
{
    struct vf_tls_conn *conn = of_stream(stream);
    if ((conn->input = malloc(len)) == NULL)
        return UV_ENOMEM;
    memcpy(conn->input, data, len);
    conn->input_end = len;
    conn->owns_input = true;
    stream->readable = true;
    return 0;
}

int vf_tls_connect(struct vf_tls_client *client, struct vf_stream *stream, struct vf_str name)
{
    struct vf_tls_conn *conn;
    if (name.len >= sizeof(conn->name) || memchr(name.data, '\0', name.len) != NULL)
        return UV_EINVAL;
    int rc = make_conn(client->tls, &client->config, stream, &conn);
    if (rc < 0)
        return rc;
    memcpy(conn->name, name.data, name.len);
    conn->client = vf_tls_client_retain(client);
    rc = vf_tls_set_name(conn);
    if (rc == 0)
        vf_tls_offer_session(conn);
    vf_stream_set_transport(stream, &conn->base);
    return rc == 0 ? 0 : UV_ENOMEM;
}

int vf_tls_send_ahead(struct vf_stream *stream, const char *data, size_t len)
{
    int rc = vf_tls_output_keep(of_stream(stream), data, len);
    stream->blocked = false; /* it waits for the connection only */
    return rc;
}
