#include "lua/crypto.h"

#include <errno.h>
#include <mbedtls/gcm.h>
#include <mbedtls/md.h>
#include <mbedtls/sha256.h>
#include <sys/random.h>
#include <uv.h>

int vf_sha256(const char *data, size_t len, uint8_t digest[VF_SHA256_BYTES])
{
    return mbedtls_sha256((const unsigned char *)data, len, digest, 0) == 0 ? 0 : UV_EIO;
}

int vf_hmac_sha256(const char *key, size_t key_len, const char *data, size_t len,
                   uint8_t digest[VF_SHA256_BYTES])
{
    const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
    if (sha256 == NULL)
        return UV_EIO;
    int rc = mbedtls_md_hmac(sha256, (const unsigned char *)key, key_len,
                             (const unsigned char *)data, len, digest);
    return rc == 0 ? 0 : UV_EIO;
}

int vf_random(uint8_t *out, size_t len)
{
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        out += n;
        len -= (size_t)n;
    }
    return 0;
}

static int with_key(mbedtls_gcm_context *gcm, const uint8_t key[VF_SEAL_KEY_BYTES])
{
    mbedtls_gcm_init(gcm);
    return mbedtls_gcm_setkey(gcm, MBEDTLS_CIPHER_ID_AES, key, VF_SEAL_KEY_BYTES * 8);
}

int vf_seal(const uint8_t key[VF_SEAL_KEY_BYTES], const char *data, size_t len, uint8_t *out)
{
    mbedtls_gcm_context gcm;
    uint8_t *text = out + VF_SEAL_NONCE_BYTES;
    int rc = vf_random(out, VF_SEAL_NONCE_BYTES);
    if (rc < 0)
        return rc;
    rc = with_key(&gcm, key);
    if (rc == 0)
        rc = mbedtls_gcm_crypt_and_tag(&gcm, MBEDTLS_GCM_ENCRYPT, len, out, VF_SEAL_NONCE_BYTES,
                                       NULL, 0, (const unsigned char *)data, text,
                                       VF_SEAL_TAG_BYTES, text + len);
    mbedtls_gcm_free(&gcm);
    return rc == 0 ? 0 : UV_EIO;
}

int vf_unseal(const uint8_t key[VF_SEAL_KEY_BYTES], const uint8_t *sealed, size_t len, char *out)
{
    mbedtls_gcm_context gcm;
    if (len < VF_SEAL_EXTRA_BYTES)
        return UV_EINVAL;
    size_t text_len = len - VF_SEAL_EXTRA_BYTES;
    const uint8_t *text = sealed + VF_SEAL_NONCE_BYTES;
    int rc = with_key(&gcm, key);
    if (rc == 0)
        rc = mbedtls_gcm_auth_decrypt(&gcm, text_len, sealed, VF_SEAL_NONCE_BYTES, NULL, 0,
                                      text + text_len, VF_SEAL_TAG_BYTES, text,
                                      (unsigned char *)out);
    mbedtls_gcm_free(&gcm);
    return rc == 0 ? 0 : UV_EINVAL;
}
