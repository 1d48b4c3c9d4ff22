#include "lua/signature.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <uv.h>

static const struct scheme {
    int kind;
    const char *hash; /* NULL: the scheme has its own */
    int padding;      /* of RSA */
} schemes[] = {
    [VF_RS256] = {VF_PKEY_RSA, "SHA256", RSA_PKCS1_PADDING},
    [VF_RS384] = {VF_PKEY_RSA, "SHA384", RSA_PKCS1_PADDING},
    [VF_RS512] = {VF_PKEY_RSA, "SHA512", RSA_PKCS1_PADDING},
    [VF_PS256] = {VF_PKEY_RSA, "SHA256", RSA_PKCS1_PSS_PADDING},
    [VF_PS384] = {VF_PKEY_RSA, "SHA384", RSA_PKCS1_PSS_PADDING},
    [VF_PS512] = {VF_PKEY_RSA, "SHA512", RSA_PKCS1_PSS_PADDING},
    [VF_ES256] = {VF_PKEY_P256, "SHA256", 0},
    [VF_ES384] = {VF_PKEY_P384, "SHA384", 0},
    [VF_ES512] = {VF_PKEY_P521, "SHA512", 0},
    [VF_EDDSA] = {VF_PKEY_ED25519, NULL, 0},
};

enum { DER_BYTES = 144 /* of r and s on P-521: 2 * (66 + 1 + 3) + 3 */ };

int vf_signature_scheme_of(const struct vf_pkey *key)
{
    static const int usual[] = {[VF_PKEY_RSA] = VF_RS256,
                                [VF_PKEY_P256] = VF_ES256,
                                [VF_PKEY_P384] = VF_ES384,
                                [VF_PKEY_P521] = VF_ES512,
                                [VF_PKEY_ED25519] = VF_EDDSA};
    return usual[key->kind];
}

static const struct scheme *scheme_for(const struct vf_pkey *key, int number)
{
    if (number < VF_RS256 || number > VF_EDDSA || schemes[number].kind != key->kind)
        return NULL;
    return &schemes[number];
}

static bool set_padding(EVP_PKEY_CTX *context, const struct scheme *scheme)
{
    if (scheme->kind != VF_PKEY_RSA)
        return true;
    return EVP_PKEY_CTX_set_rsa_padding(context, scheme->padding) == 1 &&
           (scheme->padding != RSA_PKCS1_PSS_PADDING ||
            EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1);
}

static bool is_ecdsa(const struct scheme *scheme)
{
    return scheme->kind >= VF_PKEY_P256 && scheme->kind <= VF_PKEY_P521;
}

/* Writes r and s, `bytes` each, for a signature in DER. Returns the length or UV_EINVAL. */
static int raw_of_der(const uint8_t *der, size_t len, int bytes, uint8_t *out)
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
    bool is_written = pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, bytes) == bytes &&
                      BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + bytes, bytes) == bytes;
    ECDSA_SIG_free(pair);
    return is_written ? 2 * bytes : UV_EINVAL;
}

/* Writes the DER of r and s, `bytes` each. Returns its length or UV_EINVAL. */
static int der_of_raw(const char *raw, size_t len, int bytes, uint8_t out[DER_BYTES])
{
    const unsigned char *at = (const unsigned char *)raw;
    if (len != 2 * (size_t)bytes)
        return UV_EINVAL;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(at, bytes, NULL), *s = BN_bin2bn(at + bytes, bytes, NULL);
    if (pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(pair);
        return UV_EINVAL;
    }
    int der_len = i2d_ECDSA_SIG(pair, &out);
    ECDSA_SIG_free(pair); /* and r and s */
    return der_len;
}

int vf_signature_sign(const struct vf_pkey *key, int number, int is_der, const char *data,
                      size_t len, uint8_t out[VF_SIGNATURE_BYTES])
{
    const struct scheme *scheme = scheme_for(key, number);
    uint8_t der[DER_BYTES];
    if (scheme == NULL || !key->is_private)
        return UV_EINVAL;
    bool is_raw = is_ecdsa(scheme) && !is_der;
    size_t out_len = is_raw ? sizeof(der) : VF_SIGNATURE_BYTES;
    EVP_PKEY_CTX *context; /* owned by md */
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool is_signed =
        md != NULL &&
        EVP_DigestSignInit_ex(md, &context, scheme->hash, NULL, NULL, key->evp, NULL) == 1 &&
        set_padding(context, scheme) &&
        EVP_DigestSign(md, is_raw ? der : out, &out_len, (const unsigned char *)data, len) == 1;
    EVP_MD_CTX_free(md);
    int result = (int)out_len;
    if (!is_signed)
        result = UV_EINVAL;
    else if (is_raw)
        result = raw_of_der(der, out_len, key->bytes, out);
    ERR_clear_error();
    return result;
}

int vf_signature_verify(const struct vf_pkey *key, int number, int is_der, const char *data,
                        size_t len, const char *signature, size_t signature_len)
{
    const struct scheme *scheme = scheme_for(key, number);
    const unsigned char *given = (const unsigned char *)signature;
    uint8_t der[DER_BYTES];
    if (scheme == NULL)
        return UV_EINVAL;
    /* OpenSSL takes a PSS signature without its leading zeros, too (RFC 8017 section 8.1.2). */
    if (key->kind == VF_PKEY_RSA && signature_len != (size_t)key->bytes)
        return UV_EACCES;
    if (is_ecdsa(scheme) && !is_der) {
        int der_len = der_of_raw(signature, signature_len, key->bytes, der);
        if (der_len < 0)
            return UV_EACCES;
        given = der;
        signature_len = (size_t)der_len;
    }
    EVP_PKEY_CTX *context; /* owned by md */
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool is_right =
        md != NULL &&
        EVP_DigestVerifyInit_ex(md, &context, scheme->hash, NULL, NULL, key->evp, NULL) == 1 &&
        set_padding(context, scheme) &&
        EVP_DigestVerify(md, given, signature_len, (const unsigned char *)data, len) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return is_right ? 0 : UV_EACCES;
}
