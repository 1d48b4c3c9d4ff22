#include "tls/handshake.h"

#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "tls/failure.h"
#include "tls/identity_parts.h"

void vf_tls_handshake_forget(struct vf_tls_conn *conn)
{
    for (int i = 0; i < conn->n_identities; i++)
        vf_tls_identity_release(&conn->identities[i]);
    conn->n_identities = 0;
}

static void on_open(struct vf_tls_conn *conn)
{
    conn->base.is_open = true;
    vf_tls_flood_open(&conn->flood, vf_clock_ns());
    vf_tls_handshake_forget(conn);
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

int vf_tls_handshake_go_on(struct vf_tls_conn *conn)
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
    return vf_tls_failure_note(conn, rc);
}
