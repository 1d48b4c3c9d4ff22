/* The compression functions of SHA-256 and SHA-512 for mbedTLS (FIPS 180-4): libcrypto's, which use
 * the processor's instructions. mbedTLS keeps counting, padding and copying. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#define OPENSSL_SUPPRESS_DEPRECATED
#include <mbedtls/sha256.h>
#include <mbedtls/sha512.h>
#include <openssl/sha.h>
#include <string.h>

int mbedtls_internal_sha256_process(mbedtls_sha256_context *ctx, const unsigned char data[64])
{
    SHA256_CTX sha;
    _Static_assert(sizeof(sha.h) == sizeof(ctx->state), "both are eight words");
    memcpy(sha.h, ctx->state, sizeof(sha.h));
    SHA256_Transform(&sha, data);
    memcpy(ctx->state, sha.h, sizeof(sha.h));
    return 0;
}

int mbedtls_internal_sha512_process(mbedtls_sha512_context *ctx, const unsigned char data[128])
{
    SHA512_CTX sha;
    _Static_assert(sizeof(sha.h) == sizeof(ctx->state), "both are eight words");
    memcpy(sha.h, ctx->state, sizeof(sha.h));
    SHA512_Transform(&sha, data);
    memcpy(ctx->state, sha.h, sizeof(sha.h));
    return 0;
}
