#include "tls/input.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "net/op.h"

enum { HEAD_BYTES = 5 /* of a record */ };

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

int vf_tls_input_take(void *owner, unsigned char *out, size_t len)
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

int vf_tls_input_keep(struct vf_tls_conn *conn)
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
