/* AES-GCM for mbedTLS (NIST SP 800-38D): each record of TLS. A whole message goes through one EVP
 * context that keeps its key, so that a record costs a nonce and no set-up. EVP shows no tag of
 * what it decrypts, so messages in pieces, which TLS does not have, take libcrypto's bare GCM. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <limits.h>
#include <mbedtls/gcm.h>
#include <mbedtls/platform_util.h>
#include <openssl/aes.h>
#include <openssl/evp.h>
#include <openssl/modes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_TAG = 4, MAX_TAG = 16, USUAL_NONCE = 12, MAX_NONCE = 128 };

struct vf_gcm_pieces {
    AES_KEY key;
    GCM128_CONTEXT *gcm;
    int mode;
};

/* Fetched once: each look-up by name costs more than a record. */
static EVP_CIPHER *ciphers[3];
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    ciphers[0] = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    ciphers[1] = EVP_CIPHER_fetch(NULL, "AES-192-GCM", NULL);
    ciphers[2] = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

static const EVP_CIPHER *cipher_of(unsigned key_bits)
{
    pthread_once(&fetched, fetch);
    return key_bits == 128 ? ciphers[0] : key_bits == 192 ? ciphers[1] : ciphers[2];
}

void mbedtls_gcm_init(mbedtls_gcm_context *ctx)
{
    memset(ctx, 0, sizeof(*ctx));
}

static void free_pieces(mbedtls_gcm_context *ctx)
{
    if (ctx->pieces == NULL)
        return;
    CRYPTO_gcm128_release(ctx->pieces->gcm);
    mbedtls_platform_zeroize(ctx->pieces, sizeof(*ctx->pieces));
    free(ctx->pieces);
    ctx->pieces = NULL;
}

void mbedtls_gcm_free(mbedtls_gcm_context *ctx)
{
    if (ctx == NULL)
        return;
    EVP_CIPHER_CTX_free(ctx->whole);
    free_pieces(ctx);
    mbedtls_platform_zeroize(ctx, sizeof(*ctx));
}

int mbedtls_gcm_setkey(mbedtls_gcm_context *ctx, mbedtls_cipher_id_t cipher,
                       const unsigned char *key, unsigned key_bits)
{
    if (cipher != MBEDTLS_CIPHER_ID_AES || (key_bits != 128 && key_bits != 192 && key_bits != 256))
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    mbedtls_gcm_free(ctx);
    if ((ctx->whole = EVP_CIPHER_CTX_new()) == NULL ||
        EVP_CipherInit_ex(ctx->whole, cipher_of(key_bits), NULL, key, NULL, 1) != 1) {
        mbedtls_gcm_free(ctx);
        return MBEDTLS_ERR_CIPHER_ALLOC_FAILED;
    }
    ctx->nonce_len = USUAL_NONCE;
    ctx->key_bits = key_bits;
    memcpy(ctx->key, key, key_bits / 8);
    return 0;
}

/* --- A whole message --- */

static bool begin(mbedtls_gcm_context *ctx, bool encrypts, const unsigned char *nonce, size_t len)
{
    if (len != ctx->nonce_len) {
        if (EVP_CIPHER_CTX_ctrl(ctx->whole, EVP_CTRL_AEAD_SET_IVLEN, (int)len, NULL) != 1)
            return false;
        ctx->nonce_len = len;
    }
    return EVP_CipherInit_ex(ctx->whole, NULL, NULL, NULL, nonce, encrypts) == 1;
}

/* Returns false when libcrypto refuses, which for a decryption may be at the end: a false tag. */
static bool run(mbedtls_gcm_context *ctx, const unsigned char *extra, size_t extra_len,
                const unsigned char *input, size_t len, unsigned char *output)
{
    int n;
    unsigned char none[1];
    return (extra_len == 0 || EVP_CipherUpdate(ctx->whole, NULL, &n, extra, (int)extra_len) == 1) &&
           (len == 0 || EVP_CipherUpdate(ctx->whole, output, &n, input, (int)len) == 1) &&
           EVP_CipherFinal_ex(ctx->whole, none, &n) == 1;
}

static int in_pieces(mbedtls_gcm_context *ctx, int mode, size_t len, const unsigned char *nonce,
                     size_t nonce_len, const unsigned char *extra, size_t extra_len,
                     const unsigned char *input, unsigned char *output, size_t tag_len,
                     unsigned char *tag)
{
    size_t n;
    int rc = mbedtls_gcm_starts(ctx, mode, nonce, nonce_len);
    if (rc == 0)
        rc = mbedtls_gcm_update_ad(ctx, extra, extra_len);
    if (rc == 0)
        rc = mbedtls_gcm_update(ctx, input, len, output, len, &n);
    if (rc == 0)
        rc = mbedtls_gcm_finish(ctx, NULL, 0, &n, tag, tag_len);
    return rc;
}

static bool fits_evp(size_t len, size_t nonce_len, size_t extra_len)
{
    return len <= INT_MAX && extra_len <= INT_MAX && nonce_len <= MAX_NONCE;
}

int mbedtls_gcm_crypt_and_tag(mbedtls_gcm_context *ctx, int mode, size_t len,
                              const unsigned char *nonce, size_t nonce_len,
                              const unsigned char *extra, size_t extra_len,
                              const unsigned char *input, unsigned char *output, size_t tag_len,
                              unsigned char *tag)
{
    if (ctx->key_bits == 0 || nonce_len == 0 || tag_len < MIN_TAG || tag_len > MAX_TAG)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    if (mode != MBEDTLS_GCM_ENCRYPT || !fits_evp(len, nonce_len, extra_len))
        return in_pieces(ctx, mode, len, nonce, nonce_len, extra, extra_len, input, output, tag_len,
                         tag);
    if (!begin(ctx, true, nonce, nonce_len) || !run(ctx, extra, extra_len, input, len, output) ||
        EVP_CIPHER_CTX_ctrl(ctx->whole, EVP_CTRL_AEAD_GET_TAG, (int)tag_len, tag) != 1)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    return 0;
}

static int decrypt_in_pieces(mbedtls_gcm_context *ctx, size_t len, const unsigned char *nonce,
                             size_t nonce_len, const unsigned char *extra, size_t extra_len,
                             const unsigned char *tag, size_t tag_len, const unsigned char *input,
                             unsigned char *output)
{
    unsigned char expected[MAX_TAG];
    int rc = in_pieces(ctx, MBEDTLS_GCM_DECRYPT, len, nonce, nonce_len, extra, extra_len, input,
                       output, tag_len, expected);
    if (rc == 0 && CRYPTO_memcmp(tag, expected, tag_len) != 0)
        rc = MBEDTLS_ERR_GCM_AUTH_FAILED;
    return rc;
}

int mbedtls_gcm_auth_decrypt(mbedtls_gcm_context *ctx, size_t len, const unsigned char *nonce,
                             size_t nonce_len, const unsigned char *extra, size_t extra_len,
                             const unsigned char *tag, size_t tag_len, const unsigned char *input,
                             unsigned char *output)
{
    if (ctx->key_bits == 0 || nonce_len == 0 || tag_len < MIN_TAG || tag_len > MAX_TAG)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    int rc = 0;
    if (!fits_evp(len, nonce_len, extra_len))
        rc = decrypt_in_pieces(ctx, len, nonce, nonce_len, extra, extra_len, tag, tag_len, input,
                               output);
    else if (!begin(ctx, false, nonce, nonce_len) ||
             EVP_CIPHER_CTX_ctrl(ctx->whole, EVP_CTRL_AEAD_SET_TAG, (int)tag_len, (void *)tag) != 1)
        rc = MBEDTLS_ERR_GCM_BAD_INPUT;
    else if (!run(ctx, extra, extra_len, input, len, output))
        rc = MBEDTLS_ERR_GCM_AUTH_FAILED;
    if (rc == MBEDTLS_ERR_GCM_AUTH_FAILED)
        mbedtls_platform_zeroize(output, len); /* what is not authentic is nobody's to see */
    return rc;
}

/* --- A message in pieces --- */

static struct vf_gcm_pieces *pieces_new(const mbedtls_gcm_context *ctx)
{
    struct vf_gcm_pieces *pieces = calloc(1, sizeof(*pieces));
    if (pieces == NULL)
        return NULL;
    AES_set_encrypt_key(ctx->key, (int)ctx->key_bits, &pieces->key);
    pieces->gcm = CRYPTO_gcm128_new(&pieces->key, (block128_f)AES_encrypt);
    if (pieces->gcm != NULL)
        return pieces;
    free(pieces);
    return NULL;
}

int mbedtls_gcm_starts(mbedtls_gcm_context *ctx, int mode, const unsigned char *nonce,
                       size_t nonce_len)
{
    if (ctx->key_bits == 0 || nonce_len == 0)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    if (ctx->pieces == NULL && (ctx->pieces = pieces_new(ctx)) == NULL)
        return MBEDTLS_ERR_CIPHER_ALLOC_FAILED;
    ctx->pieces->mode = mode;
    CRYPTO_gcm128_setiv(ctx->pieces->gcm, nonce, nonce_len);
    return 0;
}

int mbedtls_gcm_update_ad(mbedtls_gcm_context *ctx, const unsigned char *extra, size_t len)
{
    if (ctx->pieces == NULL)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    if (len > 0 && CRYPTO_gcm128_aad(ctx->pieces->gcm, extra, len) != 0)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    return 0;
}

int mbedtls_gcm_update(mbedtls_gcm_context *ctx, const unsigned char *input, size_t len,
                       unsigned char *output, size_t room, size_t *written)
{
    *written = 0;
    if (room < len)
        return MBEDTLS_ERR_GCM_BUFFER_TOO_SMALL;
    if (ctx->pieces == NULL || (output > input && (size_t)(output - input) < len))
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    int rc = 0;
    if (len > 0)
        rc = ctx->pieces->mode == MBEDTLS_GCM_ENCRYPT
                 ? CRYPTO_gcm128_encrypt(ctx->pieces->gcm, input, output, len)
                 : CRYPTO_gcm128_decrypt(ctx->pieces->gcm, input, output, len);
    if (rc != 0)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    *written = len;
    return 0;
}

int mbedtls_gcm_finish(mbedtls_gcm_context *ctx, unsigned char *output, size_t room,
                       size_t *written, unsigned char *tag, size_t tag_len)
{
    (void)output, (void)room; /* no block waits for the next: GCM is a stream */
    *written = 0;
    if (ctx->pieces == NULL || tag_len < MIN_TAG || tag_len > MAX_TAG)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    CRYPTO_gcm128_tag(ctx->pieces->gcm, tag, tag_len);
    return 0;
}
