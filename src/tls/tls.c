#include "tls/tls.h"

#include <psa/crypto.h>
#include <stdlib.h>
#include <uv.h>

#include "tls/buffers.h"
#include "tls/core.h"

/* In our order of preference; the client's counts among those of TLS 1.3. AES-128-GCM first: it is
 * the fastest where there are AES instructions, and none of these is weak. */
static const int suites[] = {
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    0,
};

static const uint16_t groups[] = {
    MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1,
    MBEDTLS_SSL_IANA_TLS_GROUP_NONE,
};

/* No SHA-1. PKCS #1 v1.5 is for TLS 1.2 and for the signatures in certificates. */
static const uint16_t signatures[] = {
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP521R1_SHA512, MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,       MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,       MBEDTLS_TLS1_3_SIG_NONE,
};

int vf_tls_random(void *tls, unsigned char *out, size_t len)
{
    return mbedtls_ctr_drbg_random(&((struct vf_tls *)tls)->random, out, len);
}

void vf_tls_configure(struct vf_tls *tls, mbedtls_ssl_config *config, bool is_modern)
{
    mbedtls_ssl_conf_rng(config, vf_tls_random, tls);
    mbedtls_ssl_conf_min_tls_version(config, is_modern ? MBEDTLS_SSL_VERSION_TLS1_3
                                                       : MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_3);
    mbedtls_ssl_conf_ciphersuites(config, suites);
    mbedtls_ssl_conf_groups(config, groups);
    mbedtls_ssl_conf_sig_algs(config, signatures);
    mbedtls_ssl_conf_tls13_key_exchange_modes(
        config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL |
                    MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL);
#if defined(MBEDTLS_SSL_RENEGOTIATION)
    mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
}

static int seed(struct vf_tls *tls)
{
    if (psa_crypto_init() != PSA_SUCCESS)
        return UV_EIO;
    if (mbedtls_ctr_drbg_seed(&tls->random, mbedtls_entropy_func, &tls->entropy, NULL, 0) != 0)
        return UV_EIO;
    struct vf_tls_ticket_key *key = &tls->own_ticket_key;
    return vf_tls_random(tls, key->name, sizeof(key->name)) == 0 &&
                   vf_tls_random(tls, key->key, sizeof(key->key)) == 0
               ? 0
               : UV_EIO;
}

int vf_tls_new(struct vf_net *net, struct vf_tls **out)
{
    struct vf_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return UV_ENOMEM;
    tls->net = net;
    mbedtls_entropy_init(&tls->entropy);
    mbedtls_ctr_drbg_init(&tls->random);
    tls->input = malloc(VF_TLS_READ_BYTES);
    tls->output = malloc(VF_TLS_SEND_BYTES);
    tls->content = malloc(VF_TLS_RECORD_BYTES);
    int rc = tls->input == NULL || tls->output == NULL || tls->content == NULL ? UV_ENOMEM : 0;
    if (rc == 0)
        rc = seed(tls);
    if (rc < 0) {
        vf_tls_free(tls);
        return rc;
    }
    *out = tls;
    return 0;
}

void vf_tls_free(struct vf_tls *tls)
{
    if (tls == NULL)
        return;
    vf_tls_free_buffers(tls);
    mbedtls_ctr_drbg_free(&tls->random);
    mbedtls_entropy_free(&tls->entropy);
    free(tls->input);
    free(tls->output);
    free(tls->content);
    free(tls);
}
