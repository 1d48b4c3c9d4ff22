#include "lua/digest.h"

#include <mbedtls/hkdf.h>
#include <mbedtls/md.h>
#include <mbedtls/pkcs5.h>
#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

struct vf_digest {
    mbedtls_md_context_t md;
    int len; /* of the result, bytes */
    bool is_keyed;
    bool is_begun; /* has pieces since it began */
};

static const unsigned char *bytes(const char *data)
{
    return (const unsigned char *)data;
}

static mbedtls_md_type_t type_of(int algorithm)
{
    switch (algorithm) {
    case VF_MD5:
        return MBEDTLS_MD_MD5;
    case VF_SHA1:
        return MBEDTLS_MD_SHA1;
    case VF_SHA256:
        return MBEDTLS_MD_SHA256;
    case VF_SHA384:
        return MBEDTLS_MD_SHA384;
    case VF_SHA512:
        return MBEDTLS_MD_SHA512;
    default:
        return MBEDTLS_MD_NONE;
    }
}

static const mbedtls_md_info_t *info_of(int algorithm)
{
    return mbedtls_md_info_from_type(type_of(algorithm));
}

void vf_digest_free(struct vf_digest *digest)
{
    if (digest == NULL)
        return;
    mbedtls_md_free(&digest->md); /* clears the key */
    free(digest);
}

struct vf_digest *vf_digest_new(int algorithm, const char *key, size_t key_len)
{
    const mbedtls_md_info_t *info = info_of(algorithm);
    struct vf_digest *digest = calloc(1, sizeof(*digest));
    if (digest == NULL)
        return NULL;
    digest->is_keyed = key != NULL;
    mbedtls_md_init(&digest->md);
    if (info == NULL || mbedtls_md_setup(&digest->md, info, digest->is_keyed) != 0 ||
        (digest->is_keyed ? mbedtls_md_hmac_starts(&digest->md, bytes(key), key_len)
                          : mbedtls_md_starts(&digest->md)) != 0) {
        vf_digest_free(digest);
        return NULL;
    }
    digest->len = mbedtls_md_get_size(info);
    return digest;
}

int vf_digest_update(struct vf_digest *digest, const char *data, size_t len)
{
    digest->is_begun = true;
    int rc = digest->is_keyed ? mbedtls_md_hmac_update(&digest->md, bytes(data), len)
                              : mbedtls_md_update(&digest->md, bytes(data), len);
    return rc == 0 ? 0 : UV_EIO;
}

static int begin(struct vf_digest *digest)
{
    if (!digest->is_begun)
        return 0;
    digest->is_begun = false;
    return digest->is_keyed ? mbedtls_md_hmac_reset(&digest->md) : mbedtls_md_starts(&digest->md);
}

int vf_digest_finish(struct vf_digest *digest, uint8_t out[VF_DIGEST_BYTES])
{
    int rc = digest->is_keyed ? mbedtls_md_hmac_finish(&digest->md, out)
                              : mbedtls_md_finish(&digest->md, out);
    digest->is_begun = true;
    return rc == 0 && begin(digest) == 0 ? digest->len : UV_EIO;
}

int vf_digest_of(struct vf_digest *digest, const char *data, size_t len,
                 uint8_t out[VF_DIGEST_BYTES])
{
    if (begin(digest) != 0 || vf_digest_update(digest, data, len) != 0)
        return UV_EIO;
    return vf_digest_finish(digest, out);
}

int vf_digest_hash(int algorithm, const char *data, size_t len, uint8_t out[VF_DIGEST_BYTES])
{
    const mbedtls_md_info_t *info = info_of(algorithm);
    return mbedtls_md(info, bytes(data), len, out) == 0 ? mbedtls_md_get_size(info) : UV_EIO;
}

int vf_hmac(int algorithm, const char *key, size_t key_len, const char *data, size_t len,
            uint8_t out[VF_DIGEST_BYTES])
{
    const mbedtls_md_info_t *info = info_of(algorithm);
    if (mbedtls_md_hmac(info, bytes(key), key_len, bytes(data), len, out) != 0)
        return UV_EIO;
    return mbedtls_md_get_size(info);
}

int vf_hkdf(int algorithm, const char *salt, size_t salt_len, const char *key, size_t key_len,
            const char *info, size_t info_len, uint8_t *out, size_t out_len)
{
    int rc = mbedtls_hkdf(info_of(algorithm), bytes(salt), salt_len, bytes(key), key_len,
                          bytes(info), info_len, out, out_len);
    return rc == 0 ? 0 : UV_EINVAL;
}

int vf_pbkdf2(int algorithm, const char *password, size_t password_len, const char *salt,
              size_t salt_len, unsigned iterations, uint8_t *out, size_t out_len)
{
    int rc =
        mbedtls_pkcs5_pbkdf2_hmac_ext(type_of(algorithm), bytes(password), password_len,
                                      bytes(salt), salt_len, iterations, (uint32_t)out_len, out);
    return rc == 0 ? 0 : UV_EINVAL;
}
