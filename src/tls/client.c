#include "tls/client.h"

#include <arpa/inet.h>
#include <mbedtls/sha256.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "tls/core.h"
#include "tls/identity_parts.h"
#include "tls/trust_parts.h"

/* True when the certificate names the address (RFC 5280 section 4.2.1.6). mbedTLS would ask for it
 * as for a name, which RFC 6066 section 3 forbids, so it is compared here. */
static bool names_address(const struct vf_tls_conn *conn, const mbedtls_x509_crt *certificate)
{
    const mbedtls_x509_sequence *at = &certificate->subject_alt_names;
    for (; at != NULL && at->buf.p != NULL; at = at->next)
        if ((at->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK) == MBEDTLS_X509_SAN_IP_ADDRESS &&
            at->buf.len == conn->address_len &&
            memcmp(at->buf.p, conn->address, conn->address_len) == 0)
            return true;
    return false;
}

static bool has_pinned_key(const struct vf_tls_client *client, const mbedtls_x509_crt *certificate)
{
    uint8_t hash[32];
    if (mbedtls_sha256(certificate->pk_raw.p, certificate->pk_raw.len, hash, 0) != 0)
        return false;
    for (size_t i = 0; i < client->n_pins; i++)
        if (memcmp(client->pins[i], hash, sizeof(hash)) == 0)
            return true;
    return client->n_pins == 0;
}

static int judge(void *owner, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    struct vf_tls_conn *conn = owner;
    const struct vf_tls_client *client = conn->client;
    if (!client->verify)
        *flags = 0;
    else if (depth > (int)client->max_depth + 1) /* the authority itself is not counted */
        *flags |= MBEDTLS_X509_BADCERT_OTHER;
    if (depth > 0)
        return 0;
    if (client->verify && conn->is_address && !names_address(conn, certificate))
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    conn->has_other_key = !has_pinned_key(client, certificate);
    if (conn->has_other_key)
        *flags |= MBEDTLS_X509_BADCERT_OTHER;
    return 0;
}

/* Says whom the connection is to; addresses are no names. Returns 0 or a code of mbedTLS. */
int vf_tls_set_name(struct vf_tls_conn *conn)
{
    bool is_ipv4 = uv_inet_pton(AF_INET, conn->name, conn->address) == 0;
    conn->is_address = is_ipv4 || uv_inet_pton(AF_INET6, conn->name, conn->address) == 0;
    conn->address_len = is_ipv4 ? 4 : 16;
    mbedtls_ssl_set_verify(&conn->ssl, judge, conn);
    return mbedtls_ssl_set_hostname(&conn->ssl,
                                    conn->is_address || conn->name[0] == '\0' ? NULL : conn->name);
}

static int configure(struct vf_tls_client *client, const struct vf_tls_client_options *options)
{
    mbedtls_ssl_config *config = &client->config;
    if (mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return UV_ENOMEM;
    vf_tls_configure(client->tls, config, options->min_version >= 13);
    int mode = client->verify       ? MBEDTLS_SSL_VERIFY_REQUIRED
               : client->n_pins > 0 ? MBEDTLS_SSL_VERIFY_OPTIONAL /* for the callback */
                                    : MBEDTLS_SSL_VERIFY_NONE;
    mbedtls_ssl_conf_authmode(config, mode);
    if (client->trust != NULL)
        mbedtls_ssl_conf_ca_chain(config, &client->trust->authorities,
                                  client->trust->has_revocations ? &client->trust->revocations
                                                                 : NULL);
    if (client->identity != NULL &&
        mbedtls_ssl_conf_own_cert(config, &client->identity->chain, &client->identity->key) != 0)
        return UV_ENOMEM;
    for (uint32_t i = 0; i < options->n_alpn; i++)
        if ((client->alpn[i] = strdup(options->alpn[i])) == NULL)
            return UV_ENOMEM;
    if (options->n_alpn > 0 && mbedtls_ssl_conf_alpn_protocols(config, client->alpn) != 0)
        return UV_ENOMEM;
    mbedtls_ssl_conf_session_tickets(config, MBEDTLS_SSL_SESSION_TICKETS_ENABLED);
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
        config, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
    return 0;
}

int vf_tls_client_new(struct vf_tls *tls, const struct vf_tls_client_options *options,
                      struct vf_tls_trust *trust, struct vf_tls_identity *identity,
                      struct vf_tls_client **out)
{
    struct vf_tls_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return UV_ENOMEM;
    client->refs = 1;
    client->tls = tls;
    client->verify = options->verify != 0;
    client->max_depth = options->depth;
    client->n_pins = options->pins.len / 32 < VF_TLS_PINS ? options->pins.len / 32 : VF_TLS_PINS;
    if (client->n_pins > 0)
        memcpy(client->pins, options->pins.data, client->n_pins * 32);
    client->trust = trust == NULL ? NULL : vf_tls_trust_retain(trust);
    client->identity = identity == NULL ? NULL : vf_tls_identity_retain(identity);
    mbedtls_ssl_config_init(&client->config);
    mbedtls_ssl_session_init(&client->session);
    int rc = configure(client, options);
    if (rc < 0) {
        vf_tls_client_release(&client);
        return rc;
    }
    *out = client;
    return 0;
}

struct vf_tls_client *vf_tls_client_retain(struct vf_tls_client *client)
{
    client->refs++;
    return client;
}

void vf_tls_client_release(struct vf_tls_client **at)
{
    struct vf_tls_client *client = *at;
    *at = NULL;
    if (client == NULL || --client->refs > 0)
        return;
    mbedtls_ssl_session_free(&client->session);
    mbedtls_ssl_config_free(&client->config);
    vf_tls_trust_release(&client->trust);
    vf_tls_identity_release(&client->identity);
    for (size_t i = 0; i < VF_TLS_ALPN; i++)
        free((char *)(uintptr_t)client->alpn[i]);
    free(client);
}

/* Sessions */

void vf_tls_keep_session(struct vf_tls_conn *conn)
{
    struct vf_tls_client *client = conn->client;
    if (client == NULL)
        return;
    mbedtls_ssl_session_free(&client->session);
    mbedtls_ssl_session_init(&client->session);
    client->has_session = mbedtls_ssl_get_session(&conn->ssl, &client->session) == 0;
    memcpy(client->session_name, conn->name, sizeof(conn->name));
}

void vf_tls_offer_session(struct vf_tls_conn *conn)
{
    struct vf_tls_client *client = conn->client;
    if (client->has_session && strcmp(client->session_name, conn->name) == 0)
        conn->has_ticket = mbedtls_ssl_set_session(&conn->ssl, &client->session) == 0;
}
