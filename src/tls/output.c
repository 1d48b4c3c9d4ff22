#include "tls/output.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "net/op.h"

int vf_tls_output_keep(struct vf_tls_conn *conn, const char *data, size_t len)
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

void vf_tls_output_drop(struct vf_tls_conn *conn, size_t n)
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

int vf_tls_output_resume(struct vf_tls_conn *conn)
{
    if (conn->base.unsent == 0 || conn->stream->blocked)
        return 0;
    ssize_t n = vf_transport_send(conn->stream, conn->unsent + conn->unsent_begin,
                                  conn->unsent_end - conn->unsent_begin);
    if (n < 0 && n != UV_EAGAIN)
        return (int)n;
    if (n > 0)
        vf_tls_output_drop(conn, (size_t)n);
    conn->stream->blocked = conn->base.unsent > 0;
    return 0;
}

int vf_tls_output_push(struct vf_tls_conn *conn)
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
    return (size_t)n < len ? vf_tls_output_keep(conn, tls->output + n, len - (size_t)n) : 0;
}

int vf_tls_output_add(void *owner, const unsigned char *data, size_t len)
{
    struct vf_tls_conn *conn = owner;
    struct vf_tls *tls = conn->tls;
    if (len > 0 && data[0] == MBEDTLS_SSL_MSG_ALERT)
        conn->was_alerted = true;
    conn->sent_type = len > 0 ? data[0] : 0;
    conn->sent_len = (uint32_t)len;
    if (tls->output_len + len > VF_TLS_SEND_BYTES) {
        int rc = vf_tls_output_push(conn);
        if (rc < 0)
            return MBEDTLS_ERR_SSL_CONN_EOF;
    }
    memcpy(tls->output + tls->output_len, data, len); /* a record is far smaller */
    tls->output_len += len;
    return (int)len;
}
