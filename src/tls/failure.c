#include "tls/failure.h"

#include <uv.h>

#include "base/error.h"
#include "tls/buffers.h"

enum { ALERT_BYTES = 40 /* of the record of an alert with TLS 1.3, padded as mbedTLS does */ };

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

int vf_tls_failure_note(struct vf_tls_conn *conn, int code)
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
