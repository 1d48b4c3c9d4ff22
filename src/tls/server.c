#include "tls/server.h"

#include <mbedtls/oid.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "tls/client_hello.h"
#include "tls/core.h"
#include "tls/identity_parts.h"
#include "tls/trust_parts.h"

enum { EARLY_BYTES = 16 * 1024 /* that clients send ahead, which is skipped: we offer none */ };

/* None is named, so clients show what they have. */
static const mbedtls_x509_crt no_authorities;

/* What is shown is judged later: here it is verified without effect. */
static void ask_client(struct vf_tls_conn *conn)
{
    uint32_t client_auth = conn->server->options.client_auth;
    bool asks = client_auth != VF_TLS_AUTH_REQUIRED && vf_tls_name_asks(conn);
    conn->is_asked = client_auth != VF_TLS_AUTH_NONE || asks;
    if (!asks)
        return;
    mbedtls_ssl_set_hs_authmode(&conn->ssl, MBEDTLS_SSL_VERIFY_OPTIONAL);
    mbedtls_ssl_set_hs_dn_hints(&conn->ssl, &no_authorities);
}

static int check_hello(const mbedtls_ssl_context *ssl)
{
    bool is_older = mbedtls_ssl_get_version_number(ssl) != MBEDTLS_SSL_VERSION_TLS1_3;
    switch (vf_client_hello_check(ssl->MBEDTLS_PRIVATE(in_msg), ssl->MBEDTLS_PRIVATE(in_hslen),
                                  is_older)) {
    case 0:
        return 0;
    case VF_ALERT_ILLEGAL_PARAMETER:
        return MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER;
    case VF_ALERT_INAPPROPRIATE_FALLBACK:
        return VF_TLS_CODE_FALLBACK;
    default:
        return MBEDTLS_ERR_SSL_DECODE_ERROR;
    }
}

/* The client has said what it wants; a HelloRetryRequest makes it say so twice. */
static int on_hello(mbedtls_ssl_context *ssl)
{
    struct vf_tls_conn *conn = mbedtls_ssl_get_user_data_p(ssl);
    struct vf_tls_server *server = conn->server;
    int fault = check_hello(ssl);
    if (fault != 0 || conn->n_identities > 0)
        return fault;
#ifdef MBEDTLS_SSL_EARLY_DATA
    ssl->MBEDTLS_PRIVATE(session_negotiate)->MBEDTLS_PRIVATE(max_early_data_size) = EARLY_BYTES;
#endif
    struct vf_str name = vf_tls_server_name(conn);
    ask_client(conn);
    conn->n_identities = server->options.choose(server->options.owner, server->options.context,
                                                name, conn->identities, VF_TLS_IDENTITIES);
    for (int i = 0; i < conn->n_identities; i++) {
        struct vf_tls_identity *identity = conn->identities[i];
        int rc = mbedtls_ssl_set_hs_own_cert(ssl, &identity->chain, &identity->key);
        if (rc != 0)
            return rc;
    }
    if (conn->n_identities > 0)
        return 0;
    mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                   MBEDTLS_SSL_ALERT_MSG_UNRECOGNIZED_NAME);
    return MBEDTLS_ERR_SSL_UNRECOGNIZED_NAME;
}

static int limit_depth(void *max_depth, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    (void)certificate;
    if (depth > (int)(uintptr_t)max_depth + 1) /* the authority itself is not counted */
        *flags |= MBEDTLS_X509_BADCERT_OTHER;
    return 0;
}

/* What mbedTLS asks in a handshake, beside the chain, of who signs in it (RFC 5280 sections 4.2.1.3
 * and 4.2.1.12). */
static uint32_t faults_of_usage(const mbedtls_x509_crt *certificate)
{
    uint32_t faults = 0;
    if (mbedtls_x509_crt_check_key_usage(certificate, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0)
        faults |= MBEDTLS_X509_BADCERT_KEY_USAGE;
    if (mbedtls_x509_crt_check_extended_key_usage(certificate, MBEDTLS_OID_CLIENT_AUTH,
                                                  MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH)) != 0)
        faults |= MBEDTLS_X509_BADCERT_EXT_KEY_USAGE;
    return faults;
}

int vf_tls_judge_client(const struct vf_stream *stream, const struct vf_tls_trust *trust,
                        uint32_t depth, uint32_t *flags)
{
    const struct vf_tls_conn *conn = (const struct vf_tls_conn *)stream->transport;
    mbedtls_x509_crt *chain = (mbedtls_x509_crt *)(uintptr_t)mbedtls_ssl_get_peer_cert(&conn->ssl);
    mbedtls_x509_crt *authorities = (mbedtls_x509_crt *)(uintptr_t)&trust->authorities;
    mbedtls_x509_crl *revocations = (mbedtls_x509_crl *)(uintptr_t)&trust->revocations;
    uint32_t faults = 0;
    if (chain == NULL)
        return UV_ENOENT;
    int rc = mbedtls_x509_crt_verify_with_profile(
        chain, authorities, trust->has_revocations ? revocations : NULL,
        &mbedtls_x509_crt_profile_default, NULL, &faults, limit_depth, (void *)(uintptr_t)depth);
    if (rc == MBEDTLS_ERR_X509_ALLOC_FAILED)
        return UV_ENOMEM;
    if (rc != 0 && rc != MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)
        faults = MBEDTLS_X509_BADCERT_OTHER; /* more certificates than mbedTLS walks along */
    *flags = faults | faults_of_usage(chain);
    return 0;
}

static void use_trust(struct vf_tls_server *server)
{
    const struct vf_tls_server_options *options = &server->options;
    struct vf_tls_trust *trust = server->trust;
    if (options->client_auth == VF_TLS_AUTH_NONE) {
        mbedtls_ssl_conf_authmode(&server->config, MBEDTLS_SSL_VERIFY_NONE);
        return;
    }
    mbedtls_ssl_conf_authmode(&server->config, options->client_auth == VF_TLS_AUTH_REQUIRED
                                                   ? MBEDTLS_SSL_VERIFY_REQUIRED
                                                   : MBEDTLS_SSL_VERIFY_OPTIONAL);
    if (trust != NULL)
        mbedtls_ssl_conf_ca_chain(&server->config, &trust->authorities,
                                  trust->has_revocations ? &trust->revocations : NULL);
    mbedtls_ssl_conf_verify(&server->config, limit_depth, (void *)(uintptr_t)options->depth);
}

static int use_alpn(struct vf_tls_server *server)
{
    const struct vf_tls_server_options *options = &server->options;
    for (uint32_t i = 0; i < options->n_alpn; i++)
        server->alpn[i] = options->alpn[i];
    return options->n_alpn == 0 ? 0
                                : mbedtls_ssl_conf_alpn_protocols(&server->config, server->alpn);
}

int vf_tls_server_new(struct vf_tls *tls, const struct vf_tls_server_options *options,
                      struct vf_tls_trust *trust, struct vf_tls_server **out)
{
    struct vf_tls_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return UV_ENOMEM;
    server->refs = 1;
    server->tls = tls;
    server->options = *options;
    server->trust = trust == NULL ? NULL : vf_tls_trust_retain(trust);
    mbedtls_ssl_config_init(&server->config);
    if (mbedtls_ssl_config_defaults(&server->config, MBEDTLS_SSL_IS_SERVER,
                                    MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
        use_alpn(server) != 0) {
        vf_tls_server_release(&server);
        return UV_ENOMEM;
    }
    vf_tls_configure(tls, &server->config, options->min_version >= 13);
    mbedtls_ssl_conf_cert_cb(&server->config, on_hello);
    use_trust(server);
    if (options->tickets != 0 && options->client_auth == VF_TLS_AUTH_NONE)
        vf_tls_use_tickets(server);
    *out = server;
    return 0;
}

struct vf_tls_server *vf_tls_server_variant(struct vf_tls_server *server, bool asks)
{
    struct vf_tls_server_options options = server->options;
    struct vf_tls_server **variant = &server->variants[asks];
    if (options.client_auth != VF_TLS_AUTH_NONE || (!asks && options.tickets == 0))
        return server;
    options.tickets = 0;
    options.client_auth = asks ? VF_TLS_AUTH_OPTIONAL : VF_TLS_AUTH_NONE;
    if (*variant == NULL && vf_tls_server_new(server->tls, &options, server->trust, variant) < 0)
        return NULL;
    return *variant;
}

struct vf_tls_server *vf_tls_server_retain(struct vf_tls_server *server)
{
    server->refs++;
    return server;
}

void vf_tls_server_release(struct vf_tls_server **at)
{
    struct vf_tls_server *server = *at;
    *at = NULL;
    if (server == NULL || --server->refs > 0)
        return;
    vf_tls_server_release(&server->variants[0]);
    vf_tls_server_release(&server->variants[1]);
    mbedtls_ssl_config_free(&server->config);
    vf_tls_trust_release(&server->trust);
    free(server);
}
