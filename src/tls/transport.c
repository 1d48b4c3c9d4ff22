#include "tls/transport.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/error.h"
#include "net/op.h"
#include "tls/buffers.h"
#include "tls/core.h"
#include "tls/identity_parts.h"

enum {
    RECORDS_PER_READ = 256, /* then others get their turn */
    HEAD_BYTES = 5,         /* of a record */
    ALERT_BYTES = 40        /* of the record of an alert with TLS 1.3, padded as mbedTLS does */
};

/* The connection of a stream, which may have moved since the last call (vf_stream_move). */
static struct vf_tls_conn *of_stream(struct vf_stream *stream)
{
    struct vf_tls_conn *conn = (struct vf_tls_conn *)stream->transport;
    conn->stream = stream;
    return conn;
}

/* Sending: records are gathered in tls->output and leave in one piece; what the kernel does not
 * take is kept by the connection. */

static int keep_unsent(struct vf_tls_conn *conn, const char *data, size_t len)
{
    size_t used = conn->unsent_end - conn->unsent_begin;
    if (used + len > conn->unsent_room) {
        size_t room = used + len + VF_TLS_RECORD_BYTES;
        char *unsent = malloc(room);
        if (unsent == NULL)
            return UV_ENOMEM;
        if (used > 0)
            memcpy(unsent, conn->unsent + conn->unsent_begin, used);
        free(conn->unsent);
        conn->unsent = unsent;
        conn->unsent_room = room;
    } else if (used > 0 && conn->unsent_begin > 0) {
        memmove(conn->unsent, conn->unsent + conn->unsent_begin, used);
    }
    memcpy(conn->unsent + used, data, len);
    conn->unsent_begin = 0;
    conn->unsent_end = used + len;
    conn->tls->net->buffered_bytes += len;
    conn->base.unsent = conn->unsent_end;
    conn->stream->blocked = true;
    return 0;
}

static void drop_unsent(struct vf_tls_conn *conn, size_t n)
{
    conn->unsent_begin += n;
    conn->tls->net->buffered_bytes -= n;
    conn->base.unsent = conn->unsent_end - conn->unsent_begin;
    if (conn->base.unsent > 0)
        return;
    free(conn->unsent);
    conn->unsent = NULL;
    conn->unsent_begin = conn->unsent_end = conn->unsent_room = 0;
}

/* Returns 0, or a negative code when nothing can be sent any more. */
static int push_unsent(struct vf_tls_conn *conn)
{
    if (conn->base.unsent == 0 || conn->stream->blocked)
        return 0;
    ssize_t n = vf_transport_send(conn->stream, conn->unsent + conn->unsent_begin,
                                  conn->unsent_end - conn->unsent_begin);
    if (n < 0 && n != UV_EAGAIN)
        return (int)n;
    if (n > 0)
        drop_unsent(conn, (size_t)n);
    conn->stream->blocked = conn->base.unsent > 0;
    return 0;
}

static int push_output(struct vf_tls_conn *conn)
{
    struct vf_tls *tls = conn->tls;
    size_t len = tls->output_len;
    ssize_t n = 0;
    tls->output_len = 0;
    if (len == 0)
        return 0;
    if (conn->base.unsent == 0 && !conn->stream->blocked)
        n = vf_transport_send(conn->stream, tls->output, len);
    if (n < 0 && n != UV_EAGAIN)
        return (int)n;
    n = n < 0 ? 0 : n;
    return (size_t)n < len ? keep_unsent(conn, tls->output + n, len - (size_t)n) : 0;
}

static int on_send(void *owner, const unsigned char *data, size_t len)
{
    struct vf_tls_conn *conn = owner;
    struct vf_tls *tls = conn->tls;
    if (len > 0 && data[0] == MBEDTLS_SSL_MSG_ALERT)
        conn->was_alerted = true;
    conn->sent_type = len > 0 ? data[0] : 0;
    conn->sent_len = (uint32_t)len;
    if (tls->output_len + len > VF_TLS_SEND_BYTES) {
        int rc = push_output(conn);
        if (rc < 0)
            return MBEDTLS_ERR_SSL_CONN_EOF;
    }
    memcpy(tls->output + tls->output_len, data, len); /* a record is far smaller */
    tls->output_len += len;
    return (int)len;
}

/* Receiving: one large read, from which mbedTLS takes what it asks for. */

static int read_more(struct vf_tls_conn *conn)
{
    struct vf_stream *stream = conn->stream;
    size_t most = conn->wanted < VF_TLS_READ_BYTES ? conn->wanted : VF_TLS_READ_BYTES;
    conn->is_starved = true;
    if (!stream->readable)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (most < VF_TLS_RECORD_BYTES)
        most = VF_TLS_RECORD_BYTES;
    ssize_t n = vf_transport_recv(stream, conn->tls->input, most);
    if (n == UV_EAGAIN)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (n <= 0) {
        conn->failure = (int)n;
        conn->is_at_end = true;
        return MBEDTLS_ERR_SSL_CONN_EOF;
    }
    free(conn->owns_input ? conn->input : NULL);
    conn->is_starved = conn->owns_input = false;
    conn->input = conn->tls->input;
    conn->input_begin = 0;
    conn->input_end = (size_t)n;
    return 0;
}

/* The first bytes of a record are at hand. Returns 0, or why it is not read. */
static int judge_record(struct vf_tls_conn *conn, unsigned char type)
{
    conn->was_alerted = false; /* of what came before, such as a wish to renegotiate */
    if (!vf_tls_flood_record(&conn->flood, conn->base.is_open))
        return VF_TLS_CODE_FLOOD;
    if (conn->base.is_open && type == MBEDTLS_SSL_MSG_CHANGE_CIPHER_SPEC) /* RFC 8446 section 5 */
        return MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE;
    conn->ssl.MBEDTLS_PRIVATE(nb_zero) = 0; /* empty records in a row, of which it bears three */
    return 0;
}

/* Without keys, a record holds 2^14 bytes; with keys, somewhat more (RFC 8446 section 5.2, RFC 5246
 * section 6.2.3). */
static size_t most_bytes(const struct vf_tls_conn *conn)
{
    if (conn->ssl.MBEDTLS_PRIVATE(transform_in) == NULL)
        return VF_TLS_RECORD_BYTES;
    return mbedtls_ssl_get_version_number(&conn->ssl) == MBEDTLS_SSL_VERSION_TLS1_3
               ? VF_TLS_RECORD_BYTES + 256
               : VF_TLS_RECORD_BYTES + 2048;
}

/* The head of a record is there. Returns 0, or why it is not read: what mbedTLS calls an invalid
 * record alike. What is no TLS at all is left to it. */
static int judge_head(const struct vf_tls_conn *conn, const unsigned char *head)
{
    bool is_first = !conn->base.is_open && conn->flood.records == 1;
    size_t bytes = (size_t)head[3] << 8 | head[4];
    bool is_known = head[0] >= MBEDTLS_SSL_MSG_CHANGE_CIPHER_SPEC &&
                    head[0] <= MBEDTLS_SSL_MSG_APPLICATION_DATA;
    if (head[1] != 3)
        return 0;
    if (!is_known || (bytes == 0 && head[0] != MBEDTLS_SSL_MSG_APPLICATION_DATA) ||
        (is_first && head[0] == MBEDTLS_SSL_MSG_CHANGE_CIPHER_SPEC))
        return MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE;
    return bytes > most_bytes(conn) ? VF_TLS_CODE_OVERFLOW : 0;
}

static int on_recv(void *owner, unsigned char *out, size_t len)
{
    struct vf_tls_conn *conn = owner;
    if (conn->input_begin == conn->input_end) {
        int rc = read_more(conn);
        if (rc < 0)
            return rc;
    }
    if (conn->ssl.MBEDTLS_PRIVATE(in_left) == 0) {
        int rc = judge_record(conn, (unsigned char)conn->input[conn->input_begin]);
        if (rc < 0)
            return rc;
    }
    size_t n = conn->input_end - conn->input_begin;
    n = n < len ? n : len;
    memcpy(out, conn->input + conn->input_begin, n);
    conn->input_begin += n;
    for (size_t i = 0; i < n && conn->n_first < sizeof(conn->first); i++)
        conn->first[conn->n_first++] = out[i];
    size_t there = conn->ssl.MBEDTLS_PRIVATE(in_left);
    if (there < HEAD_BYTES && there + n >= HEAD_BYTES) {
        int rc = judge_head(conn, out - there); /* mbedTLS has all of it in one piece */
        if (rc < 0)
            return rc;
    }
    return (int)n;
}

/* tls->input is another's soon: what is left of it is kept. */
static int keep_input(struct vf_tls_conn *conn)
{
    size_t left = conn->input_end - conn->input_begin;
    if (left == 0) {
        free(conn->owns_input ? conn->input : NULL);
        conn->input = NULL;
        conn->input_begin = conn->input_end = 0;
        conn->owns_input = false;
    } else if (!conn->owns_input) {
        char *copy = malloc(left);
        if (copy == NULL)
            return UV_ENOMEM;
        memcpy(copy, conn->input + conn->input_begin, left);
        conn->input = copy;
        conn->input_begin = 0;
        conn->input_end = left;
        conn->owns_input = true;
    }
    return 0;
}

/* What every call ends with. `rc` is its result; returned unless something is worse. */
static ssize_t settle(struct vf_tls_conn *conn, ssize_t rc)
{
    int sent = push_output(conn);
    int kept = keep_input(conn);
    if (conn->base.is_open)
        vf_tls_return_buffers(conn);
    if (conn->owns_input || conn->saw_end || conn->failure < 0 ||
        (conn->base.is_open && mbedtls_ssl_check_pending(&conn->ssl) != 0))
        conn->stream->readable = true;
    if (rc >= 0 && sent < 0)
        return sent;
    return rc >= 0 && kept < 0 ? kept : rc;
}

/* True when mbedTLS has told the peer. With TLS 1.3 only the size of the record shows that. */
static bool has_alerted(const struct vf_tls_conn *conn)
{
    return conn->was_alerted || (conn->sent_type == MBEDTLS_SSL_MSG_APPLICATION_DATA &&
                                 conn->sent_len > 0 && conn->sent_len <= ALERT_BYTES);
}

static void send_alert(struct vf_tls_conn *conn, uint8_t alert)
{
    if (vf_tls_borrow_output(conn) < 0)
        return;
    if (conn->ssl.MBEDTLS_PRIVATE(out_left) >
        0) /* then this call sends what is left, and no more */
        mbedtls_ssl_send_alert_message(&conn->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert);
    mbedtls_ssl_send_alert_message(&conn->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert);
}

/* mbedTLS has one code for a client's share that is no key and for a message out of place: where it
 * is tells them apart. */
static int precise(const struct vf_tls_conn *conn, int code)
{
    bool is_share = conn->server != NULL && code == MBEDTLS_ERR_SSL_BAD_INPUT_DATA &&
                    conn->ssl.MBEDTLS_PRIVATE(state) == MBEDTLS_SSL_SERVER_HELLO;
    return is_share ? MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER : code;
}

/* Remembers why, and tells the peer, unless mbedTLS has done that. */
static int note_failure(struct vf_tls_conn *conn, int code)
{
    bool is_end = code == MBEDTLS_ERR_SSL_CONN_EOF || code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY;
    conn->code = code = precise(conn, code);
    if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && conn->ssl.MBEDTLS_PRIVATE(in_msg) != NULL)
        conn->alert = conn->ssl.MBEDTLS_PRIVATE(in_msg)[1];
    else if (!is_end && !has_alerted(conn))
        send_alert(conn, vf_tls_alert_for(code));
    if (conn->failure == 0)
        conn->failure = code == MBEDTLS_ERR_SSL_ALLOC_FAILED ? UV_ENOMEM : VF_ETLS;
    return conn->failure;
}

/* Handshake */

static void release_identities(struct vf_tls_conn *conn)
{
    for (int i = 0; i < conn->n_identities; i++)
        vf_tls_identity_release(&conn->identities[i]);
    conn->n_identities = 0;
}

static void on_open(struct vf_tls_conn *conn)
{
    conn->base.is_open = true;
    vf_tls_flood_open(&conn->flood, vf_clock_ns());
    release_identities(conn);
}

/* From its Finished on, a server sends with the keys for content (RFC 8446 section 7.1), alerts
 * included, and mbedTLS does so only when the client has finished, too: an alert about the client's
 * certificate would be one that the client cannot read. */
static void use_content_keys(mbedtls_ssl_context *ssl)
{
    int state = ssl->MBEDTLS_PRIVATE(state);
    bool awaits_client = state == MBEDTLS_SSL_CLIENT_CERTIFICATE ||
                         state == MBEDTLS_SSL_CLIENT_CERTIFICATE_VERIFY ||
                         state == MBEDTLS_SSL_CLIENT_FINISHED;
    if (!awaits_client || ssl->MBEDTLS_PRIVATE(transform_application) == NULL ||
        ssl->MBEDTLS_PRIVATE(transform_out) == ssl->MBEDTLS_PRIVATE(transform_application))
        return;
    ssl->MBEDTLS_PRIVATE(transform_out) = ssl->MBEDTLS_PRIVATE(transform_application);
    memset(ssl->MBEDTLS_PRIVATE(cur_out_ctr), 0, sizeof(ssl->MBEDTLS_PRIVATE(cur_out_ctr)));
}

/* A step of a server. To a client of TLS 1.3 without a certificate mbedTLS says no_certificate, an
 * alert of SSL 3. It has not left yet, so another takes its place, in the order of records, too. */
static int take_server_step(struct vf_tls_conn *conn)
{
    mbedtls_ssl_context *ssl = &conn->ssl;
    size_t output_len = conn->tls->output_len;
    unsigned char order[sizeof(ssl->MBEDTLS_PRIVATE(cur_out_ctr))];
    if (ssl->MBEDTLS_PRIVATE(state) == MBEDTLS_SSL_TLS1_3_NEW_SESSION_TICKET && conn->is_asked) {
        ssl->MBEDTLS_PRIVATE(state) = MBEDTLS_SSL_HANDSHAKE_OVER;
        return 0;
    }
    use_content_keys(ssl);
    memcpy(order, ssl->MBEDTLS_PRIVATE(cur_out_ctr), sizeof(order));
    int rc = mbedtls_ssl_handshake_step(ssl);
    if (rc != MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE || conn->tls->output_len <= output_len ||
        mbedtls_ssl_get_version_number(ssl) != MBEDTLS_SSL_VERSION_TLS1_3)
        return rc;
    conn->tls->output_len = output_len;
    memcpy(ssl->MBEDTLS_PRIVATE(cur_out_ctr), order, sizeof(order));
    mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                   MBEDTLS_SSL_ALERT_MSG_CERT_REQUIRED);
    conn->was_alerted = true;
    return rc;
}

static int take_steps(struct vf_tls_conn *conn)
{
    mbedtls_ssl_context *ssl = &conn->ssl;
    int rc = 0;
    while (rc == 0 && ssl->MBEDTLS_PRIVATE(state) != MBEDTLS_SSL_HANDSHAKE_OVER) {
        conn->sent_len = 0;
        rc = conn->server != NULL ? take_server_step(conn) : mbedtls_ssl_handshake_step(ssl);
    }
    return rc;
}

/* Returns 0 when it is over, UV_EAGAIN, or why it failed. */
static int shake_hands(struct vf_tls_conn *conn)
{
    if (conn->failure < 0)
        return conn->failure;
    conn->wanted = VF_TLS_READ_BYTES;
    conn->tls->shaking = conn;
    conn->tls->opened_ticket = false;
    int rc = take_steps(conn);
    conn->is_resumed = conn->is_resumed || conn->tls->opened_ticket;
    if (rc == 0 && conn->has_other_key)
        rc = MBEDTLS_ERR_X509_CERT_VERIFY_FAILED;
    if (rc == 0) {
        on_open(conn);
        return 0;
    }
    if (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE)
        return UV_EAGAIN;
    return note_failure(conn, rc);
}

static int start(struct vf_stream *stream)
{
    struct vf_tls_conn *conn = of_stream(stream);
    int rc = push_unsent(conn);
    if (rc == 0) {
        stream->readable = true;
        rc = shake_hands(conn);
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
        note_failure(conn, rc);
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
        int rc = shake_hands(conn);
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
        note_failure(conn, VF_TLS_CODE_FLOOD);
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
            continue; /* on_send takes everything */
        if (rc <= 0)
            return conn->failure < 0 ? conn->failure : note_failure(conn, rc);
        record = vf_str_make(record.data + rc, record.len - (size_t)rc);
    }
    return 0;
}

static ssize_t send_content(struct vf_stream *stream, const struct iovec *given, int n)
{
    struct vf_tls_conn *conn = of_stream(stream);
    struct vf_tls *tls = conn->tls;
    struct iovec parts[VF_TLS_PARTS];
    int at = 0, rc = push_unsent(conn);
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
            rc = push_output(conn);
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
    push_output(conn);
    vf_tls_return_buffers(conn);
}

static void free_conn(struct vf_stream *stream, bool is_clean)
{
    struct vf_tls_conn *conn = of_stream(stream);
    if (is_clean)
        end_output(stream);
    drop_unsent(conn, conn->base.unsent);
    if (conn->owns_input)
        free(conn->input);
    mbedtls_ssl_free(&conn->ssl);
    release_identities(conn);
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
    mbedtls_ssl_set_bio(&conn->ssl, conn, on_send, on_recv, NULL);
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
    int rc = keep_unsent(of_stream(stream), data, len);
    stream->blocked = false; /* it waits for the connection only */
    return rc;
}
