#include "lua/cipher.h"

#include <mbedtls/gcm.h>
#include <stdlib.h>
#include <uv.h>

struct vf_gcm {
    mbedtls_gcm_context context;
};

static const unsigned char *bytes(const char *data)
{
    return (const unsigned char *)data;
}

void vf_gcm_free(struct vf_gcm *gcm)
{
    if (gcm == NULL)
        return;
    mbedtls_gcm_free(&gcm->context); /* clears the key */
    free(gcm);
}

struct vf_gcm *vf_gcm_new(const char *key, size_t len)
{
    if (len != 16 && len != 32)
        return NULL;
    struct vf_gcm *gcm = calloc(1, sizeof(*gcm));
    if (gcm == NULL)
        return NULL;
    mbedtls_gcm_init(&gcm->context);
    if (mbedtls_gcm_setkey(&gcm->context, MBEDTLS_CIPHER_ID_AES, bytes(key), (unsigned)len * 8)) {
        vf_gcm_free(gcm);
        return NULL;
    }
    return gcm;
}

int vf_gcm_encrypt(struct vf_gcm *gcm, const char *nonce, size_t nonce_len, const char *aad,
                   size_t aad_len, const char *text, size_t len, uint8_t *out,
                   uint8_t tag[VF_GCM_TAG_BYTES])
{
    int rc =
        mbedtls_gcm_crypt_and_tag(&gcm->context, MBEDTLS_GCM_ENCRYPT, len, bytes(nonce), nonce_len,
                                  bytes(aad), aad_len, bytes(text), out, VF_GCM_TAG_BYTES, tag);
    return rc == 0 ? 0 : UV_EINVAL;
}

int vf_gcm_decrypt(struct vf_gcm *gcm, const char *nonce, size_t nonce_len, const char *aad,
                   size_t aad_len, const char *text, size_t len, const char *tag, uint8_t *out)
{
    int rc = mbedtls_gcm_auth_decrypt(&gcm->context, len, bytes(nonce), nonce_len, bytes(aad),
                                      aad_len, bytes(tag), VF_GCM_TAG_BYTES, bytes(text), out);
    return rc == 0 ? 0 : UV_EINVAL;
}
