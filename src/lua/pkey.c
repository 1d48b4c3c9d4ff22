#include "lua/pkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "lua/signature.h"

enum { ED25519_BYTES = 32 };

static const struct curve {
    const char *name; /* what libcrypto calls it */
    int bytes;
} curves[] = {[VF_PKEY_P256] = {"prime256v1", 32},
              [VF_PKEY_P384] = {"secp384r1", 48},
              [VF_PKEY_P521] = {"secp521r1", 66}};

/* The same on every machine: without the providers and engines of a configuration file. */
static void prepare(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

static int refuse(const char **problem, const char *text)
{
    ERR_clear_error();
    *problem = text;
    return UV_EINVAL;
}

void vf_pkey_free(struct vf_pkey *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->evp);
    free(key);
}

static bool has_number(const EVP_PKEY *evp, const char *name)
{
    BIGNUM *number = NULL;
    bool found = EVP_PKEY_get_bn_param(evp, name, &number) == 1;
    BN_clear_free(number);
    return found;
}

static const char *judge_rsa(struct vf_pkey *key)
{
    BIGNUM *n = NULL, *e = NULL;
    const char *problem = NULL;
    int bits = EVP_PKEY_get_bits(key->evp);
    if (bits < VF_PKEY_RSA_MIN_BITS)
        problem = "the RSA key has fewer than 2048 bits";
    else if (bits > VF_PKEY_RSA_MAX_BITS)
        problem = "the RSA key has more than 8192 bits";
    else if (!EVP_PKEY_get_bn_param(key->evp, OSSL_PKEY_PARAM_RSA_N, &n) ||
             !EVP_PKEY_get_bn_param(key->evp, OSSL_PKEY_PARAM_RSA_E, &e) || !BN_is_odd(n))
        problem = "not an RSA key";
    else if (!BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > 64)
        problem = "the RSA key has an unusable exponent"; /* a long one costs the verifier dearly */
    BN_free(n);
    BN_free(e);
    key->kind = VF_PKEY_RSA;
    key->bytes = (bits + 7) / 8;
    key->is_private = has_number(key->evp, OSSL_PKEY_PARAM_RSA_D);
    return problem;
}

static const char *judge_curve(struct vf_pkey *key)
{
    char name[64] = "";
    int is_explicit = 0;
    EVP_PKEY_get_int_param(key->evp, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit);
    if (is_explicit) /* a curve of the sender's own making (CVE-2020-0601) */
        return "the EC key spells out its curve instead of naming it";
    EVP_PKEY_get_group_name(key->evp, name, sizeof(name), NULL);
    for (int kind = VF_PKEY_P256; kind <= VF_PKEY_P521; kind++)
        if (strcmp(name, curves[kind].name) == 0)
            key->kind = kind;
    if (key->kind == 0)
        return "the EC key is on another curve than P-256, P-384 and P-521";
    if (!has_number(key->evp, OSSL_PKEY_PARAM_EC_PUB_X))
        return "the EC key has no public point";
    key->bytes = curves[key->kind].bytes;
    key->is_private = has_number(key->evp, OSSL_PKEY_PARAM_PRIV_KEY);
    return NULL;
}

/* y of the points of small order, little-endian, the sign of x aside (RFC 8032 section 5.1). With
 * such a key a signature is good for every text. */
static const uint8_t small_orders[][ED25519_BYTES] = {
    {0},
    {1},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
     0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
     0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
     0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
     0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
};

/* A number that is not below the field's prime 2^255 - 19 is another way to write a small one. */
static bool is_reduced(const uint8_t y[ED25519_BYTES])
{
    bool is_high = y[ED25519_BYTES - 1] == 0x7f && y[0] >= 0xed;
    for (int i = 1; i < ED25519_BYTES - 1; i++)
        is_high = is_high && y[i] == 0xff;
    return !is_high;
}

static bool is_good_point(EVP_PKEY *evp)
{
    uint8_t y[ED25519_BYTES];
    size_t len = sizeof(y);
    if (EVP_PKEY_get_raw_public_key(evp, y, &len) != 1 || len != sizeof(y))
        return false;
    y[ED25519_BYTES - 1] &= 0x7f;
    for (size_t i = 0; i < sizeof(small_orders) / sizeof(*small_orders); i++)
        if (memcmp(y, small_orders[i], sizeof(y)) == 0)
            return false;
    return is_reduced(y);
}

static const char *judge_ed25519(struct vf_pkey *key)
{
    size_t len = 0;
    if (!is_good_point(key->evp))
        return "the Ed25519 key is a point of small order, or not written in its one form";
    key->kind = VF_PKEY_ED25519;
    key->bytes = ED25519_BYTES;
    key->is_private = EVP_PKEY_get_raw_private_key(key->evp, NULL, &len) == 1 && len > 0;
    return NULL;
}

static const char *judge(struct vf_pkey *key)
{
    if (EVP_PKEY_is_a(key->evp, "RSA"))
        return judge_rsa(key);
    if (EVP_PKEY_is_a(key->evp, "EC"))
        return judge_curve(key);
    if (EVP_PKEY_is_a(key->evp, "ED25519"))
        return judge_ed25519(key);
    return "not an RSA, EC or Ed25519 key";
}

/* A private half that does not belong to the public one signs what nobody can verify, and an RSA
 * key with wrong primes gives itself away. */
static bool is_whole(const struct vf_pkey *key)
{
    uint8_t signature[VF_SIGNATURE_BYTES];
    int scheme = vf_signature_scheme_of(key);
    int len = vf_signature_sign(key, scheme, 0, "", 0, signature);
    return len > 0 &&
           vf_signature_verify(key, scheme, 0, "", 0, (const char *)signature, (size_t)len) == 0;
}

/* Takes ownership of `evp`, whatever comes of it. */
static int adopt(EVP_PKEY *evp, struct vf_pkey **out, const char **problem)
{
    struct vf_pkey *key = calloc(1, sizeof(*key));
    if (key == NULL) {
        EVP_PKEY_free(evp);
        return refuse(problem, "out of memory");
    }
    key->evp = evp;
    const char *wrong = judge(key);
    if (wrong == NULL && key->is_private && !is_whole(key))
        wrong = "the private key does not belong to its public half";
    if (wrong != NULL) {
        vf_pkey_free(key);
        return refuse(problem, wrong);
    }
    ERR_clear_error();
    *out = key;
    return 0;
}

static int on_password(char *buffer, int size, int writing, void *asked)
{
    (void)buffer, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static bool is_der(const char *data, size_t len)
{
    return len > 0 && data[0] == 0x30; /* a SEQUENCE */
}

static EVP_PKEY *decode(const char *data, size_t len, int selection, bool *is_encrypted)
{
    EVP_PKEY *evp = NULL;
    const unsigned char *at = (const unsigned char *)data;
    OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(
        &evp, is_der(data, len) ? "DER" : "PEM", NULL, NULL, selection, NULL, NULL);
    if (decoder == NULL)
        return NULL;
    OSSL_DECODER_CTX_set_pem_password_cb(decoder, on_password, is_encrypted);
    size_t rest = len;
    bool is_read =
        OSSL_DECODER_from_data(decoder, &at, &rest) == 1 && (rest == 0 || !is_der(data, len));
    OSSL_DECODER_CTX_free(decoder);
    if (!is_read) {
        EVP_PKEY_free(evp);
        return NULL;
    }
    return evp;
}

static EVP_PKEY *decode_certificate(const char *data, size_t len)
{
    const unsigned char *at = (const unsigned char *)data;
    BIO *text = BIO_new_mem_buf(data, (int)len);
    bool is_encrypted = false;
    X509 *certificate = is_der(data, len)
                            ? d2i_X509(NULL, &at, (long)len)
                            : PEM_read_bio_X509(text, NULL, on_password, &is_encrypted);
    EVP_PKEY *evp = certificate == NULL ? NULL : X509_get_pubkey(certificate);
    X509_free(certificate);
    BIO_free(text);
    return evp;
}

enum { MAX_TEXT_BYTES = 64 * 1024, MAX_BLOCKS = 8 };

static EVP_PKEY *read_block(const char *data, size_t len, bool *is_encrypted)
{
    EVP_PKEY *evp = decode(data, len, EVP_PKEY_KEYPAIR, is_encrypted);
    if (evp == NULL && !*is_encrypted)
        evp = decode(data, len, EVP_PKEY_PUBLIC_KEY, is_encrypted);
    if (evp == NULL && !*is_encrypted)
        evp = decode_certificate(data, len);
    return evp;
}

/* Tries the blocks of PEM in turn: parameters of its curve may stand in front of an EC key. */
static EVP_PKEY *read_blocks(const char *data, size_t len, bool *is_encrypted)
{
    static const char begin[] = "-----BEGIN ";
    EVP_PKEY *evp = NULL;
    for (int i = 0; i < MAX_BLOCKS && evp == NULL && !*is_encrypted; i++) {
        const char *block = memmem(data, len, begin, sizeof(begin) - 1);
        if (block == NULL)
            break;
        len -= (size_t)(block - data);
        evp = read_block(block, len, is_encrypted);
        data = block + 1;
        len--;
    }
    return evp;
}

int vf_pkey_read(const char *data, size_t len, struct vf_pkey **out, const char **problem)
{
    bool is_encrypted = false;
    if (len > MAX_TEXT_BYTES)
        return refuse(problem, "longer than a key");
    prepare();
    EVP_PKEY *evp = is_der(data, len) ? read_block(data, len, &is_encrypted)
                                      : read_blocks(data, len, &is_encrypted);
    if (is_encrypted) {
        EVP_PKEY_free(evp);
        return refuse(problem, "the key is encrypted");
    }
    return evp == NULL ? refuse(problem, "no key in PEM or DER") : adopt(evp, out, problem);
}

/* Takes ownership of nothing; returns a key of these parameters, or NULL. */
static EVP_PKEY *make(const char *type, OSSL_PARAM_BLD *build, bool is_private)
{
    EVP_PKEY *evp = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    int selection = is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;
    if (params == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &evp, selection, params) != 1)
        evp = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    return evp;
}

static BIGNUM *number_of(struct vf_piece piece)
{
    return BN_bin2bn((const unsigned char *)piece.data, (int)piece.len, BN_secure_new());
}

int vf_pkey_new_rsa(const struct vf_piece parts[8], struct vf_pkey **out, const char **problem)
{
    static const char *const names[8] = {
        OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    BIGNUM *numbers[8] = {NULL};
    for (int i = 0; i < 8; i++)
        if (parts[i].len > VF_PKEY_PART_BYTES)
            return refuse(problem, "the RSA key has more than 8192 bits");
    prepare();
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    bool is_built = build != NULL;
    for (int i = 0; i < 8 && is_built; i++) {
        if (parts[i].len == 0)
            continue;
        numbers[i] = number_of(parts[i]);
        is_built = numbers[i] != NULL && OSSL_PARAM_BLD_push_BN(build, names[i], numbers[i]);
    }
    EVP_PKEY *evp = is_built ? make("RSA", build, parts[2].len > 0) : NULL;
    OSSL_PARAM_BLD_free(build);
    for (int i = 0; i < 8; i++)
        BN_clear_free(numbers[i]);
    return evp == NULL ? refuse(problem, "not an RSA key") : adopt(evp, out, problem);
}

static EVP_PKEY *make_curve(const struct curve *curve, const struct vf_piece parts[3])
{
    unsigned char point[1 + 2 * 66] = {POINT_CONVERSION_UNCOMPRESSED};
    size_t bytes = (size_t)curve->bytes;
    BIGNUM *d = parts[2].len > 0 ? number_of(parts[2]) : NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    memcpy(point + 1, parts[0].data, bytes);
    memcpy(point + 1 + bytes, parts[1].data, bytes);
    bool is_built =
        build != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curve->name, 0) &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * bytes) &&
        (parts[2].len == 0 ||
         (d != NULL && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, d)));
    EVP_PKEY *evp = is_built ? make("EC", build, d != NULL) : NULL;
    OSSL_PARAM_BLD_free(build);
    BN_clear_free(d);
    return evp;
}

/* The public half follows from the private one, and must be the one that was given. */
static EVP_PKEY *make_ed25519(const struct vf_piece parts[3])
{
    unsigned char computed[32];
    size_t len = sizeof(computed);
    if (parts[2].len == 0)
        return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
                                           (const unsigned char *)parts[0].data, 32);
    EVP_PKEY *evp = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL,
                                                 (const unsigned char *)parts[2].data, 32);
    if (evp != NULL && EVP_PKEY_get_raw_public_key(evp, computed, &len) == 1 &&
        memcmp(computed, parts[0].data, sizeof(computed)) == 0)
        return evp;
    EVP_PKEY_free(evp);
    return NULL;
}

int vf_pkey_new_curve(int kind, const struct vf_piece parts[3], struct vf_pkey **out,
                      const char **problem)
{
    bool is_edwards = kind == VF_PKEY_ED25519;
    size_t bytes = is_edwards ? 32 : (size_t)curves[kind].bytes;
    if (parts[0].len != bytes || parts[1].len != (is_edwards ? 0 : bytes) ||
        (parts[2].len != 0 && parts[2].len != bytes))
        return refuse(problem, "its numbers do not have the length of its curve");
    prepare();
    EVP_PKEY *evp = is_edwards ? make_ed25519(parts) : make_curve(&curves[kind], parts);
    return evp == NULL ? refuse(problem, "not a key on its curve") : adopt(evp, out, problem);
}

int vf_pkey_part(const struct vf_pkey *key, int part, uint8_t out[VF_PKEY_PART_BYTES])
{
    static const char *const names[] = {OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E,
                                        OSSL_PKEY_PARAM_EC_PUB_X, OSSL_PKEY_PARAM_EC_PUB_Y};
    BIGNUM *number = NULL;
    size_t raw_len = VF_PKEY_PART_BYTES;
    if (key->kind == VF_PKEY_ED25519)
        return part == VF_PKEY_X && EVP_PKEY_get_raw_public_key(key->evp, out, &raw_len) == 1
                   ? (int)raw_len
                   : UV_EINVAL;
    bool is_of_rsa = part == VF_PKEY_N || part == VF_PKEY_E;
    if (is_of_rsa != (key->kind == VF_PKEY_RSA) ||
        EVP_PKEY_get_bn_param(key->evp, names[part], &number) != 1) {
        ERR_clear_error();
        return UV_EINVAL;
    }
    int len = is_of_rsa ? BN_num_bytes(number) : key->bytes;
    len = BN_bn2binpad(number, out, len);
    BN_free(number);
    return len < 0 ? UV_EINVAL : len;
}
