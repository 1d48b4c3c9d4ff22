/* tls/info.c - what can be known of a TLS connection, and why one failed. */
#include <mbedtls/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "tls/core.h"

static const struct vf_tls_conn *of_stream(const struct vf_stream *stream)
{
    return (const struct vf_tls_conn *)stream->transport;
}

static const char *cipher_of(const struct vf_tls_conn *conn)
{
    switch (mbedtls_ssl_get_ciphersuite_id_from_ssl(&conn->ssl)) {
    case MBEDTLS_TLS1_3_AES_128_GCM_SHA256:
        return "TLS_AES_128_GCM_SHA256";
    case MBEDTLS_TLS1_3_AES_256_GCM_SHA384:
        return "TLS_AES_256_GCM_SHA384";
    case MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256:
        return "TLS_CHACHA20_POLY1305_SHA256";
    case MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:
        return "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    case MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:
        return "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    case MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:
        return "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    case MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:
        return "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    case MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
        return "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    case MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
        return "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";
    default:
        return "";
    }
}

void vf_tls_info(const struct vf_stream *stream, struct vf_tls_info *out)
{
    const struct vf_tls_conn *conn = of_stream(stream);
    *out = (struct vf_tls_info){.version = "", .cipher = "", .name = conn->name, .alpn = ""};
    if (!conn->base.is_open)
        return;
    const char *alpn = mbedtls_ssl_get_alpn_protocol(&conn->ssl);
    out->version = mbedtls_ssl_get_version_number(&conn->ssl) == MBEDTLS_SSL_VERSION_TLS1_3
                       ? "TLSv1.3"
                       : "TLSv1.2";
    out->cipher = cipher_of(conn);
    out->alpn = alpn == NULL ? "" : alpn;
    out->is_resumed = conn->is_resumed;
    out->is_asked = conn->is_asked;
    if (conn->server != NULL) {
        out->trust_id = conn->server->options.trust_id;
        out->depth = conn->server->options.depth;
    }
    out->has_peer_certificate = mbedtls_ssl_get_peer_cert(&conn->ssl) != NULL;
    out->verify_flags = out->has_peer_certificate ? mbedtls_ssl_get_verify_result(&conn->ssl) : 0;
}

uint32_t vf_tls_flood_of(const struct vf_stream *stream)
{
    return of_stream(stream)->flood.kind;
}

bool vf_tls_was_cut(const struct vf_stream *stream)
{
    return of_stream(stream)->was_cut;
}

size_t vf_tls_peer_chain(const struct vf_stream *stream, char *out, size_t room)
{
    const mbedtls_x509_crt *at = mbedtls_ssl_get_peer_cert(&of_stream(stream)->ssl);
    size_t total = 0;
    for (; at != NULL; at = at->next) {
        if (total + at->raw.len <= room)
            memcpy(out + total, at->raw.p, at->raw.len);
        total += at->raw.len;
    }
    return total;
}

/* Reasons */

struct row {
    int code;
    const char *word;
};

static const struct row codes[] = {
    {MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION, "protocol_version"},
    {MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL, "no_application_protocol"},
    {MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, "handshake_failure"},
    {MBEDTLS_ERR_SSL_INVALID_RECORD, "invalid_record"},
    {MBEDTLS_ERR_SSL_INVALID_MAC, "bad_record_mac"},
    {MBEDTLS_ERR_SSL_DECODE_ERROR, "decode_error"},
    {MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER, "illegal_parameter"},
    {MBEDTLS_ERR_SSL_UNSUPPORTED_EXTENSION, "unsupported_extension"},
    {MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, "unexpected_message"},
    {MBEDTLS_ERR_SSL_BAD_INPUT_DATA, "unexpected_message"},
    {MBEDTLS_ERR_SSL_UNEXPECTED_RECORD, "unexpected_record"},
    {MBEDTLS_ERR_SSL_UNRECOGNIZED_NAME, "unrecognized_name"},
    {MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE, "no_client_certificate"},
    {MBEDTLS_ERR_SSL_BAD_CERTIFICATE, "bad_certificate"},
    {MBEDTLS_ERR_SSL_PRIVATE_KEY_REQUIRED, "no_certificate"},
    {MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL, "message_too_large"},
    {MBEDTLS_ERR_SSL_ALLOC_FAILED, "out_of_memory"},
    {MBEDTLS_ERR_SSL_CONN_EOF, "cut"},
    {MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY, "cut"},
    {VF_TLS_CODE_OVERFLOW, "record_overflow"},
    {VF_TLS_CODE_FALLBACK, "inappropriate_fallback"},
};

/* What tells the peer, where mbedTLS has not. */
static const struct {
    int code;
    uint8_t alert;
} own_alerts[] = {
    {MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION, MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION},
    {MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL, MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL},
    {MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE},
    {MBEDTLS_ERR_SSL_INVALID_MAC, MBEDTLS_SSL_ALERT_MSG_BAD_RECORD_MAC},
    {MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER, MBEDTLS_SSL_ALERT_MSG_ILLEGAL_PARAMETER},
    {MBEDTLS_ERR_SSL_UNSUPPORTED_EXTENSION, MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_EXT},
    {MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE},
    {MBEDTLS_ERR_SSL_BAD_INPUT_DATA, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE},
    {MBEDTLS_ERR_SSL_UNEXPECTED_RECORD, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE},
    {MBEDTLS_ERR_SSL_UNRECOGNIZED_NAME, MBEDTLS_SSL_ALERT_MSG_UNRECOGNIZED_NAME},
    {MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE},
    {MBEDTLS_ERR_SSL_BAD_CERTIFICATE, MBEDTLS_SSL_ALERT_MSG_BAD_CERT},
    {MBEDTLS_ERR_SSL_PRIVATE_KEY_REQUIRED, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE},
    {MBEDTLS_ERR_SSL_ALLOC_FAILED, MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR},
    {VF_TLS_CODE_FLOOD, MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE},
    {VF_TLS_CODE_OVERFLOW, MBEDTLS_SSL_ALERT_MSG_RECORD_OVERFLOW},
    {VF_TLS_CODE_FALLBACK, MBEDTLS_SSL_ALERT_MSG_INAPROPRIATE_FALLBACK},
};

static const struct row flags[] = {
    {MBEDTLS_X509_BADCERT_REVOKED, "revoked"},
    {MBEDTLS_X509_BADCERT_EXPIRED, "expired"},
    {MBEDTLS_X509_BADCERT_FUTURE, "not_yet_valid"},
    {MBEDTLS_X509_BADCERT_CN_MISMATCH, "other_name"},
    {MBEDTLS_X509_BADCERT_NOT_TRUSTED, "not_trusted"},
    {MBEDTLS_X509_BADCERT_BAD_MD, "weak_hash"},
    {MBEDTLS_X509_BADCERT_BAD_PK, "weak_key"},
    {MBEDTLS_X509_BADCERT_BAD_KEY, "weak_key"},
    {MBEDTLS_X509_BADCERT_KEY_USAGE, "key_usage"},
    {MBEDTLS_X509_BADCERT_EXT_KEY_USAGE, "key_usage"},
    {MBEDTLS_X509_BADCRL_EXPIRED, "revocation_list_expired"},
    {MBEDTLS_X509_BADCRL_NOT_TRUSTED, "revocation_list_not_trusted"},
    {MBEDTLS_X509_BADCERT_OTHER, "chain_too_long"},
    {VF_TLS_NOT_JUDGED, "not_judged"},
};

static const struct row alerts[] = {
    {0, "close_notify"},
    {10, "unexpected_message"},
    {20, "bad_record_mac"},
    {22, "record_overflow"},
    {40, "handshake_failure"},
    {42, "bad_certificate"},
    {43, "unsupported_certificate"},
    {44, "certificate_revoked"},
    {45, "certificate_expired"},
    {46, "certificate_unknown"},
    {47, "illegal_parameter"},
    {48, "unknown_ca"},
    {49, "access_denied"},
    {50, "decode_error"},
    {51, "decrypt_error"},
    {70, "protocol_version"},
    {71, "insufficient_security"},
    {80, "internal_error"},
    {86, "inappropriate_fallback"},
    {90, "user_canceled"},
    {109, "missing_extension"},
    {110, "unsupported_extension"},
    {112, "unrecognized_name"},
    {116, "certificate_required"},
    {120, "no_application_protocol"},
};

const char *vf_tls_verify_word(uint32_t verify_flags)
{
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if ((verify_flags & (uint32_t)flags[i].code) != 0)
            return flags[i].word;
    return "not_trusted";
}

static const char *find(const struct row *rows, size_t n, int code)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].code == code)
            return rows[i].word;
    return NULL;
}

uint8_t vf_tls_alert_for(int code)
{
    for (size_t i = 0; i < sizeof(own_alerts) / sizeof(own_alerts[0]); i++)
        if (own_alerts[i].code == code)
            return own_alerts[i].alert;
    return MBEDTLS_SSL_ALERT_MSG_DECODE_ERROR;
}

/* What is wrong with the head of the very first record, or NULL (RFC 8446 section 5.1). */
static const char *fault_of_first(const struct vf_tls_conn *conn)
{
    const uint8_t *first = conn->first;
    if (conn->n_first > 0 && (first[0] < 20 || first[0] > 24))
        return "not_tls";
    if (conn->n_first > 1 && first[1] != 3)
        return "not_tls";
    if (conn->n_first > 0 && first[0] != MBEDTLS_SSL_MSG_HANDSHAKE)
        return "unexpected_message";
    if (conn->n_first == 5 && (first[3] << 8 | first[4]) > VF_TLS_RECORD_BYTES + 256)
        return "record_overflow";
    return NULL;
}

const char *vf_tls_reason(const struct vf_stream *stream, char *text, size_t size)
{
    const struct vf_tls_conn *conn = of_stream(stream);
    const char *word = find(codes, sizeof(codes) / sizeof(codes[0]), conn->code);
    const char *fault =
        conn->base.is_open || conn->failure != VF_ETLS ? NULL : fault_of_first(conn);
    if (conn->client != NULL && conn->has_other_key) {
        snprintf(text, size, "bad_certificate:other_key");
    } else if (fault != NULL && conn->server != NULL) {
        snprintf(text, size, "%s", fault);
    } else if (conn->code == VF_TLS_CODE_FLOOD) {
        snprintf(text, size, "record_flood:%s", vf_tls_flood_word(conn->flood.kind));
    } else if (conn->code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        word = find(alerts, sizeof(alerts) / sizeof(alerts[0]), conn->alert);
        snprintf(text, size, "alert:%s", word == NULL ? "unknown" : word);
    } else if (conn->code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
        snprintf(text, size, "bad_certificate:%s",
                 vf_tls_verify_word(mbedtls_ssl_get_verify_result(&conn->ssl)));
    } else if (conn->code == MBEDTLS_ERR_SSL_CONN_EOF && conn->failure < 0 &&
               conn->failure != VF_ETLS) {
        snprintf(text, size, "reset");
    } else if (word != NULL) {
        snprintf(text, size, "%s", word);
    } else {
        snprintf(text, size, "error:%04x", (unsigned)-conn->code);
    }
    return text;
}
